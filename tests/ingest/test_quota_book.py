"""Laws of the quota book: whatever happens, no window of any provider ever holds more than its plan allows."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.asks import Request
from ingest.configuration import Provider
from ingest.plans import UNLIMITED, Plan, Purpose, Told, Window, configured, key_name
from ingest.providers.registry import PROVIDERS
from ingest.quota_book import Book, Wanted
from ingest.shipped_plans import PLANS
from ingest.verdicts import Reading, Verdict
from lake.errors import InvalidValueError
from lake.instants import NANOS_PER_SECOND, to_ns

NEW_YORK = "America/New_York"
START_NS = to_ns(datetime(2026, 11, 20, 4, 59, 30, tzinfo=UTC))
"""Half a minute before midnight in New York."""
FREE = Plan("free", (Window(25, calendar="day", zone=NEW_YORK), Window(4, 60.0), Window(1, 1.0)))
WEIGHED = Plan("weighed", (Window(10, 2.0), Window(30, 60.0), Window(5, 2.0, endpoints=("heavy",))), weights={"heavy": 3})
ASKED = Wanted("quote", "live")


def seconds(number: float) -> int:
    return round(number * NANOS_PER_SECOND)


@dataclass
class Counting:
    """A provider: it counts each call when it comes."""

    came: list[tuple[int, int, str]] = field(default_factory=list)

    def counted(self, at_ns: int, wanted: Wanted, calls: int) -> None:
        self.came += [(at_ns, wanted.weight, wanted.endpoint)] * calls

    def most(self, window: Window) -> int:
        """Return the most that the window ever held."""
        mine = sorted((at, weight) for at, weight, endpoint in self.came if window.is_about(endpoint))
        if window.calendar:
            periods: dict[int, int] = {}
            for at, weight in mine:
                start = window.period_ns(at)[0]
                periods[start] = periods.get(start, 0) + weight
            return max(periods.values(), default=0)
        return max((sum(w for at, w in mine if first <= at < first + window.length_ns) for first, _ in mine), default=0)


STEP = st.tuples(
    st.floats(0.0, 40.0),  # seconds since the step before
    st.sampled_from(["live", "backfill"]),
    st.sampled_from(["quote", "heavy"]),
    st.integers(1, 6),  # calls wanted at once
    st.floats(0.0, 3.0),  # how long they take
    st.floats(0.0, 1.0),  # when within that the provider counts them
    st.sampled_from(["ends", "ends", "ends", "killed", "unused"]),
    st.floats(-100.0, 1.0),  # how far the clock of this process is off
)


@settings(max_examples=120, deadline=None)
@given(st.sampled_from([FREE, WEIGHED, PLANS["finnhub"][0]]), st.lists(STEP, max_size=60))
def test_no_window_ever_holds_more_than_its_limit(plan, steps):
    """Processes ask as they like, are killed between leave and end, have clocks that are late; each saves and loads the book."""
    provider, now, document, ending = Counting(), START_NS, None, []
    for number, (after_s, purpose, endpoint, calls, takes_s, counted_at, fate, off_s) in enumerate(steps):
        now += seconds(after_s)
        for end in sorted(ending, key=lambda one: one[0]):
            if end[0] <= now:
                book = Book(plan, document)
                book.settle(end[0], end[1], end[2], end[3])
                document = book.document()
        ending = [end for end in ending if end[0] > now]
        weight = plan.weight(Request("GET", "/", endpoint=endpoint))
        wanted = Wanted(endpoint, purpose, weight, calls)
        book, name = Book(plan, document), str(number)
        granted = book.reserve(now + min(0, seconds(off_s)), wanted, name, 0)
        document = book.document()
        if fate == "unused":
            ending.append((now + seconds(takes_s), name, wanted, 0))
        elif granted.calls:
            provider.counted(now + seconds(takes_s * counted_at), wanted, granted.calls)
            if fate == "ends":
                ending.append((now + seconds(takes_s), name, wanted, granted.calls))
    assert {window.name: provider.most(window) for window in plan.windows if provider.most(window) > window.limit} == {}


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 40), st.floats(0.0, 0.5))
def test_what_is_asked_again_when_told_is_given_and_nothing_is_wasted(calls, takes_s):
    """Who waits as long as he is told gets leave, at the pace of the tightest window but for a slice of it."""
    plan, now, given_at = replace(FREE, windows=FREE.windows[1:]), START_NS, []
    book = Book(plan)
    while len(given_at) < calls:
        name = str(len(given_at))
        granted = book.reserve(now, ASKED, name, 0)
        if not granted.calls:
            assert granted.at_ns > now
            now = granted.at_ns
            continue
        given_at.append(now)
        now += seconds(takes_s)
        book.settle(now, name, ASKED, 1)
    took_s = (given_at[-1] - given_at[0]) / NANOS_PER_SECOND
    assert took_s <= (calls - 1) // 4 * (60.0 + 60.0 / 64 + takes_s) + ((calls - 1) % 4) * (1.0 + 1.0 / 64 + takes_s) + 0.001


def spend(book: Book, now_ns: int, calls: int, wanted: Wanted = ASKED) -> int:
    """Make calls that take no time, as many as leave is given for."""
    for number in range(calls):
        if not book.reserve(now_ns, wanted, "one", 0).calls:
            return number
        book.settle(now_ns, "one", wanted, 1)
    return calls


def test_a_day_ends_at_midnight_where_the_provider_says_it_does():
    plan = Plan("free", (Window(25, calendar="day", zone=NEW_YORK),))
    book = Book(plan)
    assert spend(book, START_NS, 30) == 25
    refused = book.reserve(START_NS, ASKED, "more", 0)
    midnight = to_ns(datetime(2026, 11, 20, 5, 0, 0, tzinfo=UTC))
    assert (refused.calls, refused.at_ns) == (0, midnight + seconds(plan.margin_s))
    assert "25 of 25 a day in America/New_York are spent" in refused.why
    assert spend(book, midnight - 1, 1) == 0
    assert spend(book, midnight + 1, 1) == 0  # the provider's clock may be a second behind
    assert book.reserve(midnight + 1, ASKED, "soon", 0).at_ns == midnight + seconds(plan.margin_s)
    assert spend(book, midnight + seconds(plan.margin_s), 30) == 25


def test_a_clock_set_back_gives_nothing_and_time_goes_on_when_it_has_caught_up():
    book = Book(Plan("free", (Window(5, 60.0),)))
    assert spend(book, START_NS, 9) == 5
    assert spend(book, START_NS - seconds(86_400), 9) == 0
    assert book.reserve(START_NS - seconds(86_400), ASKED, "b", 0).behind_s == 86_400.0
    assert spend(book, START_NS - seconds(3_600), 9) == 0
    assert spend(book, START_NS + seconds(61), 9) == 5


def test_backfill_leaves_live_work_its_share_and_live_work_may_take_all():
    plan = Plan("p", (Window(100, 60.0),), live_share=0.3)
    book, backfill = Book(plan), Wanted("bars", "backfill")
    assert spend(book, START_NS, 100, backfill) == 70
    assert "30 kept for live work" in book.reserve(START_NS, backfill, "b", 0).why
    assert spend(book, START_NS, 100) == 30
    other = Book(plan)
    assert spend(other, START_NS, 200) == 100
    assert spend(other, START_NS, 1, backfill) == 0


def test_weights_and_windows_of_endpoints():
    book = Book(WEIGHED)
    heavy = Wanted("heavy", "live", 3)
    assert spend(book, START_NS, 5, heavy) == 1
    assert spend(book, START_NS, 20) == 7  # 3 + 7 = 10 in two seconds
    never = book.reserve(START_NS, Wanted("heavy", "live", 6), "n", 0)
    assert never.never and "6 at once is more than 5" in never.why
    deep = Request("GET", "/api/v3/depth", (("limit", "5000"),), endpoint="depth")
    assert PLANS["binance"][0].weight(deep) == 250
    connect = Request("GET", "/stream", endpoint="stream")
    assert [PLANS[name][0].weight(connect) for name in ("binance", "finnhub")] == [
        1,
        0,
    ]  # one of its 300 attempts in five minutes


def test_different_symbols_are_counted_once_a_month():
    plan = Plan("tiingo", (Window(3, calendar="month", zone="UTC", counts="symbols"),))
    book = Book(plan)

    def ask(now_ns: int, *symbols: str) -> bool:
        return bool(book.reserve(now_ns, Wanted("daily", "live", symbols=symbols), "s", 0).calls)

    assert ask(START_NS, "A", "B") and ask(START_NS, "A") and ask(START_NS, "C")
    assert not ask(START_NS, "D")
    assert ask(START_NS, "B")
    assert book.uses(START_NS)[0].used == 3
    assert ask(to_ns(datetime(2026, 12, 2, tzinfo=UTC)), "D", "E", "F")


def test_bytes_are_counted_when_they_came():
    book = Book(Plan("p", (Window(1_000, calendar="day", counts="bytes"),)))
    assert spend(book, START_NS, 1) == 1
    book.told(START_NS, Reading(Verdict.OK), {}, 1_200, "live")
    assert "1200 of 1000 a bytes a day" in book.reserve(START_NS, ASKED, "b", 0).why
    assert book.months["2026-11"] == {"live": 1, "backfill": 0, "bytes": 1_200}


def test_calls_at_once_wait_for_each_other_and_the_dead_are_forgotten_late():
    plan = Plan("p", (), at_once=2, max_call_s=120.0)
    book = Book(plan)
    assert book.reserve(START_NS, ASKED, "a", 0).calls == book.reserve(START_NS, ASKED, "b", 0).calls == 1
    assert "2 calls are under way" in book.reserve(START_NS, ASKED, "c", 0).why
    book.settle(START_NS, "a", ASKED, 1)
    assert book.reserve(START_NS, ASKED, "c", 0).calls == 1
    assert not book.reserve(START_NS + seconds(119), ASKED, "d", 0).calls
    assert book.reserve(START_NS + seconds(120), ASKED, "d", 0).calls == 1


def test_a_call_that_ended_later_than_any_call_counts_from_its_end():
    book = Book(Plan("p", (Window(1, 60.0),), max_call_s=10.0))
    assert book.reserve(START_NS, ASKED, "slow", 0).calls == 1
    later = START_NS + seconds(75)
    book.settle(later, "slow", ASKED, 1)
    assert book.reserve(later, ASKED, "next", 0).at_ns >= later + seconds(60)


def test_throttles_cool_down_longer_each_time_and_an_answer_ends_it():
    book = Book(PLANS["yahoo"][0])
    throttled = Reading(Verdict.THROTTLED, "Too Many Requests")
    for waits_s in (900, 1_800, 3_600, 7_200, 14_400, 21_600, 21_600):
        book.told(START_NS, throttled, {}, 0, "live")
        assert book.blocked == (START_NS + seconds(waits_s), "throttled: Too Many Requests")
    assert book.reserve(START_NS, ASKED, "x", 0).at_ns == START_NS + seconds(21_600)
    later = START_NS + seconds(21_601)
    assert book.wants_good_news and spend(book, later, 1) == 1
    book.told(later, Reading(Verdict.EMPTY_VALID), {}, 0, "live")
    assert not book.wants_good_news
    book.told(later, Reading(Verdict.THROTTLED, "", 7.0), {}, 0, "live")
    assert book.blocked[0] == later + seconds(7)


def test_an_observed_reset_is_remembered():
    """The day's quota was still exhausted at midnight and came back at 02:00: the next day is asked at 02:00."""
    book = Book(FREE)
    exhausted, midnight = Reading(Verdict.QUOTA_EXHAUSTED, "25 requests per day"), to_ns(datetime(2026, 11, 20, 5, tzinfo=UTC))
    book.told(START_NS, exhausted, {}, 0, "live")
    assert book.blocked[0] == midnight + seconds(2)
    book.told(midnight + seconds(3), exhausted, {}, 0, "live")
    assert book.blocked[0] == midnight + seconds(3 + 3_600)
    book.told(midnight + seconds(3_700), exhausted, {}, 0, "live")
    book.told(midnight + seconds(7_302), Reading(Verdict.OK), {}, 0, "live")
    assert book.resets[-1]["recovered_ns"] == midnight + seconds(7_302)
    again = Book(FREE, book.document())
    again.told(midnight + seconds(50_000), exhausted, {}, 0, "live")
    assert again.blocked[0] == midnight + seconds(86_400 + 2 + 7_300)


