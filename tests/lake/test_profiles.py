"""The acceptance suite of the lake on the operator's parts: what holds on SQLite and a folder holds on PostgreSQL and S3.

The laws are the tests of the embedded profile themselves, run here with another lake.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest
from pyiceberg.exceptions import CommitFailedException

from lake import iceberg_internals as internals
from lake.catalog import Lake
from lake.durable import Place, exists
from lake.errors import CommitConflictError, CorruptedError
from lake.evolution import evolve
from lake.expiry import expire
from lake.fences import fence_off
from lake.instants import system_clock
from lake.maintenance.engine import prove, spilling
from lake.maintenance.maintaining import maintain
from lake.objects import ObjectPath
from lake.publish import hold, publish, stage, stage_release
from lake.scan import dataset, read
from lake.settings import Settings, load_settings
from lake.tables import table_named
from tests.lake import test_as_of, test_commits, test_pasts, test_publish
from tests.lake.made import trade_batch
from tests.lake.maintenance import test_compaction, test_sweep
from tests.lake.maintenance.answers import answers, data_files, published
from tests.lake.test_evolution import LATER, read_later
from tests.object_store import Store
from tests.postgres import Server

TRADES = test_publish.TRADES
Law = Callable[[Lake], object]
LAWS: list[Law] = [
    test_commits.test_appends_move_the_position_and_the_summary_tells_what_happened,
    test_commits.test_offsets_that_were_landed_are_refused_and_leave_nothing,
    test_commits.test_the_same_offsets_committed_between_check_and_commit_are_refused,
    test_commits.test_another_owners_commit_is_no_reason_to_fail,
    test_commits.test_an_empty_batch_moves_the_position,
    test_commits.test_rows_that_the_ledger_could_not_find_are_refused,
    test_commits.test_a_commit_whose_answer_was_lost_is_found_and_counts_as_made,
    test_commits.test_expiry_keeps_position_rows_and_every_branch,
    test_publish.test_staged_rows_are_seen_by_nobody_until_published,
    test_publish.test_owners_have_positions_of_their_own,
    test_publish.test_a_main_that_moved_since_staging_is_a_conflict_and_the_branch_goes,
    test_publish.test_dead_branches_are_cleaned_with_their_files_and_nothing_else,
    test_publish.test_a_held_batch_lets_the_feed_go_on_and_is_released_once,
    test_publish.test_a_release_may_leave_rows_out,
    test_publish.test_a_release_keeps_the_run_the_rows_were_made_by,
    test_publish.test_a_release_discarded_after_its_second_audit_stays_held,
    test_publish.test_a_rejected_batch_is_listed_no_more_and_its_interval_is_settled,
    test_publish.test_a_zombie_publish_adds_nothing,
    test_publish.test_a_hold_started_again_after_a_crash_replaces_its_own_files,
    test_publish.test_an_overwrite_stands_in_for_the_files_named,
    test_publish.test_a_rebuild_replaces_rows_and_nothing_else,
    test_as_of.test_a_past_answer_is_unmoved_by_whatever_comes_later,
    test_as_of.test_the_ledger_is_booked_before_expiry_forgets,
    test_as_of.test_booking_is_repeatable_and_one_transaction_a_snapshot,
    test_pasts.test_as_of_is_the_same_before_and_after_what_comes_later,
    test_pasts.test_as_of_by_run,
    test_pasts.test_both_pasts_stand_together,
]
"""Each takes an empty lake."""
ON_OBJECTS: list[Law] = [
    test_commits.test_offsets_that_were_landed_are_refused_and_leave_nothing,
    test_commits.test_the_same_offsets_committed_between_check_and_commit_are_refused,
    test_commits.test_expiry_keeps_position_rows_and_every_branch,
    test_publish.test_dead_branches_are_cleaned_with_their_files_and_nothing_else,
    test_publish.test_a_held_batch_lets_the_feed_go_on_and_is_released_once,
    test_publish.test_a_hold_started_again_after_a_crash_replaces_its_own_files,
    test_publish.test_an_overwrite_stands_in_for_the_files_named,
    test_pasts.test_both_pasts_stand_together,
]
"""Those that touch files in ways of their own: every request to the store takes milliseconds."""
MAINTENANCE: list[Law] = [
    test_compaction.test_manifests_become_few_and_list_the_same_files,
    test_sweep.test_a_file_dies_an_hour_after_it_was_first_seen_dead,
]
"""Those for a lake whose partitions are always quiet; the second compacts first."""


class Made:
    """A lake made once; each law gets it as it was then."""

    def __init__(self, postgres: Server, name: str, settings: Settings) -> None:
        self._postgres, self._name, self._settings = postgres, name, settings
        Lake.create(settings, system_clock).close()
        postgres.database(f"{name}_made", name)
        self._kept = settings.home.with_name(f"{name}-kept")
        self._objects = {place: place.filesystem.open_input_file(place.key).read() for place in self._below()}
        if not settings.is_on_objects:
            shutil.copytree(settings.warehouse, self._kept)

    def _below(self) -> list[ObjectPath]:
        return ObjectPath.of(str(self._settings.warehouse)).below() if self._settings.is_on_objects else []

    def anew(self, **changed: object) -> Lake:
        """Return it empty and open, some settings changed.

        Files never change: an object store loses what the last law wrote and gets back what it swept.
        """
        self._postgres.database(self._name, f"{self._name}_made")
        if not self._settings.is_on_objects:
            shutil.rmtree(self._settings.warehouse)
            shutil.copytree(self._kept, self._settings.warehouse)
        here = set(self._below())
        for place in here - set(self._objects):
            place.delete()
        for place in set(self._objects) - here:
            with place.create() as stream:
                stream.write(self._objects[place])
        return Lake.open(self._settings.model_copy(update=changed), system_clock)


@pytest.fixture(scope="module")
def on_postgres(postgres: Server, tmp_path_factory: pytest.TempPathFactory) -> Made:
    home = tmp_path_factory.mktemp("postgres") / "home"
    return Made(postgres, "folder", load_settings(home=home, catalog_url=postgres.database("folder")))


@pytest.fixture(scope="module")
def on_objects(postgres: Server, object_store: Store, tmp_path_factory: pytest.TempPathFactory) -> Made:
    home = tmp_path_factory.mktemp("objects") / "home"
    settings = load_settings(home=home, catalog_url=postgres.database("objects"), **object_store.settings("laws"))
    return Made(postgres, "objects", settings)


def name_of(law: Law) -> str:
    return law.__name__.removeprefix("test_")


def missing(lake: Lake) -> set[Place]:
    """Return the data files that main of the laws' tables names and the store has not got."""
    return {place for name in (TRADES, "raw.messages") for place in data_files(lake, name) if not exists(place)}


