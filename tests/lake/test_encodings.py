"""Encodings of a file: as declared where rows are few, as a sample of them shows where they are many; the rows are the same."""

from __future__ import annotations

from pathlib import Path

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lake.encodings import ASKED_ROWS, QUIET_GROUP_ROWS, ROW_GROUP_ROWS, group_rows, offered, parquet_options, sample_of
from lake.ordering import partitions
from lake.row_groups import read_footer, read_groups
from lake.tables import TABLES, Encoding, table_named
from tests.benchmarks import ticks

TABLE = table_named("normalized.trades")


@pytest.fixture(scope="module")
def broad() -> pa.Table:
    """Trades of 5,000 symbols in the order of a file."""
    ((_, rows),) = partitions(TABLE, ticks.session(0, ASKED_ROWS))
    return rows


def encodings_of(path: Path) -> dict[str, set[str]]:
    group = pq.read_metadata(path).row_group(0)
    columns = [group.column(number) for number in range(group.num_columns)]
    return {one.path_in_schema: set(one.encodings) - {"RLE", "PLAIN"} or {"PLAIN"} for one in columns}


def written(path: Path, rows: pa.Table, sample: pa.Table | None) -> Path:
    pq.write_table(rows, path, row_group_size=ROW_GROUP_ROWS, **parquet_options(TABLE, sample=sample))
    return path


def test_a_large_file_is_written_as_its_rows_want_and_smaller(broad: pa.Table, tmp_path: Path) -> None:
    declared = written(tmp_path / "declared.parquet", broad, None)
    asked = written(tmp_path / "asked.parquet", broad, sample_of(broad))
    before, after = encodings_of(declared), encodings_of(asked)
    assert (before["ordinal"], after["ordinal"]) == ({"DELTA_BINARY_PACKED"}, {"RLE_DICTIONARY"}), "ten values"
    assert (before["trade_id"], after["trade_id"]) == ({"DELTA_BYTE_ARRAY"}, {"RLE_DICTIONARY"}), "counters of many venues, mixed"
    same = [name for name in before if name not in ("ordinal", "trade_id")]
    assert {name: after[name] for name in same} == {name: before[name] for name in same}
    assert asked.stat().st_size < 0.98 * declared.stat().st_size


def test_every_reader_reads_the_same(broad: pa.Table, tmp_path: Path) -> None:
    asked = written(tmp_path / "asked.parquet", broad, sample_of(broad))
    footer = read_footer(str(asked))
    found = pa.concat_tables(read_groups(footer, TABLE, range(len(footer.rows)), TABLE.column_names))
    assert found.cast(TABLE.arrow_schema()).equals(broad.cast(TABLE.arrow_schema()))
    names = ["trade_id", "ordinal", "price", "size", "sequence"]
    wanted = broad.select(names)
    assert pl.read_parquet(asked, columns=names).to_arrow().cast(wanted.schema).equals(wanted)
    with duckdb.connect() as connection:
        found = connection.sql(
            f"SELECT {', '.join(names)} FROM read_parquet('{asked}', file_row_number=true) ORDER BY file_row_number"
        )
        assert found.to_arrow_table().cast(wanted.schema).equals(wanted)


def test_few_rows_are_written_as_declared(broad: pa.Table) -> None:
    few = broad.slice(0, ASKED_ROWS - 1)
    assert sample_of(few) is None
    options = parquet_options(TABLE)
    assert options["column_encoding"]["trade_id"] == "DELTA_BYTE_ARRAY" and options["compression_level"] == 3
    assert "ordinal" in options["column_encoding"] and "size" in options["use_dictionary"]


def test_what_is_offered_keeps_the_rules_of_the_lake() -> None:
    columns = [column for table in TABLES.values() for column in table.columns]
    for column in columns:
        first, *others = offered(column)
        assert first is (Encoding.PLAIN if column.type == "boolean" else column.encoding)
        assert first not in others
        if column.type in ("timestamptz", "date", "double"):
            assert others == [], "a stamp has never a dictionary"
    wide = next(column for column in columns if column.type == "decimal(28,8)")
    assert Encoding.DELTA not in offered(wide), "not stored as an integer"


def test_rewritten_rows_of_one_instrument_have_long_row_groups(broad: pa.Table) -> None:
    one = broad.filter(pa.compute.equal(broad["instrument_id"], broad["instrument_id"][0]))
    assert group_rows(TABLE, one, is_quiet=True) == QUIET_GROUP_ROWS
    assert group_rows(TABLE, one, is_quiet=False) == group_rows(TABLE, broad, is_quiet=True) == ROW_GROUP_ROWS
    raw = table_named("raw.messages")
    assert group_rows(raw, raw.arrow_schema().empty_table(), is_quiet=True) == ROW_GROUP_ROWS