def test_headers_tell_what_others_spent_and_when_it_is_whole_again():
    told = Told("60 s", "x-ratelimit-limit", "x-ratelimit-remaining", reset="x-ratelimit-reset")
    book = Book(Plan("p", (Window(200, 60.0),), told=(told,)))
    assert spend(book, START_NS, 10) == 10
    book.told(START_NS, Reading(Verdict.OK), {"x-ratelimit-limit": "200", "x-ratelimit-remaining": "190"}, 0, "live")
    assert book.uses(START_NS)[0].used == 10
    book.told(START_NS, Reading(Verdict.OK), {"x-ratelimit-limit": "200", "x-ratelimit-remaining": "40"}, 0, "live")
    assert book.uses(START_NS)[0].used == 160
    reset = START_NS // NANOS_PER_SECOND + 30
    book.told(START_NS, Reading(Verdict.OK), {"x-ratelimit-remaining": "0", "x-ratelimit-reset": str(reset)}, 0, "live")
    assert book.blocked[0] == reset * NANOS_PER_SECOND
    book.told(START_NS, Reading(Verdict.OK), {"x-ratelimit-remaining": "many", "x-ratelimit-limit": "-1"}, 0, "live")
    binance = Book(PLANS["binance"][0])
    binance.told(START_NS, Reading(Verdict.OK), {"x-mbx-used-weight-1m": "2390"}, 0, "live")
    assert spend(binance, START_NS, 20) == 10


