"""KafkaLog: the log on Apache Kafka, for more than one machine.

A block is one record: key, payload as value, `count` as a header. An append is one record batch, which a broker writes
whole or not at all, under offsets side by side: the producer lingers longer than an append takes to be put together and
is flushed at its end. No transactions and no compaction are used on topics of blocks, so offsets are dense.

Exactly once is not promised by the producer alone: an append whose outcome is unknown (CommitUnknownError) is looked for
and appended again by its caller, and if the first one arrives late after all, the messages stand twice in the log. They are
the same messages, (capture_id, message_seq), and landing drops them by that name.
"""

from __future__ import annotations

import json
import logging
import re
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Any

import kafka.errors as kafka_errors
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import OffsetSpec

from lake.errors import (
    CommitUnknownError,
    CorruptedError,
    InvalidValueError,
    NotFoundError,
    ProviderRefusedError,
    ProviderUnavailableError,
)
from lake.instants import NANOS_PER_SECOND, Clock
from lake.log.kafka_address import KafkaAddress
from lake.log.kafka_client import COUNT, REFUSED, RETRY_AFTER_S, Cursor, answering, connecting
from lake.log.log import HISTORY_TOPIC, RAW_TOPIC, Batch, Block, Bounds, Offset, Positions

LOGGER = logging.getLogger("tickhouse.log")
MEBIBYTE = 1024 * 1024
MAX_APPEND_BYTES = 64 * MEBIBYTE
"""One append at most: it is one record batch, and it is all that is ever unacknowledged (the client has no bound)."""
READERS_TOPIC = "tickhouse.readers.v1"
"""Compacted: `topic/reader` -> where the reader stands, JSON. Group offsets would be forgotten after a quiet week."""
NAMES = {RAW_TOPIC: "market.raw.v1", HISTORY_TOPIC: "market.history.v1"}
"""Our own topics as Kafka names them; any other topic keeps its name."""

_TOPIC = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}\Z")
_RECORD_OVERHEAD = 256
_LOOK_S = 0.05
_MAX_CURSORS = 32
_KEPT = {"retention.ms": "-1", "retention.bytes": "-1", "cleanup.policy": "delete"}
"""What we land is dropped by `release` alone, never by age."""
_TOO_LARGE = (kafka_errors.MessageSizeTooLargeError, kafka_errors.RecordListTooLargeError)


