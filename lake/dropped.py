"""What retention dropped from a table: remembered in a property of the table, so that no question is answered empty instead."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from pyiceberg.table import Table as IcebergTable

from lake.errors import NotFoundError
from lake.instants import EPOCH
from lake.plans import Condition
from lake.tables import Table

PROPERTY = "tickhouse.dropped"
_MICROS_A_DAY = 86_400_000_000


@dataclass(frozen=True, slots=True)
class Dropped:
    """Rows of a provider (None: the table is not filed by provider) in [start, end) that are not in the table any more."""

    provider: str | None
    start: date
    end: date
    rows: int

    def document(self) -> dict[str, object]:
        """Return it as JSON values."""
        return {"provider": self.provider, "start": str(self.start), "end": str(self.end), "rows": self.rows}


def dropped_of(iceberg: IcebergTable) -> tuple[Dropped, ...]:
    """Return what retention dropped from a table as loaded, by provider and date, adjacent days joined."""
    told = json.loads(iceberg.metadata.properties.get(PROPERTY, "[]"))
    return tuple(Dropped(who, date.fromisoformat(start), date.fromisoformat(end), rows) for who, start, end, rows in told)


def property_of(dropped: Iterable[Dropped]) -> str:
    """Return the property's text for these, adjacent and overlapping ones joined."""
    joined: list[Dropped] = []
    for one in sorted(dropped, key=lambda each: (each.provider or "", each.start, each.end)):
        last = joined[-1] if joined else None
        if last is not None and last.provider == one.provider and one.start <= last.end:
            joined[-1] = Dropped(one.provider, last.start, max(last.end, one.end), last.rows + one.rows)
        else:
            joined.append(one)
    return json.dumps([[one.provider, str(one.start), str(one.end), one.rows] for one in joined], separators=(",", ":"))


def touched(table: Table, dropped: Sequence[Dropped], conditions: Sequence[Condition]) -> list[Dropped]:
    """Return what was dropped that a question with these bounds could have been answered from."""
    column = next(
        (name for name, transform in table.partition if transform in ("identity", "day", "month") and _is_time(table, name)), None
    )
    found = []
    for one in dropped:
        days = (one.start - EPOCH.date()).days, (one.end - EPOCH.date() - timedelta(days=1)).days
        scale = 1 if column is None or table.column(column).type == "date" else _MICROS_A_DAY
        low, high = days[0] * scale, (days[1] + 1) * scale - 1
        if all(_may_hold(condition, column, low, high, one.provider) for condition in conditions):
            found.append(one)
    return found


def refuse(table: Table, found: Sequence[Dropped]) -> None:
    """Say that a question is about rows that retention dropped. Raises NotFoundError."""
    told = "; ".join(
        f"{one.rows:,} rows{f' of {one.provider}' if one.provider else ''} of {one.start} to {one.end - timedelta(days=1)}"
        for one in found[:5]
    )
    raise NotFoundError(f"{table.name}: what is asked for was dropped by retention ({told}); a backup may still have it")


def _is_time(table: Table, name: str) -> bool:
    return table.column(name).type in ("date", "timestamptz")


def _may_hold(condition: Condition, column: str | None, low: int, high: int, provider: str | None) -> bool:
    if condition.column == "provider" and provider is not None and condition.op in ("=", "in"):
        return provider in condition.values
    if condition.column != column:
        return True
    values = [int(value) for value in condition.values]
    if condition.op in ("=", "in"):
        return any(low <= value <= high for value in values)
    if condition.op in ("<", "<="):
        return low < values[0] if condition.op == "<" else low <= values[0]
    return high > values[0] if condition.op == ">" else high >= values[0]
