"""The planner's promises, kept against a simulator that counts: calls exactly, time within a tenth, whatever the plan."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from ingest.asks import Address, Ask
from ingest.backfill_asks import windows
from ingest.offers import Offer
from ingest.planning import Estimate, Purse, Question, duration_words, estimates
from ingest.plans import Plan
from ingest.providers.registry import OFFERS
from ingest.quotas import Quotas
from ingest.reach import simulated
from ingest.shipped_plans import PLANS
from ingest.simulator import Simulator
from ingest.simulator.limits import LIMITS, Limit, Limits
from ingest.transport.http import HttpTransport
from ingest.verdicts import Verdict
from lake.errors import InvalidValueError
from lake.instants import NANOS_PER_SECOND, to_ns
from lake.state import State
from tests.ingest.quota_spending import QUOTE, ended
from tests.ingest.test_quotas import DAY, Calls, Hand
from tests.ingest.test_simulator_limits import ONCE

NOW = datetime(2026, 11, 19, 15, 0, tzinfo=UTC)
LATENCY_S = 0.2
STOCKS = tuple(f"S{number:03}" for number in range(60))


class Slow(Hand):
    """A clock by which each answer comes a moment after its call: two looks at it are one call."""

    def __init__(self) -> None:
        super().__init__(to_ns(NOW))


class Answering(Calls):
    """Notes calls; while an answer comes time passes."""

    def __init__(self, hand: Hand) -> None:
        super().__init__()
        self._hand = hand

    def received(self, *words: object) -> int:
        self._hand.forward(LATENCY_S)
        return super().received(*words)  # type: ignore[arg-type]  # handed on


@pytest.fixture
def hand() -> Hand:
    return Slow()


@pytest.fixture
def state(tmp_path: Path, hand: Hand) -> Iterator[State]:
    made = State(f"sqlite:///{tmp_path / 'state.db'}", hand)
    made.create()
    yield made
    made.close()


def offer_of(provider: str, kind: str, interval: str) -> Offer:
    return next(
        each
        for each in OFFERS
        if (each.provider, each.kind) == (provider, kind) and (not each.intervals or interval in each.intervals)
    )


def execute(question: Question, offer: Offer, address: Address, quotas: Quotas, hand: Hand) -> Answering:
    """Ask all that was planned, one call after the other, waiting as the ledger says."""
    calls, pages = Answering(hand), offer.pages()
    permits = quotas.permits(offer.provider, "k", "backfill")
    words = {"clock": hand, "sleep": hand.forward, "rng": random.Random(1), "backoff": ONCE, "permits": permits}
    with HttpTransport(address, calls, **words) as transport:  # type: ignore[arg-type]  # words are of many types
        for first in range(0, len(question.symbols), offer.symbols_per_call):
            symbols = ",".join(question.symbols[first : first + offer.symbols_per_call])
            for window in windows(question.start, question.end, offer.longest(question.interval)):
                transport.ask(pages, Ask(symbols, question.interval, *window))
    permits.close()
    return calls


PREMIUM = (Limit(75, 60.0),)
PAIRS = [
    (
        "alpha_vantage",
        PLANS["alpha_vantage"][0],
        "bars",
        60,
        LIMITS["alpha_vantage"],
    ),  # the rest of today, tomorrow, the day after
    ("alpha_vantage", PLANS["alpha_vantage"][1], "bars", 100, PREMIUM),
    ("finnhub", PLANS["finnhub"][0], "quotes", 80, LIMITS["finnhub"]),
    ("yahoo", PLANS["yahoo"][0], "bars", 60, LIMITS["yahoo"]),
    ("yahoo", PLANS["yahoo"][0], "latest_quotes", 120, LIMITS["yahoo"]),  # 50 a call, after a cookie and a crumb
    ("alpaca", replace(PLANS["alpaca"][0], live_share=0.5), "bars", 12_000, LIMITS["alpaca"]),
    ("alpaca", PLANS["alpaca"][1], "bars", 8_000, (Limit(10_000, 60.0),)),
    ("polygon", PLANS["polygon"][0], "bars", 14, LIMITS["polygon"]),
    ("tiingo", PLANS["tiingo"][0], "bars", 90, LIMITS["tiingo"]),
]


@pytest.mark.parametrize(("provider", "plan", "kind", "symbols", "limits"), PAIRS)
def test_a_promise_is_kept_within_a_tenth_and_no_quota_is_exceeded(
    provider: str, plan: Plan, kind: str, symbols: int, limits: tuple[Limit, ...], state: State, hand: Hand
) -> None:
    names = tuple(f"S{number:05}" for number in range(symbols))
    question = Question(kind, "equity", names, "1d", NOW - timedelta(days=20), NOW)
    quotas, offer = Quotas(state, {provider: plan}, hand, patience_s=1e9), offer_of(provider, kind, "1d")
    spent = quotas.permits(provider, "k", "live")
    (promised,) = estimates(question, [offer], Purse(quotas, lambda _: "k", latency_s=lambda _: LATENCY_S))
    assert promised.seconds is not None
    judge = Limits(hand, {provider: limits})
    with Simulator(limits=judge, markets=(), streams=()) as simulator:
        address = simulated(simulator.addresses(), simulator.keys).asked(provider, offer.feed)
        calls = execute(question, offer, address, quotas, hand)
    took_s = (hand.now_ns - to_ns(NOW)) / NANOS_PER_SECOND
    assert judge.exceeded() == []
    assert (len(calls.all), judge.report()[0]["calls"]) == (promised.calls, promised.calls)
    assert not {each.reading.verdict for each in calls.all} & {Verdict.THROTTLED, Verdict.QUOTA_EXHAUSTED, Verdict.NOT_ASKED}
    assert took_s == pytest.approx(promised.seconds, rel=0.1)
    spent.close()


def by_name(found: list[Estimate]) -> dict[str, Estimate]:
    return {f"{each.provider}/{each.feed}": each for each in found}


def test_the_cheapest_that_suffices_comes_first_and_each_says_what_it_takes(state: State, hand: Hand) -> None:
    paid = Plan("usage", usd_per_gb=2_000.0)
    plans = {name: each[0] for name, each in PLANS.items()} | {"paid": paid}
    purse = Purse(
        Quotas(state, plans, hand), lambda _: "k", lambda name: "needs A_KEY in the environment" if name == "alpaca" else ""
    )
    dear = replace(offer_of("yahoo", "bars", "1d"), provider="paid", feed="history", history=(), span=())
    offers = [offer_of("alpha_vantage", "bars", "1d"), dear, offer_of("alpaca", "bars", "1d"), offer_of("finnhub", "quotes", "")]
    question = Question("bars", "equity", STOCKS, "1d", datetime(2024, 1, 1, tzinfo=UTC), datetime(2026, 1, 1, tzinfo=UTC))
    found = estimates(question, offers, purse)
    assert [each.provider for each in found] == ["alpha_vantage", "paid", "alpaca"]
    free, bought, locked = found
    assert free.words() == "1.6 days at 20 calls a day (America/New_York), free"
    assert (free.calls, free.rows, free.suffices) == (60, 60 * 502, True)  # 502 sessions of XNYS in 2024 and 2025
    assert bought.words() == "18.0 seconds, 6.67 USD"
    assert (locked.why_not, locked.suffices) == ("needs A_KEY in the environment", False)
    cheap = estimates(question, offers[1:2], purse, budget_usd=5.0)
    assert cheap[0].why_not == "costs 6.67 USD, more than 5.00"
    document = free.document(NOW)
    assert (document["calls"], document["usd"], document["suffices"]) == (60, 0.0, True)


def test_what_is_spent_already_and_a_block_make_it_last_longer(state: State, hand: Hand) -> None:
    quotas = Quotas(state, {"alpha_vantage": replace(DAY, live_share=0.0)}, hand)
    purse = Purse(quotas, lambda _: "k")
    question = Question("bars", "equity", ("A", "B", "C"), "1d", NOW - timedelta(days=20), NOW)
    offers = [offer_of("alpha_vantage", "bars", "1d")]
    (fresh,) = estimates(question, offers, purse)
    assert fresh.seconds == pytest.approx(0.9)
    spent = quotas.permits("alpha_vantage", "k", "live")
    for _ in range(2):
        assert spent.before(QUOTE).is_given
        spent.after(QUOTE, ended())
    (later,) = estimates(question, offers, purse)
    assert later.seconds == pytest.approx(9 * 3_600 + 2, rel=0.01)  # tomorrow begins in nine hours
    assert later.calls == 3


def test_windows_and_history_of_an_offer_count(state: State, hand: Hand) -> None:
    purse = Purse(Quotas(state, {}, hand), lambda _: "none")
    yahoo = [offer_of("yahoo", "bars", "1m")]
    minutes = Question("bars", "equity", ("AAPL", "MSFT"), "1m", NOW - timedelta(days=20), NOW)
    (planned,) = estimates(minutes, yahoo, purse)
    assert planned.calls == 2 * 3  # eight days a request
    (months,) = estimates(replace(minutes, start=NOW - timedelta(days=80)), [offer_of("alpha_vantage", "bars", "5m")], purse)
    assert months.calls == 2 * 4  # August to November: 19 November less 80 days is 31 August
    (old,) = estimates(replace(minutes, start=NOW - timedelta(days=90)), yahoo, purse)
    assert old.why_not == "reaches back to 2026-10-20 only"
    (none,) = estimates(replace(minutes, interval="7m"), [offer_of("alpaca", "bars", "1d")], purse)
    assert none.why_not == "has no bars of 7m, only of 1m, 5m, 15m, 30m, 60m, 1h, 1d, 1wk, 1mo"
    assert estimates(replace(minutes, kind="weather"), OFFERS, purse) == []
    with pytest.raises(InvalidValueError, match="name at least one"):
        replace(minutes, symbols=())
    with pytest.raises(InvalidValueError, match="both with a zone"):
        replace(minutes, start=minutes.end)
    trades = by_name(estimates(replace(minutes, kind="trades"), OFFERS, purse))
    assert trades["alpaca/iex"].calls == 58  # 20,000 a day and symbol, 10,000 a page


def test_many_calls_go_on_at_the_pace_of_the_first(state: State, hand: Hand) -> None:
    purse = Purse(Quotas(state, {"yahoo": PLANS["yahoo"][0]}, hand), lambda _: "none")
    many = Question("bars", "equity", tuple(f"S{each}" for each in range(12_000)), "1d", NOW - timedelta(days=9), NOW)
    (planned,) = estimates(many, [offer_of("yahoo", "bars", "1d")], purse)
    assert planned.seconds == pytest.approx(12_000 / 48 * 61, rel=0.05)
    tiingo = Purse(
        Quotas(state, {"tiingo": replace(PLANS["tiingo"][0], windows=PLANS["tiingo"][0].windows[:2])}, hand), lambda _: "k"
    )
    (slow,) = estimates(many, [offer_of("tiingo", "bars", "1d")], tiingo)
    assert slow.words() == "15.0 days at 800 calls a day (America/New_York), free"
    years = replace(many, interval="1m", start=NOW - timedelta(days=7_300))
    assert estimates(years, [offer_of("yahoo", "bars", "1m")], purse)[0].calls == 12_000 * 1_043  # seven days each


def test_lengths_of_time_are_told_in_their_unit():
    assert [duration_words(each) for each in (0.4, 89.0, 2_400.0, 7_200.0, 259_200.0)] == [
        "0.4 seconds", "89.0 seconds", "40.0 minutes", "2.0 hours", "3.0 days",
    ]  # fmt: skip
