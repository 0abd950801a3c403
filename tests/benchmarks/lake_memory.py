"""`python -m tests.benchmarks.lake_memory [SCALE [FOLDER]]`: the peak memory of each engine, for each question and write.

Every figure is of a fresh process that imports the engine, opens it, and does one thing once; the peak is the kernel's own
count (VmHWM). In brackets what is beyond importing; for writes, beyond holding the rows to be written. Stores of their own
are filled beforehand. FOLDER is kept, for the next run.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from tests.benchmarks.bench_lake import NOT_HOT, questions
from tests.benchmarks.cases import folder_for
from tests.benchmarks.engines import APPENDS, LOADS, READERS, Engine, Given, place_for
from tests.benchmarks.engines.elsewhere import Elsewhere, python_of, why_not
from tests.benchmarks.engines.prepared import prepare


def main(scale: float, home: Path | None, arctic: str | None) -> None:
    """Print a table of reading and two lists of writing, in Markdown."""
    given = prepare(folder_for(home, "bench-memory"), scale)
    engines = dict(_present(READERS, arctic))
    for name, engine in engines.items():  # fills their stores
        Elsewhere("read", name, given, python_of(engine, arctic)).close()
    print(f"| peak MB (beyond imports) | {' | '.join(engines)} |\n|{' --- |' * (len(engines) + 1)}")
    for question, (method, arguments) in questions().items():
        cells = [
            "" if name == "tickhouse, hot" and method in NOT_HOT else _read(name, engine, given, arctic, method, arguments)
            for name, engine in engines.items()
        ]
        print(f"| {question} | {' | '.join(cells)} |", flush=True)
    for kind, writers in (("append", APPENDS), ("load", LOADS)):
        for name, engine in _present(writers, arctic):
            print(f"{kind}: {name}: {_write(kind, name, engine, given, arctic)}", flush=True)


def _present(engines: Mapping[str, Engine], arctic: str | None) -> Iterator[tuple[str, Engine]]:
    for name, engine in engines.items():
        reason = why_not(engine, arctic)
        if reason is None:
            yield name, engine
        else:
            print(f"skipped: {name}: {reason}")


def _read(name: str, engine: Engine, given: Given, arctic: str | None, method: str, arguments: tuple[int, ...]) -> str:
    with Elsewhere("read", name, given, python_of(engine, arctic)) as fresh:
        fresh.ask(method, arguments)
        peak = max(fresh.opened_mb, fresh.peak_mb)
        return f"{peak:.0f} ({peak - fresh.imports_mb:.0f})"


def _write(kind: str, name: str, engine: Engine, given: Given, arctic: str | None) -> str:
    with Elsewhere(kind, name, given, python_of(engine, arctic)) as fresh:
        done = fresh.ask("run")
        told = f"{done.units:,} rows, peak {fresh.peak_mb:.0f} MB ({fresh.peak_mb - fresh.held_mb:.0f})"
    shutil.rmtree(place_for(given, f"{name} {done.units}"))
    return told


if __name__ == "__main__":
    main(
        float(sys.argv[1]) if len(sys.argv) > 1 else 0.05,
        Path(sys.argv[2]) if len(sys.argv) > 2 else None,
        os.environ.get("TICKHOUSE_BENCH_ARCTIC"),
    )
