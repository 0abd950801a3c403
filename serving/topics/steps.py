"""Steps: the moves of a table's main that consumers hear of, in order, each told whole.

A table that is appended to is told by its publication ledger, and by the rebuilds between two entries. One that is rewritten
(adjusted.bars_1d) or that has no batches of its own (quality.findings, ops.health_events) is told by what one snapshot has
that another has not.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta

from lake import as_of, snapshots
from lake.as_of import Settled
from lake.catalog import Lake
from lake.errors import InvalidValueError
from lake.heads import Act
from lake.instants import EPOCH
from serving.topics.topics import TOPICS, Topic

KIND = "topic"
BY_SNAPSHOT = frozenset({"adjusted.bars_1d", "ops.health_events", "quality.findings"})
_SLACK_MS = 3_600_000
"""A publication booked by a clock that was set back up to this far is still found."""
_MAKES_ROWS = (Act.APPEND, Act.PUBLISH, Act.RELEASE)
_MS = timedelta(milliseconds=1)


@dataclass(slots=True)
class Position:
    """Where the publisher of a topic stands.

    next        partition -> the offset after the last record of the publications done
    done        snapshots told, with their times, of the last hour before `through_ms`
    count       steps told in all
    last        the snapshot told last
    lift        added to the number of a version since a rebuild changed rows: revisions grow
    holds       hold -> what was told of it: 0 held, 1 settled
    marks       (instant in ms, partition -> offset): how far the topic reached then, for retention
    """

    next: dict[int, int] = field(default_factory=dict)
    done: dict[int, int] = field(default_factory=dict)
    through_ms: int = 0
    count: int = 0
    last: int | None = None
    lift: int = 0
    holds: dict[str, int] = field(default_factory=dict)
    marks: list[tuple[int, dict[int, int]]] = field(default_factory=list)

    def document(self) -> dict[str, object]:
        """Return it as JSON values."""
        return asdict(self)

    def told(self, step: Step) -> None:
        """Go past a step."""
        at_ms = (step.published_at - EPOCH) // _MS
        self.through_ms = max(self.through_ms, at_ms)
        self.done |= dict.fromkeys((step.snapshot_id, *step.merged), at_ms)
        self.done = {one: ms for one, ms in self.done.items() if ms >= self.through_ms - _SLACK_MS}
        self.count += 1
        self.last = step.snapshot_id if step.read_from is None else step.read_from


@dataclass(frozen=True, slots=True)
class Step:
    """One move of main.

    entry       what the ledger says of it; None for a rebuild
    is_change   whether it is told by comparing `base` with `read_from`; else its rows are read by the ledger's entry
    base        the snapshot before, None for nothing
    read_from   the snapshot to read from; None: main
    merged      earlier moves told with it, whose snapshots were forgotten
    """

    table: str
    snapshot_id: int
    published_at: datetime
    entry: Settled | None
    is_change: bool = False
    base: int | None = None
    read_from: int | None = None
    merged: tuple[int, ...] = ()

    @property
    def publication(self) -> str:
        """How it is called in its records: table@snapshot."""
        return f"{self.table}@{self.snapshot_id}"


def position_of(lake: Lake, topic: Topic, where: str) -> Position:
    """Return where the publisher of a topic stands; at the start when it never ran."""
    found = lake.state.document(KIND, f"{where} {topic.name}")
    if found is None:
        return Position()
    done = {int(name): int(value) for name, value in found["done"].items()}
    last = found.get("last", max(done, key=lambda one: done[one], default=None))
    marks = [(int(at), _numbers(offsets)) for at, offsets in found.get("marks", [])]
    return Position(
        _numbers(found["next"]),
        done,
        int(found["through_ms"]),
        int(found["count"]),
        last,
        int(found.get("lift", 0)),
        dict(found.get("holds", {})),
        marks,
    )


def _numbers(document: dict[str, int]) -> dict[int, int]:
    return {int(name): int(value) for name, value in document.items()}


def waiting(lake: Lake, topic: Topic, position: Position) -> list[Step]:
    """Return the steps of the topic's table that are not in the topic, oldest first.

    Raises InvalidValueError when the snapshot to compare with was forgotten.
    """
    since = EPOCH + max(0, position.through_ms - _SLACK_MS) * _MS
    entries = [one for one in as_of.ledger(lake, topic.table, since) if one.act in _MAKES_ROWS]
    rebuilt = [one for one in snapshots.rebuilds(lake, topic.table) if one.published_at >= since]
    if topic.table in BY_SNAPSHOT:
        moves = [Step(topic.table, one.snapshot_id, one.published_at, None) for one in _in_order([*entries, *rebuilt])]
        return _changes(lake, topic, [one for one in moves if one.snapshot_id not in position.done], position)
    found: list[Step] = []
    read_from: int | None = None
    for one in reversed(_in_order([*entries, *rebuilt])):
        if isinstance(one, Settled):
            step = Step(topic.table, one.snapshot_id, one.published_at, one, read_from=read_from)
        elif snapshots.is_kept(lake, topic.table, one.base):
            step = Step(topic.table, one.snapshot_id, one.published_at, None, True, one.base, one.snapshot_id)
            read_from = one.base
        elif position.done and one.snapshot_id not in position.done:
            raise _forgotten(topic, one.base)
        else:
            continue  # nothing was told before it: what it left is what there is
        found.append(step)
    return [step for step in reversed(found) if step.snapshot_id not in position.done]


def _in_order(moves: Iterable[Settled | snapshots.Rebuilt]) -> list[Settled | snapshots.Rebuilt]:
    return sorted(moves, key=lambda one: one.published_at)  # stable: the ledger's order where two share a millisecond


def _changes(lake: Lake, topic: Topic, moves: Sequence[Step], position: Position) -> list[Step]:
    """Return the moves, each compared with the one before; one whose snapshot was forgotten is told with the next."""
    found, base = [], position.last
    if moves and base is not None and not snapshots.is_kept(lake, topic.table, base):
        raise _forgotten(topic, base)
    merged: list[int] = []
    for number, move in enumerate(moves):
        read_from = move.snapshot_id
        if not snapshots.is_kept(lake, topic.table, read_from):
            if number + 1 < len(moves):
                merged.append(read_from)
                continue
            read_from = lake.head(topic.table).snapshot_id
        found.append(Step(move.table, move.snapshot_id, move.published_at, None, True, base, read_from, tuple(merged)))
        base, merged = read_from, []
    return found


def _forgotten(topic: Topic, snapshot_id: int) -> InvalidValueError:
    return InvalidValueError(
        f"{topic.name}: snapshot {snapshot_id} of {topic.table} was forgotten, so that what changed since cannot be told."
        " Tell everything again with `tickhouse topics publish --again`"
    )


def still_wanted(lake: Lake, table: str) -> set[int]:
    """Return the snapshots that expiry must keep for topics of a table: what was told last, and rebuilds not told yet.

    A topic that was never published wants none.
    """
    found: set[int] = set()
    for key in lake.state.documents(KIND):
        where, _, name = key.rpartition(" ")
        topic = TOPICS.get(name)
        if topic is None or topic.table != table:
            continue
        position = position_of(lake, topic, where)
        if table in BY_SNAPSHOT:
            found |= set() if position.last is None else {position.last}
        else:
            untold = [one for one in snapshots.rebuilds(lake, table) if one.snapshot_id not in position.done]
            found |= {one for rebuilt in untold for one in (rebuilt.base, rebuilt.snapshot_id)}
    return found
