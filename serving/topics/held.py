"""Holds as events of the topic market.quality.v1: one when the gate refuses a batch, its withdrawal when that is settled."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lake.as_of import Settled, ledger
from lake.catalog import Lake
from lake.heads import Act
from lake.instants import to_datetime
from serving.formats import plain_value
from serving.topics import events
from serving.topics.records import Outgoing, outgoing
from serving.topics.steps import Position

_HELD, _SETTLED = 0, 1
_OUTCOMES = {Act.RELEASE: "released", Act.REJECT: "rejected"}


def holds_to_tell(lake: Lake, position: Position) -> list[tuple[str, int, Outgoing]]:
    """Return (hold, what is told of it, event) of every hold not told yet, oldest first, and of every one settled since."""
    found = []
    described = sorted(lake.state.documents("hold").items(), key=lambda item: (item[1]["at"], item[0]))
    for hold_id, hold in described:
        told = position.holds.get(hold_id, -1)
        if told >= _SETTLED:
            continue
        settled = _settled(lake, hold)
        if settled is None and not lake.head(hold["table"]).lists(hold_id):
            continue  # described by a process that died before main listed it
        if told < _HELD:
            found.append((hold_id, _HELD, _held(hold_id, hold)))
        if settled is not None:
            found.append((hold_id, _SETTLED, _withdrawn(hold_id, hold, settled)))
    return found


def _settled(lake: Lake, hold: Mapping[str, Any]) -> Settled | None:
    ended = [one for one in ledger(lake, hold["table"]) if one.act in _OUTCOMES and one.run_id == hold["run"]]
    return ended[-1] if ended else None


def _held(hold_id: str, hold: Mapping[str, Any]) -> Outgoing:
    failed = list(hold["report"].get("failed_checks", ()))
    row = {
        "held_at": plain_value(to_datetime(hold["at"])),
        "hold_id": hold_id,
        "table": hold["table"],
        "provider": hold["owner"],
        "run_id": hold["run"],
        "row_count": hold["rows"],
        "failed_checks": failed,
        "description": f"{hold['rows']} rows fail {', '.join(failed) or 'the gate'}; they wait for a person",
    }
    told = events.event(events.held, row, _name(hold_id), 0, None, f"{hold['table']}@{hold_id}")
    return outgoing(0, hold_id, told)


def _withdrawn(hold_id: str, hold: Mapping[str, Any], settled: Settled) -> Outgoing:
    at, publication = plain_value(settled.published_at), f"{settled.table}@{settled.snapshot_id}"
    return outgoing(0, hold_id, events.withdrawal(_name(hold_id), at, 0, None, publication, outcome=_OUTCOMES[settled.act]))


def _name(hold_id: str) -> str:
    return f"holds/{hold_id}"
