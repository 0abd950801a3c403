"""Reading through, over real HTTP on both sides: what the lake misses comes from a provider, once, marked, bounded, kept."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import httpx
import pytest

from ingest.breaker import Breakers
from ingest.health import Health
from ingest.landing import land
from ingest.offers import Offer
from ingest.permits import FREE, Leave, Permits
from ingest.providers.binance import Market
from ingest.providers.registry import OFFERS
from ingest.reach import simulated
from ingest.routing import Asking, Preferences, Router
from ingest.simulator import Faults, HttpFault, Simulator
from lake.catalog import Lake
from lake.errors import BusyError, NotFoundError, ProviderUnavailableError
from lake.instants import to_ns
from lake.log.segments import SegmentLog
from lake.settings import load_settings
from quality_checks.adjusting import adjust
from quality_checks.promotion import promote
from serving.read_through import Policy, ReadThrough, Wanted
from tests.ingest.conftest import history_of, messages_of
from tests.ingest.standing_state import Clock
from tests.serving.market_lake import served

OPEN = datetime(2032, 3, 10, 16, tzinfo=UTC)
"""A Wednesday while New York is open, later than the machine's own clock, by which commits are stamped."""
TSLA = {"start": "2021-06-01", "end": "2021-07-01"}
ON = Policy(is_on=True, timeout_s=30.0)


@dataclass
class World:
    """A lake, a log and a clock, and providers that a simulator plays.

    first   the answer about TSLA that was read through before anything of it was published; now it is
    """

    lake: Lake
    log: SegmentLog
    clock: Clock
    first: httpx.Response | None = None

    @contextmanager
    def through(
        self,
        faults: Sequence[HttpFault] = (),
        policy: Policy = ON,
        permits: Permits | Callable[[Offer], Permits] = FREE,
        providers: Sequence[str] = ("yahoo", "alpaca"),
        at_once: int = 8,
        feeds: Sequence[str] = ("chart", "iex"),
        preferences: Callable[[], Preferences] = lambda: Preferences(priority={"yahoo": 1}),
        markets: Sequence[Market] = (),
    ) -> Iterator[ReadThrough]:
        """Give a way through to some providers."""
        health = Health(self.lake.state, self.clock, self.log)
        offers = [one for one in OFFERS if one.provider in providers and one.feed in feeds]
        leave = permits if callable(permits) else lambda one: permits
        with Simulator(Faults(tuple(faults)), markets=markets, streams=(), excerpt=600) as sim:
            reach = simulated(sim.addresses(), sim.keys)
            asking = Asking(
                self.lake, self.log, health, lambda one: reach.asked(one.provider, one.feed), leave,
                sleep=self.clock.move, rng=random.Random(1),
            )  # fmt: skip
            breakers = Breakers(self.lake.state, self.clock)
            router = Router(offers, breakers, self.clock, preferences)
            yield (made := ReadThrough(self.lake, router, asking, lambda: policy, at_once=at_once))
            made.close()

    def calls(self) -> int:
        """Return how many calls were made so far."""
        return len(history_of(self.log, "ops.provider_calls"))


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    clock, home = Clock(), tmp_path_factory.mktemp("through") / "home"
    clock.now_ns = to_ns(OPEN)
    with Lake.create(load_settings(home=home), clock) as lake, SegmentLog(home / "log", clock, min_free_bytes=1 << 20) as log:
        made = World(lake, log, clock)
        with made.through() as through, served(lake, through) as client:
            made.first = client.get("/api/v1/bars/TSLA", params=TSLA)
            again = client.get("/api/v1/bars/TSLA", params=TSLA)
        assert (made.calls(), again.json()["columns"]) == (1, made.first.json()["columns"])
        land(lake, log)
        promote(lake, "yahoo")
        adjust(lake)
        yield made


@pytest.fixture
def asked(world: World) -> Callable[[], int]:
    """Count the calls of a test alone."""
    before = world.calls()
    return lambda: world.calls() - before


