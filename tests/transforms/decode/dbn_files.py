"""DBN files as messages, and files written by hand."""

from __future__ import annotations

import json
import struct
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa

from ingest.containers.dbn import dbn_batches
from ingest.containers.source import Piece, Source, Told
from tests.transforms.decode.cases import SAMPLES

FOLDER = SAMPLES / "databento"
FILES = sorted(path for path in FOLDER.glob("*/*") if ".dbn" in path.name or path.suffix == ".dbz")


def file_messages(path: Path) -> pa.Table:
    """Return the messages of a file with the columns of raw.messages that the decoder looks at."""
    return messages_of(list(dbn_batches(Source(path), Told(path.name))))


def messages_of(pieces: list[Piece]) -> pa.Table:
    """Return pieces of files as messages."""
    return pa.table(
        {
            "payload": pa.array([piece.payload for piece in pieces], pa.binary()),
            "request": pa.array([json.dumps(piece.request) for piece in pieces], pa.string()),
            "content_type": pa.array([piece.content_type for piece in pieces], pa.string()),
        }
    )


def bytes_messages(content: bytes) -> pa.Table:
    """Return the messages of a file with this content."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "made.dbn"
        path.write_bytes(content)
        return file_messages(path)


def header(
    spells: dict[str, list[tuple[int, int, str]]], dataset: str = "XNAS.ITCH", schema: int = 4, ts_out: bool = False
) -> bytes:
    """Return the header of a DBN 3 file that asked for raw symbols and got numbers."""
    width = 71
    body = dataset.encode().ljust(16, b"\0") + struct.pack("<HQQQBBBH", schema, 0, 0, 0, 1, 0, ts_out, width) + bytes(53)
    body += struct.pack("<IIII", 0, 0, 0, 0) + struct.pack("<I", len(spells))
    for symbol, intervals in spells.items():
        body += symbol.encode().ljust(width, b"\0") + struct.pack("<I", len(intervals))
        for first, last, number in intervals:
            body += struct.pack("<II", first, last) + number.encode().ljust(width, b"\0")
    return b"DBN\x03" + struct.pack("<I", len(body)) + body


def record(layout: np.dtype, kind: int, ts_out: int | None = None, **fields: object) -> bytes:
    """Return one record with the fields told, all others zero."""
    made = np.zeros(1, layout)
    for name, value in (fields | {"rtype": kind}).items():
        made[name] = value
    more = b"" if ts_out is None else struct.pack("<Q", ts_out)
    made["length"] = (layout.itemsize + len(more)) // 4
    return made.tobytes() + more
