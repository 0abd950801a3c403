"""Writing: 1,000 rows made durable, and a session loaded in bulk, against other stores on the same ticks.

*Durable append*: ours is what the pipeline does when a frame arrives: one block appended to the embedded log, on the disk
when it returns; readers of the tail have it from there, main has it at the next landing. So two lines stand for ours: the
log, which is compared, and a whole commit to main, which is what the other lakehouses do. `write and fsync` is the limit.
It is measured twice: one append a turn, with the caches as the others left them, and a stream of them, as a feed makes.
*Bulk load*: arrival order in; sorted, durable and committed out, where the peer can sort. Files of all rounds stay, so
the peers that slow down with history show it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

import pyarrow as pa

from tests.benchmarks import ticks
from tests.benchmarks.cases import Case, Skipped, Timed, folder_for
from tests.benchmarks.engines import APPENDS, LOADS, Engine, Given, place_for
from tests.benchmarks.engines.__main__ import APPENDED_ROWS
from tests.benchmarks.engines.elsewhere import Elsewhere, python_of, why_not
from tests.benchmarks.engines.prepared import write_rows

STREAM = 20
"""Appends a turn of the stream."""


def cases(scale: float = 0.02, home: Path | None = None, arctic: str | None = None) -> list[Case | Skipped]:
    """Return both groups; stores are made under a folder of their own."""
    folder = folder_for(home, "bench-append")
    rows = ticks.session(ticks.SESSIONS - 1, int(ticks.FULL_ROWS * scale / ticks.SESSIONS))
    write_rows(folder / "given.arrow", rows)
    given = Given(str(folder), "", (), str(folder / "given.arrow"), "", "", ())
    small = f"durable append of {APPENDED_ROWS:,} rows"
    alone = _group(small, "append", APPENDS, given, rows.slice(0, APPENDED_ROWS), arctic)
    return [
        *alone,
        *[_streamed(one, f"{small}, {STREAM} in a row") for one in alone],
        *_group(f"bulk load of {rows.num_rows:,} trades", "load", LOADS, given, rows, arctic),
    ]


def _streamed(one: Case | Skipped, group: str) -> Case | Skipped:
    return replace(one, group=group, times_a_turn=STREAM) if isinstance(one, Case) else replace(one, group=group)


def _group(
    group: str, kind: str, writers: Mapping[str, Engine], given: Given, rows: pa.Table, arctic: str | None
) -> list[Case | Skipped]:
    found: list[Case | Skipped] = []
    for name, engine in writers.items():
        reason = why_not(engine, arctic)
        if reason is not None:
            found.append(Skipped(group, name, reason))
            continue
        run: Callable[[], int | Timed]
        if engine.package == "arcticdb":
            run = partial(Elsewhere(kind, name, given, python_of(engine, arctic)).ask, "run")
        else:
            run = engine.load()(place_for(given, f"{name} {rows.num_rows}"), rows)
        found.append(Case(group, name, "rows", run, is_ours=name == next(iter(writers))))
    return found
