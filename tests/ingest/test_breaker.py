"""Breakers: what opens them, what never does, one probe at a time for all processes, remembered after a restart."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.breaker import Breaker, BreakerPermits, Breakers, Limits, Position
from ingest.health import Health, HealthEvent, Kind
from ingest.verdicts import REFUSED, RETRYABLE, Reading, Verdict, seconds_told
from lake.instants import NANOS_PER_SECOND, system_clock, to_datetime
from lake.settings import load_settings
from lake.state import State
from tests.ingest.standing_state import QUOTE, START_NS, Clock, call
from tests.lake.processes import together
from tests.postgres import Server

LIMITS = Limits()
FEEDING = [Verdict.THROTTLED, Verdict.UPSTREAM_5XX, Verdict.MALFORMED, Verdict.NO_ANSWER]


class Told:
    """Notes the events it is told."""

    def __init__(self) -> None:
        self.events: list[HealthEvent] = []

    def tell(self, event: HealthEvent) -> None:
        self.events.append(event)


def fail(permits: BreakerPermits, times: int, verdict: Verdict = Verdict.UPSTREAM_5XX) -> None:
    for _ in range(times):
        if permits.before(QUOTE).is_given:
            permits.after(QUOTE, call(verdict, detail="HTTP 502"))


def position(breakers: Breakers) -> Position:
    return breakers.find("finnhub", "quote").position


def test_the_verdicts_that_feed_a_breaker_are_those_of_a_provider_in_trouble() -> None:
    assert set(FEEDING) == RETRYABLE
    assert not RETRYABLE & REFUSED


@pytest.mark.parametrize("verdict", [verdict for verdict in Verdict if verdict is not Verdict.NOT_ASKED])
def test_five_in_a_row_open_it_or_never_do(state: State, clock: Clock, verdict: Verdict) -> None:
    breakers = Breakers(state, clock)
    fail(breakers.permits("finnhub"), 4, verdict)
    assert position(breakers) is Position.CLOSED
    fail(breakers.permits("finnhub"), 1, verdict)
    assert position(breakers) is (Position.OPEN if verdict in FEEDING else Position.CLOSED)
    fail(breakers.permits("finnhub"), 20, verdict)
    assert breakers.permits("finnhub").before(QUOTE).is_given is (verdict not in FEEDING)


def test_slow_answers_open_it_whatever_they_say_and_a_quick_one_starts_anew(state: State, clock: Clock) -> None:
    breakers, permits = Breakers(state, clock), Breakers(state, clock).permits("finnhub")
    for took_s in (10.1, 11.0, 60.0, 10.5):
        permits.after(QUOTE, call(Verdict.OK, took_s))
    assert breakers.find("finnhub", "quote").failures == 4
    permits.after(QUOTE, call(Verdict.OK, 9.9))
    assert breakers.find("finnhub", "quote").failures == 0
    for _ in range(5):
        permits.after(QUOTE, call(Verdict.OK, 10.1))
    assert position(breakers) is Position.OPEN
    assert "10.1 s" in permits.before(QUOTE).refused


def test_an_open_one_lets_one_probe_through_after_a_while_and_its_answer_decides(state: State, clock: Clock) -> None:
    told = Told()
    breakers = Breakers(state, clock, told=told)
    ours, theirs = breakers.permits("finnhub"), breakers.permits("finnhub")
    fail(ours, 5)
    clock.move(29)
    leave = ours.before(QUOTE)
    assert not leave.is_given
    assert leave.wait_s == pytest.approx(1.0)
    clock.move(2)
    assert theirs.before(QUOTE).is_given
    assert "probed" in ours.before(QUOTE).refused
    ours.after(QUOTE, call(Verdict.OK))  # late news of a call made before it opened
    assert position(breakers) is Position.HALF_OPEN
    theirs.after(QUOTE, call(Verdict.NO_ANSWER))
    assert position(breakers) is Position.OPEN
    clock.move(31)
    assert ours.before(QUOTE).is_given
    ours.after(QUOTE, call(Verdict.EMPTY_VALID))
    assert position(breakers) is Position.CLOSED
    assert [event.kind for event in told.events] == [
        Kind.BREAKER_OPENED, Kind.PROVIDER_DOWN, Kind.BREAKER_PROBED, Kind.BREAKER_OPENED,
        Kind.BREAKER_PROBED, Kind.BREAKER_CLOSED, Kind.PROVIDER_UP,
    ]  # fmt: skip
    assert told.events[0].verdict == "UPSTREAM_5XX"


def test_a_probe_not_used_goes_to_the_next_and_one_of_a_dead_process_is_given_up(state: State, clock: Clock) -> None:
    breakers = Breakers(state, clock)
    ours, theirs = breakers.permits("finnhub"), breakers.permits("finnhub")
    fail(ours, 5)
    clock.move(31)
    assert ours.before(QUOTE).is_given
    ours.unspent(QUOTE)
    assert theirs.before(QUOTE).is_given  # and then dies
    clock.move(119)
    assert not ours.before(QUOTE).is_given
    clock.move(2)
    assert ours.before(QUOTE).is_given


def test_a_provider_that_asks_for_more_time_gets_it(state: State, clock: Clock) -> None:
    permits = Breakers(state, clock).permits("finnhub")
    for _ in range(5):
        permits.after(QUOTE, call(Verdict.THROTTLED, retry_after_s=600.0))
    clock.move(599)
    assert not permits.before(QUOTE).is_given
    clock.move(2)
    assert permits.before(QUOTE).is_given


def test_it_stays_open_in_the_next_process_and_other_endpoints_are_free(tmp_path: Path, clock: Clock) -> None:
    url = load_settings(home=tmp_path).state_url
    first = State(url, clock)
    first.create()
    fail(Breakers(first, clock).permits("finnhub"), 5)
    first.close()
    second = State(url, clock)
    breakers = Breakers(second, clock)
    assert not breakers.permits("finnhub").before(QUOTE).is_given
    assert breakers.asked("finnhub", "candle", "me").is_given
    assert breakers.asked("yahoo", "quote", "me").is_given
    breakers.answered("finnhub", "candle", call(Verdict.OK), "me")
    assert {key: one.position for key, one in breakers.standing("finnhub").items()} == {
        ("finnhub", "quote"): Position.OPEN,
        ("finnhub", "candle"): Position.CLOSED,
    }
    breakers.reset("finnhub", "quote", "ann", "they said it is mended")
    assert breakers.permits("finnhub").before(QUOTE).is_given
    assert second.audit_log()[0]["who"] == "ann"
    second.close()


def test_health_follows_the_breakers_and_alerts_follow_health(state: State, clock: Clock) -> None:
    health = Health(state, clock, None, lambda: (["finnhub", "yahoo", "alpaca"], 3))
    breakers = Breakers(state, clock, told=health)
    breakers.answered("finnhub", "candle", call(Verdict.OK), "me")
    fail(breakers.permits("finnhub"), 5)
    assert health.standings()["finnhub"]["standing"] == "degraded"
    for _ in range(5):
        breakers.answered("finnhub", "candle", call(Verdict.NO_ANSWER), "me")
    assert health.standings()["finnhub"]["standing"] == "down"
    assert health.active(["finnhub", "yahoo"]) == ("yahoo",)
    names = {alert.name for alert in health.alerts.listed()}
    breaking = {"breaker_open/finnhub/quote", "breaker_open/finnhub/candle", "provider_down/finnhub"}
    assert names == {*breaking, "few_providers/all"}
    assert health.watch() == ("alpaca", "yahoo")
    clock.move(31)
    for endpoint in ("quote", "candle"):
        assert breakers.asked("finnhub", endpoint, "me").is_given
        breakers.answered("finnhub", endpoint, call(Verdict.OK), "me")
    assert health.standings()["finnhub"]["standing"] == "up"
    assert health.alerts.listed() == []


def test_little_quota_left_is_told_once_until_there_is_enough_again(state: State, clock: Clock) -> None:
    health = Health(state, clock)
    for share in (0.15, 0.09, 0.0, 0.15):
        health.quota_left("alpha_vantage", share)
    (alert,) = health.alerts.listed()
    assert (alert.name, alert.detail) == ("quota_low/alpha_vantage", "9% of the tightest quota left")
    health.quota_left("alpha_vantage", 1.0)
    assert health.alerts.listed() == []


def race_for_the_probe(url: str, clock: Clock, threads: int) -> list[bool]:
    """Let several states, as processes have them, ask at once for leave to probe; return who got it."""
    first = State(url, clock)
    first.create()
    fail(Breakers(first, clock).permits("finnhub"), 5)
    clock.move(31)
    states = [State(url, clock) for _ in range(threads)]
    barrier, got = threading.Barrier(threads), []

    def ask(state: State) -> None:
        permits = Breakers(state, clock).permits("finnhub")
        barrier.wait(60)
        got.append(permits.before(QUOTE).is_given)

    racing = [threading.Thread(target=ask, args=(one,)) for one in states]
    for thread in racing:
        thread.start()
    for thread in racing:
        thread.join(60)
    for one in (first, *states):
        one.close()
    return got


def test_one_probe_for_all_on_sqlite(tmp_path: Path, clock: Clock) -> None:
    assert sorted(race_for_the_probe(load_settings(home=tmp_path).state_url, clock, 6)) == [False] * 5 + [True]


def test_one_probe_for_all_on_postgresql(postgres: Server, clock: Clock) -> None:
    assert sorted(race_for_the_probe(postgres.database("breakers"), clock, 6)) == [False] * 5 + [True]


def test_failures_of_several_processes_are_one_row(tmp_path: Path) -> None:
    url = load_settings(home=tmp_path).state_url
    first = State(url, system_clock)
    first.create()
    first.close()

    def one_failure() -> None:
        state = State(url, system_clock)
        Breakers(state, system_clock).permits("finnhub").after(QUOTE, call(Verdict.NO_ANSWER))
        state.close()

    assert together(one_failure, 5) == [0] * 5
    state = State(url, system_clock)
    found = Breakers(state, system_clock).find("finnhub", "quote")
    assert (found.failures, found.position, found.opened) == (5, Position.OPEN, 1)
    state.close()


ACTS = st.tuples(
    st.sampled_from(["ask", "answer", "give back", "wait"]),
    st.sampled_from("abc"),
    st.sampled_from(list(Verdict)),
    st.floats(0, 200),
)


@given(st.lists(ACTS, max_size=60))
def test_whatever_happens_one_probe_at_a_time_and_nobody_waits_for_ever(acts: list[tuple[str, str, Verdict, float]]) -> None:
    breaker, now_ns = Breaker(), START_NS
    for act, who, verdict, number in acts:
        before = breaker
        if act == "wait":
            now_ns += int(number * NANOS_PER_SECOND)
        elif act == "ask":
            breaker, leave = before.asked(now_ns, who, LIMITS)
            if leave.is_given and before.position is not Position.CLOSED:
                assert now_ns >= before.until_ns
                assert breaker.probe == who
            assert leave.is_given or 0 < leave.wait_s <= LIMITS.probe_s
        elif act == "answer":
            breaker = before.answered(Reading(verdict), number / 20, now_ns, who, LIMITS)
            has_opened = breaker.position is Position.OPEN and before.position is not Position.OPEN
            assert not has_opened or verdict in RETRYABLE or number / 20 > LIMITS.slow_s
        else:
            breaker = before.given_back(now_ns, who)
        assert (breaker.position is Position.HALF_OPEN) == bool(breaker.probe)
    assert breaker.asked(now_ns + int(LIMITS.probe_s * NANOS_PER_SECOND), "d", LIMITS)[1].is_given


def test_a_clock_that_was_ahead_shuts_nobody_out_when_it_is_right_again(state: State, clock: Clock) -> None:
    breakers = Breakers(state, clock)
    clock.move(365 * 86_400)
    for _ in range(5):
        breakers.answered("finnhub", "quote", call(Verdict.NO_ANSWER), "me")
    assert not breakers.asked("finnhub", "quote", "me").is_given
    clock.move(-365 * 86_400)
    assert breakers.asked("finnhub", "quote", "me").is_given
    assert not breakers.asked("finnhub", "quote", "another").is_given, "one probe"


@pytest.mark.parametrize("told", [1.8e12, 1e300, float("inf")])
def test_a_wait_beyond_reason_is_bounded_and_can_be_told(state: State, clock: Clock, told: float) -> None:
    """A reset told in milliseconds is a wait of 57,000 years."""
    breakers = Breakers(state, clock)
    for _ in range(5):
        breakers.answered("finnhub", "quote", call(Verdict.THROTTLED, retry_after_s=told), "me")
    probe_at = breakers.find("finnhub", "quote").document()["probe_at"]
    assert probe_at == to_datetime(clock.now_ns + 3 * 86_400 * NANOS_PER_SECOND)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("30", 30.0), (" 1.5 ", 1.5), ("0", 0.0), ("", None), ("-1", None), ("²", None), ("9" * 400, None), ("inf", None)],
)
def test_seconds_of_a_header(text: str, seconds: float | None) -> None:
    assert seconds_told(text) == seconds


@pytest.mark.parametrize(("told", "kept"), [(None, None), (5.0, 5.0), (-1.0, None), (float("nan"), None), (1e9, 259_200.0)])
def test_what_a_reading_keeps_of_a_wait(told: float | None, kept: float | None) -> None:
    assert Reading(Verdict.THROTTLED, "", told).retry_after_s == kept
