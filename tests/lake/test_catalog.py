from __future__ import annotations

from pathlib import Path

import pytest
import sqlalchemy.exc
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.exceptions import CommitFailedException

from lake import iceberg_internals as internals
from lake.catalog import LANDED, Lake
from lake.commits import append
from lake.errors import CommitUnknownError, NotFoundError, SettingsError, StorageError
from lake.heads import POSITION
from lake.instants import system_clock
from lake.settings import load_settings
from lake.tables import TABLES
from lake.values import MessageRange
from tests.lake.made import messages


def test_every_table_is_made_as_defined_with_an_empty_position(lake: Lake) -> None:
    for table in TABLES.values():
        iceberg = lake.table(table.name)
        assert {field.field_id: field.name for field in iceberg.schema().fields} == {
            column.field_id: column.name for column in table.columns
        }
        assert [str(field.transform) for field in iceberg.spec().fields] == [transform for _, transform in table.partition]
        assert [iceberg.schema().find_column_name(field.source_id) for field in iceberg.sort_order().fields] == list(table.order)
        head = lake.head(table.name)
        assert (head.position, head.holds) == ({}, ())


def test_making_a_lake_again_changes_nothing(lake: Lake) -> None:
    before = {name: lake.table(name).metadata_location for name in TABLES}
    with Lake.create(lake.settings, system_clock) as again:
        assert {name: again.table(name).metadata_location for name in TABLES} == before


def test_tables_of_a_lake_are_listed_together_or_not_at_all(lake: Lake) -> None:
    before = {name: lake.table(name).metadata_location for name in TABLES}
    catalog = lake._catalog
    assert isinstance(catalog, SqlCatalog)
    with pytest.raises(sqlalchemy.exc.IntegrityError):
        internals.list_new_tables(catalog, {"ops.unknown": "file:///nowhere", LANDED: "file:///elsewhere"})
    assert not catalog.table_exists("ops.unknown")
    assert {name: lake.table(name).metadata_location for name in TABLES} == before


def test_a_table_missing_from_a_lake_is_made_beside_the_others(lake: Lake) -> None:
    before = {name: lake.table(name).metadata_location for name in TABLES}
    lake._catalog.drop_table("ops.captures")
    with pytest.raises(NotFoundError, match=r"no table ops\.captures"):
        Lake.open(lake.settings, system_clock)
    with Lake.create(lake.settings, system_clock) as again:
        assert (again.head("ops.captures").position, again.head("ops.captures").holds) == ({}, ())
        after = {name: again.table(name).metadata_location for name in TABLES}
    assert {name for name in TABLES if after[name] != before[name]} == {"ops.captures"}


def test_a_place_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match=r"making the lake at .*/file/home: the place refused"):
        Lake.create(load_settings(home=tmp_path / "file" / "home"), system_clock)


def test_opening_a_lake_that_was_never_made_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="tickhouse init"):
        Lake.open(load_settings(home=tmp_path / "none"), system_clock)
    (tmp_path / "catalog.db").touch()
    with pytest.raises(NotFoundError, match="tickhouse init"):
        Lake.open(load_settings(home=tmp_path), system_clock)


def test_an_unknown_table_is_not_found(lake: Lake) -> None:
    with pytest.raises(NotFoundError, match="no table"):
        lake.table("raw.nothing")


def test_a_table_unlike_its_definition_is_refused(lake: Lake) -> None:
    lake.table("reference.listings").update_schema().rename_column("mic", "venue").commit()
    Lake.create(lake.settings, system_clock).close()
    assert "mic" in lake.table("reference.listings").schema().column_names, "a rename is mended, see test_evolution.py"
    lake.table("reference.listings").update_schema().make_column_optional("symbol").commit()
    with pytest.raises(SettingsError, match=r"reference\.listings.*make symbol required"):
        Lake.create(lake.settings, system_clock)


def test_a_main_without_a_position_is_an_error_never_offset_zero(lake: Lake) -> None:
    append_by_somebody_else(lake, LANDED)
    with pytest.raises(CommitUnknownError, match="no position"):
        lake.head(LANDED)
    with pytest.raises(CommitUnknownError, match="no position"):
        append(lake, LANDED, messages(0, 1), "raw", {}, {"0": 2}, "land", [MessageRange("c1", 0, 1)])


def test_landings_property_is_an_alarm(lake: Lake) -> None:
    append(lake, LANDED, messages(0, 1), "raw", {}, {"0": 2}, "land", [MessageRange("c1", 0, 1)])
    with lake.table(LANDED).transaction() as transaction:
        transaction.set_properties({POSITION: '{"raw":{"0":1}}'})
    with pytest.raises(CommitUnknownError, match="its property says"):
        lake.head(LANDED)


def test_only_the_landed_table_has_the_property(lake: Lake) -> None:
    assert [name for name in TABLES if POSITION in lake.table(name).metadata.properties] == [LANDED]


def test_retries_are_off_on_every_loaded_table(lake: Lake) -> None:
    assert all(internals.retries_of(lake.table(name)) == 0 for name in TABLES)
    append(lake, LANDED, messages(0, 1), "raw", {}, {"0": 2}, "land", [MessageRange("c1", 0, 1)])
    assert internals.retries_of(lake.table(LANDED)) == 0
    # On the object only: a stored property would switch off the retries of other engines.
    assert "commit.retry.num-retries" not in lake._catalog.load_table(LANDED).metadata.properties


def test_a_public_transaction_through_the_door_is_not_applied_again(lake: Lake) -> None:
    table = lake.table(LANDED)
    append(lake, LANDED, messages(0, 1), "raw", {}, {"0": 2}, "land", [MessageRange("c1", 0, 1)])
    transaction = table.transaction()
    with transaction.update_snapshot().merge_append():
        pass
    with pytest.raises((CommitFailedException, ValueError)):
        transaction.commit_transaction()
    assert lake.head(LANDED).position == {"raw": {"0": 2}}


def append_by_somebody_else(lake: Lake, table: str) -> None:
    """Put an empty snapshot on main as another engine would, without a position."""
    with lake.table(table).transaction() as transaction, transaction.update_snapshot().merge_append():
        pass
