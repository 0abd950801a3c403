"""Child processes of a seed: forked from a driver that has imported everything and started no thread, so one costs milliseconds.

A child tells its parent lines through a pipe; its last words go to a file. Nothing here waits for time: the parent waits for a
line or for the end of a child, with patience, and between the two for the fraction of a second that a fault is drawn for.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

PATIENCE_S = 180.0
Say = Callable[[str], None]


@dataclass(slots=True)
class Child:
    """A process at work. `code`: how it ended, 0, its exit code, or minus the signal that killed it; None while it lives."""

    name: str
    pid: int
    ears: int
    mouth: int
    lines: list[str] = field(default_factory=list)
    code: int | None = None
    _rest: bytes = b""

    @classmethod
    def fork(cls, name: str, act: Callable[[Say, Callable[[], None]], None], last_words: Path) -> Child:
        """Start `act(say, wait)`: `say` tells the parent a line, `wait` waits until the parent calls `tell`."""
        ears, said = os.pipe()
        heard, mouth = os.pipe()
        sys.stdout.flush()
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                for handle in (ears, mouth):
                    os.close(handle)
                trouble = os.open(last_words, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
                os.dup2(trouble, 2)
                act(lambda line: _write(said, line), lambda: _wait(heard))
                code = 0
            except BaseException:
                os.write(2, f"--- {name} (pid {os.getpid()})\n{traceback.format_exc()}".encode())
            finally:
                os._exit(code)
        os.close(said)
        os.close(heard)
        return cls(name, pid, ears, mouth)

    def wait_for(self, prefix: str, patience_s: float = PATIENCE_S) -> bool:
        """Return whether the child said a line with this beginning, now or before its end. Raises TimeoutError."""
        while not any(line.startswith(prefix) for line in self.lines):
            if not self.hear(patience_s):
                return any(line.startswith(prefix) for line in self.lines)
        return True

    def live_on(self, seconds: float) -> None:
        """Let time pass, less when the child ends before."""
        handle = os.pidfd_open(self.pid)
        try:
            select.select([handle], [], [], seconds)
        finally:
            os.close(handle)

    def tell(self) -> None:
        """Let the child go on that waits."""
        os.write(self.mouth, b".")

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the child."""
        if self.code is None:
            os.kill(self.pid, number)

    def is_stopped(self) -> bool:
        """Wait until the child is stopped or has ended; return whether it is stopped."""
        while self.hear(0.0):
            pass
        found = os.waitid(os.P_PID, self.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
        return found is not None and found.si_code == os.CLD_STOPPED

    def end(self, patience_s: float = PATIENCE_S) -> int:
        """Wait for the child's end and return how it ended. Raises TimeoutError when it hangs, killing it."""
        while self.hear(patience_s):
            pass
        if self.code is None:
            self.code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
            os.close(self.ears)
            os.close(self.mouth)
        return self.code

    def said(self, prefix: str) -> list[str]:
        """Return the rest of every line with this beginning."""
        return [line[len(prefix) :].strip() for line in self.lines if line.startswith(prefix)]

    def hear(self, patience_s: float = 0.0) -> bool:
        """Read what the child said; False when it will say no more, or, without patience, said nothing."""
        if self.code is not None:
            return False
        if not select.select([self.ears], [], [], patience_s)[0]:
            if patience_s == 0.0:
                return False
            self.send(signal.SIGKILL)
            raise TimeoutError(f"{self.name} said nothing for {patience_s:.0f} s; its last line: {self.lines[-1:]}")
        data = os.read(self.ears, 1 << 16)
        *whole, self._rest = (self._rest + data).split(b"\n")
        self.lines += [line.decode() for line in whole]
        return bool(data)


def end_all(children: Sequence[Child], patience_s: float = PATIENCE_S) -> list[int]:
    """Wait for the end of all, hearing whoever speaks: a child whose words nobody reads stands still once its pipe is full.

    Returns how each ended. Raises TimeoutError when all are silent, killing them.
    """
    speaking = {child.ears: child for child in children}
    while speaking:
        ready = select.select(list(speaking), [], [], patience_s)[0]
        if not ready:
            for child in speaking.values():
                child.send(signal.SIGKILL)
            raise TimeoutError(f"{', '.join(child.name for child in speaking.values())} said nothing for {patience_s:.0f} s")
        for ears in ready:
            if not speaking[ears].hear():
                del speaking[ears]
    return [child.end() for child in children]


def _write(handle: int, line: str) -> None:
    os.write(handle, line.encode() + b"\n")


def _wait(handle: int) -> None:
    os.read(handle, 1)