def test_plans_are_as_configured_over_as_shipped():
    shipped = PLANS["alpha_vantage"]
    assert configured(shipped, Provider()) == shipped[0]
    assert configured(shipped, Provider(plan="premium75")).windows == (Window(75, 60.0),)
    described = Provider(plan="mine", windows=({"calls": 500, "per": "day", "zone": NEW_YORK}, {"calls": 5, "per": "minute"}))
    mine = configured(shipped, described)
    assert (mine.name, mine.windows) == ("mine", (Window(500, calendar="day", zone=NEW_YORK), Window(5, 60.0)))
    assert [window.name for window in mine.windows] == [window.name for window in shipped[0].windows[:2]]
    with pytest.raises(InvalidValueError, match="no plan 'gold' is shipped; there are free, premium75"):
        configured(shipped, Provider(plan="gold"))
    assert configured((), Provider(reserve_for_live=0.5)).live_share == 0.5
    with pytest.raises(InvalidValueError, match="no time zone 'Mars/Base'"):
        Window(1, calendar="day", zone="Mars/Base")
    with pytest.raises(InvalidValueError, match="expected a limit above 0"):
        Window(1)


def test_keys_are_named_by_a_fingerprint():
    assert key_name(("secret-key",)) == key_name(("secret-key",)) != key_name(("another",))
    assert len(key_name(("secret-key",))) == 12
    assert key_name(()) == key_name(("",)) == "none"


