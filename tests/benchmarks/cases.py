"""What a benchmark offers, and how it is measured: interleaved rounds, medians, ratios to ours."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Case:
    """One way to do the work of a group. `run` does all of it once, and returns how many units it did."""

    group: str
    """Cases of one group do the same work on the same input, like `decode Binance trades`."""
    name: str
    unit: str
    """What is counted, in the plural: `messages`."""
    run: Callable[[], int]
    is_ours: bool = False
    """The case that the others are compared with; one a group."""


@dataclass(frozen=True)
class Skipped:
    """A case that cannot run on this machine."""

    group: str
    name: str
    reason: str


@dataclass(frozen=True)
class Measured:
    """Medians of one case over all rounds."""

    case: Case
    units: int
    seconds: float
    spread: float
    """Slowest round over fastest: how restless the machine was."""

    @property
    def per_second(self) -> float:
        return self.units / self.seconds


def measure(cases: Sequence[Case], rounds: int, timer: Callable[[], float] = time.perf_counter) -> list[Measured]:
    """Return the medians of `cases`, each run once unmeasured, then once a round, in turn.

    Interleaving lets a busy moment of the machine fall on all cases alike. Raises ValueError where cases of one group
    did not do the same number of units: then they are not comparable.
    """
    units = {case: case.run() for case in cases}
    seconds: dict[Case, list[float]] = {case: [] for case in cases}
    for _ in range(rounds):
        for case in cases:
            start = timer()
            done = case.run()
            seconds[case].append(timer() - start)
            if done != units[case]:
                raise ValueError(f"{case.group}, {case.name}: {done} {case.unit}, and {units[case]} before")
    for case in cases:
        first = next(other for other in cases if other.group == case.group)
        if units[case] != units[first]:
            raise ValueError(f"{case.group}: {case.name} did {units[case]} {case.unit}, {first.name} {units[first]}")
    return [Measured(case, units[case], statistics.median(taken), max(taken) / min(taken)) for case, taken in seconds.items()]


def ratios(measured: Sequence[Measured]) -> dict[Measured, float]:
    """Return how many times faster the group's own case is than each (itself: 1). A group without one has no ratios."""
    ours = {one.case.group: one for one in measured if one.case.is_ours}
    return {one: one.seconds / ours[one.case.group].seconds for one in measured if one.case.group in ours}
