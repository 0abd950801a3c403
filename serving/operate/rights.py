"""Who may be asked, and with which leave: configuration, keys, quotas, breakers and the past, for one process."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

from ingest.breaker import Breakers, Limits
from ingest.configured import Configured
from ingest.health import Health
from ingest.offers import Offer
from ingest.permits import FREE, Permits, Together
from ingest.plans import Plan, Purpose, key_name
from ingest.providers.registry import PROVIDERS
from ingest.quotas import Quotas
from ingest.reach import Reach
from ingest.routing import Asking, Preferences, Router
from ingest.shipped_plans import plans_of
from lake.catalog import Lake
from lake.instants import NANOS_PER_SECOND, to_datetime
from lake.log.log import Log
from quality_checks.provider_scores import provider_scores
from serving.operate.configured import open_configured
from serving.operate.freshness import stale_feeds
from serving.operate.logs import open_log

if TYPE_CHECKING:
    from serving.read_through import Policy, ReadThrough

RECORDED = "simulator"
"""What stands for a key in the ledger where a simulator is asked."""
_SCORED = timedelta(days=7)
_SCORES_FOR_NS = 300 * NANOS_PER_SECOND
_SOON_NS = 5 * NANOS_PER_SECOND
"""A window that is whole again by then is waited for: one of a second that is full is no quota used up."""


class PlansInForce(Mapping[str, Plan]):
    """The plan of each provider by the configuration as it is now."""

    def __init__(self, configured: Configured) -> None:
        self._configured = configured
        self._etag, self._plans = "", dict[str, Plan]()

    def _now(self) -> dict[str, Plan]:
        found = self._configured.now()
        if found.etag != self._etag or not self._plans:
            self._etag, self._plans = found.etag, plans_of(found.configuration)
        return self._plans

    def __getitem__(self, name: str) -> Plan:
        return self._now()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._now())

    def __len__(self) -> int:
        return len(self._now())


@dataclass(slots=True)
class Rights:
    """What one process may ask of providers.

    offers   of the providers that we have keys for
    """

    lake: Lake
    log: Log
    reach: Reach
    configured: Configured
    quotas: Quotas
    breakers: Breakers
    health: Health
    offers: tuple[Offer, ...]
    _scores: tuple[int, Mapping[str, float]] = field(default=(0, {}))

    @property
    def router(self) -> Router:
        """Who chooses among the offers."""
        return Router(self.offers, self.breakers, self.lake.clock, self.preferences)

    def permits(self, provider: str, purpose: Purpose) -> Permits:
        """Return leave to call a provider: its breakers', then its quota's. Raises SettingsError without keys."""
        key = RECORDED if self.reach.is_recorded else key_name(self.reach.secrets(provider))
        return Together([self.breakers.permits(provider), self.quotas.permits(provider, key, purpose)])

    def asking(self, purpose: Purpose) -> Asking:
        """Return how providers are asked."""
        return Asking(
            self.lake,
            self.log,
            self.health,
            lambda offer: self.reach.asked(offer.provider, offer.feed),
            lambda offer: self.permits(offer.provider, purpose),
        )

    def preferences(self) -> Preferences:
        """Return what configuration, ledger and past say about providers now; little quota left is told."""
        configuration, plans = self.configured.in_force(), PlansInForce(self.configured)
        left, soon_ns = dict[str, float](), self.lake.clock() + _SOON_NS
        for standing in self.quotas.standings():
            if standing.key == key_name(self.reach.keys.get(standing.provider, ())):
                shares = [1.0 - use.used / use.limit for use in standing.windows if use.whole_at_ns > soon_ns]
                left[standing.provider] = 0.0 if standing.blocked_until_ns is not None else min(shares, default=1.0)
        for provider, share in left.items():
            self.health.quota_left(provider, share)
        return Preferences(
            priority={name: configuration.provider(name).priority for name in PROVIDERS},
            cost_usd={name: plan.usd_per_call for name, plan in plans.items()},
            quality=self.scores(),
            left=left,
            stale=stale_feeds(self.lake.state, configuration, self.lake.clock()),
            disabled={name for name in PROVIDERS if not configuration.provider(name).enabled},
        )

    def scores(self) -> Mapping[str, float]:
        """Return the providers' scores of the last week, read again every five minutes."""
        now_ns = self.lake.clock()
        if not self._scores[0] <= now_ns < self._scores[0] + _SCORES_FOR_NS:
            self._scores = now_ns, provider_scores(self.lake, to_datetime(now_ns) - _SCORED)
        return self._scores[1]

    def read_through(self) -> ReadThrough:
        """Return who asks live for what the lake misses."""
        from serving.read_through import ReadThrough  # with it all that answers questions: captures need none of that

        return ReadThrough(self.lake, self.router, self.asking("live"), self._policy)

    def _policy(self) -> Policy:
        from serving.read_through import Policy

        told = self.configured.in_force().thresholds
        return Policy(told.read_through, told.read_through_timeout_s, told.read_through_open_s, told.read_through_closed_s)


@contextmanager
def rights(lake: Lake, log: Log, reach: Reach) -> Iterator[Rights]:
    """Give what may be asked; leave that was reserved and not used is given back at the end."""
    configured = open_configured(lake)
    usable = [name for name in PROVIDERS if not reach.lacks(name)]

    def watched() -> tuple[Collection[str], int]:
        configuration = configured.in_force()
        return [name for name in usable if configuration.provider(name).enabled], configuration.thresholds.min_active_providers

    def limits() -> Limits:
        told = configured.in_force().thresholds
        return Limits(told.breaker_failures, told.slow_answer_s, told.breaker_wait_s)

    health = Health(lake.state, lake.clock, log, watched)
    breakers = Breakers(lake.state, lake.clock, limits=limits, told=health)
    plans: Mapping[str, Plan] = {} if reach.is_recorded else PlansInForce(configured)  # recordings have no quota
    with Quotas(lake.state, plans, lake.clock) as quotas:
        offers = tuple(offer for name in usable for offer in PROVIDERS[name].offers)
        yield Rights(lake, log, reach, configured, quotas, breakers, health, offers)


@contextmanager
def live_permits(lake: Lake, log: Log, reach: Reach) -> Iterator[Callable[[str], Permits]]:
    """Give leave for live work by provider; a simulator's recordings are played without limit."""
    if reach.is_recorded:
        yield lambda provider: FREE
        return
    with rights(lake, log, reach) as found:
        found.health.watch()
        yield lambda provider: found.permits(provider, "live")


@contextmanager
def reading_through(lake: Lake, reach: Reach | None) -> Iterator[ReadThrough | None]:
    """Give who asks providers live for what the lake misses; None where nobody may be asked."""
    if reach is None:
        yield None
        return
    with rights(lake, open_log(lake.settings), reach) as found:
        found.health.watch()
        through = found.read_through()
        try:
            yield through
        finally:
            through.close()
