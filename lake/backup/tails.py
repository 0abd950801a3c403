"""Tails: blocks of the log that no table has yet, on their way into a backup and into a log made anew."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pyarrow as pa

from lake.errors import CorruptedError
from lake.log.blocks import empty_rows
from lake.log.log import HISTORY_TOPIC, Block
from lake.log.segments import SegmentLog

_SCHEMA = pa.schema([("offset", pa.int64()), ("key", pa.string()), ("count", pa.int64()), ("payload", pa.large_binary())])
_STANDS_FOR_LANDED = "ops.jobs"
_BLOCKS_AT_ONCE = 256


def pack_blocks(blocks: Sequence[tuple[int, Block]]) -> bytes:
    """Return blocks and their offsets as one Arrow stream."""
    rows = [{"offset": offset, "key": block.key, "count": block.count, "payload": block.payload} for offset, block in blocks]
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, _SCHEMA) as writer:
        writer.write_table(pa.Table.from_pylist(rows, schema=_SCHEMA))
    data: bytes = sink.getvalue().to_pybytes()
    return data


def unpack_blocks(data: bytes) -> Iterator[tuple[int, Block]]:
    """Yield what `pack_blocks` was given. Raises CorruptedError."""
    try:
        with pa.ipc.open_stream(data) as reader:
            rows = reader.read_all().to_pylist()
    except pa.ArrowInvalid as error:
        raise CorruptedError(f"blocks of a log cannot be read: {error}") from error
    for row in rows:
        yield row["offset"], Block(row["key"], row["payload"], row["count"])


def seed(log: SegmentLog, topic: str, partition: int, base: int, blocks: Iterator[Block], least_next: int) -> int:
    """Let a partition of a new log begin at `base` with `blocks`; return how many there are. Safe to repeat after a kill.

    least_next   where it must at least end, because tables say they have landed so far: history blocks of no rows stand
                 for offsets whose rows are in tables
    """
    bounds = log.bounds(topic).get(partition)
    if bounds is None:
        log.begin(topic, partition, base)
        bounds = log.bounds(topic)[partition]
    waiting: list[Block] = []
    offset = base
    for block in blocks:
        if offset >= bounds.next:
            waiting.append(block)
        offset += 1
        if len(waiting) == _BLOCKS_AT_ONCE:
            log.append(topic, partition, waiting)
            waiting = []
    if topic == HISTORY_TOPIC:
        waiting += [empty_rows(_STANDS_FOR_LANDED) for _ in range(max(offset, bounds.next), least_next)]
    log.append(topic, partition, waiting)
    return offset - base
