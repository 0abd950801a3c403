"""The registry of providers: whatever it offers can be asked, is named on the wire as it says, and ends in tables there are."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from ingest.asks import Ask
from ingest.offers import Offer
from ingest.providers.registry import OFFERS, PROVIDERS, provider_named
from ingest.reach import Reach, themselves
from ingest.simulator.asking import recorded_symbols
from ingest.simulator.keyed import Keys
from lake.errors import NotFoundError
from lake.tables import TABLES
from transforms.feeds import feed_of

FIRST_STEPS = {
    ("binance", "historicalTrades"): "aggTrades",
    **{("yahoo", endpoint): "cookie" for endpoint in ("quote", "options", "screener")},
}
"""What is asked before it."""
NOW = datetime(2024, 6, 3, tzinfo=UTC)


@pytest.mark.parametrize("offer", OFFERS, ids=lambda offer: f"{offer.provider} {offer.feed} {offer.endpoint}")
def test_an_offer_is_asked_by_the_endpoint_it_names(offer: Offer) -> None:
    (symbol, *_) = recorded_symbols(offer.provider, offer.feed, offer.word)
    for interval in offer.intervals or ("1d",):
        request = offer.pages().first(Ask(symbol, interval, NOW - timedelta(days=2), NOW))
        assert request.what == FIRST_STEPS.get((offer.provider, offer.endpoint), offer.endpoint)
    assert offer.table in TABLES
    feed = feed_of(offer.provider, offer.feed)
    assert feed is not None
    assert offer.table in feed.tables


@pytest.mark.parametrize("name", PROVIDERS)
def test_what_a_provider_pushes_can_be_listened_to(name: str) -> None:
    provider = provider_named(name)
    keys = Keys().of().get(name, ())
    assert len(keys) == len(provider.key_variables)
    for push in provider.pushes:
        session = push.session(recorded_symbols(name, push.feed), keys)
        assert session.target.startswith("/")
        assert feed_of(name, push.feed) is not None
        assert Reach({name: keys}).listened(name, push).stream == push.address


def test_who_is_not_there_is_told() -> None:
    with pytest.raises(NotFoundError, match="nobody"):
        provider_named("nobody")
    assert themselves({}).asked("yahoo", "chart").http.startswith("https://query")
