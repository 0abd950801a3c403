"""Past snapshots of main, while they are kept: what one has that another has not, and which of them were rebuilds.

Only files that two snapshots do not share are read. A snapshot that expiry forgot is a NotFoundError; `expire(also=…)`
keeps those that somebody still has to compare.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

import polars as pl
import pyarrow as pa
from pyiceberg.manifest import DataFile
from pyiceberg.table import Table as IcebergTable

from lake import files
from lake import iceberg_internals as internals
from lake.catalog import Lake
from lake.errors import NotFoundError
from lake.heads import ACT, Act
from lake.instants import EPOCH
from lake.tables import Table, table_named


@dataclass(frozen=True, slots=True)
class Difference:
    """Rows of the earlier snapshot that the later one has not (`gone`), and the other way round (`come`)."""

    gone: pa.Table
    come: pa.Table


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """A snapshot of main that took every row's place; `base` is the one it replaced."""

    snapshot_id: int
    base: int
    published_at: datetime


def rebuilds(lake: Lake, table: str) -> list[Rebuilt]:
    """Return the rebuilds in main's log, oldest first."""
    metadata = lake.table(table).metadata
    found = []
    for entry in metadata.snapshot_log:
        snapshot = metadata.snapshot_by_id(entry.snapshot_id)
        if snapshot is None or snapshot.summary is None or snapshot.parent_snapshot_id is None:
            continue
        if snapshot.summary.additional_properties.get(ACT) == Act.REBUILD:
            published_at = EPOCH + timedelta(milliseconds=entry.timestamp_ms)
            found.append(Rebuilt(snapshot.snapshot_id, snapshot.parent_snapshot_id, published_at))
    return found


def is_kept(lake: Lake, table: str, snapshot_id: int) -> bool:
    """Return whether a snapshot can still be read."""
    return lake.table(table).metadata.snapshot_by_id(snapshot_id) is not None


def rows_at(lake: Lake, table: str, snapshot_id: int) -> pa.Table:
    """Return every row of a snapshot. Raises NotFoundError when it was forgotten."""
    return difference(lake, table, None, snapshot_id).come


def difference(lake: Lake, table: str, base: int | None, snapshot_id: int) -> Difference:
    """Return what changed from `base` (None: from nothing) to a snapshot, row by row over all columns.

    Rows that only moved to another file are no change. Raises NotFoundError when one of them was forgotten.
    """
    definition, iceberg = table_named(table), lake.table(table)
    before = {} if base is None else _files(iceberg, table, base)
    after = _files(iceberg, table, snapshot_id)
    old = files.read_files(definition, files.paths_of(file for path, file in before.items() if path not in after))
    new = files.read_files(definition, files.paths_of(file for path, file in after.items() if path not in before))
    return Difference(_without(definition, old, new), _without(definition, new, old))


def _files(iceberg: IcebergTable, table: str, snapshot_id: int) -> dict[str, DataFile]:
    if iceberg.metadata.snapshot_by_id(snapshot_id) is None:
        raise NotFoundError(f"snapshot {snapshot_id} of {table} was forgotten")
    return {file.file_path: file for file in internals.files_of(iceberg, snapshot_id)}


def _without(definition: Table, rows: pa.Table, others: pa.Table) -> pa.Table:
    if not rows.num_rows or not others.num_rows:
        return rows
    names = list(definition.column_names)
    mine = pl.DataFrame({name: pl.from_arrow(rows[name]) for name in names}).with_row_index("row")
    theirs = pl.DataFrame({name: pl.from_arrow(others[name]) for name in names})
    kept = mine.join(theirs, on=names, how="anti", nulls_equal=True, maintain_order="left")["row"]
    return rows.take(kept.to_arrow())
