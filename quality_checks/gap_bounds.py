"""Where a feed's gap begins and ends, by what is in the lake: which table, which instants, which numbers."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pyarrow.compute as pc

from lake.catalog import Lake
from lake.conditions import Where
from lake.errors import InvalidValueError
from lake.instants import EPOCH, parse_instant
from lake.scan import read
from lake.values import CaptureKind
from quality_checks.batches import kinds_of
from quality_checks.gap_proofs import clock_unit_ns, is_promoted
from quality_checks.gaps import GapStatus, KnownGap
from transforms.clocks import cut
from transforms.feeds import feed_named

TRADES, QUOTES, BOOK_EVENTS, BARS = (f"normalized.{name}" for name in ("trades", "quotes", "book_events", "bars"))
EVENTS = frozenset({TRADES, QUOTES, BOOK_EVENTS})
"""Tables of what happened on a venue: another provider tells of other venues, or of some only. Bars of two tell one market."""
NUMBERED = frozenset({("binance", TRADES)})
"""Feeds whose trades are numbered without a hole, so that numbers tell what is missing."""
PATIENCE = timedelta(minutes=15)
"""A quiet feed's gap ends now when nothing has come for this long after it was told."""
DEATH = "-gap-end"
"""How the id of a gap ends that a capture left by dying: it is of every channel."""
_TABLES = {
    "trade": TRADES,
    "trades": TRADES,
    "quotes": QUOTES,
    "bookTicker": QUOTES,
    "depth": BOOK_EVENTS,
    "bars": BARS,
    "updatedBars": BARS,
    "dailyBars": BARS,
}
_MILLISECOND, _MICROSECOND = timedelta(milliseconds=1), timedelta(microseconds=1)
_LAST_MS = 253_402_300_799_999
_NEAR = (10_000, 10_000_000, None)
"""How far from a number the nearest one is looked for, step by step: a feed's whole history is not read for one gap."""
_AHEAD = (timedelta(hours=1), timedelta(days=1), None)
"""How far the next event is looked for, step by step."""


def table_of(channel: str) -> str | None:
    """Return the table that a feed's channel fills, like `btcusdt@trade` or `quotes`; None for one that is not known."""
    name = channel.rpartition("@")[2] if "@" not in channel else channel.split("@")[1]
    return _TABLES.get(name)


