"""An engine in a process of its own, perhaps of another interpreter: it measures itself, and is asked a line at a time.

A line in: `[method, argument…]` as JSON. A line out: what was done, in how many seconds and seconds of CPU, and the most
memory the process held meanwhile. The end of the lines ends the process.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.benchmarks.cases import Timed
from tests.benchmarks.engines import Engine, Given

ROOT = Path(__file__).parents[3]


class Elsewhere:
    """Starts the process; its memory is told after importing (`imports_mb`), and at the peak of opening (`opened_mb`)."""

    def __init__(self, kind: str, name: str, given: Given, python: str = sys.executable) -> None:
        command = [python, "-W", "ignore", "-m", "tests.benchmarks.engines", kind, name, given.told()]
        self._process = subprocess.Popen(command, cwd=ROOT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        told = self._read()
        self.imports_mb: float = told["imports_mb"]
        self.opened_mb: float = told["opened_mb"]
        self.held_mb = 0.0
        """What was held before the last ask."""
        self.peak_mb = 0.0
        """The most during the last ask."""

    def ask(self, method: str, arguments: Sequence[int] = ()) -> Timed:
        """Let the engine do something once; return what it did and took."""
        assert self._process.stdin is not None
        print(json.dumps([method, *arguments]), file=self._process.stdin, flush=True)
        told = self._read()
        self.held_mb, self.peak_mb = told["held_mb"], told["peak_mb"]
        return Timed(told["units"], told["wall_s"], told["cpu_s"])

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            self.close()
            raise RuntimeError(f"the engine's process ended with {self._process.returncode}; what it said stands above")
        found: dict[str, Any] = json.loads(line)
        return found


def why_not(engine: Engine, arctic: str | None) -> str | None:
    """Return why an engine cannot run, here or in the interpreter of ArcticDB, or None."""
    return None if engine.package == "arcticdb" and arctic else engine.missing()


def python_of(engine: Engine, arctic: str | None) -> str:
    """Return the interpreter of an engine."""
    return arctic if engine.package == "arcticdb" and arctic else sys.executable
