"""Publish: what the gate has put on main goes to the topics, publication by publication, each event once.

The position of a topic is a document in the state: which publications are done, and where each partition ended after them.
It is saved after a publication is in the topic. A publisher killed in between finds the records past its position, takes
their names off what it would append, and appends the rest.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import timedelta

from lake.as_of import Settled, ledger
from lake.catalog import Lake
from lake.errors import InvalidValueError
from lake.heads import Act
from lake.instants import EPOCH
from lake.log.kafka_address import KafkaAddress
from lake.log.log import Log
from lake.settings import Settings
from serving.topics.records import Name, Outgoing, name_of, records_of
from serving.topics.topics import TOPICS, Topic, topic_named

LEASE = "topics"
_KIND = "topic"
_SLACK_MS = 3_600_000
"""A publication booked by a clock that was set back up to this far is still found."""
_APPEND_RECORDS, _APPEND_BYTES = 1_000, 4 << 20
_READ_BYTES = 8 << 20
_MAKES_ROWS = (Act.APPEND, Act.PUBLISH, Act.RELEASE)
_MS = timedelta(milliseconds=1)


@dataclass(frozen=True, slots=True)
class Published:
    """What one run did to one topic."""

    topic: str
    publications: int
    records: int
    rows: int

    def document(self) -> dict[str, object]:
        """Return it as JSON values."""
        return asdict(self)


@dataclass(slots=True)
class Position:
    """Where the publisher of a topic stands.

    next        partition -> the offset after the last record of the publications done
    done        snapshots published, with their times, of the last hour before `through_ms`
    count       publications done in all
    """

    next: dict[int, int]
    done: dict[int, int]
    through_ms: int = 0
    count: int = 0

    def document(self) -> dict[str, object]:
        """Return it as JSON values."""
        return asdict(self)


def where_of(settings: Settings) -> str:
    """Return how positions name the log: one lake may publish to several, one after the other."""
    return str(KafkaAddress.parse(settings.log_url)) if settings.log_url else "embedded"


def position_of(lake: Lake, topic: Topic, where: str) -> Position:
    """Return where the publisher of a topic stands; at the start when it never ran."""
    found = lake.state.document(_KIND, f"{where} {topic.name}")
    if found is None:
        return Position({}, {})
    numbers = {key: {int(name): int(value) for name, value in found[key].items()} for key in ("next", "done")}
    return Position(**numbers, through_ms=int(found["through_ms"]), count=int(found["count"]))


def waiting(lake: Lake, topic: Topic, position: Position) -> list[Settled]:
    """Return the publications of the topic's table that are not in the topic, oldest first."""
    since = EPOCH + max(0, position.through_ms - _SLACK_MS) * _MS
    entries = ledger(lake, topic.table, since)
    return [one for one in entries if one.act in _MAKES_ROWS and one.snapshot_id not in position.done]


def publish(lake: Lake, log: Log, where: str, names: Sequence[str] = ()) -> list[Published]:
    """Bring topics (all, where none is named) up to what is on main; returns what was done to each.

    Safe to repeat after any crash. Holds the lease `topics`. Raises NotFoundError for an unknown topic, InvalidValueError
    when a topic ends before its position (it was made anew), and what the log raises; what was done stays done.
    """
    chosen = [topic_named(name) for name in names] or list(TOPICS.values())
    with lake.state.lease(LEASE):
        return [_publish(lake, log, topic, where) for topic in chosen]


def _publish(lake: Lake, log: Log, topic: Topic, where: str) -> Published:
    position = position_of(lake, topic, where)
    entries = waiting(lake, topic, position)
    there = _beyond(log, topic, position) if entries else set()
    records = rows = 0
    for entry in entries:
        outgoing = records_of(lake, topic, entry, lake.settings.log_partitions, position.count)
        outgoing = [record for record in outgoing if record.name not in there]
        _append(log, topic, outgoing, position)
        records += len(outgoing)
        rows += sum(record.block.count for record in outgoing)
        at_ms = (entry.published_at - EPOCH) // _MS
        position.through_ms = max(position.through_ms, at_ms)
        position.done[entry.snapshot_id] = at_ms
        position.done = {one: ms for one, ms in position.done.items() if ms >= position.through_ms - _SLACK_MS}
        position.count += 1
        lake.state.save_document(_KIND, f"{where} {topic.name}", position.document())
    return Published(topic.name, len(entries), records, rows)


def _append(log: Log, topic: Topic, outgoing: Sequence[Outgoing], position: Position) -> None:
    by_partition: dict[int, list[Outgoing]] = defaultdict(list)
    for record in outgoing:
        by_partition[record.partition].append(record)
    for partition, records in by_partition.items():
        start = 0
        while start < len(records):
            end, size = start, 0
            while end < len(records) and end - start < _APPEND_RECORDS and (end == start or size < _APPEND_BYTES):
                size += len(records[end].block.payload)
                end += 1
            blocks = [record.block for record in records[start:end]]
            position.next[partition] = log.append(topic.name, partition, blocks) + len(blocks)
            start = end


def _beyond(log: Log, topic: Topic, position: Position) -> set[Name]:
    """Return the names of the records past the position, which becomes the end of what was found."""
    found: set[Name] = set()
    bounds = log.bounds(topic.name)
    for partition in {*bounds, *position.next}:
        bound, offset = bounds.get(partition), position.next.get(partition, 0)
        if bound is None or bound.next < offset:
            raise InvalidValueError(
                f"{topic.name}/{partition} ends at {0 if bound is None else bound.next}, but {offset} were published: it was made"
                " anew. Publish everything again with `tickhouse topics publish --again`"
            )
        offset = max(offset, bound.first)
        while offset < bound.next:
            batch = log.read(topic.name, partition, offset, _READ_BYTES, 0.0)
            found.update(name_of(topic, block.payload) for _, block in batch.blocks)
            offset = batch.next_offset
        position.next[partition] = offset
    return found


def forget(lake: Lake, where: str, names: Sequence[str] = ()) -> None:
    """Forget where topics stand, so that the next `publish` tells everything again under the same event ids."""
    with lake.state.lease(LEASE):
        for topic in [topic_named(name) for name in names] or TOPICS.values():
            lake.state.save_document(_KIND, f"{where} {topic.name}", Position({}, {}).document())
