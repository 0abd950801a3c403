"""Publish: what the gate has put on main goes to the topics, publication by publication, each event once.

The position of a topic is a document in the state: which publications are done, and where each partition ended after them.
It is saved after a publication is in the topic. A publisher killed in between finds the records past its position, takes
their names off what it would append, and appends the rest.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from lake.catalog import Lake
from lake.errors import InvalidValueError
from lake.log.kafka_address import KafkaAddress
from lake.log.log import Log
from lake.settings import Settings
from serving.topics.held import holds_to_tell
from serving.topics.records import Name, Outgoing, name_of, records_of
from serving.topics.steps import KIND, Position, position_of, still_wanted, waiting
from serving.topics.topics import QUALITY, TOPICS, Topic, topic_named

__all__ = ["EMBEDDED", "Published", "forget", "position_of", "publish", "still_wanted", "waiting", "where_of"]

LEASE = "topics"
EMBEDDED = "embedded"
READER = "topics"
"""The publisher as a reader of its own topics: on the embedded log it lets go what is old enough."""
_APPEND_RECORDS, _APPEND_BYTES = 1_000, 4 << 20
_READ_BYTES = 8 << 20
_MARKS = 24
"""How finely the age of what a topic holds is known: in so many parts of the retention."""


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


def where_of(settings: Settings) -> str:
    """Return how positions name the log: one lake may publish to several, one after the other."""
    return str(KafkaAddress.parse(settings.log_url)) if settings.log_url else EMBEDDED


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
    steps = waiting(lake, topic, position)
    holds = holds_to_tell(lake, position) if topic.name == QUALITY else []
    there = _beyond(log, topic, position) if steps or holds else set()
    records = rows = 0
    for step in steps:
        outgoing = records_of(lake, topic, step, lake.settings.log_partitions, position)
        outgoing = [record for record in outgoing if record.name not in there]
        _append(log, topic, outgoing, position)
        records += len(outgoing)
        rows += sum(record.block.count for record in outgoing)
        position.told(step)
        _save(lake, topic, where, position)
    for hold_id, told, event in holds:
        if event.name not in there:
            _append(log, topic, [event], position)
            records, rows = records + 1, rows + 1
        position.holds[hold_id] = told
        _save(lake, topic, where, position)
    if where == EMBEDDED:
        _let_go(lake, log, topic, where, position)
    return Published(topic.name, len(steps), records, rows)


def _save(lake: Lake, topic: Topic, where: str, position: Position) -> None:
    lake.state.save_document(KIND, f"{where} {topic.name}", position.document())


def _let_go(lake: Lake, log: Log, topic: Topic, where: str, position: Position) -> None:
    """Release what the topic held longer than the retention ago; the log keeps it as long as another reader wants it."""
    if not position.next:
        return
    now_ms, age_ms = lake.clock() // 1_000_000, int(lake.settings.topic_retention_s * 1_000)
    latest = position.marks[-1] if position.marks else None
    is_due = latest is None or (latest[1] != position.next and now_ms - latest[0] >= age_ms // _MARKS)
    marks = [*position.marks, (now_ms, dict(position.next))] if is_due else position.marks
    passed = [ends for at_ms, ends in marks if at_ms <= now_ms - age_ms]
    if not is_due and not passed:
        return
    log.release(topic.name, READER, passed[-1] if passed else {})
    position.marks = marks[len(passed) :]
    _save(lake, topic, where, position)


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
    """Forget where topics stand, so that the next `publish` tells everything again under the same event ids.

    Revisions go on where they were: what is told again takes the place of what was told.
    """
    with lake.state.lease(LEASE):
        for topic in [topic_named(name) for name in names] or TOPICS.values():
            stood = position_of(lake, topic, where)
            _save(lake, topic, where, Position(count=stood.count, lift=stood.lift))
