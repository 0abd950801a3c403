"""The whole way of a file's bytes: cut, decoded, normalized, ruled; whatever they are, nothing is lost and nothing raises."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa

from ingest.containers.registry import Container, container_named
from ingest.containers.source import Piece, Source, Told
from lake.errors import InvalidValueError
from lake.tables import table_named
from lake.values import CaptureKind
from quality_checks.rules import apply_rules
from tests.transforms.decode.cases import COLUMNS
from transforms.decode.decoded import Decoded
from transforms.feeds import Feed, feed_named
from transforms.normalize import normalize

NOW = datetime(2026, 1, 2, tzinfo=UTC)
_CHUNK_BYTES = 1_000
"""Small, so that records lie across the edges of chunks."""


@dataclass(frozen=True, slots=True)
class Reader:
    """How files of one feed are read; `name` is what they are called, `seeds` small good ones.

    keeps_bytes   the messages one after the other, without a capture's repeated headers, are the file
    """

    provider: str
    feed: str
    name: str
    seeds: Sequence[bytes]
    keeps_bytes: bool = False


class Held(Source):
    """A file that lies in memory."""

    def __init__(self, name: str, content: bytes) -> None:
        super().__init__(Path(name))
        self._lying = content

    def _packed(self) -> Iterator[bytes]:
        yield from (self._lying[at : at + _CHUNK_BYTES] for at in range(0, len(self._lying), _CHUNK_BYTES))


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of files: how many were refused as such, rows by table, and the rules that refused messages and rows."""

    errors: int
    rows: dict[str, int]
    rules: list[str]


def go_whole_way(reader: Reader, files: Sequence[bytes], *, until_decoded: bool = False) -> Outcome:
    """Lead files of one feed to rows and quarantine; AssertionError where something is lost, any other error is a find too.

    until_decoded   leave out normalization and rules, which take most of the time
    """
    container, found, errors = container_named(reader.provider, reader.feed), list[tuple[Feed, Piece]](), 0
    for content in files:
        source = Held(reader.name, content)
        container.is_one(reader.name, source.beginning())
        try:
            feed, pieces = _cut(reader, container, source)
        except InvalidValueError:
            errors += 1
            continue
        if reader.keeps_bytes:
            _assert_kept(pieces, b"".join(source.chunks()))
        found += [(feed, piece) for piece in pieces]
    rows, rules = dict[str, int](), list[str]()
    for name in dict.fromkeys(feed.feed for feed, _ in found):
        feed = feed_named(reader.provider, name)
        given = _messages(feed, [piece for other, piece in found if other.feed == name])
        decoded = _decoded(feed, given)
        if not until_decoded:
            _judge(feed, given, decoded, rows, rules)
    return Outcome(errors, rows, rules)


def _cut(reader: Reader, container: Container, source: Source) -> tuple[Feed, list[Piece]]:
    own = None if container.feed_of is None else container.feed_of(source)
    feed = feed_named(reader.provider, own or reader.feed)
    return feed, list(container.split(source, Told(reader.name, received_at=NOW)))


def _assert_kept(pieces: Sequence[Piece], content: bytes) -> None:
    """The file is its messages in order, each after the headers that it may repeat."""
    rest = content
    for piece in pieces:
        payload = piece.payload
        own = next(payload[at:] for at in range(len(payload) + 1) if rest.startswith(payload[at:]))
        rest = rest[len(own) :]
    assert rest == b"", f"{len(rest)} bytes of {len(content)} in no message"


def _decoded(feed: Feed, given: pa.Table) -> Decoded:
    decoded = feed.decode(given)
    told = set(decoded.refused["message_index"].to_pylist())
    for name, table in decoded.tables.items():
        assert name in feed.tables
        table.validate(full=True)
        table.to_pylist()  # every value is one that Python can hold
        told |= set(table["message_index"].to_pylist())
    assert len(told) + decoded.control == given.num_rows
    return decoded


def _judge(feed: Feed, given: pa.Table, decoded: Decoded, rows: dict[str, int], rules: list[str]) -> None:
    normalized = normalize(feed, given, decoded, {"capture": CaptureKind.IMPORT}, "run", NOW)
    rules += normalized.refused["rule"].to_pylist()
    for name, table in normalized.tables.items():
        assert table.schema.equals(table_named(name).arrow_schema())
        ruled = apply_rules(name, table, feed, NOW, "run", normalized.instruments)
        assert ruled.kept.num_rows + ruled.refused.num_rows == table.num_rows
        rows[name] = rows.get(name, 0) + ruled.kept.num_rows
        rules += ruled.refused["rule"].to_pylist()


def _messages(feed: Feed, pieces: Sequence[Piece]) -> pa.Table:
    count = len(pieces)
    requests = [None if piece.request is None else json.dumps(piece.request, default=str) for piece in pieces]
    headers = [None if piece.headers is None else json.dumps(piece.headers) for piece in pieces]
    return pa.table(
        {
            "capture_id": pa.array(["capture"] * count, pa.string()),
            "message_seq": pa.array(range(count), pa.int64()),
            "provider": pa.array([feed.provider] * count, pa.string()),
            "feed": pa.array([feed.feed] * count, pa.string()),
            "ts_recv": pa.array([NOW] * count, pa.timestamp("us", tz="UTC")),
            "payload": pa.array([piece.payload for piece in pieces], COLUMNS["payload"]),
            "content_type": pa.array([piece.content_type for piece in pieces], pa.string()),
            "request": pa.array(requests, COLUMNS["request"]),
            "status": pa.array([piece.status for piece in pieces], COLUMNS["status"]),
            "headers": pa.array(headers, COLUMNS["headers"]),
        }
    )
