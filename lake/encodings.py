"""How Parquet holds each column: what the table declares, and in large files what a sample shows to be smaller.

A trade id that counts and one that is drawn at random want different encodings, and so do sizes of few and of many values.
The table declares what is right more often; a file of many rows is worth asking. Every encoding offered is of Parquet 2.0 to
2.4, which DuckDB, Polars, Spark and Trino read; a stamp has never a dictionary.
"""

from __future__ import annotations

import re
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from lake.tables import Column, Encoding, Table

ROW_GROUP_ROWS = 16_384
"""Small, for the reader of few rows (lake/row_groups.py): half the time of 65,536 for 1.2 % more bytes."""
QUIET_GROUP_ROWS = 131_072
"""Of rewritten rows of one instrument, which a question takes whole or by the hour: 6 % fewer bytes; a batch of a rewrite."""
ZSTD_LEVEL = 3
QUIET_ZSTD_LEVEL = 10
"""Of rewritten files: 1-6 % fewer bytes for half as much CPU again."""
ASKED_ROWS = 16 * ROW_GROUP_ROWS
"""Rows from which on a file is worth a sample: asking costs a tenth of writing so many."""
_NARROW_DECIMAL = re.compile(r"decimal\((\d|1[0-8]),\d+\)\Z")
"""Those of up to 18 digits are stored as integers."""


def parquet_options(table: Table, level: int = ZSTD_LEVEL, sample: pa.Table | None = None) -> dict[str, Any]:
    """Return how pyarrow writes the data files of a table: encodings per column, zstd, decimals as integers.

    sample    some rows of the file as they will stand there, asked which encodings suit them; None: as declared
    """
    encodings = {column.name: column.encoding for column in table.columns}
    encodings |= {column.name: Encoding.PLAIN for column in table.columns if column.type == "boolean"}
    if sample is not None:
        asked = min(level, QUIET_ZSTD_LEVEL)
        encodings |= {column.name: _smallest(sample.select([column.name]), column, asked) for column in table.columns}
    return _options(encodings, level)


def sample_of(rows: pa.Table, least_rows: int = ASKED_ROWS) -> pa.Table | None:
    """Return rows from the middle of a file; None of a file that has fewer than `least_rows`."""
    return rows.slice(rows.num_rows // 2, ROW_GROUP_ROWS) if rows.num_rows >= least_rows else None


def group_rows(table: Table, rows: pa.Table, *, is_quiet: bool) -> int:
    """Return how many rows a row group of sorted `rows` has; `is_quiet`: nobody writes to their partition any more."""
    if not is_quiet or "instrument_id" not in table.order[:1]:
        return ROW_GROUP_ROWS
    instruments = rows.column("instrument_id")
    return QUIET_GROUP_ROWS if instruments[0] == instruments[-1] else ROW_GROUP_ROWS


def offered(column: Column) -> tuple[Encoding, ...]:
    """Return the encodings that a column may have, the declared one first."""
    others: tuple[Encoding, ...] = ()
    if column.type in ("int", "long"):
        others = (Encoding.DELTA, Encoding.DICTIONARY)
    elif _NARROW_DECIMAL.match(column.type):
        others = (Encoding.DELTA, Encoding.DICTIONARY, Encoding.PLAIN)
    elif column.encoding is Encoding.DELTA_BYTES:
        others = (Encoding.DICTIONARY, Encoding.DELTA_LENGTHS)
    declared = Encoding.PLAIN if column.type == "boolean" else column.encoding
    return (declared, *(one for one in others if one is not declared))


def _smallest(sample: pa.Table, column: Column, level: int) -> Encoding:
    """Return the encoding of a column that makes its sample smallest."""
    several = offered(column)
    return several[0] if len(several) == 1 else min(several, key=lambda one: _size(sample, column.name, one, level))


def _size(sample: pa.Table, name: str, encoding: Encoding, level: int) -> int:
    """Return the bytes of a one-column file."""
    sink = pa.BufferOutputStream()
    pq.write_table(sample, sink, row_group_size=ROW_GROUP_ROWS, write_statistics=False, **_options({name: encoding}, level))
    return int(sink.tell())


def _options(encodings: dict[str, Encoding], level: int) -> dict[str, Any]:
    dictionary = [name for name, one in encodings.items() if one is Encoding.DICTIONARY]
    return {
        "compression": "zstd",
        "compression_level": level,
        "use_dictionary": dictionary or False,
        "column_encoding": {name: one.value for name, one in encodings.items() if one is not Encoding.DICTIONARY} or None,
        "store_decimal_as_integer": True,
        "store_schema": False,  # rows come with dictionaries here and there: how they were held is nobody's business
    }
