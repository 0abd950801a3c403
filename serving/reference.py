"""Questions about what things are: instruments, corporate actions, sessions of a market, feeds."""

from __future__ import annotations

from datetime import date, datetime, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lake import scan
from lake.catalog import Lake
from lake.errors import InvalidValueError, NotFoundError
from lake.instants import to_datetime
from lake.scan import PUBLISHED_AT, Where
from lake.tables import table_named
from serving.answers import Answered, newest, page, snapshots_of, told
from serving.bars import ACTIONS, FACTORS, facts_in_force, in_force
from serving.instruments import instrument_named, listings_at
from transforms.calendars import Market, sessions_of, venue_of
from transforms.feeds import FEEDS
from transforms.revisions import effective

INSTRUMENTS, LISTINGS = "reference.instruments", "reference.listings"
MAX_SESSIONS = 10_000
_DAYS_AHEAD = 30
_STAMP = pa.timestamp("us", "UTC")


def instruments(
    lake: Lake,
    search: str | None = None,
    provider: str | None = None,
    as_of: datetime | None = None,
    limit: int = 1_000,
    offset: int = 0,
    at: date | None = None,
) -> Answered:
    """Return instruments by identity, each with the symbols that mean it; `search` is found anywhere in the names.

    at   only symbols that mean the instrument on that day, and instruments that have one; None: at any time
    """
    snapshots = snapshots_of(lake, INSTRUMENTS, LISTINGS)
    symbols: dict[int, set[tuple[str, str]]] = {}
    for owner, row in listings_at(lake, at, as_of):
        symbols.setdefault(owner, set()).add((row["provider"], row["symbol"]))
    rows = []
    for row in scan.read(lake, INSTRUMENTS, as_of=as_of).to_pylist():
        if at is not None and row["instrument_id"] not in symbols:
            continue
        known = sorted(symbols.get(row["instrument_id"], ()))
        told_by = sorted({one for one, _ in known})
        spelled = sorted({one for _, one in known})
        words = " ".join([row["identity"], row["name"] or "", *spelled]).lower()
        if (search is None or search.lower() in words) and (provider is None or provider in told_by):
            rows.append({**row, "instrument_id": str(row["instrument_id"]), "symbols": spelled, "providers": told_by})
    schema = pa.schema(
        [
            *((name, pa.string()) for name in ("instrument_id", "identity", "name", "asset_class", "currency", "mic")),
            ("is_provisional", pa.bool_()),
            ("symbols", pa.list_(pa.string())),
            ("providers", pa.list_(pa.string())),
        ]
    )
    table = pa.Table.from_pylist(sorted(rows, key=lambda row: str(row["identity"])), schema)
    shown, more = page(table, limit, offset)
    return Answered(shown, {**told(lake, snapshots, fresh_of(lake, INSTRUMENTS), as_of=as_of, at=at), **more})


def corporate_actions(
    lake: Lake,
    symbol: str,
    start: date | None = None,
    end: date | None = None,
    provider: str | None = None,
    as_of: datetime | None = None,
    known_as_of: datetime | None = None,
) -> Answered:
    """Return announcements of one instrument by ex_date in `[start, end)`, newest version each, with the factor in force.

    Raises NotFoundError for an unknown symbol, InvalidValueError for a range that ends before it starts.
    """
    if start is not None and end is not None and end < start:
        raise InvalidValueError(f"end {end} is before start {start}; a range is [start, end)")
    instrument = instrument_named(lake, symbol, as_of=as_of)
    snapshots = snapshots_of(lake, ACTIONS, FACTORS)
    where = [Where("instrument_id", "=", instrument.instrument_id)]
    factors = newest_factors(in_force(lake, FACTORS, where, as_of, known_as_of))
    of = [] if provider is None else [Where("provider", "=", provider)]
    rows = newest_versions_of(facts_in_force(lake, ACTIONS, instrument, of, as_of, known_as_of))
    if start is not None:
        rows = rows.filter(pc.greater_equal(rows["ex_date"], pa.scalar(start)))
    if end is not None:
        rows = rows.filter(pc.less(rows["ex_date"], pa.scalar(end)))
    rows = rows.sort_by([("ex_date", "ascending"), ("kind", "ascending"), ("provider", "ascending")])
    keys = zip(rows["instrument_id"].to_pylist(), rows["kind"].to_pylist(), rows["ex_date"].to_pylist(), strict=True)
    applied = [factors.get(key) for key in keys]
    names = [
        *("ex_date", "kind", "status", "ratio_old", "ratio_new", "amount", "currency", "share_basis"),
        *("announcement_date", "record_date", "pay_date", "known_at", "provider", "feed", "symbol", "action_key"),
        *("capture_id", "message_seq", "ordinal"),
    ]
    table = rows.select(names)
    for name in ("price_factor", "volume_factor"):
        kind = table_named(FACTORS).column(name).arrow_type
        table = table.append_column(name, pa.array([None if one is None else one[name] for one in applied], kind))
    metadata = told(
        lake, snapshots, newest(rows, "known_at"), "as_announced", as_of, known_as_of, instrument=instrument.document()
    )
    return Answered(table, metadata)


