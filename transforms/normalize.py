"""From decoded candidates to full rows of the normalized layer.

Decoders know a payload; this step knows the house: which message a fact came from, who the instrument is, which session it
belongs to and when the market could know it. What cannot be placed goes to quarantine, nothing else is dropped.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from lake.errors import InvalidValueError
from lake.tables import Table, table_named
from lake.tables.quality import QUARANTINE
from lake.tables.reference import INSTRUMENTS, LISTINGS
from lake.values import CaptureKind, event_id
from transforms import calendars
from transforms.calendars import STAMP, Venue
from transforms.decode.decoded import FUNDAMENTALS, Decoded
from transforms.feeds import Feed
from transforms.instruments import ASSET_CLASSES, Instrument, instrument_of, yahoo_asset_class, yahoo_mic
from transforms.revisions import ENTRY_DATED_FEEDS
from transforms.symbol_eras import NO_CHANGES, SymbolEras, naming_days

_PLACE = ("symbol", "mic", "exchange", "exchange_zone", "asset_class", "currency", "name")
_US = "US"


@dataclass(frozen=True, slots=True)
class Normalized:
    """Rows ready for the row rules.

    tables        table name -> rows in the table's own schema, every table of the feed (maybe empty)
    instruments   rows of reference.instruments, one an instrument met
    listings      rows of reference.listings
    refused       rows of quality.quarantine: what the decoder refused and what found no place here
    """

    tables: dict[str, pa.Table]
    instruments: pa.Table
    listings: pa.Table
    refused: pa.Table


@dataclass(frozen=True, slots=True)
class _Place:
    """What the distinct hints of some rows mean; `refusal` is (rule, value, expected) where they mean nothing."""

    provider: str
    symbol: str
    mic: str | None
    currency: str | None
    name: str | None
    asset_class: str | None
    instrument: Instrument | None
    venue: Venue | None
    refusal: tuple[str, str, str] | None


def normalize(
    feed: Feed,
    messages: pa.Table,
    decoded: Decoded,
    kinds: Mapping[str, CaptureKind],
    run_id: str,
    recorded_at: datetime,
    eras: SymbolEras = NO_CHANGES,
) -> Normalized:
    """Return full rows of what `feed.decode(messages)` gave.

    messages      columns of raw.messages, one provider and feed; decoded.message_index counts its rows
    kinds         capture_id -> how the capture came to us, for every capture among the messages
    recorded_at   stamp of the quarantine rows
    eras          who names have meant since when: a symbol is read as of the day it was delivered (transforms/symbol_eras.py)

    known_at: what the payload itself says; else ts_recv for a live capture; else the end of a bar (its delivery, when it was
    delivered before its end), the announcement of an action, or its ex-date, at midnight of the exchange. delivered_at: what
    the decoder found; else ts_recv, unless the capture is an import. Reference facts: what the list says, else its delivery,
    else ts_recv, and never later. Statements: not before their receipt, unless the payload says
    so. Raises InvalidValueError for a capture without a kind.
    """
    unknown = set(messages["capture_id"].unique().to_pylist()) - set(kinds)
    if unknown:
        raise InvalidValueError(f"captures {sorted(unknown)} of {feed.provider} {feed.feed} have no kind in ops.captures")
    tables: dict[str, pa.Table] = {}
    refused = [_quarantine_rows(_with_message(decoded.refused, messages), run_id, recorded_at)]
    places: list[_Place] = []
    for name in feed.tables:
        rows, bad, met = _normalize_table(feed, table_named(name), messages, decoded.tables[name], kinds, run_id, eras)
        tables[name] = rows
        places += met
        refused.append(
            _quarantine_rows(bad.append_column("table_name", pa.array([name] * bad.num_rows, pa.string())), run_id, recorded_at)
        )
    instruments, listings = _reference_rows(places, run_id)
    return Normalized(tables, instruments, listings, pa.concat_tables(refused))


def _normalize_table(
    feed: Feed,
    table: Table,
    messages: pa.Table,
    rows: pa.Table,
    kinds: Mapping[str, CaptureKind],
    run_id: str,
    eras: SymbolEras,
) -> tuple[pa.Table, pa.Table, list[_Place]]:
    """Return (full rows, refused rows with rule, value and expected, places met) of one table."""
    rows = _with_message(rows, messages)
    group, places = _places(feed, table, rows)
    columns: dict[str, pa.Array] = {name: rows[name].combine_chunks() for name in rows.column_names}
    is_live = _of_capture(columns["capture_id"], {name: kind is CaptureKind.LIVE for name, kind in kinds.items()})
    is_import = _of_capture(columns["capture_id"], {name: kind is CaptureKind.IMPORT for name, kind in kinds.items()})
    is_undated = is_import if table.namespace != "reference" else pa.scalar(False)  # a list is delivered when it is brought in
    arrival = pc.if_else(is_undated, pa.scalar(None, STAMP), columns["ts_recv"])
    if "delivered_at" in table.column_names:
        columns["delivered_at"] = arrival = pc.coalesce(columns["delivered_at"], arrival)
    group, places = _by_era(feed, columns, group, places, arrival, eras)
    columns["instrument_id"] = _of_place(
        group, [None if p.instrument is None else p.instrument.instrument_id for p in places], pa.int64()
    )
    columns["mic"] = _of_place(group, [p.mic for p in places], pa.string())
    columns["run_id"] = pa.array([run_id] * rows.num_rows, pa.string()) if "run_id" in table.column_names else None
    _place_in_time(table, columns, group, places, is_live)
    rule, value, expected = _refusals(table, columns, group, places)
    is_kept = pc.is_null(rule)
    full = pa.Table.from_arrays(
        [columns[name].cast(table.column(name).arrow_type) for name in table.column_names], schema=table.arrow_schema()
    )
    bad = pa.table({"rule": rule, "value": value, "expected": expected} | {n: columns[n] for n in _MESSAGE_COLUMNS})
    return full.filter(is_kept), bad.filter(pc.invert(is_kept)), [place for place in places if place.instrument is not None]


_MESSAGE_COLUMNS = ("provider", "feed", "capture_id", "message_seq", "ordinal")


def _with_message(rows: pa.Table, messages: pa.Table) -> pa.Table:
    """Return rows with the identity and receive time of the message they came from."""
    index = rows["message_index"]
    for name in ("provider", "feed", "capture_id", "message_seq", "ts_recv"):
        if name not in rows.column_names:
            rows = rows.append_column(name, messages[name].take(index))
    return rows.drop_columns(["message_index"])


def _places(feed: Feed, table: Table, rows: pa.Table) -> tuple[pl.Series, list[_Place]]:
    """Return the number of each row's place, and the places: the distinct hints of the rows, resolved."""
    hints = pl.DataFrame({name: pl.from_arrow(rows[name]) for name in ("provider", "feed", *_PLACE)})
    distinct = hints.unique(maintain_order=True).with_row_index("group")
    varying = [name for name in hints.columns if distinct[name].n_unique() > 1]
    if varying:
        group = hints.join(distinct, on=varying, how="left", nulls_equal=True, maintain_order="left")["group"]
    else:
        group = (
            pl.Series("group", [0], pl.UInt32).new_from_index(0, len(hints)) if len(hints) else pl.Series("group", [], pl.UInt32)
        )
    may_be_nobody = not table.column("symbol").required
    return group, [_resolved(feed, hint, may_be_nobody) for hint in distinct.iter_rows(named=True)]


