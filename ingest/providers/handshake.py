"""What push feeds share whose server greets first and takes keys and subscriptions as frames. A machine: no I/O."""

from __future__ import annotations

from ingest.conversation import Unnumbered
from ingest.verdicts import Reading, Verdict

FRUITLESS = 5
"""So many connections in a row that never came to a subscription: the next ones had better wait for a while."""
STALE_CONNECTION_S = 60.0
"""How long a provider takes to notice that our connection before this one is dead."""


class Handshake(Unnumbered):
    """A conversation that begins with a handshake: connections that come to no subscription are counted."""

    def __init__(self, stale_after_ns: int, first_seq: int = 0) -> None:
        super().__init__(stale_after_ns, first_seq)
        self._fruitless = 0

    def connected(self, now_ns: int) -> None:
        """Begin a connection: the server says hello first."""
        self._begun(now_ns)
        self._fruitless += 1
        if self._fruitless > FRUITLESS:
            self._fruitless = 0  # this connection is given up for a pause; those after it are to be tried in earnest
            told = f"{FRUITLESS} connections in a row came to no subscription"
            self._refusal = Reading(Verdict.UPSTREAM_5XX, told, STALE_CONNECTION_S)

    def _subscribed(self) -> None:
        self._fruitless = 0
