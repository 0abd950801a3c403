"""Adjusted daily history: read ready-made, made in memory, and brought up to one new fact.

200 instruments of two years, each with two splits and eight dividends. The peers work with floats, ours with exact decimals:
polars reads bars and factors, multiplies the factors up and joins them as-of; the bare read is polars over the same files.
"""

from __future__ import annotations

import atexit
import shutil
import tempfile
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from functools import partial
from pathlib import Path

import polars as pl
import pyarrow as pa

from lake.catalog import Lake
from lake.files import paths_of
from lake.instants import system_clock
from lake.publish import Increment, publish, stage
from lake.scan import read, replaced_files
from lake.settings import load_settings
from lake.tables import rows, table_named
from quality_checks import adjusting
from quality_checks.adjusting import AGREED, BARS_1D, FACTORS, adjust
from tests.benchmarks.cases import Case, Skipped
from transforms.adjust import back_adjust

INSTRUMENTS, SESSIONS = 200, 504
FIRST = date(2023, 1, 2)
PRICES = ("open", "high", "low", "close")
COLUMNS = ["instrument_id", "session_date", *(f"adj_{name}" for name in PRICES), "adj_volume"]
READ = "adjusted daily history, all instruments: read"
MADE = "adjusted daily history, all instruments: made in memory"
BROUGHT = "adjusted tables brought up to one corrected bar"


def cases() -> list[Case | Skipped]:
    """Return ours and the others, over one lake made for them."""
    home = Path(tempfile.mkdtemp(prefix="tickhouse-bench-"))
    atexit.register(shutil.rmtree, home, ignore_errors=True)
    lake = Lake.create(load_settings(home=home / "lake"), system_clock)
    grow(lake, INSTRUMENTS, SESSIONS)
    adjust(lake)
    agreed, factors = read(lake, AGREED), read(lake, FACTORS)
    corrected = iter(range(1, 1_000_000))
    made = [
        Case(READ, "tickhouse, adjusted.bars_1d", "bars", lambda: read(lake, BARS_1D, COLUMNS).num_rows, is_ours=True),
        Case(READ, "polars, bare read of the same files", "bars", lambda: bare(paths(lake, BARS_1D))),
        Case(
            READ, "polars, bars and factors, join_asof, floats", "bars", lambda: joined(paths(lake, AGREED), paths(lake, FACTORS))
        ),
        Case(MADE, "tickhouse, back_adjust, exact", "bars", lambda: back_adjust(agreed, factors).num_rows, is_ours=True),
        Case(MADE, "polars, join_asof, floats", "bars", partial(asof, frame_of(agreed), frame_of(factors))),
        Case(
            BROUGHT,
            "tickhouse, the touched instrument",
            "adjustments",
            lambda: after_one(lake, next(corrected), whole=False),
            True,
        ),
        Case(BROUGHT, "tickhouse, every instrument", "adjustments", lambda: after_one(lake, next(corrected), whole=True)),
    ]
    return list(made)


def grow(lake: Lake, instruments: int, sessions: int) -> None:
    """Publish bars and actions of so many instruments, as traded."""
    numbers = [(one, day) for one in range(1, instruments + 1) for day in range(sessions)]
    told(lake, adjusting.BARS, bars(numbers, lambda one, day: 50 + one % 40 + day % 17))
    events = [(one, "split", day) for one in range(1, instruments + 1) for day in (150, 350)]
    events += [(one, "cash_dividend", day) for one in range(1, instruments + 1) for day in range(30, sessions, 63)]
    told(lake, adjusting.ACTIONS, actions(events))


def told(lake: Lake, table: str, made: pa.Table) -> None:
    """Publish rows as the next batch of their table."""
    before = lake.head(table).vector("csv")
    after = {"0": before.get("0", 0) + 1}
    run = f"{table}-{after['0']}"
    stamped = made.set_column(made.schema.get_field_index("run_id"), "run_id", pa.repeat(run, made.num_rows))
    publish(lake, stage(lake, Increment(table, "csv", stamped, before, after, run)))


