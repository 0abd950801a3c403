"""How a lake stands: rows a table, what every layer took in and gave out. Reads only."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from lake.as_of import ledger
from lake.catalog import Lake
from lake.tables import TABLES


@dataclass(frozen=True, slots=True)
class Layer:
    """What one normalized table did with the facts decoded for one provider.

    decoded = rows - moved + repeated + quarantined, where rows are published or held (quality_checks/promotion.py).
    """

    table: str
    provider: str
    counts: dict[str, int] = field(default_factory=dict)

    @property
    def adds_up(self) -> bool:
        """Whether every decoded fact is accounted for."""
        of = self.counts.get
        out = of("rows", 0) + of("held", 0) - of("moved", 0) + of("repeated", 0) + of("quarantined", 0)
        return of("decoded", 0) == out


def row_counts(lake: Lake) -> dict[str, int]:
    """Return the rows on main of every table, from the snapshots' own summaries."""
    counts = {}
    for name in TABLES:
        snapshot = lake.table(name).current_snapshot()
        summary = {} if snapshot is None or snapshot.summary is None else snapshot.summary.additional_properties
        counts[name] = int(summary.get("total-records", "0"))
    return counts


def layers(lake: Lake) -> list[Layer]:
    """Return what became of every fact, by table and provider: from the ledger of main, and from the open holds."""
    found: list[Layer] = []
    for name in sorted(name for name in TABLES if name.startswith("normalized.")):
        by_owner: dict[str, Counter[str]] = {}
        for entry in ledger(lake, name):
            by_owner.setdefault(entry.owner, Counter()).update(entry.counts)
        for hold in lake.head(name).holds:
            counts = dict(hold.counts)
            counts["held"] = counts.pop("rows", hold.row_count)
            by_owner.setdefault(hold.owner, Counter()).update(counts)
        found += [Layer(name, owner, dict(counts)) for owner, counts in sorted(by_owner.items()) if counts.get("decoded")]
    return found
