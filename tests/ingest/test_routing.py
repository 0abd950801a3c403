"""Who is asked first and why; failover after the right verdicts only, each with its reason; nobody left is an alert."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from ingest.asks import Ask, Pages, Response
from ingest.breaker import Breakers
from ingest.health import Health
from ingest.offers import Offer
from ingest.permits import Permits, Together
from ingest.providers.registry import OFFERS
from ingest.providers.yahoo import Chart
from ingest.reach import simulated
from ingest.routing import FINAL, Asked, Asking, Preferences, Router, ask_with_failover
from ingest.simulator import Faults, HttpFault, Simulator
from ingest.transport.backoff import Backoff
from ingest.verdicts import RETRYABLE, Verdict
from lake.catalog import Lake
from lake.instants import system_clock
from lake.log.segments import SegmentLog
from lake.settings import load_settings
from tests.ingest.conftest import Waits, history_of, messages_of
from tests.ingest.standing_state import call

SPRING = Ask("TSLA", "1d", datetime(2022, 1, 3, tzinfo=UTC), datetime(2022, 6, 1, tzinfo=UTC))
TWO = tuple(one for one in OFFERS if (one.provider, one.feed) in {("yahoo", "chart"), ("alpaca", "iex")} and one.kind == "bars")
YAHOO_FIRST = Preferences(priority={"yahoo": 1})
ONCE = Backoff(attempts=1)


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lake]:
    """One lake; each test has providers' standings and a log of its own."""
    with Lake.create(load_settings(home=tmp_path_factory.mktemp("routing") / "home"), system_clock) as lake:
        yield lake


@pytest.fixture
def fresh(lake: Lake) -> Lake:
    for kind in ("breaker", "provider_standing", "alert"):
        for key in lake.state.documents(kind):
            lake.state.change_document(kind, key, lambda _: None)
    return lake


class Told:
    """A provider that answers as told whatever is asked (`Pages`): its requests go to the simulator all the same."""

    def __init__(self, verdict: Verdict) -> None:
        self._verdict = verdict

    def first(self, ask: Ask) -> object:
        return Chart().first(ask)

    def read(self, response: Response) -> object:
        page = Chart().read(response)
        return replace(page, reading=replace(page.reading, verdict=self._verdict, detail="as told"))


def offer(provider: str, verdict: Verdict) -> Offer:
    def pages() -> Pages:
        told: Pages = Told(verdict)  # type: ignore[assignment]  # the same two methods, less narrowly told
        return told

    return Offer(provider, "chart", "bars", "normalized.bars", "chart", pages, frozenset({"equity"}), ("1d",))


def asking_of(
    lake: Lake, log: SegmentLog, sim: Simulator, permits: Callable[[Offer], Permits] = lambda offer: Together(())
) -> Asking:
    reach = simulated(sim.addresses(), sim.keys)
    health = Health(lake.state, lake.clock, log)
    known = {"a": "yahoo", "b": "yahoo", "c": "yahoo"}
    return Asking(
        lake, log, health, lambda one: reach.asked(known.get(one.provider, one.provider), one.feed), permits,
        sleep=Waits(), rng=random.Random(1), backoff=ONCE,
    )  # fmt: skip


def order(router: Router, ask: Ask = SPRING) -> list[str]:
    return [choice.offer.provider for choice in router.choose("bars", "equity", ask)]


def preferring(**more: Mapping[str, float]) -> Callable[[], Preferences]:
    return lambda: Preferences(**more)  # type: ignore[arg-type]  # floats stand for the numbers of each field


def test_the_order_is_by_leave_priority_cost_quality_and_load(fresh: Lake) -> None:
    breakers = Breakers(fresh.state, fresh.clock)
    three = [offer(name, Verdict.OK) for name in "abc"]

    def router(**more: Mapping[str, float]) -> Router:
        return Router(three, breakers, fresh.clock, preferring(**more))

    assert order(router()) == ["a", "b", "c"]
    assert order(router(priority={"c": 1, "b": 2})) == ["c", "b", "a"]
    assert order(router(cost_usd={"a": 0.01})) == ["b", "c", "a"]
    assert order(router(priority={"a": 1}, cost_usd={"a": 0.01})) == ["a", "b", "c"]
    assert order(router(quality={"a": 0.7, "b": 0.9})) == ["c", "b", "a"]
    assert order(router(left={"a": 0.05})) == ["b", "c", "a"]
    assert order(router(left={"a": 0.0}, priority={"a": 1})) == ["b", "c", "a"]
    for _ in range(5):
        breakers.answered("a", "chart", call(Verdict.NO_ANSWER, detail="refused"), "me")
    breakers.answered("b", "chart", call(Verdict.OK, 3.0), "me")
    found = router(priority={"a": 1}).choose("bars", "equity", SPRING)
    assert [choice.offer.provider for choice in found] == ["c", "b", "a"]
    assert found[-1].refused.startswith("breaker open after NO_ANSWER")
    assert {"breaker closed", "answers in 3.00 s"} <= set(found[1].reasons)


