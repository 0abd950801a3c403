"""What a benchmark offers, and how it is measured: interleaved rounds, medians, ratios to ours."""

from __future__ import annotations

import atexit
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Timed:
    """What a case did in another process, which measured itself."""

    units: int
    wall_s: float
    cpu_s: float


@dataclass(frozen=True)
class Case:
    """One way to do the work of a group. `run` does all of it once, and returns how many units it did."""

    group: str
    """Cases of one group do the same work on the same input, like `decode Binance trades`."""
    name: str
    unit: str
    """What is counted, in the plural: `messages`."""
    run: Callable[[], int | Timed]
    is_ours: bool = False
    """The case that the others are compared with; one a group."""
    times_a_turn: int = 1
    """How often it runs in its turn: a stream of short acts meets warm caches from the second on."""


@dataclass(frozen=True)
class Skipped:
    """A case that cannot run on this machine."""

    group: str
    name: str
    reason: str


@dataclass(frozen=True)
class Measured:
    """Medians of one case over all rounds: by the clock, and of the process's time on its cores."""

    case: Case
    units: int
    seconds: float
    cpu_seconds: float
    spread: float
    """Slowest round over fastest: how restless the machine was."""

    @property
    def per_second(self) -> float:
        return self.units / self.seconds


@dataclass(frozen=True)
class Ratio:
    """How many times the other takes what ours takes."""

    wall: float
    cpu: float


def measure(
    cases: Sequence[Case],
    rounds: int,
    timer: Callable[[], float] = time.perf_counter,
    cpu_timer: Callable[[], float] = time.process_time,
) -> list[Measured]:
    """Return the medians of `cases`, each run once unmeasured, then `times_a_turn` times a round, in turn.

    Interleaving lets a busy moment of the machine fall on all cases alike. Raises ValueError where cases of one group
    did not do the same number of units: then they are not comparable.
    """
    units = {case: _timed(case, timer, cpu_timer).units for case in cases}
    taken: dict[Case, list[Timed]] = {case: [] for case in cases}
    for _ in range(rounds):
        for case in [one for one in cases for _ in range(one.times_a_turn)]:
            done = _timed(case, timer, cpu_timer)
            taken[case].append(done)
            if done.units != units[case]:
                raise ValueError(f"{case.group}, {case.name}: {done.units} {case.unit}, and {units[case]} before")
    for case in cases:
        first = next(other for other in cases if other.group == case.group)
        if units[case] != units[first]:
            raise ValueError(f"{case.group}: {case.name} did {units[case]} {case.unit}, {first.name} {units[first]}")
    return [_medians(case, units[case], timed) for case, timed in taken.items()]


def ratios(measured: Sequence[Measured]) -> dict[Measured, Ratio]:
    """Return how many times faster the group's own case is than each (itself: 1). A group without one has no ratios."""
    ours = {one.case.group: one for one in measured if one.case.is_ours}
    return {
        one: Ratio(
            one.seconds / ours[one.case.group].seconds, one.cpu_seconds / max(ours[one.case.group].cpu_seconds, _LEAST_CPU_S)
        )
        for one in measured
        if one.case.group in ours
    }


def folder_for(home: Path | None, name: str) -> Path:
    """Return a folder to work in: the one that is given and kept, or one that is gone when the process ends."""
    if home is not None:
        home.mkdir(parents=True, exist_ok=True)
        return home
    made = Path(tempfile.mkdtemp(prefix=f"{name}-"))
    atexit.register(shutil.rmtree, made, ignore_errors=True)
    return made


_LEAST_CPU_S = 1e-9
"""A case that only waits takes no CPU."""


def _timed(case: Case, timer: Callable[[], float], cpu_timer: Callable[[], float]) -> Timed:
    wall, cpu = timer(), cpu_timer()
    done = case.run()
    return done if isinstance(done, Timed) else Timed(done, timer() - wall, cpu_timer() - cpu)


def _medians(case: Case, units: int, timed: Sequence[Timed]) -> Measured:
    walls = [one.wall_s for one in timed]
    return Measured(case, units, statistics.median(walls), statistics.median(one.cpu_s for one in timed), max(walls) / min(walls))
