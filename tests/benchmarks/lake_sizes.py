"""`python -m tests.benchmarks.lake_sizes [SCALE]`: bytes a trade, CPU of writing, and the peak memory of each engine.

Bytes: the same trades (one busy feed; 5,000 symbols), whole schema, by us as committed and as compacted,
by PyIceberg's append, DuckDB's COPY and chDB's MergeTree with codecs. Memory: each engine in a child process answers the
same questions, and tells its peak.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
from pyiceberg.catalog.sql import SqlCatalog

from lake.encodings import ASKED_ROWS, QUIET_ZSTD_LEVEL, ROW_GROUP_ROWS, ZSTD_LEVEL, group_rows, parquet_options, sample_of
from lake.ordering import partitions
from lake.tables import table_named
from tests.benchmarks import ticks
from tests.benchmarks.lake_peers import TRADES, Chdb, DuckDB, Ours, Polars, fill, instruments, missing

TABLE = table_named(TRADES)
ENGINES = ("tickhouse, from files", "tickhouse, hot", "DuckDB", "Polars", "chDB")


def bytes_a_trade(scale: float) -> None:
    """Print one line a feed and writer."""
    count = int(ticks.FULL_ROWS * scale / ticks.SESSIONS)
    for feed, rows in (("one busy feed", ticks.busy_feed(count)), ("5,000 symbols", ticks.session(0, count))):
        writers: dict[str, Callable[[Path, pa.Table], object]] = {
            "PyIceberg append": _pyiceberg,
            "tickhouse": _ours(is_quiet=False),
            "tickhouse, compacted": _ours(is_quiet=True),
            "DuckDB COPY, sorted": _copy,
        }
        if missing("chdb") is None:
            writers["chDB, MergeTree with codecs"] = _chdb
        sizes: dict[str, float] = {}
        for name, write in writers.items():
            with tempfile.TemporaryDirectory(prefix="bench-sizes-") as made:
                used = time.process_time()
                weigh = write(Path(made), rows)
                used = time.process_time() - used
                sizes[name] = _weight(Path(made), weigh if isinstance(weigh, str) else "*.parquet") / count
            ratio = sizes[name] / sizes["PyIceberg append"]
            print(
                f"{feed}, {count:,} trades: {name}: {sizes[name]:.2f} B ({ratio:.2f}x), {used / count * 1e8:.0f} ms CPU per 100k",
                flush=True,
            )


def memory(scale: float) -> None:
    """Print the peak resident megabytes of each engine after the same questions."""
    with tempfile.TemporaryDirectory(prefix="bench-memory-") as made:
        fill(Path(made), scale)
        for engine in ENGINES:
            if engine == "chDB" and missing("chdb") is not None:
                print(f"memory: {engine}: skipped: {missing('chdb')}")
                continue
            command = [sys.executable, "-W", "ignore", "-m", "tests.benchmarks.lake_sizes", "child", engine, made]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            before, peak = json.loads(done.stdout.strip().splitlines()[-1])
            print(f"memory: {engine}: peak {peak:.0f} MB, {before:.0f} MB of it imports", flush=True)


def child(engine: str, home: Path) -> None:
    """Answer every question once and print [MB before, MB at the peak]."""
    before = _peak()
    ours = Ours(home, hot=engine == "tickhouse, hot")
    asked = {
        "DuckDB": lambda: DuckDB(ours.paths),
        "Polars": lambda: Polars(ours.paths),
        "chDB": lambda: Chdb(home / "chdb", ours.paths),
    }.get(engine, lambda: ours)()
    for one in instruments().values():
        asked.point(one)
        asked.bars(one)
    asked.all_bars()
    asked.snapshot()
    print(json.dumps([before, _peak()]))


def _peak() -> float:
    """Return the most this process ever held; getrusage would count what the parent held when it forked."""
    (line,) = [one for one in Path("/proc/self/status").read_text(encoding="ascii").splitlines() if one.startswith("VmHWM")]
    return int(line.split()[1]) / 1024


def _weight(folder: Path, pattern: str) -> int:
    return sum(one.stat().st_size for one in folder.rglob(pattern) if one.is_file())


def _ours(*, is_quiet: bool) -> Callable[[Path, pa.Table], None]:
    """Return what writes the files of a commit, or (`is_quiet`) those of a compaction."""
    level = QUIET_ZSTD_LEVEL if is_quiet else ZSTD_LEVEL

    def write(folder: Path, rows: pa.Table) -> None:
        for number, (_, part) in enumerate(partitions(TABLE, rows)):
            options = parquet_options(TABLE, level, sample_of(part, ROW_GROUP_ROWS if is_quiet else ASKED_ROWS))
            groups = group_rows(TABLE, part, is_quiet=is_quiet)
            pq.write_table(part, folder / f"{number}.parquet", row_group_size=groups, **options)

    return write


def _pyiceberg(folder: Path, rows: pa.Table) -> None:
    catalog = SqlCatalog("bench", uri=f"sqlite:///{folder}/catalog.db", warehouse=f"file://{folder}/warehouse")
    catalog.create_namespace("bench")
    catalog.create_table("bench.trades", TABLE.iceberg_schema()).append(rows)
    catalog.close()


def _copy(folder: Path, rows: pa.Table) -> None:
    with duckdb.connect() as connection:
        connection.register("given", rows)
        order = ", ".join(TABLE.order)
        connection.execute(f"COPY (FROM given ORDER BY {order}) TO '{folder}/a.parquet' (FORMAT parquet, COMPRESSION zstd)")


def _chdb(folder: Path, rows: pa.Table) -> str:
    pq.write_table(rows, folder / "given.parquet", store_decimal_as_integer=True)
    held = Chdb(folder / "chdb", [str(folder / "given.parquet")])
    held.session.query("SYSTEM FLUSH LOGS")
    (folder / "given.parquet").unlink()
    found = str(held.session.query("SELECT path FROM system.parts WHERE database = 'bench' AND active LIMIT 1"))
    size = held.session.query("SELECT sum(bytes_on_disk) FROM system.parts WHERE database = 'bench' AND active")
    with (folder / "weight").open("wb") as file:  # as long as the active parts; merged ones wait for deletion beside them
        file.truncate(int(str(size).strip()))
    assert found.strip(), "chDB has no part"
    held.session.close()
    return "weight"


if __name__ == "__main__":
    if sys.argv[1:2] == ["child"]:
        child(sys.argv[2], Path(sys.argv[3]))
    else:
        given = float(sys.argv[1]) if len(sys.argv) > 1 else 0.05
        memory(given)
        bytes_a_trade(given)