def columns(response: httpx.Response) -> dict[str, list[object]]:
    assert response.status_code == 200, response.text
    found: dict[str, list[object]] = response.json()["columns"]
    return found


def test_what_is_missing_comes_from_a_provider_and_the_lake_says_the_same_later(world: World) -> None:
    assert world.first is not None
    told = world.first.json()["metadata"]
    assert (told["source"], told["status"], told["provider"]) == ("real_time", "provisional", "yahoo")
    assert world.first.headers["Tickhouse-Source"] == "real_time"
    assert (told["is_market_open"], told["instrument"]["identity"]) == (True, "listing:US/TSLA")
    real_time = columns(world.first)
    assert len(real_time["close"]) == 22  # sessions of June 2021
    before = world.calls()
    with world.through() as through, served(world.lake, through) as client:
        second = client.get("/api/v1/bars/TSLA", params=TSLA)
    assert second.json()["metadata"]["source"] == "lake"
    assert world.calls() == before
    in_lake, names = columns(second), ("session_date", "open", "close", "volume")
    assert [in_lake[name] for name in names] == [real_time[name] for name in names]


def test_all_who_miss_the_same_at_once_make_one_call(world: World, asked: Callable[[], int]) -> None:
    slow = HttpFault("slow", "/v8/", delay_s=0.5)
    with world.through([slow]) as through, served(world.lake, through) as client, ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: client.get("/api/v1/bars/MSFT", params={"start": "2021-06-01"}), range(8)))
    assert {one.status_code for one in answers} == {200}
    assert len({str(one.json()["columns"]["close"]) for one in answers}) == 1
    assert asked() == 1


def test_quotes_too_old_are_read_through_and_trades_of_a_range(world: World) -> None:
    with world.through() as through, served(world.lake, through) as client:
        quotes = client.get("/api/v1/quotes/AAPL", params={"max_age": 60})
        assert columns(quotes)["symbol"] == ["AAPL"]
        assert quotes.json()["metadata"]["provider"] == "alpaca"
        trades = client.get("/api/v1/trades/AAPL", params={"start": "2022-03-09T00:00:00Z", "end": "2022-03-09T16:00:00Z"})
        assert len(columns(trades)["price"]) > 0
        assert set(columns(trades)["provider"]) == {"alpaca"}


def test_the_next_provider_answers_and_the_answer_says_why(world: World) -> None:
    with world.through([HttpFault("status", "/v8/", 502, times=9)]) as through, served(world.lake, through) as client:
        response = client.get("/api/v1/bars/AAPL", params={"start": "2022-03-09", "end": "2022-03-12"})
    told = response.json()["metadata"]
    assert (told["source"], told["provider"]) == ("real_time", "alpaca")
    assert [(one["provider"], one["verdict"], one["next"]) for one in told["failovers"]] == [("yahoo", "UPSTREAM_5XX", "alpaca")]


def test_when_nobody_answers_the_error_says_what_is_missing_and_the_last_known_says_its_age(world: World) -> None:
    world.clock.move(7_200)
    with world.through([HttpFault("status", "", 503, times=99)]) as through, served(world.lake, through) as client:
        missing = client.get("/api/v1/bars/NVDA", params={"start": "2021-06-01"})
        assert missing.status_code == 503
        assert "Retry-After" in missing.headers
        words = missing.json()["detail"]
        assert "no instrument has the symbol 'NVDA'" in words
        assert "yahoo: UPSTREAM_5XX" in words
        assert "alpaca: UPSTREAM_5XX" in words
        asked = TSLA | {"max_age": 60}
        assert client.get("/api/v1/bars/TSLA", params=asked).status_code == 503
        stale = client.get("/api/v1/bars/TSLA", params=asked | {"last_known": "true"})
        told = stale.json()["metadata"]
        assert (len(columns(stale)["close"]), told["is_stale"], told["source"]) == (22, True, "lake")
        assert told["age_s"] > 7_000
        assert "UPSTREAM_5XX" in told["stale_because"]


