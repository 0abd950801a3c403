"""What a part tells its supervisor: lines of JSON on stdout, one an event."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import orjson

if TYPE_CHECKING:
    from lake.catalog import Lake
    from serving.operate.pipeline import Turn


def tell(event: str, **more: object) -> None:
    """Write one event for the supervisor."""
    sys.stdout.buffer.write(orjson.dumps({"event": event, **more}, default=str) + b"\n")
    sys.stdout.buffer.flush()


def tell_turn(done: Turn, seconds: float, behind_s: float) -> None:
    """Tell what a turn did, by provider too; `behind_s` is the longest that anything it published can have waited."""
    providers = {
        name: {
            "messages": report.messages,
            "rows": sum(table.rows for table in report.tables.values()),
            "waiting": report.waiting,
        }
        for name, report in done.promoted.items()
    }
    published = sum(each["rows"] for each in providers.values())
    landed = int(done.landed["messages"])
    tell(
        "turn", landed=landed, published=published, held=done.holds, providers=providers, seconds=seconds, behind_s=behind_s
    )  # fmt: skip


def tell_rows(lake: Lake) -> None:
    """Tell how many rows there are, by table and by provider, and what is held."""
    from lake.tables import TABLES
    from serving.operate.status import layers, row_counts

    providers: dict[str, dict[str, int]] = {}
    for layer in layers(lake):
        counts = providers.setdefault(layer.provider, {"rows": 0, "held": 0, "quarantined": 0})
        counts["rows"] += layer.counts.get("rows", 0) - layer.counts.get("moved", 0)
        counts["held"] += layer.counts.get("held", 0)
        counts["quarantined"] += layer.counts.get("quarantined", 0)
    holds = [hold.hold_id for name in TABLES for hold in lake.head(name).holds]
    tell("rows", tables=row_counts(lake), holds=holds, providers=providers)
