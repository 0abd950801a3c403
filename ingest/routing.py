"""Routing: who is asked for something, in which order and why; and asking one after the other until somebody answers.

The order: who can be asked now (breaker, quota), whose feed is not stale, then priority, cost, quality and load. A failover is
allowed after every verdict but BAD_REQUEST (nobody would understand it) and EMPTY_VALID (an answer), and each is recorded with
its reason.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ingest.asks import Address, Ask
from ingest.breaker import Breaker, Breakers
from ingest.capture import CaptureReport, capture_pages
from ingest.health import SCARCE, Health, HealthEvent, Kind
from ingest.offers import Offer
from ingest.permits import Permits
from ingest.transport.backoff import Backoff
from ingest.transport.http import WHOLE_S
from ingest.verdicts import Verdict
from lake.catalog import Lake
from lake.errors import InvalidValueError
from lake.instants import Clock, to_datetime
from lake.log.log import Log
from lake.values import CaptureKind
from quality_checks.alerts import Severity

FINAL = frozenset({Verdict.OK, Verdict.EMPTY_VALID, Verdict.BAD_REQUEST})
"""Verdicts after which nobody else is asked."""


@dataclass(frozen=True, slots=True)
class Preferences:
    """What an operator and the past say about providers, by name.

    priority   the lowest is asked first; 100 where nothing is said
    cost_usd   of one call
    quality    0 to 1, such as the share of its rows that the rules and the gate kept; 1 where nothing is known
    left       share of the tightest quota that is left, 0 to 1
    disabled   nobody asks them
    stale      (provider, feed) whose data stopped coming although their market is open
    """

    priority: Mapping[str, int] = field(default_factory=dict)
    cost_usd: Mapping[str, float] = field(default_factory=dict)
    quality: Mapping[str, float] = field(default_factory=dict)
    left: Mapping[str, float] = field(default_factory=dict)
    disabled: Collection[str] = ()
    stale: Collection[tuple[str, str]] = ()


@dataclass(frozen=True, slots=True)
class Choice:
    """One offer in the order of asking, with what decided its place; `refused` says why it would not be called now."""

    offer: Offer
    reasons: tuple[str, ...]
    refused: str = ""

    def document(self) -> dict[str, object]:
        """Return it as plain values."""
        offer = self.offer
        named = {"provider": offer.provider, "feed": offer.feed, "kind": offer.kind, "endpoint": offer.endpoint}
        return {**named, "reasons": list(self.reasons), "refused": self.refused or None}


class Router:
    """Chooses among offers.

    offers        of providers that we may ask: those we have keys for
    preferences   asked for at each choice, so that changes count at once
    """

    def __init__(
        self, offers: Sequence[Offer], breakers: Breakers, clock: Clock, preferences: Callable[[], Preferences] = Preferences
    ) -> None:
        self._offers, self._breakers, self._clock, self._preferences = tuple(offers), breakers, clock, preferences

    @property
    def providers(self) -> tuple[str, ...]:
        """Every provider with an offer."""
        return tuple(dict.fromkeys(offer.provider for offer in self._offers))

    def choose(self, kind: str, asset_class: str, ask: Ask, table: str = "") -> list[Choice]:
        """Return the offers that can answer, in the order of asking.

        table   only of offers whose rows end there; empty: of any
        """
        now = to_datetime(self._clock())
        found = [one for one in self._offers if one.answers(kind, asset_class, ask, now) and table in ("", one.table)]
        preferences = self._preferences()
        ranked = [self._ranked(offer, preferences) for offer in found if offer.provider not in preferences.disabled]
        return [choice for _, choice in sorted(ranked, key=lambda pair: pair[0])]

    def _ranked(self, offer: Offer, preferences: Preferences) -> tuple[tuple[object, ...], Choice]:
        name = offer.provider
        breaker = self._breakers.find(name, offer.endpoint)
        priority, cost = preferences.priority.get(name, 100), preferences.cost_usd.get(name, 0.0)
        quality, left = preferences.quality.get(name, 1.0), preferences.left.get(name, 1.0)
        refused = _refused(breaker, left, self._clock())
        latency_s, is_stale = breaker.latency_s or 0.0, (name, offer.feed) in preferences.stale
        rank = (
            bool(refused), bool(breaker.refusal), is_stale, priority, cost, -round(quality, 2), left < SCARCE,
            round(latency_s, 1), name, offer.feed, offer.endpoint,
        )  # fmt: skip
        reasons = [f"priority {priority}", f"{cost:g} USD a call", f"quality {quality:.2f}", f"breaker {breaker.position.value}"]
        reasons += [f"quota left {left:.0%}"] if name in preferences.left else []
        reasons += [f"answers in {latency_s:.2f} s"] if breaker.latency_s is not None else []
        reasons += [f"answered {breaker.refusal} last"] if breaker.refusal else []
        reasons += [f"{offer.feed} is stale"] if is_stale else []
        return rank, Choice(offer, tuple(reasons), refused)


def _refused(breaker: Breaker, left: float, now_ns: int) -> str:
    if breaker.is_waiting(now_ns):
        return f"breaker {breaker.position.value} after {breaker.detail}"
    return "no quota left" if left <= 0.0 else ""


@dataclass(frozen=True, slots=True)
class Failover:
    """One turn from a provider to the next: what it answered, in whose words."""

    offer: Offer
    verdict: Verdict
    detail: str
    following: str | None
    """Who was asked next; None when there was nobody left."""

    def document(self) -> dict[str, object]:
        """Return it as plain values."""
        named = {"provider": self.offer.provider, "feed": self.offer.feed}
        return {**named, "verdict": self.verdict.value, "detail": self.detail, "next": self.following}


@dataclass(slots=True)
class Asked:
    """What came of asking.

    answered    the offer that gave rows, or proved that there are none; None: nobody did
    verdict     of the last answer; None: nobody could be asked
    """

    answered: Offer | None = None
    verdict: Verdict | None = None
    detail: str = ""
    reports: list[CaptureReport] = field(default_factory=list)
    failovers: list[Failover] = field(default_factory=list)

    @property
    def report(self) -> CaptureReport | None:
        """The capture that holds the answer."""
        return self.reports[-1] if self.answered is not None else None

    def document(self) -> dict[str, object]:
        """Return it as plain values."""
        return {
            "answered_by": None if self.answered is None else self.answered.provider,
            "verdict": None if self.verdict is None else self.verdict.value,
            "detail": self.detail,
            "captures": [report.capture_id for report in self.reports],
            "failovers": [one.document() for one in self.failovers],
        }


@dataclass(frozen=True, slots=True)
class Asking:
    """How providers are asked.

    address   where an offer is asked, with its credentials
    permits   leave to call for an offer: quotas and breakers together
    symbol    how the provider writes the symbol of an ask; None: it does not know it
    """

    lake: Lake
    log: Log
    health: Health
    address: Callable[[Offer], Address]
    permits: Callable[[Offer], Permits]
    symbol: Callable[[Offer, str], str | None] = lambda offer, symbol: symbol
    sleep: Callable[[float], None] = time.sleep
    rng: random.Random | None = None
    backoff: Backoff = field(default_factory=Backoff)
    timeout_s: float = 30.0
    whole_s: float = WHOLE_S

    def words(self, offer: Offer, ask: Ask) -> Ask:
        """Return an ask in the words of an offer's provider. Raises InvalidValueError when it cannot be asked that."""
        symbol = self.symbol(offer, ask.symbol)
        if symbol is None:
            raise InvalidValueError(f"{offer.provider} has no symbol for {ask.symbol}")
        words = Ask(symbol, ask.interval, ask.start, ask.end, ask.events)
        offer.pages().first(words)
        return words

    def capture(self, offer: Offer, words: Ask, kind: CaptureKind) -> CaptureReport:
        """Ask one provider once, in its own words; everything it answers is durable."""
        return capture_pages(
            self.lake,
            self.log,
            offer.pages(),
            [words],
            self.address(offer),
            provider=offer.provider,
            feed=offer.feed,
            kind=kind,
            sleep=self.sleep,
            rng=self.rng,
            backoff=self.backoff,
            timeout_s=self.timeout_s,
            whole_s=self.whole_s,
            permits=self.permits(offer),
        )


