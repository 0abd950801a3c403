"""The content hash: one number for the business content of rows, whatever their order, chunks or file layout.

Every row becomes one canonical text: for each business column that is not null, `<field id>=<bytes>:<value>;`. Nulls are
left out, so they differ from empty texts, and a nullable column added later changes nothing. Values: decimals without
trailing zeros, instants as microseconds since the epoch, dates as ISO 8601, bytes as the hex of their MD5. The hash is the sum
modulo 2^128 of the rows' MD5 read as little-endian numbers: a sum and not an xor, because in an xor a doubled row cancels itself.

The algorithm is ours and fixed: hashes are kept and compared across versions of every library.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import duckdb
import pyarrow as pa

from lake.errors import InvalidValueError
from lake.tables import Column, Table


def content_hash(table: Table, rows: pa.Table) -> str:
    """Return the order-free hash of the business columns of `rows`, 32 hex digits; no rows give zeros.

    `rows` has `table`'s columns in any order, more are ignored. Raises InvalidValueError when a business column is
    missing or cannot be read as its type.
    """
    missing = sorted(set(table.business_columns) - set(rows.column_names))
    if missing:
        raise InvalidValueError(f"content of {table.name}: columns {missing} are missing; there are {rows.column_names}")
    columns = [table.column(name) for name in table.business_columns]
    try:
        typed = pa.table({column.name: rows.column(column.name).cast(column.arrow_type) for column in columns})
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise InvalidValueError(f"content of {table.name} is not of its types: {error}") from error
    with duckdb.connect(":memory:") as connection:
        connection.register("rows", typed)
        found = connection.execute(f"SELECT {SUMS} FROM (SELECT {number_sql(columns)} AS number FROM rows)").fetchone()
    return hash_of_sums(*(found or (0, 0)))


SUMS = "sum(CAST(number >> 64 AS UBIGINT)), sum(CAST(number & 18446744073709551615::UHUGEINT AS UBIGINT))"
"""SQL of the two halves of the sum of `number`; a sum of 128-bit numbers at once would overflow."""


def number_sql(columns: Sequence[Column]) -> str:
    """Return the SQL of one row's number over `columns`; concat leaves out nulls."""
    parts = []
    for column in columns:
        value = _value(column)
        parts.append(f"'{column.field_id}=' || strlen({value}) || ':' || {value} || ';'")
    return f"md5_number(concat({', '.join(parts)}))"


def hash_of_sums(upper: int | None, lower: int | None) -> str:
    """Return the hash that the two sums of `SUMS` make, 32 hex digits; of no rows, zeros."""
    return f"{((int(upper or 0) << 64) + int(lower or 0)) % (1 << 128):032x}"


def sum_of_hashes(hashes: Iterable[str]) -> str:
    """Return the hash of rows whose parts, in any order, have these hashes."""
    return f"{sum(int(one, 16) for one in hashes) % (1 << 128):032x}"


def _value(column: Column) -> str:
    """Return the SQL of a column's canonical text, null for null."""
    name = f'"{column.name}"'
    if column.type.startswith("decimal"):
        text = f"CAST({name} AS VARCHAR)"
        return text if column.type.endswith(",0)") else f"rtrim(rtrim({text}, '0'), '.')"
    if column.type == "timestamptz":
        return f"CAST(epoch_us({name}) AS VARCHAR)"
    if column.type == "binary":
        return f"md5({name})"
    if column.type == "double":
        return f"CAST({name} + 0.0 AS VARCHAR)"  # -0.0 and 0.0 are one number
    return f"CAST({name} AS VARCHAR)"
