from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import pytest
from pyiceberg.table import CommitTableResponse

from lake.catalog import LANDED, Lake
from lake.commits import append
from lake.durable import Place, place_of
from lake.errors import CommitConflictError, CommitUnknownError, InvalidValueError
from lake.expiry import expire
from lake.heads import COUNTS, same_vector
from lake.iceberg_internals import RememberingCatalog
from lake.instants import system_clock
from lake.objects import ObjectPath
from lake.settings import load_settings
from lake.steps import Steps
from lake.values import MessageRange
from tests.lake.made import actions, messages

RANGE = [MessageRange("c1", 0, 99)]


class At(Steps):
    """Runs something else the first time a boundary is reached: what another process does at the worst moment."""

    def __init__(self, name: str, act: Any) -> None:
        self.name, self.act = name, act

    def reached(self, name: str) -> None:
        if name == self.name:
            self.name = ""
            self.act()


def land(lake: Lake, first: int, last: int, owner: str = "raw") -> int | None:
    before = {"0": first} if first else {}
    return append(lake, LANDED, messages(first, last), owner, before, {"0": last + 1}, "land", RANGE, {"in": last - first + 1})


def numbers(lake: Lake) -> list[int]:
    return sorted(lake.table(LANDED).scan(selected_fields=("message_seq",)).to_arrow().column(0).to_pylist())


def data_files(lake: Lake, table: str = LANDED) -> set[Place]:
    folder = place_of(lake.table(table).location()) / "data"
    return set(folder.below() if isinstance(folder, ObjectPath) else folder.rglob("*.parquet"))


def test_appends_move_the_position_and_the_summary_tells_what_happened(lake: Lake) -> None:
    land(lake, 0, 4)
    snapshot_id = land(lake, 5, 9)
    head = lake.head(LANDED)
    assert (head.snapshot_id, head.position) == (snapshot_id, {"raw": {"0": 10}})
    assert numbers(lake) == list(range(10))
    snapshot = lake.table(LANDED).current_snapshot()
    assert snapshot is not None and snapshot.summary is not None
    assert snapshot.summary.additional_properties[COUNTS] == '{"in":5}'


def test_offsets_that_were_landed_are_refused_and_leave_nothing(lake: Lake) -> None:
    land(lake, 0, 4)
    before = data_files(lake)
    with pytest.raises(CommitConflictError, match="raw is at"):
        land(lake, 0, 4)
    assert data_files(lake) == before
    assert numbers(lake) == list(range(5))


def test_the_same_offsets_committed_between_check_and_commit_are_refused(lake: Lake) -> None:
    first_files: set[Place] = set()

    def first() -> None:
        land(lake, 0, 4)
        first_files.update(data_files(lake))

    with Lake.open(lake.settings, system_clock, At("land.files", first)) as late, pytest.raises(CommitConflictError):
        land(late, 0, 4)
    assert numbers(lake) == list(range(5))
    assert len(data_files(lake)) == 2, "the loser deleted its own files, and only those"


def test_another_owners_commit_is_no_reason_to_fail(lake: Lake) -> None:
    with Lake.open(lake.settings, system_clock, At("land.files", lambda: land(lake, 0, 4, owner="other"))) as late:
        land(late, 0, 4)
    assert lake.head(LANDED).position == {"raw": {"0": 5}, "other": {"0": 5}}
    assert numbers(lake) == sorted([*range(5), *range(5)])


def test_an_empty_batch_moves_the_position(lake: Lake) -> None:
    assert append(lake, LANDED, messages(0, -1), "raw", {}, {}, "land") is None
    assert append(lake, LANDED, messages(0, -1), "raw", {}, {"0": 7, "1": 2}, "land") is not None
    assert lake.head(LANDED).position == {"raw": {"0": 7, "1": 2}}
    assert data_files(lake) == set()


def test_a_position_never_forgets_a_partition(lake: Lake) -> None:
    land(lake, 0, 4)
    with pytest.raises(InvalidValueError, match="forgets"):
        append(lake, LANDED, messages(5, 9), "raw", {"0": 5}, {"1": 5}, "land", RANGE)


