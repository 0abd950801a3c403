"""Circuit breakers: a provider's endpoint that fails is left alone for a while, then tried by one call.

`Breaker` is a pure machine; `Breakers` keeps one for each provider and endpoint in the state, for every process, and gives
leave by them (`ingest.permits.Permits`). Only what a provider's trouble looks like feeds a breaker (PROVIDERS.md section
0.1): no answer, 5xx, throttling, a broken body, an answer slower than `slow_s`. Any other answer shows that it is well.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from typing import Any

from ingest.asks import Request
from ingest.health import STANDING, HealthEvent, Kind, Listener
from ingest.permits import GRANTED, Leave
from ingest.transport.http import Call
from ingest.verdicts import RETRYABLE, Reading, Verdict
from lake.instants import NANOS_PER_SECOND, Clock, to_datetime
from lake.state import State

BREAKER = "breaker"
"""Kind of the documents, by `provider/endpoint`."""
_REFUSING = frozenset({Verdict.AUTH, Verdict.NOT_ENTITLED})
_NOTED_EVERY_NS = 10 * NANOS_PER_SECOND
_NEWEST_WEIGHT = 0.3


class Position(StrEnum):
    """Where a breaker stands."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


@dataclass(frozen=True, slots=True)
class Limits:
    """When a breaker opens and for how long.

    failures   in a row
    slow_s     an answer that takes longer counts as a failure
    open_s     until one call may probe; longer where the provider asks for more
    probe_s    after which a probe that nobody told the end of is given up: its process died
    """

    failures: int = 5
    slow_s: float = 10.0
    open_s: float = 30.0
    probe_s: float = 120.0


@dataclass(frozen=True, slots=True)
class Breaker:
    """One breaker.

    failures      in a row, of the calls that were told
    until_ns      when an open one may be probed; of a probe: when it is given up
    probe         who probes
    verdict, detail   of the failure told last
    refusal       AUTH or NOT_ENTITLED while that is what the endpoint answers
    latency_s     of answers, smoothed; noted every ten seconds at most
    """

    position: Position = Position.CLOSED
    failures: int = 0
    since_ns: int = 0
    until_ns: int = 0
    probe: str = ""
    verdict: str = ""
    detail: str = ""
    refusal: str = ""
    latency_s: float | None = None
    noted_at_ns: int = 0
    opened: int = 0

    def asked(self, now_ns: int, who: str, limits: Limits) -> tuple[Breaker, Leave]:
        """Return the breaker after `who` asked for leave to call, and the answer: an open one lets one probe through."""
        if self.position is Position.CLOSED:
            return self, GRANTED
        if self.is_waiting(now_ns):
            wait_s = (self.until_ns - now_ns) / NANOS_PER_SECOND
            words = "is being probed" if self.position is Position.HALF_OPEN else f"is open after {self.detail}"
            return self, Leave(wait_s, f"the breaker {words}")
        until_ns = now_ns + int(limits.probe_s * NANOS_PER_SECOND)
        return replace(self, position=Position.HALF_OPEN, since_ns=now_ns, until_ns=until_ns, probe=who), GRANTED

    def is_waiting(self, now_ns: int) -> bool:
        """Return whether nobody may probe it yet; one that changed after now was changed by a clock that was wrong: it may be."""
        return self.position is not Position.CLOSED and self.since_ns <= now_ns < self.until_ns

    def given_back(self, now_ns: int, who: str) -> Breaker:
        """Return the breaker after `who` did not use the leave to probe: the next one may."""
        if self.position is not Position.HALF_OPEN or self.probe != who:
            return self
        return replace(self, position=Position.OPEN, until_ns=now_ns, probe="")

    def answered(self, reading: Reading, took_s: float, now_ns: int, who: str, limits: Limits) -> Breaker:
        """Return the breaker after a call of `who` ended: late news about an open breaker change nothing, its probe does."""
        is_probe = self.position is Position.HALF_OPEN and self.probe == who
        if self.position is not Position.CLOSED and not is_probe:
            return self
        is_slow = took_s > limits.slow_s
        if reading.verdict not in RETRYABLE and not is_slow:
            return self._well(reading, took_s, now_ns, is_probe=is_probe)
        words = f"an answer after {took_s:.1f} s" if is_slow else f"{reading.verdict.value}: {reading.detail}"
        failed = replace(self, failures=self.failures + 1, verdict=reading.verdict.value, detail=words[:300])
        if not is_probe and failed.failures < limits.failures:
            return failed
        pause_s = max(limits.open_s, reading.retry_after_s or 0.0)
        return replace(
            failed,
            position=Position.OPEN,
            since_ns=now_ns,
            until_ns=now_ns + int(pause_s * NANOS_PER_SECOND),
            probe="",
            opened=self.opened + (not is_probe),
        )

    def _well(self, reading: Reading, took_s: float, now_ns: int, *, is_probe: bool) -> Breaker:
        refusal = reading.verdict.value if reading.verdict in _REFUSING else ""
        found = self
        if is_probe or self.failures or self.since_ns == 0:
            found = replace(self, position=Position.CLOSED, failures=0, since_ns=now_ns, until_ns=0, probe="")
        elif refusal == self.refusal and now_ns - self.noted_at_ns < _NOTED_EVERY_NS:
            return self
        before = took_s if self.latency_s is None else self.latency_s
        smoothed = before + _NEWEST_WEIGHT * (took_s - before)
        return replace(found, refusal=refusal, latency_s=smoothed, noted_at_ns=now_ns)

    def document(self) -> dict[str, object]:
        """Return it as plain values for a person."""
        times = {"since": to_datetime(self.since_ns), "probe_at": to_datetime(self.until_ns) if self.until_ns else None}
        shown = ("position", "failures", "verdict", "detail", "refusal", "latency_s", "opened")
        return {**{name: getattr(self, name) for name in shown}, **times}