def _by_era(
    feed: Feed, columns: Mapping[str, pa.Array], group: pl.Series, places: list[_Place], arrival: pa.Array, eras: SymbolEras
) -> tuple[pl.Series, list[_Place]]:
    """Return group and places with each name that changed its meaning parted by what it meant when it was delivered."""
    changing = [
        number for number, place in enumerate(places) if place.instrument is not None and place.instrument.identity in eras
    ]
    if not changing:
        return group, places
    days = naming_days(columns, arrival, is_entry_dated=(feed.provider, feed.feed) in ENTRY_DATED_FEEDS)
    numbers, parted = group.to_numpy().copy(), list(places)
    for number in changing:
        place = places[number]
        if place.instrument is None:
            continue
        rows = np.flatnonzero(numbers == number)
        found = eras.numbers(place.instrument.identity, days[rows])
        for era in np.unique(found):
            numbers[rows[found == era]] = len(parted)
            parted.append(replace(place, instrument=eras.instrument(place.instrument.identity, int(era))))
        parted[number] = replace(place, instrument=None)
    return pl.Series("group", numbers), parted


def _resolved(feed: Feed, hint: Mapping[str, str | None], may_be_nobody: bool) -> _Place:
    """Return what one set of hints means; without a symbol, where the table allows that, no instrument and the UTC day."""
    provider, symbol = hint["provider"] or "", hint["symbol"] or ""
    if may_be_nobody and hint["symbol"] is None:
        utc = calendars.venue_of(None, hint["exchange_zone"] or "UTC")
        return _Place(provider, "", hint["mic"], hint["currency"], None, None, None, utc, None)
    asset_class = hint["asset_class"]
    if asset_class is not None and asset_class not in ASSET_CLASSES:
        asset_class = yahoo_asset_class(asset_class)
    mic = hint["mic"] or (yahoo_mic(hint["exchange"]) if feed.provider == "yahoo" else None)
    home = mic or ("XNYS" if _US in (feed.venue, hint["exchange"]) else None)
    if asset_class is None and home is None and feed.venue is not None:
        asset_class = "crypto"  # a venue of its own without a MIC: the crypto exchanges
    refusal = None
    instrument: Instrument | None = None
    venue: Venue | None = None
    try:
        instrument = instrument_of(provider, hint["feed"] or "", symbol, home, asset_class)
        venue = calendars.venue_of(home, hint["exchange_zone"], asset_class)
    except InvalidValueError as error:
        if instrument is None:
            refusal = ("unknown_symbol", symbol, "1-64 printable characters")
        else:
            refusal = ("unknown_venue", str(error), "a MIC with a calendar, or an IANA time zone")
            instrument = None
    return _Place(provider, symbol, mic, hint["currency"], hint["name"], asset_class, instrument, venue, refusal)


