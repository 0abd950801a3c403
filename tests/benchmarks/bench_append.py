"""Writing: 1,000 rows made durable, and a session loaded in bulk, against other stores on the same ticks.

*Durable append*: ours is what the pipeline does when a frame arrives: one block appended to the embedded log, on the disk
when it returns; readers of the tail have it from there, main has it at the next landing. So two lines stand for ours: the
log, which is compared, and a whole commit to main, which is what the other lakehouses do. `write and fsync` is the limit.
*Bulk load*: arrival order in; sorted, durable and committed out, where the peer can sort. Files of all rounds stay, so
the peers that slow down with history show it.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from functools import partial
from itertools import count
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
from pyiceberg.catalog.sql import SqlCatalog

from lake.catalog import Lake
from lake.commits import append
from lake.expiry import expire
from lake.instants import system_clock
from lake.log.blocks import encode_rows
from lake.log.segments import SegmentLog
from lake.settings import load_settings
from lake.tables import table_named
from lake.values import MessageRange
from tests.benchmarks import ticks
from tests.benchmarks.cases import Case, Skipped
from tests.benchmarks.lake_peers import TRADES, missing

ROWS = 1_000
APPEND = "durable append of 1,000 rows"
EXPIRE_EACH = 25


def cases(scale: float = 0.02) -> list[Case | Skipped]:
    """Return both groups; stores are made under a folder of their own."""
    folder = Path(tempfile.mkdtemp(prefix="bench-append-"))
    lake = Lake.create(load_settings(home=folder / "home"), system_clock)
    small, bulk = ticks.session(0, ROWS), ticks.session(0, int(ticks.FULL_ROWS * scale / ticks.SESSIONS))
    load = f"bulk load of {bulk.num_rows:,} trades"
    found: list[Case | Skipped] = [
        Case(APPEND, "tickhouse, log (visible in the tail)", "rows", _log(folder, small), is_ours=True),
        Case(APPEND, "tickhouse, commit to main", "rows", _commit(lake, small)),
        Case(APPEND, "limit: Arrow bytes, write and fsync", "rows", _bare(folder, small)),
        Case(APPEND, "PyIceberg append", "rows", _pyiceberg(folder / "small", small)),
        Case(APPEND, "DuckDB insert", "rows", _duckdb_insert(folder, small)),
        Case(load, "tickhouse: sorted, tuned, committed", "rows", _commit(lake, bulk), is_ours=True),
        Case(load, "PyIceberg append, sorted first", "rows", _pyiceberg(folder / "sorted", bulk, is_sorted=True)),
        Case(load, "PyIceberg append, as it came", "rows", _pyiceberg(folder / "bulk", bulk)),
        Case(load, "DuckDB COPY, sorted", "rows", _copy(folder, bulk)),
    ]
    reason = missing("deltalake")
    found.append(
        Case(APPEND, "delta-rs", "rows", _deltalake(folder / "delta", small))
        if reason is None
        else Skipped(APPEND, "delta-rs", reason)
    )
    return found


def _log(folder: Path, rows: pa.Table) -> Callable[[], int]:
    log = SegmentLog(folder / "log", system_clock)

    def run() -> int:
        log.append("bench", 0, [encode_rows(TRADES, rows)])
        return rows.num_rows

    return run


def _commit(lake: Lake, rows: pa.Table) -> Callable[[], int]:
    numbers = count()

    def run() -> int:
        number = next(numbers)
        owner = f"bench-{rows.num_rows}"
        ranges = [MessageRange(ticks.capture_id(0), 0, rows["message_seq"][-1].as_py())]
        append(lake, TRADES, rows, owner, {"0": number} if number else {}, {"0": number + 1}, f"{owner}-{number}", ranges)
        if number % EXPIRE_EACH == 0:
            expire(lake, TRADES)
        return rows.num_rows

    return run


def _bare(folder: Path, rows: pa.Table) -> Callable[[], int]:
    file = (folder / "bare").open("ab")

    def run() -> int:
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, rows.schema) as stream:
            stream.write_table(rows)
        file.write(sink.getvalue())
        file.flush()
        os.fsync(file.fileno())
        return rows.num_rows

    return run


def _pyiceberg(folder: Path, rows: pa.Table, *, is_sorted: bool = False) -> Callable[[], int]:
    folder.mkdir()
    catalog = SqlCatalog("bench", uri=f"sqlite:///{folder}/catalog.db", warehouse=f"file://{folder}/warehouse")
    catalog.create_namespace("bench")
    definition = table_named(TRADES)
    table = catalog.create_table("bench.trades", definition.iceberg_schema())
    order = [(name, "ascending") for name in definition.order]

    def run() -> int:
        table.append(rows.take(pc.sort_indices(rows, sort_keys=order)) if is_sorted else rows)
        return rows.num_rows

    return run


def _duckdb_insert(folder: Path, rows: pa.Table) -> Callable[[], int]:
    connection = duckdb.connect(str(folder / "duck.db"))
    connection.register("given", rows)
    connection.execute("CREATE TABLE trades AS SELECT * FROM given LIMIT 0")

    def run() -> int:
        connection.execute("INSERT INTO trades SELECT * FROM given")
        return rows.num_rows

    return run


def _copy(folder: Path, rows: pa.Table) -> Callable[[], int]:
    connection = duckdb.connect()
    connection.register("given", rows)
    numbers = count()

    def run() -> int:
        path = folder / f"copy-{next(numbers)}.parquet"
        order = ", ".join(table_named(TRADES).order)
        connection.execute(f"COPY (SELECT * FROM given ORDER BY {order}) TO '{path}' (FORMAT parquet, COMPRESSION zstd)")
        with path.open("rb") as file:
            os.fsync(file.fileno())
        return rows.num_rows

    return run


def _deltalake(folder: Path, rows: pa.Table) -> Callable[[], int]:
    import deltalake

    run_once = partial(deltalake.write_deltalake, str(folder), rows, mode="append")

    def run() -> int:
        run_once()
        return rows.num_rows

    return run
