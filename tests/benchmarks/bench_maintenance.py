"""Compaction of many partitions: time, peak memory, bytes a row. Full size: `python -m tests.benchmarks.bench_maintenance`.

Each partition is one day of trades of a provider as promotion leaves it: many files, each sorted, in the order of time. Lake and
files are made in one process, compaction runs in another whose peak memory is told; proofs included. Deterministic.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa

from lake.catalog import Lake
from lake.commits import append
from lake.instants import EPOCH, system_clock
from lake.maintenance.maintaining import maintain
from lake.settings import load_settings
from lake.tables import table_named
from lake.values import MessageRange
from tests.benchmarks.cases import Case, Skipped
from tests.benchmarks.peak import peak_mb

TRADES = "normalized.trades"
FIRST_DAY = date(2024, 1, 2)
INSTRUMENTS = 500
PER_MESSAGE = 10


def trades(day: int, first: int, count: int, rows_a_day: int) -> pa.Table:
    """Return trades first..first+count-1 of a day of 6.5 hours over all instruments, prices near a level of each."""
    chance = np.random.default_rng([day, first])
    numbers = np.arange(first, first + count)
    instruments = np.minimum((chance.pareto(1.2, count) * 8).astype(np.int64), INSTRUMENTS - 1)
    opens = (FIRST_DAY + timedelta(days=day) - EPOCH.date()).days * 86_400_000_000 + 52_200_000_000
    events = opens + numbers * (23_400_000_000 // rows_a_day) + chance.integers(0, 10_000, count)
    zeros = np.zeros(count, np.int32)
    symbols = pa.array([f"S{number:04d}" for number in range(INSTRUMENTS)])
    columns = {
        "instrument_id": pa.array(instruments + 1),
        "provider": pa.array(["bench"]).take(pa.array(zeros)),
        "feed": pa.array(["trades"]).take(pa.array(zeros)),
        "symbol": symbols.take(pa.array(instruments)),
        "mic": pa.array(["XNAS"]).take(pa.array(zeros)),
        "currency": pa.array(["USD"]).take(pa.array(zeros)),
        "session_date": pa.array([FIRST_DAY + timedelta(days=day)]).take(pa.array(zeros)),
        "ts_event": pa.array(events).cast(pa.timestamp("us", tz="UTC")),
        "ts_event_nanos": pa.array(zeros),
        "ts_recv": pa.array(events + chance.integers(200, 4_000, count)).cast(pa.timestamp("us", tz="UTC")),
        "sequence": pa.array(numbers),
        "price": _decimal((5_000 + instruments * 37 + chance.integers(-40, 40, count)) * 10_000_000, 18, 9),
        "size": _decimal(chance.choice([1, 5, 10, 50, 100, 100, 100, 200, 300], count) * 100_000_000, 18, 8),
        "side": pa.array(["buy", "sell"]).take(pa.array(chance.integers(0, 2, count))),
        "capture_id": pa.array([f"bench-{day:03d}"]).take(pa.array(zeros)),
        "message_seq": pa.array(numbers // PER_MESSAGE),
        "ordinal": pa.array((numbers % PER_MESSAGE).astype(np.int32)),
    }
    return pa.table(columns)


def make(home: Path, partitions: int, rows: int, files: int) -> None:
    """Make a lake with so many days of so many rows, each in so many files."""
    with Lake.create(load_settings(home=home), system_clock) as lake:
        offset = 0
        step = max(rows // files // PER_MESSAGE * PER_MESSAGE, PER_MESSAGE)
        for day in range(partitions):
            for first in range(0, rows, step):
                count = min(step, rows - first)
                ranges = [MessageRange(f"bench-{day:03d}", first // PER_MESSAGE, (first + count - 1) // PER_MESSAGE)]
                before = {"0": offset} if offset else {}
                batch = trades(day, first, count, rows)
                append(lake, TRADES, batch, "bench", before, {"0": offset + 1}, f"run-{offset}", ranges)
                offset += 1


def compact(home: Path, archive: Path | None = None) -> dict[str, object]:
    """Compact (or archive) the whole table in this process; return figures, peak memory included."""
    more = {"archive_location": str(archive), "archive_tables": [TRADES]} if archive else {}
    with Lake.open(load_settings(home=home, compact_quiet_s=0, **more), system_clock) as lake:
        start = time.perf_counter()
        (done,) = maintain(lake, [TRADES], ("archive",) if archive else ("compact",)).tables
        seconds = time.perf_counter() - start
    return {
        "partitions": len(done.rewrites),
        "rows": done.after.rows,
        "files": [done.before.files, done.after.files],
        "bytes_a_row": [round(done.before.bytes_a_row or 0, 2), round(done.after.bytes_a_row or 0, 2)],
        "seconds": round(seconds, 1),
        "peak_mb": round(peak_mb()),
        "trouble": done.trouble,
    }


def cases() -> list[Case | Skipped]:
    """Return the compaction of two small days, made anew for each round."""
    group = "compact 2 partitions of 100,000 trades in 10 files"
    assert table_named(TRADES)

    def run() -> int:
        home = Path(tempfile.mkdtemp(prefix="bench-maintenance-"))
        try:
            make(home / "lake", 2, 100_000, 10)
            return int(str(compact(home / "lake")["rows"]))
        finally:
            shutil.rmtree(home)

    return [Case(group, "tickhouse, made and compacted", "rows", run, is_ours=True)]


def main() -> int:
    """Run at full size, or as asked; print figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--partitions", type=int, default=24)
    parser.add_argument("--rows", type=int, default=1_000_000, help="rows a partition")
    parser.add_argument("--files", type=int, default=20, help="files a partition")
    parser.add_argument("--archive", action="store_true", help="then archive it all with zstd 19")
    parser.add_argument("--home", type=Path, help="folder to work in (default: a temporary one, removed)")
    parser.add_argument("--only", choices=("compact", "archive"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.only:
        print(json.dumps(compact(given.home / "lake", given.home / "cold" if given.only == "archive" else None)))
        return 0
    home = given.home or Path(tempfile.mkdtemp(prefix="bench-maintenance-"))
    try:
        make(home / "lake", given.partitions, given.rows, given.files)
        for only in ("compact", *(("archive",) if given.archive else ())):
            command = [sys.executable, "-m", "tests.benchmarks.bench_maintenance", "--home", str(home), "--only", only]
            print(only, subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip(), flush=True)
    finally:
        if given.home is None:
            shutil.rmtree(home)
    return 0


def _decimal(values: np.ndarray[tuple[int], np.dtype[np.int64]], precision: int, scale: int) -> pa.Array:
    """Return unscaled integers as decimals."""
    halves = np.stack([values, np.where(values < 0, -1, 0)], axis=1).astype(np.int64)
    return pa.Array.from_buffers(pa.decimal128(precision, scale), len(values), [None, pa.py_buffer(halves.tobytes())])


if __name__ == "__main__":
    sys.exit(main())