def _place_in_time(table: Table, columns: dict[str, pa.Array], group: pl.Series, places: list[_Place], is_live: pa.Array) -> None:
    """Set session_date and known_at, where the table has them, venue by venue."""
    by_venue: dict[Venue, list[int]] = {}
    for number, place in enumerate(places):
        if place.venue is not None:
            by_venue.setdefault(place.venue, []).append(number)
    parts: list[tuple[pa.Array, dict[str, pa.Array]]] = []
    count = len(group)
    for venue, numbers in by_venue.items():
        is_all = len(numbers) == len(places)
        index = pa.array(range(count)) if is_all else group.is_in(numbers).arg_true().to_arrow()
        here = columns if is_all else {name: c.take(index) for name, c in columns.items() if name in _TIMED and c is not None}
        live = is_live if is_all else is_live.take(index)
        parts.append((index, _times(table, here, venue, live)))
    for name in ("session_date", "known_at"):
        if name in table.column_names:
            columns[name] = _scattered(count, [(index, part[name]) for index, part in parts], table.column(name).arrow_type)


_TIMED = {
    "ts_event",
    "ts_recv",
    "ts_open",
    "session_date",
    "interval",
    "is_final",
    "known_at",
    "delivered_at",
    "ex_date",
    "announcement_date",
}
"""Columns that place a row in time."""


