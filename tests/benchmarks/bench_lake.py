"""Reading the lake, against engines on the same files and stores of their own, on the same ticks.

Six questions to one session of 20 million x scale / 5 trades: one instrument's day from files and from memory (busy,
middling and quiet ones), its one-minute bars, everybody's bars, one instrument as of another, the last trade of every
instrument at noon. Sizes, memory and commits are in `lake_sizes.py` and `lake_commits.py`, writing in `bench_append.py`.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from tests.benchmarks import ticks
from tests.benchmarks.cases import Case, Skipped
from tests.benchmarks.lake_peers import Arctic, Chdb, DuckDB, Ours, Polars, check_bars, fill, instruments, missing


def cases(scale: float = 0.05) -> list[Case | Skipped]:
    """Return every question to every engine that is installed."""
    folder = Path(tempfile.mkdtemp(prefix="bench-lake-"))
    fill(folder / "home", scale)
    ours = Ours(folder / "home", hot=False)
    engines: dict[str, Any] = {
        "tickhouse, from files": ours,
        "tickhouse, hot": Ours(folder / "home", hot=True),
        "DuckDB on the same Parquet": DuckDB(ours.paths),
        "Polars on the same Parquet": Polars(ours.paths),
    }
    check_bars(ours, engines["Polars on the same Parquet"])
    absent: dict[str, str] = {}
    for name, package, open_ in (
        ("ArcticDB", "arcticdb", partial(_arctic, folder, scale)),
        ("chDB, MergeTree", "chdb", partial(_chdb, folder, ours)),
    ):
        reason = missing(package)
        if reason is None:
            engines[name] = open_()
        else:
            absent[name] = reason
    found: list[Case | Skipped] = []
    for group, question in _questions(scale).items():
        for name, engine in engines.items():
            is_hot_twin = name == "tickhouse, hot" and not group.startswith(("point", "bars of", "as-of"))
            if not is_hot_twin:
                found.append(Case(group, name, "rows", partial(question, engine), is_ours=name == "tickhouse, from files"))
        found.extend(Skipped(group, name, reason) for name, reason in absent.items())
    return found


def _questions(scale: float) -> dict[str, Callable[[Any], int]]:
    picked = instruments()
    busy = picked["liquid"]
    rows = f"{int(ticks.FULL_ROWS * scale / ticks.SESSIONS):,} trades"
    found: dict[str, Callable[[Any], int]] = {}
    for kind, instrument in picked.items():
        found[f"point read, one instrument-day, {kind}, of {rows}"] = lambda engine, one=instrument: engine.point(one)
    found[f"bars of one instrument-day, 1 minute, liquid, of {rows}"] = lambda engine: engine.bars(busy)
    found[f"all bars of a day, 1 minute, {rows}"] = lambda engine: engine.all_bars()
    found[f"as-of join, mid to liquid, of {rows}"] = lambda engine: engine.as_of(picked["mid"], busy)
    found[f"snapshot at noon, all instruments, {rows}"] = lambda engine: engine.snapshot()
    return found


def _arctic(folder: Path, scale: float) -> Arctic:
    number = ticks.SESSIONS - 1
    session = ticks.session(number, int(ticks.FULL_ROWS * scale / ticks.SESSIONS))
    return Arctic(folder / "arctic", session, list(instruments().values()))


def _chdb(folder: Path, ours: Ours) -> Chdb:
    return Chdb(folder / "chdb", ours.paths)
