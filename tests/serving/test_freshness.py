"""Feeds whose data stopped while their market is open: told by the verb, metrics, one alert and routing, until data comes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from ingest.asks import Ask
from ingest.breaker import Breakers
from ingest.capture import capture_pages, capture_stream
from ingest.configured import Configured
from ingest.health import Health
from ingest.providers.binance import MarketSession, default_streams
from ingest.providers.finnhub import TradeStream
from ingest.providers.registry import OFFERS
from ingest.providers.yahoo import Chart
from ingest.routing import Preferences, Router
from ingest.simulator import Simulator
from ingest.tallies import ASKED, DATA_NS, LISTENED, Tally
from lake import tallies
from lake.catalog import Lake
from lake.instants import to_datetime, to_ns
from lake.log.segments import SegmentLog
from lake.tallies import Key
from lake.values import Message
from serving.cli.app import run
from serving.operate.configured import open_configured
from serving.operate.freshness import Freshness, judged, look, stale_feeds
from serving.operate.scheduled import KIND
from tests.ingest.conftest import FAST
from tests.ingest.standing_state import Clock
from tests.serving import configured_lake
from tests.serving.market_lake import served

OPEN = datetime(2032, 3, 10, 16, tzinfo=UTC)
"""A Wednesday while New York is open."""
CONFIGURED = """
[thresholds]
stale_after_s = 90
[universes.large]
symbols = ["AAPL"]
[schedules.daily]
provider = "yahoo"
universe = "large"
every_s = 600
when = "open"
calendar = "XNYS"
"""


@pytest.fixture(scope="module")
def clock() -> Clock:
    return Clock()


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory, clock: Clock) -> Iterator[Lake]:
    clock.now_ns = to_ns(OPEN)
    with configured_lake.made(tmp_path_factory.mktemp("freshness") / "home", CONFIGURED, clock) as lake:
        yield lake


@pytest.fixture
def configured(lake: Lake, clock: Clock) -> Configured:
    """The configuration of an open lake, in which nobody listens and nothing was heard."""
    clock.now_ns = to_ns(OPEN)
    with lake.state.writing() as connection:
        for table in ("tallies", "documents"):
            connection.exec_driver_sql(f"DELETE FROM {table}")
    for job in lake.state.jobs("stream:"):
        lake.state.save_job(job, {"capture_id": "x", "ended": "stopped"})
    return open_configured(lake)


def listens(lake: Lake, provider: str, feed: str, begun: float = 0.0) -> None:
    """Stand for a capture that is under way since so many seconds."""
    begun_ns = lake.clock() - int(begun * 1e9)
    job = {"capture_id": "c", "ended": None, "provider": provider, "feed": feed, "begun_ns": begun_ns}
    lake.state.save_job(f"stream:{provider}-{feed}-socket1of2", job)


def heard(lake: Lake, provider: str, feed: str, way: str = LISTENED) -> None:
    """Stand for data that came now."""
    tallies.add(lake.state, {}, {Key(DATA_NS, provider, feed, way): lake.clock()})


def stands(lake: Lake, configured: Configured) -> dict[str, Freshness]:
    return {one.subject: one.freshness for one in judged(lake.state, configured.in_force(), lake.clock())}


def test_a_silent_stream_is_stale_after_as_long_as_is_configured_and_fresh_with_its_next_data(
    lake: Lake, clock: Clock, configured: Configured
) -> None:
    listens(lake, "binance", "spot")
    assert stands(lake, configured) == {"binance/spot/listened": Freshness.QUIET}
    clock.move(91)
    assert stands(lake, configured) == {"binance/spot/listened": Freshness.STALE}
    heard(lake, "binance", "spot")
    assert stands(lake, configured) == {"binance/spot/listened": Freshness.FRESH}
    clock.move(89)
    assert stands(lake, configured) == {"binance/spot/listened": Freshness.FRESH}
    clock.move(2)
    (one,) = judged(lake.state, configured.in_force(), lake.clock())
    assert (one.freshness, one.words()) == (
        Freshness.STALE, "no data for 91 s, where 90 s are allowed while its market is open",
    )  # fmt: skip
    assert stale_feeds(lake.state, configured.in_force(), lake.clock()) == {("binance", "spot")}


MARKETS = {
    "alpaca/iex": (22, 48), "finnhub/trades": (22, 48), "polygon/market": (22, 48),  # the exchange's hours
    "tiingo/fx": (48,), "yahoo/stream": (22, 48),
    "binance/spot": (), "binance/usdm": (), "alpaca/crypto": (), "tiingo/crypto": (),
}  # fmt: skip
"""Feeds -> the hours from a Wednesday's midnight UTC at which they may be silent: its evening, and (days on) the weekend."""


