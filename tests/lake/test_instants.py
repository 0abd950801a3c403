"""What a user's words for an instant mean."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from lake.errors import InvalidValueError
from lake.instants import parse_instant, to_ns

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)


def clock() -> int:
    return to_ns(NOON)


@pytest.mark.parametrize(
    ("text", "means"),
    [
        ("2020-08-31", datetime(2020, 8, 31, 23, 59, 59, 999999, UTC)),
        ("2026-11-21", NOON),
        ("2026-11-22", datetime(2026, 11, 22, 23, 59, 59, 999999, UTC)),
        ("2020-08-31T20:00", datetime(2020, 8, 31, 20, tzinfo=UTC)),
        ("2020-08-31T20:00:00-04:00", datetime(2020, 9, 1, tzinfo=UTC)),
    ],
)
def test_an_instant_is_read_in_utc_and_a_day_by_its_end_or_now(text, means):
    assert parse_instant(text, clock) == means


@pytest.mark.parametrize("text", ["", "yesterday", "2020-13-01", "9999-12-31T23:00:00-14:00", "2020-08-31T25:00"])
def test_other_words_are_refused(text):
    with pytest.raises(InvalidValueError, match="not ISO 8601"):
        parse_instant(text, clock)