def bounded(lake: Lake, gap: KnownGap, now: datetime) -> KnownGap | None:
    """Return a gap with its table, instants and, where trades are numbered, count; None while the data do not tell its end."""
    if gap.gap_start is not None and gap.gap_end is not None:
        return gap
    table = gap.table_name or table_of(gap.channel)
    if table is None:
        return replace(gap, status=GapStatus.UNFILLABLE, reason=f"{gap.reason}; no table is known for this channel")
    interval = gap.interval or (("1d" if "daily" in gap.channel else "1m") if table == BARS else None)
    known = replace(gap, table_name=table, interval=interval)
    first, last = _number(gap.first_missing), _number(gap.last_missing)
    if (gap.provider, table) in NUMBERED and first is not None:
        return _by_numbers(lake, known, first, last, now)
    start = _instant(gap.first_missing)
    if start is None:
        return replace(known, status=GapStatus.UNFILLABLE, reason=f"{gap.reason}; nothing tells when it began")
    end = _next_event(lake, known, start)
    if end is None and now - gap.recorded_at < PATIENCE:
        return None
    unit_ns = clock_unit_ns(gap.provider, gap.feed)  # an instant told coarser stands for all of its unit
    unit = _MILLISECOND if (gap.first_missing or "").isdigit() else max(_MICROSECOND, timedelta(microseconds=unit_ns // 1_000))
    last_told = now if end is None else cut(end, unit_ns) + unit
    return replace(known, gap_start=cut(start, unit_ns), gap_end=last_told)


def parts_of_death(lake: Lake, gap: KnownGap) -> list[KnownGap] | None:
    """Return the gaps of each symbol and table that a dead capture had, from its last event on; None while they have not come.

    The gap itself is of all channels, and tells no symbol. What the capture was to bring and did not begins with it.
    """
    dead = gap.gap_id.removesuffix(DEATH)
    captures = read(lake, "ops.captures", ["started_at", "detail"], [Where("capture_id", "=", dead)]).to_pylist()
    if not captures:
        return None
    found: list[KnownGap] = []
    filled, wanted = feed_named(gap.provider, gap.feed).tables, _wanted(captures[0]["detail"])
    for table in (each for each in (TRADES, QUOTES, BOOK_EVENTS) if each in filled):
        if not is_promoted(lake, dead, gap.provider, table):
            return None
        names = ["symbol", "ts_event", "ts_recv", "sequence"]
        rows = read(lake, table, names, [Where("provider", "=", gap.provider), Where("capture_id", "=", dead)])
        at = pc.coalesce(rows["ts_event"], rows["ts_recv"])
        told = pa.table({"symbol": rows["symbol"], "at": at, "sequence": rows["sequence"]}).group_by("symbol")
        firsts = dict.fromkeys(wanted.get(table, ()), captures[0]["started_at"].astimezone(UTC).isoformat())
        for row in told.aggregate([("at", "max"), ("sequence", "max")]).to_pylist():
            is_numbered = (gap.provider, table) in NUMBERED
            firsts[row["symbol"]] = str(row["sequence_max"] + 1) if is_numbered else row["at_max"].astimezone(UTC).isoformat()
        found += [
            replace(
                gap, gap_id=f"{gap.gap_id}-{table.partition('.')[2]}-{symbol}", symbol=symbol, table_name=table,
                first_missing=first, last_missing=None, status=GapStatus.OPEN,
            )
            for symbol, first in sorted(firsts.items())
        ]  # fmt: skip
    return found


def _wanted(detail: str | None) -> Mapping[str, set[str]]:
    """Return table -> symbols that a capture was to bring, as it noted when it began."""
    found: dict[str, set[str]] = defaultdict(set)
    for channel, symbols in json.loads(detail or "{}").get("wanted", {}).items():
        table = table_of(channel)
        if table is not None:
            found[table].update(symbols)
    return found


def _by_numbers(lake: Lake, gap: KnownGap, first: int, last: int | None, now: datetime) -> KnownGap | None:
    """Return the bounds of a gap in numbers: those before the next number that the feed itself told.

    What a backfill brought ends no gap: its page may have told numbers that the feed was still missing, and some after those not.
    """
    until = _told_until(lake, gap, first, now) if last is None else last
    before = _event(lake, gap, "<", first)
    if until is None or before is None:
        return None
    after = _event(lake, gap, ">=", until + 1) or _event(lake, gap, "<", until + 1)
    if after is None or (last is not None and after[0] <= until):
        return None
    missing = until - first + 1
    told = replace(
        gap, last_missing=str(until), gap_start=before[1], gap_end=max(after[1], before[1]) + _MILLISECOND, missing_count=missing
    )  # fmt: skip
    if missing:
        return told
    return replace(told, status=GapStatus.FILLED, found_count=0, reason=f"{gap.reason}; {first} came next: nothing is missing")


def _told_until(lake: Lake, gap: KnownGap, first: int, now: datetime) -> int | None:
    """Return the number before the next that the feed told; where it stays silent, the highest that anybody told; or None."""
    own, rows = _own(lake, gap), None
    for near in _NEAR:
        limit = [] if near is None else [Where("sequence", "<", first + near)]
        where = [*_of_feed(gap), Where("sequence", ">=", first), *limit]
        rows = read(lake, str(gap.table_name), ["sequence", "capture_id"], where)
        following: int | None = pc.min(rows.filter(pc.is_in(rows["capture_id"], value_set=own))["sequence"]).as_py()
        if following is not None:
            return following - 1
    if rows is None or now - gap.recorded_at < PATIENCE:
        return None
    highest: int | None = pc.max(rows["sequence"]).as_py()
    return highest


def _event(lake: Lake, gap: KnownGap, op: str, number: int) -> tuple[int, datetime] | None:
    """Return (number, instant) of the event nearest to a number on one side of it; None when the lake has none."""
    is_after = op == ">="
    for near in _NEAR:
        limit = (
            []
            if near is None
            else [Where("sequence", "<", number + near) if is_after else Where("sequence", ">=", number - near)]
        )
        where = [*_of_feed(gap), Where("sequence", ">=" if is_after else "<", number), *limit]
        rows = read(lake, str(gap.table_name), ["sequence", "ts_event"], where)
        if rows.num_rows:
            place = pc.min_max(rows["sequence"]).as_py()["min" if is_after else "max"]
            return place, rows.filter(pc.equal(rows["sequence"], place))["ts_event"][0].as_py()
    return None


def _next_event(lake: Lake, gap: KnownGap, start: datetime) -> datetime | None:
    """Return the instant of the first event after `start` that the feed itself told, not a backfill; None when there is none."""
    column = "ts_open" if gap.table_name == BARS else "ts_event"
    where = [*_of_feed(gap), Where(column, ">", start)]
    own = _own(lake, gap)
    for ahead in _AHEAD:
        limit = [] if ahead is None else [Where(column, "<=", start + ahead)]
        rows = read(lake, str(gap.table_name), [column, "capture_id"], [*where, *limit])
        first: datetime | None = pc.min(rows.filter(pc.is_in(rows["capture_id"], value_set=own))[column]).as_py()
        if first is not None:
            return first
    return None


def _own(lake: Lake, gap: KnownGap) -> pa.Array:
    """Return the captures by which a feed told of itself: all but backfills."""
    kinds = kinds_of(lake, gap.provider)
    return pa.array([name for name, kind in kinds.items() if kind is not CaptureKind.BACKFILL], pa.string())


def _of_feed(gap: KnownGap) -> Iterator[Where]:
    names = [("provider", gap.provider), ("feed", gap.feed), ("symbol", gap.symbol)]
    return (Where(name, "=", value) for name, value in [*names, *([("interval", gap.interval)] if gap.interval else [])])


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and text.isdigit() and len(text) < 19 else None


def _instant(text: str | None) -> datetime | None:
    """Return the instant that a feed told as its own clock: UNIX milliseconds, or RFC 3339 with up to nine digits; else None."""
    number = _number(text)
    if number is not None:
        return EPOCH + number * _MILLISECOND if number <= _LAST_MS else None
    if text is None:
        return None
    head, point, rest = text.partition(".")
    digits = rest[: len(rest) - len(rest.lstrip("0123456789"))]
    try:
        return parse_instant(head + (f".{digits[:6]}" + rest[len(digits) :] if point else ""))
    except InvalidValueError:
        return None
