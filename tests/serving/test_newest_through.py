"""The newest quotes and trades read through: of every provider that has them, within quotas, each failover with its reason."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import pytest

from ingest.asks import Ask
from ingest.capture import capture_pages
from ingest.landing import land
from ingest.offers import Offer
from ingest.permits import Permits
from ingest.plans import Plan, Window
from ingest.providers.binance_rest import NewestTrade
from ingest.providers.registry import OFFERS
from ingest.quotas import Quotas
from ingest.routing import Preferences
from ingest.simulator import HttpFault, Simulator
from lake.catalog import Lake
from lake.errors import ProviderUnavailableError
from lake.instants import to_ns
from lake.log.segments import SegmentLog
from lake.scan import Where, read
from lake.settings import load_settings
from quality_checks.promotion import promote
from serving.read_through import Wanted, kinds_of
from tests.ingest.standing_state import Clock
from tests.serving.market_lake import served
from tests.serving.test_read_through import OPEN, World

FEEDS = ("iex", "market", "quote", "crypto", "chart")
ORDER = {"alpaca": 1, "polygon": 2, "yahoo": 3, "tiingo": 4, "finnhub": 5}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    clock, home = Clock(), tmp_path_factory.mktemp("newest") / "home"
    clock.now_ns = to_ns(OPEN)
    with Lake.create(load_settings(home=home), clock) as lake, SegmentLog(home / "log", clock, min_free_bytes=1 << 20) as log:
        yield World(lake, log, clock)


def preferences() -> Preferences:
    return Preferences(priority=ORDER)


@pytest.mark.parametrize(
    ("kind", "symbol", "down", "answers", "failed"),
    [
        ("quotes", "AAPL", (), "alpaca", []),
        ("quotes", "AAPL", ("/v2/stocks",), "polygon", ["alpaca"]),
        ("quotes", "AAPL", ("/v2/stocks", "/v2/last/nbbo"), "yahoo", ["alpaca", "polygon"]),
        ("trades", "AAPL", (), "alpaca", []),
        ("trades", "AAPL", ("/v2/stocks",), "polygon", ["alpaca"]),
        ("quotes", "BTC/USD", (), "alpaca", []),
    ],
)
def test_the_newest_comes_from_whoever_has_it(
    world: World, kind: str, symbol: str, down: tuple[str, ...], answers: str, failed: list[str]
) -> None:
    world.clock.move(100)
    faults = [HttpFault("status", path, 502, times=9) for path in down]
    with world.through(faults, providers=tuple(ORDER), feeds=FEEDS, preferences=preferences) as through:
        fetched = through.fetch(Wanted(kind, symbol))
    told = fetched.metadata()
    assert (told["provider"], told["source"], told["status"]) == (answers, "real_time", "provisional")
    assert fetched.rows.num_rows == 1
    failovers = fetched.asked.failovers
    assert [one.offer.provider for one in failovers] == failed
    assert all(one.verdict.value == "UPSTREAM_5XX" and "502" in one.detail for one in failovers)


def test_binance_tells_the_newest_of_a_pair_that_the_lake_knows(world: World) -> None:
    with Simulator(markets=("spot",), streams=(), excerpt=600) as sim:
        day = Ask("BTCUSDT", "1d", datetime(2024, 8, 8, tzinfo=UTC), datetime(2024, 8, 9, tzinfo=UTC))
        capture_pages(world.lake, world.log, NewestTrade("spot"), [day], sim.binance("spot"), provider="binance", feed="spot")
    land(world.lake, world.log)
    promote(world.lake, "binance")
    (known,) = read(world.lake, "normalized.trades", where=[Where("provider", "=", "binance")]).to_pylist()
    faults = [HttpFault("status", "/ticker/bookTicker", 418, times=9)]
    with world.through(providers=("binance", "alpaca"), feeds=("spot", "crypto"), markets=("spot",)) as through:
        quote, trade = (through.fetch(Wanted(kind, "BTCUSDT")) for kind in ("quotes", "trades"))
    assert [each.metadata()["provider"] for each in (quote, trade)] == ["binance", "binance"]
    (row,) = quote.rows.to_pylist()
    assert (row["symbol"], row["ts_event"], row["sequence"], row["bid_price"] < row["ask_price"]) == ("BTCUSDT", None, None, True)
    assert trade.rows["trade_id"].to_pylist() == [known["trade_id"]]
    with (
        world.through(faults, providers=("binance",), feeds=("spot",), markets=("spot",)) as through,
        pytest.raises(ProviderUnavailableError, match="binance: THROTTLED banned"),
    ):
        through.fetch(Wanted("quotes", "BTCUSDT"))


def test_quotas_hold_and_a_spent_one_is_the_reason_why_the_next_is_asked(world: World) -> None:
    world.clock.move(100)
    plans = {name: Plan("one", (Window(1, 3_600.0),), live_share=0.0) for name in ("alpaca", "polygon")}
    with Quotas(world.lake.state, plans, world.clock) as quotas:

        def permits(offer: Offer) -> Permits:
            return quotas.permits(offer.provider, "k", "live")

        with world.through(permits=permits, providers=tuple(plans), feeds=FEEDS, preferences=preferences) as through:
            asked = [through.fetch(Wanted("quotes", "AAPL"), max_age_s=-1.0).asked for _ in range(2)]
            assert [one.answered and one.answered.provider for one in asked] == ["alpaca", "polygon"]
            (failover,) = asked[1].failovers
            assert (failover.verdict.value, "1 of 1 a 3600 s are spent" in failover.detail) == ("NOT_ASKED", True)
            with pytest.raises(ProviderUnavailableError, match="polygon: NOT_ASKED quota: 1 of 1"):
                through.fetch(Wanted("quotes", "AAPL"), max_age_s=-1.0)


def test_a_bar_of_today_may_come_from_a_quote_and_says_so_over_http(world: World) -> None:
    world.clock.move(100)
    with (
        world.through(providers=("finnhub",), feeds=FEEDS, preferences=preferences) as through,
        served(world.lake, through) as client,
    ):
        answer = client.get("/api/v1/bars/AAPL", params={"interval": "1d"})
        assert answer.status_code == 200, answer.text
        told = answer.json()["metadata"]
        assert (told["source"], told["provider"], answer.json()["row_count"]) == ("real_time", "finnhub", 1)


@pytest.mark.parametrize(
    ("wanted", "kinds"),
    [
        (Wanted("quotes", "AAPL"), ("latest_quotes", "snapshots", "quotes")),
        (Wanted("trades", "AAPL"), ("latest_trades", "trades")),
        (Wanted("trades", "AAPL", start=datetime(2032, 3, 1, tzinfo=UTC)), ("trades",)),
        (Wanted("bars", "AAPL", "1d"), ("bars", "quotes")),
        (Wanted("bars", "AAPL", "1m"), ("bars",)),
    ],
)
def test_a_window_is_asked_for_what_it_holds(wanted: Wanted, kinds: tuple[str, ...]) -> None:
    assert kinds_of(wanted) == kinds
    known: Callable[[str], bool] = {offer.kind for offer in OFFERS}.__contains__
    assert all(known(kind) for kind in kinds)
