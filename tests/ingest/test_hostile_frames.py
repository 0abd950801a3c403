"""Every stream of every provider against frames that are none: no exception, each kept as it came, no event and no fact made."""

from __future__ import annotations

import gzip
import random
from collections import deque

import msgspec
import pyarrow as pa
import pytest

from ingest.providers.registry import PROVIDERS, Push
from ingest.simulator.asking import recorded_symbols
from ingest.simulator.keyed import Keys
from transforms.feeds import feed_named

GARBAGE = random.Random(9).randbytes(4_096)
FRAMES = [
    b"", b" \r\n", b"null", b"0", b'"maintenance"', b"NaN", b"\xef\xbb\xbf{}", b"\x00" * 64, GARBAGE, GARBAGE * 256,
    b"<!DOCTYPE html><html><body>502 Bad Gateway</body></html>", b"HTTP/1.1 400 Bad Request\r\n\r\n",
    gzip.compress(b'{"type":"trade"}'), '{"a":1}'.encode("utf-16"), b'{"a":"\xc3"}', b"[" * 100_000,
    b'{"a":' * 50_000 + b"1" + b"}" * 50_000, b"[null,null]", b"[[[]],[[]]]", b'{"hello":"world","n":[1,2,{"x":null}]}',
    b'{"error":"Service temporarily unavailable"}', b'{"stream":1,"data":2}', b'{"type":"trade","data":[null,1,[],{}]}',
    b'[{"T":"t"},{"T":"q","S":1},{"ev":"T"},{"ev":null}]', b'{"messageType":"A","service":[],"data":[[]]}',
    b'{"type":"pricing","message":"////"}',
    msgspec.msgpack.encode([{"T": "t"}, {"T": b"\xff", "S": None}]), b"\xdd\xff\xff\xff\xff",
]  # fmt: skip
STREAMS = [(name, push) for name, provider in PROVIDERS.items() for push in provider.pushes]


@pytest.mark.parametrize(("name", "push"), STREAMS, ids=[f"{name} {push.feed}" for name, push in STREAMS])
def test_a_frame_that_is_none_is_kept_and_tells_nothing(name: str, push: Push) -> None:
    session = push.session(recorded_symbols(name, push.feed), Keys().of().get(name, ()))
    session.listening(1)
    session.connected(2)
    kept: deque[bytes] = deque()
    for number, frame in enumerate(FRAMES):
        kept.extend(message.payload for message in session.receive(frame, 3 + number))
    assert list(kept) == FRAMES
    assert session.events() == 0
    messages = pa.table(
        {"payload": FRAMES, "request": [None] * len(FRAMES), "status": [None] * len(FRAMES), "headers": [None] * len(FRAMES)},
        schema=pa.schema([("payload", pa.binary()), ("request", pa.string()), ("status", pa.int32()), ("headers", pa.string())]),
    )
    found = feed_named(name, push.feed).decode(messages)
    assert {table: rows.num_rows for table, rows in found.tables.items() if rows.num_rows} == {}
    assert found.refused.num_rows + found.control >= len(FRAMES)
