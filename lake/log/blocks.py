"""Blocks: up to 1,000 messages (or rows of one history table) as one record of the log.

A block is a 16-byte head and an Arrow IPC stream with zstd or lz4 buffers:

    bytes 0-3    `TKB1`
    byte  4      1 messages, 2 rows of a table
    bytes 5-7    zero
    bytes 8-11   length of the stream, little endian
    bytes 12-15  CRC-32 of bytes 0-11 and the stream

The stream carries its schema, so a nullable column added to a table later reads as null from older blocks.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from lake.errors import InvalidValueError, NotFoundError, ProtocolError
from lake.instants import NANOS_PER_MICRO
from lake.log.log import Block
from lake.tables import table_named
from lake.tables.raw import MESSAGES
from lake.values import Capture, Message

MAX_MESSAGES = 1_000
MAX_PAYLOAD_BYTES = 256 * 1024
"""A block is closed before its payloads exceed this; one message larger than it is a block alone."""

_MAGIC = b"TKB1"
_HEAD = struct.Struct("<4sB3xI")
_CRC = struct.Struct("<I")
_HEAD_BYTES = _HEAD.size + _CRC.size
_MESSAGES_KIND, _ROWS_KIND = 1, 2
_TABLE_KEY = b"tickhouse.table"
_NOT_IN_BLOCK = ("log_partition", "log_offset")

MESSAGE_SCHEMA: pa.Schema = pa.schema([field for field in MESSAGES.arrow_schema() if field.name not in _NOT_IN_BLOCK])
"""Columns of raw.messages without the two that only the log can know."""
_MESSAGE_COLUMNS = [(field.name, field.type) for field in MESSAGE_SCHEMA]
_SMALL_BYTES = 256 * 1024
"""Smaller blocks take lz4: zstd begins anew for each of two dozen buffers, 0.4 ms whatever they hold. 1,000 trades: a third."""


def encode_messages(capture: Capture, messages: Sequence[Message]) -> Block:
    """Return one block of `messages`, keyed by the capture.

    Raises InvalidValueError when there are none, more than MAX_MESSAGES, or several that together exceed
    MAX_PAYLOAD_BYTES (use `split_messages`), and when a text cannot be written as UTF-8.
    """
    size = sum(len(message.payload) for message in messages)
    if not messages or len(messages) > MAX_MESSAGES or (len(messages) > 1 and size > MAX_PAYLOAD_BYTES):
        raise InvalidValueError(
            f"{len(messages)} messages of {size} bytes are no block; expected 1 to {MAX_MESSAGES} messages"
            f" of at most {MAX_PAYLOAD_BYTES} bytes"
        )
    length = len(messages)
    try:
        received = np.fromiter((message.ts_recv_ns for message in messages), np.int64, length)
        columns: dict[str, object] = {
            "capture_id": capture.capture_id,
            "message_seq": [message.message_seq for message in messages],
            "provider": capture.provider,
            "feed": capture.feed,
            "ts_recv": received // NANOS_PER_MICRO,
            "ts_recv_nanos": (received % NANOS_PER_MICRO).astype(np.int32),
            "content_type": _one([message.content_type for message in messages]),
            "sha256": [message.sha256 for message in messages],
            "request": _one([message.request for message in messages]),
            "status": _one([message.status for message in messages]),
            "headers": _one([message.headers for message in messages]),
            "payload": [message.payload for message in messages],
        }
        arrays = [_column(columns[name], kind, length) for name, kind in _MESSAGE_COLUMNS]
    except (pa.ArrowException, UnicodeEncodeError, OverflowError) as error:
        raise InvalidValueError(f"a message of capture {capture.capture_id} does not fit raw.messages: {error}") from error
    batch = pa.RecordBatch.from_arrays(arrays, schema=MESSAGE_SCHEMA)
    return Block(capture.capture_id, _encode(_MESSAGES_KIND, MESSAGE_SCHEMA, [batch]), length)


def _one(values: list[Any]) -> object:
    """Return the value that all have, or the list of them: most frames differ in time and payload alone."""
    first = values[0]
    return first if values.count(first) == len(values) else values


def _column(values: object, kind: pa.DataType, length: int) -> pa.Array:
    if isinstance(values, np.ndarray):
        return pa.array(values).view(kind)
    if isinstance(values, list):
        return pa.array(values, kind)
    return pa.nulls(length, kind) if values is None else pa.repeat(pa.scalar(values, kind), length)


def split_messages(capture: Capture, messages: Sequence[Message]) -> list[Block]:
    """Return `messages` in order as the fewest blocks within the limits; no messages are no blocks."""
    blocks: list[Block] = []
    start = size = 0
    for index, message in enumerate(messages):
        if index > start and (index - start == MAX_MESSAGES or size + len(message.payload) > MAX_PAYLOAD_BYTES):
            blocks.append(encode_messages(capture, messages[start:index]))
            start, size = index, 0
        size += len(message.payload)
    if start < len(messages):
        blocks.append(encode_messages(capture, messages[start:]))
    return blocks


def decode_messages(payload: bytes) -> pa.Table:
    """Return the messages of a block in MESSAGE_SCHEMA, in the order encoded.

    Any bytes that are not one whole valid block of messages raise ProtocolError.
    """
    return _conformed(_decode(_MESSAGES_KIND, payload), MESSAGE_SCHEMA)


def encode_rows(table: str, rows: pa.Table) -> Block:
    """Return one block of rows of the table called `table`, keyed by that name.

    Raises NotFoundError for an unknown table, InvalidValueError when there are no rows or they are not in its schema.
    """
    schema = table_named(table).arrow_schema()
    if not rows.num_rows or not rows.schema.equals(schema):
        raise InvalidValueError(f"{rows.num_rows} rows of {rows.schema.names} are no block of {table}; expected {schema.names}")
    named = schema.with_metadata({_TABLE_KEY: table.encode()})
    return Block(
        table,
        _encode(_ROWS_KIND, named, rows.combine_chunks().replace_schema_metadata(named.metadata).to_batches()),
        rows.num_rows,
    )


def empty_rows(table: str) -> Block:
    """Return a block of no rows: it stands for offsets whose rows have landed, where a log is made anew."""
    schema = table_named(table).arrow_schema().with_metadata({_TABLE_KEY: table.encode()})
    return Block(table, _encode(_ROWS_KIND, schema, []), 0)


def decode_rows(payload: bytes) -> tuple[str, pa.Table]:
    """Return (table name, rows in the table's schema) of a block of rows; any other bytes raise ProtocolError."""
    rows = _decode(_ROWS_KIND, payload)
    name = (rows.schema.metadata or {}).get(_TABLE_KEY, b"").decode(errors="replace")
    try:
        schema = table_named(name).arrow_schema()
    except NotFoundError as error:
        raise ProtocolError(f"block of rows of {name!r}: {error}") from error
    return name, _conformed(rows, schema)


def partition_of(capture_id: str, partitions: int) -> int:
    """Return the raw partition of a capture: the same one for all of its messages, on every machine."""
    return zlib.crc32(capture_id.encode()) % partitions


def _encode(kind: int, schema: pa.Schema, batches: Sequence[pa.RecordBatch]) -> bytes:
    sink = pa.BufferOutputStream()
    compression = "lz4" if sum(map(pa.ipc.get_record_batch_size, batches)) < _SMALL_BYTES else "zstd"
    options = pa.ipc.IpcWriteOptions(compression=compression, use_threads=False)
    with pa.ipc.new_stream(sink, schema, options=options) as writer:
        for batch in batches:
            writer.write_batch(batch)
    stream = sink.getvalue()
    head = _HEAD.pack(_MAGIC, kind, stream.size)
    crc = _CRC.pack(zlib.crc32(stream, zlib.crc32(head)))
    return b"".join((head, crc, stream))


def _decode(kind: int, payload: bytes) -> pa.Table:
    if len(payload) < _HEAD_BYTES:
        raise ProtocolError(f"block of {len(payload)} bytes is shorter than its head of {_HEAD_BYTES}")
    head, stream = payload[: _HEAD.size], payload[_HEAD_BYTES:]
    magic, found_kind, length = _HEAD.unpack(head)
    (crc,) = _CRC.unpack_from(payload, _HEAD.size)
    if magic != _MAGIC or found_kind != kind:
        raise ProtocolError(f"block begins with {magic!r} kind {found_kind}; expected {_MAGIC!r} kind {kind}")
    if length != len(stream):
        raise ProtocolError(f"block holds {len(stream)} bytes after its head; its head says {length}")
    if zlib.crc32(stream, zlib.crc32(head)) != crc:
        raise ProtocolError(f"block of {len(payload)} bytes does not match its checksum {crc:#010x}")
    try:
        with pa.ipc.open_stream(stream) as reader:
            table = reader.read_all()
        table.validate(full=True)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise ProtocolError(f"block of {len(payload)} bytes holds no Arrow stream: {error}") from error
    return table


def _conformed(table: pa.Table, schema: pa.Schema) -> pa.Table:
    unknown = sorted(set(table.column_names) - set(schema.names))
    if unknown or len(set(table.column_names)) != table.num_columns:
        raise ProtocolError(f"block has columns {table.column_names}; expected {schema.names}")
    arrays = []
    for field in schema:
        if field.name not in table.column_names:
            column = pa.chunked_array([pa.nulls(table.num_rows, field.type)])
        else:
            column = table.column(field.name)
        if column.type != field.type:
            raise ProtocolError(f"block has {field.name} as {column.type}; expected {field.type}")
        if not field.nullable and column.null_count:
            raise ProtocolError(f"block has {column.null_count} rows without {field.name}, which is required")
        arrays.append(column)
    return pa.Table.from_arrays(arrays, schema=schema)
