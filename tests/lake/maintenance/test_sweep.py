"""The sweep deletes what nothing refers to, late enough, and nothing else."""

from __future__ import annotations

import pytest

from lake.catalog import Lake
from lake.durable import Place, exists, local_path, place_of
from lake.errors import NotFoundError
from lake.maintenance.maintaining import maintain
from lake.maintenance.sweep import BACKUP_LEASE, reachable, sweep
from lake.plans import PlanCache
from lake.publish import hold, publish, reject, stage, stage_release
from lake.scan import read
from lake.tables import table_named
from tests.lake.made import trade_batch
from tests.lake.maintenance.answers import TRADES, data_files, later, on_disk, published

SWEEP = ("expire", "sweep")


def replaced(lake: Lake) -> list[Place]:
    """Compact three batches and return the files that main left behind."""
    published(lake, 3)
    old = data_files(lake)
    maintain(lake, [TRADES], ("compact",))
    return old


def test_a_file_dies_an_hour_after_it_was_first_seen_dead(lake: Lake) -> None:
    old = replaced(lake)
    plan = PlanCache().plan(table_named(TRADES), lake.table(TRADES))
    (first,) = maintain(lake, [TRADES], ("sweep",)).tables
    assert first.swept.dead_files == 0, "a snapshot still has them"
    (second,) = maintain(lake, [TRADES], SWEEP).tables
    assert second.snapshots_expired > 0
    assert second.swept.dead_files >= len(old) and second.swept.deleted_files == 0
    with later(lake.settings, 3_000) as soon:
        assert maintain(soon, [TRADES], SWEEP).tables[0].swept.deleted_files == 0
    assert all(exists(path) for path in old)
    with later(lake.settings, 7_300) as at_last:
        (third,) = maintain(at_last, [TRADES], SWEEP).tables
        assert (third.swept.waiting, third.swept.foreign) == (0, [])
        assert third.swept.deleted_bytes > 0
    assert not any(exists(path) for path in old)
    assert on_disk(lake) == reachable(lake, lake.table(TRADES))
    assert all(exists(place_of(path)) for path in plan.paths)
    assert read(lake, TRADES).num_rows == 30
    assert lake.state.document("dead", TRADES) == {}


def test_a_file_first_seen_now_lives_however_old_it_is(lake: Lake) -> None:
    old = replaced(lake)
    with later(lake.settings, 100_000) as much_later:
        (done,) = maintain(much_later, [TRADES], SWEEP).tables
    assert done.swept.dead_files >= len(old) and done.swept.deleted_files == 0
    assert all(exists(path) for path in old)


def test_a_reader_with_an_old_plan_plans_again(lake: Lake) -> None:
    replaced(lake)
    assert read(lake, TRADES).num_rows == 30
    with later(lake.settings, 0) as now, later(lake.settings, 7_300) as at_last:
        published(lake, 0)
        maintain(now, [TRADES], SWEEP)
        maintain(at_last, [TRADES], SWEEP)
    assert read(lake, TRADES).num_rows == 30


def test_held_files_live_as_long_as_main_lists_the_hold(lake: Lake) -> None:
    held = hold(lake, stage(lake, trade_batch(0, 9)), {"failed": ["price_jump"]})
    other = hold(lake, stage(lake, trade_batch(10, 19)), {"failed": ["price_jump"]})
    folder = local_path(lake.table(TRADES).location()) / "held"
    left = folder / "of-a-killed-hold" / f"0-{'a' * 32}.parquet"
    left.parent.mkdir()
    left.write_bytes(b"left behind")
    foreign = [folder / "notes.txt", local_path(lake.table(TRADES).location()) / "data" / "part-00000.parquet"]
    for path in foreign:
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"somebody else's")
    maintain(lake, [TRADES], SWEEP)
    with later(lake.settings, 7_300) as at_last:
        (done,) = maintain(at_last, [TRADES], SWEEP).tables
    assert not left.exists() and not left.parent.exists()
    assert sorted(done.swept.foreign) == sorted(str(path) for path in foreign)
    assert all(path.exists() for path in foreign)
    publish(lake, stage_release(lake, held))
    reject(lake, other)
    assert read(lake, TRADES).num_rows == 10


def test_an_audit_branch_keeps_its_files(lake: Lake) -> None:
    staged = stage(lake, trade_batch(0, 9))
    maintain(lake, [TRADES], SWEEP)
    with later(lake.settings, 7_300) as at_last:
        assert maintain(at_last, [TRADES], SWEEP).tables[0].swept.deleted_files == 0
    publish(lake, staged)
    assert read(lake, TRADES).num_rows == 10


@pytest.mark.parametrize("why", ["lease", "backup"])
def test_nothing_is_deleted_without_the_lease_or_beside_a_backup(lake: Lake, why: str) -> None:
    old = replaced(lake)
    maintain(lake, [TRADES], SWEEP)
    with later(lake.settings, 7_300) as at_last:
        if why == "lease":
            done = sweep(at_last, TRADES, 3600, "not the token", lease=f"maintain {TRADES}")
            assert done.stopped == "the lease was lost to another process"
        else:
            with lake.state.lease(BACKUP_LEASE):
                (told,) = maintain(at_last, [TRADES], SWEEP).tables
            assert told.swept.stopped is not None and "a backup is under way" in told.swept.stopped
    assert all(exists(path) for path in old)


def test_a_plan_changes_nothing(lake: Lake) -> None:
    replaced(lake)
    before, head = on_disk(lake), lake.head(TRADES).snapshot_id
    report = maintain(lake, [TRADES], plan_only=True)
    assert (on_disk(lake), lake.head(TRADES).snapshot_id) == (before, head)
    assert lake.state.document("dead", TRADES) is None
    assert report.document()["plan_only"] is True
    assert "expire" in report.tables[0].planned[-1]
    with pytest.raises(NotFoundError):
        maintain(lake, ["normalized.nothing"])


def test_what_a_killed_rewrite_spilled_is_removed(lake: Lake) -> None:
    left = lake.settings.home / "spill" / "killed" / "block"
    left.parent.mkdir(parents=True)
    left.write_bytes(b"spilled")
    assert maintain(lake, [TRADES], ("sweep",)).leftovers == 0
    with later(lake.settings, 7_300) as at_last:
        assert maintain(at_last, [TRADES], ("sweep",)).leftovers == 1
    assert not left.parent.exists()