def breaker_of(document: Mapping[str, Any]) -> Breaker:
    """Return the breaker that a document of the state holds."""
    return Breaker(**{**document, "position": Position(document["position"])})


class Breakers:
    """Every breaker of a lake.

    limits  asked for at each call, so that a change counts at once
    told    learns of changes (`ingest.health.Health`); None: nobody does
    """

    def __init__(
        self, state: State, clock: Clock, *, limits: Callable[[], Limits] = Limits, told: Listener | None = None
    ) -> None:
        self._state, self._clock, self._told, self._limits = state, clock, told, limits

    def permits(self, provider: str) -> BreakerPermits:
        """Return leave to call one provider, for one thread."""
        return BreakerPermits(self, provider)

    def standing(self, provider: str = "") -> dict[tuple[str, str], Breaker]:
        """Return the breakers of a provider, or all, by provider and endpoint."""
        found = self._state.documents(BREAKER, f"{provider}/" if provider else "")
        return {(key.partition("/")[0], key.partition("/")[2]): breaker_of(one) for key, one in found.items()}

    def find(self, provider: str, endpoint: str) -> Breaker:
        """Return one breaker; a closed one where nothing was asked yet."""
        found = self._state.document(BREAKER, f"{provider}/{endpoint}")
        return Breaker() if found is None else breaker_of(found)

    def reset(self, provider: str, endpoint: str, who: str, reason: str) -> None:
        """Close a breaker by a person's word, which is audited."""
        self._state.audit(who, "reset breaker", reason, {"provider": provider, "endpoint": endpoint})
        self.change(provider, endpoint, lambda before: Breaker(since_ns=self._clock(), opened=before.opened))

    def asked(self, provider: str, endpoint: str, who: str) -> Leave:
        """Return leave for one call of `who`."""
        if self.find(provider, endpoint).position is Position.CLOSED:
            return GRANTED
        answers: list[Leave] = []

        def ask(before: Breaker) -> Breaker:
            after, leave = before.asked(self._clock(), who, self._limits())
            answers[:] = [leave]
            return after

        self.change(provider, endpoint, ask)
        return answers[0]

    def answered(self, provider: str, endpoint: str, call: Call, who: str) -> None:
        """Learn how a call of `who` ended."""
        took_s = (call.ts_response_ns - call.ts_request_ns) / NANOS_PER_SECOND

        def hear(before: Breaker) -> Breaker:
            return before.answered(call.reading, took_s, self._clock(), who, self._limits())

        now = self.find(provider, endpoint)
        if hear(now) != now:
            self.change(provider, endpoint, hear)

    def given_back(self, provider: str, endpoint: str, who: str) -> None:
        """Take back leave of `who` that was not used."""
        if self.find(provider, endpoint).probe == who:
            self.change(provider, endpoint, lambda before: before.given_back(self._clock(), who))

    def change(self, provider: str, endpoint: str, change: Callable[[Breaker], Breaker]) -> None:
        """Change a breaker in one transaction, and tell what became of it."""
        pair: list[Breaker] = []

        def put(document: Mapping[str, Any] | None) -> dict[str, Any]:
            before = Breaker() if document is None else breaker_of(document)
            pair[:] = [before, change(before)]
            return asdict(pair[1])

        self._state.change_document(BREAKER, f"{provider}/{endpoint}", put)
        before, after = pair
        is_given_back = after.position is Position.OPEN and after.failures == before.failures
        if before.position is after.position or is_given_back:
            return
        kinds = {
            Position.OPEN: Kind.BREAKER_OPENED,
            Position.HALF_OPEN: Kind.BREAKER_PROBED,
            Position.CLOSED: Kind.BREAKER_CLOSED,
        }
        verdict = after.verdict if after.position is Position.OPEN else None
        words = after.detail if after.position is Position.OPEN else f"was {before.position.value}"
        self._tell(HealthEvent(kinds[after.position], provider, endpoint, verdict, words))
        self._judge(provider)

    def _judge(self, provider: str) -> None:
        """Follow with the whole provider: down when every endpoint that was asked is, degraded when some are."""
        found = self.standing(provider)
        broken = [endpoint for (_, endpoint), one in found.items() if one.position is not Position.CLOSED]
        standing = "up" if not broken else "down" if len(broken) == len(found) else "degraded"
        words = f"breakers not closed: {', '.join(broken)}" if broken else "every breaker is closed"
        stood: list[str] = []

        def put(before: dict[str, Any] | None) -> dict[str, Any]:
            stood[:] = ["up" if before is None else str(before["standing"])]
            if before is not None and stood[0] == standing:
                return before
            return {"standing": standing, "since": to_datetime(self._clock()).isoformat(), "detail": words}

        self._state.change_document(STANDING, provider, put)
        if stood[0] != standing:
            self._tell(HealthEvent(Kind(f"provider_{standing}"), provider, detail=words))

    def _tell(self, event: HealthEvent) -> None:
        if self._told is not None:
            self._told.tell(event)


class BreakerPermits:
    """Leave to call one provider (`Permits`): one object a thread, which is who a probe belongs to."""

    def __init__(self, breakers: Breakers, provider: str) -> None:
        self._breakers, self._provider, self._who = breakers, provider, secrets.token_hex(8)

    def before(self, request: Request) -> Leave:
        """Return leave for one call."""
        return self._breakers.asked(self._provider, request.what, self._who)

    def after(self, request: Request, call: Call) -> None:
        """Learn how a call ended."""
        self._breakers.answered(self._provider, request.what, call, self._who)

    def unspent(self, request: Request) -> None:
        """Take back leave that was not used."""
        self._breakers.given_back(self._provider, request.what, self._who)
