"""Rows of adjusted.built_bars: every version of each bar that a feed's own trades or quotes come to.

A bar is built when it has ended. Its first version is known at its end (facts that were imported or asked for) or `GRACE_US`
after it (facts that came live, which are on their way for a moment); what is known later, a late trade, a correction, a cancel,
gives a version more, known at the next whole minute. So the versions depend on what is published, never on the order or the
number of runs in which it was.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from lake.tables import table_named
from transforms import conditions
from transforms.bar_runs import Flags, Int64s, in_order, runs_of, words
from transforms.bar_spans import DAY_US, Spans, interval_of, spans
from transforms.bars import SCHEMA, quote_bars, trade_bars
from transforms.calendars import STAMP, Venue
from transforms.standing import FOR_EVER, FROM, UNTIL, standing

BUILT = "adjusted.built_bars"
INTERVALS = ("1m", "1d")
GRACE_US = 1_000_000
MINUTE_US = 60_000_000
SETTLED_DAYS = 4
"""So many days after a session's date all its bars have ended and are known; what comes later is known at its own instant."""
_VERSION, _IS_LIVE = "version_at", "is_live"


@dataclass(frozen=True, slots=True)
class Facts:
    """What bars of one provider and session are built from, as normalized tables hold it.

    venues   instrument -> where its days are counted
    live     captures whose messages came live
    """

    provider: str
    trades: pa.Table
    events: pa.Table
    quotes: pa.Table
    venues: Mapping[int, Venue]
    live: Collection[str]


def built_bars(facts: Facts, intervals: Sequence[str] = INTERVALS) -> pa.Table:
    """Return every version of every bar as rows of adjusted.built_bars, run_id empty, in order of instrument and time.

    Those known after the moment the facts are of are still to come: more facts may change them.
    """
    found = [table_named(BUILT).arrow_schema().empty_table()]
    for feed in _distinct(facts.trades, "feed"):
        trades = _with_liveness(_of_feed(facts.trades, feed), facts.live)
        found += _by_venue(standing(trades, _of_feed(facts.events, feed), _known(trades)), facts, intervals, is_trades=True)
    for feed in _distinct(facts.quotes, "feed"):
        quotes = _of_feed(facts.quotes, feed)
        # A bar on our own clock would differ with each capture of the same market: no venue's time, no bar.
        quotes = _with_liveness(quotes.filter(pc.is_valid(quotes["ts_event"])), facts.live)
        start = _known(quotes)
        quotes = quotes.append_column(FROM, pa.array(start)).append_column(UNTIL, pa.array(np.full(len(start), FOR_EVER)))
        found += _by_venue(quotes, facts, intervals, is_trades=False)
    return pa.concat_tables(found).sort_by(
        [(name, "ascending") for name in ("instrument_id", "ts_open", "known_at", "price_type")]
    )


def _distinct(table: pa.Table, name: str) -> list[str]:
    return sorted(table[name].unique().to_pylist())


def _of_feed(table: pa.Table, feed: str) -> pa.Table:
    return table.filter(pc.equal(table["feed"], feed))


def _with_liveness(rows: pa.Table, live: Collection[str]) -> pa.Table:
    """Return rows with a column that says which came live; what comes live days after its time is a replay, and did not."""
    is_live = np.asarray(pc.is_in(rows["capture_id"], value_set=pa.array(sorted(live), pa.string())).to_numpy())
    return rows.append_column(
        _IS_LIVE, pa.array(is_live & (words(rows, "ts_recv") - words(rows, "ts_event") < SETTLED_DAYS * DAY_US))
    )


def _known(rows: pa.Table) -> Int64s:
    """Return when each fact was known: when it came, if it came live, else by its own clock."""
    at = words(rows, "ts_event")
    return np.where(rows[_IS_LIVE].to_numpy(), np.maximum(words(rows, "ts_recv"), at), at)


def _by_venue(rows: pa.Table, facts: Facts, intervals: Sequence[str], *, is_trades: bool) -> list[pa.Table]:
    """Return the bars of one feed's rows, venue by venue and interval by interval."""
    groups: dict[Venue, list[int]] = {}
    for instrument in rows["instrument_id"].unique().to_pylist():
        groups.setdefault(facts.venues[instrument], []).append(instrument)
    found = []
    for venue, instruments in groups.items():
        here = rows if len(groups) == 1 else rows.filter(pc.is_in(rows["instrument_id"], value_set=pa.array(instruments)))
        here = _in_order(here)
        for interval in intervals:
            versions = _versions(here, interval, venue)
            bars = _bars(versions, interval, venue, facts.provider, is_trades=is_trades)
            found.append(_labelled(bars, here, facts.provider))
    return found


def _in_order(rows: pa.Table) -> pa.Table:
    ties = [name for name in ("ts_event_nanos", "sequence") if not rows[name].null_count]
    order = in_order(*(words(rows, name) for name in ("instrument_id", "ts_event", *ties)))
    return rows if order is None else rows.take(order)


def _bars(versions: tuple[pa.Table, pa.Table], interval: str, venue: Venue, provider: str, *, is_trades: bool) -> pa.Table:
    """Return the bars of rows that stand, and bars of nothing for versions in which no row of them stands any more."""
    rows, gone = versions
    if not is_trades:
        return quote_bars(rows, interval, venue, extra=(_VERSION,))
    changes = conditions.effects(rows["conditions"], provider) if rows.num_rows else None
    made = trade_bars(rows, interval, venue, changes, extra=(_VERSION,))
    return pa.concat_tables([made, _taken_back(gone, interval, made.schema)]) if gone.num_rows else made


