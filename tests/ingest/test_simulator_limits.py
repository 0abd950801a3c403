"""The simulator as the judge of quotas: it counts every call and refuses those over a limit in the provider's own words."""

from __future__ import annotations

import random

import pytest

from ingest.asks import Address, Ask, Pages
from ingest.permits import FREE, Permits
from ingest.providers import alpaca, alpha_vantage, finnhub, yahoo
from ingest.providers.registry import OFFERS
from ingest.reach import simulated
from ingest.simulator import Simulator
from ingest.simulator.limits import LIMITS, Caller, Limits, caller_of
from ingest.transport.backoff import Backoff
from ingest.transport.http import HttpTransport
from ingest.verdicts import Verdict
from lake.instants import NANOS_PER_SECOND, to_datetime
from tests.ingest.test_quotas import Calls, Hand

ONCE = Backoff(attempts=1, ceiling_s=1e9)


def ask(
    pages: Pages, symbol: str, address: Address, times: int, hand: Hand, permits: Permits = FREE, interval: str = "1d"
) -> Calls:
    """Ask `times` for bars of a month."""
    calls, end = Calls(), to_datetime(hand.now_ns)
    wanted = Ask(symbol, interval, to_datetime(hand.now_ns - 30 * 86_400 * NANOS_PER_SECOND), end)
    words = {"clock": hand, "sleep": hand.forward, "rng": random.Random(1), "backoff": ONCE, "permits": permits}
    with HttpTransport(address, calls, **words) as transport:  # type: ignore[arg-type]  # words are of many types
        for _ in range(times):
            transport.ask(pages, wanted)
    return calls


@pytest.fixture
def hand() -> Hand:
    return Hand()


def test_alpha_vantage_says_it_with_status_200(hand: Hand) -> None:
    with Simulator(limits=(limits := Limits(hand)), markets=(), streams=()) as simulator:
        calls = ask(alpha_vantage.Query(), "IBM", simulator.alpha_vantage, 2, hand)
        assert [(each.status, each.reading.verdict) for each in calls.all] == [(200, Verdict.OK), (200, Verdict.THROTTLED)]
        assert b"25 requests per day" in calls.answers[1].body
        hand.forward(61)
        for _ in range(30):
            hand.forward(13)
            calls = ask(alpha_vantage.Query(), "IBM", simulator.alpha_vantage, 1, hand)
        assert calls.all[-1].reading.verdict is Verdict.THROTTLED
    (told,) = limits.report()
    assert (told["calls"], told["over"]) == (32, 1 + 7)
    assert limits.exceeded()[0] == "alpha_vantage: 32 in 86400 s in America/New_York, allowed are 25"


def test_finnhub_and_alpaca_tell_what_is_left_and_yahoo_holds_a_grudge(hand: Hand) -> None:
    with Simulator(limits=Limits(hand), markets=(), streams=()) as simulator:
        quotes = ask(finnhub.Quote(), "AAPL", simulator.finnhub, 31, hand)
        assert [each.status for each in quotes.all] == [200] * 30 + [429]
        assert quotes.all[9].headers["x-ratelimit-remaining"] == "50"
        assert quotes.answers[-1].body == b"API limit reached. Please try again later. Remaining Limit: 0"
        assert quotes.all[-1].reading.verdict is Verdict.THROTTLED
        bars = ask(alpaca.MarketData("iex", "bars"), "AAPL", simulator.alpaca, 1, hand)
        assert (bars.all[0].headers["x-ratelimit-limit"], bars.all[0].headers["x-ratelimit-remaining"]) == ("200", "199")
        assert [each.status for each in ask(yahoo.Chart(), "AAPL", simulator.yahoo, 3, hand).all][2] == 429
        hand.forward(800)
        assert ask(yahoo.Chart(), "AAPL", simulator.yahoo, 1, hand).all[0].status == 429
        hand.forward(901)
        assert ask(yahoo.Chart(), "AAPL", simulator.yahoo, 1, hand).all[0].status != 429


def test_a_window_rolls_and_a_day_begins_where_the_provider_is(hand: Hand) -> None:
    limits = Limits(hand)
    caller = Caller("polygon", "k")
    assert [limits.count(caller) is None for _ in range(6)] == [True] * 5 + [False]
    hand.forward(60)
    assert limits.count(caller) is None
    assert limits.used(caller, LIMITS["polygon"][0]) == 1
    assert limits.exceeded() == ["polygon: 6 in 60 s, allowed are 5"]
    assert Limits(hand, is_enforced=False).count(Caller("yahoo", "a")) is None


@pytest.mark.parametrize(
    ("path", "query", "headers", "expected"),
    [
        ("/v8/finance/chart/AAPL", {}, {}, Caller("yahoo", "address")),
        ("/query", {"apikey": "k"}, {}, Caller("alpha_vantage", "k")),
        ("/api/v1/quote", {"token": "k"}, {}, Caller("finnhub", "k")),
        ("/v2/stocks/bars", {}, {"apca-api-key-id": "k"}, Caller("alpaca", "k")),
        ("/v2/aggs/ticker/AAPL/range/1/day/1/2", {}, {"authorization": "Bearer k"}, Caller("polygon", "Bearer k")),
        ("/tiingo/daily/AAPL/prices", {"token": "k"}, {}, Caller("tiingo", "k")),
        ("/api/v3/depth", {"limit": "1000"}, {}, Caller("binance", "address", 50)),
        ("/fapi/v1/aggTrades", {}, {}, Caller("binance", "address", 20)),
        ("/v0/timeseries.get_range", {}, {"authorization": "Basic k"}, Caller("databento", "Basic k")),
        ("/favicon.ico", {}, {}, None),
    ],
)
def test_callers_are_told_by_path_and_key(path, query, headers, expected):
    assert caller_of(path, query, headers) == expected


@pytest.mark.parametrize(
    ("provider", "kind", "symbol", "most"), [("polygon", "bars", "AAPL", 5), ("tiingo", "bars", "GOOGL", 50)]
)
def test_polygon_and_tiingo_refuse_in_their_own_words(provider: str, kind: str, symbol: str, most: int, hand: Hand) -> None:
    offer = next(each for each in OFFERS if (each.provider, each.kind) == (provider, kind) and "1d" in each.intervals)
    with Simulator(limits=(limits := Limits(hand)), markets=(), streams=()) as simulator:
        address = simulated(simulator.addresses(), simulator.keys).asked(provider, offer.feed)
        calls = ask(offer.pages(), symbol, address, most + 1, hand)
    assert {each.status for each in calls.all[:-1]} == {200}
    assert calls.all[-1].reading.verdict in (Verdict.THROTTLED, Verdict.QUOTA_EXHAUSTED)
    assert limits.report()[0]["over"] == 1
