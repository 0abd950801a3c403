"""What the inputs of a derived table had published, and when: the words of positions that name times."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from lake.as_of import Settled, ledger
from lake.catalog import Lake
from lake.heads import Act
from lake.instants import EPOCH
from lake.values import Vector

_MAKES_ROWS = (Act.PUBLISH, Act.RELEASE, Act.APPEND)


def last_published(lake: Lake, tables: Iterable[str]) -> Vector:
    """Return when each input was last published, in milliseconds since the epoch; an input without rows is left out."""
    found: Vector = {}
    for table in tables:
        made = [one.published_at for one in ledger(lake, table) if one.act in _MAKES_ROWS]
        if made:
            found[table] = milliseconds(max(made))
    return found


def published_between(lake: Lake, table: str, before: Vector, after: Vector) -> list[Settled]:
    """Return what the ledger says was published in a table between two positions; from {}: everything until the second."""
    low, high = before.get(table, -1), after.get(table, -1)
    booked = [one for one in ledger(lake, table) if one.act in _MAKES_ROWS]
    return [one for one in booked if low < milliseconds(one.published_at) <= high]


def milliseconds(moment: datetime) -> int:
    """Return an instant as milliseconds since the epoch, rounded down."""
    return (moment - EPOCH) // timedelta(milliseconds=1)


def moment_of(ms: int) -> datetime:
    """Return the instant so many milliseconds after the epoch."""
    return EPOCH + timedelta(milliseconds=ms)
