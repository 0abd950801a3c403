"""The private and half-private calls of PyIceberg 0.12, in one place; tests/lake/test_iceberg_internals.py is their contract.

Why private: the public transaction commits with retries that re-apply appends without our position check, keeps only
the first of several branch assertions, and copies the table's metadata some twenty times an append.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, cast

import pyarrow.parquet as pq
import pyiceberg
from pyiceberg.catalog import Catalog
from pyiceberg.catalog.sql import IcebergTables, SqlCatalog
from pyiceberg.exceptions import NoSuchTableError
from pyiceberg.io import load_file_io
from pyiceberg.io.pyarrow import (
    compute_statistics_plan,
    data_file_statistics_from_parquet_metadata,
    parquet_path_to_id_mapping,
)
from pyiceberg.manifest import (
    DataFile,
    DataFileContent,
    FileFormat,
    ManifestEntryStatus,
    write_manifest_list,
)
from pyiceberg.schema import Schema
from pyiceberg.serializers import FromInputFile
from pyiceberg.table import CommitTableResponse, StagedTable, Table, TableProperties, Transaction
from pyiceberg.table.metadata import TableMetadata
from pyiceberg.table.refs import SnapshotRefType
from pyiceberg.table.snapshots import MetadataLogEntry, Snapshot, SnapshotLogEntry
from pyiceberg.table.update import (
    AddSchemaUpdate,
    AddSnapshotUpdate,
    AssertCurrentSchemaId,
    AssertRefSnapshotId,
    AssertTableUUID,
    RemoveSnapshotRefUpdate,
    RemoveSnapshotsUpdate,
    SetCurrentSchemaUpdate,
    SetPropertiesUpdate,
    SetSnapshotRefUpdate,
    TableRequirement,
    TableUpdate,
    update_table_metadata,
)
from pyiceberg.typedef import Identifier, Record

PINNED = "0.12.0"
REMEMBERED = 64
"""Metadata files kept parsed: a few versions of every table."""
MOST_BEHIND_MS = 3_600_000
"""How far a writer's clock may be behind the commit before: its commits take that one's time until it is past it. Readers in Java
refuse a table whose log goes back by a minute. Following a clock further, one set wrong by a year would stamp all others."""
_RETRIES = "commit.retry.num-retries"


class RememberingCatalog(SqlCatalog):
    """PyIceberg's SQL catalog, reading each metadata file once: a file never changes, only the pointer to it does.

    Loading a table is then one SELECT (1 ms) instead of a parse of all its snapshots (3-10 ms, five times a publish), and
    with a pointer from elsewhere (lake/pointers.py) not even that.
    """

    def __init__(self, name: str, engine: Any, **properties: str) -> None:
        # Past SqlCatalog's own, which would make an engine of the URL alone.
        super(SqlCatalog, self).__init__(name, **properties)
        self.engine = engine
        self._init_catalog()
        self._read = lru_cache(maxsize=REMEMBERED)(self._read_metadata)

    def _read_metadata(self, location: str) -> TableMetadata:
        return FromInputFile.table_metadata(load_file_io(self.properties, location).new_input(location))

    def _convert_orm_to_iceberg(self, orm_table: Any) -> Table:
        location = orm_table.metadata_location
        name = f"{orm_table.table_namespace}.{orm_table.table_name}"
        if not location:
            raise NoSuchTableError(f"{name} has no metadata location")
        return self.table_at(name, location)

    def _update_and_stage_table(
        self,
        current_table: Table | None,
        table_identifier: Identifier,
        requirements: tuple[TableRequirement, ...],
        updates: tuple[TableUpdate, ...],
    ) -> StagedTable:
        staged = super()._update_and_stage_table(current_table, table_identifier, requirements, updates)
        if current_table is not None:
            staged.metadata = _in_order(current_table.metadata, staged.metadata)
        return staged

    def table_at(self, name: str, location: str) -> Table:
        """Return a table of this catalog as a metadata file tells it, without asking the database."""
        remembered = self._read(location)
        # Properties are the one part that is changed on a loaded object (retries): each table gets its own.
        metadata = remembered.model_copy(update={"properties": dict(remembered.properties)})
        return Table(
            identifier=Catalog.identifier_to_tuple(name),
            metadata=metadata,
            metadata_location=location,
            io=self._load_file_io(metadata.properties, location),
            catalog=self,
        )


@dataclass(frozen=True, slots=True)
class Produced:
    """A snapshot whose manifests are written and which nothing refers to yet.

    clean   deletes its manifests and manifest list; to be called only when it surely was not committed
    """

    snapshot_id: int
    updates: tuple[TableUpdate, ...]
    clean: Callable[[], None]


def install() -> None:
    """Cache `Transaction.table_metadata` (200 snapshots: 190 -> 38 ms a commit); refuses another PyIceberg than the pinned.

    And let a deep copy of a table's metadata share what is frozen in it: a commit makes one, of every snapshot kept.
    """
    if pyiceberg.__version__ != PINNED:
        raise RuntimeError(f"PyIceberg is {pyiceberg.__version__}; its private calls are proven for {PINNED} only")
    Transaction.table_metadata = property(_cached_metadata)  # type: ignore[method-assign,assignment]
    for kind in (Snapshot, SnapshotLogEntry, MetadataLogEntry, Schema):
        kind.__deepcopy__ = _itself  # type: ignore[method-assign,assignment]


def _itself(frozen: Any, memo: object = None) -> Any:
    return frozen


def _cached_metadata(self: Any) -> TableMetadata:
    updates, base = self._updates, self._table.metadata
    if not updates:
        return cast(TableMetadata, base)
    cached = self.__dict__.get("_tickhouse_metadata")
    if cached is None or cached[0] is not base or cached[1] is not updates:
        cached = (base, updates, update_table_metadata(base, updates))
        self.__dict__["_tickhouse_metadata"] = cached
    return cast(TableMetadata, cached[2])


def _stamp(before: TableMetadata, now_ms: int) -> int:
    """Return the time of a commit on top of another: not an earlier one, by whose clock ever the other was stamped."""
    last_ms = before.last_updated_ms
    return last_ms if 0 < last_ms - now_ms <= MOST_BEHIND_MS else now_ms


def _in_order(before: TableMetadata, after: TableMetadata) -> TableMetadata:
    """Return a table's metadata after a commit with times that do not go back, main's log included."""
    log = list(after.snapshot_log)
    if log and log[-1:] != list(before.snapshot_log[-1:]):
        log[-1] = log[-1].model_copy(update={"timestamp_ms": _stamp(before, log[-1].timestamp_ms)})
    return after.model_copy(update={"snapshot_log": log, "last_updated_ms": _stamp(before, after.last_updated_ms)})


def _stamped(before: TableMetadata, update: TableUpdate) -> TableUpdate:
    """Return an update whose snapshot, if it adds one, is not older than the commit before: a catalog may log that time."""
    if not isinstance(update, AddSnapshotUpdate):
        return update
    snapshot = update.snapshot
    return AddSnapshotUpdate(snapshot=snapshot.model_copy(update={"timestamp_ms": _stamp(before, snapshot.timestamp_ms)}))


def switch_off_retries(table: Table) -> Table:
    """Set the retries of the loaded object to 0 and return it; a stored property would switch off other writers' too."""
    table.metadata.properties[_RETRIES] = "0"
    return table


