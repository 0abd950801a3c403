"""The log's protocol: durable blocks per topic and partition, read at any offset, released by its readers.

An offset counts blocks, dense from 0 within one (topic, partition), and is never given twice, even when everything
before it has been dropped. A *reader* is a name that retention waits for; it is registered by its first `release`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

Offset = int
"""Number of a block within its (topic, partition)."""

Positions = Mapping[int, Offset]
"""Partition -> the next offset a reader will want; everything before it may go."""

RAW_TOPIC = "raw"
"""Blocks of messages as received; partitioned by capture (`blocks.partition_of`)."""
RAW_PARTITIONS = 4
HISTORY_TOPIC = "history"
"""Blocks of rows of `ops.*` and `quality.*` tables; one partition."""
HISTORY_PARTITIONS = 1


@dataclass(frozen=True, slots=True)
class Block:
    """What the log keeps under one offset: `count` messages or rows in `payload`, told apart by `key`."""

    key: str
    payload: bytes
    count: int


@dataclass(frozen=True, slots=True)
class Batch:
    """Blocks read, each with its offset, without a hole; read on at `next_offset`."""

    blocks: Sequence[tuple[Offset, Block]]
    next_offset: Offset


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a partition holds: offsets in [first, next)."""

    first: Offset
    next: Offset


class Log(Protocol):
    """A log of blocks; several processes may append and read at once."""

    def append(self, topic: str, partition: int, blocks: Sequence[Block]) -> Offset:
        """Append all of `blocks` or none, durable on return; returns the offset of the first, the others follow it.

        Nothing to append returns the next offset. A topic or partition begins with its first append. Raises
        LogFullError when there is no room (nothing was appended, try again later), CommitConflictError when another
        process keeps the partition locked and ProviderUnavailableError when no broker answers (nothing was appended),
        CommitUnknownError when it cannot be told whether
        the blocks are in the log, CorruptedError when the log is damaged.
        """
        ...

    def read(self, topic: str, partition: int, offset: Offset, max_bytes: int, wait_s: float) -> Batch:
        """Return the blocks from `offset` on, together at most `max_bytes` of payload but always one if there is one.

        Where there is none yet, waits up to `wait_s` seconds for it and may return an empty batch. Raises NotFoundError
        when `offset` has been dropped, InvalidValueError when it is beyond the next offset, CorruptedError when stored
        bytes are not what was appended.
        """
        ...

    def bounds(self, topic: str) -> Mapping[int, Bounds]:
        """Return what each partition of `topic` holds; a topic that nothing was appended to has no partitions."""
        ...

    def release(self, topic: str, reader: str, positions: Positions) -> None:
        """Register `reader`, remember its positions, and drop what every registered reader has passed.

        Positions only move forward: a lower one than before changes nothing. A reader that names no position for a
        partition (`{}` at its start) holds all of it. Never call it before what was read is durable elsewhere and read
        back. Raises InvalidValueError for a position beyond the next offset.
        """
        ...
