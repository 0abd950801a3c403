"""The contract with PyIceberg: what its private calls must go on doing."""

from __future__ import annotations

import pyiceberg
import pytest
from pydantic import ValidationError
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.exceptions import CommitFailedException
from pyiceberg.table import Transaction
from pyiceberg.table.update import update_table_metadata

from lake import iceberg_internals as internals
from lake.catalog import MAIN, Lake
from lake.durable import DurableFileIO, local_path
from lake.files import write_files
from lake.heads import POSITION
from lake.tables import table_named
from tests.lake.made import trades

NAME = "normalized.trades"


def test_the_version_is_the_proven_one() -> None:
    assert pyiceberg.__version__ == internals.PINNED


def test_producing_a_snapshot_commits_nothing_and_cleans_up_after_itself(lake: Lake) -> None:
    table = lake.table(NAME)
    base = lake.head(NAME).snapshot_id
    folder = local_path(table.location()) / "metadata"
    before = set(folder.iterdir())
    written = write_files(table, table_named(NAME), trades(0, 9))
    produced = internals.produce(table, written, (), {POSITION: "{}"})
    assert lake.table(NAME).metadata.snapshot_by_id(produced.snapshot_id) is None
    assert len(set(folder.iterdir()) - before) == 2, "one manifest, one list"
    produced.clean()
    assert set(folder.iterdir()) == before
    assert lake.head(NAME).snapshot_id == base


def test_a_snapshot_alone_refers_to_nothing_and_cleans_up_after_itself(lake: Lake) -> None:
    table = lake.table(NAME)
    base = lake.head(NAME).snapshot_id
    folder = local_path(table.location()) / "metadata"
    before = set(folder.iterdir())
    unwanted = internals.produce_alone(table, {POSITION: "{}"})
    assert len(set(folder.iterdir()) - before) == 1, "an empty list"
    unwanted.clean()
    assert set(folder.iterdir()) == before
    produced = internals.produce_alone(table, {POSITION: "{}"})
    internals.commit(table, [], [*produced.updates, internals.tag("alone", produced.snapshot_id)])
    alone = lake.table(NAME).metadata.snapshot_by_id(produced.snapshot_id)
    assert alone is not None and alone.parent_snapshot_id is None
    assert (internals.files_of(lake.table(NAME), alone.snapshot_id), alone.manifests(table.io)) == ([], [])
    assert lake.head(NAME).snapshot_id == base
    files = set(folder.rglob("*.avro"))
    another = internals.produce_alone(lake.table(NAME), {POSITION: "{}"}, alone)
    another.clean()
    assert internals.snapshot_in(another).manifest_list == alone.manifest_list
    assert set(folder.rglob("*.avro")) == files, "shared: neither written nor deleted"


def test_several_assertions_hold_at_once(lake: Lake) -> None:
    table = lake.table(NAME)
    base = lake.head(NAME).snapshot_id
    produced = internals.produce(table, (), (), {POSITION: "{}"})
    updates = [*produced.updates, internals.point("audit-x", produced.snapshot_id)]
    for wrong in ([internals.points_to(MAIN, base), internals.points_to("audit-x", 5)], [internals.points_to(MAIN, 5)]):
        with pytest.raises(CommitFailedException):
            internals.commit(table, wrong, updates)
    internals.commit(table, [internals.points_to(MAIN, base), internals.points_to("audit-x", None)], updates)
    refs = lake.table(NAME).metadata.refs
    assert {name: ref.snapshot_id for name, ref in refs.items()} == {MAIN: base, "audit-x": produced.snapshot_id}


def test_a_snapshot_on_another_branch_since_loading_is_a_value_error_about_sequence_numbers(lake: Lake) -> None:
    one, other = lake.table(NAME), lake.table(NAME)
    first, second = (internals.produce(table, (), (), {POSITION: "{}"}) for table in (one, other))
    internals.commit(one, [], [*first.updates, internals.point("audit-1", first.snapshot_id)])
    with pytest.raises(ValueError, match="sequence number"):
        internals.commit(other, [], [*second.updates, internals.point("audit-2", second.snapshot_id)])


