from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lake import as_of
from lake.catalog import Lake
from lake.commits import append
from lake.errors import InvalidValueError
from lake.expiry import expire
from lake.instants import NANOS_PER_SECOND, system_clock, to_datetime
from lake.publish import hold, publish, replace_all, stage, stage_release
from lake.settings import load_settings
from lake.tables import PublishedBy
from lake.values import MessageRange
from tests.lake.made import action_batch, messages, trade_batch, trades

TRADES = "normalized.trades"


def now() -> datetime:
    return to_datetime(system_clock())


def seen(lake: Lake, moment: datetime) -> list[tuple[int, int]]:
    return [(one.first_seq, one.last_seq) for one in as_of.visible(lake, TRADES, moment).ranges]


def test_a_past_answer_is_unmoved_by_whatever_comes_later(lake: Lake) -> None:
    moments = [now()]
    publish(lake, stage(lake, trade_batch(0, 4)))
    moments.append(now())
    held = hold(lake, stage(lake, trade_batch(5, 9)), {})
    moments.append(now())
    publish(lake, stage(lake, trade_batch(10, 14)))
    moments.append(now())
    expected = [[], [(0, 4)], [(0, 4)], [(0, 4), (10, 14)]]
    assert [seen(lake, moment) for moment in moments] == expected

    publish(lake, stage_release(lake, held))
    moments.append(now())
    expected.append([(0, 14)])
    base = lake.head(TRADES).snapshot_id
    publish(lake, replace_all(lake, TRADES, trades(0, 14, capture="c-binance"), "rebuild-1", base))
    moments.append(now())
    expected.append([(0, 14)])
    assert expire(lake, TRADES, keep=1, slack=0) > 0
    publish(lake, stage(lake, trade_batch(15, 19)))
    assert [seen(lake, moment) for moment in moments] == expected
    assert seen(lake, now()) == [(0, 19)]


def test_the_ledger_is_booked_before_expiry_forgets(lake: Lake) -> None:
    for number in range(4):
        append(lake, "raw.messages", messages(number, number), "raw", {"0": number} if number else {}, {"0": number + 1}, "land",
               [MessageRange("c1", number, number)])  # fmt: skip
    expire(lake, "raw.messages", keep=1, slack=0)
    assert len(as_of.ledger(lake, "raw.messages")) == 4
    assert as_of.visible(lake, "raw.messages", now()).ranges == (MessageRange("c1", 0, 3),)


def test_booking_is_repeatable_and_one_transaction_a_snapshot(lake: Lake) -> None:
    publish(lake, stage(lake, trade_batch(0, 4)))
    publish(lake, stage(lake, action_batch(0, 4)))
    before = as_of.publications(lake)
    assert as_of.reconcile(lake, TRADES) == 0
    assert as_of.publications(lake).equals(before)
    assert before.select(["table_name", "owner", "run_id", "capture_id", "first_seq", "last_seq"]).to_pylist() == [
        {
            "table_name": table,
            "owner": owner,
            "run_id": f"run-{owner}-0",
            "capture_id": capture,
            "first_seq": 0,
            "last_seq": 4,
        }
        for table, owner, capture in ((TRADES, "binance", "c-binance"), ("normalized.corporate_actions", "ice", "c1"))
    ]
    # Lost, it is made again from main's log.
    with lake.state.writing() as connection:
        connection.exec_driver_sql("DELETE FROM publications")
        connection.exec_driver_sql("DELETE FROM publication_ranges")
    assert as_of.publications(lake).equals(before)


def test_published_at_is_the_time_of_mains_log(lake: Lake) -> None:
    published = publish(lake, stage(lake, trade_batch(0, 4)))
    entry = lake.table(TRADES).metadata.snapshot_log[-1]
    assert published.snapshot_id == entry.snapshot_id
    assert published.published_at == datetime.fromtimestamp(entry.timestamp_ms / 1000, UTC)
    assert seen(lake, published.published_at) == [(0, 4)]
    assert seen(lake, published.published_at - timedelta(milliseconds=1)) == []


def test_a_commit_under_way_while_its_time_was_asked_about_is_booked_after_it(tmp_path: Path) -> None:
    settings = load_settings(home=tmp_path)
    # A clock an hour ahead answers about a moment that the catalog's commits have not reached yet.
    with Lake.create(settings, lambda: system_clock() + 3600 * NANOS_PER_SECOND) as lake:
        moment = now() + timedelta(minutes=30)
        assert seen(lake, moment) == []
        published = publish(lake, stage(lake, trade_batch(0, 4)))
        assert seen(lake, moment) == []
        assert published.published_at > moment
        assert seen(lake, moment + timedelta(milliseconds=1)) == [(0, 4)]
        assert seen(lake, moment - timedelta(minutes=1)) == []


def test_the_future_cannot_be_asked_about(lake: Lake) -> None:
    with pytest.raises(InvalidValueError, match="future"):
        as_of.visible(lake, TRADES, now() + timedelta(minutes=1))
    with pytest.raises(InvalidValueError, match="time zone"):
        as_of.visible(lake, TRADES, datetime(2024, 1, 1))  # noqa: DTZ001  the naive datetime is the point


def test_history_of_our_own_is_seen_by_its_own_stamp(lake: Lake) -> None:
    found = as_of.visible(lake, "quality.findings", now())
    assert (found.published_by, found.runs, found.ranges) == (PublishedBy.RECORDED, frozenset(), ())


RANGES = st.lists(
    st.builds(
        lambda capture, first, length: MessageRange(capture, first, first + length),
        st.sampled_from("ab"),
        st.integers(0, 30),
        st.integers(0, 9),
    ),
    max_size=12,
)


def numbers(ranges: tuple[MessageRange, ...] | list[MessageRange]) -> set[tuple[str, int]]:
    return {(one.capture_id, number) for one in ranges for number in range(one.first_seq, one.last_seq + 1)}


@given(RANGES)
def test_coalesced_ranges_are_the_same_messages_in_the_fewest_ranges(ranges: list[MessageRange]) -> None:
    joined = as_of.coalesced(ranges)
    assert numbers(joined) == numbers(ranges)
    ends = {(one.capture_id, one.last_seq + 1) for one in joined}
    assert not ends & numbers(joined), "no range begins where another ends"
    assert len(ends) == len(joined)
