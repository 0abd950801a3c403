"""How providers stand: events of their health, the history of them, and the alerts they raise or resolve."""

from __future__ import annotations

import secrets
from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from lake.instants import Clock, to_datetime
from lake.log.log import Log
from lake.log.outbox import Outbox
from lake.state import State
from lake.tables import rows, table_named
from quality_checks.alerts import Alerts, Severity

FEWEST_ACTIVE = 3
"""Below so many providers that can be asked, somebody is told."""
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
    """Writes events down as rows of ops.health_events, and raises and resolves the alerts that belong to them."""

    def __init__(self, state: State, clock: Clock, log: Log | None = None) -> None:
        self._state, self._clock = state, clock
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
        elif event.kind is Kind.QUOTA_LOW:
            alerts.raise_alert("quota_low", event.subject, Severity.WARNING, event.detail)

    def standings(self) -> dict[str, dict[str, object]]:
        """Return how each provider that was asked stands: standing (up, degraded, down), since when, in which words."""
        return dict(self._state.documents(STANDING))

    def active(self, providers: Collection[str]) -> tuple[str, ...]:
        """Return those of the providers that are not down; one that was never asked is taken to be up."""
        standings = self._state.documents(STANDING)
        return tuple(sorted(one for one in set(providers) if standings.get(one, {}).get("standing") != "down"))

    def watch(self, providers: Collection[str], fewest: int = FEWEST_ACTIVE) -> tuple[str, ...]:
        """Return the active ones of the providers we may ask; too few raise the alert `few_providers`, enough resolve it."""
        active = self.active(providers)
        told = f"{len(active)} of {len(set(providers))} providers can be asked: {', '.join(active) or 'none'}"
        if len(active) < fewest:
            severity = Severity.WARNING if active else Severity.ERROR
            self.alerts.raise_alert("few_providers", "all", severity, f"{told}; expected at least {fewest}")
        else:
            self.alerts.resolve("few_providers", "all", told)
        return active
