"""Who holds a lease: a process named so that its number, used again, is not taken for it."""

from __future__ import annotations

import os
import select
import signal
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from lake.errors import CommitConflictError

KILL_WAIT_S = 10.0
"""A killed process that is still there after this long hangs in the kernel; nothing can be taken from it."""


@dataclass(frozen=True, slots=True)
class Holder:
    """A process: host, boot, pid namespace, pid, and start time in clock ticks since boot."""

    host: str
    boot: str
    pid_space: str
    pid: int
    started: int

    @classmethod
    def of_this_process(cls) -> Holder:
        """Return the holder that this process is."""
        status = _status_of(os.getpid())
        return cls(socket.gethostname(), _boot(), _pid_space(), os.getpid(), status[1] if status else 0)

    def condition(self) -> Literal["dead", "stopped", "running"]:
        """Return what is known of the process; one of another host or container counts as running."""
        if self.host != socket.gethostname():
            return "running"
        if self.boot != _boot():
            return "dead"
        if self.pid_space != _pid_space():
            return "running"
        status = _status_of(self.pid)
        if status is None or status[1] != self.started or status[0] in "ZX":
            return "dead"
        return "stopped" if status[0] in "Tt" else "running"

    def kill(self) -> None:
        """Kill the stopped process and wait until it is gone; one that is not stopped is let be. Raises CommitConflictError."""
        try:
            handle = os.pidfd_open(self.pid)
        except ProcessLookupError:
            return
        try:
            # The handle names one process for good: look again that it is the one meant before killing.
            if self.condition() != "stopped":
                return
            signal.pidfd_send_signal(handle, signal.SIGKILL)
            if not select.select([handle], [], [], KILL_WAIT_S)[0]:
                raise CommitConflictError(f"process {self.pid} was killed and is still there after {KILL_WAIT_S} s")
        except ProcessLookupError:
            return
        finally:
            os.close(handle)


def _status_of(pid: int) -> tuple[str, int] | None:
    """Return (state letter, start time) of a process of this host, or None when there is none."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = text[text.rindex(")") + 2 :].split()
    return fields[0], int(fields[19])


def _boot() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def _pid_space() -> str:
    return os.readlink("/proc/self/ns/pid")
