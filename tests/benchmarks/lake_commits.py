"""`python -m tests.benchmarks.lake_commits [N]`: does a commit take as long with history as without?

Appends 100 rows N times (10,000 by default), expiring every 25th, as the pipeline does, and prints the median of the 41
commits around the 20th, the 2,000th and the 10,000th, their CPU, and what the lake's databases and metadata weigh.
"""

from __future__ import annotations

import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path

from lake.catalog import Lake
from lake.commits import append
from lake.expiry import expire
from lake.instants import system_clock
from lake.settings import load_settings
from lake.values import MessageRange
from tests.benchmarks import ticks
from tests.benchmarks.lake_peers import TRADES

AROUND = 20
MARKS = (20, 2_000, 10_000)
EXPIRE_EACH = 25


def main(commits: int) -> None:
    """Run and print one line a mark."""
    home = Path(tempfile.mkdtemp(prefix="bench-commits-"))
    wall: list[float] = []
    cpu: list[float] = []
    session = ticks.session(0, 100_000)
    try:
        with Lake.create(load_settings(home=home), system_clock) as lake:
            for number in range(commits + AROUND + 1):
                rows = session.slice(number % 1_000 * 100, 100)
                first, last = rows["message_seq"][0].as_py(), rows["message_seq"][-1].as_py()
                started, used = time.perf_counter(), time.process_time()
                append(
                    lake,
                    TRADES,
                    rows,
                    ticks.PROVIDER,
                    {"0": number} if number else {},
                    {"0": number + 1},
                    f"bench-{number}",
                    [MessageRange(ticks.capture_id(0), first, last)],
                )
                if number % EXPIRE_EACH == 0:
                    expire(lake, TRADES)
                wall.append(time.perf_counter() - started)
                cpu.append(time.process_time() - used)
                if number - AROUND in MARKS:
                    _tell(home, number - AROUND, wall, cpu)
    finally:
        shutil.rmtree(home)


def _tell(home: Path, mark: int, wall: list[float], cpu: list[float]) -> None:
    def median(times: list[float], at: int) -> float:
        return statistics.median(times[max(at - AROUND, 1) : at + AROUND + 1]) * 1e3

    weight = {one.name: one.stat().st_size for one in home.glob("*.db")}
    metadata = sorted((home / "warehouse/normalized/trades/metadata").glob("*.json"), key=lambda one: one.stat().st_mtime)
    print(
        f"commit {mark:,}: {median(wall, mark):.1f} ms wall ({median(wall, mark) / median(wall, MARKS[0]):.2f}x of the 20th),"
        f" {median(cpu, mark):.1f} ms CPU ({median(cpu, mark) / median(cpu, MARKS[0]):.2f}x);"
        f" {', '.join(f'{name} {size / 1e6:.1f} MB' for name, size in sorted(weight.items()))};"
        f" newest metadata.json {metadata[-1].stat().st_size / 1e3:.0f} kB of {len(metadata)}",
        flush=True,
    )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else MARKS[-1])