def newest_actions(
    lake: Lake, where: list[Where], as_of: datetime | None = None, known_as_of: datetime | None = None
) -> pa.Table:
    """Return the newest version of each action that satisfies `where`, with its published_at."""
    definition = table_named(ACTIONS)
    names = [*definition.column_names, PUBLISHED_AT]
    return newest_versions_of(effective(definition, scan.read(lake, ACTIONS, names, where, as_of=as_of, known_as_of=known_as_of)))


def newest_versions_of(found: pa.Table) -> pa.Table:
    """Return of effective corporate actions the version of each known last."""
    newest_by: dict[tuple[object, ...], tuple[datetime, int]] = {}
    keys = [found[name].to_pylist() for name in ("instrument_id", "provider", "feed", "action_key")]
    for number, (known, *key) in enumerate(zip(found["known_at"].to_pylist(), *keys, strict=True)):
        best = newest_by.get(tuple(key))
        if best is None or best[0] <= known:
            newest_by[tuple(key)] = (known, number)
    return found.take(pa.array(sorted(number for _, number in newest_by.values()), pa.int64()))


def newest_factors(rows: pa.Table) -> dict[tuple[object, ...], dict[str, object]]:
    """Return the newest factor by (instrument_id, kind, ex_date)."""
    ordered = rows.sort_by("known_at").to_pylist()
    return {(row["instrument_id"], row["kind"], row["ex_date"]): row for row in ordered}


def calendar(lake: Lake, mic: str, start: date | None = None, end: date | None = None) -> Answered:
    """Return the sessions of a market in `[start, end)`, by default the 30 days around today: opens and closes in UTC.

    Raises NotFoundError for a MIC without a calendar, InvalidValueError for a range too long or backwards.
    """
    today = to_datetime(lake.clock()).date()
    first = start or today - timedelta(days=_DAYS_AHEAD)
    last = end or (first if start is not None else today) + timedelta(days=_DAYS_AHEAD)
    if last < first:
        raise InvalidValueError(f"end {last} is before start {first}; a range is [start, end)")
    try:
        venue = venue_of(mic.upper())
    except InvalidValueError as error:
        raise NotFoundError(f"no calendar for the MIC {mic!r}; expected an exchange like XNYS, XLON, XTKS") from error
    assert venue.market is Market.CALENDAR
    sessions = sessions_of(venue.calendar)
    low, high = np.searchsorted(sessions.days, np.array([first, last], "datetime64[D]"))
    if high - low > MAX_SESSIONS:
        raise InvalidValueError(f"{high - low} sessions between {first} and {last}; at most {MAX_SESSIONS}: ask for less")
    table = pa.table(
        {
            "session_date": pa.array(sessions.days[low:high]).cast(pa.date32()),
            "opens_at": pa.array(sessions.opens[low:high], pa.int64()).cast(_STAMP),
            "closes_at": pa.array(sessions.closes[low:high], pa.int64()).cast(_STAMP),
        }
    )
    bounds = {"first_known": str(sessions.days[0]), "last_known": str(sessions.days[-1])}
    metadata = told(lake, {}, None, mic=mic.upper(), calendar=venue.calendar, zone=venue.zone)
    return Answered(table, {**metadata, **bounds, "source": "exchange_calendars"})


def feeds(lake: Lake) -> Answered:
    """Return every feed that can be read: its payload, the tables it fills, and when it last delivered here."""
    captures = scan.read(lake, "ops.captures", ["provider", "feed", "started_at"])
    last = captures.group_by(["provider", "feed"]).aggregate([("started_at", "max"), ([], "count_all")]).to_pylist()
    by_feed = {(row["provider"], row["feed"]): row for row in last}
    rows = [
        {
            "provider": feed.provider,
            "feed": feed.feed,
            "reads": feed.payload,
            "numbers": str(feed.number_kind),
            "tables": list(feed.tables),
            "captures": by_feed.get(key, {}).get("count_all", 0),
            "last_capture_at": by_feed.get(key, {}).get("started_at_max"),
        }
        for key, feed in sorted(FEEDS.items())
    ]
    schema = pa.schema(
        [
            *((name, pa.string()) for name in ("provider", "feed", "reads", "numbers")),
            ("tables", pa.list_(pa.string())),
            ("captures", pa.int64()),
            ("last_capture_at", _STAMP),
        ]
    )
    table = pa.Table.from_pylist(rows, schema)
    return Answered(table, told(lake, snapshots_of(lake, "ops.captures"), newest(table, "last_capture_at")))


def fresh_of(lake: Lake, *tables: str) -> datetime | None:
    """Return when main of any of these tables last changed."""
    stamps = [snapshot.timestamp_ms for name in tables if (snapshot := lake.table(name).current_snapshot()) is not None]
    return to_datetime(max(stamps) * 1_000_000) if stamps else None