def _times(table: Table, columns: dict[str, pa.Array], venue: Venue, is_live: pa.Array) -> dict[str, pa.Array]:
    """Return session_date and known_at of rows of one venue, as far as `table` has them."""
    if table.short_name == "bars":
        day = pc.coalesce(columns["session_date"], calendars.local_dates(columns["ts_open"], venue.zone))
        return {"session_date": day, "known_at": _bars_known_at(columns, day, venue, is_live)}
    if table.short_name == "corporate_actions":
        told = pc.coalesce(columns["announcement_date"], columns["ex_date"])
        known = pc.if_else(is_live, columns["ts_recv"], calendars.midnights(told, venue.zone))
        return {"known_at": pc.coalesce(columns["known_at"], known)}
    if table.namespace == "reference":
        told, received = pc.coalesce(columns["known_at"], columns["delivered_at"]), columns["ts_recv"]
        known = pc.if_else(pc.less(told, received), told, received)
        return {"known_at": known, "session_date": columns.get("session_date")}
    event = columns["ts_event"] if table.is_revised else pc.coalesce(columns["ts_event"], columns["ts_recv"])
    placed = {"session_date": calendars.session_dates(event, venue)}
    if not table.is_revised:
        return placed
    if "session_date" in columns:
        placed["session_date"] = pc.coalesce(columns["session_date"], placed["session_date"])
    if table.name == FUNDAMENTALS:  # its instant is the end of a period, weeks before anybody knew of it
        return placed | {"known_at": pc.coalesce(columns["known_at"], columns["ts_recv"])}
    return placed | {"known_at": pc.coalesce(columns["known_at"], pc.if_else(is_live, columns["ts_recv"], event))}


def _bars_known_at(columns: dict[str, pa.Array], day: pa.Array, venue: Venue, is_live: pa.Array) -> pa.Array:
    """Return when each bar could be known: see `normalize`."""
    parts = []
    intervals = pl.Series("i", pl.from_arrow(columns["interval"]))
    for interval in intervals.drop_nulls().unique(maintain_order=True):
        index = (intervals == interval).arg_true().to_arrow()
        try:
            end = calendars.bar_ends(columns["ts_open"].take(index), day.take(index), interval, venue)
        except InvalidValueError:
            continue  # no known_at: refused below with the interval as its value
        parts.append((index, end))
    ends = _scattered(len(intervals), parts, STAMP)
    arrival = pc.coalesce(columns["delivered_at"], columns["ts_recv"])
    early = pc.if_else(pc.less(arrival, ends), arrival, ends)
    known = pc.if_else(pc.fill_null(columns["is_final"], True), ends, early)
    return pc.coalesce(columns["known_at"], pc.if_else(is_live, columns["ts_recv"], known))


def _refusals(
    table: Table, columns: dict[str, pa.Array], group: pl.Series, places: list[_Place]
) -> tuple[pa.Array, pa.Array, pa.Array]:
    """Return rule, value and expectation of each row that found no place; null for the others."""
    told = [
        _of_place(group, [None if place.refusal is None else place.refusal[part] for place in places], pa.string())
        for part in range(3)
    ]
    for name in ("session_date", "known_at"):
        if name not in table.column_names:
            continue
        missing = pc.is_null(columns[name])
        if pc.any(missing).as_py():
            clue = columns["interval"] if "interval" in columns else pa.nulls(len(missing), pa.string())
            for part, text in enumerate((f"no_{name}", clue, "an instant and an interval that a calendar can place")):
                told[part] = pc.coalesce(told[part], pc.if_else(missing, text, pa.scalar(None, pa.string())))
    return told[0], told[1], told[2]


def _of_place(group: pl.Series, values: list[object], kind: pa.DataType) -> pa.Array:
    return pa.array(values, kind).take(group.to_arrow())


def _of_capture(captures: pa.Array, values: Mapping[str, bool]) -> pa.Array:
    """Return a value of each row's capture."""
    encoded = captures.dictionary_encode()
    return pa.array([values[name] for name in encoded.dictionary.to_pylist()], pa.bool_()).take(encoded.indices)


