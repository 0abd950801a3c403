"""Bars of trades: open, high, low, close, volume and count of each instrument and interval, exact.

The plainest bars: every trade counts, and they open at multiples of a length. `bars.py` knows sessions, conditions and quotes.
"""

from __future__ import annotations

from datetime import timedelta
from itertools import pairwise

import numpy as np
import pyarrow as pa

from lake.errors import InvalidValueError
from lake.tables.definition import arrow_type
from lake.tables.quantities import PRICE_TYPE, SIZE_TYPE, VOLUME_TYPE
from transforms.bar_runs import Int64s, Wide, decimals, in_order, runs_of, sums, units, words

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
_BLOCK_ROWS = 262_144
"""Rows at a time, or one longer bar: arrays of two megabytes stay in the cache, and their memory is used again."""
_LATEST = np.iinfo(np.int64).max


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
    edges = _edges(words(trades, "instrument_id"), words(trades, "ts_event"), step)
    return pa.concat_tables(_bars(trades.slice(first, behind - first), step) for first, behind in pairwise(edges))


def _edges(instrument: Int64s, at: Int64s, step: int) -> list[int]:
    """Return where ordered trades may be cut, first and last place included: no bar is cut in two."""
    edges = [0]
    while edges[-1] < len(at):
        last = min(edges[-1] + _BLOCK_ROWS, len(at)) - 1
        behind = int(np.searchsorted(instrument, instrument[last], "right"))
        closes = min((int(at[last]) // step + 1) * step - 1, _LATEST)
        edges.append(last + int(np.searchsorted(at[last:behind], closes, "right")))
    return edges


def _bars(trades: pa.Table, step: int) -> pa.Table:
    """Return the bars of ordered trades; there is at least one."""
    instrument, at = words(trades, "instrument_id"), words(trades, "ts_event")
    price, size = units(trades["price"], PRICE_TYPE), units(trades["size"], SIZE_TYPE)
    opened = at // step
    runs = runs_of(instrument, opened)
    first, last = runs.first, runs.behind - 1
    prices = (price[first], np.maximum.reduceat(price, first), np.minimum.reduceat(price, first), price[last])
    columns = [
        pa.array(instrument[first]),
        pa.array(opened[first] * step).cast(SCHEMA.field("ts_open").type),
        *(decimals(Wide.of(one), SCHEMA.field("open").type) for one in prices),
        decimals(sums(size, runs), SCHEMA.field("volume").type),
        pa.array(runs.behind - first),
    ]
    return pa.Table.from_arrays(columns, schema=SCHEMA)


def _ordered(trades: pa.Table) -> pa.Table:
    """Return the trades in order of instrument and time, as they are where they stand so."""
    keys = ["instrument_id", "ts_event", *(name for name in _TIES if name in trades.column_names)]
    order = in_order(*(words(trades, name) for name in keys if not trades.column(name).null_count))
    return trades if order is None else trades.take(order)