def ask_with_failover(
    asking: Asking,
    choices: Sequence[Choice],
    ask: Ask,
    *,
    kind: CaptureKind = CaptureKind.BACKFILL,
    without: Collection[str] = (),
) -> Asked:
    """Ask one offer after the other until one answers; every failover is an event with its reason.

    without   providers not asked (they answered before, and were not enough)

    Raises LogFullError when answers cannot be kept. Nobody left raises the alert `no_provider`; an answer resolves it.
    """
    asked, left = Asked(), [choice for choice in choices if choice.offer.provider not in without]
    for number, choice in enumerate(left):
        verdict, detail = _answer(asking, choice.offer, ask, kind, asked)
        asked.verdict, asked.detail = verdict, detail
        if verdict in FINAL:
            asked.answered = None if verdict is Verdict.BAD_REQUEST else choice.offer
            break
        following = left[number + 1].offer.provider if number + 1 < len(left) else None
        asked.failovers.append(Failover(choice.offer, verdict, detail, following))
        words = f"{ask.symbol} {ask.interval}: {detail}; next: {following or 'nobody left'}"
        asking.health.tell(HealthEvent(Kind.FAILOVER, choice.offer.provider, choice.offer.endpoint, verdict.value, words))
    _alert(asking.health, asked, left)
    return asked


def _answer(asking: Asking, offer: Offer, ask: Ask, kind: CaptureKind, asked: Asked) -> tuple[Verdict, str]:
    """Return the verdict of one offer and the words about it; the capture is added to `asked`."""
    try:
        words = asking.words(offer, ask)
    except InvalidValueError as error:
        return Verdict.NOT_ASKED, f"cannot be asked: {error}"
    report = asking.capture(offer, words, kind)
    asked.reports.append(report)
    outcome: Mapping[str, Any] = report.outcomes[-1]
    return Verdict(outcome["verdict"]), str(outcome["detail"])


def _alert(health: Health, asked: Asked, left: Sequence[Choice]) -> None:
    if not left:
        return
    kind = left[0].offer.kind
    if asked.answered is not None:
        health.alerts.resolve("no_provider", kind, f"{asked.answered.provider} answered")
    elif asked.verdict is not Verdict.BAD_REQUEST and not all(one.verdict is Verdict.UNKNOWN_SYMBOL for one in asked.failovers):
        told = "; ".join(f"{one.offer.provider} {one.verdict.value}" for one in asked.failovers)
        health.alerts.raise_alert("no_provider", kind, Severity.ERROR, f"nobody answers for {kind}: {told}")
