"""A table of an older lake brought to today's definition: every reader finds old and new rows right, by field id."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import duckdb
import polars as pl
import pyarrow as pa
import pytest
from pyiceberg.catalog.rest import RestCatalog

from lake import iceberg_internals as internals
from lake.catalog import Lake
from lake.commits import append, commit_to_main, moving_plan
from lake.content import content_hash
from lake.epochs import Epoch
from lake.errors import CommitConflictError, SettingsError
from lake.evolution import changes, evolve
from lake.files import conform, paths_of, read_files, write_files
from lake.heads import Act
from lake.instants import system_clock
from lake.scan import Where, dataset, read, source
from lake.tables import Column, Table, table_named
from lake.values import MessageRange
from tests.lake.made import MORNING, trades

TRADES = "normalized.trades"
TODAY = table_named(TRADES)


@pytest.fixture(autouse=True)
def polars_plans_by_pyiceberg(monkeypatch: pytest.MonkeyPatch) -> None:
    """Polars warns where its own planner is not installed."""
    monkeypatch.setenv("POLARS_ICEBERG_PLANNER", "pyiceberg")


def changed(*columns: Column, without: str = "", **others: Any) -> Table:
    """Return today's trades with some columns in place of those with the same field id, others added, one left out."""
    named = {one.field_id: one for one in columns}
    kept = [named.pop(one.field_id, one) for one in TODAY.columns if one.name != without]
    return Table(
        TODAY.name,
        TODAY.doc,
        (*kept, *named.values()),
        others.get("partition", TODAY.partition),
        TODAY.order,
        (),
        TODAY.published_by,
    )


def column(name: str, /, **others: Any) -> Column:
    return replace(TODAY.column(name), **others)


EXTRA = replace(TODAY.column("mic"), field_id=99, name="note", type="string")
OLDER = changed(column("ordinal", type="int"), column("side", name="taker"), EXTRA, without="conditions")
"""As the table once was: `side` under another name, a column since dropped, one not added yet."""
LATER = changed(
    column("ordinal", type="long"), column("price", type="decimal(28,9)"), column("symbol", name="ticker"), without="mic"
)


def commit_older(lake: Lake, first: int, last: int) -> None:
    rows = trades(first, last).rename_columns([{"side": "taker"}.get(name, name) for name in TODAY.column_names])
    rows = rows.drop_columns(["conditions", "taker"]).append_column("taker", pa.array(["buy"] * rows.num_rows))
    rows = conform(OLDER, rows.append_column("note", pa.array(["old"] * rows.num_rows)))
    plan = moving_plan(Act.APPEND, "x", {}, {"0": last + 1}, "r", [MessageRange("c1", first, last)], {})
    seen = lake.table(TRADES)
    commit_to_main(lake, TRADES, write_files(seen, OLDER, rows), plan, Epoch.of(seen))


def append_today(lake: Lake, first: int, last: int) -> None:
    rows = trades(first, last)
    side = rows.schema.get_field_index("side")
    rows = rows.set_column(side, rows.schema.field(side), pa.array(["sell"] * rows.num_rows))
    append(lake, TRADES, rows, "x", {"0": first}, {"0": last + 1}, "r2", [MessageRange("c1", first, last)])


def readers(lake: Lake) -> dict[str, Callable[[], pa.Table]]:
    """Return who reads the table, each in its own way; the columns by today's names."""
    table = lake.table(TRADES)
    paths = [one.file.file_path.removeprefix("file://") for one in table.scan().plan_files()]
    return {
        "read": lambda: read(lake, TRADES),
        "few rows": lambda: read(lake, TRADES, where=[Where("instrument_id", "in", [7, 8, 9])]),
        "dataset": lambda: found if isinstance(found := dataset(lake, TRADES), pa.Table) else found.to_table(),
        "DuckDB": lambda: duckdb.connect().sql(f"SELECT * FROM {source(TODAY, paths)}").to_arrow_table(),
        "PyIceberg": lambda: table.scan().to_arrow(),
        "Polars": lambda: pl.scan_iceberg(table).collect().to_arrow(),
        "files": lambda: read_files(TODAY, paths_of(internals.files_of(table, lake.head(TRADES).snapshot_id))),
    }


def read_later(lake: Lake) -> list[pa.Table]:
    """Return the rows of a lake evolved to LATER, as each reader has them."""
    table = lake.table(TRADES)
    paths = [one.file.file_path.removeprefix("file://") for one in table.scan("ordinal = 0 and ticker = 'BTCUSDT'").plan_files()]
    answers = [
        table.scan().to_arrow(),
        pl.scan_iceberg(table).collect().to_arrow(),
        duckdb.connect().sql(f"SELECT * FROM {source(LATER, paths)}").to_arrow_table(),
        read_files(LATER, paths_of(internals.files_of(table, lake.head(TRADES).snapshot_id))),
    ]
    return [one.select(LATER.column_names).cast(LATER.arrow_schema()).sort_by("sequence") for one in answers]


