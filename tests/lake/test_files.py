from __future__ import annotations

import random
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lake import files
from lake.catalog import Lake
from lake.commits import append
from lake.durable import local_path, make_folder
from lake.errors import InvalidValueError, StorageError
from lake.tables import TABLES, Column, Encoding, Table, rows, table_named
from lake.values import MessageRange
from tests.lake.made import messages, trades

STAMPS = [datetime(1969, 12, 31, 23, 59, 59, 999999, UTC), datetime(2024, 2, 29, tzinfo=UTC), datetime(2038, 1, 19, tzinfo=UTC)]


def values_of(column: Column, count: int, chance: random.Random) -> list[object]:
    """Return values that a column may hold, extremes among them, nulls where it may be null."""
    kind = column.type.partition("(")[0]
    pool: list[Any]
    if kind == "decimal":
        precision, scale = (int(part) for part in column.type[8:-1].split(","))
        edge = Decimal(f"{'9' * (precision - scale)}.{'9' * scale}")
        pool = [edge, edge.copy_negate(), Decimal(0), Decimal(1).scaleb(-scale)]
    else:
        pools: dict[str, list[Any]] = {
            "string": ["", "a", "ä/=%?#*[]", "x" * 40],
            "binary": [b"", b"\x00\xff", b"{}"],
            "int": [-(2**31), 0, 2**31 - 1],
            "long": [-(2**63), 0, 2**63 - 1],
            "double": [0.0, -1.5, 1e300],
            "boolean": [True, False],
            "date": [date(1969, 12, 31), date(2024, 2, 29)],
            "timestamptz": [stamp + timedelta(microseconds=chance.randrange(10**9)) for stamp in STAMPS],
        }
        pool = pools[kind]
    return [chance.choice(pool if column.required else [*pool, None]) for _ in range(count)]


def any_rows(table: Table, count: int) -> pa.Table:
    """Return `count` rows of a table, the same ones on every run."""
    chance = random.Random(table.name)
    return rows(table, {column.name: values_of(column, count, chance) for column in table.columns})


def as_set(table: pa.Table) -> list[str]:
    return sorted(map(str, table.to_pylist()))


def test_rows_of_every_table_come_back_as_they_went_in(lake: Lake) -> None:
    for table in TABLES.values():
        given = any_rows(table, 60)
        written = files.write_files(lake.table(table.name), table, given)
        assert as_set(files.read_files(table, files.paths_of(written))) == as_set(given)
        assert sum(file.record_count for file in written) == 60
        for file in written:
            part = files.read_files(table, files.paths_of([file]))
            order = [(column, "ascending") for column in table.order]
            assert part.select(table.order).equals(part.sort_by(order).select(table.order)), "sorted"


def test_a_table_of_every_partition_transform_is_read_right_by_iceberg(lake: Lake) -> None:
    given = messages(0, 9)
    append(lake, "raw.messages", given, "raw", {}, {"0": 10}, "land", [MessageRange("c1", 0, 9)])
    scan = lake.table("raw.messages").scan("ts_recv < '2024-03-05T00:00:00+00:00' and provider = 'binance'")
    assert len(list(scan.plan_files())) == 1, "pruned by day"
    assert scan.to_arrow().column("message_seq").to_pylist() == [0, 2, 4, 6, 8]
    assert as_set(lake.table("raw.messages").scan().to_arrow()) == as_set(given)


def test_bucket_partitions_prune(lake: Lake) -> None:
    table = table_named("adjusted.bars_1d")
    given = any_rows(table, 200)
    ids = pa.array([number % 40 for number in range(200)], pa.int64())
    given = given.set_column(0, given.schema.field(0), ids)
    runs = pa.array(["r"] * 200)
    given = given.set_column(given.num_columns - 1, given.schema.field("run_id"), runs)
    append(lake, table.name, given, "adjusted", {}, {"a": 1}, "r")
    scan = lake.table(table.name).scan("instrument_id = 7")
    assert len(list(scan.plan_files())) == 1
    assert scan.to_arrow().num_rows == 5


def test_encodings_are_those_of_the_quantities(lake: Lake) -> None:
    table = table_named("normalized.trades")
    path = files.paths_of(files.write_files(lake.table(table.name), table, trades(0, 400)))[0]
    group = pq.read_metadata(path).row_group(0)
    found = {group.column(number).path_in_schema: group.column(number) for number in range(group.num_columns)}
    for column in table.columns:
        if column.encoding is not Encoding.DICTIONARY:
            assert column.encoding.value in found[column.name].encodings
            assert "RLE_DICTIONARY" not in found[column.name].encodings
    assert found["price"].physical_type == "INT64"
    assert found["price"].compression == "ZSTD"


def test_rows_that_do_not_fit_are_refused_and_leave_no_file(lake: Lake) -> None:
    table, iceberg = table_named("normalized.trades"), lake.table("normalized.trades")
    good = trades(0, 3)
    with pytest.raises(InvalidValueError, match="no columns"):
        files.conform(table, good.append_column("colour", pa.array(["red"] * 4)))
    with pytest.raises(InvalidValueError, match="price is required"):
        files.conform(table, good.drop_columns(["price"]))
    wide = pa.array([Decimal("1e12")] * 4, pa.decimal128(38, 9))
    with pytest.raises(InvalidValueError, match="price does not fit"):
        files.conform(table, good.set_column(good.column_names.index("price"), "price", wide))
    assert not (local_path(iceberg.location()) / "data").exists()


def test_files_of_a_failed_write_are_deleted(lake: Lake) -> None:
    table, iceberg = table_named("normalized.trades"), lake.table("normalized.trades")
    folder = local_path(iceberg.location()) / "data"
    make_folder(folder)
    # Where the second partition's folder should be made stands a file.
    (folder / "session_date=19787").write_text("in the way")
    with pytest.raises(StorageError, match=r"normalized\.trades: writing its data files: the place refused"):
        files.write_files(iceberg, table, trades(0, 9))
    assert [path.name for path in folder.rglob("*.parquet")] == []


def test_optional_columns_may_be_left_out_and_no_rows_give_no_file(lake: Lake) -> None:
    table = table_named("normalized.trades")
    assert files.conform(table, trades(0, 3).drop_columns(["mic"])).column("mic").null_count == 4
    assert files.write_files(lake.table(table.name), table, trades(0, -1)) == []
