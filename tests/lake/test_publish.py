from __future__ import annotations

import pytest

from lake import as_of
from lake import iceberg_internals as internals
from lake.catalog import MAIN, Lake
from lake.durable import place_of
from lake.errors import CommitConflictError, InvalidValueError, NotFoundError
from lake.heads import Act
from lake.instants import system_clock
from lake.publish import (
    Increment,
    advance,
    clean_dead_branches,
    discard,
    held_rows,
    hold,
    hold_id_of,
    publish,
    read_staged,
    reject,
    replace_all,
    stage,
    stage_release,
)
from lake.values import MessageRange
from tests.lake.made import action_batch, actions, trade_batch, trades
from tests.lake.test_commits import At, data_files

TRADES = "normalized.trades"


def numbers(lake: Lake, table: str = TRADES) -> list[int]:
    return sorted(lake.table(table).scan(selected_fields=("message_seq",)).to_arrow().column(0).to_pylist())


def branches(lake: Lake, table: str = TRADES) -> set[str]:
    return set(lake.table(table).metadata.refs) - {MAIN}


def test_staged_rows_are_seen_by_nobody_until_published(lake: Lake) -> None:
    batch = trade_batch(0, 9)
    staged = stage(lake, batch)
    assert numbers(lake) == []
    assert lake.head(TRADES).position == {}
    assert sorted(read_staged(lake, staged).to_pylist(), key=str) == sorted(batch.rows.to_pylist(), key=str)
    published = publish(lake, staged)
    assert numbers(lake) == list(range(10))
    assert lake.head(TRADES).position == {"binance": {"0": 10}}
    assert branches(lake) == set()
    assert publish(lake, staged) == published, "again is harmless"
    assert numbers(lake) == list(range(10))
    assert [entry.run_id for entry in as_of.ledger(lake, TRADES)] == ["run-binance-0"]


def test_owners_have_positions_of_their_own(lake: Lake) -> None:
    publish(lake, stage(lake, trade_batch(0, 4)))
    publish(lake, stage(lake, trade_batch(0, 2, provider="other")))
    publish(lake, stage(lake, trade_batch(5, 9)))
    assert lake.head(TRADES).position == {"binance": {"0": 10}, "other": {"0": 3}}


def test_offsets_that_were_published_cannot_be_staged_again(lake: Lake) -> None:
    publish(lake, stage(lake, trade_batch(0, 4)))
    kept = data_files(lake, TRADES)
    with pytest.raises(CommitConflictError):
        stage(lake, trade_batch(0, 4, run_id="again"))
    assert data_files(lake, TRADES) == kept


def test_a_main_that_moved_since_staging_is_a_conflict_and_the_branch_goes(lake: Lake) -> None:
    staged = stage(lake, trade_batch(0, 4))
    publish(lake, stage(lake, trade_batch(0, 2, provider="other")))
    kept = data_files(lake, TRADES) - {place_of(path) for path in staged.files}
    with pytest.raises(CommitConflictError):
        publish(lake, staged)
    assert branches(lake) == set()
    assert data_files(lake, TRADES) == kept
    publish(lake, stage(lake, trade_batch(0, 4)))
    assert numbers(lake) == sorted([*range(3), *range(5)])


def test_the_branch_of_another_run_is_not_dropped(lake: Lake) -> None:
    staged = stage(lake, trade_batch(0, 4))
    assert clean_dead_branches(lake, TRADES) == 1
    assert branches(lake) == set()
    discard(lake, staged)
    with pytest.raises(CommitConflictError):
        publish(lake, staged)
    assert numbers(lake) == []


def test_dead_branches_are_cleaned_with_their_files_and_nothing_else(lake: Lake) -> None:
    publish(lake, stage(lake, trade_batch(0, 4)))
    kept = data_files(lake, TRADES)
    stage(lake, trade_batch(5, 9))
    stage(lake, trade_batch(5, 9))
    assert clean_dead_branches(lake, TRADES) == 2
    assert (branches(lake), data_files(lake, TRADES)) == (set(), kept)
    assert numbers(lake) == list(range(5))


