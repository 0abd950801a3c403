"""Which bars a calendar expects: answers worked out by hand from the exchanges' own published hours."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import numpy as np
import pytest

from lake.errors import InvalidValueError
from quality_checks.gaps import GapStatus, KnownGap
from quality_checks.missing import Expected, Series, _stretches, expected_bars
from transforms.calendars import venue_of

NEW_YORK = venue_of("XNYS")
CRYPTO = venue_of(None, None, "crypto")


def days(found: Expected) -> list[date]:
    return [date(1970, 1, 1) + timedelta(days=int(name)) for name in found.names]


def utc(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=UTC)  # type: ignore[arg-type, misc]


def test_weekends_and_holidays_are_no_gaps() -> None:
    """2020: Labor Day is Monday, September 7."""
    found = expected_bars(NEW_YORK, "1d", utc(2020, 9, 3), utc(2020, 9, 10))
    assert days(found) == [date(2020, 9, 3), date(2020, 9, 4), date(2020, 9, 8), date(2020, 9, 9)]


def test_a_half_day_has_half_its_minutes() -> None:
    """New York closed at 13:00 on 2020-11-27, at 16:00 on 2020-11-30, and not at all on Thanksgiving."""
    counts = [
        len(expected_bars(NEW_YORK, "1m", utc(2020, 11, day), utc(2020, 11, day) + timedelta(days=1)).starts)
        for day in (26, 27, 30)
    ]
    assert counts == [0, 210, 390]
    hours = expected_bars(NEW_YORK, "1h", utc(2020, 11, 30), utc(2020, 12, 1))
    assert len(hours.starts) == 7
    assert hours.ends[-1] - hours.starts[-1] == 30 * 60_000_000  # from 15:30 to the close


def test_lunch_breaks_are_no_gaps() -> None:
    """Tokyo of 2020: 9:00 to 11:30 and 12:30 to 15:00."""
    found = expected_bars(venue_of("XTKS"), "1m", utc(2020, 11, 30), utc(2020, 12, 1))
    assert len(found.starts) == 300


def test_crypto_never_closes_and_currencies_close_on_weekends() -> None:
    assert len(expected_bars(CRYPTO, "1d", utc(2020, 9, 3), utc(2020, 9, 10)).starts) == 7
    assert len(expected_bars(CRYPTO, "1m", utc(2020, 9, 5), utc(2020, 9, 6)).starts) == 1_440
    fx = expected_bars(venue_of(None, None, "fx"), "1d", utc(2020, 9, 2, 21), utc(2020, 9, 9, 21))
    assert days(fx) == [date(2020, 9, day) for day in (3, 4, 7, 8, 9)]


def test_a_bar_cut_by_the_window_is_not_expected() -> None:
    found = expected_bars(CRYPTO, "1h", utc(2020, 9, 3, 0, 30), utc(2020, 9, 3, 3, 59))
    assert len(found.starts) == 2


def test_no_calendar_counts_weeks() -> None:
    with pytest.raises(InvalidValueError, match="1wk"):
        expected_bars(NEW_YORK, "1wk", utc(2020, 9, 3), utc(2020, 9, 10))


def test_stretches_skip_what_a_known_gap_covers() -> None:
    """Sessions of 3, 4, 8 and 9 September follow each other; a gap of the 8th, known before, parts them."""
    series = Series("yahoo", "chart", "AAPL", "1d", 1, NEW_YORK)
    found = expected_bars(NEW_YORK, "1d", utc(2020, 9, 3), utc(2020, 9, 10))
    (whole,) = _stretches(series, found, found, [])
    assert (whole.gap_start, whole.gap_end, whole.missing_count) == (utc(2020, 9, 3, 4), utc(2020, 9, 10, 4), 4)
    known = KnownGap(
        "g", "yahoo", "chart", "AAPL", GapStatus.UNFILLABLE, "", utc(2020, 9, 9), gap_start=utc(2020, 9, 8, 4),
        gap_end=utc(2020, 9, 9, 4),
    )  # fmt: skip
    before, after = _stretches(series, found, found, [known])
    assert (before.missing_count, after.missing_count) == (2, 1)
    assert (before.gap_end, after.gap_start) == (utc(2020, 9, 5, 4), utc(2020, 9, 9, 4))
    assert _stretches(series, found, found.only(np.zeros(4, bool)), []) == []
