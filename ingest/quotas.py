"""The quota ledger: leave to call within the plan of a key, for every process that shares a state. Shell over `quota_book.py`.

A book stands in state under provider and the key's fingerprint. Leave is reserved there, in one transaction, before a call is
made, and settled when it ended. Where a plan allows many calls a second a process reserves a few at once, for less than a second.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

from ingest.asks import Request
from ingest.permits import GRANTED, Leave
from ingest.plans import UNLIMITED, Plan, Purpose, Window
from ingest.quota_book import Book, Granted, Use, Wanted
from ingest.quota_clock import set_back
from ingest.verdicts import Reading, Verdict
from lake.instants import NANOS_PER_SECOND, Clock, to_datetime
from lake.restored import restored_at_ns
from lake.state import State

if TYPE_CHECKING:
    from ingest.transport.http import Call

_T = TypeVar("_T")

KIND, KNOWN = "quota", "quota_known"
"""Kinds of the documents in state: the books; by provider, when somebody said that its book is whole."""
PATIENCE_S = 75.0
"""Leave that comes later is refused: it is for whoever plans the work to come back, not for a capture to sleep."""
_CLOCK_REMEDY = "if that one was wrong: tickhouse providers NAME --quota-known"
"""The verb that comes to `declare_known`."""
_MONTH_S = 30 * 86_400
_LOOK_NS = 60 * NANOS_PER_SECOND
_COMPLAINTS = (Verdict.THROTTLED, Verdict.QUOTA_EXHAUSTED)


class Quotas:
    """The books of all keys.

    plans   by provider, as configured now; looked up at each reservation, so that a changed plan is kept from then on
    """

    def __init__(self, state: State, plans: Mapping[str, Plan], clock: Clock, patience_s: float = PATIENCE_S) -> None:
        self._state, self._plans, self._clock, self._patience_s = state, plans, clock, patience_s
        self._given: dict[tuple[str, str, Purpose], KeyPermits] = {}
        self._lock = threading.Lock()
        self._unknown: tuple[int, int, Mapping[str, int]] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Give back what was reserved and not used."""
        for each in [*self._given.values()]:
            each.close()

    def plan(self, provider: str) -> Plan:
        """Return the plan of a provider; where none is known its calls are counted and not limited."""
        return self._plans.get(provider, UNLIMITED)

    def permits(self, provider: str, key: str, purpose: Purpose) -> KeyPermits:
        """Return leave to call a provider with the key called `key` (`plans.key_name`), for live work or for backfill.

        Asked again it is the same: who shares a key in a process shares what was reserved.
        """
        with self._lock:
            return self._given.setdefault((provider, key, purpose), KeyPermits(self, provider, key, purpose))

    def book(self, provider: str, key: str) -> Book:
        """Return a copy of a book as it stands: what is done with it is not saved."""
        return Book(self.plan(provider), self._state.document(KIND, f"{provider}/{key}"), self.unknown_ns(provider))

    def unknown_ns(self, provider: str) -> int:
        """Return until when others may have spent what the ledger does not know: the lake was restored then; 0: never.

        Looked up once a minute.
        """
        now_ns, found = self._clock(), self._unknown
        if found is None or not 0 <= now_ns - found[0] < _LOOK_NS:
            declared = {name: int(document["at_ns"]) for name, document in self._state.documents(KNOWN).items()}
            found = self._unknown = now_ns, restored_at_ns(self._state), declared
        return 0 if found[2].get(provider, 0) >= found[1] else found[1]

    def declare_known(self, provider: str, who: str, reason: str) -> None:
        """Take an operator's word that nobody asked a provider between the backup and the restore: its ledger is whole.

        A ledger that is ahead of our clock is set back to it: the clock that it followed was wrong.
        """
        self._state.audit(who, "quota is known", reason, {"provider": provider})
        self._state.save_document(KNOWN, provider, {"at_ns": self._clock()})
        self._unknown = None
        for name in self._state.documents(KIND, f"{provider}/"):

            def mended(document: dict[str, Any] | None) -> dict[str, Any]:
                return set_back(document or {}, self.plan(provider), self._clock())

            self._state.change_document(KIND, name, mended)

    def change(self, provider: str, key: str, act: Callable[[Book, int], _T]) -> _T:
        """Return what `act(book, now)` does, in one transaction with what it makes of the book. Raises CommitUnknownError."""
        done: list[_T] = []
        unknown_ns = self.unknown_ns(provider)

        def changed(document: dict[str, Any] | None) -> dict[str, Any]:
            book = Book(self.plan(provider), document, unknown_ns)
            done.append(act(book, self._clock()))
            return book.document()

        self._state.change_document(KIND, f"{provider}/{key}", changed)
        return done[-1]

    def leave(self, granted: Granted) -> Leave:
        """Return leave, or how long to wait for it, or why it is refused."""
        if granted.calls:
            return GRANTED
        why = f"quota: {granted.why}"
        if granted.behind_s:
            why += f"; our clock is {granted.behind_s:,.0f} s behind the ledger's last call ({_CLOCK_REMEDY})"
        if granted.never:
            return Leave(0.0, why)
        wait_s = max((granted.at_ns - self._clock()) / NANOS_PER_SECOND, 0.001)
        if wait_s <= self._patience_s:
            return Leave(wait_s)
        return Leave(wait_s, f"{why}; next at {to_datetime(granted.at_ns):%Y-%m-%d %H:%M:%S} UTC")

    @property
    def clock(self) -> Clock:
        """The clock of the ledger."""
        return self._clock

    def standings(self) -> list[Standing]:
        """Return how each key stands that ever asked, by provider and key."""
        found = []
        for name, document in self._state.documents(KIND).items():
            provider, _, key = name.partition("/")
            plan, now_ns = self.plan(provider), self._clock()
            book, month = Book(plan, document, self.unknown_ns(provider)), to_datetime(now_ns).strftime("%Y-%m")
            spent = dict(book.months.get(month, {"live": 0, "backfill": 0, "bytes": 0}))
            until_ns, why = book.blocked
            found.append(
                Standing(
                    provider,
                    key,
                    plan.name,
                    book.uses(now_ns),
                    spent,
                    calls_a_month(plan),
                    until_ns if until_ns > now_ns else None,
                    why if until_ns > now_ns else "",
                    [dict(one) for one in book.resets],
                    plan.usd_per_call * (spent["live"] + spent["backfill"]) + plan.usd_per_gb * spent["bytes"] / 1e9,
                )
            )
        return found


