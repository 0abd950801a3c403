"""Proofs that a gap is filled, by counts: numbers that came, bars that a calendar expects, facts of the answers that stand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

import polars as pl
import pyarrow.compute as pc

from lake.catalog import Lake
from lake.conditions import Where
from lake.errors import NotFoundError
from lake.scan import read
from lake.tables import table_named
from quality_checks.gaps import Fill, KnownGap
from quality_checks.missing import missing_bars, series_of
from transforms.clocks import as_held
from transforms.feeds import feed_of

_CONTENT = {
    "normalized.trades": ("ts_event", "ts_event_nanos", "price", "size"),
    "normalized.quotes": ("ts_event", "ts_event_nanos", "bid_price", "bid_size", "ask_price", "ask_size"),
    "normalized.bars": ("ts_open", "interval"),
}
"""By what a fact of an answer is found again in the table."""
_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Told:
    """What the answers of a fill tell of a gap's window: facts, and how many of them the lake does not have.

    absent   neither published nor in quarantine
    """

    facts: int
    absent: int


def is_promoted(lake: Lake, capture_id: str, provider: str, table: str, messages: int = 0) -> bool:
    """Return whether every message of a capture, at least `messages`, has landed and gone through the gate of a table."""
    rows = read(lake, "raw.messages", ["log_partition", "log_offset"], [Where("capture_id", "=", capture_id)])
    if rows.num_rows < messages:
        return False
    reached = lake.head(table).vector(provider)
    offsets = zip(rows["log_partition"].to_pylist(), rows["log_offset"].to_pylist(), strict=True)
    return all(offset < reached.get(str(partition), 0) for partition, offset in offsets)


def is_held(lake: Lake, fill: Fill, table: str) -> bool:
    """Return whether the gate holds back a batch with messages of a fill: a person decides, asking again is of no use."""
    return any(one.capture_id == fill.capture_id for hold in lake.head(table).holds for one in hold.ranges)


def numbers_found(lake: Lake, gap: KnownGap) -> int:
    """Return how many of the gap's numbers, first to last, the lake has."""
    where = [
        Where("provider", "=", gap.provider), Where("feed", "=", gap.feed), Where("symbol", "=", gap.symbol),
        Where("sequence", ">=", int(str(gap.first_missing))), Where("sequence", "<=", int(str(gap.last_missing))),
    ]  # fmt: skip
    return int(pc.count_distinct(read(lake, str(gap.table_name), ["sequence"], where)["sequence"]).as_py())


def bars_missing(lake: Lake, gap: KnownGap, fill: Fill) -> int | None:
    """Return how many bars of a gap's window the feed of a fill still does not give; None when no calendar counts them."""
    assert gap.gap_start is not None and gap.gap_end is not None and gap.interval is not None  # bounded, of bars
    try:
        known = series_of(lake, fill.provider, fill.symbol, gap.interval)
    except NotFoundError:
        return None
    return next((len(missing_bars(lake, one, gap.gap_start, gap.gap_end).starts) for one in known if one.feed == fill.feed), None)


def told_by(lake: Lake, gap: KnownGap, fill: Fill) -> Told:
    """Return what a fill's answers say of the gap's window, decoded once more from raw, against what the lake has of it."""
    facts = facts_told(lake, gap, fill)
    if facts.is_empty():
        return Told(0, 0)
    held, content = rows_held(lake, gap, fill), content_of(gap)
    told = as_held(facts, held, ["symbol", *content], clock_unit_ns(fill.provider, fill.feed))
    absent = _absent(told, held, content)
    return Told(len(facts), max(0, absent - refused_of(lake, gap, fill)))


def clock_unit_ns(provider: str, feed: str) -> int:
    """Return the coarser unit, in nanoseconds, in which a feed tells instants that it also tells more finely; 1: all alike."""
    described = feed_of(provider, feed)
    return 1 if described is None else described.coarse_ns


def content_of(gap: KnownGap) -> tuple[str, ...]:
    """Return the columns by which a fact of an answer is found again in the gap's table; the first is its instant."""
    return _CONTENT[str(gap.table_name)]


def facts_told(lake: Lake, gap: KnownGap, fill: Fill) -> pl.DataFrame:
    """Return the facts of a fill's answers that lie in the gap's window, as its symbol and content tell them."""
    content = content_of(gap)
    messages = read(lake, "raw.messages", where=[Where("capture_id", "=", fill.capture_id)]).sort_by("message_seq")
    feed = feed_of(fill.provider, fill.feed)
    if feed is None or gap.table_name not in feed.tables:
        decoded = table_named(str(gap.table_name)).arrow_schema().empty_table()
    else:
        decoded = feed.decode(messages).tables[gap.table_name]
    return _within(pl.DataFrame(pl.from_arrow(decoded.select(["symbol", *content]))), gap, fill.symbol, content[0])


def rows_held(lake: Lake, gap: KnownGap, fill: Fill, more: Sequence[str] = ()) -> pl.DataFrame:
    """Return what the lake has of the gap's window from the feed of a fill: symbol, content, and `more` columns."""
    content = content_of(gap)
    where = [
        Where("provider", "=", fill.provider), Where("feed", "=", fill.feed), Where("symbol", "=", fill.symbol),
        Where(content[0], ">=", gap.gap_start), Where(content[0], "<", gap.gap_end),
    ]  # fmt: skip
    return pl.DataFrame(pl.from_arrow(read(lake, str(gap.table_name), ["symbol", *content, *more], where)))


def refused_of(lake: Lake, gap: KnownGap, fill: Fill) -> int:
    """Return how many facts of a fill the gate has put into quarantine."""
    where = [Where("capture_id", "=", fill.capture_id), Where("table_name", "=", gap.table_name)]
    return int(read(lake, "quality.quarantine", ["event_id"], where).num_rows)


def _within(facts: pl.DataFrame, gap: KnownGap, symbol: str, stamp: str) -> pl.DataFrame:
    is_mine = (pl.col("symbol") == symbol) & (pl.col(stamp) >= gap.gap_start) & (pl.col(stamp) < gap.gap_end)
    return facts.filter(is_mine)


def _absent(facts: pl.DataFrame, held: pl.DataFrame, content: Sequence[str]) -> int:
    """Return how many facts stand more often in an answer than in the lake; versions of one bar are one."""
    keys = ["symbol", *content]
    if "interval" in content:
        return len(facts.unique(keys).join(held, on=keys, how="anti", nulls_equal=True))
    counted = (
        facts.group_by(keys).agg(told=pl.len()).join(held.group_by(keys).agg(has=pl.len()), on=keys, how="left", nulls_equal=True)
    )
    short = (pl.col("told").cast(pl.Int64) - pl.col("has").fill_null(0).cast(pl.Int64)).clip(lower_bound=0).sum()
    return int(counted.select(short).item() or 0)