class Refusing:
    """Gives no leave: a quota that is used up."""

    def before(self, request: object) -> Leave:
        return Leave(3_600.0, "quota: 25 of 25 a day are used")

    def after(self, request: object, call: object) -> None:
        raise AssertionError("it gave no leave to call")

    def unspent(self, request: object) -> None:
        raise AssertionError("it gave no leave to take back")


def test_quotas_hold_for_it_too(world: World, asked: Callable[[], int]) -> None:
    with world.through(permits=Refusing()) as through, pytest.raises(ProviderUnavailableError, match="25 of 25 a day"):
        through.fetch(Wanted("bars", "PM", "1d"))
    assert asked() == 0


def test_a_slow_provider_is_not_waited_for_and_its_answer_is_kept_all_the_same(world: World) -> None:
    before = len(messages_of(world.log))
    slow = HttpFault("slow", "/v8/", delay_s=1.5)
    policy = replace(ON, timeout_s=0.2)
    with world.through([slow], policy, at_once=1, providers=("yahoo",)) as through:
        with pytest.raises(ProviderUnavailableError, match=r"within 0\.2 s"):
            through.fetch(Wanted("bars", "PM", "1d", datetime(2021, 6, 1, tzinfo=UTC)))
        with pytest.raises(BusyError):
            through.fetch(Wanted("bars", "IXIC", "1d"))
    assert len(messages_of(world.log)) - before <= 1  # the socket's own patience may have ended first


@pytest.mark.parametrize(
    ("now", "is_open", "expires"),
    [
        ("2032-03-10T16:00:00", True, "2032-03-10T16:00:15"),
        ("2032-03-10T22:00:00", False, "2032-03-10T23:00:00"),  # an hour at most
        ("2032-03-11T14:10:00", False, "2032-03-11T14:30:00"),  # the opening ends it
    ],
)
def test_an_answer_lives_as_long_as_its_market_stands_as_it_does(world: World, now: str, is_open: bool, expires: str) -> None:
    world.clock.now_ns = to_ns(datetime.fromisoformat(now).replace(tzinfo=UTC))
    wanted = Wanted("bars", "AAPL", "1d", datetime(2022, 3, 9, tzinfo=UTC), datetime(2022, 3, 12, tzinfo=UTC), "alpaca")
    with world.through() as through:
        before = world.calls()
        fetched = through.fetch(wanted)
        assert (fetched.hours.is_open, fetched.expires_at) == (is_open, datetime.fromisoformat(expires).replace(tzinfo=UTC))
        world.clock.move(5)
        assert through.fetch(wanted) is fetched
        assert through.fetch(wanted, max_age_s=1.0) is not fetched
        world.clock.now_ns = to_ns(fetched.expires_at) + 5_000_000_000
        assert through.fetch(wanted) is not fetched
        assert world.calls() - before == 3


def test_nothing_is_asked_where_nothing_may_be(world: World, asked: Callable[[], int]) -> None:
    off = replace(ON, is_on=False)
    with world.through(policy=off) as through, served(world.lake, through) as client:
        assert client.get("/api/v1/bars/GME").status_code == 404
        refused = client.get("/api/v1/bars/GME", params={"read_through": "true", "as_of": "2022-01-01"})
        assert (refused.status_code, asked()) == (422, 0)
        assert client.get("/api/v1/bars/^GSPC", params={"read_through": "true", "start": "2022-01-03"}).status_code == 200
        assert asked() == 1
    with served(world.lake) as client:
        assert client.get("/api/v1/bars/GME", params={"read_through": "true"}).status_code == 422
    with world.through() as through, served(world.lake, through) as client:
        assert client.get("/api/v1/bars/GME", params={"read_through": "false"}).status_code == 404
        unknown = client.get("/api/v1/bars/NOSUCH")
        assert unknown.status_code in (404, 503)
        with pytest.raises(NotFoundError, match="no provider that may be asked"):
            through.fetch(Wanted("bars", "GME", "7m"))
