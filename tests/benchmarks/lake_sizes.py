"""`python -m tests.benchmarks.lake_sizes [SCALE]`: bytes a trade, and CPU of writing.

The same trades (one busy feed; 5,000 symbols), whole schema, by us as committed and as compacted, by PyIceberg's append,
DuckDB's COPY and chDB's MergeTree with codecs.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from lake.encodings import QUIET_ZSTD_LEVEL, ROW_GROUP_ROWS, group_rows, parquet_options, sample_of
from lake.ordering import partitions
from lake.tables import table_named
from tests.benchmarks import ticks
from tests.benchmarks.engines import LOADS, Engine
from tests.benchmarks.engines.tickhouse import TRADES

TABLE = table_named(TRADES)
CHDB = Engine("chdb_merge_tree", "bytes_of", "chdb")


def bytes_a_trade(scale: float) -> None:
    """Print one line a feed and writer."""
    count = int(ticks.FULL_ROWS * scale / ticks.SESSIONS)
    weighers: dict[str, Callable[[Path, pa.Table], int]] = {
        "PyIceberg append": _files_of("PyIceberg append, as it came"),
        "tickhouse": _files_of("tickhouse: sorted, tuned, committed"),
        "tickhouse, compacted": _compacted,
        "DuckDB COPY, sorted": _files_of("DuckDB COPY, sorted"),
    }
    if CHDB.missing() is None:
        weighers["chDB, MergeTree with codecs"] = CHDB.load()
    else:
        print(f"skipped: chDB: {CHDB.missing()}")
    for feed, rows in (("one busy feed", ticks.busy_feed(count)), ("5,000 symbols", ticks.session(0, count))):
        sizes: dict[str, float] = {}
        for name, weigh in weighers.items():
            with tempfile.TemporaryDirectory(prefix="bench-sizes-") as made:
                used = time.process_time()
                sizes[name] = weigh(Path(made), rows) / count
                used = time.process_time() - used
            ratio = sizes[name] / sizes["PyIceberg append"]
            print(
                f"{feed}, {count:,} trades: {name}: {sizes[name]:.2f} B ({ratio:.2f}x), {used / count * 1e8:.0f} ms CPU per 100k",
                flush=True,
            )


def _files_of(writer: str) -> Callable[[Path, pa.Table], int]:
    """Return what writes the rows and weighs the Parquet files."""

    def weigh(folder: Path, rows: pa.Table) -> int:
        LOADS[writer].load()(folder, rows)()
        return _weight(folder)

    return weigh


def _compacted(folder: Path, rows: pa.Table) -> int:
    """Write the rows as compaction would, and weigh the files."""
    for number, (_, part) in enumerate(partitions(TABLE, rows)):
        options = parquet_options(TABLE, QUIET_ZSTD_LEVEL, sample_of(part, ROW_GROUP_ROWS))
        groups = group_rows(TABLE, part, is_quiet=True)
        pq.write_table(part, folder / f"{number}.parquet", row_group_size=groups, **options)
    return _weight(folder)


def _weight(folder: Path) -> int:
    return sum(one.stat().st_size for one in folder.rglob("*.parquet"))


if __name__ == "__main__":
    bytes_a_trade(float(sys.argv[1]) if len(sys.argv) > 1 else 0.05)
