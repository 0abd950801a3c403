"""Leave to call: what is asked before each request to a provider, and told after it. Quotas and breakers are such permits.

A transport that is not given leave does not call: the answer is then ours (`Verdict.NOT_ASKED`), never the provider's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from ingest.asks import Request

if TYPE_CHECKING:
    from ingest.transport.http import Call


@dataclass(frozen=True, slots=True)
class Leave:
    """Leave to call now (`wait_s` 0), after a while, or not within reason (`refused` says why; `wait_s` when again, if known)."""

    wait_s: float = 0.0
    refused: str = ""

    @property
    def is_given(self) -> bool:
        """Whether the call may be made now."""
        return not self.refused and self.wait_s <= 0.0

    def later_than_waited_for(self) -> Leave:
        """Return it as refused, by whoever cannot wait so long."""
        return Leave(self.wait_s, self.refused or f"leave to call comes in {self.wait_s:.0f} s, later than is waited for")


GRANTED = Leave()


class Permits(Protocol):
    """Who decides whether a provider may be called."""

    def before(self, request: Request) -> Leave:
        """Return leave for one call; what is given is spent: a call that was given leave is made, and told to `after`."""
        ...

    def after(self, request: Request, call: Call) -> None:
        """Learn how a call ended: its verdict, its time, what the provider told about its limits."""
        ...

    def unspent(self, request: Request) -> None:
        """Take back leave that was given and not used, because another permit refused."""
        ...


class Together:
    """Several permits as one: leave is given when all give it, and given back when one does not."""

    def __init__(self, permits: Sequence[Permits]) -> None:
        self._permits = tuple(permits)

    def before(self, request: Request) -> Leave:
        """Return leave of all, or the first answer that is none."""
        for number, permit in enumerate(self._permits):
            leave = permit.before(request)
            if not leave.is_given:
                for given in self._permits[:number]:
                    given.unspent(request)
                return leave
        return GRANTED

    def after(self, request: Request, call: Call) -> None:
        """Tell every one."""
        for permit in self._permits:
            permit.after(request, call)

    def unspent(self, request: Request) -> None:
        """Take leave back from every one."""
        for permit in self._permits:
            permit.unspent(request)


class Impatient:
    """Permits of somebody who cannot wait: leave that comes later than `most_s` is refused."""

    def __init__(self, permits: Permits, most_s: float) -> None:
        self._permits, self._most_s = permits, most_s
        self.after, self.unspent = permits.after, permits.unspent

    def before(self, request: Request) -> Leave:
        """Return leave for one call."""
        leave = self._permits.before(request)
        return leave if leave.wait_s <= self._most_s else leave.later_than_waited_for()


def awaited(permits: Permits, request: Request, sleep: Callable[[float], None], most_s: float) -> Leave:
    """Return leave that was given, waited for; else one that says why it was not: refused, or to come later than `most_s`."""
    while not (leave := permits.before(request)).is_given:
        if leave.refused:
            return leave
        if leave.wait_s > most_s:
            return leave.later_than_waited_for()
        sleep(leave.wait_s)
    return leave


FREE: Permits = Together(())
"""Leave for everything: where nothing limits the calls."""