def test_only_offers_that_can_answer_are_chosen(fresh: Lake) -> None:
    router = Router(OFFERS, Breakers(fresh.state, fresh.clock), fresh.clock)
    assert {"yahoo", "alpaca", "alpha_vantage"} <= set(order(router))
    assert order(router, replace(SPRING, interval="7m")) == []
    assert [choice.offer.kind for choice in router.choose("quotes", "equity", SPRING, "normalized.trades")] == []
    assert "yahoo" not in order(router, replace(SPRING, interval="5m"))  # older than the sixty days it keeps


@pytest.mark.parametrize("verdict", list(Verdict))
def test_a_failover_follows_every_verdict_but_two_and_says_why(fresh: Lake, log: SegmentLog, verdict: Verdict) -> None:
    router = Router([offer("a", verdict), offer("b", Verdict.OK)], Breakers(fresh.state, fresh.clock), fresh.clock)
    with Simulator(markets=(), streams=()) as sim:
        asked = ask_with_failover(asking_of(fresh, log, sim), router.choose("bars", "equity", SPRING), SPRING)
    events = [row for row in history_of(log, "ops.health_events") if row["kind"] == "failover"]
    if verdict in FINAL:
        assert (asked.failovers, events) == ([], [])
        assert len(asked.reports) == 1
        assert (asked.answered is None) is (verdict is Verdict.BAD_REQUEST)
    else:
        assert asked.answered is not None
        assert asked.answered.provider == "b"
        ((one, event),) = zip(asked.failovers, events, strict=True)
        assert (one.verdict, one.detail, one.following) == (verdict, "as told", "b")
        assert (event["provider"], event["verdict"]) == ("a", verdict.value)
        assert "next: b" in str(event["detail"])


def test_over_real_sockets_the_next_provider_answers_and_every_answer_is_kept(fresh: Lake, log: SegmentLog) -> None:
    breakers = Breakers(fresh.state, fresh.clock, told=Health(fresh.state, fresh.clock, log))
    router = Router(TWO, breakers, fresh.clock, lambda: YAHOO_FIRST)
    faults = Faults(http=(HttpFault("status", "/v8/", 502, times=100),))
    with Simulator(faults, markets=(), streams=()) as sim:
        asking = asking_of(fresh, log, sim, lambda one: breakers.permits(one.provider))

        def ask() -> Asked:
            return ask_with_failover(asking, router.choose("bars", "equity", SPRING), SPRING)

        answers = [ask() for _ in range(6)]
    assert [one.answered.provider for one in answers if one.answered] == ["alpaca"] * 6
    assert [one.failovers[0].verdict for one in answers[:5]] == [Verdict.UPSTREAM_5XX] * 5
    # The breaker opened: from then on the provider in trouble is not even asked.
    assert answers[5].failovers == []
    calls = history_of(log, "ops.provider_calls")
    assert len([row for row in calls if row["provider"] == "yahoo"]) == 5
    assert len(messages_of(log)) == len([row for row in calls if row["message_seq"] is not None])
    kinds = [row["kind"] for row in history_of(log, "ops.health_events")]
    assert kinds == ["failover"] * 4 + ["breaker_opened", "provider_down", "failover"]


def test_nobody_left_is_an_alert_until_somebody_answers(fresh: Lake, log: SegmentLog) -> None:
    router = Router(TWO, Breakers(fresh.state, fresh.clock), fresh.clock, lambda: YAHOO_FIRST)
    faults = Faults(http=(HttpFault("status", "", 503, times=2),))
    with Simulator(faults, markets=(), streams=()) as sim:
        asking = asking_of(fresh, log, sim)
        choices = router.choose("bars", "equity", SPRING)
        failed = ask_with_failover(asking, choices, SPRING)
        (alert,) = asking.health.alerts.listed()
        assert (failed.answered, failed.verdict) == (None, Verdict.UPSTREAM_5XX)
        assert [one.following for one in failed.failovers] == ["alpaca", None]
        assert alert.name == "no_provider/bars"
        assert ask_with_failover(asking, choices, SPRING, without=["yahoo"]).answered is not None
        assert asking.health.alerts.listed() == []


def test_what_a_provider_cannot_be_asked_is_a_reason_too(fresh: Lake, log: SegmentLog) -> None:
    router = Router(TWO, Breakers(fresh.state, fresh.clock), fresh.clock, lambda: YAHOO_FIRST)
    with Simulator(markets=(), streams=()) as sim:
        asking = replace(asking_of(fresh, log, sim), symbol=lambda one, symbol: None if one.provider == "yahoo" else symbol)
        asked = ask_with_failover(asking, router.choose("bars", "equity", SPRING), SPRING)
    assert [(one.verdict, one.detail) for one in asked.failovers] == [
        (Verdict.NOT_ASKED, "cannot be asked: yahoo has no symbol for TSLA")
    ]
    assert len(asked.reports) == 1


def test_what_is_retried_is_what_feeds_the_breaker_and_may_fail_over() -> None:
    assert not RETRYABLE & FINAL
    assert set(Verdict) - FINAL >= RETRYABLE
