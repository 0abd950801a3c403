"""Bars of trades, of quotes and of finer bars: laid on sessions, counted by conditions, exact.

A bar exists where something counted in it, never for an empty interval; it covers [ts_open, ts_end). A trade changes what its
condition codes let it (`conditions.py`): a bar of odd lots alone has a volume and no price. The dollar volume is the exact sum of
price times size of the trades in the volume, the VWAP their quotient, rounded once, half to even. Bars of quotes are of the
bid, the ask or the mid, and are named so; they have no volume. Everything here is derived and is said to be.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lake.errors import InvalidValueError
from lake.tables.definition import arrow_type
from lake.tables.quantities import DOLLAR_VOLUME_TYPE, PRICE_TYPE, SIZE_TYPE, VOLUME_TYPE
from transforms.bar_runs import (
    Flags,
    Int64s,
    Runs,
    Wide,
    decimals,
    in_order,
    product_sums,
    quotients,
    runs_of,
    sums,
    units,
    wide_sums,
    wide_units,
    words,
)
from transforms.bar_spans import Interval, Spans, interval_of, spans
from transforms.calendars import STAMP, Venue
from transforms.conditions import HIGH_LOW, OPEN_CLOSE, OUTSIDE, VOLUME, Effects

PRICES = ("open", "high", "low", "close")
QUOTE_KINDS = ("bid", "ask", "mid")
SCHEMA = pa.schema(
    [
        ("instrument_id", pa.int64()),
        ("price_type", pa.string()),
        ("interval", pa.string()),
        ("session_date", pa.date32()),
        ("ts_open", STAMP),
        ("ts_end", STAMP),
        *((name, arrow_type(PRICE_TYPE)) for name in PRICES),
        ("volume", arrow_type(VOLUME_TYPE)),
        ("trade_count", pa.int64()),
        ("quote_count", pa.int64()),
        ("dollar_volume", arrow_type(DOLLAR_VOLUME_TYPE)),
        ("vwap", arrow_type(PRICE_TYPE)),
    ]
)
_LEAST, _MOST = np.iinfo(np.int64).min, np.iinfo(np.int64).max
_TIES = ("ts_event_nanos", "sequence")


@dataclass(frozen=True, slots=True)
class _Rows:
    """Rows in order of series and time, to be reduced along their runs.

    first, high, low, last   prices to take the open, high, low and close from
    opens, ranges            which rows may tell open and close, and which high and low; None: all of them
    """

    first: Int64s
    high: Int64s
    low: Int64s
    last: Int64s
    opens: Flags | None = None
    ranges: Flags | None = None


@dataclass(frozen=True, slots=True)
class _Counted:
    """What the runs add up to; None where the kind of bar has none."""

    volume: Wide | None = None
    trades: Int64s | None = None
    quotes: Int64s | None = None
    dollars: Wide | None = None


def trade_bars(
    trades: pa.Table, interval: str, venue: Venue, effects: Effects | None = None, extra: Sequence[str] = ()
) -> pa.Table:
    """Return the bars of trades (SCHEMA, `extra` columns behind it), in order of (instrument_id, *extra, ts_open).

    trades    instrument_id, session_date, ts_event, price, size of normalized.trades, any order; of one microsecond they are
              put in order by ts_event_nanos and sequence where these are given, else kept as they come
    interval  `1s` … below a day, `1d`, `1wk`, `1mo`
    venue     whose sessions the bars lie on
    effects   what each trade changes (`conditions.effects`); None: everything
    extra     columns of integers that part bars of one instrument further

    Raises InvalidValueError for an unknown interval, a null where none may be, and sums beyond their columns.
    """
    meant = interval_of(interval)
    _no_nulls(trades, "instrument_id", "session_date", "ts_event", "price", "size")
    if not trades.num_rows:
        return _empty(trades, extra)
    trades, effects = _ordered(trades, "ts_event", extra, effects)
    at, days = words(trades, "ts_event"), words(trades, "session_date")
    span = spans(at, days, meant, venue, tells_outside=effects is not None)
    series = [words(trades, name) for name in ("instrument_id", *extra)]
    runs = runs_of(*series, span.opens)
    price, size = units(trades["price"], PRICE_TYPE), units(trades["size"], SIZE_TYPE)
    rows = _Rows(price, price, price, price)
    count = runs.behind - runs.first
    if effects is not None:
        flags = effects if span.is_outside is None else np.where(span.is_outside, effects >> OUTSIDE | effects & VOLUME, effects)
        rows = replace(rows, opens=flags & OPEN_CLOSE > 0, ranges=flags & HIGH_LOW > 0)
        is_counted = flags & VOLUME > 0
        count = np.add.reduceat(is_counted.astype(np.int64), runs.first)
        size = np.where(is_counted, size, 0)
    counted = _Counted(sums(size, runs), count, None, product_sums(price, size, runs))
    made = _made(trades, extra, rows, runs, span, counted, "trade", meant)
    return made if effects is None else made.filter(_tells(made))


def quote_bars(
    quotes: pa.Table, interval: str, venue: Venue, kinds: Sequence[str] = QUOTE_KINDS, extra: Sequence[str] = ()
) -> pa.Table:
    """Return the bars of bids, asks and mids, kind by kind, as `trade_bars` does.

    quotes    instrument_id, session_date, ts_event, bid_price, ask_price

    A side that a quote does not tell makes no bar of it, and no mid. A mid is rounded once, half to even.
    """
    meant = interval_of(interval)
    _no_nulls(quotes, "instrument_id", "session_date", "ts_event")
    quotes, _ = _ordered(quotes, "ts_event", extra, None)
    found = []
    for kind in kinds:
        told = [f"{side}_price" for side in ("bid", "ask") if kind in (side, "mid")]
        here = quotes
        for name in told:
            here = here.filter(pc.is_valid(here[name])) if here[name].null_count else here
        if not here.num_rows:
            continue
        price = units(here[told[0]], PRICE_TYPE)
        if kind == "mid":
            total = price + units(here[told[1]], PRICE_TYPE)
            price = (total >> 1) + (total & 1 & total >> 1)
        span = spans(words(here, "ts_event"), words(here, "session_date"), meant, venue)
        runs = runs_of(*(words(here, name) for name in ("instrument_id", *extra)), span.opens)
        counted = _Counted(quotes=runs.behind - runs.first)
        found.append(_made(here, extra, _Rows(price, price, price, price), runs, span, counted, kind, meant))
    return pa.concat_tables(found) if found else _empty(quotes, extra)


def bars_of_bars(bars: pa.Table, interval: str, venue: Venue, extra: Sequence[str] = ()) -> pa.Table:
    """Return coarser bars of finer ones of one price type, any order; the same as bars of their trades.

    bars      SCHEMA's columns (and `extra`), of an interval whose grid the coarser one's edges lie on

    A day made of shorter bars holds what those count: prices outside the session are in it, which a day made of trades with
    condition codes leaves out. Raises InvalidValueError for bars of several price types.
    """
    meant = interval_of(interval)
    if not bars.num_rows:
        return _empty(bars, extra)
    kinds = bars["price_type"].unique().to_pylist()
    if len(kinds) != 1:
        raise InvalidValueError(f"bars of {', '.join(sorted(kinds))} together; expected one price type")
    bars, _ = _ordered(bars, "ts_open", extra, None)
    span = spans(words(bars, "ts_open"), words(bars, "session_date"), meant, venue)
    runs = runs_of(*(words(bars, name) for name in ("instrument_id", *extra)), span.opens)
    first, high, low, last = (units(bars[name], PRICE_TYPE) for name in PRICES)
    rows = _Rows(first, high, low, last, _known(bars["open"]), _known(bars["high"]))
    totals = [np.add.reduceat(words(bars, name), runs.first) for name in ("trade_count", "quote_count")]
    if kinds == ["trade"]:
        volume = wide_sums(wide_units(bars["volume"], VOLUME_TYPE), runs)
        dollars = wide_sums(wide_units(bars["dollar_volume"], DOLLAR_VOLUME_TYPE), runs)
        counted = _Counted(volume, totals[0], None, dollars)
    else:
        counted = _Counted(quotes=totals[1])
    return _made(bars, extra, rows, runs, span, counted, kinds[0], meant)


def _known(column: pa.ChunkedArray) -> Flags | None:
    """Return which values are given; None where all are."""
    return np.asarray(column.is_valid().to_numpy()) if column.null_count else None


def _no_nulls(table: pa.Table, *names: str) -> None:
    nulls = [name for name in names if table.column(name).null_count]
    if nulls:
        raise InvalidValueError(f"null in {', '.join(nulls)}; a bar takes rows that tell them")


def _empty(table: pa.Table, extra: Sequence[str]) -> pa.Table:
    return pa.schema([*SCHEMA, *(table.schema.field(name) for name in extra)]).empty_table()


def _ordered(table: pa.Table, clock: str, extra: Sequence[str], effects: Effects | None) -> tuple[pa.Table, Effects | None]:
    """Return the rows in order of series and time, as they are where they stand so, and their effects."""
    ties = [name for name in _TIES if name in table.column_names]
    order = in_order(*(words(table, name) for name in ("instrument_id", *extra, clock, *ties)))
    if order is None:
        return table, effects
    return table.take(order), effects if effects is None else effects[order.to_numpy()]


def _made(
    table: pa.Table,
    extra: Sequence[str],
    rows: _Rows,
    runs: Runs,
    span: Spans,
    counted: _Counted,
    kind: str,
    interval: Interval,
) -> pa.Table:
    """Return the bars of the runs."""
    at = pa.array(runs.first)
    bars = len(runs.first)
    prices = _prices(rows, runs)
    vwap, no_vwap = (None, None)
    if counted.dollars is not None and counted.volume is not None:
        vwap, no_vwap = quotients(counted.dollars, counted.volume)  # 1e-17 over 1e-8 is 1e-9, the last place of a price
    columns = {
        "instrument_id": table["instrument_id"].take(at),
        "price_type": pa.repeat(kind, bars),
        "interval": pa.repeat(interval.name, bars),
        "session_date": pa.array(span.days[runs.first].astype(np.int32)).cast(pa.date32()),
        "ts_open": pa.array(span.opens[runs.first]).cast(STAMP),
        "ts_end": pa.array(span.ends[runs.first]).cast(STAMP),
        **prices,
        "volume": None if counted.volume is None else decimals(counted.volume, arrow_type(VOLUME_TYPE)),
        "trade_count": None if counted.trades is None else pa.array(counted.trades),
        "quote_count": None if counted.quotes is None else pa.array(counted.quotes),
        "dollar_volume": None if counted.dollars is None else decimals(counted.dollars, arrow_type(DOLLAR_VOLUME_TYPE)),
        "vwap": None if vwap is None else decimals(Wide.of(vwap), arrow_type(PRICE_TYPE), no_vwap),
        **{name: table[name].take(at) for name in extra},
    }
    schema = _empty(table, extra).schema
    given = [pa.nulls(bars, field.type) if columns[field.name] is None else columns[field.name] for field in schema]
    return pa.Table.from_arrays(given, schema=schema)


def _prices(rows: _Rows, runs: Runs) -> dict[str, pa.Array]:
    """Return open, high, low and close of each run; null where no row of it may tell them."""
    kind = arrow_type(PRICE_TYPE)
    none = None
    if rows.ranges is None:
        high, low = np.maximum.reduceat(rows.high, runs.first), np.minimum.reduceat(rows.low, runs.first)
    else:
        high = np.maximum.reduceat(np.where(rows.ranges, rows.high, _LEAST), runs.first)
        low = np.minimum.reduceat(np.where(rows.ranges, rows.low, _MOST), runs.first)
        none = ~np.logical_or.reduceat(rows.ranges, runs.first)
    found = {"high": decimals(Wide.of(high), kind, none), "low": decimals(Wide.of(low), kind, none)}
    first, last, none = runs.first, runs.behind - 1, None
    if rows.opens is not None:
        number = np.arange(len(rows.first))
        first = np.minimum.reduceat(np.where(rows.opens, number, _MOST), runs.first)
        last = np.maximum.reduceat(np.where(rows.opens, number, -1), runs.first)
        none = last < 0
        first, last = np.where(none, 0, first), np.where(none, 0, last)
    found["open"] = decimals(Wide.of(rows.first[first]), kind, none)
    found["close"] = decimals(Wide.of(rows.last[last]), kind, none)
    return {name: found[name] for name in PRICES}


def _tells(bars: pa.Table) -> pa.Array:
    """Return which bars have anything: a volume's trade, or a price."""
    return pc.or_(pc.greater(bars["trade_count"], 0), pc.or_(pc.is_valid(bars["open"]), pc.is_valid(bars["high"])))
