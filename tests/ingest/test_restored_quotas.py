"""After a restore nobody knows what was asked since the backup: quotas count as spent until their windows end."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from ingest.asks import Request
from ingest.plans import Plan, Window
from ingest.quota_book import Book, Wanted
from ingest.quota_clock import set_back
from ingest.quotas import Quotas
from ingest.verdicts import Reading, Verdict
from lake.backup.backing_up import back_up
from lake.backup.replicas import promote, sync
from lake.backup.restoring import restore
from lake.backup.stores import LocalStore
from lake.catalog import Lake
from lake.instants import NANOS_PER_SECOND, system_clock, to_ns
from lake.restored import mark_restored, restored_at_ns
from lake.state import State
from serving.cli.app import run
from tests.ingest.standing_state import Clock
from tests.lake.backup.making import embedded_log, settings_at

US = "America/New_York"
DAILY = Plan("free", (Window(25, calendar="day", zone=US), Window(4, 60.0)), max_call_s=120.0, margin_s=2.0)
ASKED = Wanted("x", "live")
NOON = to_ns(datetime(2032, 3, 10, 17, tzinfo=UTC))
"""Noon in New York."""


def spend(quotas: Quotas, calls: int) -> int:
    """Return how many of so many calls were given leave, a minute apart."""

    def asks(book: Book, now_ns: int) -> int:
        granted = book.reserve(now_ns, ASKED, "one", 0).calls
        book.settle(now_ns, "one", ASKED, granted)
        return granted

    return sum(quotas.change("alpha_vantage", "k", asks) for _ in range(calls))


def test_a_window_that_reaches_back_before_a_restore_counts_as_spent_until_it_ends() -> None:
    book = Book(DAILY, None, NOON)
    refused = book.reserve(NOON, ASKED, "one", 0)
    assert (refused.calls, refused.never) == (0, False)
    midnight = to_ns(datetime(2032, 3, 11, 5, tzinfo=UTC))
    assert refused.at_ns == midnight + 2 * NANOS_PER_SECOND
    assert refused.why == f"what was spent of 25 a day in {US} before the restore of 2032-03-10 17:00 UTC is not known"
    assert [(use.used, use.limit) for use in book.uses(NOON)] == [(25, 25), (4, 4)]
    later = NOON + 181 * NANOS_PER_SECOND  # a call under way at the restore, and the minute after it
    assert [(use.used, use.limit) for use in book.uses(later)] == [(25, 25), (0, 4)]
    assert book.reserve(midnight + NANOS_PER_SECOND, ASKED, "one", 0).calls == 0
    assert book.reserve(midnight + 3 * NANOS_PER_SECOND, ASKED, "one", 0).calls == 1


@pytest.fixture
def clock() -> Clock:
    clock = Clock()
    clock.now_ns = NOON
    return clock


def test_what_was_spent_since_the_backup_is_not_spent_again(state: State, clock: Clock) -> None:
    plans = {"alpha_vantage": DAILY}
    with Quotas(state, plans, clock) as quotas:
        assert spend(quotas, 3) == 3
        backup = state.dump()
        for calls in (4, 4, 4, 4, 4, 2):  # 25 in all
            clock.move(62)
            assert spend(quotas, 4) == calls
    state.load(backup)
    mark_restored(state, clock())
    with Quotas(state, plans, clock) as quotas:
        assert spend(quotas, 1) == 0
        (standing,) = quotas.standings()
        assert [(use.used, use.limit) for use in standing.windows] == [(25, 25), (4, 4)]
        clock.now_ns = to_ns(datetime(2032, 3, 11, 6, tzinfo=UTC))
        assert spend(quotas, 4) == 4


def test_an_operator_may_say_that_nobody_asked(state: State, clock: Clock) -> None:
    with Quotas(state, {"alpha_vantage": DAILY}, clock) as quotas:
        mark_restored(state, clock())
        assert spend(quotas, 1) == 0
        quotas.declare_known("alpha_vantage", "me", "the lake was moved while it stood still")
        assert (spend(quotas, 1), quotas.unknown_ns("tiingo")) == (1, NOON)
        assert state.audit_log()[-1]["reason"] == "the lake was moved while it stood still"
        clock.move(60)
        mark_restored(state, clock())
        clock.move(61)
        assert spend(quotas, 1) == 0  # that word was about another restore


def test_a_restore_and_a_promotion_leave_the_mark(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = LocalStore(tmp_path / "backups")
    with Lake.create(settings_at(tmp_path / "here"), system_clock) as lake:
        log = embedded_log(lake)
        back_up(lake, store, log)
        assert restored_at_ns(lake.state) == 0
        sync(lake, tmp_path / "replica", log)
        log.close()
    began = system_clock()
    restore(store, settings_at(tmp_path / "there"), system_clock)
    promote(settings_at(tmp_path / "replica"), system_clock)
    for name in ("there", "replica"):
        with Lake.open(settings_at(tmp_path / name), system_clock) as lake:
            assert began <= restored_at_ns(lake.state) <= system_clock()
    home = ["--home", str(tmp_path / "there")]
    assert run(["providers", "--quota-known", "--reason", "x", *home]) == 2
    assert run(["providers", "nobody", "--quota-known", "--reason", "x", *home]) == 3
    assert run(["providers", "yahoo", "--quota-known", "--reason", "it stood still", *home]) == 0
    assert "yahoo" in capsys.readouterr().out
    with Lake.open(settings_at(tmp_path / "there"), system_clock) as lake, Quotas(lake.state, {}, system_clock) as quotas:
        assert (quotas.unknown_ns("yahoo"), quotas.unknown_ns("finnhub") > 0) == (0, True)


MONTHLY = Plan("month", (Window(25, calendar="month", zone=US), Window(4, 60.0)))


@pytest.mark.parametrize(("plan", "days", "spent"), [(DAILY, 1, 6), (DAILY, 90, 25), (MONTHLY, 40, 6), (MONTHLY, 90, 25)])
def test_a_clock_that_was_ahead_is_set_back_by_word_and_no_quota_is_exceeded(
    state: State, clock: Clock, plan: Plan, days: int, spent: int
) -> None:
    """Two calls; three by a clock days ahead, one that was killed and a throttle by it too; then it is right again."""
    with Quotas(state, {"alpha_vantage": plan}, clock) as quotas:
        assert spend(quotas, 2) == 2
        clock.move(days * 86_400)
        assert spend(quotas, 3) == 3
        quotas.change("alpha_vantage", "k", lambda book, now: book.reserve(now, ASKED, "killed", NANOS_PER_SECOND))
        throttled = Reading(Verdict.THROTTLED, "slow down", 30.0)
        quotas.change("alpha_vantage", "k", lambda book, now: book.told(now, throttled, {}, 0, "live"))
        clock.move(61 - days * 86_400)
        assert spend(quotas, 1) == 0
        refused = quotas.permits("alpha_vantage", "k", "live").before(Request("GET", "/x"))
        assert refused.refused.startswith("quota: throttled: slow down; our clock is ") and "--quota-known" in refused.refused
        quotas.declare_known("alpha_vantage", "me", "the clock was wrong")
        (standing,) = quotas.standings()
        assert (min(standing.windows[0].used, 25), standing.windows[1].used >= 4) == (spent, True)
        assert (sum(standing.month.values()), standing.blocked_until_ns) == (5, clock() + 30 * NANOS_PER_SECOND)
        assert spend(quotas, 1) == 0
        clock.move(200)
        assert spend(quotas, 1) == (spent < 25)
        before = state.document("quota", "alpha_vantage/k")
        quotas.declare_known("alpha_vantage", "me", "and again: it is not ahead any more")
        assert state.document("quota", "alpha_vantage/k") == before


def test_symbols_of_a_month_that_were_forgotten_block_the_key_until_it_ends() -> None:
    plan = Plan("free", (Window(500, calendar="month", zone=US, counts="symbols"),))
    ahead = {"now_ns": NOON + 90 * 86_400 * NANOS_PER_SECOND, "spent": {}, "names": {}}
    book = Book(plan, set_back(ahead, plan, NOON))
    refused = book.reserve(NOON, Wanted("x", "live", symbols=("A",)), "one", 0)
    assert (refused.calls, refused.at_ns) == (0, to_ns(datetime(2032, 4, 1, 4, tzinfo=UTC)))
    assert refused.why == f"which symbols count in symbols a month in {US} was forgotten"


def test_what_is_not_ahead_stays_as_it_is() -> None:
    document = {"now_ns": NOON, "spent": {"60 s": {str(NOON): [1, 0]}}}
    assert set_back(document, DAILY, NOON) == document
    gone = {
        "now_ns": NOON + 1,
        "spent": {"a window of an old plan": {str(NOON + 1): [1, 0]}},
        "names": {"x": {str(NOON + 9): ["A"]}},
    }
    moved = set_back(gone, DAILY, NOON)
    assert (moved["spent"], moved["names"]) == ({"a window of an old plan": {str(NOON): [1, 0]}}, {"x": {str(NOON): ["A"]}})
