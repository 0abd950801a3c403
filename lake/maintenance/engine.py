"""Rows of many data files at once in bounded memory: sorted for a rewrite, or summed up for its proof.

DuckDB sorts with a limit on its memory and spills the rest into a folder of its own; what a killed run left there is removed
by the next one.
"""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from lake.content import SUMS, hash_of_sums, number_sql
from lake.durable import Place, make_folder, readable
from lake.encodings import QUIET_GROUP_ROWS
from lake.errors import CorruptedError
from lake.objects import ObjectFiles
from lake.scan import source
from lake.tables import Table

Connection = duckdb.DuckDBPyConnection

MEMORY_BYTES = 384 << 20
"""What DuckDB may hold; with Arrow batches, the Parquet writer and the libraries themselves it stays below 1 GB."""
BATCH_BYTES = 64 << 20
"""Rows of large payloads come in smaller batches, and row groups."""
BATCH_ROWS = QUIET_GROUP_ROWS
_LEAST_ROWS = 2_048
_LINEAGE = ("capture_id", "message_seq", "ordinal", "run_id")
"""Ties of the table's order are broken by these, so that a rewrite gives the same files again."""


@dataclass(frozen=True, slots=True)
class Proof:
    """What some files hold, whatever their layout: two sets of files with equal proofs hold the same rows.

    content   sum modulo 2^128 over every column's value, stamps and lineage included (lake/content.py says how)
    bounds    column -> least and greatest value as text, of order and key
    """

    rows: int
    content: str
    bounds: dict[str, tuple[str | None, str | None]]


@contextmanager
def spilling(folder: Path, memory_bytes: int = MEMORY_BYTES) -> Iterator[Connection]:
    """A connection with bounded memory that spills into a new folder inside `folder`, removed at the end."""
    own = folder / uuid.uuid4().hex
    make_folder(own)
    try:
        with duckdb.connect(
            ":memory:",
            config={
                "memory_limit": f"{memory_bytes >> 20}MiB",
                "temp_directory": str(own),
                "threads": "2",
                "autoinstall_known_extensions": "false",
                "autoload_known_extensions": "false",
                "python_enable_replacements": "false",
            },
        ) as connection:
            connection.execute("SET TimeZone = 'UTC'")
            connection.register_filesystem(ObjectFiles())
            yield connection
    finally:
        shutil.rmtree(own, ignore_errors=True)


def sorted_batches(connection: Connection, table: Table, paths: Sequence[Place], batch_rows: int) -> Iterator[pa.Table]:
    """Return every row of `paths` in the table's order, nulls last, as tables of `batch_rows` rows but for the last.

    Raises CorruptedError when a file is missing or cannot be read as its table says.
    """
    names = dict.fromkeys([*table.order, *(name for name in _LINEAGE if name in table.column_names)])
    order = ", ".join(f'"{name}" NULLS LAST' for name in names)
    columns = ", ".join(f'"{name}"' for name in table.column_names)
    schema = table.arrow_schema()
    waiting: list[pa.RecordBatch] = []
    count = 0
    try:
        query = f"SELECT {columns} FROM {source(table, [str(path) for path in paths])} ORDER BY {order}"
        for batch in connection.sql(query).to_arrow_reader(batch_rows):
            waiting.append(batch)
            count += batch.num_rows
            while count >= batch_rows:
                rows = pa.Table.from_batches(waiting)
                yield rows.slice(0, batch_rows).cast(schema)
                count -= batch_rows
                waiting = rows.slice(batch_rows).to_batches()
        if count:
            yield pa.Table.from_batches(waiting).cast(schema)
    except duckdb.OutOfMemoryException as error:
        raise MemoryError(
            f"{table.name}: a rewrite needs more than {MEMORY_BYTES >> 20} MiB or room to spill: {error}"
        ) from error
    except (duckdb.Error, pa.ArrowInvalid) as error:
        raise CorruptedError(f"{table.name}: a data file is missing or cannot be read: {error}") from error


def prove(connection: Connection, table: Table, paths: Sequence[Place]) -> Proof:
    """Return what `paths` hold as read back. Raises CorruptedError as `sorted_batches` does."""
    names = list(dict.fromkeys([*table.order, *table.key]))
    bounds = ", ".join(f'CAST(min("{name}") AS VARCHAR), CAST(max("{name}") AS VARCHAR)' for name in names)
    kept = ", ".join(f'"{name}"' for name in names)
    rows = f"SELECT {number_sql(table.columns)} AS number, {kept} FROM {source(table, [str(path) for path in paths])}"
    try:
        ((count, upper, lower, *edges),) = connection.execute(f"SELECT count(*), {SUMS}, {bounds} FROM ({rows})").fetchall()
    except duckdb.Error as error:
        raise CorruptedError(f"{table.name}: a data file is missing or cannot be read: {error}") from error
    told = {name: (edges[2 * number], edges[2 * number + 1]) for number, name in enumerate(names)}
    return Proof(int(count), hash_of_sums(upper, lower), told)


def batch_rows_of(paths: Sequence[Place]) -> int:
    """Return how many rows a batch, and with it a row group, may have: fewer where rows are large."""
    rows = size = 0
    for path in paths:
        with pq.ParquetFile(**readable(path)) as file:
            footer = file.metadata
        rows += footer.num_rows
        size += sum(footer.row_group(number).total_byte_size for number in range(footer.num_row_groups))
    if not rows:
        return BATCH_ROWS
    return max(_LEAST_ROWS, min(BATCH_ROWS, BATCH_BYTES * rows // max(size, 1) // _LEAST_ROWS * _LEAST_ROWS))
