from datetime import UTC, date, datetime, timedelta

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lake.errors import InvalidValueError
from transforms.calendars import STAMP, bar_ends, session_dates, session_opens, sessions_between, venue_of, zone_of

NEW_YORK = venue_of("XNAS")
FX = venue_of(None, None, "fx")
CRYPTO = venue_of(None, None, "crypto")


def stamps(*texts: str | None) -> pa.Array:
    return pa.array([None if text is None else datetime.fromisoformat(text).replace(tzinfo=UTC) for text in texts], STAMP)


def days(*texts: str) -> pa.Array:
    return pa.array([date.fromisoformat(text) for text in texts], pa.date32())


def iso(values: pa.Array) -> list[str | None]:
    return [None if value is None else value.isoformat().replace("+00:00", "Z") for value in values.to_pylist()]


def test_an_evening_in_new_york_is_still_the_same_session_although_utc_says_tomorrow():
    assert iso(session_dates(stamps("2020-08-31T13:30", "2020-09-01T00:30", None), NEW_YORK)) == [
        "2020-08-31",
        "2020-08-31",
        None,
    ]


def test_a_day_without_a_session_counts_to_the_next():
    assert iso(session_dates(stamps("2020-09-05T12:00", "2020-11-26T15:00"), NEW_YORK)) == ["2020-09-08", "2020-11-27"]


def test_fx_days_turn_at_five_in_new_york_and_the_weekend_is_monday():
    asked = stamps("2020-08-28T20:59", "2020-08-28T21:00", "2020-08-30T22:00", "2020-12-01T21:59", "2020-12-01T22:00")
    assert iso(session_dates(asked, FX)) == ["2020-08-28", "2020-08-31", "2020-08-31", "2020-12-01", "2020-12-02"]
    assert iso(session_opens(days("2020-03-09"), FX)) == ["2020-03-08T21:00:00Z"]
    assert iso(bar_ends(stamps("2020-08-30T21:00"), days("2020-08-31"), "1d", FX)) == ["2020-08-31T21:00:00Z"]


def test_crypto_days_are_utc_days():
    assert iso(session_dates(stamps("2020-09-01T00:30"), CRYPTO)) == ["2020-09-01"]
    assert iso(bar_ends(stamps("2020-09-05T00:00"), days("2020-09-05"), "1d", CRYPTO)) == ["2020-09-06T00:00:00Z"]


def test_futures_sessions_begin_on_the_evening_before():
    assert iso(session_dates(stamps("2020-08-30T23:00", "2020-08-31T20:00"), venue_of("CMES"))) == ["2020-08-31", "2020-08-31"]


def test_a_daily_bar_ends_with_the_close_also_on_a_half_day():
    ends = bar_ends(stamps("2020-08-31T13:30", "2020-11-27T14:30"), days("2020-08-31", "2020-11-27"), "1d", NEW_YORK)
    assert iso(ends) == ["2020-08-31T20:00:00Z", "2020-11-27T18:00:00Z"]


def test_longer_bars_end_with_their_last_session():
    assert iso(bar_ends(stamps("2020-06-29T04:00"), days("2020-06-29"), "1wk", NEW_YORK)) == ["2020-07-02T20:00:00Z"]
    assert iso(bar_ends(stamps("2015-01-01T05:00"), days("2015-01-01"), "1mo", NEW_YORK)) == ["2015-01-30T21:00:00Z"]
    assert iso(bar_ends(stamps("2015-01-01T00:00"), days("2015-01-01"), "1mo", CRYPTO)) == ["2015-02-01T00:00:00Z"]


def test_an_hour_that_the_close_cuts_ends_there():
    ends = bar_ends(
        stamps("2022-03-18T18:30", "2022-03-18T19:30", "2022-03-18T20:30"), days(*["2022-03-18"] * 3), "60m", NEW_YORK
    )
    assert iso(ends) == ["2022-03-18T19:30:00Z", "2022-03-18T20:00:00Z", "2022-03-18T21:30:00Z"]


def test_without_a_calendar_the_local_midnight_ends_a_day():
    future = venue_of(None, "America/New_York", "future")
    assert iso(bar_ends(stamps("2020-01-02T05:00"), days("2020-01-02"), "1d", future)) == ["2020-01-03T05:00:00Z"]
    assert venue_of("XNSE", "Asia/Kolkata").calendar == ""


def test_before_the_calendar_begins_the_local_day_stands():
    assert iso(session_dates(stamps("1965-01-02T12:00"), NEW_YORK)) == ["1965-01-02"]
    assert iso(bar_ends(stamps("1965-01-04T15:00"), days("1965-01-04"), "1d", NEW_YORK)) == ["1965-01-05T05:00:00Z"]


def test_an_index_takes_the_calendar_of_its_zone():
    assert venue_of(None, "America/New_York", "index") == NEW_YORK
    assert zone_of("XOSL") == "Europe/Oslo"


def test_sessions_are_counted_without_weekends_and_holidays():
    assert sessions_between(date(2020, 9, 4), date(2020, 9, 9), NEW_YORK) == 2
    assert sessions_between(date(2020, 9, 4), date(2020, 9, 9), CRYPTO) == 5
    assert sessions_between(date(1960, 1, 1), date(1960, 1, 8), NEW_YORK) == 5


@pytest.mark.parametrize(("mic", "zone"), [(None, None), (None, "Mars/Olympus"), ("XXXX", "../etc/passwd"), ("XXXX", None)])
def test_a_venue_that_nothing_places_is_refused(mic: str | None, zone: str | None):
    with pytest.raises(InvalidValueError, match="zone"):
        venue_of(mic, zone)


@pytest.mark.parametrize("interval", ["", "1", "d", "1y", "1D", "-1d"])
def test_an_unknown_interval_is_refused(interval: str):
    with pytest.raises(InvalidValueError, match="interval"):
        bar_ends(stamps("2020-01-02T15:00"), days("2020-01-02"), interval, NEW_YORK)


@given(
    st.lists(
        st.integers(-10_000_000, 60_000_000).map(lambda minutes: datetime(2000, 1, 1, tzinfo=UTC) + timedelta(minutes=minutes)),
        min_size=1,
    )
)
def test_a_column_gives_what_its_rows_give_alone(instants: list[datetime]):
    for venue in (NEW_YORK, FX, CRYPTO, venue_of("CMES"), venue_of(None, "Asia/Kolkata")):
        whole = session_dates(pa.array(instants, STAMP), venue)
        assert whole.to_pylist() == [session_dates(pa.array([one], STAMP), venue)[0].as_py() for one in instants]
        ends = bar_ends(pa.array(instants, STAMP), whole, "1d", venue).to_pylist()
        assert all(end > start for start, end in zip(instants, ends, strict=True))