def test_the_hours_of_a_feed_are_those_of_what_it_is_about(lake: Lake, clock: Clock, configured: Configured) -> None:
    clock.now_ns = to_ns(datetime(2032, 3, 10, 16, tzinfo=UTC))
    for subject in MARKETS:
        listens(lake, *subject.split("/"), 40 * 3_600.0)
    assert set(stands(lake, configured).values()) == {Freshness.STALE}  # a Wednesday at noon: all are open
    for hour, when in ((22, datetime(2032, 3, 10, 22, tzinfo=UTC)), (48, datetime(2032, 3, 13, 16, tzinfo=UTC))):
        clock.now_ns = to_ns(when)
        quiet = {subject for subject, stands_so in stands(lake, configured).items() if stands_so is Freshness.QUIET}
        assert quiet == {f"{subject}/listened" for subject, hours in MARKETS.items() if hour in hours}


def test_nobody_is_late_before_the_market_has_been_open_for_as_long_as_is_allowed(
    lake: Lake, clock: Clock, configured: Configured
) -> None:
    listens(lake, "alpaca", "iex", 40 * 3_600.0)
    clock.now_ns = to_ns(datetime(2032, 3, 11, 14, 31, tzinfo=UTC))  # a minute after the opening
    assert stands(lake, configured) == {"alpaca/iex/listened": Freshness.QUIET}
    clock.move(31)
    assert stands(lake, configured) == {"alpaca/iex/listened": Freshness.STALE}


def test_a_poll_may_be_silent_for_its_pause_and_that_long_more(lake: Lake, clock: Clock, configured: Configured) -> None:
    assert stands(lake, configured) == {}
    lake.state.save_document(KIND, "daily", {"begun_ns": clock.now_ns, "since_ns": clock.now_ns, "ended": "x"})
    heard(lake, "yahoo", "chart", ASKED)
    clock.move(689)
    lake.state.save_document(KIND, "daily", {"begun_ns": clock.now_ns, "since_ns": to_ns(OPEN), "ended": "x"})
    assert stands(lake, configured) == {"yahoo/chart/asked": Freshness.FRESH}
    clock.move(2)
    assert stands(lake, configured) == {"yahoo/chart/asked": Freshness.STALE}
    clock.now_ns = to_ns(datetime(2032, 3, 10, 23, tzinfo=UTC))
    assert stands(lake, configured) == {"yahoo/chart/asked": Freshness.QUIET}


def test_one_alert_stands_from_the_silence_to_the_next_data(lake: Lake, clock: Clock, configured: Configured) -> None:
    health = Health(lake.state, clock)
    listens(lake, "alpaca", "iex", 100.0)
    for _ in range(3):
        look(lake, configured, health)
        clock.move(70)
    (alert,) = health.alerts.listed()
    assert (alert.name, alert.count, alert.is_open) == ("feed_stale/alpaca/iex/listened", 1, True)
    clock.now_ns = to_ns(datetime(2032, 3, 10, 22, tzinfo=UTC))
    look(lake, configured, health)
    assert health.alerts.is_open("feed_stale", "alpaca/iex/listened")  # its market closed: it still has not spoken
    heard(lake, "alpaca", "iex")
    look(lake, configured, health)
    (alert,) = health.alerts.listed(only_open=False)
    assert (alert.is_open, alert.reason) == (False, "data comes again")
    clock.now_ns = to_ns(datetime(2032, 3, 11, 16, tzinfo=UTC))
    look(lake, configured, health)
    lake.state.save_job("stream:alpaca-iex-socket1of2", {"capture_id": "c", "ended": "stopped"})
    look(lake, configured, health)
    assert [one.reason for one in health.alerts.listed(only_open=False)] == ["nobody listens to it or asks for it any more"]