def test_an_older_lake_is_brought_to_today_and_read_alike_by_all(lake: Lake) -> None:
    assert evolve(lake.table(TRADES), OLDER) == ["rename side to taker", "add note string", "drop conditions"]
    commit_older(lake, 0, 9)
    before = lake.head(TRADES)

    with Lake.create(lake.settings, system_clock) as today:  # what `tickhouse init` does
        table = today.table(TRADES)
        assert changes(table.metadata, TODAY) == []
        assert today.head(TRADES) == before, "main, its position and holds are what they were"
        append_today(today, 10, 19)
        expected = None
        for name, ask in readers(today).items():
            found = ask().select(TODAY.column_names).cast(TODAY.arrow_schema()).sort_by("sequence")
            assert found["side"].to_pylist() == ["buy"] * 10 + ["sell"] * 10, name
            assert found["conditions"].null_count == 20 and found["ordinal"].to_pylist() == [0] * 20, name
            expected = expected or content_hash(TODAY, found)
            assert content_hash(TODAY, found) == expected, name
        assert read(today, TRADES, where=[Where("side", "=", "buy")]).num_rows == 10
        assert read(today, TRADES, where=[Where("ts_event", "<", MORNING + timedelta(seconds=5))]).num_rows == 5


def test_columns_are_widened_renamed_dropped_and_read_by_the_outside(lake: Lake) -> None:
    append_first = trades(0, 9)
    append(lake, TRADES, append_first, "x", {}, {"0": 10}, "r", [MessageRange("c1", 0, 9)])
    told = evolve(lake.table(TRADES), LATER)
    assert told == [
        "rename symbol to ticker",
        "widen price from decimal(18, 9) to decimal(28, 9)",
        "widen ordinal from int to long",
        "drop mic",
    ]
    for found in read_later(lake):
        assert found["price"].type == pa.decimal128(28, 9) and found["price"].to_pylist() == append_first["price"].to_pylist()
        assert found["ticker"].to_pylist() == ["BTCUSDT"] * 10 and found["ordinal"].type == pa.int64()


def test_the_catalog_shows_the_new_names(lake: Lake) -> None:
    from tests.serving.market_lake import served

    evolve(lake.table(TRADES), OLDER)
    commit_older(lake, 0, 9)
    with Lake.create(lake.settings, system_clock) as today, served(today) as client:
        theirs = RestCatalog("tickhouse", uri=f"{client.base_url}/iceberg").load_table(TRADES)
        found = theirs.scan(row_filter="side = 'buy'").to_arrow()
        assert found.num_rows == 10 and "taker" not in found.column_names and "conditions" in found.column_names


@pytest.mark.parametrize(
    ("definition", "message"),
    [
        (changed(column("ordinal", type="string")), "turn ordinal from int to string"),
        (changed(column("price", type="decimal(18,8)")), r"turn price from decimal\(18, 9\) to decimal\(18, 8\)"),
        (changed(column("sequence", type="int")), "turn sequence from long to int"),
        (changed(replace(EXTRA, required=True)), "add the required column note"),
        (changed(column("mic", required=True)), "make mic required"),
    ],
)
def test_what_no_reader_could_be_promised_is_refused(refusing: Lake, definition: Table, message: str) -> None:
    before = refusing.table(TRADES).metadata_location
    with pytest.raises(SettingsError, match=message):
        evolve(refusing.table(TRADES), definition)
    assert refusing.table(TRADES).metadata_location == before


@pytest.fixture(scope="module")
def refusing(tmp_path_factory: pytest.TempPathFactory) -> Any:
    from lake.settings import load_settings

    with Lake.create(load_settings(home=tmp_path_factory.mktemp("refusing")), system_clock) as made:
        yield made


def test_an_id_is_never_used_again_for_another_column(lake: Lake) -> None:
    evolve(lake.table(TRADES), changed(EXTRA))
    evolve(lake.table(TRADES), TODAY)
    with pytest.raises(SettingsError, match="which was note string"):
        evolve(lake.table(TRADES), changed(replace(EXTRA, name="count", type="long")))
    assert evolve(lake.table(TRADES), changed(EXTRA)) == ["add note string"], "the same column may come back"


def test_a_commit_meanwhile_is_a_conflict(lake: Lake) -> None:
    seen = lake.table(TRADES)
    append(lake, TRADES, trades(0, 9), "x", {}, {"0": 10}, "r", [MessageRange("c1", 0, 9)])
    with pytest.raises(CommitConflictError):
        evolve(seen, OLDER)
    assert changes(lake.table(TRADES).metadata, TODAY) == []