def _versions(rows: pa.Table, interval: str, venue: Venue) -> tuple[pa.Table, pa.Table]:
    """Return the rows of each version of each bar, and the versions without a row.

    Both have the column `version_at`: when the version was known. A row stands in every version from the one it was first
    known in until it was corrected or cancelled.
    """
    span = spans(words(rows, "ts_event"), words(rows, "session_date"), interval_of(interval), venue)
    is_live = np.asarray(rows[_IS_LIVE].to_numpy())
    start = _version_times(words(rows, FROM), span, is_live)
    told = words(rows, UNTIL)
    is_for_ever = told == FOR_EVER
    until = np.where(is_for_ever, FOR_EVER, _version_times(np.where(is_for_ever, 0, told), span, np.zeros_like(is_live)))
    runs = runs_of(words(rows, "instrument_id"), span.opens)
    is_plain = np.minimum.reduceat(start, runs.first) == np.maximum.reduceat(start, runs.first)
    is_plain &= np.minimum.reduceat(until, runs.first) == FOR_EVER
    bar = np.repeat(np.arange(len(runs.first)), runs.behind - runs.first)
    plain, rest = np.flatnonzero(is_plain[bar]), np.flatnonzero(~is_plain[bar])
    rows = rows.append_column(_VERSION, pa.array(start))
    if not len(rest):
        return rows, rows.slice(0, 0)
    frame = pl.DataFrame({"row": rest, "bar": bar[rest], "from": start[rest], "until": until[rest]})
    stood, empty = _standing_in(frame)
    again = rows.take(stood["row"].to_arrow())
    again = again.set_column(again.schema.get_field_index(_VERSION), _VERSION, stood["at"].to_arrow())
    at = runs.first[empty["bar"].to_numpy()]
    gone = pa.table(
        {
            "instrument_id": rows["instrument_id"].take(pa.array(at)),
            "session_date": pa.array(span.days[at].astype(np.int32)).cast(pa.date32()),
            "ts_open": pa.array(span.opens[at]).cast(STAMP),
            "ts_end": pa.array(span.ends[at]).cast(STAMP),
            _VERSION: empty["at"].to_arrow(),
        }
    )
    return pa.concat_tables([rows.take(pa.array(plain)), again.cast(rows.schema)]), gone


def _standing_in(frame: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return (row, at) of each row and version it stands in, and (bar, at) of versions behind the first in which none does."""
    times = pl.concat(
        [frame.select("bar", at="from"), frame.filter(pl.col("until") < FOR_EVER).select("bar", at="until")]
    ).unique()
    stood = frame.join(times, on="bar").filter((pl.col("from") <= pl.col("at")) & (pl.col("at") < pl.col("until")))
    first = stood.group_by("bar").agg(first=pl.col("at").min())
    empty = times.join(stood, on=["bar", "at"], how="anti").join(first, on="bar").filter(pl.col("at") > pl.col("first"))
    return stood.sort("row", "at"), empty.sort("bar", "at")


def _version_times(known: Int64s, span: Spans, is_live: Flags) -> Int64s:
    """Return the version of its bar in which something known at an instant is first told."""
    first = np.where(is_live, span.ends + GRACE_US, span.ends)
    settled = (span.days + SETTLED_DAYS) * DAY_US
    later = np.where(known > settled, known, -(-known // MINUTE_US) * MINUTE_US)
    return np.where(known <= first, first, later)


def _taken_back(gone: pa.Table, interval: str, schema: pa.Schema) -> pa.Table:
    """Return bars of trades of which none stands: no price, nothing traded."""
    count = gone.num_rows
    nothing = {"volume": 0, "trade_count": 0, "dollar_volume": 0}
    columns = {"price_type": pa.repeat("trade", count), "interval": pa.repeat(interval, count)}
    for field in schema:
        if field.name in nothing:
            columns[field.name] = pa.repeat(pa.scalar(nothing[field.name], pa.int64()), count).cast(field.type)
        elif field.name in gone.column_names:
            columns[field.name] = gone[field.name]
        elif field.name not in columns:
            columns[field.name] = pa.nulls(count, field.type)
    return pa.table([columns[field.name] for field in schema], schema=schema)


def _labelled(bars: pa.Table, rows: pa.Table, provider: str) -> pa.Table:
    """Return bars as rows of adjusted.built_bars, with the feed's symbol and currency of each instrument."""
    names = pl.DataFrame({name: pl.from_arrow(rows[name]) for name in ("instrument_id", "feed", "symbol", "currency")})
    first = names.group_by("instrument_id").agg(pl.col("feed").first(), pl.col("symbol").min(), pl.col("currency").min())
    ids = pl.DataFrame({"instrument_id": pl.from_arrow(bars["instrument_id"])})
    told = ids.join(first, on="instrument_id", how="left", maintain_order="left")
    table = table_named(BUILT)
    columns = {name: bars[name] for name in SCHEMA.names}
    columns |= {name: told[name].to_arrow() for name in ("feed", "symbol", "currency")}
    columns |= {
        "provider": pa.repeat(provider, bars.num_rows),
        "known_at": bars[_VERSION].cast(pa.timestamp("us")).cast(STAMP),
        "run_id": pa.repeat("", bars.num_rows),
        "moved_to": pa.nulls(bars.num_rows, pa.int64()),
    }
    made = [columns[name].cast(table.column(name).arrow_type) for name in table.column_names]
    return pa.Table.from_arrays(made, schema=table.arrow_schema())