def test_a_held_batch_lets_the_feed_go_on_and_is_released_once(lake: Lake) -> None:
    publish(lake, stage(lake, trade_batch(0, 4)))
    staged = stage(lake, trade_batch(5, 9))
    held = hold(lake, staged, {"failed": ["price_jump"]})
    assert held.hold_id == "trades-binance-0.5-10"
    assert (held.before, held.after, held.row_count) == ({"0": 5}, {"0": 10}, 5)
    assert branches(lake) == set()
    assert lake.head(TRADES).holds == (held,)
    publish(lake, stage(lake, trade_batch(10, 14)))
    assert lake.head(TRADES).holds == (held,), "copied forward"
    assert numbers(lake) == [*range(5), *range(10, 15)]
    assert sorted(held_rows(lake, held).column("message_seq").to_pylist()) == list(range(5, 10))

    publish(lake, stage_release(lake, held))
    assert numbers(lake) == list(range(15))
    assert lake.head(TRADES).holds == ()
    assert lake.head(TRADES).position == {"binance": {"0": 15}}, "as it was"
    with pytest.raises(NotFoundError, match="not open"):
        stage_release(lake, held)
    with pytest.raises(NotFoundError, match="not open"):
        reject(lake, held)
    with pytest.raises(NotFoundError, match="no files"):
        held_rows(lake, held)
    assert numbers(lake) == list(range(15))
    assert [(entry.act, entry.run_id) for entry in as_of.ledger(lake, TRADES)] == [
        (Act.PUBLISH, "run-binance-0"),
        (Act.PUBLISH, "run-binance-10"),
        (Act.RELEASE, "run-binance-5"),
    ]


def test_a_release_may_leave_rows_out(lake: Lake) -> None:
    held = hold(lake, stage(lake, trade_batch(0, 9)), {})
    staged = stage_release(lake, held, trades(0, 6, capture="c-binance"))
    assert sorted(read_staged(lake, staged).column("message_seq").to_pylist()) == list(range(7))
    publish(lake, staged)
    assert numbers(lake) == list(range(7))
    assert lake.head(TRADES).holds == ()


def test_a_release_keeps_the_run_the_rows_were_made_by(lake: Lake) -> None:
    table = "normalized.corporate_actions"
    held = hold(lake, stage(lake, action_batch(0, 4)), {})
    with pytest.raises(InvalidValueError, match="names one batch"):
        stage(lake, Increment(table, "ice", actions(5, 6, held.run_id), {"0": 5}, {"0": 7}, held.run_id))
    published = publish(lake, stage_release(lake, held))
    assert published.run_id == "run-ice-0-release"
    assert as_of.visible(lake, table, published.published_at).runs == {"run-ice-0"}


def test_a_release_discarded_after_its_second_audit_stays_held(lake: Lake) -> None:
    held = hold(lake, stage(lake, trade_batch(0, 4)), {})
    discard(lake, stage_release(lake, held))
    assert lake.head(TRADES).holds == (held,)
    assert data_files(lake, TRADES) == set()
    publish(lake, stage_release(lake, held))
    assert numbers(lake) == list(range(5))


def test_a_rejected_batch_is_listed_no_more_and_its_interval_is_settled(lake: Lake) -> None:
    held = hold(lake, stage(lake, trade_batch(0, 4)), {})
    reject(lake, held)
    assert lake.head(TRADES).holds == ()
    assert numbers(lake) == []
    assert [(entry.act, entry.before, entry.after) for entry in as_of.ledger(lake, TRADES)] == [(Act.REJECT, {}, {"0": 5})]
    with pytest.raises(NotFoundError):
        stage_release(lake, held)


@pytest.mark.parametrize("boundary", ["release.linked", "release.staged"])
def test_a_zombie_that_wakes_in_the_middle_of_a_release_adds_nothing(lake: Lake, boundary: str) -> None:
    held = hold(lake, stage(lake, trade_batch(0, 4)), {})

    def successor() -> None:
        clean_dead_branches(lake, TRADES)
        publish(lake, stage_release(lake, held))

    refused = pytest.raises((NotFoundError, CommitConflictError))
    with Lake.open(lake.settings, system_clock, At(boundary, successor)) as zombie, refused:
        publish(zombie, stage_release(zombie, held))
    assert numbers(lake) == list(range(5))
    assert branches(lake) == set()


def test_a_zombie_publish_adds_nothing(lake: Lake) -> None:
    staged = stage(lake, trade_batch(0, 4))
    clean_dead_branches(lake, TRADES)
    publish(lake, stage(lake, trade_batch(0, 4)))
    with pytest.raises(CommitConflictError):
        publish(lake, staged)
    with pytest.raises(CommitConflictError):
        hold(lake, staged, {})
    assert numbers(lake) == list(range(5))


def test_a_hold_started_again_after_a_crash_replaces_its_own_files(lake: Lake) -> None:
    class Crash(Exception):
        pass

    def crash() -> None:
        raise Crash

    for boundary in ("hold.linked", "hold.described"):
        with Lake.open(lake.settings, system_clock, At(boundary, crash)) as dying, pytest.raises(Crash):
            hold(dying, stage(dying, trade_batch(0, 4)), {})
        assert lake.head(TRADES).holds == ()
        clean_dead_branches(lake, TRADES)
    held = hold(lake, stage(lake, trade_batch(0, 4)), {})
    assert held_rows(lake, held).num_rows == 5
    publish(lake, stage_release(lake, held))
    assert numbers(lake) == list(range(5))


