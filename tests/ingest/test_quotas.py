"""The quota ledger in state: processes that race, die and start again, on SQLite and on PostgreSQL."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from ingest.asks import Ask, Request, Response
from ingest.permits import Leave, Together
from ingest.plans import Plan, Window
from ingest.providers.finnhub import Quote
from ingest.quotas import KIND, Quotas
from ingest.simulator import Simulator
from ingest.transport.backoff import Backoff
from ingest.transport.http import Call, HttpTransport
from ingest.verdicts import Verdict
from lake.instants import NANOS_PER_SECOND, to_datetime
from lake.state import State
from tests.ingest.quota_spending import PLANS, QUOTE, RACED, ended

DAY = Plan("free", (Window(3, calendar="day"),), max_call_s=60.0)
FAST = Plan("fast", (Window(1_000, 1.0),))
PATIENCE_S = 60


@dataclass
class Hand:
    """A clock that is moved by hand."""

    now_ns: int = 1_800_000_000 * NANOS_PER_SECOND

    def __call__(self) -> int:
        return self.now_ns

    def forward(self, seconds: float) -> None:
        self.now_ns += round(seconds * NANOS_PER_SECOND)


class Calls:
    """What came back, call by call."""

    def __init__(self) -> None:
        self.all: list[Call] = []
        self.answers: list[Response] = []

    def received(self, url: str, request: Request, response: Response, ts_request_ns: int, ts_response_ns: int) -> int:
        self.answers.append(response)
        return len(self.answers) - 1

    def called(self, call: Call) -> None:
        self.all.append(call)


@pytest.fixture
def hand() -> Hand:
    return Hand()


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Address of an empty state database."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'state.db'}"
    return str(request.getfixturevalue("postgres").database("quotas"))


@pytest.fixture
def state(url: str, hand: Hand) -> Iterator[State]:
    made = State(url, hand)
    made.create()
    yield made
    made.close()


def test_what_was_spent_is_known_after_a_restart_and_to_others(state: State, hand: Hand) -> None:
    plans = {"alpha_vantage": DAY}
    first = Quotas(state, plans, hand).permits("alpha_vantage", "k1", "live")
    for _ in range(2):
        assert first.before(QUOTE).is_given
        first.after(QUOTE, ended())
    second = Quotas(state, plans, hand).permits("alpha_vantage", "k1", "live")
    assert second.before(QUOTE).is_given
    assert first.before(QUOTE).refused.startswith("quota: 3 of 3 a day in UTC are spent; next at ")
    other_key = Quotas(state, plans, hand).permits("alpha_vantage", "k2", "live")
    assert other_key.before(QUOTE).is_given
    hand.forward(-7 * 86_400)
    assert "3 of 3" in first.before(QUOTE).refused
    hand.forward(8 * 86_400 + 3)
    assert first.before(QUOTE).is_given


def test_leave_that_was_not_used_is_given_back(state: State, hand: Hand) -> None:
    @dataclass
    class Refusing:
        def before(self, request: object) -> Leave:
            return Leave(refused="the breaker is open")

        def after(self, request: object, call: object) -> None: ...

        def unspent(self, request: object) -> None: ...

    with Quotas(state, {"p": DAY, "q": FAST}, hand) as quotas:
        slow, fast = quotas.permits("p", "none", "live"), quotas.permits("q", "none", "live")
        assert quotas.permits("p", "none", "live") is slow is not quotas.permits("p", "none", "backfill")
        for permits in (slow, fast):
            refused = Together([permits, Refusing()]).before(QUOTE)
            assert refused.refused == "the breaker is open"
        assert [use.used for use in quotas.book("p", "none").uses(hand())] == [0]
        assert fast.before(QUOTE).is_given
        assert [use.used for use in quotas.book("q", "none").uses(hand())] == [50]
    assert [use.used for use in quotas.book("q", "none").uses(hand())] == [1]


def test_many_calls_a_second_take_few_transactions(state: State, hand: Hand) -> None:
    """A batch is reserved and settled at once: 500 calls, each ended, leave a book that says 500."""
    quotas = Quotas(state, {"p": FAST}, hand)
    permits = quotas.permits("p", "none", "backfill")
    transactions = []
    change, state.change_document = state.change_document, lambda *words: transactions.append(words) or change(*words)  # type: ignore[method-assign,func-returns-value]  # counted on the way
    for _ in range(500):
        assert permits.before(QUOTE).is_given
        permits.after(QUOTE, ended())
    assert len(transactions) <= 30
    permits.close()
    (use,) = quotas.book("p", "none").uses(hand())
    assert (use.used, use.limit) == (500, 1_000)
    for _ in range(300):
        assert permits.before(QUOTE).is_given
    assert 0 < permits.before(QUOTE).wait_s <= 1.1  # 200 of 1,000 are kept for live work


def test_a_batch_is_not_used_after_its_time_nor_after_a_clock_was_set_back(state: State, hand: Hand) -> None:
    quotas = Quotas(state, {"p": FAST}, hand)
    permits = quotas.permits("p", "none", "live")
    assert permits.before(QUOTE).is_given
    hand.forward(-0.5)
    assert permits.before(QUOTE).is_given
    hand.forward(1.0)
    assert permits.before(QUOTE).is_given
    (use,) = quotas.book("p", "none").uses(hand())
    assert use.used == 52  # the batch in force, and two calls under way of those that ended
    permits.after(QUOTE, ended())
    permits.after(QUOTE, ended(Verdict.THROTTLED, 5.0))
    permits.after(QUOTE, ended())
    assert quotas.book("p", "none").uses(hand())[0].used == 3


def test_a_complaint_stops_every_process_and_is_told_with_its_words(state: State, hand: Hand) -> None:
    one, two = (Quotas(state, {"p": FAST}, hand).permits("p", "none", "live") for _ in range(2))
    assert one.before(QUOTE).is_given
    one.after(QUOTE, ended(Verdict.THROTTLED))
    assert two.before(QUOTE) == Leave(60.0)
    hand.forward(61)
    assert two.before(QUOTE).is_given
    two.after(QUOTE, ended(Verdict.QUOTA_EXHAUSTED, 7_200.0))
    refused = one.before(QUOTE)
    assert refused.wait_s == 7_200.0
    assert refused.refused.startswith("quota: quota exhausted: told by a test; next at 2027-01-15 10:01:01")


def test_standings_tell_the_share_of_a_plan_that_is_used(state: State, hand: Hand) -> None:
    quotas = Quotas(state, {"p": DAY, "paid": Plan("paid", usd_per_call=0.01, usd_per_gb=2.0)}, hand)
    for provider in ("p", "paid"):
        permits = quotas.permits(provider, "abc", "backfill")
        assert permits.before(QUOTE).is_given
        permits.after(QUOTE, ended())
        permits.close()
    free, paid = (each.document() for each in quotas.standings())
    assert (free["provider"], free["key"], free["plan"], free["allowed_a_month"]) == ("p", "abc", "free", 90)
    assert free["windows"] == [
        {
            "window": "day in UTC", "counts": "weight", "used": 1, "limit": 3, "share": 0.3333,
            "whole_at": "2027-01-16T00:00:00+00:00",
        }
    ]  # fmt: skip
    assert free["month"] == {"live": 0, "backfill": 1, "bytes": 100}
    assert (free["share_of_month"], paid["allowed_a_month"], paid["usd"]) == (0.0111, None, 0.01)


def test_threads_of_one_process_share_leave(state: State, hand: Hand) -> None:
    permits = Quotas(state, {"p": Plan("p", (Window(25, 60.0),))}, hand).permits("p", "none", "live")
    given: list[bool] = []

    def spend() -> None:
        for _ in range(10):
            leave = permits.before(QUOTE)
            given.append(leave.is_given)
            if leave.is_given:
                permits.after(QUOTE, ended())

    threads = [threading.Thread(target=spend) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_S)
    assert (given.count(True), len(given)) == (25, 40)


def child(root: Path, *words: str) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "PYTHONPATH": str(root)}
    return subprocess.Popen(
        [sys.executable, "-W", "ignore", "-m", "tests.ingest.quota_spending", *words], cwd=root, env=environment
    )


def test_racing_processes_never_exceed_any_window(root: Path, url: str, tmp_path: Path) -> None:
    """Four processes spend as fast as they may; what each did when is written down outside, and counted here."""
    state = State(url, Hand())
    state.create()
    state.close()
    record = tmp_path / "calls"
    assert child(root, "race", url, str(record), "1.5").wait(PATIENCE_S) == 0
    calls = sorted((int(at), int(weight)) for _, at, weight in (line.split() for line in record.read_text().splitlines()))
    for window in RACED.windows:
        most = max(sum(w for at, w in calls if first <= at < first + window.length_ns) for first, _ in calls)
        assert 0 < most <= window.limit
    assert len({line.split()[0] for line in record.read_text().splitlines()}) == 4


def test_a_process_killed_between_leave_and_call_has_spent_it(root: Path, url: str, state: State, hand: Hand) -> None:
    assert child(root, "die", url).wait(PATIENCE_S) == -signal.SIGKILL
    held = state.document(KIND, "one/none")
    assert held is not None
    hand.now_ns = int(held["now_ns"])
    quotas = Quotas(state, PLANS, hand)
    permits = quotas.permits("one", "none", "live")
    assert permits.before(QUOTE).wait_s == 0.25  # the call may still be under way
    hand.forward(PLANS["one"].max_call_s + 1.5)
    assert 58.0 < permits.before(QUOTE).wait_s < 61.0
    hand.forward(61.0)
    assert permits.before(QUOTE).is_given


def test_a_capture_waits_for_leave_that_a_minute_gives(state: State, hand: Hand) -> None:
    """Six quotes at four a minute: the fifth is asked a minute later, whatever the patience with failures."""
    quotas = Quotas(state, {"finnhub": Plan("slow", (Window(4, 60.0),))}, hand)
    calls, end = Calls(), to_datetime(hand.now_ns)
    permits, began_ns = quotas.permits("finnhub", "k", "live"), hand.now_ns
    patience = {"sleep": hand.forward, "rng": random.Random(1), "backoff": Backoff(), "permits": permits}
    with (
        Simulator(markets=(), streams=()) as simulator,
        HttpTransport(simulator.finnhub, calls, clock=hand, **patience) as transport,  # type: ignore[arg-type]  # of many types
    ):
        verdicts = [transport.ask(Quote(), Ask("AAPL", "1d", end, end)).verdict for _ in range(6)]
    assert verdicts == [Verdict.OK] * 6
    assert 60.0 <= (hand.now_ns - began_ns) / NANOS_PER_SECOND < 62.0
