"""Blocks: what goes in comes out, and any other bytes are refused."""

from __future__ import annotations

import struct
import zlib
from datetime import UTC, date, datetime
from decimal import Decimal

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lake.errors import InvalidValueError, NotFoundError, ProtocolError
from lake.instants import NANOS_PER_MICRO
from lake.log.blocks import (
    MAX_MESSAGES,
    MAX_PAYLOAD_BYTES,
    MESSAGE_SCHEMA,
    decode_messages,
    decode_rows,
    encode_messages,
    encode_rows,
    partition_of,
    split_messages,
)
from lake.tables import TABLES, rows
from lake.tables.quality import GAPS
from lake.values import Capture, CaptureKind, Message

CAPTURE = Capture("binance-spot-1", "binance", "spot", CaptureKind.LIVE, 0, "0.1", "abc")
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
MESSAGES = st.lists(
    st.builds(
        Message,
        message_seq=st.integers(0, 2**63 - 1),
        ts_recv_ns=st.integers(-(2**62), 2**62),
        content_type=TEXT,
        payload=st.binary(max_size=200),
        request=st.none() | TEXT,
        status=st.none() | st.integers(-(2**31), 2**31 - 1),
        headers=st.none() | TEXT,
    ),
    min_size=1,
    max_size=20,
)
GAP_ROWS = rows(
    GAPS,
    {
        "gap_id": ["g1", "g2"],
        "provider": ["binance", "binance"],
        "feed": ["spot", "spot"],
        "status": ["open", "filled"],
        "reason": ["socket dropped", "backfilled"],
        "recorded_at": [datetime(2026, 8, 1, tzinfo=UTC)] * 2,
    },
)
ONE = encode_messages(CAPTURE, [Message(7, 1_600_000_000_123_456_789, "application/json", b'{"p":1}')]).payload


def message(seq: int, size: int = 1) -> Message:
    return Message(seq, seq, "text/plain", b"x" * size)


def framed(kind: int, stream: bytes) -> bytes:
    """A head whose length and checksum are right for any stream."""
    head = struct.pack("<4sB3xI", b"TKB1", kind, len(stream))
    return head + struct.pack("<I", zlib.crc32(stream, zlib.crc32(head))) + stream


def ipc(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue())


@given(MESSAGES)
def test_messages_come_back_as_they_were(messages: list[Message]) -> None:
    block = encode_messages(CAPTURE, messages)
    assert (block.key, block.count) == (CAPTURE.capture_id, len(messages))
    table = decode_messages(block.payload)
    assert table.schema.equals(MESSAGE_SCHEMA, check_metadata=True)
    columns = table.set_column(4, "ts_recv", table["ts_recv"].cast(pa.int64())).to_pydict()
    for index, one in enumerate(messages):
        row = {name: values[index] for name, values in columns.items()}
        assert row["ts_recv"] * NANOS_PER_MICRO + row["ts_recv_nanos"] == one.ts_recv_ns
        assert 0 <= row["ts_recv_nanos"] < NANOS_PER_MICRO
        assert (row["capture_id"], row["provider"], row["feed"]) == ("binance-spot-1", "binance", "spot")
        assert (row["message_seq"], row["content_type"], row["payload"]) == (one.message_seq, one.content_type, one.payload)
        assert (row["request"], row["status"], row["headers"]) == (one.request, one.status, one.headers)
        assert row["sha256"] == one.sha256


@given(st.binary(max_size=400))
def test_any_bytes_are_a_block_or_a_protocol_error(data: bytes) -> None:
    with pytest.raises(ProtocolError):
        decode_messages(data)
    with pytest.raises(ProtocolError):
        decode_rows(data)


@given(st.integers(0, len(ONE) - 1), st.integers(1, 255))
def test_any_changed_byte_is_refused(at: int, flip: int) -> None:
    with pytest.raises(ProtocolError):
        decode_messages(ONE[:at] + bytes([ONE[at] ^ flip]) + ONE[at + 1 :])


@given(st.integers(0, len(ONE) - 1))
def test_any_cut_is_refused(at: int) -> None:
    with pytest.raises(ProtocolError):
        decode_messages(ONE[:at])
    with pytest.raises(ProtocolError):
        decode_messages(ONE + ONE[: at + 1])


@given(st.binary(max_size=300), st.integers(0, len(ONE) - 16), st.sampled_from([1, 2]))
def test_a_right_checksum_over_wrong_content_is_refused(noise: bytes, cut: int, kind: int) -> None:
    for stream in (noise, ONE[16 : 16 + cut] + noise):
        try:
            table = decode_messages(framed(kind, stream))
        except ProtocolError:
            continue
        assert kind == 1 and table.schema.equals(MESSAGE_SCHEMA)
        table.validate(full=True)


