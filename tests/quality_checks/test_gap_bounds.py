"""Where a gap of a numbered feed ends: by what the feed told itself, never by what a backfill brought meanwhile."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from lake.catalog import Lake
from lake.instants import to_datetime
from quality_checks.gap_bounds import PATIENCE, bounded
from quality_checks.gaps import GapStatus, KnownGap
from quality_checks.promotion import promote
from tests.quality_checks.raw import START, land, trades

GAP = KnownGap("capture-gap-0", "binance", "spot", "BTCUSDT", GapStatus.OPEN, "btcusdt@trade: silence", START, first_missing="7")
SOON, LATER = START + timedelta(minutes=1), START + PATIENCE


@pytest.fixture
def heard(lake: Lake) -> Lake:
    """The feed told 1 to 6, was then not understood, and a backfill of something else brought 3 to 9."""
    land(lake, "live", [*trades(range(1, 7)), *((ns, body[:60]) for ns, body in trades(range(7, 11)))])
    land(lake, "asked", trades(range(3, 10)), kind="backfill")
    assert promote(lake, "binance")
    return lake


def test_what_a_backfill_brought_ends_no_gap(heard: Lake) -> None:
    assert bounded(heard, GAP, SOON) is None
    land(heard, "live", trades([11, 12]), with_capture=False, first_seq=10)
    assert promote(heard, "binance")
    known = bounded(heard, GAP, SOON)
    assert known is not None
    assert (known.first_missing, known.last_missing, known.missing_count, known.status) == ("7", "10", 4, GapStatus.OPEN)
    assert known.gap_start == to_datetime(trades([6])[0][0])
    assert known.gap_end == to_datetime(trades([11])[0][0]) + timedelta(milliseconds=1)


def test_a_feed_that_stays_silent_is_asked_up_to_the_highest_number_known(heard: Lake) -> None:
    known = bounded(heard, GAP, LATER)
    assert known is not None
    assert (known.first_missing, known.last_missing, known.missing_count, known.status) == ("7", "9", 3, GapStatus.OPEN)


def test_a_number_that_the_feed_told_next_leaves_nothing_missing(heard: Lake) -> None:
    land(heard, "live", trades([11, 12]), with_capture=False, first_seq=10)
    assert promote(heard, "binance")
    known = bounded(heard, replace(GAP, first_missing="11"), SOON)
    assert known is not None
    assert (known.status, known.missing_count, known.found_count) == (GapStatus.FILLED, 0, 0)
    assert known.reason.endswith("11 came next: nothing is missing")
