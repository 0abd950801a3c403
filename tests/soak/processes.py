"""The processes of a soak: started, killed, stopped and started again; their memory and file handles watched."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from ingest.simulator.day.tape import Day
from lake.instants import Pace

_KIB = 1024


GO = "go.json"
"""The file whose coming starts the day: a process that loaded its modules waits for it, one that was killed finds it."""


class Setting(msgspec.Struct):
    """What every process of a soak is told.

    until_ns   when the day's work is over, whether or not everything came
    """

    home: str
    day: Day
    pace: Pace
    addresses: dict[str, str]
    seed: int
    until_ns: int

    def write(self, folder: Path) -> None:
        """Let the day begin, for every process that waits in a folder."""
        new = folder / f"{GO}.new"
        new.write_bytes(msgspec.json.encode(self))
        new.rename(folder / GO)


@dataclass(slots=True)
class Life:
    """One process from start to end: samples of (bytes of memory, open files)."""

    role: str
    process: subprocess.Popen[bytes]
    samples: list[tuple[int, int]] = field(default_factory=list)

    def sample(self) -> None:
        """Note memory and open files; nothing when it just ended."""
        folder = Path("/proc") / str(self.process.pid)
        try:
            words = dict(line.split(":", 1) for line in (folder / "status").read_text().splitlines())
            files = len(list((folder / "fd").iterdir()))
        except (FileNotFoundError, ProcessLookupError):
            return
        if "VmRSS" in words:
            self.samples.append((int(words["VmRSS"].split()[0]) * _KIB, files))


class Processes:
    """Every role's process, and the lives before it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._now: dict[str, Life] = {}
        self.lives: list[Life] = []

    def start(self, role: str) -> None:
        """Start a role's process; its words go to a file."""
        command = [sys.executable, "-W", "ignore", "-m", "tests.soak.workers", role, str(self.folder)]
        with (self.folder / f"{role}.log").open("ab") as words:
            life = Life(role, subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=words, stderr=words))
        self._now[role] = life
        self.lives.append(life)

    def are_ready(self, roles: Iterable[str]) -> bool:
        """Whether every role's process has loaded its modules."""
        return all((self.folder / f"{role}.ready").exists() for role in roles)

    def signal(self, role: str, number: signal.Signals) -> bool:
        """Send a signal; False when the process is not there."""
        life = self._now[role]
        if life.process.poll() is not None:
            return False
        life.process.send_signal(number)
        return True

    def is_running(self, role: str) -> bool:
        """Whether a role's process lives."""
        return self._now[role].process.poll() is None

    def ended(self) -> Mapping[str, int]:
        """Return role -> exit code of the processes that are over."""
        return {role: life.process.returncode for role, life in self._now.items() if life.process.poll() is not None}

    def sample(self) -> None:
        """Sample every living process."""
        for life in self._now.values():
            life.sample()

    def kill(self) -> None:
        """End everything that is left."""
        for life in self._now.values():
            if life.process.poll() is None:
                life.process.kill()
            life.process.wait()

    def words(self, role: str) -> str:
        """Return what a role's processes wrote."""
        return (self.folder / f"{role}.log").read_text(errors="replace")
