"""Data files: sorted Parquet with field ids, written through to disk, one file a partition value; and the links of holds.

PyIceberg's own writer has no encodings per column, does not sort and does not fsync. Encodings: lake/encodings.py. Names are
never used again.
"""

from __future__ import annotations

import logging
import re
import uuid
from collections.abc import Iterable, Sequence

import pyarrow as pa
import pyarrow.parquet as pq
from pyiceberg.manifest import DataFile
from pyiceberg.table import Table as IcebergTable
from pyiceberg.transforms import parse_transform

from lake import iceberg_internals as internals
from lake.durable import (
    Place,
    delete,
    delete_folder,
    link,
    listed,
    location_of,
    make_folder,
    new_file,
    place_of,
    readable,
    size_of,
    sync_folder,
    told_of,
)
from lake.encodings import ROW_GROUP_ROWS, parquet_options, sample_of
from lake.errors import InvalidValueError
from lake.ordering import partitions
from lake.row_groups import read_footer, read_groups
from lake.tables import Table

LOGGER = logging.getLogger("tickhouse.lake")
_UNSAFE = re.compile(r"[^A-Za-z0-9_.+-]")


def conform(table: Table, rows: pa.Table) -> pa.Table:
    """Return `rows` in the table's schema, columns in its order; an optional column left out is null.

    Raises InvalidValueError for an unknown column, a null in a required one, or a value that does not fit its type.
    """
    unknown = set(rows.column_names) - set(table.column_names)
    if unknown:
        raise InvalidValueError(f"{table.name} has no columns {sorted(unknown)}")
    columns = []
    for column in table.columns:
        if column.name not in rows.column_names:
            values = pa.chunked_array([pa.nulls(rows.num_rows, column.arrow_type)])
        else:
            try:
                values = rows.column(column.name).cast(column.arrow_type)
            except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
                raise InvalidValueError(f"{table.name}.{column.name} does not fit {column.type}: {error}") from error
        if column.required and values.null_count:
            nulls = f"null in {values.null_count} of {rows.num_rows} rows"
            raise InvalidValueError(f"{table.name}.{column.name} is required and {nulls}")
        columns.append(values)
    return pa.Table.from_arrays(columns, schema=table.arrow_schema())


def write_files(iceberg: IcebergTable, table: Table, rows: pa.Table, job: str = "") -> list[DataFile]:
    """Write conformed rows and return their manifest entries, everything on disk; no rows give no file.

    job     stands at the start of the files' names: what a worker that died left is found by it (lake/runner.py)

    When writing fails, what was written is deleted. Raises StorageError when the disk or the store refuses.
    """
    if rows.num_rows == 0:
        return []
    written: list[Place] = []
    files: list[DataFile] = []
    try:
        with told_of(f"{table.name}: writing its data files"):
            for values, part in partitions(table, rows):
                folder = partition_folder(iceberg, values)
                make_folder(folder)
                path = folder / f"{job}{'-' if job else ''}{uuid.uuid4().hex}.parquet"
                written.append(path)
                footer = _write(path, table, part)
                files.append(internals.data_file(iceberg, location_of(path), size_of(path), values, footer))
            for folder in {path.parent for path in written}:
                sync_folder(folder)
    except BaseException:
        give_up(written)
        raise
    return files


def read_files(table: Table, paths: Iterable[Place]) -> pa.Table:
    """Return the rows of data files in the table's schema, found by field id, in the order of the paths."""
    parts = []
    for path in paths:
        footer = read_footer(str(path))
        parts.extend(read_groups(footer, table, range(len(footer.rows)), table.column_names))
    return conform(table, pa.concat_tables(parts)) if parts else table.arrow_schema().empty_table()


def files_of_job(iceberg: IcebergTable, job: str) -> list[Place]:
    """Return every data file there is that was written under the name of a job."""
    folder = place_of(iceberg.location()) / "data"
    return [place for place, _, _ in listed(folder) if place.name.startswith(f"{job}-")]


def delete_paths(paths: Iterable[Place]) -> None:
    """Delete files that surely nothing refers to; one already gone is no error."""
    for path in paths:
        delete(path)