def test_cached_metadata_is_what_pyiceberg_would_compute(lake: Lake) -> None:
    table = lake.table(NAME)
    transaction = table.transaction()
    assert transaction.table_metadata is table.metadata
    transaction.set_properties({"a": "1"})
    once = transaction.table_metadata
    anew = update_table_metadata(table.metadata, transaction._updates)
    assert once == anew.model_copy(update={"last_updated_ms": once.last_updated_ms}), "all but the moment of computing"
    assert transaction.table_metadata is once
    transaction.set_properties({"a": "2"})
    assert transaction.table_metadata.properties["a"] == "2"
    assert isinstance(Transaction.table_metadata, property)


def test_a_remembered_table_is_as_one_read_anew_and_shares_nothing_that_changes(lake: Lake) -> None:
    plain = SqlCatalog(lake._catalog.name, uri=lake.settings.catalog_url, **lake._catalog.properties)
    for number in range(3):
        one, other = lake.table(NAME), lake.table(NAME)
        assert one.metadata.properties is not other.metadata.properties
        with other.transaction() as transaction:
            transaction.set_properties({"n": str(number)})
        read, remembered = plain.load_table(NAME), lake._catalog.load_table(NAME)
        assert remembered.metadata == read.metadata
        assert (remembered.name(), remembered.metadata_location) == (read.name(), read.metadata_location)
        assert type(remembered.io) is type(read.io) is DurableFileIO
    plain.engine.dispose()


def test_what_copies_of_metadata_share_cannot_be_changed(lake: Lake) -> None:
    for number in range(2):
        before = lake.table(NAME)
        told = before.metadata.model_dump_json()
        produced = internals.produce(before, (), (), {POSITION: str(number)})
        internals.commit(before, [], [*produced.updates, internals.point(MAIN, produced.snapshot_id)])
        assert before.metadata.model_dump_json() == told, "a commit leaves what it began from as it was"
    copied = before.metadata.model_copy(deep=True)
    assert copied == before.metadata and copied.properties is not before.metadata.properties
    for shared in (copied.snapshots[0], copied.snapshot_log[0], copied.metadata_log[0], copied.schema()):
        with pytest.raises(ValidationError, match="frozen"):
            setattr(shared, next(iter(type(shared).model_fields)), None)


def test_old_metadata_files_are_deleted_after_own_commits(lake: Lake) -> None:
    table = lake.table(NAME)
    with table.transaction() as transaction:
        transaction.set_properties({"write.metadata.previous-versions-max": "3"})
    for number in range(6):
        internals.commit(lake.table(NAME), [], [internals.set_property("n", str(number))])
    folder = local_path(table.location()) / "metadata"
    assert len(list(folder.glob("*.metadata.json"))) == 4


def test_many_appends_do_not_pile_up_manifests(lake: Lake) -> None:
    table = lake.table(NAME)
    with table.transaction() as transaction:
        transaction.set_properties({"commit.manifest.min-count-to-merge": "5"})
    for number in range(12):
        table = lake.table(NAME)
        written = write_files(table, table_named(NAME), trades(2 * number, 2 * number))
        produced = internals.produce(table, written, (), {POSITION: "{}"})
        internals.commit(table, [], [*produced.updates, internals.point(MAIN, produced.snapshot_id)])
    now = lake.table(NAME)
    snapshot = now.current_snapshot()
    assert snapshot is not None
    assert len(snapshot.manifests(now.io)) < 6
    assert now.scan().to_arrow().num_rows == 12
    assert len(internals.files_of(now, snapshot.snapshot_id)) == 12
    assert len(internals.files_added_by(now, snapshot.snapshot_id)) == 1
