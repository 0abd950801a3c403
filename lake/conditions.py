"""Conditions on columns: what a caller asks for, as SQL for DuckDB, as bounds for a plan, as an Arrow expression."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

from lake.errors import InvalidValueError
from lake.instants import EPOCH, NANOS_PER_MICRO, to_ns
from lake.plans import Condition, Op
from lake.tables import Column, Table

_OPS = ("=", "in", ">=", "<", "<=", ">")


@dataclass(frozen=True, slots=True)
class Where:
    """One condition that rows must satisfy; several stand together (and).

    op      `=` with None asks for null; `in` takes a collection of values, an empty one matches nothing
    value   of the column's type, or a text of it (ISO 8601 for dates and instants; an instant without a zone is UTC)
    """

    column: str
    op: Op
    value: object


def sql_of(table: Table, where: Where) -> str:
    """Return the condition as SQL. Raises InvalidValueError for an unknown column or op, or a value of another type."""
    column = _column(table, where)
    name = f'"{column.name}"'
    if where.op == "=" and where.value is None:
        return f"{name} IS NULL"
    values = [_literal(column, value) for value in _values(column, where)]
    if where.op == "in":
        return f"{name} IN ({', '.join(values)})" if values else "false"
    return f"{name} {where.op} {values[0]}"


def bounds_of(table: Table, where: Where) -> Condition | None:
    """Return the condition as a plan can use it; None when bounds tell nothing about it."""
    column = _column(table, where)
    if where.op == "=" and where.value is None:
        return None
    values = _values(column, where)
    if column.type not in ("string", "int", "long", "date", "timestamptz"):
        return None
    return Condition(column.name, where.op, tuple(as_bound(value) for value in values))


def arrow_of(table: Table, where: Where) -> ds.Expression:
    """Return the condition as an Arrow expression."""
    column = _column(table, where)
    place = ds.field(column.name)
    if where.op == "=" and where.value is None:
        return place.is_null()
    values = [pa.scalar(value, column.arrow_type) for value in _values(column, where)]
    if where.op == "in":
        return place.isin(pa.array([value.as_py() for value in values], column.arrow_type))
    value = values[0]
    by_op = {"=": place == value, ">=": place >= value, "<": place < value, "<=": place <= value, ">": place > value}
    return by_op[where.op]


def mask_of(table: Table, where: Where, rows: pa.Table) -> pa.ChunkedArray:
    """Return which rows satisfy the condition; null counts as no, as in SQL."""
    column = _column(table, where)
    values = rows.column(column.name)
    if where.op == "=" and where.value is None:
        return pc.is_null(values)
    wanted = _values(column, where)
    if where.op == "in":
        return pc.is_in(values, value_set=pa.array(wanted, column.arrow_type))
    return _COMPARED[where.op](values, pa.scalar(wanted[0], column.arrow_type))


_COMPARED = {"=": pc.equal, ">=": pc.greater_equal, "<": pc.less, "<=": pc.less_equal, ">": pc.greater}


def _column(table: Table, where: Where) -> Column:
    if where.op not in _OPS:
        raise InvalidValueError(f"{table.name}: {where.op!r} is no condition; expected one of {', '.join(_OPS)}")
    try:
        return table.column(where.column)
    except KeyError as error:
        raise InvalidValueError(
            f"{table.name} has no column {where.column!r}; there are {', '.join(table.column_names)}"
        ) from error


def _values(column: Column, where: Where) -> list[Any]:
    if where.op != "in":
        return [typed(column, where.value)]
    if isinstance(where.value, (str, bytes)) or not isinstance(where.value, Collection):
        raise InvalidValueError(f"{column.name} in {where.value!r}: expected a collection of values")
    return [typed(column, value) for value in where.value if value is not None]


def typed(column: Column, value: object) -> Any:
    """Return `value` as Python's value of the column's type. Raises InvalidValueError."""
    try:
        found = _typed(column.type, value)
    except (ValueError, InvalidOperation) as error:
        raise InvalidValueError(f"{column.name}: {value!r} is no {column.type}: {error}") from error
    if found is None:
        raise InvalidValueError(f"{column.name}: {value!r} ({type(value).__name__}) is no {column.type}")
    return found


def _typed(kind: str, value: object) -> Any:
    """Return the value converted, None when its type cannot be; raises ValueError when its text cannot."""
    match kind, value:
        case _, None:
            return None
        case "boolean", bool():
            return value
        case _, bool():
            return None
        case "string", str():
            return None if "\0" in value else value
        case "binary", bytes():
            return value
        case "int" | "long", int() | str():
            return int(value)
        case "double", int() | float() | str():
            return float(value)
        case "date", datetime():
            return None
        case "date", date():
            return value
        case "date", str():
            return date.fromisoformat(value)
        case "timestamptz", datetime():
            return value if value.tzinfo is not None else None
        case "timestamptz", str() if len(value) > len("2020-08-31"):
            instant = datetime.fromisoformat(value)
            return instant.replace(tzinfo=UTC) if instant.tzinfo is None else instant
        case _, int() | str() | Decimal() if kind.startswith("decimal"):
            number = Decimal(value)
            return number if number.is_finite() else None
    return None


def _literal(column: Column, value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return text_literal(value)
    if isinstance(value, bytes):
        return f"from_hex('{value.hex()}')"
    if isinstance(value, datetime):
        return instant_literal(value)
    if isinstance(value, date):
        return f"DATE '{value.isoformat()}'"
    if isinstance(value, float):
        return f"CAST('{value!r}' AS DOUBLE)"
    return f"{value:f}" if isinstance(value, Decimal) else str(value)


def text_literal(value: str) -> str:
    """Return a text as SQL."""
    return "'" + value.replace("'", "''") + "'"


def instant_literal(value: datetime) -> str:
    """Return an instant as SQL."""
    return f"TIMESTAMPTZ '{value.astimezone(UTC).isoformat()}'"


def as_bound(value: Any) -> int | str:
    """Return a value in the terms of bounds: microseconds of instants, days of dates, numbers and texts as they are."""
    if isinstance(value, datetime):
        return to_ns(value) // NANOS_PER_MICRO
    if isinstance(value, date):
        return (value - EPOCH.date()).days
    return value if isinstance(value, str) else int(value)
