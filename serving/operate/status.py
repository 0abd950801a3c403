"""How the system stands: open holds, rows a table, what waits in the log. Reads only."""

from __future__ import annotations

from lake.catalog import Lake
from lake.heads import Hold
from lake.tables import TABLES


def open_holds(lake: Lake) -> list[Hold]:
    """Return every batch that the gate holds, oldest first."""
    found = [hold for name in TABLES for hold in lake.head(name).holds]
    return sorted(found, key=lambda hold: (hold.held_at_ns, hold.hold_id))


def row_counts(lake: Lake) -> dict[str, int]:
    """Return the rows on main of every table, from the snapshots' own summaries."""
    counts = {}
    for name in TABLES:
        snapshot = lake.table(name).current_snapshot()
        summary = {} if snapshot is None or snapshot.summary is None else snapshot.summary.additional_properties
        counts[name] = int(summary.get("total-records", "0"))
    return counts