@pytest.mark.parametrize("law", LAWS, ids=name_of)
def test_on_postgresql(on_postgres: Made, law: Law) -> None:
    with on_postgres.anew() as lake:
        law(lake)
        assert missing(lake) == set()


@pytest.mark.parametrize("law", ON_OBJECTS, ids=name_of)
def test_on_postgresql_and_an_object_store(on_objects: Made, law: Law) -> None:
    with on_objects.anew() as lake:
        law(lake)
        assert lake.table(TRADES).location().startswith("s3://laws/lake/")


@pytest.mark.parametrize("law", MAINTENANCE, ids=name_of)
def test_maintenance_of_an_object_store(on_objects: Made, law: Law) -> None:
    with on_objects.anew(compact_quiet_s=0.0, keep_snapshots=1) as lake:
        law(lake)
        assert missing(lake) == set()


def test_archive_and_retention_of_an_object_store(on_objects: Made, object_store: Store) -> None:
    object_store.client().create_dir("cold")
    cold: dict[str, object] = {"archive_location": "s3://cold/far", "archive_tables": (TRADES,), "retention": {TRADES: 1}}
    with on_objects.anew(**cold) as lake:
        moments = published(lake, 2)
        before = answers(lake, moments)
        (done,) = maintain(lake, [TRADES], ("archive",)).tables
        assert all(str(place).startswith(f"s3://cold/far/{TRADES}/") for place in data_files(lake))
        assert answers(lake, moments) == before
        assert done.after.archived_bytes == done.after.bytes > 0
        damaged = ObjectPath.of(str(data_files(lake)[0]))
        with damaged.create() as stream:
            stream.write(b"not Parquet")
        with pytest.raises(CorruptedError, match="cannot be read"), spilling(lake.settings.home) as connection:
            prove(connection, table_named(TRADES), data_files(lake))
        damaged.delete()
        with pytest.raises(CorruptedError, match="missing"), spilling(lake.settings.home) as connection:
            prove(connection, table_named(TRADES), data_files(lake))
        assert maintain(lake, [TRADES], ("retain",)).tables[0].after.rows == 0