def _scattered(count: int, parts: list[tuple[pa.Array, pa.Array]], kind: pa.DataType) -> pa.Array:
    """Return one column from (row numbers, values) parts; rows of no part are null."""
    if len(parts) == 1 and len(parts[0][0]) == count:
        return parts[0][1]
    if not parts:
        return pa.nulls(count, kind)
    index = pa.concat_arrays([part[0].cast(pa.int64()) for part in parts])
    values = pa.concat_arrays([part[1].cast(kind) for part in parts])
    back = pl.DataFrame({"row": pl.from_arrow(index), "at": range(len(index))}, schema_overrides={"at": pl.Int64})
    order = pl.DataFrame({"row": pl.Series(range(count), dtype=pl.Int64)}).join(back, on="row", how="left", maintain_order="left")
    return values.take(order["at"].to_arrow())


def _quarantine_rows(bad: pa.Table, run_id: str, recorded_at: datetime) -> pa.Table:
    """Return rows of quality.quarantine."""
    count = bad.num_rows
    places = zip(*(bad[name].to_pylist() for name in ("capture_id", "message_seq", "ordinal")), strict=True)
    columns = {
        "event_id": pa.array([event_id(*place) for place in places], pa.string()),
        "recorded_at": pa.array([recorded_at] * count, STAMP),
        "run_id": pa.array([run_id] * count, pa.string()),
    }
    return pa.Table.from_arrays(
        [
            columns[column.name] if column.name in columns else bad[column.name].combine_chunks().cast(column.arrow_type)
            for column in QUARANTINE.columns
        ],
        schema=QUARANTINE.arrow_schema(),
    )


def _reference_rows(places: list[_Place], run_id: str) -> tuple[pa.Table, pa.Table]:
    """Return rows of reference.instruments and reference.listings for the places met, the fullest row of each key."""
    instruments, listings = [], []
    for place in places:
        if place.instrument is None:
            continue
        known = {"instrument_id": place.instrument.instrument_id, "mic": place.mic, "currency": place.currency, "run_id": run_id}
        instruments.append(
            known
            | {
                "identity": place.instrument.identity,
                "name": place.name,
                "asset_class": place.asset_class,
                "is_provisional": place.instrument.is_provisional,
            }
        )
        listings.append(known | {"provider": place.provider, "symbol": place.symbol})
    return (
        fullest(INSTRUMENTS, pa.Table.from_pylist(instruments, schema=INSTRUMENTS.arrow_schema())),
        fullest(LISTINGS, pa.Table.from_pylist(listings, schema=LISTINGS.arrow_schema())),
    )


def fullest(table: Table, rows: pa.Table) -> pa.Table:
    """Return one whole row a key: the one that tells most, then the smallest by its values; any order gives the same."""
    if rows.num_rows == 0:
        return rows
    order = [name for name in table.business_columns if name not in table.key]
    best: dict[tuple[object, ...], tuple[tuple[object, ...], dict[str, object]]] = {}
    for row in rows.to_pylist():
        key = tuple(row[name] for name in table.key)
        rank = (sum(row[name] is None for name in order), *(str(row[name] or "") for name in order))
        if key not in best or rank < best[key][0]:
            best[key] = (rank, row)
    return pa.Table.from_pylist([row for _, row in best.values()], schema=table.arrow_schema())


def reference_news(table: Table, new: pa.Table, existing: pa.Table) -> pa.Table:
    """Return the rows of `new` to publish beside the effective `existing` rows: unknown keys, and fuller rows of known ones."""
    columns = list(table.column_names)
    known = {tuple(row[name] for name in table.business_columns) for row in existing.select(columns).to_pylist()}
    both = fullest(table, pa.concat_tables([existing.select(columns).cast(table.arrow_schema()), new.select(columns)]))
    fresh = [row for row in both.to_pylist() if tuple(row[name] for name in table.business_columns) not in known]
    return pa.Table.from_pylist(fresh, schema=table.arrow_schema())