def test_rows_that_the_ledger_could_not_find_are_refused(lake: Lake) -> None:
    with pytest.raises(InvalidValueError, match="c1:9 is in no range"):
        append(lake, LANDED, messages(0, 9), "raw", {}, {"0": 10}, "land", [MessageRange("c1", 0, 8)])
    table = "normalized.corporate_actions"
    with pytest.raises(InvalidValueError, match="run_id"):
        append(lake, table, actions(0, 1, "r1"), "ice", {}, {"0": 2}, "r2")
    append(lake, table, actions(0, 1, "r1"), "ice", {}, {"0": 2}, "r1")
    with pytest.raises(InvalidValueError, match="names one batch"):
        append(lake, table, actions(2, 3, "r1"), "ice", {"0": 2}, {"0": 4}, "r1")


class LosesItsAnswer(RememberingCatalog):
    """A catalog whose connection breaks after the commit was made."""

    def commit_table(self, *arguments: Any, **named: Any) -> CommitTableResponse:
        super().commit_table(*arguments, **named)
        raise ConnectionResetError("answer lost")


def test_a_commit_whose_answer_was_lost_is_found_and_counts_as_made(lake: Lake) -> None:
    catalog = lake._catalog
    lake._catalog = LosesItsAnswer(catalog.name, catalog.engine, **catalog.properties)
    land(lake, 0, 4)
    lake._catalog = catalog
    assert numbers(lake) == list(range(5))
    assert lake.head(LANDED).position == {"raw": {"0": 5}}


class IsAskedTwice(RememberingCatalog):
    """A catalog behind something that sends a request again when the answer is late; the first one was made."""

    def commit_table(self, *arguments: Any, **named: Any) -> CommitTableResponse:
        super().commit_table(*arguments, **named)
        return super().commit_table(*arguments, **named)


def test_a_commit_in_conflict_with_itself_was_made_and_keeps_its_files(lake: Lake) -> None:
    catalog = lake._catalog
    lake._catalog = IsAskedTwice(catalog.name, catalog.engine, **catalog.properties)
    land(lake, 0, 4)
    with pytest.raises(CommitConflictError):
        land(lake, 0, 4)
    lake._catalog = catalog
    assert numbers(lake) == list(range(5))
    assert lake.head(LANDED).position == {"raw": {"0": 5}}


def test_a_locked_catalog_leaves_the_outcome_unknown_and_deletes_nothing(tmp_path: Path) -> None:
    settings = load_settings(home=tmp_path, catalog_url=f"sqlite:///{tmp_path / 'catalog.db'}?timeout=0.05")
    with Lake.create(settings, system_clock) as lake:
        blocker = sqlite3.connect(tmp_path / "catalog.db", isolation_level=None)
        blocker.execute("BEGIN IMMEDIATE")
        try:
            with pytest.raises(CommitUnknownError, match="locked"):
                land(lake, 0, 4)
        finally:
            blocker.execute("ROLLBACK")
            blocker.close()
        assert len(data_files(lake)) == 2
        assert numbers(lake) == []
        land(lake, 0, 4)
        assert numbers(lake) == list(range(5))


def test_expiry_keeps_position_rows_and_every_branch(lake: Lake) -> None:
    for number in range(8):
        land(lake, number, number)
    assert expire(lake, LANDED, keep=3, slack=5) == 6
    assert expire(lake, LANDED, keep=3, slack=0) == 0
    assert len(lake.table(LANDED).metadata.snapshots) == 3
    assert lake.head(LANDED).position == {"raw": {"0": 8}}
    assert numbers(lake) == list(range(8))
    land(lake, 8, 9)
    assert numbers(lake) == list(range(10))


def test_vectors_mean_the_same_when_only_zeros_differ() -> None:
    assert same_vector({}, {"0": 0})
    assert not same_vector({"0": 1}, {"1": 1})
