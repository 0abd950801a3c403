"""Writers whose clocks differ: main's log never goes back in time, for readers in Java refuse a table whose log does."""

from __future__ import annotations

from datetime import timedelta

import pytest
from pyiceberg.table.update import AddSnapshotUpdate

from lake import as_of
from lake import iceberg_internals as internals
from lake.catalog import MAIN, Lake
from lake.commits import append, moving_plan
from lake.expiry import expire
from lake.heads import Act
from lake.instants import system_clock, to_datetime
from lake.publish import publish, stage
from lake.values import MessageRange
from tests.lake.made import trade_batch

TRADES = "normalized.trades"
MS = 1_000_000


def commit_ahead(lake: Lake, table: str, seconds: float) -> int:
    """Commit as a writer does whose clock is ahead: it takes its own time for the snapshot. Returns that, in milliseconds."""
    seen, head = lake.table(table), lake.head(table)
    produced = internals.produce(seen, (), (), moving_plan(Act.ADVANCE, "ahead", {}, {"0": 1}, "r", (), {})(head))
    at_ms = system_clock() // MS + int(seconds * 1_000)
    snapshot = internals.snapshot_in(produced).model_copy(update={"timestamp_ms": at_ms})
    internals.commit(
        seen,
        [internals.points_to(MAIN, head.snapshot_id)],
        [AddSnapshotUpdate(snapshot=snapshot), internals.point(MAIN, snapshot.snapshot_id)],
    )
    return at_ms


def times(lake: Lake, table: str) -> list[int]:
    """Return the times of main's log, then that of the last change: what readers in Java want in order."""
    metadata = lake.table(table).metadata
    assert [one.timestamp_ms for one in metadata.metadata_log] == sorted(one.timestamp_ms for one in metadata.metadata_log)
    return [*(one.timestamp_ms for one in metadata.snapshot_log), metadata.last_updated_ms]


def test_main_does_not_go_back_behind_a_writer_whose_clock_is_ahead(lake: Lake) -> None:
    publish(lake, stage(lake, trade_batch(0, 9)))
    ahead_ms = commit_ahead(lake, TRADES, 300)
    staged = stage(lake, trade_batch(10, 19))
    assert times(lake, TRADES)[-1] == ahead_ms, "a branch is a change too"
    made = publish(lake, staged)
    append(lake, TRADES, trade_batch(0, 9, provider="x").rows, "x", {}, {"0": 10}, "r", [MessageRange("c-x", 0, 9)])
    assert expire(lake, TRADES, keep=2, slack=0) == 3
    found = times(lake, TRADES)
    assert found == sorted(found) and found[-1] == ahead_ms
    assert made.published_at == to_datetime(ahead_ms * MS)
    now = as_of.visible(lake, TRADES, to_datetime(system_clock()))
    assert [(one.first_seq, one.last_seq) for one in now.ranges] == [(0, 9)], "what came by then, for ever"


def test_a_clock_that_was_set_wrong_is_not_followed(lake: Lake) -> None:
    ahead_ms = commit_ahead(lake, TRADES, 2 * internals.MOST_BEHIND_MS / 1_000)
    made = publish(lake, stage(lake, trade_batch(0, 9)))
    assert made.published_at < to_datetime(ahead_ms * MS) - timedelta(hours=1)
    assert lake.table(TRADES).metadata.last_updated_ms < ahead_ms


@pytest.mark.parametrize("seconds", [-300.0, 0.0])
def test_a_writer_whose_clock_is_behind_takes_the_time_of_the_commit_before(lake: Lake, seconds: float) -> None:
    publish(lake, stage(lake, trade_batch(0, 9)))
    before = times(lake, TRADES)
    commit_ahead(lake, TRADES, seconds)
    found = times(lake, TRADES)
    assert found == sorted(found) and found[-2] >= before[-1]
