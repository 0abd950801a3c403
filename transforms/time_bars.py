"""Bars of trades: open, high, low, close, volume and count of each instrument and interval, exact.

Trades come from the lake in order of instrument and time, so bars are runs of rows: their edges are found once, and every
column is reduced along them. No hash of groups is made, which is what engines spend most of their time on here.
"""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from lake.errors import InvalidValueError
from lake.tables.definition import arrow_type
from lake.tables.quantities import PRICE_TYPE, SIZE_TYPE, VOLUME_TYPE

Int64s = npt.NDArray[np.int64]

SCHEMA = pa.schema(
    [
        ("instrument_id", pa.int64()),
        ("ts_open", pa.timestamp("us", tz="UTC")),
        *((name, arrow_type(PRICE_TYPE)) for name in ("open", "high", "low", "close")),
        ("volume", arrow_type(VOLUME_TYPE)),
        ("trade_count", pa.int64()),
    ]
)
_TIES = ("ts_event_nanos", "sequence")
_LOW_BITS = 32


def time_bars(trades: pa.Table, every: timedelta) -> pa.Table:
    """Return the bars of trades, in order of (instrument_id, ts_open); an interval without a trade has none.

    trades    instrument_id, ts_event, price and size of normalized.trades, without nulls, any order; trades of one
              microsecond are put in order by ts_event_nanos and sequence where these are given, else kept as they come
    every     length of a bar; it opens at multiples of it since 1970, so a minute at full minutes of UTC

    Prices are as traded, volume is the exact sum of the sizes. Raises InvalidValueError for a length below a microsecond,
    a null, and a volume beyond 28 digits.
    """
    step = every // timedelta(microseconds=1)
    if step < 1:
        raise InvalidValueError(f"bars of {every}: expected a length of a microsecond or more")
    names = ["instrument_id", "ts_event", "price", "size"]
    nulls = [name for name in names if trades.column(name).null_count]
    if nulls:
        raise InvalidValueError(f"null in {', '.join(nulls)} of trades")
    if not trades.num_rows:
        return SCHEMA.empty_table()
    trades = _ordered(trades)
    instrument, at = _words(trades, "instrument_id"), _words(trades, "ts_event")
    price, size = _units(trades, "price", PRICE_TYPE), _units(trades, "size", SIZE_TYPE)
    opened = at // step
    is_first = np.empty(len(at), dtype=np.bool_)
    is_first[0] = True
    np.not_equal(opened[1:], opened[:-1], out=is_first[1:])
    is_first[1:] |= instrument[1:] != instrument[:-1]
    first = np.flatnonzero(is_first)
    behind = np.append(first[1:], len(at))
    prices = (price[first], np.maximum.reduceat(price, first), np.minimum.reduceat(price, first), price[behind - 1])
    columns = [
        pa.array(instrument[first]),
        pa.array(opened[first] * step).cast(SCHEMA.field("ts_open").type),
        *(_decimals(one, one >> 63, SCHEMA.field("open").type) for one in prices),
        _volume(size, first, behind),
        pa.array(behind - first),
    ]
    return pa.Table.from_arrays(columns, schema=SCHEMA)


def _ordered(trades: pa.Table) -> pa.Table:
    """Return the trades in order of instrument and time, as they are where they stand so."""
    keys = ["instrument_id", "ts_event", *(name for name in _TIES if name in trades.column_names)]
    if any(trades.column(name).null_count for name in keys):
        keys = [name for name in keys if not trades.column(name).null_count]
    known = [_words(trades, name) for name in keys]
    undecided = np.ones(trades.num_rows - 1, dtype=np.bool_)
    for values in known:
        if np.any(undecided & (values[1:] < values[:-1])):
            return trades.take(pa.array(np.lexsort(known[::-1])))
        undecided &= values[1:] == values[:-1]
    return trades


def _words(trades: pa.Table, name: str) -> Int64s:
    values = trades.column(name)
    return np.asarray((values if pa.types.is_int64(values.type) else values.cast(pa.int64())).to_numpy())


def _units(trades: pa.Table, name: str, kind: str) -> Int64s:
    """Return a column of at most 18 digits in units of its last place."""
    parts = [_low(one) for one in trades.column(name).cast(arrow_type(kind)).chunks if len(one)]
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def _low(array: pa.Array) -> Int64s:
    words = np.frombuffer(array.buffers()[1], np.int64)
    return np.ascontiguousarray(words[2 * array.offset : 2 * (array.offset + len(array)) : 2])


def _volume(size: Int64s, first: Int64s, behind: Int64s) -> pa.Array:
    """Return exact sums along the runs: in one word where they surely fit it, else of both halves of each word."""
    kind = SCHEMA.field("volume").type
    most = max(int(size.max()), -int(size.min())) * int((behind - first).max())
    if most < 2**63:
        total = np.add.reduceat(size, first)
        return _decimals(total, total >> 63, kind)
    low = np.add.reduceat(size & ((1 << _LOW_BITS) - 1), first)
    high = np.add.reduceat(size >> _LOW_BITS, first)
    whole = [(int(top) << _LOW_BITS) + int(bottom) for top, bottom in zip(high, low, strict=True)]
    if max(map(abs, whole)) >= 10**kind.precision:
        raise InvalidValueError(f"a bar's volume is beyond {kind.precision} digits")
    wrapped = np.array([one & (2**64 - 1) for one in whole], dtype=np.uint64).view(np.int64)
    return _decimals(wrapped, np.array([one >> 64 for one in whole], dtype=np.int64), kind)


def _decimals(low: Int64s, high: Int64s, kind: pa.DataType) -> pa.Array:
    words = np.empty((len(low), 2), dtype=np.int64)
    words[:, 0], words[:, 1] = low, high
    return pa.Array.from_buffers(kind, len(low), [None, pa.py_buffer(words)])