def bars(numbers: list[tuple[int, int]], close: Callable[[int, int], int], version: int = 0) -> pa.Table:
    """Return daily bars of (instrument, session), one currency unit between low and high."""
    count = len(numbers)
    days = [FIRST + timedelta(days=day) for _, day in numbers]
    price = [Decimal(close(one, day)) for one, day in numbers]
    return rows(
        table_named(adjusting.BARS),
        {
            "instrument_id": [one for one, _ in numbers], "provider": ["csv"] * count, "feed": ["bars"] * count,
            "symbol": [f"S{one}" for one, _ in numbers], "currency": ["USD"] * count,
            "session_date": days, "interval": ["1d"] * count,
            "ts_open": [at(day, 14) for day in days], "open": price,
            "high": [one + 1 for one in price], "low": price, "close": price,
            "volume": [Decimal(1_000_000 + one) for one, _ in numbers], "basis": ["as_traded"] * count,
            "price_type": ["trade"] * count,
            "is_final": [True] * count, "known_at": [at(day, 21) + timedelta(days=version) for day in days],
            "delivered_at": [at(day, 21) + timedelta(days=version) for day in days], "capture_id": [f"c{version}"] * count,
            "message_seq": list(range(count)), "ordinal": [0] * count, "run_id": [""] * count,
        },
    )  # fmt: skip


def actions(events: list[tuple[int, str, int]]) -> pa.Table:
    """Return 2:1 splits and dividends of 0.31 on the sessions told."""
    count = len(events)
    is_split = [kind == "split" for _, kind, _ in events]
    days = [FIRST + timedelta(days=day) for _, _, day in events]
    return rows(
        table_named(adjusting.ACTIONS),
        {
            "instrument_id": [one for one, _, _ in events], "provider": ["csv"] * count, "feed": ["actions"] * count,
            "symbol": [f"S{one}" for one, _, _ in events], "currency": ["USD"] * count,
            "action_key": [f"{one}:{kind}:{day}" for one, kind, day in events], "kind": [kind for _, kind, _ in events],
            "ex_date": days, "ratio_old": [1 if one else None for one in is_split],
            "ratio_new": [2 if one else None for one in is_split],
            "amount": [None if one else Decimal("0.31") for one in is_split],
            "share_basis": [None if one else "as_paid" for one in is_split], "status": ["confirmed"] * count,
            "known_at": [at(day, 5) for day in days], "delivered_at": [at(day, 5) for day in days], "capture_id": ["a"] * count,
            "message_seq": list(range(count)), "ordinal": [0] * count, "run_id": [""] * count,
        },
    )  # fmt: skip


def at(day: date, hour: int) -> datetime:
    return datetime.combine(day, time(hour), UTC)


def paths(lake: Lake, table: str) -> list[Path]:
    return paths_of(replaced_files(lake, table))


def bare(files: list[Path]) -> int:
    return pl.read_parquet(files, columns=COLUMNS, hive_partitioning=False).height


def joined(bars_files: list[Path], factor_files: list[Path]) -> int:
    columns = ["instrument_id", "session_date", *PRICES, "volume"]
    factor_columns = ["instrument_id", "ex_date", "price_factor", "volume_factor"]
    bars_read = pl.read_parquet(bars_files, columns=columns, hive_partitioning=False)
    return asof(floats(bars_read), floats(pl.read_parquet(factor_files, columns=factor_columns, hive_partitioning=False)))


def frame_of(table: pa.Table) -> pl.DataFrame:
    return floats(pl.DataFrame({name: pl.from_arrow(table[name]) for name in table.column_names}))


def floats(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.with_columns(pl.col(pl.Decimal).cast(pl.Float64))


def asof(agreed: pl.DataFrame, factors: pl.DataFrame) -> int:
    """Return how many rows the usual way gives: products from the last factor back, joined to the sessions before them."""
    products = (
        factors.sort("instrument_id", "ex_date")
        .with_columns(
            price=pl.col("price_factor").reverse().cum_prod().reverse().over("instrument_id"),
            volume_product=pl.col("volume_factor").reverse().cum_prod().reverse().over("instrument_id"),
            before=pl.col("ex_date") - timedelta(days=1),
        )
        .select("instrument_id", "before", "price", "volume_product")
        .sort("before")
    )
    found = agreed.sort("session_date").join_asof(
        products, left_on="session_date", right_on="before", by="instrument_id", strategy="forward", check_sortedness=False
    )
    price = pl.col("price").fill_null(1.0)
    adjusted = found.with_columns(
        *((pl.col(name) * price).alias(f"adj_{name}") for name in PRICES),
        adj_volume=pl.col("volume") * pl.col("volume_product").fill_null(1.0),
    )
    return adjusted.height


def after_one(lake: Lake, number: int, *, whole: bool) -> int:
    """Publish one corrected bar, and bring the adjusted tables up to it; `whole`: as if everything had to be computed."""
    told(lake, adjusting.BARS, bars([(1 + number % INSTRUMENTS, 5)], lambda one, day: 40 + number % 7, version=number))
    if whole:
        lake.state.save_document("adjusting", "computed_by", {})
    done = adjust(lake)
    if done.instruments != (INSTRUMENTS if whole else 1):
        raise ValueError(f"{done.instruments} instruments were computed")
    return 1