class KafkaLog:
    """A `Log` on a Kafka cluster, for any number of processes and threads."""

    def __init__(
        self,
        address: str,
        clock: Clock,
        partitions: int = 4,
        min_age_s: float = 3_600,
        patience_s: float = 60.0,
    ) -> None:
        """Connect to `kafka://…` (see KafkaAddress).

        partitions   of a topic that this log makes
        min_age_s    how long a block stays although every reader has passed it
        patience_s   how long an append may go unacknowledged before its producer is given up

        Raises SettingsError for an address that is none, ProviderUnavailableError when no broker answers.
        """
        self.address = KafkaAddress.parse(address)
        self._clock, self._new_partitions = clock, partitions
        self._min_age_ns = int(min_age_s * NANOS_PER_SECOND)
        self._patience_s = patience_s
        request_ms = int(patience_s * 1_000 / 3)
        self._client = {**self.address.client(), "reconnect_backoff_max_ms": 1_000, "request_timeout_ms": request_ms}
        self._lock, self._sending = threading.RLock(), threading.Lock()
        self._closing = threading.Event()
        self._producer: Any = None
        self._cursors: dict[Any, Cursor] = {}
        self._seen: set[tuple[str, int]] = set()
        self._readers: dict[str, dict[int, Offset]] = {}
        with connecting(self.address):
            self._admin = KafkaAdminClient(**self._client)

    def __enter__(self) -> KafkaLog:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close every connection. What was appended stays; the log can be opened again."""
        self._closing.set()
        with self._sending:
            self._abandon()
        with self._lock:
            for cursor in self._cursors.values():
                with cursor.lock:
                    cursor.consumer.close(autocommit=False)
            self._cursors.clear()
            self._admin.close()

    # --- append

    def append(self, topic: str, partition: int, blocks: Sequence[Block]) -> Offset:
        """See Log.append. Also raises InvalidValueError for more than MAX_APPEND_BYTES, ProviderRefusedError.

        ProviderUnavailableError means that no broker answered before anything was sent: nothing was appended.
        """
        name = self._name(topic, partition)
        if not blocks:
            return self._bound(name, partition).next
        size = sum(len(block.payload) + len(block.key) + _RECORD_OVERHEAD for block in blocks)
        if size > MAX_APPEND_BYTES:
            raise InvalidValueError(f"{topic}/{partition}: {size} bytes in one append; expected at most {MAX_APPEND_BYTES}")
        self._ensure(name, partition, _KEPT if topic in NAMES else {})
        records = [(block.key.encode(), block.payload, [(COUNT, b"%d" % block.count)]) for block in blocks]
        return self._send(name, partition, records)

    def _send(self, name: str, partition: int, records: Sequence[tuple[bytes, bytes, list[tuple[str, bytes]]]]) -> Offset:
        """Send records as one batch and wait until it is acknowledged; nothing else is unacknowledged meanwhile."""
        told = f"{name}/{partition} at {self.address}"
        now_ms = self._clock() // 1_000_000
        with self._sending:
            try:
                producer = self._open_producer(name, partition)
            except kafka_errors.KafkaError as error:
                self._abandon()
                raise ProviderUnavailableError(f"{told}: nothing was appended: {error!r}", RETRY_AFTER_S) from error
            try:
                sent = [producer.send(name, value, key, headers, partition, now_ms) for key, value, headers in records]
                producer.flush(self._patience_s + 1)
                offsets = [future.get(timeout=0).offset for future in sent]
            except _TOO_LARGE as error:
                raise InvalidValueError(f"{told}: too large for the topic's max.message.bytes: {error}") from error
            except REFUSED as error:
                raise ProviderRefusedError(f"{told}: {error}") from error
            except kafka_errors.KafkaError as error:
                # Also the stall of kafka-python 3.0.12, which never ends by itself: a new producer works at once.
                self._abandon()
                self._seen.discard((name, partition))
                raise CommitUnknownError(f"{told}: not acknowledged within {self._patience_s:.0f} s: {error!r}") from error
        if offsets != list(range(offsets[0], offsets[0] + len(offsets))):
            raise CorruptedError(f"{told}: one append got the offsets {offsets}; they are not side by side")
        return int(offsets[0])

    def _open_producer(self, name: str, partition: int) -> Any:
        if self._producer is not None and partition not in self._producer.partitions_for(name):
            self._abandon()  # it learned of the topic before the partition was made
        if self._producer is None:
            with connecting(self.address):
                self._producer = KafkaProducer(
                    **self._client,
                    acks="all",
                    enable_idempotence=True,
                    linger_ms=int(self._patience_s * 1_000 / 6),
                    batch_size=MAX_APPEND_BYTES,
                    max_request_size=MAX_APPEND_BYTES,
                    max_block_ms=5_000,
                    delivery_timeout_ms=int(self._patience_s * 1_000),
                    allow_auto_create_topics=False,
                )
            self._producer.partitions_for(name)
        return self._producer

    def _abandon(self) -> None:
        """Give the producer up; what it had in flight may still arrive, or not."""
        producer, self._producer = self._producer, None
        if producer is None:
            return
        try:
            producer.close(timeout=1)
        except kafka_errors.KafkaError as error:
            LOGGER.warning("a producer of %s was given up: %s", self.address, error)
            producer._sender.force_close()  # close() does not get there when its flush times out

    # --- read

    def read(self, topic: str, partition: int, offset: Offset, max_bytes: int, wait_s: float) -> Batch:
        """See Log.read. Raises ProviderUnavailableError when no broker answers."""
        name = self._name(topic, partition)
        if offset < 0:
            raise InvalidValueError(f"{name}/{partition}: {offset} is no offset; expected a number from 0")
        waited = 0.0
        while not self._is_there(name, partition):
            if offset:
                raise InvalidValueError(f"{name}/{partition}: offset {offset} is beyond the next offset 0")
            if waited >= wait_s or self._closing.wait(_LOOK_S):
                return Batch((), 0)
            waited += _LOOK_S
        cursor = self._cursor(name, partition)
        with cursor.lock, answering(self.address):
            cursor.seek(offset)
            if not cursor.ahead:
                self._fetch(cursor, offset, wait_s - waited)
            blocks = list(cursor.take(max_bytes))
        return Batch(blocks, blocks[-1][0] + 1 if blocks else offset)

    def _fetch(self, cursor: Cursor, offset: Offset, wait_s: float) -> None:
        name, partition = cursor.at
        bound = self._bound(name, partition)
        if offset < bound.first:
            raise NotFoundError(f"{name}/{partition}: offset {offset} has been dropped; the first is {bound.first}")
        if offset > bound.next:
            raise InvalidValueError(f"{name}/{partition}: offset {offset} is beyond the next offset {bound.next}")
        if offset == bound.next and wait_s <= 0:
            return
        try:
            cursor.poll(self._patience_s if offset < bound.next else wait_s)
        except (kafka_errors.OffsetOutOfRangeError, kafka_errors.NoOffsetForPartitionError) as error:
            raise NotFoundError(f"{name}/{partition}: offset {offset} was dropped while it was read: {error}") from error
        if offset < bound.next and not cursor.ahead:
            raise ProviderUnavailableError(f"{name}/{partition} at {self.address} does not give {offset}", RETRY_AFTER_S)
        if cursor.ahead and cursor.ahead[0].offset != offset:
            found = cursor.ahead[0].offset
            cursor.ahead.clear()
            raise CorruptedError(f"{name}/{partition}: {found} follows where {offset} was asked for; is the topic compacted?")

    def _cursor(self, name: str, partition: int) -> Cursor:
        at = TopicPartition(name, partition)
        with self._lock:
            found = self._cursors.pop(at, None)
            if found is None:
                with connecting(self.address):
                    consumer = KafkaConsumer(
                        **self._client,
                        enable_auto_commit=False,
                        auto_offset_reset="none",
                        max_partition_fetch_bytes=16 * MEBIBYTE,
                        max_poll_records=200,
                        allow_auto_create_topics=False,
                    )
                found = Cursor(consumer, at)
            self._cursors[at] = found
            if len(self._cursors) > _MAX_CURSORS:
                oldest = self._cursors.pop(next(iter(self._cursors)))
                with oldest.lock:
                    oldest.consumer.close(autocommit=False)
            return found

    def bounds(self, topic: str) -> Mapping[int, Bounds]:
        """See Log.bounds."""
        name = self._name(topic, 0)
        found = self._bounds(name, range(self._count(name)))
        return {partition: bound for partition, bound in found.items() if bound.next}

    # --- retention

    def release(self, topic: str, reader: str, positions: Positions) -> None:
        """See Log.release. Blocks are deleted one by one, up to the lowest of the registered readers."""
        name = self._name(topic, 0)
        bounds = self.bounds(topic)
        for partition, position in positions.items():
            following = bounds[partition].next if partition in bounds else 0
            if not 0 <= position <= following:
                raise InvalidValueError(f"{topic}/{partition}: {reader} releases up to {position}; expected 0 to {following}")
        readers = self.readers(topic)
        standing = readers.get(reader)
        moved = dict(standing or {})
        for partition, position in positions.items():
            moved[partition] = max(position, moved.get(partition, 0))
        if moved != standing:
            self._ensure(self._own(READERS_TOPIC), 0, {"cleanup.policy": "compact", "segment.ms": "3600000"}, partitions=1)
            self._send(self._own(READERS_TOPIC), 0, [(f"{name}/{reader}".encode(), json.dumps(moved).encode(), [])])
        readers[reader] = moved
        passed = {partition: min(stand.get(partition, 0) for stand in readers.values()) for partition in bounds}
        self._drop(name, {partition: offset for partition, offset in passed.items() if offset > bounds[partition].first})

    def readers(self, topic: str) -> dict[str, dict[int, Offset]]:
        """Return where each registered reader of a topic stands."""
        name, own = self._name(topic, 0), self._own(READERS_TOPIC)
        if self._count(own):
            cursor = self._cursor(own, 0)
            end = self._bound(own, 0)
            with cursor.lock, answering(self.address):
                if cursor.offset < end.first:
                    cursor.seek(end.first)
                while cursor.consumer.position(cursor.at) < end.next:
                    cursor.poll(1.0)
                for record in cursor.ahead:
                    stand = self._readers.setdefault(record.key.decode(), {})
                    for partition, offset in json.loads(record.value).items():
                        stand[int(partition)] = max(offset, stand.get(int(partition), 0))
                cursor.ahead.clear()
        found = {key.partition("/"): stand for key, stand in self._readers.items()}
        return {reader: dict(stand) for (of, _, reader), stand in found.items() if of == name}

    def _drop(self, name: str, passed: Mapping[int, Offset]) -> None:
        if not passed:
            return
        young_ms = max(0, (self._clock() - self._min_age_ns) // 1_000_000 + 1)
        ats = {TopicPartition(name, partition): young_ms for partition in passed}
        with self._lock, answering(self.address):
            young = self._admin.list_partition_offsets(ats)
            ends = {at: passed[at.partition] for at in ats}
            for at, found in young.items():
                if found is not None and found.offset >= 0:
                    ends[at] = min(ends[at], found.offset)
            wanted = {at: end for at, end in ends.items() if end > 0}
            if wanted:
                self._admin.delete_records(wanted)

    # --- topics

    def _own(self, name: str) -> str:
        return f"{self.address.prefix}.{name}" if self.address.prefix else name

    def _name(self, topic: str, partition: int) -> str:
        if not _TOPIC.match(topic) or partition < 0:
            raise InvalidValueError(f"{topic!r}/{partition} is no topic and partition; expected a name and a number from 0")
        return self._own(NAMES.get(topic, topic))

    def _count(self, name: str) -> int:
        """Return how many partitions a topic has; 0 when it is not there."""
        with self._lock, answering(self.address):
            found = self._admin.describe_topics([name])
        for topic in found:
            if topic["name"] == name and not topic["error_code"]:
                return len(topic["partitions"])
        return 0

    def _bound(self, name: str, partition: int) -> Bounds:
        if not self._is_there(name, partition):
            return Bounds(0, 0)
        return self._bounds(name, range(partition, partition + 1))[partition]

    def _is_there(self, name: str, partition: int) -> bool:
        if (name, partition) not in self._seen and self._count(name) > partition:
            self._seen.add((name, partition))
        return (name, partition) in self._seen

    def _bounds(self, name: str, partitions: range) -> dict[int, Bounds]:
        ats = [TopicPartition(name, partition) for partition in partitions]
        if not ats:
            return {}
        with self._lock, answering(self.address):
            first = self._admin.list_partition_offsets(dict.fromkeys(ats, OffsetSpec.EARLIEST))
            following = self._admin.list_partition_offsets(dict.fromkeys(ats, OffsetSpec.LATEST))
        return {at.partition: Bounds(first[at].offset, max(following[at].offset, first[at].offset)) for at in ats}

    def _ensure(self, name: str, partition: int, configs: Mapping[str, str], partitions: int = 0) -> None:
        """Make a topic, or one more partition, when it is not there; somebody else may do the same."""
        if self._is_there(name, partition):
            return
        wanted = max(partitions or self._new_partitions, partition + 1)
        with self._lock, answering(self.address):
            if not self._count(name):
                limits = {"max.message.bytes": str(MAX_APPEND_BYTES)}
                made = {name: {"num_partitions": wanted, "configs": {**limits, **configs}}}
                with suppress(kafka_errors.TopicAlreadyExistsError):
                    self._admin.create_topics(made, wait_for_metadata=True)
            elif self._count(name) <= partition:
                with suppress(kafka_errors.InvalidPartitionsError):
                    self._admin.create_partitions({name: wanted})
            waited = 0.0
            while self._count(name) <= partition:
                if waited >= self._patience_s or self._closing.wait(_LOOK_S):
                    raise ProviderUnavailableError(
                        f"{name}/{partition} at {self.address} was made but is not seen", RETRY_AFTER_S
                    )
                waited += _LOOK_S
