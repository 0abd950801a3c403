"""The bounds of our clock's error hold whatever the network does, and shrink; one wrong clock among several is outvoted."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import UTC, datetime
from email.utils import format_datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.asks import Address, Page, Request, Response
from ingest.clock_offset import LAG_NS, Bounds, Offset, agreed, offset_of, sample_of, widened
from ingest.tallies import CALLS, Tally, clock_offsets, judge_clock
from ingest.transport.backoff import Backoff
from ingest.transport.http import Call, HttpTransport
from ingest.verdicts import Reading, Verdict
from lake import tallies
from lake.instants import NANOS_PER_SECOND, system_clock
from lake.state import State
from lake.tallies import Key
from quality_checks.alerts import Alerts
from tests.ingest.dated_server import dated_server

START = 1_700_000_000 * NANOS_PER_SECOND
SECONDS = st.integers(0, 3 * NANOS_PER_SECOND)


def dated(theirs_ns: int) -> dict[str, str]:
    return {"date": format_datetime(datetime.fromtimestamp(theirs_ns // NANOS_PER_SECOND, UTC), usegmt=True)}


@given(
    st.integers(-10_000_000_000_000, 10_000_000_000_000),
    st.lists(st.tuples(SECONDS, SECONDS, SECONDS, st.integers(0, LAG_NS)), min_size=1, max_size=30),
    st.integers(-90, 90),
)
def test_the_true_skew_lies_within_the_bounds(skew_ns: int, calls: list[tuple[int, int, int, int]], drift_ppm: int) -> None:
    now_ns, known = START, None
    for pause, out, back, lag in calls:
        now_ns += pause
        asked_ns = now_ns
        told_ns = asked_ns + out
        theirs_ns = told_ns + skew_ns + (told_ns - START) * drift_ppm // 1_000_000
        now_ns = told_ns + back
        sample = sample_of(dated(theirs_ns - lag), asked_ns, now_ns)
        assert sample is not None
        known = Offset(sample, now_ns) if known is None else known.learned(sample, now_ns)
        true_ns = skew_ns + (now_ns - START) * drift_ppm // 1_000_000
        assert known.bounds.low_ns - 1_000_000 <= true_ns <= known.bounds.high_ns + 1_000_000
        assert known.doubt is None
        assert offset_of(known.document()) == known
    assert known is not None and known.bounds.surely_ns <= abs(skew_ns) + 2_000_000


def test_many_answers_narrow_the_bounds_and_a_clock_that_is_set_is_followed() -> None:
    rng, known, now_ns = random.Random(5), None, START
    for number in range(120):
        skew_ns = 4_000_000_000 if number < 60 else -30_000_000_000
        now_ns += rng.randrange(NANOS_PER_SECOND)
        asked_ns, now_ns = now_ns, now_ns + rng.randrange(20_000_000, 80_000_000)
        sample = sample_of(dated((asked_ns + now_ns) // 2 + skew_ns), asked_ns, now_ns)
        assert sample is not None
        known = Offset(sample, now_ns) if known is None else known.learned(sample, now_ns)
        if number in (59, 119):
            assert known.bounds.low_ns <= skew_ns <= known.bounds.high_ns
            assert known.bounds.high_ns - known.bounds.low_ns < LAG_NS + 200_000_000


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"date": "yesterday"},
        {"date": "Tue, 15 Nov 1994 08:12:31 -0000"},
        {**dated(START), "age": "30"},
        {"date": "\x00" * 40},
    ],
)
def test_what_says_nothing_about_a_clock_is_not_taken(headers: dict[str, str]) -> None:
    assert sample_of(headers, START, START + 1) is None
    assert sample_of(dated(START), START, START + 61 * NANOS_PER_SECOND) is None


def test_one_wrong_clock_is_outvoted_and_old_answers_weigh_less() -> None:
    right = [Offset(Bounds(-500, 700), START), Offset(Bounds(-100, 900), START)]
    wrong = Offset(Bounds(90_000, 91_000), START)
    assert agreed([wrong, *right], START) == Bounds(-100, 700)
    assert agreed([], START) is None
    assert widened(Bounds(0, 0), -NANOS_PER_SECOND) == Bounds(-100_000, 100_000)


@pytest.fixture
def state(tmp_path: Path) -> Iterator[State]:
    made = State(f"sqlite:///{tmp_path / 'state.db'}", system_clock)
    made.create()
    yield made
    made.close()


class Counting:
    """A ledger of calls that only tallies them."""

    def __init__(self, tally: Tally) -> None:
        self.tally = tally

    def received(self, url: str, request: Request, response: Response, ts_request_ns: int, ts_response_ns: int) -> int:
        return 0

    def called(self, call: Call) -> None:
        self.tally.call(call)


def measured(state: State, provider: str, skew_s: float, calls: int = 6) -> None:
    """Ask a real server whose clock is off so many times, over real HTTP."""
    tally = Tally(state, system_clock, provider, "any")
    with dated_server(skew_s) as address:
        ledger = Counting(tally)
        with HttpTransport(
            Address(address), ledger, clock=system_clock, sleep=lambda _: None, rng=random.Random(1), backoff=Backoff()
        ) as transport:
            for _ in range(calls):
                transport.fetch(Request("GET", "/"), lambda _: Page(Reading(Verdict.OK)))
    tally.flush()


def test_the_skew_of_a_real_server_is_found_and_alerts(state: State) -> None:
    measured(state, "finnhub", 7.0)
    bounds = clock_offsets(state)["finnhub"].bounds
    assert bounds.low_ns <= 7 * NANOS_PER_SECOND <= bounds.high_ns
    assert bounds.surely_ns > 4 * NANOS_PER_SECOND
    (alert,) = Alerts(state, system_clock).listed()
    assert alert.name == "clock_offset/this machine"
    for provider in ("yahoo", "alpaca"):
        measured(state, provider, 0.0, 1)
    outvoted = judge_clock(state, system_clock)
    assert outvoted is not None and outvoted.surely_ns < NANOS_PER_SECOND
    assert Alerts(state, system_clock).listed() == []
    assert tallies.read(state)[Key(CALLS, "finnhub", "any", "OK")] == 6
