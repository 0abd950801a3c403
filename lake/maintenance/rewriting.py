"""Rewriting: data files of one partition made anew, sorted and proven, put in place of the old ones by one commit.

Nothing rests on the rewrite being right: old and new files are both read back from the disk and must hold the same rows,
bounds and content before main may refer to the new ones.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq
from pyiceberg.manifest import DataFile
from pyiceberg.table import Table as IcebergTable

from lake import files
from lake import iceberg_internals as internals
from lake.catalog import LANDED, Lake
from lake.commits import Plan, Summary, commit_to_main
from lake.durable import Place as FilePlace
from lake.durable import location_of, make_folder, new_file, place_of, size_of, sync_folder
from lake.encodings import ROW_GROUP_ROWS, group_rows, parquet_options, sample_of
from lake.epochs import Epoch
from lake.errors import CorruptedError
from lake.heads import ACT, HOLDS, POSITION, RUN, Act, Head, compact
from lake.maintenance.engine import Connection, Proof, batch_rows_of, prove, sorted_batches, spilling
from lake.tables import Table, table_named

RUN_PREFIX = "maintain-"
LANDED_LAYERS = ("raw", "ops", "quality")


@dataclass(frozen=True, slots=True)
class Place:
    """Where rewritten files go and how.

    root    folder of all of the table's files, or its place in a bucket; None: the table's own
    """

    kind: Literal["compact", "archive"]
    root: FilePlace | None
    level: int
    target_bytes: int


@dataclass(frozen=True, slots=True)
class Rewrite:
    """What one rewrite replaced and made."""

    table: str
    partition: tuple[object, ...]
    snapshot_id: int
    files_before: int
    files_after: int
    bytes_before: int
    bytes_after: int
    rows: int
    content: str


def rewrite(lake: Lake, name: str, partition: Sequence[object], old: Sequence[DataFile], place: Place) -> Rewrite:
    """Put new files in place of `old`, data files of main in one partition; position and holds stay as they are.

    Raises CommitConflictError when one of them is not on main any more (plan again), CorruptedError when old and new files
    do not hold the same: the new ones are deleted and main stays. Memory is bounded whatever the size of `old`.
    """
    table = table_named(name)
    iceberg = lake.table(name)
    paths = [place_of(file.file_path) for file in old]
    with spilling(spill_folder(lake)) as connection:
        before = prove(connection, table, paths)
        written = _written(connection, iceberg, table, partition, paths, place)
        lake.steps.reached(f"{place.kind}.files")
        try:
            _check(
                table,
                before,
                sum(file.record_count for file in old),
                prove(connection, table, [place_of(file.file_path) for file in written]),
            )
        except BaseException:
            files.give_up(files.paths_of(written))
            raise
    lake.steps.reached(f"{place.kind}.proved")
    act = Act.COMPACT if place.kind == "compact" else Act.ARCHIVE
    with lake.state.lease(writers_lease(name)):
        snapshot_id = commit_to_main(lake, name, written, keeping_plan(act), Epoch.of(iceberg), replaced=old)
    lake.steps.reached(f"{place.kind}.committed")
    return Rewrite(
        table=name,
        partition=tuple(partition),
        snapshot_id=snapshot_id,
        files_before=len(old),
        files_after=len(written),
        bytes_before=sum(file.file_size_in_bytes for file in old),
        bytes_after=sum(file.file_size_in_bytes for file in written),
        rows=before.rows,
        content=before.content,
    )


def keeping_plan(act: Act) -> Plan:
    """Return the plan of a commit that changes files and nothing else: what main says of positions and holds is copied."""
    run_id = f"{RUN_PREFIX}{uuid.uuid4().hex}"

    def plan(head: Head) -> Summary:
        return {POSITION: compact(head.position), HOLDS: compact(head.listed_holds), ACT: act.value, RUN: run_id}

    return plan


def writers_lease(name: str) -> str:
    """Return the lease under which a table is written by the job: taken for the commit, so that nobody is in its middle."""
    return "landing" if name == LANDED or name.partition(".")[0] in LANDED_LAYERS else name


def spill_folder(lake: Lake) -> Path:
    """Return where rewrites spill; only the lake's own maintenance writes there."""
    return lake.settings.home / "spill"


def _written(
    connection: Connection,
    iceberg: IcebergTable,
    table: Table,
    partition: Sequence[object],
    paths: Sequence[FilePlace],
    place: Place,
) -> list[DataFile]:
    """Write the rows of `paths` in order to new files of about the target size, everything on disk; return their entries."""
    folder = files.partition_folder(iceberg, partition, place.root)
    make_folder(folder)
    batch_rows = batch_rows_of(paths)
    made: list[DataFile] = []
    begun: list[FilePlace] = []
    batches = sorted_batches(connection, table, paths, batch_rows)
    try:
        batch = next(batches, None)
        while batch is not None:
            path = folder / f"{uuid.uuid4().hex}.parquet"
            begun.append(path)
            footers: list[pq.FileMetaData] = []
            with new_file(path) as file:
                batch = _fill(file, table, batches, batch, place, footers)
            made.append(internals.data_file(iceberg, location_of(path), size_of(path), partition, footers[0]))
        sync_folder(folder)
    except BaseException:
        files.give_up(begun)
        raise
    return made


def _fill(
    file: Any, table: Table, batches: Iterator[pa.Table], batch: pa.Table, place: Place, footers: list[pq.FileMetaData]
) -> pa.Table | None:
    """Write batches into one file until it has the target size; return the next batch, None at the end."""
    waiting: pa.Table | None = batch
    options = parquet_options(table, place.level, sample_of(batch, ROW_GROUP_ROWS))
    with pq.ParquetWriter(file, table.arrow_schema(), metadata_collector=footers, **options) as writer:
        while waiting is not None:
            writer.write_table(waiting, row_group_size=group_rows(table, waiting, is_quiet=True))
            waiting = next(batches, None)
            if file.tell() >= place.target_bytes:
                break
    return waiting


def _check(table: Table, before: Proof, counted: int, after: Proof) -> None:
    """Refuse a rewrite that is not the same rows. Raises CorruptedError."""
    if before.rows != counted:
        raise CorruptedError(f"{table.name}: files to rewrite hold {before.rows} rows, main counts {counted}; verify the lake")
    if before != after:
        raise CorruptedError(f"{table.name}: a rewrite read back as {after}, the files before it as {before}; main stays")
