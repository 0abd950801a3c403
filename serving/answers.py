"""What an answer is: rows, and metadata that says from which snapshot, how fresh, how complete and on which basis."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time

import pyarrow as pa
import pyarrow.compute as pc

from lake.catalog import Lake
from lake.errors import InvalidValueError
from lake.instants import to_datetime
from lake.scan import Where


@dataclass(frozen=True, slots=True)
class Answered:
    """Rows with their metadata."""

    table: pa.Table
    metadata: dict[str, object]


def newest(table: pa.Table, column: str) -> datetime | None:
    """Return the latest instant of a column, None for no rows."""
    found: datetime | None = pc.max(table[column]).as_py() if table.num_rows else None
    return found


def snapshots_of(lake: Lake, *tables: str) -> dict[str, str]:
    """Return main's snapshot of each table now, ids as text."""
    return {name: str(lake.head(name).snapshot_id) for name in tables}


def told(
    lake: Lake,
    snapshots: dict[str, str],
    fresh: datetime | None,
    basis: str = "as_recorded",
    as_of: datetime | None = None,
    known_as_of: datetime | None = None,
    **more: object,
) -> dict[str, object]:
    """Return the metadata that every answer has, and `more`.

    snapshots   table -> snapshot it was read from, taken before reading
    fresh       instant of the newest row, None where nothing tells
    basis       what prices stand on; `as_recorded` where there are none
    """
    return {
        "snapshots": snapshots,
        "basis": basis,
        "fresh": fresh,
        "completeness": None,
        "quality_score": None,
        "source": "lake",
        "status": "confirmed",
        "answered_at": to_datetime(lake.clock()),
        "as_of": as_of,
        "known_as_of": known_as_of,
        **more,
    }


def page(table: pa.Table, limit: int, offset: int) -> tuple[pa.Table, dict[str, object]]:
    """Return the rows asked for, and what tells a client whether to go on."""
    rows = table.slice(offset, limit)
    return rows, {"total_count": table.num_rows, "offset": offset, "has_more": offset + rows.num_rows < table.num_rows}


def parse_bound(text: str | None, name: str) -> date | datetime | None:
    """Return one end of a half-open range: a date (`2020-08-31`) or an instant; without a zone it is UTC."""
    if text is None:
        return None
    try:
        if len(text) == 10:
            return date.fromisoformat(text)
        instant = datetime.fromisoformat(text)
        return instant.replace(tzinfo=UTC) if instant.tzinfo is None else instant.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise InvalidValueError(f"{name} {text!r} is not ISO 8601, like 2020-08-31 or 2020-08-31T13:30:00Z") from error


def range_of(start: date | datetime | None, end: date | datetime | None, instant_column: str) -> list[Where]:
    """Return the conditions of `[start, end)`: dates bind `session_date`, instants bind `instant_column`.

    Raises InvalidValueError when `end` is before `start`.
    """
    if start is not None and end is not None and _instant(end) < _instant(start):
        raise InvalidValueError(f"end {end.isoformat()} is before start {start.isoformat()}; a range is [start, end)")
    found = []
    if start is not None:
        found.append(Where(_column(start, instant_column), ">=", start))
    if end is not None:
        found.append(Where(_column(end, instant_column), "<", end))
    return found


def within(
    rows: pa.Table, start: date | datetime | None, end: date | datetime | None, instant_column: str = "ts_open"
) -> pa.Table:
    """Return the rows of `[start, end)`: dates bind `session_date`, instants `instant_column`; a null is outside."""
    for condition in range_of(start, end, instant_column):
        value = pa.scalar(condition.value, rows[condition.column].type)
        compare = pc.greater_equal if condition.op == ">=" else pc.less
        rows = rows.filter(compare(rows[condition.column], value))
    return rows


def _column(bound: date | datetime, instant_column: str) -> str:
    return instant_column if isinstance(bound, datetime) else "session_date"


def _instant(bound: date | datetime) -> datetime:
    return bound if isinstance(bound, datetime) else datetime.combine(bound, time(), UTC)
