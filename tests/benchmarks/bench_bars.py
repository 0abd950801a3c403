"""One-minute bars of a day, all instruments, in memory: ours on the session's grid against Polars and DuckDB.

400,000 trades of 5,000 symbols in the order the lake keeps them. All make open, high, low, close, volume, count, dollar volume
and VWAP; ours exact, of decimals; for Polars and DuckDB products of floats, which are cheaper than their decimals.
"""

from __future__ import annotations

from functools import partial

import duckdb
import numpy as np
import polars as pl
import pyarrow as pa

from tests.benchmarks import ticks
from tests.benchmarks.cases import Case, Skipped
from transforms.bars import bars_of_bars, trade_bars
from transforms.calendars import venue_of
from transforms.conditions import ALL, VOLUME

TRADES = 400_000
DAY = "1-minute bars of a day, all instruments, with VWAP"
CODED = "the same, a fifth of the trades odd lots by their codes"
HOURS = "hours of those minutes"
COLUMNS = ["instrument_id", "session_date", "ts_event", "price", "size"]
SQL = """
    SELECT instrument_id, time_bucket(INTERVAL 1 MINUTE, ts_event) AS ts_open, arg_min(price, ts_event) AS open,
        max(price) AS high, min(price) AS low, arg_max(price, ts_event) AS close, sum(size) AS volume, count(*) AS trade_count,
        sum(price::DOUBLE * size::DOUBLE) AS dollar_volume, sum(price::DOUBLE * size::DOUBLE) / sum(size)::DOUBLE AS vwap
    FROM trades GROUP BY ALL
"""


def cases() -> list[Case | Skipped]:
    """Return ours and the others, over the same columns in memory."""
    order = [(name, "ascending") for name in ("instrument_id", "ts_event", "sequence")]
    trades = ticks.session(0, TRADES).sort_by(order).select(COLUMNS).combine_chunks()
    frame = pl.from_arrow(trades)
    assert isinstance(frame, pl.DataFrame)
    venue = venue_of("XNYS")
    effects = np.where(np.arange(trades.num_rows) % 5 == 0, VOLUME, ALL).astype(np.uint8)
    minutes = trade_bars(trades, "1m", venue)
    return [
        Case(DAY, "tickhouse, exact", "bars", lambda: trade_bars(trades, "1m", venue).num_rows, is_ours=True),
        Case(DAY, "polars, group_by_dynamic", "bars", partial(dynamic, frame)),
        Case(DAY, "polars, group_by truncated time", "bars", partial(truncated, frame)),
        Case(DAY, "DuckDB, time_bucket", "bars", partial(bucketed, trades)),
        Case(CODED, "tickhouse, exact", "bars", lambda: trade_bars(trades, "1m", venue, effects).num_rows, is_ours=True),
        Case(HOURS, "tickhouse, exact", "bars", lambda: bars_of_bars(minutes, "1h", venue).num_rows, is_ours=True),
    ]


def _measures() -> list[pl.Expr]:
    price, size = pl.col("price"), pl.col("size")
    dollars = (price.cast(pl.Float64) * size.cast(pl.Float64)).sum()
    return [
        price.first().alias("open"), price.max().alias("high"), price.min().alias("low"), price.last().alias("close"),
        size.sum().alias("volume"), pl.len().alias("trade_count"), dollars.alias("dollar_volume"),
        (dollars / size.cast(pl.Float64).sum()).alias("vwap"),
    ]  # fmt: skip


def dynamic(frame: pl.DataFrame) -> int:
    """Return how many bars Polars makes along the sorted time of each instrument."""
    rows = frame.with_columns(pl.col("ts_event").set_sorted())
    return len(rows.group_by_dynamic("ts_event", every="1m", group_by="instrument_id").agg(_measures()))


def truncated(frame: pl.DataFrame) -> int:
    """Return how many bars Polars makes by hash."""
    return len(frame.group_by("instrument_id", pl.col("ts_event").dt.truncate("1m").alias("ts_open")).agg(_measures()))


def bucketed(trades: pa.Table) -> int:
    """Return how many bars DuckDB makes."""
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.register("trades", trades)
        return int(connection.sql(SQL).to_arrow_table().num_rows)
