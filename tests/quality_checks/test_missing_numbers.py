"""Numbers that nobody told are found, whatever gap was closed too early, and asked for once."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from lake.catalog import Lake
from lake.instants import system_clock, to_datetime
from lake.log.segments import SegmentLog
from quality_checks.gap_bounds import TRADES
from quality_checks.gaps import GapLedger, GapStatus, KnownGap
from quality_checks.heard import Heard, Window
from quality_checks.missing_numbers import look
from quality_checks.promotion import promote
from tests.quality_checks.raw import START, land, trades

KEY = Heard("binance", "spot", TRADES, "BTCUSDT", None)
END = START + timedelta(milliseconds=100)
WINDOWS = [Window(START, START + timedelta(hours=1))]


@pytest.fixture
def ledger(lake: Lake, tmp_path: Path) -> Iterator[GapLedger]:
    """The feed told 1 to 3, 7 to 9 and 20; a backfill told 5."""
    land(lake, "live", trades([1, 2, 3, 7, 8, 9, 20]))
    land(lake, "asked", trades([5]), kind="backfill")
    assert promote(lake, "binance")
    with SegmentLog(tmp_path / "log", system_clock, min_free_bytes=1) as log:
        yield GapLedger(lake, log, "look")


def told(found: list[KnownGap]) -> list[tuple[str | None, str | None]]:
    return [(gap.first_missing, gap.last_missing) for gap in found]


def at(number: int) -> datetime:
    return to_datetime(trades([number])[0][0])


def test_what_lies_between_numbers_is_missing_and_found_once(lake: Lake, ledger: GapLedger) -> None:
    assert told(look(lake, ledger, KEY, WINDOWS, END, START)) == [("4", "4"), ("6", "6"), ("10", "19")]
    assert look(lake, ledger, KEY, WINDOWS, END, START) == []
    ledger.refresh()
    assert {gap.status for gap in ledger.under_way()} == {GapStatus.OPEN}


def test_a_look_goes_on_where_the_one_before_ended(lake: Lake, ledger: GapLedger) -> None:
    assert told(look(lake, ledger, KEY, WINDOWS, at(9), START)) == [("4", "4"), ("6", "6")]
    assert told(look(lake, ledger, KEY, WINDOWS, at(20), START)) == []
    assert told(look(lake, ledger, KEY, WINDOWS, END, START)) == [("10", "19")]


def test_between_two_windows_nothing_is_missing(lake: Lake, ledger: GapLedger) -> None:
    apart = [Window(START, at(10)), Window(at(15), END)]
    assert told(look(lake, ledger, KEY, apart, END, START)) == [("4", "4"), ("6", "6")]


def test_what_an_open_gap_covers_is_not_asked_for_twice(lake: Lake, ledger: GapLedger) -> None:
    gap = KnownGap("own", "binance", "spot", "BTCUSDT", GapStatus.OPEN, "dropped", START, first_missing="10", table_name=TRADES)
    assert ledger.open(gap)
    assert told(look(lake, ledger, KEY, WINDOWS, END, START)) == [("4", "4"), ("6", "6")]
