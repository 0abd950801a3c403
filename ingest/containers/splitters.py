"""How files are cut into messages, at record boundaries, without losing a byte that can be read."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from itertools import islice

from ingest.containers.source import Piece, Source, Told
from ingest.conversation import FrameMemory
from lake.errors import InvalidValueError
from transforms.decode.csv_mapping import parse_mapping

CSV_CHUNK_RECORDS = 5_000
CSV_CHUNK_BYTES = 128 * 1024
"""A CSV message is the header and at most so many records or bytes, well inside one block of the log."""
_MAX_RECORD_BYTES = 64 * 1024
"""A quote left open does not swallow the file: a record longer than this is cut at its next line end."""
_RECORDED_LINE = re.compile(rb"(\d{19}) (.*)\Z", re.DOTALL)
_STREAM_SYMBOL = re.compile(rb'\{"stream":"([a-z0-9]+)@')


def recorded_frames(source: Source, told: Told) -> Iterator[Piece]:
    """Yield the frames of a recorded stream: lines of `<receive time in ns> <frame>`.

    A line of another form is a message whole, for the decoder to judge; an empty line is none. A frame without a stream
    name is a REST snapshot, which does not name its symbol: it gets the symbol of the streams recorded before it.
    """
    symbol: str | None = None
    for number, line in enumerate(source.lines()):
        if not line.strip():
            continue
        found = _RECORDED_LINE.match(line)
        if found is None or int(found[1]) >= 1 << 63:
            yield Piece(line, "application/json", request=told.request(line=number))
            continue
        frame = found[2]
        stream = _STREAM_SYMBOL.match(frame)
        if stream is not None:
            symbol = stream[1].decode().upper()
            yield Piece(frame, "application/json", int(found[1]))
        else:
            named = {} if symbol is None else {"symbol": symbol, "params": {"symbol": symbol}}
            yield Piece(frame, "application/json", int(found[1]), told.request(line=number, **named))


def whole_document(content_type: str) -> Callable[[Source, Told], Iterator[Piece]]:
    """Return a splitter that makes the file one message."""

    def split(source: Source, told: Told) -> Iterator[Piece]:
        payload = b"".join(source.chunks())
        if not payload:
            return
        known = told.manifest
        headers = {name: str(known[key]) for name, key in (("date", "date"), ("content-type", "content_type")) if known.get(key)}
        status = known.get("status")
        yield Piece(
            payload,
            content_type,
            request=told.request(),
            status=status if isinstance(status, int) else None,
            headers=headers or None,
        )

    return split


def csv_chunks(source: Source, told: Told) -> Iterator[Piece]:
    """Yield messages of the lines before the records (where there are any) and up to CSV_CHUNK_RECORDS records.

    The mapping stands in each one's request. A record ends at a line end outside quotes. Raises InvalidValueError without a
    mapping, or with one that is none.
    """
    if told.mapping is None:
        raise InvalidValueError(f"{told.file}: a CSV file needs a mapping that says what its columns are")
    mapping = parse_mapping(dict(told.mapping))
    lines = source.lines()
    head = list(islice(lines, mapping.skip_lines))
    records = _records(lines)
    if mapping.header != "none":
        head += islice(records, 1)
        if len(head) == mapping.skip_lines:
            return
    chunk: list[bytes] = []
    size = number = first = 0
    for index, record in enumerate(records):
        if chunk and (len(chunk) == CSV_CHUNK_RECORDS or size + len(record) > CSV_CHUNK_BYTES):
            yield _csv_piece(told, head, chunk, number, first)
            chunk, size, number, first = [], 0, number + 1, index
        chunk.append(record)
        size += len(record) + 1
    if head or chunk:
        yield _csv_piece(told, head, chunk, number, first)


def _csv_piece(told: Told, head: list[bytes], chunk: list[bytes], number: int, first: int) -> Piece:
    request = told.request(mapping=told.mapping, chunk=number, first_record=first)
    return Piece(b"\n".join([*head, *chunk]) + b"\n", "text/csv", request=request)


def _records(lines: Iterable[bytes]) -> Iterator[bytes]:
    pending = b""
    for line in lines:
        pending = pending + b"\n" + line if pending else line
        if not pending.strip():
            pending = b""
        elif pending.count(b'"') % 2 == 0 or len(pending) > _MAX_RECORD_BYTES:
            yield pending
            pending = b""
    if pending:
        yield pending


def json_lines(source: Source, told: Told) -> Iterator[Piece]:
    """Yield the lines of a file of frames, one a line, as messages; a line that came before is noted, as a session does."""
    memory = FrameMemory()
    for number, line in enumerate(line for line in source.lines() if line.strip()):
        first = None if b'"ping"' in line[:40] else memory.first_of(line, number)
        note = {} if first is None else {"repeats": first}
        yield Piece(line, "application/json", request=told.request(line=number, **note))
