"""A process that is kept running: started, heard, started again with patience when it dies, stopped cleanly.

No part shares memory with another: they meet in the lake, the log and the state, which are safe between processes.
"""

from __future__ import annotations

import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import orjson

FIRST_WAIT_S, LONGEST_WAIT_S = 1.0, 30.0
STEADY_S = 60.0
"""A process that lived this long is not failing: its next death waits the shortest time again."""
HOPELESS = (2, 3)
"""Exit codes that trying again does not mend: a wrong setting, a thing that does not exist."""
Event = tuple["Child", dict[str, Any] | None]


@dataclass(slots=True)
class Child:
    """One kept process. `state` is waiting, running, done, stopped, gave up, or left out (never started).

    words   the last thing worth telling
    log     the file that has its stderr
    """

    name: str
    command: list[str]
    log: Path
    environment: Mapping[str, str]
    state: str = "waiting"
    words: str = ""
    restarts: int = 0
    started_at: float = 0.0
    start_at: float = 0.0
    failures: int = 0
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    def start(self, heard: queue.Queue[Event], now: float) -> None:
        """Start it, and put what it tells into `heard`, at its end (self, None)."""
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as errors:
            self.process = subprocess.Popen(
                [sys.executable, "-W", "ignore", *self.command],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                env={**os.environ, **self.environment},
                start_new_session=True,  # Ctrl-C is for the supervisor, which stops the others in order
            )
        assert self.process.stdout is not None
        self.state, self.started_at, self.words = "running", now, "starting"
        threading.Thread(target=self._hear, args=(self.process.stdout, heard), daemon=True, name=f"hear {self.name}").start()

    def _hear(self, told: IO[bytes], heard: queue.Queue[Event]) -> None:
        for line in told:
            try:
                event = orjson.loads(line)
            except orjson.JSONDecodeError:
                event = {"event": "said", "words": line.decode("utf-8", "replace").strip()}
            heard.put((self, event if isinstance(event, dict) else {"event": "said", "words": str(event)}))
        heard.put((self, None))

    def ended(self, now: float, *, is_stopping: bool) -> int:
        """Take note of its end and decide what follows; return its exit code."""
        assert self.process is not None
        code = self.process.wait()
        if is_stopping:
            self.state = "stopped"
        elif code == 0:
            self.state = "done"
        elif code in HOPELESS:
            self.state = "gave up"
        else:
            self.failures = 1 if now - self.started_at >= STEADY_S else self.failures + 1
            self.restarts += 1
            self.start_at = now + wait_s(self.failures)
            self.state = "waiting"
            self.words = f"died ({_cause(code)}), starts again in {self.start_at - now:g} s"
        self.process = None
        return code

    def ask_to_stop(self) -> None:
        """Ask it to stop; nothing when it does not run."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it now; safe, as every crash is."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()


def wait_s(failures: int) -> float:
    """Return how long to wait before starting again after so many failures in a row: doubling, with a ceiling."""
    return float(min(LONGEST_WAIT_S, FIRST_WAIT_S * 2.0 ** (max(failures, 1) - 1)))


def _cause(code: int) -> str:
    return signal.Signals(-code).name if code < 0 else f"exit code {code}"
