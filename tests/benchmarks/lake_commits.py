"""`python -m tests.benchmarks.lake_commits [N [FOLDER]]`: does a commit take as long with history as without?

Appends 100 rows N times (10,000 by default), 1,000 commits a session, with the pipeline's upkeep of the table (compaction,
manifests, expiry, sweep) as often as the pipeline does it. At the 20th, the 2,000th, the 10,000th and the last, 41 commits take
turns with the first 41 of a new lake, so that a busy minute falls on both; printed are the medians, their CPU, that of upkeep
a commit, and what the lake's databases and metadata weigh. In between each 1,000th tells the median CPU of the 100 before it.
FOLDER is kept, and a run that was stopped goes on there.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import pyarrow as pa

from lake.catalog import Lake
from lake.commits import append
from lake.expiry import SLACK
from lake.instants import system_clock
from lake.maintenance.maintaining import maintain
from lake.maintenance.works import WORKS
from lake.settings import load_settings
from lake.values import MessageRange
from serving.operate.parts import UPKEEP_EVERY, UPKEEP_S
from serving.operate.pipeline import UPKEEP_REWRITES
from tests.benchmarks import ticks
from tests.benchmarks.cases import folder_for
from tests.benchmarks.engines.tickhouse import TRADES

AROUND = 20
ROWS = 100
A_SESSION = 1_000
MARKS = (20, 2_000, 10_000)


@dataclass
class Writer:
    """One lake that is appended to, and what its commits and its upkeep took."""

    home: Path
    number: int = field(init=False)
    commits: list[tuple[float, float]] = field(default_factory=list)
    """(seconds, seconds of CPU) of each commit."""
    upkeep: list[tuple[float, float]] = field(default_factory=list)

    def __post_init__(self) -> None:
        settings = load_settings(home=self.home)
        self.lake = (Lake.open if self.home.exists() else Lake.create)(settings, system_clock)
        self.number = self.lake.head(TRADES).vector(ticks.PROVIDER).get("0", 0)
        self.swept = time.perf_counter()

    def commit(self) -> None:
        """Append the next rows; do the upkeep that is due then."""
        day, place = divmod(self.number, A_SESSION)
        rows = _session(day).slice(place * ROWS, ROWS)
        ranges = [MessageRange(ticks.capture_id(day), rows["message_seq"][0].as_py(), rows["message_seq"][-1].as_py())]
        before = {"0": self.number} if self.number else {}
        begun = _now()
        append(self.lake, TRADES, rows, ticks.PROVIDER, before, {"0": self.number + 1}, f"bench-{self.number}", ranges)
        self.commits.append(_since(begun))
        self.number += 1
        if self.number % UPKEEP_EVERY == 0:
            begun = _now()
            sweeps = begun[0] - self.swept >= UPKEEP_S
            self.swept = begun[0] if sweeps else self.swept
            works = WORKS if sweeps else [work for work in WORKS if work != "sweep"]
            maintain(self.lake, [TRADES], works, slack=SLACK, rewrites=UPKEEP_REWRITES)
            self.upkeep.append(_since(begun))


def main(commits: int, home: Path | None) -> None:
    """Run and print one line a mark."""
    folder = folder_for(home, "bench-commits")
    old = Writer(folder / "old")
    with old.lake:
        for mark in sorted(mark for mark in {*MARKS, commits} if old.number < mark <= commits):
            while old.number < mark - AROUND - 1:
                old.commit()
                if old.number % A_SESSION == 0:
                    cpu = statistics.median(cpu for _, cpu in old.commits[-100:]) * 1e3
                    print(f"commit {old.number:,}: {cpu:.1f} ms CPU; load {os.getloadavg()[0]:.0f}", flush=True)
            with tempfile.TemporaryDirectory(prefix="bench-commits-young-") as made:
                young = Writer(Path(made) / "home")
                with young.lake:
                    for _ in range(2 * AROUND + 1):
                        young.commit()
                        old.commit()
            _tell(mark, young, old)


@cache
def _session(day: int) -> pa.Table:
    return ticks.session(day, A_SESSION * ROWS)


def _now() -> tuple[float, float]:
    return time.perf_counter(), time.process_time()


def _since(begun: tuple[float, float]) -> tuple[float, float]:
    wall, cpu = _now()
    return wall - begun[0], cpu - begun[1]


def _medians(taken: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """Return (milliseconds, milliseconds of CPU)."""
    return statistics.median(wall for wall, _ in taken) * 1e3, statistics.median(cpu for _, cpu in taken) * 1e3


def _tell(mark: int, young: Writer, old: Writer) -> None:
    # The first commit of a lake, and whatever ran beside it, is not one of the 20th's neighbours.
    (young_wall, young_cpu), (old_wall, old_cpu) = (_medians(one.commits[-2 * AROUND :]) for one in (young, old))
    rounds = old.upkeep[-(A_SESSION // UPKEEP_EVERY) :]
    upkeep = statistics.mean(cpu for _, cpu in rounds) * 1e3 / UPKEEP_EVERY
    weight = {one.name: one.stat().st_size for one in old.home.glob("*.db")}
    metadata = sorted((old.home / "warehouse/normalized/trades/metadata").glob("*.json"), key=lambda one: one.stat().st_mtime)
    print(
        f"commit {mark:,}: {old_wall:.1f} ms wall ({old_wall / young_wall:.2f}x of a 20th beside it),"
        f" {old_cpu:.1f} ms CPU ({old_cpu / young_cpu:.2f}x); upkeep {upkeep:.1f} ms CPU a commit;"
        f" {', '.join(f'{name} {size / 1e6:.1f} MB' for name, size in sorted(weight.items()))};"
        f" newest metadata.json {metadata[-1].stat().st_size / 1e3:.0f} kB of {len(metadata)}; load {os.getloadavg()[0]:.0f}",
        flush=True,
    )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else MARKS[-1], Path(sys.argv[2]) if len(sys.argv) > 2 else None)
