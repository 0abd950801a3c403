"""The content hash: one number for the business content of rows, whatever their order, chunks or file layout.

Every row becomes one canonical text: for each business column that is not null, `<field id>=<length>:<value>;`. Nulls are
left out, so they differ from empty texts, and a nullable column added later changes nothing. Values: decimals without
trailing zeros, instants as microseconds since the epoch, dates as ISO 8601, bytes as their MD5. The hash is the sum
modulo 2^128 of the rows' MD5 numbers: a sum and not an xor, because in an xor a doubled row cancels itself.

The algorithm is ours and fixed: hashes are kept and compared across versions of every library.
"""

from __future__ import annotations

import duckdb
import pyarrow as pa

from lake.errors import InvalidValueError
from lake.tables import Column, Table

_WORD = 64


def content_hash(table: Table, rows: pa.Table) -> str:
    """Return the order-free hash of the business columns of `rows`, 32 hex digits; no rows give zeros.

    `rows` has `table`'s columns in any order, more are ignored. Raises InvalidValueError when a business column is
    missing or cannot be read as its type.
    """
    missing = sorted(set(table.business_columns) - set(rows.column_names))
    if missing:
        raise InvalidValueError(f"content of {table.name}: columns {missing} are missing; there are {rows.column_names}")
    text = " || ".join(_canonical(table.column(name)) for name in table.business_columns)
    with duckdb.connect(":memory:") as connection:
        connection.register("rows", rows.select(list(table.business_columns)))
        try:
            found = connection.execute(
                f"SELECT sum(md5_number_upper(content)), sum(md5_number_lower(content)) FROM (SELECT {text} AS content FROM rows)"
            ).fetchone()
        except duckdb.Error as error:
            raise InvalidValueError(f"content of {table.name} cannot be hashed: {error}") from error
    upper, lower = (int(part or 0) for part in found or (0, 0))
    return f"{((upper << _WORD) + lower) % (1 << 2 * _WORD):032x}"


def _canonical(column: Column) -> str:
    """Return the SQL of one column's part of the row's text."""
    name = f'"{column.name}"'
    if column.type.startswith("decimal"):
        text = f"CAST({name} AS VARCHAR)"
        if not column.type.endswith(",0)"):
            text = f"rtrim(rtrim({text}, '0'), '.')"
    elif column.type == "timestamptz":
        text = f"CAST(epoch_us({name}) AS VARCHAR)"
    elif column.type == "binary":
        text = f"md5({name})"
    elif column.type == "double":
        text = f"CAST({name} + 0.0 AS VARCHAR)"  # -0.0 and 0.0 are one number
    else:
        text = f"CAST({name} AS VARCHAR)"
    return f"coalesce('{column.field_id}=' || length({text}) || ':' || {text} || ';', '')"
