"""Files of NYSE TAQ: records of trades or quotes under a header, parted by commas or bars, cut into messages of whole records."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from ingest.containers.source import Piece, Source, Told
from transforms.decode.nyse_taq import columns_of

MOST_RECORDS = 1_000
MOST_BYTES = 128 * 1024
"""A message is the header and so many records, well inside one block of the log."""


def is_taq(feed: str) -> Callable[[str, bytes], bool]:
    """Return whether a file is of TAQ's `trades` or `quotes`: by its header."""

    def is_one(name: str, beginning: bytes) -> bool:
        found = columns_of(beginning.split(b"\n", 1)[0])
        return found is not None and found.feed == feed

    return is_one


def taq_records(source: Source, told: Told) -> Iterator[Piece]:
    """Yield messages of the header and up to MOST_RECORDS records; a record too long for a message is one alone."""
    lines = source.lines()
    header = next(lines, b"")
    chunk: list[bytes] = []
    size = first = number = 0
    for line in lines:
        if not line.strip():
            continue
        if chunk and (len(chunk) == MOST_RECORDS or size + len(line) > MOST_BYTES):
            yield _piece(told, header, chunk, first)
            chunk, size, first = [], 0, number
        chunk.append(line)
        size += len(line) + 1
        number += 1
    if chunk or header.strip():
        yield _piece(told, header, chunk, first)


def _piece(told: Told, header: bytes, chunk: list[bytes], first: int) -> Piece:
    return Piece(b"\n".join([header, *chunk]) + b"\n", "text/csv", request=told.request(first_record=first))