@dataclass(frozen=True, slots=True)
class Standing:
    """How one key stands.

    month              this month's calls (live, backfill) and bytes
    allowed_a_month    calls that its windows let pass in 30 days; None: no limit
    blocked_until_ns   nobody may ask before; None: not blocked
    """

    provider: str
    key: str
    plan: str
    windows: list[Use]
    month: Mapping[str, int]
    allowed_a_month: int | None
    blocked_until_ns: int | None
    blocked_why: str
    resets: list[dict[str, int]]
    usd: float

    def document(self) -> dict[str, object]:
        """Return it in JSON values, with the share of its plan that is used."""
        calls = self.month["live"] + self.month["backfill"]
        return {
            "provider": self.provider,
            "key": self.key,
            "plan": self.plan,
            "windows": [
                {
                    "window": use.window,
                    "counts": use.counts,
                    "used": use.used,
                    "limit": use.limit,
                    "share": round(use.used / use.limit, 4),
                    "whole_at": to_datetime(use.whole_at_ns).isoformat(),
                }
                for use in self.windows
            ],
            "month": dict(self.month),
            "allowed_a_month": self.allowed_a_month,
            "share_of_month": None if not self.allowed_a_month else round(calls / self.allowed_a_month, 4),
            "blocked_until": None if self.blocked_until_ns is None else to_datetime(self.blocked_until_ns).isoformat(),
            "blocked_why": self.blocked_why,
            "resets": [
                {name: to_datetime(at).isoformat() for name, at in each.items() if name.endswith("_ns")} for each in self.resets
            ],
            "usd": round(self.usd, 4),
        }


def calls_a_month(plan: Plan) -> int | None:
    """Return how many calls of weight 1 the plan's windows let pass in 30 days; None without limit."""
    return min((_a_month(each) for each in plan.windows if each.counts == "weight" and not each.endpoints), default=None)


def _a_month(window: Window) -> int:
    lengths = {"hour": 3600.0, "day": 86_400.0, "month": float(_MONTH_S)}
    return int(window.limit * _MONTH_S / (window.seconds or lengths[window.calendar]))


@dataclass(slots=True)
class _Batch:
    """Calls that this process reserved: leave was given for `used` of `calls`, `ended` of those are over, `settled` told so."""

    wanted: Wanted
    name: str
    calls: int
    from_ns: int
    until_ns: int
    used: int = 0
    ended: int = 0
    settled: int = 0

    def has_leave(self, now_ns: int) -> bool:
        """Return whether a call may be made of it now; a clock that was set back ends it."""
        return self.used < self.calls and self.from_ns <= now_ns < self.until_ns


