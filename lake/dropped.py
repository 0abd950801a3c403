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
BEFORE = "tickhouse.dropped-before"
"""In the summary of the snapshot that drops: the property's text until then, for a restore to a moment before it."""
_MICROS_A_DAY = 86_400_000_000
_OF_ANY_DAY = frozenset({"known_at", "recorded_at"})
"""Stamps that say nothing about the day a row is filed under."""


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
    return [one for one in dropped if all(_may_hold(table, condition, one) for condition in conditions)]


def refuse(table: Table, found: Sequence[Dropped]) -> None:
    """Say that a question is about rows that retention dropped. Raises NotFoundError."""
    told = "; ".join(
        f"{one.rows:,} rows{f' of {one.provider}' if one.provider else ''} of {one.start} to {one.end - timedelta(days=1)}"
        for one in found[:5]
    )
    raise NotFoundError(f"{table.name}: what is asked for was dropped by retention ({told}); a backup may still have it")


def _may_hold(table: Table, condition: Condition, one: Dropped) -> bool:
    """Return whether rows of `one` may satisfy a condition on provider, dates or instants; others tell nothing."""
    if condition.column == "provider" and one.provider is not None and condition.op in ("=", "in"):
        return one.provider in condition.values
    kind = table.column(condition.column).type
    if kind not in ("date", "timestamptz") or condition.column in _OF_ANY_DAY:
        return True
    is_filed_by = any(name == condition.column for name, _ in table.partition)
    margin = 0 if is_filed_by else 1  # a session may begin the evening before and end after midnight UTC
    first = (one.start - EPOCH.date()).days - margin
    behind = (one.end - EPOCH.date()).days + margin
    scale = 1 if kind == "date" else _MICROS_A_DAY
    low, high = first * scale, behind * scale - 1
    values = [int(value) for value in condition.values]
    if condition.op in ("=", "in"):
        return any(low <= value <= high for value in values)
    if condition.op in ("<", "<="):
        return low < values[0] if condition.op == "<" else low <= values[0]
    return high > values[0] if condition.op == ">" else high >= values[0]
