"""What was subscribed to against what the provider confirmed. Machine: names and times in, no I/O, no clock.

A confirmation may come in part, or never: what is missing is asked for again, a few times, and then found to be lost.
"""

from __future__ import annotations

from collections.abc import Iterable

from lake.instants import NANOS_PER_SECOND

PATIENCE_NS = 10 * NANOS_PER_SECOND
"""How long a confirmation may take."""
ATTEMPTS = 3
"""So often the same is asked for on one connection."""


class Subscriptions:
    """The names wanted on one connection after another."""

    def __init__(self, wanted: Iterable[str], patience_ns: int = PATIENCE_NS, attempts: int = ATTEMPTS) -> None:
        self._wanted = tuple(dict.fromkeys(wanted))
        self._patience_ns, self._attempts = patience_ns, attempts
        self._missing: dict[str, None] = {}
        self._asked_ns: int | None = None
        self._asked = 0

    @property
    def missing(self) -> list[str]:
        """Return what is not confirmed, in the order wanted."""
        return list(self._missing)

    def begun(self) -> None:
        """Begin a connection: nothing is asked for yet."""
        self._missing, self._asked_ns, self._asked = dict.fromkeys(self._wanted), None, 0

    def asked(self, now_ns: int) -> None:
        """Learn that everything missing was asked for."""
        self._asked_ns, self._asked = now_ns, self._asked + 1

    def confirmed(self, names: Iterable[str]) -> None:
        """Learn what the provider confirmed."""
        for name in names:
            self._missing.pop(name, None)

    def overdue(self, now_ns: int) -> tuple[list[str], list[str]]:
        """Return (what to ask for again, what is lost), each told once; the caller asks, and says so to `asked`."""
        if self._asked_ns is None or not self._missing or now_ns - self._asked_ns < self._patience_ns:
            return [], []
        if self._asked < self._attempts:
            return self.missing, []
        lost, self._missing = self.missing, {}
        return [], lost
