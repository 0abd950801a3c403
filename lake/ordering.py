"""Rows cut into partitions and put in a table's order, before they become files.

Most of what writing costs is moving texts, so columns of few texts are moved as dictionaries; and most batches arrive
in order of time, so a stable sort by the leading column (a radix sort of its codes) is the whole order nearly always.
That is checked, not believed: where it does not hold, every column of the order is sorted by.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyiceberg.transforms import parse_transform

from lake.tables import Encoding, Table

Numbers = np.ndarray[Any, np.dtype[np.int64]]
_SHORT_CODES = 1 << 15
"""NumPy sorts 16-bit numbers by radix, wider ones by comparison."""
_SHORT_DICTIONARY = 256


def partitions(table: Table, rows: pa.Table) -> list[tuple[tuple[object, ...], pa.Table]]:
    """Return (partition values as Iceberg stores them, their rows in the table's order, nulls last), in partition order.

    rows      in the table's schema
    returns   the same columns; texts of few values may be dictionaries of them
    """
    rows = _encoded(table, rows)
    names = [f"partition {number}" for number in range(len(table.partition))]
    keys = [_partition_key(table, rows, name, transform) for name, transform in table.partition]
    constant = [value for key in keys if (value := _constant(key)) is not None]
    if len(constant) == len(keys):
        order = _order(rows, table.order)
        return [(tuple(value.as_py() for value in constant), _taken(rows, order))]
    columns = {name: _plain(rows.column(name)) for name in table.order} | dict(zip(names, keys, strict=True))
    order = pc.sort_indices(pa.table(columns), sort_keys=[(name, "ascending") for name in [*names, *table.order]])
    ordered = _taken(rows, order)
    sorted_keys = [key.take(order) for key in keys]
    starts = _starts(sorted_keys)
    ends = [*starts[1:], rows.num_rows]
    return [
        (tuple(key[start].as_py() for key in sorted_keys), ordered.slice(start, end - start))
        for start, end in zip(starts, ends, strict=True)
    ]


def _starts(keys: list[pa.ChunkedArray]) -> list[int]:
    """Return where each run of rows with the same keys begins; a null is a value of its own."""
    is_start = np.zeros(len(keys[0]), dtype=np.bool_)
    is_start[:1] = True
    for key in keys:
        codes = key.combine_chunks().dictionary_encode(null_encoding="encode").indices.to_numpy()
        is_start[1:] |= codes[1:] != codes[:-1]
    return [int(start) for start in np.flatnonzero(is_start)]


def _encoded(table: Table, rows: pa.Table) -> pa.Table:
    """Return the rows with texts that are written as dictionaries held as dictionaries."""
    columns = []
    for column in table.columns:
        values = rows.column(column.name)
        if column.type == "string" and column.encoding is Encoding.DICTIONARY:
            values = pc.dictionary_encode(values.combine_chunks())
        columns.append(values)
    fields = [rows.schema.field(column.name) for column in table.columns]
    schema = pa.schema([field.with_type(values.type) for field, values in zip(fields, columns, strict=True)])
    return pa.Table.from_arrays(columns, schema=schema)


def _plain(values: pa.ChunkedArray) -> pa.ChunkedArray:
    return values.cast(values.type.value_type) if pa.types.is_dictionary(values.type) else values


def _is_long(values: pa.ChunkedArray) -> bool:
    return pa.types.is_dictionary(values.type) and any(len(chunk.dictionary) > _SHORT_DICTIONARY for chunk in values.chunks)


def _constant(key: pa.ChunkedArray) -> pa.Scalar | None:
    """Return the one value of a partition key; None when there are several, or none that is not null."""
    if key.null_count or len(key) == 0:
        return None
    least = pc.min_max(key)
    return least["min"] if least["min"].equals(least["max"]) else None


def _taken(rows: pa.Table, order: pa.Array | None) -> pa.Table:
    """Return the rows in `order` (None: as they are); a column of one value is the same in any order."""
    if order is None:
        return rows
    columns = []
    for values in rows.itercolumns():
        one = values.combine_chunks() if pa.types.is_dictionary(values.type) else None
        if one is not None and len(one.dictionary) <= 1 and one.null_count in (0, len(one)):
            columns.append(values)
        else:
            columns.append(values.take(order))
    # Parquet repeats a dictionary in each row group: one of many texts is better made there, of the group's own.
    columns = [_plain(one) if _is_long(one) else one for one in columns]
    fields = [field.with_type(one.type) for field, one in zip(rows.schema, columns, strict=True)]
    return pa.Table.from_arrays(columns, schema=pa.schema(fields))


def _order(rows: pa.Table, names: tuple[str, ...]) -> pa.Array | None:
    """Return the indices that sort rows by columns, ascending, nulls last, stable; None when they are in order already."""
    if not names or rows.num_rows == 0:
        return None
    numbers = [_numbers(rows.column(name)) for name in names]
    if all(one is not None for one in numbers):
        known = [one for one in numbers if one is not None]
        if _is_ordered(known):
            return None
        order = _by_leading(known[0])
        if _is_ordered([one[order] for one in known]):
            return pa.array(order)
    columns = pa.table({name: _plain(rows.column(name)) for name in names})
    return pc.sort_indices(columns, sort_keys=[(name, "ascending") for name in names])


def _numbers(values: pa.ChunkedArray) -> Numbers | None:
    """Return a column as numbers in the same order; None when it has nulls beside values, or is no number."""
    if values.null_count == len(values):
        return np.zeros(len(values), dtype=np.int64)
    kind = values.type
    if values.null_count:
        return None
    if pa.types.is_timestamp(kind):
        return np.asarray(values.cast(pa.int64()).to_numpy())
    if pa.types.is_date32(kind):
        return np.asarray(values.cast(pa.int32()).cast(pa.int64()).to_numpy())
    return np.asarray(values.cast(pa.int64()).to_numpy()) if pa.types.is_integer(kind) else None


def _by_leading(leading: Numbers) -> Numbers:
    """Return the stable order by one column."""
    codes = pa.array(leading).dictionary_encode()
    values = codes.dictionary.to_numpy()
    rank = np.empty(len(values), dtype=np.int16 if len(values) < _SHORT_CODES else np.int32)
    rank[np.argsort(values)] = np.arange(len(values))
    return np.argsort(rank[codes.indices.to_numpy()], kind="stable")


def _is_ordered(columns: list[Numbers]) -> bool:
    """Return whether rows ascend by the columns, the first one first."""
    undecided = np.ones(max(len(columns[0]) - 1, 0), dtype=np.bool_)
    for values in columns:
        before, after = values[:-1], values[1:]
        if np.any(undecided & (after < before)):
            return False
        undecided &= after == before
    return True


def _partition_key(table: Table, rows: pa.Table, name: str, transform: str) -> pa.ChunkedArray:
    """Return the partition value of each row as Iceberg stores it (dates, days and months as ints)."""
    values = _plain(rows.column(name)).combine_chunks()
    if transform in ("day", "month"):
        values = pc.floor_temporal(values, unit=transform)
    if pa.types.is_timestamp(values.type):
        values = values.cast(pa.int64())
    elif pa.types.is_date32(values.type):
        values = values.cast(pa.int32())
    if transform == "identity":
        return pa.chunked_array([values])
    encoded = values.dictionary_encode()
    apply = parse_transform(transform).transform(table.column(name).iceberg_type)
    distinct = pa.array([apply(value) for value in encoded.dictionary.to_pylist()])
    return pa.chunked_array([distinct.take(encoded.indices)])
