"""Built bars: from landed frames through the gate, with late trades, corrections and cancels as versions."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from lake.catalog import Lake
from lake.conditions import Where
from lake.content import content_hash
from lake.instants import system_clock, to_ns
from lake.publish import Increment, publish, stage
from lake.scan import read
from lake.settings import load_settings
from lake.tables import rows as of_columns
from lake.tables import table_named
from quality_checks.building import build, compute, touched_since, where_part
from quality_checks.built_proof import built_bars_add_up
from quality_checks.promotion import promote
from quality_checks.rebuild import rebuild
from quality_checks.verify import verify
from tests.quality_checks import raw
from transforms.built_bars import BUILT
from transforms.revisions import effective
from transforms.standing import standing

DAY = date(2024, 8, 8)
NOON = datetime(2024, 8, 8, 12, tzinfo=UTC)
NS = 1_000_000_000


class Clock:
    """A clock that a test sets."""

    def __init__(self, moment: datetime) -> None:
        self.moment = moment

    def __call__(self) -> int:
        return to_ns(self.moment)


def frames(*told: tuple[int, int, int, float]) -> list[raw.Payload]:
    """Return trade frames of (number, price, milliseconds after noon, seconds until it came)."""
    start = to_ns(NOON)
    return [
        (start + at_ms * 1_000_000 + int(late * NS), raw.trade(number, price, at_ms=at_ms - number))
        for number, price, at_ms, late in told
    ]


@pytest.fixture
def lake(tmp_path: Path) -> Iterator[Lake]:
    with Lake.create(load_settings(home=tmp_path / "home"), system_clock) as made:
        yield made


def minutes(lake: Lake) -> list[tuple[str, str, list[int | None], int]]:
    """Return the minute bars of trades: open, known, prices, trades."""
    rows = read(lake, BUILT, where=[Where("interval", "=", "1m"), Where("price_type", "=", "trade")])
    rows = rows.sort_by([("ts_open", "ascending"), ("known_at", "ascending")])
    return [
        (
            f"{row['ts_open']:%H:%M}",
            f"{row['known_at']:%H:%M:%S}",
            [None if row[name] is None else int(row[name]) for name in ("open", "high", "low", "close")],
            row["trade_count"],
        )
        for row in rows.to_pylist()
    ]


def assert_as_computed_anew(lake: Lake) -> None:
    """Everything computed once more, at the position of the table, is what is in force there."""
    position, table = lake.head(BUILT).vector("built"), table_named(BUILT)
    for key in touched_since(lake, {}, position):
        held = effective(table, read(lake, BUILT, [*table.column_names, "published_at"], where_part(key)))
        assert content_hash(table, held) == content_hash(table, compute(lake, position, key)[0])


def told_event(lake: Lake, number: int, **values: object) -> None:
    """Publish one row of normalized.trade_events about a Binance trade."""
    trade = read(lake, "normalized.trades", where=[Where("trade_id", "=", str(number))]).to_pylist()[0]
    names = ("instrument_id", "provider", "feed", "symbol", "session_date", "ts_event", "ts_event_nanos", "trade_id")
    row = {name: trade[name] for name in names} | {
        "capture_id": "c1",
        "message_seq": 0,
        "ordinal": 0,
        "run_id": f"event-{number}",
    }
    table = table_named("normalized.trade_events")
    rows: dict[str, Sequence[object]] = {name: [value] for name, value in {**row, **values}.items()}
    before = lake.head(table.name).vector("binance")
    after = {"0": before.get("0", 0) + 1}
    publish(lake, stage(lake, Increment(table.name, "binance", of_columns(table, rows), before, after, f"event-{number}")))


def test_bars_are_published_as_they_end_and_late_trades_are_versions(lake: Lake) -> None:
    raw.land(lake, "c1", frames((1, 100, 100, 0), (2, 110, 30_000, 0), (3, 90, 59_990, 0.2), (4, 120, 61_000, 0)))
    promote(lake, "binance")
    report = build(lake)
    assert (report.parts, report.rows) == (1, 3)
    first = [("12:00", "12:01:01", [100, 110, 90, 90], 3), ("12:01", "12:02:01", [120, 120, 120, 120], 1)]
    assert minutes(lake) == first
    assert build(lake).rows == 0, "nothing new, nothing written"
    raw.land(lake, "c1", frames((5, 200, 45_000, 90)), first_seq=4, with_capture=False)
    promote(lake, "binance")
    build(lake)
    late = ("12:00", "12:03:00", [100, 200, 90, 90], 4)
    assert minutes(lake) == [first[0], late, first[1]]
    (day,) = [row for row in read(lake, BUILT, where=[Where("interval", "=", "1d")]).to_pylist() if row["trade_count"] == 5]
    assert (day["open"], day["high"], day["volume"]) == (100, 200, Decimal("2.5"))
    assert day["dollar_volume"] == (100 + 110 + 90 + 120 + 200) * Decimal("0.5")
    assert_as_computed_anew(lake)


def test_a_correction_and_a_cancel_are_versions_from_when_they_were_known(lake: Lake) -> None:
    raw.land(lake, "c1", frames((1, 100, 100, 0), (2, 500, 30_000, 0), (3, 70, 120_000, 0)))
    promote(lake, "binance")
    build(lake)
    told_event(lake, 2, kind="correction", known_at=NOON + timedelta(seconds=90), new_price=Decimal(105))
    told_event(lake, 3, kind="cancel", known_at=NOON + timedelta(minutes=5, seconds=1))
    build(lake)
    assert minutes(lake) == [
        ("12:00", "12:01:01", [100, 500, 100, 500], 2),
        ("12:00", "12:02:00", [100, 105, 100, 105], 2),
        ("12:02", "12:03:01", [70, 70, 70, 70], 1),
        ("12:02", "12:06:00", [None, None, None, None], 0),
    ]
    assert_as_computed_anew(lake)
    assert built_bars_add_up(lake) == (1, [])


def test_a_rebuild_gives_every_row_again(lake: Lake) -> None:
    raw.land(lake, "c1", raw.frames(120))
    promote(lake, "binance")
    build(lake)
    each_minute = frames(*((number, 55_000 + number, number * 60_000, 0) for number in range(1, 9)))
    raw.land(lake, "c1", each_minute, first_seq=120, with_capture=False)
    promote(lake, "binance")
    build(lake)
    before = content_hash(table_named(BUILT), read(lake, BUILT))
    assert read(lake, BUILT).num_rows >= 8
    report = rebuild(lake, BUILT)
    assert report.is_same, report.document()
    assert content_hash(table_named(BUILT), read(lake, BUILT)) == before
    assert build(lake).rows == 0
    assert verify(lake).failed == []


def test_minutes_come_while_the_day_goes_on_and_the_day_at_its_end(tmp_path: Path) -> None:
    day = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    clock = Clock(day + timedelta(days=1, hours=12, minutes=30))  # tomorrow: commits are stamped by the machine's own clock
    base = clock.moment - timedelta(minutes=10) - NOON

    def at(number: int, price: int, seconds: float, late: float = 0) -> raw.Payload:
        moment = NOON + base + timedelta(seconds=seconds)
        body = raw.trade(number, price, at_ms=(moment - NOON) // timedelta(milliseconds=1) - number)
        return to_ns(moment) + int(late * NS), body

    def told(lake: Lake) -> list[tuple[int, list[int | None], int]]:
        start = f"{NOON + base:%H:%M}"
        return [(int(one[0][3:]) - int(start[3:]), one[2], one[3]) for one in minutes(lake)]

    with Lake.create(load_settings(home=tmp_path / "home"), clock) as lake:
        raw.land(lake, "c1", [at(1, 100, 5), at(2, 110, 605)])
        promote(lake, "binance")
        assert build(lake).rows == 1, "the second minute has not ended, nor has the day"
        raw.land(lake, "c1", [at(3, 120, 606), at(4, 90, 30, late=570)], first_seq=2, with_capture=False)
        promote(lake, "binance")
        clock.moment += timedelta(seconds=50)
        build(lake)
        clock.moment += timedelta(seconds=30)
        build(lake)
        late = (0, [100, 100, 90, 90], 2)
        assert told(lake) == [(0, [100] * 4, 1), late, (10, [110, 120, 110, 120], 2)]
        assert not read(lake, BUILT, where=[Where("interval", "=", "1d")]).num_rows
        clock.moment += timedelta(days=1)
        build(lake)
        assert read(lake, BUILT, where=[Where("interval", "=", "1d")]).num_rows
        assert_as_computed_anew(lake)
        assert rebuild(lake, BUILT).is_same
        assert build(lake).parts == 0


def test_a_corrected_trade_that_stands_by_itself_is_not_made_twice(lake: Lake) -> None:
    raw.land(lake, "c1", frames((1, 100, 100, 0), (2, 500, 30_000, 0)))
    promote(lake, "binance")
    told_event(lake, 1, kind="correction", known_at=NOON + timedelta(seconds=90), new_trade_id="2")
    trades, events = read(lake, "normalized.trades"), read(lake, "normalized.trade_events")
    found = standing(trades, events, [0, 0])
    assert found.num_rows == 2
    assert json.dumps(sorted(found["known_until"].to_pylist())) == json.dumps(
        [to_ns(NOON + timedelta(seconds=90)) // 1000, 2**63 - 1]
    )