def retries_of(table: Table) -> int:
    """Return how often a public transaction on this object would be re-applied after a conflict."""
    return int(table.metadata.properties.get(_RETRIES, "4"))


def produce(table: Table, added: Sequence[DataFile], removed: Sequence[DataFile], summary: dict[str, str]) -> Produced:
    """Return a snapshot on top of main of `table` as loaded, its manifests written, nothing committed.

    Without `removed` manifests are merged (`fast_append` never does); with it the snapshot is an overwrite.
    """
    update = table.transaction().update_snapshot(branch=None, snapshot_properties=summary)
    producer = update.overwrite() if removed else update.merge_append()
    for file in removed:
        producer.delete_data_file(file)
    for file in added:
        producer.append_data_file(file)
    try:
        updates, _ = producer._commit()
    except BaseException:
        producer._clean_all_uncommitted()
        raise
    return Produced(producer.snapshot_id, tuple(updates), producer._clean_all_uncommitted)


def produce_merged(table: Table, summary: dict[str, str], target_bytes: int) -> Produced:
    """Return a snapshot with the same data files as main of `table` as loaded in the fewest manifests, nothing committed.

    Entries keep their sequence numbers; entries of deleted files are left out.
    """
    producer = table.transaction().update_snapshot(branch=None, snapshot_properties=summary).merge_append()
    producer._merge_enabled, producer._min_count_to_merge, producer._target_size_bytes = True, 1, target_bytes
    try:
        updates, _ = producer._commit()
    except BaseException:
        producer._clean_all_uncommitted()
        raise
    return Produced(producer.snapshot_id, tuple(updates), producer._clean_all_uncommitted)


