"""What the head of a table's main branch says: positions, open holds, and how they are written in a snapshot's summary.

Every snapshot carries the whole position map and all open holds, so that main's head alone decides (expiry cuts
ancestry: a carrier further back would be lost although it lives).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from lake.errors import CommitUnknownError
from lake.instants import to_datetime
from lake.values import MessageRange, Vector

POSITION = "tickhouse.position"
"""Owner -> vector, JSON; also the name of landing's table property, kept beside it as an alarm."""
HOLDS = "tickhouse.holds"
"""Open holds, JSON list of compact objects; the state database describes the rest."""
ACT = "tickhouse.act"
RUN = "tickhouse.run"
HELD_RUN = "tickhouse.held-run"
"""In a release: the run that wrote the released rows."""
INTERVAL = "tickhouse.interval"
"""JSON {owner, before, after}: which offsets the snapshot settles."""
RANGES = "tickhouse.ranges"
COUNTS = "tickhouse.counts"
REBUILD = "tickhouse.rebuild"

Positions = dict[str, Vector]


class Act(StrEnum):
    """What a snapshot did."""

    CREATE = "create"
    APPEND = "append"
    PUBLISH = "publish"
    ADVANCE = "advance"
    HOLD = "hold"
    RELEASE = "release"
    REJECT = "reject"
    REBUILD = "rebuild"
    COMPACT = "compact"
    ARCHIVE = "archive"
    MANIFESTS = "manifests"
    RETAIN = "retain"
    EPOCH = "epoch"


UNBOOKED = frozenset({Act.CREATE, Act.HOLD, Act.REBUILD, Act.COMPACT, Act.ARCHIVE, Act.MANIFESTS, Act.RETAIN})
"""Acts that publish nothing: the ledger has no entry of them."""


@dataclass(frozen=True, slots=True)
class Hold:
    """A batch that the gate refused: its offsets are passed, its rows wait outside the table.

    report     what the gate said
    held_at    nanoseconds since the epoch
    """

    hold_id: str
    table: str
    owner: str
    before: Vector
    after: Vector
    run_id: str
    ranges: tuple[MessageRange, ...]
    row_count: int
    counts: dict[str, int]
    report: dict[str, object]
    held_at_ns: int

    @property
    def held_at(self) -> str:
        """When it was held, ISO 8601."""
        return to_datetime(self.held_at_ns).isoformat()


@dataclass(frozen=True, slots=True)
class Head:
    """Main's head of one table."""

    table: str
    snapshot_id: int
    position: Positions
    holds: tuple[Hold, ...]
    listed_holds: tuple[dict[str, object], ...] = field(default=())
    """The holds as the summary lists them; copied forward as they are."""

    def vector(self, owner: str) -> Vector:
        """Return a copy of the owner's position; an owner that has consumed nothing yet is at the start: {}."""
        return dict(self.position.get(owner, {}))

    def lists(self, hold_id: str) -> bool:
        """Return whether `hold_id` is open."""
        return any(entry["id"] == hold_id for entry in self.listed_holds)


def same_vector(one: Mapping[str, int], other: Mapping[str, int]) -> bool:
    """Return whether two vectors mean the same: a partition not named is at offset 0."""
    return {key: value for key, value in one.items() if value} == {key: value for key, value in other.items() if value}


def ranges_text(ranges: Sequence[MessageRange]) -> str:
    """Return ranges as compact JSON."""
    return compact([[one.capture_id, one.first_seq, one.last_seq] for one in ranges])


def ranges_of(text: str) -> tuple[MessageRange, ...]:
    """Return the ranges written by `ranges_text`."""
    return tuple(MessageRange(capture, first, last) for capture, first, last in json.loads(text))


def compact(value: object) -> str:
    """Return JSON without spaces, keys sorted."""
    return json.dumps(value, separators=(",", ":"), sort_keys=True)


def positions_of(table: str, summary: Mapping[str, str] | None) -> Positions:
    """Return the position map of a summary. Raises CommitUnknownError when there is none: somebody else committed."""
    text = None if summary is None else summary.get(POSITION)
    if text is None:
        raise CommitUnknownError(
            f"main of {table} has no position in its summary: a foreign commit, or the table was not made by `tickhouse init`. "
            "Nothing may be written before the position is derived again"
        )
    return {owner: {key: int(offset) for key, offset in vector.items()} for owner, vector in json.loads(text).items()}


def listed_holds_of(summary: Mapping[str, str]) -> tuple[dict[str, object], ...]:
    """Return the open holds as a summary lists them."""
    return tuple(json.loads(summary.get(HOLDS, "[]")))