def give_up(paths: Iterable[Place]) -> None:
    """Delete files that no commit named, as far as the place lets: of what refuses, the error under way tells."""
    for path in paths:
        try:
            delete(path)
        except OSError as error:
            LOGGER.warning("%s could not be deleted, which is left to the sweep: %s", path, error)


def bucket_of(table: Table, name: str, value: object) -> int:
    """Return the bucket of a value in a table that is partitioned by buckets of a column: whose file it stands in."""
    transform = next(transform for column, transform in table.partition if column == name)
    bucket = parse_transform(transform).transform(table.column(name).iceberg_type)(value)
    assert isinstance(bucket, int)
    return bucket


def paths_of(files: Iterable[DataFile]) -> list[Place]:
    """Return the places of manifest entries."""
    return [place_of(file.file_path) for file in files]


# --- holds: links to the same bytes under other names (in an object store: copies), in a folder that no sweep visits


def held_folder(iceberg: IcebergTable, hold_id: str) -> Place:
    """Return where the files of a hold are linked: beside the table's data, never inside it."""
    return place_of(iceberg.location()) / "held" / safe_name(hold_id)


def link_held(iceberg: IcebergTable, hold_id: str, files: Sequence[DataFile]) -> list[dict[str, object]]:
    """Link files into the hold's folder and return their description.

    Each: `name` in the folder, `partition` values as Iceberg stores them. What another attempt linked there stays: it may be
    what main lists by now, when this process was paused. Raises StorageError.
    """
    folder = held_folder(iceberg, hold_id)
    described: list[dict[str, object]] = []
    with told_of(f"linking the files of hold {hold_id}"):
        make_folder(folder)
        for number, file in enumerate(files):
            name = f"{number}-{uuid.uuid4().hex}.parquet"
            link(place_of(file.file_path), folder / name)
            described.append({"name": name, "partition": [file.partition[at] for at in range(len(iceberg.spec().fields))]})
        sync_folder(folder)
    return described


def link_released(iceberg: IcebergTable, hold_id: str, described: Sequence[dict[str, object]]) -> list[DataFile]:
    """Link held files to new names among the table's data and return their manifest entries.

    New names, because a sweep that listed the old ones may delete them later, and a file already in a table would be
    counted twice. Raises FileNotFoundError when somebody else released the hold meanwhile, StorageError.
    """
    folder = held_folder(iceberg, hold_id)
    files: list[DataFile] = []
    linked: list[Place] = []
    try:
        with told_of(f"linking the files that hold {hold_id} lets go", FileNotFoundError):
            for entry in described:
                partition = entry["partition"]
                assert isinstance(partition, list)
                target = partition_folder(iceberg, partition)
                make_folder(target)
                path = target / f"{uuid.uuid4().hex}.parquet"
                link(folder / str(entry["name"]), path)
                linked.append(path)
                footer = pq.ParquetFile(**readable(path)).metadata
                files.append(internals.data_file(iceberg, location_of(path), size_of(path), partition, footer))
            for target in {path.parent for path in linked}:
                sync_folder(target)
    except BaseException:
        give_up(linked)
        raise
    return files


def drop_held(iceberg: IcebergTable, hold_id: str) -> None:
    """Remove the folder of a hold that main lists no longer."""
    delete_folder(held_folder(iceberg, hold_id))


def safe_name(text: str) -> str:
    """Return `text` as a file name: characters with a meaning in paths, globs or URLs become `_`."""
    return _UNSAFE.sub("_", text)


# --- writing one file


def _write(path: Place, table: Table, rows: pa.Table) -> pq.FileMetaData:
    footers: list[pq.FileMetaData] = []
    with new_file(path) as file:
        options = parquet_options(table, sample=sample_of(rows))
        pq.write_table(rows, file, row_group_size=ROW_GROUP_ROWS, metadata_collector=footers, **options)
    return footers[0]


def partition_folder(iceberg: IcebergTable, values: Sequence[object], root: Place | None = None) -> Place:
    """Return where data files of a partition go; `root` is where all of the table's do, by default in its own location."""
    return (root or place_of(iceberg.location()) / "data").joinpath(*_folder_names(iceberg, values))


def _folder_names(iceberg: IcebergTable, values: Sequence[object]) -> list[str]:
    return [
        f"{field.name}={safe_name(str(value if value is not None else 'null'))}"
        for field, value in zip(iceberg.spec().fields, values, strict=True)
    ]
