"""Open or closed, and until when: by the exchanges' own calendars, weekends of FX, markets that never close."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from transforms.market_hours import ALWAYS_OPEN, Hours, hours_at


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("now", "mic", "is_open", "changes_at"),
    [
        ("2022-03-18T13:29:59", "XNAS", False, "2022-03-18T13:30:00"),
        ("2022-03-18T13:30:00", "XNAS", True, "2022-03-18T20:00:00"),
        ("2022-03-18T20:00:00", "XNAS", False, "2022-03-21T13:30:00"),  # a Friday
        ("2022-11-25T17:59:00", "XNYS", True, "2022-11-25T18:00:00"),  # closes early after Thanksgiving
        ("2022-11-24T15:00:00", "XNYS", False, "2022-11-25T14:30:00"),
        ("2022-03-18T03:00:00", "XTKS", False, "2022-03-18T03:30:00"),  # lunch in Tokyo
        ("2022-03-18T03:30:00", "XTKS", True, "2022-03-18T06:00:00"),
    ],
)
def test_exchanges_keep_their_hours(now: str, mic: str, is_open: bool, changes_at: str) -> None:
    assert hours_at(at(now), mic, "equity") == Hours(is_open, at(changes_at))


@pytest.mark.parametrize(
    ("now", "is_open", "changes_at"),
    [
        ("2022-03-18T20:59:59", True, "2022-03-18T21:00:00"),  # Friday 17:00 in New York, summer time
        ("2022-03-18T21:00:00", False, "2022-03-20T21:00:00"),
        ("2022-03-19T12:00:00", False, "2022-03-20T21:00:00"),
        ("2022-03-20T21:00:00", True, "2022-03-25T21:00:00"),
        ("2022-03-12T12:00:00", False, "2022-03-13T21:00:00"),  # the clock changes on that Sunday
    ],
)
def test_fx_rests_at_the_weekend(now: str, is_open: bool, changes_at: str) -> None:
    assert hours_at(at(now), None, "fx") == Hours(is_open, at(changes_at))


def test_crypto_never_closes_and_what_is_not_known_is_open() -> None:
    assert hours_at(at("2022-03-19T12:00:00"), None, "crypto") == ALWAYS_OPEN
    assert hours_at(at("2022-03-19T12:00:00"), None, "option") == ALWAYS_OPEN


def test_a_status_holds_until_it_changes_and_then_it_has_changed() -> None:
    now = at("2022-03-01T00:00:00")
    for _ in range(60):
        hours = hours_at(now, "XTKS", "equity")
        assert hours.changes_at is not None
        assert hours_at(hours.changes_at - timedelta(microseconds=1), "XTKS", "equity").is_open is hours.is_open
        assert hours_at(hours.changes_at, "XTKS", "equity").is_open is not hours.is_open
        now = hours.changes_at
