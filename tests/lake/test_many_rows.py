"""Many rows straight from Parquet: always what a plain scan of the same snapshot gives, and what was written."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lake.catalog import Lake
from lake.commits import append
from lake.errors import CorruptedError
from lake.instants import system_clock
from lake.many_rows import many_rows
from lake.plans import PlanCache
from lake.publish import publish, stage
from lake.questions import Question
from lake.scan import Where, read
from lake.settings import load_settings
from lake.tables import table_named
from tests.benchmarks import ticks
from tests.lake.made import MORNING, trade_batch
from tests.lake.test_few_rows import CONDITIONS, TABLE, TRADES, plain, texts

COUNT = 40_000
"""Three row groups."""
SESSION = ticks.session(0, COUNT)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lake]:
    """A lake of many small files."""
    with Lake.create(load_settings(home=tmp_path_factory.mktemp("many")), system_clock) as lake:
        for first in range(0, 60, 20):
            publish(lake, stage(lake, trade_batch(first, first + 19)))
        publish(lake, stage(lake, trade_batch(0, 9, provider="other")))
        yield lake


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lake]:
    """A lake of one file of several row groups."""
    with Lake.create(load_settings(home=tmp_path_factory.mktemp("many")), system_clock) as lake:
        append(lake, TRADES, SESSION, ticks.PROVIDER, {}, {"0": 1}, "r1", ticks.ranges(SESSION))
        yield lake


def straight(lake: Lake, where: list[Where], columns: tuple[str, ...] = TABLE.column_names) -> list[pa.Table] | None:
    plan = PlanCache().plan(TABLE, lake.table(TRADES))
    bounds = Question(lake, TABLE, where).bounds()
    return many_rows(plan, plan.select(bounds), where, bounds, columns)


@st.composite
def questions(draw: st.DrawFn) -> list[Where]:
    found = []
    for column in draw(st.lists(st.sampled_from(sorted(CONDITIONS)), max_size=3)):
        op, values = draw(st.sampled_from(CONDITIONS[column]))
        found.append(Where(column, op, draw(values)))  # type: ignore[arg-type]
    return found


@given(questions())
@settings(max_examples=40, deadline=None)
def test_many_small_files_answer_as_a_plain_scan_does(small: Lake, where: list[Where]) -> None:
    expected = plain(small, where)
    assert texts(read(small, TRADES, where=where)) == expected
    found = straight(small, where)
    if any(one.column == "sequence" for one in where):
        assert found is None, "numbers are for DuckDB"
    if not where:
        assert found is not None and len(small.table(TRADES).inspect.files()) > 4, "small files without conditions are for Polars"
    if found is not None:
        assert sorted(str(row) for part in found for row in part.to_pylist()) == expected


def instants() -> st.SearchStrategy[datetime]:
    seen = SESSION["ts_event"]
    return st.sampled_from([seen[0].as_py(), seen[COUNT // 3].as_py(), seen[-1].as_py()]).flatmap(
        lambda at: st.sampled_from([at, at - timedelta(microseconds=1), at + timedelta(microseconds=1)])
    )


@given(
    st.lists(
        st.builds(Where, st.just("ts_event"), st.sampled_from([">=", "<", "<=", ">", "="]), instants())
        | st.builds(Where, st.just("symbol"), st.just("in"), st.lists(st.sampled_from(ticks.symbols()[:30]), max_size=3))
        | st.builds(Where, st.just("mic"), st.just("="), st.sampled_from(["XNAS", "FINY", None]))
        | st.builds(Where, st.just("side"), st.just("="), st.sampled_from(["buy", None])),
        max_size=3,
    ),
    st.sampled_from([TABLE.column_names, ("price", "ts_event"), ("symbol",), ("sequence", "side")]),
)
@settings(max_examples=40, deadline=None)
def test_what_a_condition_leaves_of_several_row_groups(large: Lake, where: list[Where], columns: tuple[str, ...]) -> None:
    names = list(dict.fromkeys([*columns, "sequence"]))
    frame = pl.from_arrow(SESSION.select(list(dict.fromkeys([*names, *(one.column for one in where)]))))
    assert isinstance(frame, pl.DataFrame)
    schema = pa.schema([TABLE.arrow_schema().field(name) for name in names])
    expected = frame.filter(*(_holds(one) for one in where)).sort("sequence").select(names).to_arrow().cast(schema)
    found = straight(large, where, tuple(names))
    assert found is not None
    assert read(large, TRADES, names, where).sort_by("sequence").equals(expected)
    whole = pa.concat_tables([*(part.cast(schema) for part in found), expected.slice(0, 0)])
    assert whole.sort_by("sequence").equals(expected)


def _holds(where: Where) -> pl.Expr:
    column, value = pl.col(where.column), where.value
    if value is None:
        return column.is_null()
    by_op = {"=": column.__eq__, ">=": column.__ge__, "<": column.__lt__, "<=": column.__le__, ">": column.__gt__}
    return column.is_in(value) if where.op == "in" else by_op[where.op](value)  # type: ignore[arg-type]


def test_what_arrow_might_decide_otherwise_is_left_to_duckdb(large: Lake) -> None:
    for one in (Where("price", ">", Decimal(10) ** 20), Where("sequence", ">=", 2**70), Where("instrument_id", ">", 0)):
        assert straight(large, [one]) is None
    assert read(large, TRADES, where=[Where("price", ">", Decimal(10) ** 20)]).num_rows == 0


def test_rows_come_in_the_tables_schema_and_a_damaged_file_is_told(tmp_path: Path) -> None:
    with Lake.create(load_settings(home=tmp_path / "home"), system_clock) as lake:
        publish(lake, stage(lake, trade_batch(0, 19)))
        assert read(lake, TRADES, ["provider", "price"]).schema.equals(
            pa.schema([TABLE.arrow_schema().field(name) for name in ("provider", "price")]), check_metadata=True
        )
        assert read(lake, TRADES, where=[Where("ts_event", "<", MORNING - timedelta(days=9))]).schema == TABLE.arrow_schema()
        assert read(lake, "adjusted.bars_1d", ["session_date"]).schema == pa.schema(
            [table_named("adjusted.bars_1d").arrow_schema().field("session_date")]
        )
        assert set(read(lake, TRADES, ["session_date"])["session_date"].to_pylist()) <= {date(2024, 3, 4), date(2024, 3, 5)}
        damaged = next(Path(lake.settings.home).rglob("data/**/*.parquet"))
        damaged.write_bytes(damaged.read_bytes()[:4] + bytes(damaged.stat().st_size - 4))
        with pytest.raises(CorruptedError, match="cannot be read"):
            read(lake, TRADES, ["price"])