def test_two_attempts_at_one_hold_do_not_describe_each_other(lake: Lake) -> None:
    """Of two writers that begin at the same offsets the longer batch is described last, the shorter is listed."""

    class Crash(Exception):
        pass

    def crash() -> None:
        raise Crash

    def attempt() -> None:
        with Lake.open(lake.settings, system_clock, At("hold.described", crash)) as other, pytest.raises(Crash):
            hold(other, stage(other, trade_batch(0, 7)), {})

    with Lake.open(lake.settings, system_clock, At("hold.described", attempt)) as first:
        held = hold(first, stage(first, trade_batch(0, 4)), {})
    assert lake.head(TRADES).position == {"binance": {"0": 5}}
    assert sorted(held_rows(lake, held)["message_seq"].to_pylist()) == list(range(5))
    clean_dead_branches(lake, TRADES)
    publish(lake, stage(lake, trade_batch(5, 7)))
    publish(lake, stage_release(lake, held))
    assert numbers(lake) == list(range(8))


def test_a_hold_of_many_partitions_has_a_name_that_a_folder_can_bear() -> None:
    after = {str(key): 1_000_000 + key for key in range(64)}
    name = hold_id_of("trades", "binance", {}, after)
    assert len(name) < 64 and name != hold_id_of("trades", "binance", {}, {**after, "63": 2_000_000})
    assert hold_id_of("trades", "binance", {"0": 3, "1": 7}, {"0": 3, "1": 9, "2": 4}) == "trades-binance-1.7-9_2.0-4"


def test_an_empty_batch_advances(lake: Lake) -> None:
    ranges = [MessageRange("c-binance", 0, 4)]
    advance(lake, TRADES, "binance", {}, {"0": 5}, "run-x", {"in": 0}, ranges)
    publish(lake, stage(lake, Increment(TRADES, "binance", trades(0, -1), {"0": 5}, {"0": 6}, "run-y")))
    assert lake.head(TRADES).position == {"binance": {"0": 6}}
    assert [entry.act for entry in as_of.ledger(lake, TRADES)] == [Act.ADVANCE, Act.ADVANCE]
    assert as_of.publications(lake).num_rows == 0


def test_an_overwrite_stands_in_for_the_files_named(lake: Lake) -> None:
    publish(lake, stage(lake, trade_batch(0, 4)))
    publish(lake, stage(lake, trade_batch(5, 9)))
    table = lake.table(TRADES)
    old = internals.files_of(table, lake.head(TRADES).snapshot_id)
    mine = [file for file in old if file.partition[0] == 19786]
    batch = Increment(TRADES, "binance", trades(20, 20), {"0": 10}, {"0": 11}, "run-over", (MessageRange("c1", 20, 20),))
    staged = stage(lake, batch, replace_files=mine)
    with pytest.raises(InvalidValueError, match="only an increment that adds rows"):
        hold(lake, staged, {})
    publish(lake, staged)
    assert numbers(lake) == [1, 3, 5, 7, 9, 20]
    again = Increment(TRADES, "binance", trades(21, 21), {"0": 11}, {"0": 12}, "run-3", (MessageRange("c1", 21, 21),))
    with pytest.raises(CommitConflictError, match="not on main any more"):
        stage(lake, again, replace_files=mine)
    assert numbers(lake) == [1, 3, 5, 7, 9, 20]


def test_a_rebuild_replaces_rows_and_nothing_else(lake: Lake) -> None:
    publish(lake, stage(lake, trade_batch(0, 9)))
    held = hold(lake, stage(lake, trade_batch(10, 14)), {})
    before = as_of.ledger(lake, TRADES)
    base = lake.head(TRADES).snapshot_id
    staged = replace_all(lake, TRADES, trades(0, 8, capture="c-binance"), "rebuild-1", base)
    assert numbers(lake) == list(range(10))
    publish(lake, staged)
    assert numbers(lake) == list(range(9))
    assert lake.head(TRADES).position == {"binance": {"0": 15}}
    assert lake.head(TRADES).holds == (held,)
    assert as_of.ledger(lake, TRADES) == before
    with pytest.raises(CommitConflictError, match="rebuild again"):
        replace_all(lake, TRADES, trades(0, 8), "rebuild-2", base)
    publish(lake, stage_release(lake, held))
    assert numbers(lake) == [*range(9), *range(10, 15)]