def test_the_archive_of_a_folder_may_be_a_bucket(tmp_path: Path, object_store: Store) -> None:
    given = object_store.settings("archive") | {"archive_location": "s3://archive/", "archive_tables": [TRADES]}
    del given["warehouse"]
    with Lake.create(load_settings(home=tmp_path, **given), system_clock) as lake:
        moments = published(lake, 1)
        before = answers(lake, moments)
        maintain(lake, [TRADES], ("archive",))
        assert answers(lake, moments) == before
        publish(lake, stage(lake, trade_batch(10, 19)))
        stores = {str(place).partition(TRADES)[0] for place in data_files(lake)}
        assert stores > {"s3://archive/"} and dataset(lake, TRADES).to_table().num_rows == 20


def test_on_a_rest_catalog(rest_catalog: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its tables cannot be taken back to what they were, so here all is done on one lake."""
    settings = load_settings(home=tmp_path, catalog_url=rest_catalog)
    with Lake.create(settings, system_clock) as lake:
        publish(lake, stage(lake, trade_batch(0, 9)))
        held = hold(lake, stage(lake, trade_batch(10, 14)), {})
        late = stage(lake, trade_batch(15, 16))
        publish(lake, stage(lake, trade_batch(0, 2, provider="other")))
        with pytest.raises(CommitConflictError, match="branch main has changed"):
            publish(lake, late)
        with pytest.raises(CommitConflictError, match="binance is at"):
            stage(lake, trade_batch(0, 9, run_id="again"))
        with lake.state.lease(TRADES) as token:
            publish(lake, stage_release(lake, held))
            fence_off(lambda: lake.table(TRADES), token)  # somebody took the lease by force; state does not tell it yet
            with pytest.raises(CommitFailedException, match=f"fence-{token}"):
                internals.commit(lake.table(TRADES), lake.fences(), [internals.set_property("tried", "yes")])
        assert expire(lake, TRADES, keep=1, slack=0) > 0
        assert test_publish.branches(lake) == {f"fence-{token}"}, "it stays until main has gone on"
    Lake.create(settings, system_clock).close()
    with Lake.open(settings, system_clock) as lake:
        assert lake.head(TRADES).position == {"binance": {"0": 15}, "other": {"0": 3}}
        assert sorted(read(lake, TRADES, ["message_seq"])["message_seq"].to_pylist()) == sorted([*range(15), *range(3)])
        assert lake.table(TRADES).location() == f"file://{settings.warehouse}/normalized/trades"
        monkeypatch.setenv("POLARS_ICEBERG_PLANNER", "pyiceberg")
        before = read(lake, TRADES).sort_by("sequence")
        assert evolve(lake.table(TRADES), LATER)[-1] == "drop mic"
        for found in read_later(lake):
            assert found["price"].type == pa.decimal128(28, 9) and found["price"].to_pylist() == before["price"].to_pylist()
            assert found["ticker"].to_pylist() == before["symbol"].to_pylist() and found.num_rows == 18
