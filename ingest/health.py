"""How providers stand: events of their health, the history of them, and the alerts they raise or resolve."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Collection
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from lake.instants import Clock, to_datetime
from lake.log.log import Log
from lake.log.outbox import Outbox
from lake.state import State
from lake.tables import rows, table_named
from quality_checks.alerts import Alerts, Severity

SCARCE = 0.1
"""Of a quota: with less than this share left, a provider is kept for those who have no other, and somebody is told."""
STALE = "feed_stale"
"""Kind of the alerts about feeds that are silent for too long."""
STANDING = "provider_standing"
"""Kind of the documents that say how each provider stands."""


class Kind(StrEnum):
    """What happened."""

    BREAKER_OPENED = "breaker_opened"
    BREAKER_PROBED = "breaker_probed"
    BREAKER_CLOSED = "breaker_closed"
    PROVIDER_UP = "provider_up"
    PROVIDER_DEGRADED = "provider_degraded"
    PROVIDER_DOWN = "provider_down"
    FAILOVER = "failover"
    QUOTA_LOW = "quota_low"
    FEED_STALE = "feed_stale"
    FEED_SPEAKS = "feed_speaks"


@dataclass(frozen=True, slots=True)
class HealthEvent:
    """One change: of which provider and endpoint, after which verdict, in which words."""

    kind: Kind
    provider: str
    endpoint: str | None = None
    verdict: str | None = None
    detail: str = ""

    @property
    def subject(self) -> str:
        """Provider and endpoint, as alerts name them."""
        return f"{self.provider}/{self.endpoint}" if self.endpoint else self.provider


class Listener(Protocol):
    """Who is told of events."""

    def tell(self, event: HealthEvent) -> None:
        """Learn of an event."""
        ...


class Health:
    """Writes events down as rows of ops.health_events, and raises and resolves the alerts that belong to them.

    watched   the providers that we may ask, and the fewest of them that must be active; asked for when one changes
    """

    def __init__(
        self,
        state: State,
        clock: Clock,
        log: Log | None = None,
        watched: Callable[[], tuple[Collection[str], int]] = lambda: ((), 0),
    ) -> None:
        self._state, self._clock, self._watched = state, clock, watched
        self._outbox, self.alerts = Outbox(state, log), Alerts(state, clock, log)

    def tell(self, event: HealthEvent) -> None:
        """Record an event and let its alert follow."""
        self._outbox.put(
            "ops.health_events",
            rows(
                table_named("ops.health_events"),
                {
                    "event_id": [f"{event.kind}-{secrets.token_hex(10)}"],
                    "kind": [event.kind.value],
                    "provider": [event.provider],
                    "endpoint": [event.endpoint],
                    "verdict": [event.verdict],
                    "detail": [event.detail or None],
                    "recorded_at": [to_datetime(self._clock())],
                },
            ),
        )
        self._alert(event)

    def _alert(self, event: HealthEvent) -> None:
        alerts = self.alerts
        if event.kind is Kind.BREAKER_OPENED:
            alerts.raise_alert("breaker_open", event.subject, Severity.WARNING, event.detail)
        elif event.kind is Kind.BREAKER_CLOSED:
            alerts.resolve("breaker_open", event.subject, event.detail)
        elif event.kind is Kind.PROVIDER_DOWN:
            alerts.raise_alert("provider_down", event.provider, Severity.ERROR, event.detail)
        elif event.kind in (Kind.PROVIDER_UP, Kind.PROVIDER_DEGRADED):
            alerts.resolve("provider_down", event.provider, event.detail)
        if event.kind in (Kind.PROVIDER_UP, Kind.PROVIDER_DOWN):
            self.watch()

    def standings(self) -> dict[str, dict[str, object]]:
        """Return how each provider that was asked stands: standing (up, degraded, down), since when, in which words."""
        return dict(self._state.documents(STANDING))

    def active(self, providers: Collection[str]) -> tuple[str, ...]:
        """Return those of the providers that are not down; one that was never asked is taken to be up."""
        standings = self._state.documents(STANDING)
        return tuple(sorted(one for one in set(providers) if standings.get(one, {}).get("standing") != "down"))

    def watch(self) -> tuple[str, ...]:
        """Return the active ones of the providers watched; too few raise the alert `few_providers`, enough resolve it."""
        providers, fewest = self._watched()
        active = self.active(providers)
        told = f"{len(active)} of {len(set(providers))} providers can be asked: {', '.join(active) or 'none'}"
        if len(active) < fewest:
            severity = Severity.WARNING if active else Severity.ERROR
            self.alerts.raise_alert("few_providers", "all", severity, f"{told}; expected at least {fewest}")
        elif fewest:
            self.alerts.resolve("few_providers", "all", told)
        return active

    def stale(self, provider: str, subject: str, words: str) -> None:
        """Learn that a feed of a provider is silent for too long: the alert `feed_stale` is raised once, until it speaks."""
        if not self.alerts.is_open(STALE, subject):
            self.alerts.raise_alert(STALE, subject, Severity.WARNING, words)
            self.tell(HealthEvent(Kind.FEED_STALE, provider, detail=f"{subject}: {words}"))

    def speaks(self, provider: str, subject: str, words: str) -> None:
        """Learn that nothing is missing of a feed any more."""
        if self.alerts.is_open(STALE, subject):
            self.alerts.resolve(STALE, subject, words)
            self.tell(HealthEvent(Kind.FEED_SPEAKS, provider, detail=f"{subject}: {words}"))

    def stale_subjects(self) -> set[str]:
        """Return the subjects of which the alert `feed_stale` stands."""
        return {one.subject for one in self.alerts.listed() if one.kind == STALE}

    def quota_left(self, provider: str, share: float) -> None:
        """Learn what share of a provider's tightest quota is left: little raises the alert `quota_low`, enough resolves it."""
        if share >= 2 * SCARCE:
            self.alerts.resolve("quota_low", provider, f"{share:.0%} left")
        elif share < SCARCE and not self.alerts.is_open("quota_low", provider):
            self.alerts.raise_alert("quota_low", provider, Severity.WARNING, f"{share:.0%} of the tightest quota left")
            self.tell(HealthEvent(Kind.QUOTA_LOW, provider, detail=f"{share:.0%} of the tightest quota left"))