def test_every_provider_that_can_be_asked_has_a_plan():
    assert {*PROVIDERS} <= {*PLANS}


@pytest.mark.parametrize("provider", sorted(PLANS))
def test_every_shipped_plan_lets_calls_pass_for_both_purposes(provider: str):
    for plan in PLANS[provider]:
        purposes: tuple[Purpose, ...] = ("live", "backfill")
        assert all(Book(plan).reserve(START_NS, Wanted("bars", each), "a", 0).calls == 1 for each in purposes), plan.name
        assert all(told.window in {window.name for window in plan.windows} for told in plan.told), plan.name
    assert UNLIMITED.batch("bars", 1) == (100, 1.0)


def test_a_call_over_midnight_counts_in_both_days():
    book = Book(Plan("p", (Window(5, calendar="day", zone=NEW_YORK),)))
    midnight = to_ns(datetime(2026, 11, 20, 5, tzinfo=UTC))
    assert book.reserve(midnight - seconds(20), ASKED, "over", 0).calls == 1
    book.settle(midnight + seconds(20), "over", ASKED, 1)
    assert spend(book, midnight + seconds(20), 9) == 4
    early = Book(Plan("p", (Window(5, calendar="day", zone=NEW_YORK),)))
    assert spend(early, midnight - seconds(1), 9) == 5
    assert spend(early, midnight + seconds(3), 9) == 0
