"""Reading the lake, against engines on the same files and stores of their own, on the same ticks.

Six questions to one session of 20 million x scale / 5 trades: one instrument's day from files and from memory (busy,
middling and quiet ones), its one-minute bars, everybody's bars, one instrument as of another, the last trade of every
instrument at noon. Sizes, memory and commits are in `lake_sizes.py`, `lake_memory.py` and `lake_commits.py`, writing in
`bench_append.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from tests.benchmarks import ticks
from tests.benchmarks.cases import Case, Skipped, Timed, folder_for
from tests.benchmarks.engines import OURS, READERS, Given
from tests.benchmarks.engines.elsewhere import Elsewhere, python_of, why_not
from tests.benchmarks.engines.prepared import instruments, prepare

Ask = tuple[str, tuple[int, ...]]
"""A method of every engine, and its arguments."""
NOT_HOT = ("all_bars", "snapshot")
"""Questions about everybody: the day in memory answers those about one."""


def cases(scale: float = 0.05, home: Path | None = None, arctic: str | None = None) -> list[Case | Skipped]:
    """Return every question to every engine that is installed; `arctic` is the interpreter of ArcticDB."""
    given = prepare(folder_for(home, "bench-lake"), scale)
    absent = {name: reason for name, engine in READERS.items() if (reason := why_not(engine, arctic)) is not None}
    asked = {name: _asked(name, given, arctic) for name in READERS if name not in absent}
    check_bars(given)
    rows = f"{int(ticks.FULL_ROWS * scale / ticks.SESSIONS):,} trades"
    found: list[Case | Skipped] = []
    for question, (method, arguments) in questions().items():
        group = f"{question}, of {rows}"
        for name, ask in asked.items():
            if not (name == "tickhouse, hot" and method in NOT_HOT):
                found.append(Case(group, name, "rows", partial(ask, method, arguments), is_ours=name == OURS))
        found.extend(Skipped(group, name, reason) for name, reason in absent.items())
    return found


def questions() -> dict[str, Ask]:
    """Return the six questions, the first to three instruments."""
    picked = instruments()
    found: dict[str, Ask] = {f"one instrument-day, {kind}": ("point", (one,)) for kind, one in picked.items()}
    found["1-minute bars of one, liquid"] = ("bars", (picked["liquid"],))
    found["1-minute bars of all"] = ("all_bars", ())
    found["as-of join, mid to liquid"] = ("as_of", (picked["mid"], picked["liquid"]))
    found["snapshot at noon, all instruments"] = ("snapshot", ())
    return found


def check_bars(given: Given) -> None:
    """Refuse to compare times where the bars differ in a value."""
    made, others = (READERS[name].load()(given).made_bars() for name in (OURS, "Polars on the same Parquet"))
    if not others.cast(made.schema).equals(made):
        raise ValueError("ours and Polars make other bars of the same day")


def _asked(name: str, given: Given, arctic: str | None) -> Callable[[str, tuple[int, ...]], int | Timed]:
    """Return what asks an engine: in this process where it can be."""
    engine = READERS[name]
    if engine.package == "arcticdb":
        return Elsewhere("read", name, given, python_of(engine, arctic)).ask
    opened: Any = engine.load()(given)
    return lambda method, arguments: int(getattr(opened, method)(*arguments))
