"""Sockets of a key: providers let one key have so many, and end an older one for each more. Who holds them stands in state.

A claim is a lease, held while a feed is listened to, its reconnects included. A dead holder's lapses at once, that of another
host when it was silent for the expiry; a living one's is told by name, and nobody connects: else two processes would end each
other's sockets in turn. Leases of their own kind: losing one fences no table.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager

from ingest.plans import Plan
from lake.errors import CommitConflictError, ProviderUnavailableError
from lake.leases import Holder, Leases
from lake.state import State

PREFIX = "socket "
RETRY_S = 60.0
"""After which it is worth to ask again for a socket that another process holds."""


class Connections:
    """The sockets of one provider's key.

    key        its name in the ledger (`plans.key_name`)
    plan       how many it may have; no limit: nothing is claimed
    expiry_s   silence after which a claim of another host lapses
    """

    def __init__(
        self, state: State, provider: str, key: str, plan: Plan, expiry_s: float, sleep: Callable[[float], object]
    ) -> None:
        self._state, self._provider, self._key, self._plan = state, provider, key, plan
        self._expiry_s, self._sleep = expiry_s, sleep

    @contextmanager
    def claimed(self, wanted: Mapping[str, int]) -> Iterator[None]:
        """Hold so many sockets of each feed. Raises ProviderUnavailableError that names who holds what is missing."""
        if self._plan.sockets is None:
            yield
            return
        leases = Leases(self._state, self._expiry_s, self._expiry_s, self._sleep)
        with ExitStack() as held:
            held.callback(leases.close)
            for feed, count in wanted.items():
                for _ in range(count):
                    self._claim(held, leases, feed)
            yield

    def _claim(self, held: ExitStack, leases: Leases, feed: str) -> None:
        names, mine = self._names(feed), leases.held()
        for name in names:
            if name in mine:
                continue
            holder = self._state.lease_holder(name)
            is_far = holder is not None and holder.condition() == "elsewhere"
            try:
                # Only of another host nobody can tell but by its silence whether it lives.
                held.enter_context(leases.lease(name, self._expiry_s * 1.5 if is_far else 0.0))
            except CommitConflictError:
                continue
            return
        raise ProviderUnavailableError(self._refusal(feed, names, mine), RETRY_S)

    def _names(self, feed: str) -> list[str]:
        scope = f"{self._provider}/{self._key}" + (f"/{feed}" if self._plan.is_socket_of_feed else "")
        return [f"{PREFIX}{scope} {number}" for number in range(1, (self._plan.sockets or 0) + 1)]

    def _refusal(self, feed: str, names: list[str], mine: Mapping[str, str]) -> str:
        holders = [self._state.lease_holder(name) for name in names if name not in mine]
        others = "; ".join(dict.fromkeys(_words(each) for each in holders if each is not None))
        of = f"each feed's {self._plan.sockets}" if self._plan.is_socket_of_feed else f"{self._plan.sockets}"
        held = f"held by {others}" if others else f"and this capture wants more than {len(mine)}"
        return f"{self._provider} {feed}: the plan {self._plan.name} lets a key have {of} socket(s), {held}"


def holders(state: State) -> dict[str, list[dict[str, object]]]:
    """Return, by provider, who holds which sockets: key, feed where sockets are counted by feed, and the process."""
    found: dict[str, list[dict[str, object]]] = {}
    for name, holder in sorted(state.lease_holders().items()):
        if name.startswith(PREFIX):
            scope, _, number = name.removeprefix(PREFIX).rpartition(" ")
            provider, key, *feed = scope.split("/")
            told = {"key": key, "feed": "/".join(feed) or None, "number": int(number), "host": holder.host, "pid": holder.pid}
            found.setdefault(provider, []).append({**told, "holder": holder.condition()})
    return found


def _words(holder: Holder) -> str:
    where = {"elsewhere": "on another host or in another container", "stopped": "stopped"}.get(holder.condition(), "running")
    return f"process {holder.pid} of {holder.host} ({where})"
