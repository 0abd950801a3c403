"""`python -m tests.benchmarks.lake_commits [N]`: does a commit take as long with history as without?

Appends 100 rows N times (10,000 by default), expiring and merging manifests every 25th, as the pipeline does. At the 20th, the
2,000th and the 10,000th, 41 commits take turns with the first 41 of a new lake, so that a busy minute falls on both; printed are
the medians, their CPU, and what the lake's databases and metadata weigh.
"""

from __future__ import annotations

import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from lake.catalog import Lake
from lake.commits import append
from lake.expiry import expire
from lake.instants import system_clock
from lake.maintenance.manifests import rewrite_manifests
from lake.settings import load_settings
from lake.values import MessageRange
from tests.benchmarks import ticks
from tests.benchmarks.lake_peers import TRADES

AROUND = 20
SESSION = ticks.session(0, 100_000)
MARKS = (20, 2_000, 10_000)
EXPIRE_EACH = 25


def main(commits: int) -> None:
    """Run and print one line a mark."""
    home = Path(tempfile.mkdtemp(prefix="bench-commits-"))
    try:
        with Lake.create(load_settings(home=home / "old"), system_clock) as old:
            number = 0
            for mark in (mark for mark in MARKS if mark <= commits):
                while number < mark - AROUND:
                    _commit(old, number)
                    number += 1
                with Lake.create(load_settings(home=home / f"young-{mark}"), system_clock) as young:
                    pairs = []
                    for first in range(2 * AROUND + 1):
                        pairs.append((_commit(young, first), _commit(old, number)))
                        number += 1
                _tell(home / "old", mark, pairs[1:])
    finally:
        shutil.rmtree(home)


def _commit(lake: Lake, number: int) -> tuple[float, float]:
    """Append the next 100 rows; return (seconds, seconds of CPU)."""
    rows = SESSION.slice(number % 1_000 * 100, 100)
    first, last = rows["message_seq"][0].as_py(), rows["message_seq"][-1].as_py()
    before = {"0": number} if number else {}
    ranges = [MessageRange(ticks.capture_id(0), first, last)]
    started, used = time.perf_counter(), time.process_time()
    append(lake, TRADES, rows, ticks.PROVIDER, before, {"0": number + 1}, f"bench-{number}", ranges)
    if number % EXPIRE_EACH == 0:
        rewrite_manifests(lake, TRADES)
        expire(lake, TRADES)
    return time.perf_counter() - started, time.process_time() - used


def _tell(home: Path, mark: int, pairs: Sequence[tuple[tuple[float, float], tuple[float, float]]]) -> None:
    young, old = zip(*pairs, strict=True)
    (young_wall, young_cpu), (old_wall, old_cpu) = (
        [statistics.median(column) * 1e3 for column in zip(*side, strict=True)] for side in (young, old)
    )
    weight = {one.name: one.stat().st_size for one in home.glob("*.db")}
    metadata = sorted((home / "warehouse/normalized/trades/metadata").glob("*.json"), key=lambda one: one.stat().st_mtime)
    print(
        f"commit {mark:,}: {old_wall:.1f} ms wall ({old_wall / young_wall:.2f}x of a 20th beside it),"
        f" {old_cpu:.1f} ms CPU ({old_cpu / young_cpu:.2f}x);"
        f" {', '.join(f'{name} {size / 1e6:.1f} MB' for name, size in sorted(weight.items()))};"
        f" newest metadata.json {metadata[-1].stat().st_size / 1e3:.0f} kB of {len(metadata)}",
        flush=True,
    )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else MARKS[-1])
