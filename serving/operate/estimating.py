"""What a question would take by the lake's own ledger: who is enabled, has keys, how quick it is, what is spent already."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ingest import planning
from ingest.breaker import Breakers
from ingest.configuration import Configuration
from ingest.offers import Offer
from ingest.planning import LATENCY_S, Estimate, Purse, Question, estimates
from ingest.plans import key_name
from ingest.providers.registry import OFFERS
from ingest.quotas import Quotas
from ingest.reach import Reach, themselves
from ingest.shipped_plans import plans_of
from lake.catalog import Lake
from lake.errors import InvalidValueError
from lake.instants import to_datetime
from serving.operate.configured import open_configured


def estimate(lake: Lake, question: Question, environment: Mapping[str, str], budget_usd: float | None = None) -> list[Estimate]:
    """Return what each provider would take for a question as backfill, the cheapest that suffices first.

    Raises InvalidValueError for a range that has not begun: nobody has anything of it.
    """
    now = to_datetime(lake.clock())
    if question.start >= now:
        raise InvalidValueError(f"start {question.start:%Y-%m-%d %H:%M} UTC is in the future: nobody has history of it yet")
    configured = open_configured(lake)
    configuration = configured.in_force()
    quotas, breakers = Quotas(lake.state, plans_of(configuration), lake.clock), Breakers(lake.state, lake.clock)
    reach = themselves(environment, configured.in_force)

    def latency_s(offer: Offer) -> float:
        measured = breakers.find(offer.provider, offer.endpoint).latency_s
        return LATENCY_S if measured is None else measured

    purse = Purse(
        quotas,
        lambda provider: key_name(reach.keys.get(provider, ())),
        lambda provider: _lacks(configuration, reach, provider),
        latency_s,
    )
    return estimates(question, OFFERS, purse, budget_usd)


def offered(asset_class: str) -> list[str]:
    """Return the kinds of data that some provider offers of an asset class."""
    return planning.offered(OFFERS, asset_class)


def spent(lake: Lake) -> list[dict[str, Any]]:
    """Return how much of its plan each key has used: by window now, and this month."""
    plans = plans_of(open_configured(lake).in_force())
    return [each.document() for each in Quotas(lake.state, plans, lake.clock).standings()]


def _lacks(configuration: Configuration, reach: Reach, provider: str) -> str:
    if not configuration.provider(provider).enabled:
        return "is switched off in the configuration"
    return reach.lacks(provider)
