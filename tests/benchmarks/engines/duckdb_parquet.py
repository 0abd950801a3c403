"""DuckDB over the lake's Parquet files, its sorted COPY, and inserts into its own tables."""

from __future__ import annotations

import os
from collections.abc import Callable
from itertools import count
from pathlib import Path

import duckdb
import pyarrow as pa

from tests.benchmarks.engines import ORDER, Given
from tests.benchmarks.engines.sql_questions import SqlQuestions


class DuckDB(SqlQuestions):
    """One connection, footers cached."""

    minute_bars = (
        "SELECT instrument_id, time_bucket(INTERVAL 1 minute, ts_event) AS ts_open, first(price) AS open, max(price) AS high,"
        " min(price) AS low, last(price) AS close, sum(size) AS volume, count(*) AS trade_count {rows} GROUP BY ALL"
    )
    side = "ts_event, price"
    beside = "l.ts_event >= r.ts_event"
    last = "arg_max(price, ts_event) AS price, arg_max(size, ts_event) AS size, max(ts_event) AS ts_event"

    def __init__(self, given: Given) -> None:
        self.connection = duckdb.connect()
        self.connection.execute("SET parquet_metadata_cache = true; SET TimeZone = 'UTC'")
        files = f"read_parquet({list(given.paths)!r}, hive_partitioning = false)"
        self.day = f"FROM {files} WHERE session_date = DATE '{given.day}'"
        self.noon = f"TIMESTAMPTZ '{given.noon}'"

    def count(self, query: str) -> int:
        return int(self.connection.sql(query).to_arrow_table().num_rows)


def insert(folder: Path, rows: pa.Table) -> Callable[[], int]:
    """Return what inserts the rows into a table of a database file."""
    connection = duckdb.connect(str(folder / "duck.db"))
    connection.register("given", rows)
    connection.execute("CREATE TABLE trades AS SELECT * FROM given LIMIT 0")

    def run() -> int:
        connection.execute("INSERT INTO trades SELECT * FROM given")
        return rows.num_rows

    return run


def copy(folder: Path, rows: pa.Table) -> Callable[[], int]:
    """Return what writes the rows, sorted, into one more durable Parquet file."""
    connection = duckdb.connect()
    connection.register("given", rows)
    numbers = count()

    def run() -> int:
        path = folder / f"{next(numbers)}.parquet"
        connection.execute(f"COPY (FROM given ORDER BY {', '.join(ORDER)}) TO '{path}' (FORMAT parquet, COMPRESSION zstd)")
        with path.open("rb") as file:
            os.fsync(file.fileno())
        return rows.num_rows

    return run
