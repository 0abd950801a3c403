"""Bars of trades: against Polars' grouping, and the laws that hold for any trades."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lake.errors import InvalidValueError
from tests.benchmarks import ticks
from transforms.time_bars import SCHEMA, time_bars

MINUTE = timedelta(minutes=1)
START = datetime(2026, 3, 2, 14, 30, tzinfo=UTC)
KINDS = {
    "instrument_id": pa.int64(),
    "ts_event": pa.timestamp("us", tz="UTC"),
    "price": pa.decimal128(18, 9),
    "size": pa.decimal128(18, 8),
}


def trades(rows: list[tuple[int, datetime, Decimal, Decimal]]) -> pa.Table:
    columns = list(zip(*rows, strict=True)) or [()] * 4
    return pa.table({name: pa.array(column, kind) for (name, kind), column in zip(KINDS.items(), columns, strict=True)})


def grouped(given: pa.Table, every: str) -> pa.Table:
    """Return the same by Polars."""
    frame = pl.from_arrow(given)
    assert isinstance(frame, pl.DataFrame)
    price = pl.col("price")
    made = (
        frame.sort("instrument_id", "ts_event", maintain_order=True)
        .group_by("instrument_id", pl.col("ts_event").dt.truncate(every).alias("ts_open"))
        .agg(open=price.first(), high=price.max(), low=price.min(), close=price.last(), volume=pl.col("size").sum(), n=pl.len())
        .sort("instrument_id", "ts_open")
        .rename({"n": "trade_count"})
    )
    return made.to_arrow().cast(SCHEMA)


TRADE = st.tuples(
    st.sampled_from([-(2**63), 7, 8, 2**63 - 1]),
    st.integers(-(10**9), 10**9).map(lambda us: START + timedelta(microseconds=us)),
    st.integers(-(10**18) + 1, 10**18 - 1).map(lambda units: Decimal(units).scaleb(-9)),
    st.integers(-(10**18) + 1, 10**18 - 1).map(lambda units: Decimal(units).scaleb(-8)),
)


@given(st.lists(TRADE, max_size=60))
@settings(deadline=None)
def test_bars_are_what_grouping_gives(rows: list[tuple[int, datetime, Decimal, Decimal]]) -> None:
    made = trades(rows)
    found = time_bars(made, MINUTE)
    assert found.drop(["volume"]).equals(grouped(made, "1m").drop(["volume"]))
    volumes: dict[tuple[int, datetime], Decimal] = {}
    for instrument, at, _, size in rows:
        key = (instrument, at.replace(second=0, microsecond=0))
        volumes[key] = volumes.get(key, Decimal(0)) + size
    bars = found.to_pylist()
    assert {(bar["instrument_id"], bar["ts_open"]): bar["volume"] for bar in bars} == volumes, "exact, however long the sums"


def test_a_day_of_everybody_and_bars_of_bars() -> None:
    day = ticks.session(0, 30_000)
    ordered = day.sort_by([("instrument_id", "ascending"), ("ts_event", "ascending"), ("sequence", "ascending")])
    minutes = time_bars(ordered, MINUTE)
    assert minutes.equals(grouped(ordered, "1m"))
    assert time_bars(day, MINUTE).equals(minutes), "in order of arrival, or of files: the same"
    assert time_bars(pa.concat_tables([ordered.slice(9), ordered.slice(0, 9)]), MINUTE).equals(minutes)
    hours = time_bars(ordered, timedelta(hours=1))
    frame = pl.from_arrow(minutes)
    assert isinstance(frame, pl.DataFrame)
    again = (
        frame.group_by("instrument_id", pl.col("ts_open").dt.truncate("1h"), maintain_order=True)
        .agg(
            pl.col("open").first(), pl.col("high").max(), pl.col("low").min(), pl.col("close").last(),
            pl.col("volume").sum(), pl.col("trade_count").sum(),
        )
        .sort("instrument_id", "ts_open")
    )  # fmt: skip
    assert again.to_arrow().cast(SCHEMA).equals(hours)


@pytest.mark.parametrize("every", ["1m", "1d"])
def test_bars_of_more_rows_than_are_taken_at_once(every: str) -> None:
    columns = list(KINDS)
    day = ticks.session(0, 270_000).select(columns).sort_by([("instrument_id", "ascending"), ("ts_event", "ascending")])
    one = ticks.busy_feed(270_000).select(columns)
    for made in (day, one):
        found = time_bars(made, timedelta(days=1) if every == "1d" else MINUTE)
        assert found.equals(grouped(made, every)), "no bar is cut, not even one of all rows"


def test_trades_of_one_microsecond_stand_by_nanos_and_sequence() -> None:
    rows = trades([(7, START, Decimal(price), Decimal(1)) for price in (3, 1, 2)])
    told = rows.append_column("ts_event_nanos", pa.array([5, 5, 1], pa.int32())).append_column("sequence", pa.array([9, 8, 7]))
    (bar,) = time_bars(told, MINUTE).to_pylist()
    assert (bar["open"], bar["close"]) == (2, 3)
    (bar,) = time_bars(rows, MINUTE).to_pylist()
    assert (bar["open"], bar["close"], bar["trade_count"]) == (3, 2, 3), "as they come"


def test_what_is_no_question_is_refused() -> None:
    assert time_bars(trades([]), MINUTE).equals(SCHEMA.empty_table())
    with pytest.raises(InvalidValueError, match="microsecond"):
        time_bars(trades([]), timedelta(0))
    with pytest.raises(InvalidValueError, match="null in size"):
        time_bars(trades([(7, START, Decimal(1), None)]), MINUTE)  # type: ignore[list-item]
