"""Derived fields in SQL: named, exact, and null where an input is missing."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pytest

from lake.catalog import Lake
from lake.instants import system_clock
from lake.settings import load_settings
from quality_checks.promotion import promote
from serving.paged import Paged
from serving.quotes import quotes
from serving.sql import answer
from serving.trades import trades
from tests.quality_checks import raw
from transforms.calendars import venue_of
from transforms.derived import DERIVED, derived_columns, instrument_venues, venue_hours

FIELDS = "dollar_volume, age_us, is_market_hours"


@pytest.fixture(scope="module")
def traded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lake]:
    with Lake.create(load_settings(home=tmp_path_factory.mktemp("derived") / "lake"), system_clock) as lake:
        raw.land(lake, "c1", raw.frames(200))
        promote(lake, "binance")
        yield lake


def test_trades_tell_their_dollar_volume_and_age(traded: Lake) -> None:
    found = answer(traded, f"SELECT price, size, ts_recv, ts_event, {FIELDS} FROM derived.trades")
    rows = found.table.to_pylist()
    assert rows and found.snapshots.keys() == {"normalized.trades"}
    for row in rows:
        assert row["dollar_volume"] == row["price"] * row["size"]
        assert row["age_us"] == (row["ts_recv"] - row["ts_event"]).total_seconds() * 1e6
        assert row["is_market_hours"] is True, "crypto is always open"


def test_quotes_tell_spread_and_mid_and_null_where_nothing_tells(traded: Lake) -> None:
    rows = answer(traded, "SELECT bid_price, ask_price, ts_event, spread, mid, age_us FROM derived.quotes").table.to_pylist()
    assert rows
    for row in rows:
        assert row["spread"] == row["ask_price"] - row["bid_price"]
        assert row["mid"] == (row["ask_price"] + row["bid_price"]) * Decimal("0.5")
        assert (row["age_us"] is None) == (row["ts_event"] is None), "Binance's spot quotes have no clock of the venue"


@pytest.mark.parametrize(("ask", "view"), [(trades, "derived.trades"), (quotes, "derived.quotes")])
def test_a_page_tells_what_the_view_tells_and_names_it_as_derived(traded: Lake, ask, view: str) -> None:
    found = ask(traded, Paged("BTCUSDT"))
    names = sorted(DERIVED[view].columns)
    assert found.metadata["derived"] == names and found.table.num_rows
    place = "capture_id, message_seq, ordinal"
    told = answer(traded, f"SELECT {place}, {', '.join(names)} FROM {view} ORDER BY {place}").table
    mine = found.table.select(told.column_names).sort_by([(name, "ascending") for name in place.split(", ")])
    assert mine.to_pylist() == told.to_pylist()


def test_market_hours_of_rows_in_hand_know_breaks_and_days_without_hours() -> None:
    clock = ["2024-01-04T00:30", "2024-01-04T02:59", "2024-01-04T03:00", "2024-01-04T06:00", "2024-01-06T03:45"]
    at = [datetime.fromisoformat(text).replace(tzinfo=UTC) for text in clock]
    one = {name: [Decimal(1)] * len(at) for name in ("price", "size")}
    rows = pa.table(one | {"ts_event": at, "ts_recv": at, "session_date": [moment.date() for moment in at]})
    rows = rows.set_column(2, "ts_event", rows["ts_event"].cast(pa.timestamp("us", "UTC")))
    tokyo = derived_columns("normalized.trades", rows, venue_of("XTKS"))["is_market_hours"].to_pylist()
    assert tokyo == [True, False, False, False, None]
    unknown = derived_columns("normalized.trades", rows, venue_of(None, "Europe/Oslo", "future"))["is_market_hours"]
    assert unknown.to_pylist() == [None] * len(at)


def test_the_views_are_listed_and_described(traded: Lake) -> None:
    listed = dict(zip(*(column.to_pylist() for column in answer(traded, "SHOW TABLES").table.columns), strict=True))
    for name, view in DERIVED.items():
        assert "derived fields" in listed[name]
        columns = answer(traded, f"DESCRIBE {name}").table["column_name"].to_pylist()
        assert set(view.columns) <= set(columns)


def test_hours_know_half_days_lunch_breaks_and_the_week_of_fx() -> None:
    venues = {1: venue_of("XNYS"), 2: venue_of("XTKS"), 3: venue_of(None, None, "fx"), 4: venue_of(None, "Europe/Oslo", "future")}
    assert instrument_venues(venues)["venue"].to_pylist() == ["XNYS", "XTKS", "fx", None]
    hours = {(row["venue"], row["session_date"]): row for row in venue_hours(venues).to_pylist()}
    half = hours["XNYS", date(2024, 11, 29)]
    assert (half["opens_at"], half["closes_at"]) == (
        datetime(2024, 11, 29, 14, 30, tzinfo=UTC),
        datetime(2024, 11, 29, 18, tzinfo=UTC),
    )
    lunch = hours["XTKS", date(2024, 3, 5)]
    assert (lunch["pauses_at"].hour, lunch["resumes_at"].hour) == (2, 3)
    assert hours["fx", date(2024, 3, 11)]["opens_at"] == datetime(2024, 3, 10, 21, tzinfo=UTC)
    assert ("fx", date(2024, 3, 10)) not in hours
    assert np.datetime64("2024-11-28") not in [np.datetime64(day) for venue, day in hours if venue == "XNYS"]
