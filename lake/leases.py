"""Leases: who may write what, told by processes named so that a number used again is not taken for them.

A lease is for cost, not for correctness; yet a holder that was paused, lost its lease and wakes must not go on with stale work.
On this host it is killed before its lease is taken. Elsewhere it cannot be: it loses the lease when its heartbeat has been silent
for the expiry (by the taker's own patience: no two clocks are compared), and the taker writes the token of the lost lease into
the tables (lake/fences.py) before it goes on: every commit asserts that no token of its own stands there.
"""

from __future__ import annotations

import json
import logging
import os
import select
import signal
import socket
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from lake.errors import CommitConflictError, CommitUnknownError

LOGGER = logging.getLogger("tickhouse.lake")
POLL_S = 0.05
BEATS = 4
"""Renewals within the expiry of a lease."""
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
        return cls.of_process(os.getpid()) or cls(_host(), _boot(), _pid_space(), os.getpid(), 0)

    @classmethod
    def of_process(cls, pid: int) -> Holder | None:
        """Return the holder that a process of this host is; None when there is none."""
        status = _status_of(pid)
        return None if status is None else cls(_host(), _boot(), _pid_space(), pid, status[1])

    def condition(self) -> Literal["dead", "stopped", "running", "elsewhere"]:
        """Return what is known of the process; nothing is of one elsewhere: on another host or in another container."""
        if self.host != _host():
            return "elsewhere"
        if self.boot != _boot():
            return "dead"
        if self.pid_space != _pid_space():
            return "elsewhere"
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


_named_host = ""


def name_host(name: str) -> None:
    """Name the host of this process for leases; where several machines share a name, each gets one of its own."""
    global _named_host
    _named_host = name


def _host() -> str:
    return _named_host or socket.gethostname()


def _boot() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def _pid_space() -> str:
    return os.readlink("/proc/self/ns/pid")


class Store(Protocol):
    """Where leases are kept: rows of (name, token, holder, beat), each method one transaction. The state database is one."""

    def find_lease(self, name: str) -> tuple[str, str, int] | None:
        """Return (token, holder, beat), or None."""
        ...

    def put_lease(self, name: str, token: str, holder: str, found: tuple[str, str, int] | None) -> bool:
        """Put a lease in place of `found`; False when that is not there any more, or beats again."""
        ...

    def renew_leases(self, tokens: Sequence[str]) -> None:
        """Let the leases with these tokens beat once more."""
        ...

    def drop_lease(self, name: str, token: str) -> None:
        """Give a lease back, if it is still the one taken with `token`."""
        ...

    def lost_leases(self, held: Mapping[str, str]) -> list[str]:
        """Return those of name -> token that are not in force any more."""
        ...


class Leases:
    """The leases of one process over one store.

    on_force   called with (name, token) of a lease taken from a holder that may still live, before the new one is used
    """

    def __init__(self, store: Store, timeout_s: float, expiry_s: float, sleep: Callable[[float], object]) -> None:
        self._store = store
        self._timeout_s = timeout_s
        self._expiry_s = expiry_s
        self._sleep = sleep
        self._lock = threading.Lock()
        self._held: dict[str, str] = {}
        """Token -> name."""
        self._not_given_back: dict[str, str] = {}
        self._ended = threading.Event()
        self._heart: threading.Thread | None = None
        self.on_force: Callable[[str, str], None] = lambda name, token: None

    @contextmanager
    def lease(self, name: str, timeout_s: float | None = None) -> Iterator[str]:
        """Hold the lease `name`, told as a token; at the end it is given back, if it is still ours.

        A dead holder loses it at once; a stopped one of this host is killed first (it may sit inside a database commit). One of
        another host, which cannot be killed, loses it when it has not renewed it for the expiry: then its commits are fenced
        off. A running holder is waited for, up to `timeout_s` (default: the setting). Raises CommitConflictError.
        """
        token = self._taken(name, self._timeout_s if timeout_s is None else timeout_s)
        try:
            yield token
        finally:
            self._give_back(name, token)

    def held(self) -> dict[str, str]:
        """Return name -> token of the leases that this process believes to hold."""
        with self._lock:
            return {name: token for token, name in self._held.items()}

    def check(self) -> None:
        """Raise CommitConflictError when a lease was taken from us: this process was paused, what it does is stale."""
        held = self.held()
        lost = self._store.lost_leases(held) if held else []
        if lost:
            raise CommitConflictError(
                f"lease {', '.join(lost)} was taken by another process while this one was paused; begin again"
            )

    def close(self) -> None:
        """End the heartbeat."""
        self._ended.set()

    # --- taking and giving back

    def _taken(self, name: str, limit_s: float) -> str:
        token = uuid.uuid4().hex
        ours = Holder.of_this_process()
        holder = json.dumps({key: getattr(ours, key) for key in Holder.__slots__})
        waited_s, silent_s = 0.0, 0.0
        before: tuple[str, str, int] | None = None
        while True:
            # Read first, in a transaction that needs no lock: a stopped holder may hold the write lock.
            found = self._store.find_lease(name)
            silent_s = silent_s + POLL_S if found is not None and found == before else 0.0
            before = found
            condition = self._condition(found)
            is_by_force = condition == "elsewhere" and silent_s >= self._expiry_s
            if condition == "dead" or is_by_force:
                if self._store.put_lease(name, token, holder, found):
                    return self._begun(name, token, found[0] if is_by_force and found is not None else None)
            elif waited_s >= limit_s:
                held_by = None if found is None else Holder(**json.loads(found[1]))
                raise CommitConflictError(f"lease {name} is held by {held_by}; waited {waited_s:.1f} s for it")
            self._sleep(POLL_S)
            waited_s += POLL_S

    def _condition(self, found: tuple[str, str, int] | None) -> str:
        if found is None:
            return "dead"
        holder = Holder(**json.loads(found[1]))
        condition = holder.condition()
        if condition == "stopped":
            holder.kill()
            return "dead"
        with self._lock:
            # Ours, and could not be given back: the database refused then.
            return "dead" if condition == "running" and found[0] in self._not_given_back else condition

    def _begun(self, name: str, token: str, lost: str | None) -> str:
        with self._lock:
            self._held[token] = name
            self._not_given_back = {old: of for old, of in self._not_given_back.items() if of != name}
            if self._heart is None or not self._heart.is_alive():
                self._ended = threading.Event()
                self._heart = threading.Thread(target=self._beat, args=(self._ended,), name="leases", daemon=True)
                self._heart.start()
        if lost is not None:
            try:
                self.on_force(name, lost)
            except BaseException:
                self._give_back(name, token)
                raise
        return token

    def _give_back(self, name: str, token: str) -> None:
        with self._lock:
            self._held.pop(token, None)
            self._not_given_back[token] = name
        self._drop(name, token)

    def _drop(self, name: str, token: str) -> None:
        try:
            self._store.drop_lease(name, token)
        except CommitUnknownError as error:
            # The work is done or has its own error; the heartbeat gives the lease back once the database takes it.
            LOGGER.warning("lease %s could not be given back yet: %s", name, error)
            return
        with self._lock:
            self._not_given_back.pop(token, None)

    def _beat(self, ended: threading.Event) -> None:
        while not ended.wait(self._expiry_s / BEATS):
            with self._lock:
                tokens, late = [*self._held], dict(self._not_given_back)
                if not tokens and not late:
                    self._heart = None
                    return
            for token, name in late.items():
                self._drop(name, token)
            try:
                self._store.renew_leases(tokens)
            except CommitUnknownError as error:
                LOGGER.warning("leases could not be renewed: %s", error)