class KeyPermits:
    """Leave to call one provider with one key (`Permits`); safe to share between threads."""

    def __init__(self, quotas: Quotas, provider: str, key: str, purpose: Purpose) -> None:
        self._quotas, self._provider, self._key, self._purpose = quotas, provider, key, purpose
        self._batches: dict[tuple[str, int], list[_Batch]] = {}
        self._headers: Mapping[str, str] = {}
        self._byte_count = 0
        self._wants_good_news = False
        self._lock = threading.Lock()

    def before(self, request: Request) -> Leave:
        """Return leave for one call; what is given is spent."""
        with self._lock:
            mine = self._batches_of(request)
            if not (mine and mine[-1].has_leave(self._quotas.clock())):
                granted = self._reserve(request, mine)
                if not granted.calls:
                    return self._quotas.leave(granted)
            mine[-1].used += 1
        return GRANTED

    def after(self, request: Request, call: Call) -> None:
        """Learn how a call ended; an answer that complains stops every process: those that reserved a batch within a second."""
        with self._lock:
            mine = self._batches_of(request)
            batch = next((each for each in mine if each.ended < each.used), None)
            if batch is not None:
                batch.ended += 1
            self._headers, self._byte_count = call.headers or self._headers, self._byte_count + (call.byte_count or 0)
            is_over = batch is None or (batch.ended == batch.used and not batch.has_leave(self._quotas.clock()))
            if is_over or self._wants_good_news or call.reading.verdict in _COMPLAINTS:
                self._told(mine, call.reading)

    def unspent(self, request: Request) -> None:
        """Take back leave that was not used."""
        with self._lock:
            mine = self._batches_of(request)
            batch = next((each for each in reversed(mine) if each.ended < each.used), None)
            if batch is not None:
                batch.used -= 1
                if not batch.has_leave(self._quotas.clock()) or batch.calls == 1:
                    self._give_back(mine)

    def close(self) -> None:
        """Give back every reservation that is not under way."""
        with self._lock:
            for mine in self._batches.values():
                self._give_back(mine)

    def _batches_of(self, request: Request) -> list[_Batch]:
        return self._batches.setdefault((request.what, self._quotas.plan(self._provider).weight(request)), [])

    def _reserve(self, request: Request, mine: list[_Batch]) -> Granted:
        plan = self._quotas.plan(self._provider)
        weight = plan.weight(request)
        calls, valid_s = plan.batch(request.what, weight)
        wanted = Wanted(request.what, self._purpose, weight, calls, request.symbols)
        name, valid_ns = secrets.token_hex(6), round(valid_s * NANOS_PER_SECOND)

        def reserve(book: Book, now_ns: int) -> tuple[Granted, int, bool]:
            _settle(mine, book, now_ns)
            return book.reserve(now_ns, wanted, name, valid_ns), now_ns, book.wants_good_news

        granted, now_ns, self._wants_good_news = self._quotas.change(self._provider, self._key, reserve)
        _settled(mine)
        if granted.calls:
            mine.append(_Batch(wanted, name, granted.calls, now_ns, now_ns + valid_ns))
        return granted

    def _told(self, mine: list[_Batch], reading: Reading) -> None:
        headers, byte_count = self._headers, self._byte_count

        def told(book: Book, now_ns: int) -> bool:
            _settle(mine, book, now_ns)
            book.told(now_ns, reading, headers, byte_count, self._purpose)
            return book.wants_good_news

        self._wants_good_news = self._quotas.change(self._provider, self._key, told)
        self._headers, self._byte_count = {}, 0
        _settled(mine)

    def _give_back(self, mine: list[_Batch]) -> None:
        if mine:
            self._quotas.change(self._provider, self._key, lambda book, now_ns: _settle(mine, book, now_ns))
            _settled(mine)


def _settle(mine: list[_Batch], book: Book, now_ns: int) -> None:
    """Tell the book what came of reservations so far."""
    for each in mine:
        book.settle(now_ns, each.name, each.wanted, each.ended - each.settled, each.used - each.ended)


def _settled(mine: list[_Batch]) -> None:
    """Remember what the book was told: nothing is left of what was not used."""
    for each in mine:
        each.settled, each.calls = each.ended, each.used
    mine[:] = [each for each in mine if each.ended < each.used]
