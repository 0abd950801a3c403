"""`python -m tests.benchmarks.engines read|append|load NAME GIVEN`: the other end of `elsewhere`."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any

from tests.benchmarks.engines import APPENDS, LOADS, READERS, Engine, Given, place_for
from tests.benchmarks.peak import forget_peak, peak_mb

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
    imports = peak_mb()
    opened: Any = opens(given) if kind == "read" else Writer(engine, name, given, APPENDED_ROWS if kind == "append" else None)
    print(json.dumps({"imports_mb": imports, "opened_mb": peak_mb()}), file=answers, flush=True)
    for line in sys.stdin:
        method, *arguments = json.loads(line)
        held = forget_peak()
        wall, cpu = time.perf_counter(), time.process_time()
        units = getattr(opened, method)(*arguments)
        took = {"units": units, "wall_s": time.perf_counter() - wall, "cpu_s": time.process_time() - cpu}
        print(json.dumps(took | {"held_mb": held, "peak_mb": peak_mb()}), file=answers, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