def produce_alone(table: Table, summary: dict[str, str], like: Snapshot | None = None) -> Produced:
    """Return a snapshot without files and without a parent, nothing committed.

    like    another such snapshot, whose empty manifest list this one shares; None: one is written
    """
    metadata = table.metadata
    snapshot_id, sequence_number = metadata.new_snapshot_id(), metadata.next_sequence_number()
    location = table.location_provider().new_metadata_location(f"snap-{snapshot_id}-0-{uuid.uuid4()}.avro")
    if like is None:
        codec = metadata.properties.get(TableProperties.WRITE_AVRO_COMPRESSION, TableProperties.WRITE_AVRO_COMPRESSION_DEFAULT)
        output = table.io.new_output(location)
        with write_manifest_list(metadata.format_version, output, snapshot_id, None, sequence_number, cast(Any, codec)):
            pass
    told = {"snapshot-id": snapshot_id, "sequence-number": sequence_number, "schema-id": metadata.current_schema_id}
    shared = location if like is None else like.manifest_list
    made = Snapshot.model_validate({**told, "manifest-list": shared, "summary": {"operation": "append", **summary}})
    clean: Callable[[], None] = (lambda: table.io.delete(location)) if like is None else (lambda: None)
    return Produced(snapshot_id, (AddSnapshotUpdate(snapshot=made),), clean)


def data_files_of(table: Table, snapshot: Snapshot) -> list[DataFile]:
    """Return every live data file of a snapshot, which need not be committed yet."""
    return [
        entry.data_file
        for manifest in snapshot.manifests(table.io)
        for entry in manifest.fetch_manifest_entry(table.io, discard_deleted=True)
        if entry.status != ManifestEntryStatus.DELETED
    ]


def snapshot_in(produced: Produced) -> Snapshot:
    """Return the snapshot that a commit of `produced` would add."""
    return next(update.snapshot for update in produced.updates if isinstance(update, AddSnapshotUpdate))


def has_snapshots_of(metadata: TableMetadata, updates: Sequence[TableUpdate]) -> bool:
    """Return whether a table has the snapshots that a commit adds: nobody else gives them these ids. No when it adds none."""
    added = [update.snapshot.snapshot_id for update in updates if isinstance(update, AddSnapshotUpdate)]
    return bool(added) and all(metadata.snapshot_by_id(one) is not None for one in added)


def points_to(branch: str, snapshot_id: int | None) -> TableRequirement:
    """Return the assertion that a branch points to a snapshot; None: that it does not exist."""
    return AssertRefSnapshotId.model_validate({"ref": branch, "snapshot-id": snapshot_id})


def point(branch: str, snapshot_id: int) -> TableUpdate:
    """Return the update that makes a branch point to a snapshot."""
    return SetSnapshotRefUpdate.model_validate({"ref-name": branch, "type": SnapshotRefType.BRANCH, "snapshot-id": snapshot_id})


def tag(name: str, snapshot_id: int) -> TableUpdate:
    """Return the update that puts a tag on a snapshot."""
    return SetSnapshotRefUpdate.model_validate({"ref-name": name, "type": SnapshotRefType.TAG, "snapshot-id": snapshot_id})


def drop(branch: str) -> TableUpdate:
    """Return the update that drops a branch or a tag."""
    return RemoveSnapshotRefUpdate.model_validate({"ref-name": branch})


def forget(snapshot_ids: Sequence[int]) -> TableUpdate:
    """Return the update that removes snapshots."""
    return RemoveSnapshotsUpdate.model_validate({"snapshot-ids": list(snapshot_ids)})


def set_property(name: str, value: str) -> TableUpdate:
    """Return the update that sets a table property."""
    return SetPropertiesUpdate(updates={name: value})


