"""`python -m tests.benchmarks.engines read|append|load NAME GIVEN`: the other end of `elsewhere`."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.benchmarks.engines import APPENDS, LOADS, READERS, Engine, Given, place_for

APPENDED_ROWS = 1_000


class Writer:
    """A write as something to ask for."""

    def __init__(self, engine: Engine, name: str, given: Given, count: int | None) -> None:
        import pyarrow as pa

        self.run: Callable[[], int]
        if count is None:
            with pa.OSFile(given.session) as file:
                rows = pa.ipc.open_file(file).read_all()
        else:
            with pa.memory_map(given.session) as file:  # and a copy, so that the rest of the session is not in memory
                few = pa.ipc.open_file(file).get_batch(0)[:count]
                rows = pa.Table.from_arrays([pa.concat_arrays([one, one[:0]]) for one in few.columns], schema=few.schema)
        self.run = engine.load()(place_for(given, f"{name} {rows.num_rows}"), rows)


def main(kind: str, name: str, told: str) -> None:
    """Open one engine and answer until the end of the lines."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a library prints is no answer
    given = Given.heard(told)
    engine = {"read": READERS, "append": APPENDS, "load": LOADS}[kind][name]
    opens = engine.load()
    imports = _peak_mb()
    opened: Any = opens(given) if kind == "read" else Writer(engine, name, given, APPENDED_ROWS if kind == "append" else None)
    print(json.dumps({"imports_mb": imports, "opened_mb": _peak_mb()}), file=answers, flush=True)
    for line in sys.stdin:
        method, *arguments = json.loads(line)
        held = _forget_peak()
        wall, cpu = time.perf_counter(), time.process_time()
        units = getattr(opened, method)(*arguments)
        took = {"units": units, "wall_s": time.perf_counter() - wall, "cpu_s": time.process_time() - cpu}
        print(json.dumps(took | {"held_mb": held, "peak_mb": _peak_mb()}), file=answers, flush=True)


def _peak_mb() -> float:
    """Return the most this process held; getrusage would count what its parent held when it forked."""
    (line,) = [one for one in Path("/proc/self/status").read_text(encoding="ascii").splitlines() if one.startswith("VmHWM")]
    return int(line.split()[1]) / 1024


def _forget_peak() -> float:
    """Let the kernel count the peak from what is held now, and return that."""
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    return _peak_mb()


if __name__ == "__main__":
    main(*sys.argv[1:])