@pytest.mark.parametrize(
    "table",
    [
        pa.table({"capture_id": ["a"]}),
        decode_messages(ONE).append_column("extra", pa.array([1])),
        decode_messages(ONE).set_column(1, "message_seq", pa.array(["7"])),
        decode_messages(ONE).set_column(11, "payload", pa.array([None], pa.binary())),
        pa.Table.from_arrays([pa.array(["a"]), pa.array(["b"])], ["capture_id", "capture_id"]),
    ],
)
def test_columns_that_are_not_raw_messages_are_refused(table: pa.Table) -> None:
    with pytest.raises(ProtocolError):
        decode_messages(framed(1, ipc(table)))


def test_a_block_from_before_a_nullable_column_reads_as_null() -> None:
    older = decode_messages(ONE).drop_columns(["headers"])
    table = decode_messages(framed(1, ipc(older)))
    assert table.schema.equals(MESSAGE_SCHEMA) and table["headers"].to_pylist() == [None]


@given(st.lists(st.integers(0, 100_000), max_size=30))
def test_splitting_keeps_every_message_and_the_limits(sizes: list[int]) -> None:
    messages = [message(seq, size) for seq, size in enumerate(sizes)]
    blocks = split_messages(CAPTURE, messages)
    tables = [decode_messages(block.payload) for block in blocks]
    assert [seq for table in tables for seq in table["message_seq"].to_pylist()] == list(range(len(sizes)))
    held = [sum(map(len, table["payload"].to_pylist())) for table in tables]
    assert all(size <= MAX_PAYLOAD_BYTES for size in held)
    for index in range(len(tables) - 1):  # the next message had no room
        assert held[index] + len(tables[index + 1]["payload"][0].as_py()) > MAX_PAYLOAD_BYTES


def test_blocks_hold_a_thousand_messages_and_a_large_one_alone() -> None:
    assert [block.count for block in split_messages(CAPTURE, [message(seq) for seq in range(2_500)])] == [1_000, 1_000, 500]
    large = [message(0), message(1, MAX_PAYLOAD_BYTES + 1), message(2)]
    assert [block.count for block in split_messages(CAPTURE, large)] == [1, 1, 1]
    assert split_messages(CAPTURE, []) == []


@pytest.mark.parametrize(
    "messages",
    [
        [],
        [message(0)] * (MAX_MESSAGES + 1),
        [message(0, MAX_PAYLOAD_BYTES), message(1)],
        [Message(0, 0, "\ud800", b"")],
        [Message(2**63, 0, "text/plain", b"")],
    ],
)
def test_what_is_no_block_is_not_made(messages: list[Message]) -> None:
    with pytest.raises(InvalidValueError):
        encode_messages(CAPTURE, messages)


def test_rows_come_back_with_their_table() -> None:
    block = encode_rows("quality.gaps", GAP_ROWS)
    assert (block.key, block.count) == ("quality.gaps", 2)
    name, found = decode_rows(block.payload)
    assert name == "quality.gaps"
    assert found.schema.equals(GAPS.arrow_schema(), check_metadata=True)
    assert found.to_pylist() == GAP_ROWS.to_pylist()


ONE_VALUE: dict[str, object] = {
    "string": "text",
    "binary": b"bytes",
    "int": 1,
    "long": 1,
    "double": 1.5,
    "boolean": True,
    "date": date(2026, 8, 1),
    "timestamptz": datetime(2026, 8, 1, tzinfo=UTC),
}


@pytest.mark.parametrize("name", sorted(TABLES))
def test_every_table_fits_a_block(name: str) -> None:
    table = TABLES[name]
    made = rows(table, {column.name: [ONE_VALUE.get(column.type, Decimal(1))] for column in table.columns})
    assert decode_rows(encode_rows(name, made).payload)[1].equals(made)


def test_rows_that_are_not_of_the_table_are_refused() -> None:
    with pytest.raises(NotFoundError):
        encode_rows("quality.nothing", GAP_ROWS)
    for wrong in (GAP_ROWS.slice(0, 0), GAP_ROWS.drop_columns(["reason"]), GAP_ROWS.select(GAP_ROWS.column_names[::-1])):
        with pytest.raises(InvalidValueError):
            encode_rows("quality.gaps", wrong)
    with pytest.raises(ProtocolError):
        decode_messages(encode_rows("quality.gaps", GAP_ROWS).payload)
    with pytest.raises(ProtocolError):
        decode_rows(ONE)
    with pytest.raises(ProtocolError):
        decode_rows(framed(2, ipc(GAP_ROWS.replace_schema_metadata({b"tickhouse.table": b"quality.nothing"}))))


@given(TEXT, st.integers(1, 64))
def test_a_capture_has_one_partition(capture_id: str, partitions: int) -> None:
    assert 0 <= partition_of(capture_id, partitions) < partitions
    assert partition_of(capture_id, partitions) == partition_of(capture_id, partitions)


def test_partitions_stay_what_they_were() -> None:
    assert [partition_of(f"binance-spot-{number}", 4) for number in range(8)] == [0, 2, 0, 2, 1, 3, 1, 3]
