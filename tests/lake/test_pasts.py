"""The laws of as_of and known_as_of: what was answered of a moment is not moved by what came later."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest

from lake import scan
from lake.catalog import Lake
from lake.commits import append
from lake.errors import InvalidValueError
from lake.instants import EPOCH, system_clock, to_datetime
from lake.publish import Increment, advance, hold, publish, replace_all, stage, stage_release
from lake.questions import AS_PREDICATE
from lake.scan import Where, dataset, read
from lake.tables import rows, table_named
from lake.values import MessageRange, Vector
from tests.lake.made import MORNING, action_batch, trade_batch, trades
from tests.lake.reading import MESSAGES, TRADES, bars, everything, sandboxed


def sequences(lake: Lake, as_of: datetime | None) -> list[int]:
    found = sorted(read(lake, TRADES, ["sequence"], as_of=as_of)["sequence"].to_pylist())
    source = dataset(lake, TRADES, as_of=as_of)
    assert sorted(number for (number,) in sandboxed(source, "SELECT sequence FROM source")) == found
    return found


def test_as_of_is_the_same_before_and_after_what_comes_later(lake: Lake) -> None:
    start = to_datetime(system_clock())
    first = publish(lake, stage(lake, trade_batch(0, 9))).published_at
    held = hold(lake, stage(lake, trade_batch(10, 19)), {"failed": ["price_jump"]})
    third = publish(lake, stage(lake, trade_batch(20, 29))).published_at
    seen = {moment: sequences(lake, moment) for moment in (start, first, third)}
    assert list(seen.values()) == [[], [*range(10)], [*range(10), *range(20, 30)]]
    released = publish(lake, stage_release(lake, held)).published_at
    assert sequences(lake, released) == sequences(lake, None) == list(range(30))
    publish(lake, replace_all(lake, TRADES, read(lake, TRADES), "rebuild", lake.head(TRADES).snapshot_id))
    assert {moment: sequences(lake, moment) for moment in seen} == seen
    times = read(lake, TRADES, ["sequence", "published_at"])
    expected = {number: released if 10 <= number < 20 else first if number < 10 else third for number in range(30)}
    assert dict(zip(*(column.to_pylist() for column in times.columns), strict=True)) == expected


@pytest.mark.parametrize("count", [30, 130])
def test_as_of_by_any_number_of_message_ranges(lake: Lake, count: int) -> None:
    every = trades(0, 2 * count - 1)
    for parity, owner in ((0, "binance"), (1, "late")):
        batch = every.filter(pa.array([number % 2 == parity for number in range(2 * count)]))
        ranges = tuple(MessageRange("c1", number, number) for number in range(parity, 2 * count, 2))
        published = publish(lake, stage(lake, Increment(TRADES, owner, batch, {}, {"0": 1}, owner, ranges))).published_at
        if not parity:
            first = published
    assert sequences(lake, first) == list(range(0, 2 * count, 2))
    assert sequences(lake, published) == list(range(2 * count))
    late = read(lake, TRADES, ["message_seq", "published_at"], [Where("message_seq", "=", 1)])
    assert late["published_at"].to_pylist() == [published]
    some = read(lake, TRADES, ["message_seq"], [Where("message_seq", "<", 4)], as_of=first)
    assert sorted(some["message_seq"].to_pylist()) == [0, 2]


def test_as_of_by_run(lake: Lake) -> None:
    first = publish(lake, stage(lake, action_batch(0, 4))).published_at
    held = hold(lake, stage(lake, action_batch(5, 9)), {})
    released = publish(lake, stage_release(lake, held)).published_at

    def found(as_of: datetime | None) -> list[int]:
        one = read(lake, "normalized.corporate_actions", ["message_seq"], as_of=as_of)["message_seq"].to_pylist()
        other = dataset(lake, "normalized.corporate_actions", as_of=as_of).to_table()["message_seq"].to_pylist()
        assert sorted(one) == sorted(other)
        return sorted(one)

    assert [found(first - timedelta(seconds=1)), found(first), found(released)] == [[], [*range(5)], [*range(10)]]
    times = read(lake, "normalized.corporate_actions", ["published_at", "message_seq"])
    assert {row["message_seq"]: row["published_at"] for row in times.to_pylist()} == {
        number: first if number < 5 else released for number in range(10)
    }


def test_as_of_by_many_runs(lake: Lake) -> None:
    table = "normalized.corporate_actions"
    for number in range(AS_PREDICATE + 2):
        if number == AS_PREDICATE + 1:
            moment = to_datetime(system_clock())
            assert read(lake, table, ["message_seq"], as_of=moment).num_rows == number
        append(lake, table, action_batch(number, number).rows, "ice", before(number), {"0": number + 1}, f"run-ice-{number}")
    assert sorted(read(lake, table, ["message_seq"], as_of=moment)["message_seq"].to_pylist()) == [*range(AS_PREDICATE + 1)]
    assert read(lake, table, ["message_seq"], [Where("message_seq", ">=", AS_PREDICATE)], as_of=moment).num_rows == 1
    assert dataset(lake, table, as_of=moment).count_rows() == AS_PREDICATE + 1


def before(number: int) -> Vector:
    return {"0": number} if number else {}


def gap(gap_id: str, recorded_at: datetime) -> pa.Table:
    columns = {
        "gap_id": gap_id,
        "provider": "binance",
        "feed": "spot",
        "status": "open",
        "reason": "dropped",
        "recorded_at": recorded_at,
    }
    return rows(table_named("quality.gaps"), {name: [value] for name, value in columns.items()})


def test_history_was_there_when_it_was_recorded(shared: Lake) -> None:
    for number in range(3):
        before: Vector = {"0": number} if number else {}
        append(
            shared,
            "quality.gaps",
            gap(f"g{number}", MORNING + timedelta(hours=number)),
            "history",
            before,
            {"0": number + 1},
            "h",
        )
    questions: list[dict[str, Any]] = [{name: MORNING + timedelta(hours=1)} for name in ("as_of", "known_as_of")]
    for question in questions:
        assert sorted(read(shared, "quality.gaps", ["gap_id"], **question)["gap_id"].to_pylist()) == ["g0", "g1"]
        assert dataset(shared, "quality.gaps", **question).count_rows() == 2
    published = read(shared, "quality.gaps", ["published_at"], [Where("gap_id", "=", "g2")])
    assert published["published_at"].to_pylist() == [MORNING + timedelta(hours=2)]


def test_a_past_that_cannot_be_told_is_refused(full: Lake) -> None:
    for name in ("as_of", "known_as_of"):
        moment: dict[str, Any] = {name: EPOCH + timedelta(days=20_000)}
        with pytest.raises(InvalidValueError, match="rewritten"):
            read(full, "adjusted.bars_1d", **moment)
        with pytest.raises(InvalidValueError, match="time zone"):
            naive: dict[str, Any] = {name: MORNING.replace(tzinfo=None)}
            read(full, TRADES, **naive)
    with pytest.raises(InvalidValueError, match="future"):
        read(full, TRADES, as_of=datetime(2999, 1, 1, tzinfo=UTC))


def test_known_bars(shared: Lake) -> None:
    known = [MORNING + timedelta(days=number) for number in range(4)]
    batch = bars([1] * 4, "csv-run", "csv", known)
    append(shared, "normalized.bars", batch, "csv", {}, {"0": 1}, "csv-run", [MessageRange("c", 0, 9)])
    where = [Where("provider", "=", "csv")]
    for number, moment in enumerate(known):
        assert read(shared, "normalized.bars", where=where, known_as_of=moment).num_rows == number + 1
        lazily = dataset(shared, "normalized.bars", known_as_of=moment)
        assert sandboxed(lazily, "SELECT count(*) FROM source WHERE provider = 'csv'") == [(number + 1,)]
    assert read(shared, "normalized.bars", where=where, known_as_of=MORNING - timedelta(microseconds=1)).num_rows == 0


def test_known_ticks_are_those_of_the_venue_else_of_their_receipt(shared: Lake) -> None:
    count = 4
    quotes = rows(
        table_named("normalized.quotes"),
        {
            "instrument_id": [1] * count,
            "provider": ["binance"] * count,
            "feed": ["spot"] * count,
            "symbol": ["BTCUSDT"] * count,
            "session_date": [date(2024, 3, 4)] * count,
            "ts_event": [MORNING, None, MORNING + timedelta(hours=2), None],
            "ts_recv": [MORNING + timedelta(hours=hour) for hour in (9, 1, 0, 3)],
            "capture_id": ["c"] * count,
            "message_seq": list(range(count)),
            "ordinal": [0] * count,
        },
    )
    append(shared, "normalized.quotes", quotes, "binance", {}, {"0": 1}, "run", [MessageRange("c", 0, 9)])
    for hours, expected in ((-1, []), (0, [0]), (1, [0, 1]), (2, [0, 1, 2]), (3, [0, 1, 2, 3])):
        moment = MORNING + timedelta(hours=hours)
        found = read(shared, "normalized.quotes", ["message_seq"], known_as_of=moment)["message_seq"].to_pylist()
        lazily = dataset(shared, "normalized.quotes", known_as_of=moment).to_table()["message_seq"].to_pylist()
        assert sorted(found) == sorted(lazily) == expected


def test_known_messages_are_those_received(landed: Lake) -> None:
    moment = MORNING + timedelta(seconds=10)
    wanted = sum(row["ts_recv"] <= moment for row in everything(landed, MESSAGES))
    assert read(landed, MESSAGES, ["message_seq"], known_as_of=moment).num_rows == wanted > 0


def test_both_pasts_stand_together(lake: Lake) -> None:
    first = publish(lake, stage(lake, trade_batch(0, 9))).published_at
    publish(lake, stage(lake, trade_batch(10, 19)))
    advance(lake, TRADES, "binance", {"0": 20}, {"0": 25}, "empty", {}, ())
    moment = MORNING + timedelta(seconds=4)
    assert sorted(read(lake, TRADES, ["sequence"], as_of=first, known_as_of=moment)["sequence"].to_pylist()) == [0, 1, 2, 3, 4]
    assert scan.dataset(lake, TRADES, as_of=first, known_as_of=moment).count_rows() == 5
