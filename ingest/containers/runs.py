"""Binary files cut into runs of whole records, in bounded memory: the loop that every such format shares."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from ingest.containers.source import Piece, Source

RUN_BYTES = 128 * 1024
"""A run ends with the record that reaches this, well inside one block of the log."""


class Cutter(Protocol):
    """What knows where the records of a format end, and what a run must tell so that it reads alone."""

    def cut(self, data: bytes, *, is_last: bool) -> tuple[Piece | None, int]:
        """Return the next message and how many bytes of `data` it is; None where more bytes must come first.

        With `is_last`, when no more come, there is always a message.
        """


def run_pieces(source: Source, cutter: Cutter, most_unread_bytes: int | None = None) -> Iterator[Piece]:
    """Yield the runs of a file; beyond `most_unread_bytes` without the end of one, it is cut as if the file ended there."""
    pending = bytearray()
    for chunk in source.chunks():
        pending += chunk
        while len(pending) >= RUN_BYTES:
            is_full = most_unread_bytes is not None and len(pending) > most_unread_bytes
            piece, taken = cutter.cut(bytes(pending), is_last=is_full)
            if piece is None:
                break
            del pending[:taken]
            yield piece
    while pending:
        piece, taken = cutter.cut(bytes(pending), is_last=True)
        assert piece is not None
        del pending[:taken]
        yield piece