def set_schema(table: Table, schema: Schema) -> None:
    """Make a schema the current one, asserting that schema and main are those of `table` as loaded; adds no snapshot."""
    metadata = table.metadata
    branches = [points_to(name, ref.snapshot_id) for name, ref in metadata.refs.items() if name == "main"]
    unmoved = AssertCurrentSchemaId.model_validate({"current-schema-id": metadata.current_schema_id})
    added = AddSchemaUpdate.model_validate({"schema": schema})
    commit(table, [unmoved, *branches], [added, SetCurrentSchemaUpdate.model_validate({"schema-id": -1})])


def commit(table: Table, requirements: Sequence[TableRequirement], updates: Sequence[TableUpdate]) -> CommitTableResponse:
    """Commit several updates under several assertions at once, then delete metadata files that fell out of the log."""
    assertions = (AssertTableUUID(uuid=table.metadata.table_uuid), *requirements)
    response = table.catalog.commit_table(table, assertions, tuple(_stamped(table.metadata, one) for one in updates))
    table.catalog._delete_old_metadata(table.io, table.metadata, response.metadata)
    return response


def place_tables(catalog: SqlCatalog, locations: Mapping[str, str]) -> None:
    """Point tables of a SQL catalog to metadata files, known ones and new ones in one transaction."""
    listed: Any = IcebergTables.__table__
    with catalog.engine.begin() as connection:
        for name, location in locations.items():
            namespace, _, short = name.rpartition(".")
            row = {"catalog_name": catalog.name, "table_namespace": namespace, "table_name": short}
            connection.execute(listed.delete().where(*(listed.c[key] == value for key, value in row.items())))
            connection.execute(listed.insert().values(**row, metadata_location=location, iceberg_type="TABLE"))


def write_new_table(catalog: SqlCatalog, definition: Mapping[str, Any], branch: str, summary: dict[str, str]) -> str:
    """Write a table whose only branch is an empty snapshot with `summary`; return its metadata file, which no catalog lists yet.

    definition   what `Catalog.create_table` takes
    """
    staged = catalog._create_staged_table(**definition)
    first = produce(staged, (), (), summary)
    metadata = update_table_metadata(staged.metadata, (*first.updates, point(branch, first.snapshot_id)))
    catalog._write_metadata(metadata, staged.io, staged.metadata_location)
    return staged.metadata_location


def list_new_tables(catalog: SqlCatalog, locations: Mapping[str, str]) -> None:
    """List tables by their metadata files, all in one transaction, which fails when one is listed already."""
    listed: Any = IcebergTables.__table__
    split = [(*name.rpartition(".")[::2], location) for name, location in locations.items()]
    with catalog.engine.begin() as connection:
        connection.execute(listed.insert(), [catalog._create_table_row(*one) for one in split])


def data_file(table: Table, location: str, size: int, partition: Sequence[object], written: pq.FileMetaData) -> DataFile:
    """Return the manifest entry of a Parquet file with field ids.

    partition   values as Iceberg stores them: dates and days as int days since the epoch
    written     the file's own footer
    """
    metadata = table.metadata
    statistics = data_file_statistics_from_parquet_metadata(
        written,
        compute_statistics_plan(metadata.schema(), metadata.properties),
        parquet_path_to_id_mapping(metadata.schema()),
    )
    file = DataFile.from_args(
        content=DataFileContent.DATA,
        file_path=location,
        file_format=FileFormat.PARQUET,
        partition=Record(*partition),
        file_size_in_bytes=size,
        sort_order_id=None,
        spec_id=metadata.default_spec_id,
        equality_ids=None,
        key_metadata=None,
        **statistics.to_serialized_dict(),
    )
    file.spec_id = metadata.default_spec_id
    return file


def files_of(table: Table, snapshot_id: int) -> list[DataFile]:
    """Return every live data file of a snapshot."""
    snapshot = table.metadata.snapshot_by_id(snapshot_id)
    if snapshot is None:
        return []
    return data_files_of(table, snapshot)


def files_added_by(table: Table, snapshot_id: int) -> list[DataFile]:
    """Return the data files that a snapshot itself added."""
    snapshot = table.metadata.snapshot_by_id(snapshot_id)
    if snapshot is None:
        return []
    return [
        entry.data_file
        for manifest in snapshot.manifests(table.io)
        if manifest.added_snapshot_id == snapshot_id
        for entry in manifest.fetch_manifest_entry(table.io, discard_deleted=True)
        if entry.status == ManifestEntryStatus.ADDED and entry.snapshot_id == snapshot_id
    ]