def test_a_stale_feed_is_asked_after_the_others(lake: Lake, clock: Clock, configured: Configured) -> None:
    listens(lake, "alpaca", "iex", 100.0)
    stale = stale_feeds(lake.state, configured.in_force(), clock())
    offers = [one for one in OFFERS if one.provider in ("alpaca", "yahoo") and one.feed in ("iex", "chart")]
    preferences = Preferences(priority={"alpaca": 1}, stale=stale)
    router = Router(offers, Breakers(lake.state, clock), clock, lambda: preferences)
    chosen = router.choose("bars", "equity", Ask("AAPL", "1d", to_datetime(clock() - 10**15), OPEN))
    assert [one.offer.provider for one in chosen] == ["yahoo", "alpaca"]
    assert "iex is stale" in chosen[-1].reasons and not chosen[-1].refused


def test_it_is_told_by_the_verb_and_by_metrics(
    lake: Lake, clock: Clock, configured: Configured, capsys: pytest.CaptureFixture[str]
) -> None:
    listens(lake, "binance", "spot", 100.0)
    heard(lake, "binance", "usdm")
    listens(lake, "binance", "usdm", 100.0)
    with served(lake) as client:
        (binance,) = [each for each in client.get("/api/v1/providers").json()["providers"] if each["provider"] == "binance"]
        metrics = client.get("/metrics").text
    found = {each["feed"]: each for each in binance["sessions"]}
    assert [found[feed]["is_stale"] for feed in ("spot", "usdm")] == [True, False]
    assert found["spot"]["stale"] == ["listened: no data yet, where 90 s are allowed while its market is open"]
    assert 'tickhouse_provider_stale{feed="spot",provider="binance"} 1.0' in metrics
    assert 'tickhouse_provider_stale{feed="usdm",provider="binance"} 0.0' in metrics
    assert run(["providers", "binance", "--home", str(lake.settings.home)]) == 0  # by the machine's clock: long before
    assert "spot" in capsys.readouterr().out
    assert run(["providers", "binance", "--home", str(lake.settings.home), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)["providers"][0]["sessions"]
    assert {each["feed"] for each in told} == {"spot", "usdm"}


def test_data_counts_and_pings_do_not(lake: Lake, clock: Clock, configured: Configured) -> None:
    session, tally = TradeStream(["AAPL"]), Tally(lake.state, clock, "finnhub", "trades", way=LISTENED)
    session.connected(clock())

    def receives(payload: bytes) -> int:
        clock.move(10)
        messages: list[Message] = session.receive(payload, clock())
        tally.heard(messages)
        tally.told(session.events())
        tally.flush()
        return tallies.read(lake.state).get(Key(DATA_NS, "finnhub", "trades", LISTENED), 0)

    assert receives(b'{"type":"ping"}') == 0
    trade = b'{"type":"trade","data":[{"s":"AAPL","p":1.5,"t":1960000000000,"v":1,"c":[]}]}'
    told_ns = receives(trade)
    assert told_ns == clock()
    assert receives(b'{"type":"ping"}') == told_ns


def test_captures_tell_when_data_came(lake: Lake, clock: Clock, configured: Configured) -> None:
    log_path = lake.settings.home / "log"
    with SegmentLog(log_path, clock, min_free_bytes=1) as log, Simulator(excerpt=50) as sim:
        capture_pages(lake, log, Chart(), sim.yahoo_asks()[:1], sim.yahoo, provider="yahoo", feed="chart", backoff=FAST)
        session = MarketSession(default_streams("spot", "BTCUSDT"), "spot")
        capture_stream(lake, log, session, sim.binance("spot"), provider="binance", feed="spot", backoff=FAST)
    counted = tallies.read(lake.state)
    assert counted[Key(DATA_NS, "yahoo", "chart", ASKED)] == clock()
    assert (
        0 <= counted[Key(DATA_NS, "binance", "spot", LISTENED)] - clock() < 1_000_000
    )  # frames of one read: a microsecond apart
    assert lake.state.job("stream:binance-spot") is not None
