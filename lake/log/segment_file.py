"""One segment: consecutive blocks of one (topic, partition) in one SQLite file.

WAL with synchronous=FULL: an append is one transaction, on disk when it returns, invisible when its process dies in it.
A sealed segment takes no more blocks. SQLite's own pages carry no checksum, so every block has one.
"""

from __future__ import annotations

import errno
import os
import sqlite3
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from lake.errors import CommitConflictError, CommitUnknownError, CorruptedError, LogFullError, TickhouseError
from lake.log.log import Batch, Block, Offset

BUSY_S = 20.0
"""How long a writer waits for another one: a commit takes milliseconds, so longer means a stopped process."""

PAGE_BYTES = 8_192
"""A block of 75 KiB is written page by page: twice SQLite's own size halves the calls, more costs small blocks too much."""

WAL_PAGES = 500
"""After 4 MiB the append that is there folds them into the database, some 10 ms: no longer with larger pages."""

_FULL = {
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR_WRITE,
    sqlite3.SQLITE_IOERR_SHMSIZE,
    sqlite3.SQLITE_IOERR_SHMOPEN,
    sqlite3.SQLITE_IOERR_TRUNCATE,
}
_BUSY = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL}
_DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_ERROR, sqlite3.SQLITE_MISMATCH}
_FULL_ERRNO = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_COMPANIONS = ("", "-journal", "-wal", "-shm")
_SCHEMA = """
BEGIN;
CREATE TABLE segment (base INTEGER NOT NULL, next INTEGER NOT NULL, bytes INTEGER NOT NULL, is_sealed INTEGER NOT NULL,
    created_at_ns INTEGER NOT NULL, appended_at_ns INTEGER NOT NULL);
CREATE TABLE blocks (offset INTEGER PRIMARY KEY, key TEXT NOT NULL, count INTEGER NOT NULL, crc INTEGER NOT NULL,
    payload BLOB NOT NULL);
COMMIT;
"""


@dataclass(frozen=True, slots=True)
class SegmentState:
    """What a segment says of itself: offsets in [base, next), and when it was made and last appended to."""

    base: Offset
    next: Offset
    bytes: int
    is_sealed: bool
    created_at_ns: int
    appended_at_ns: int


@contextmanager
def translated(path: Path, act: str) -> Iterator[None]:
    """Turn SQLite's errors on `path` into ours: LogFullError, CommitConflictError, CorruptedError or CommitUnknownError."""
    try:
        yield
    except sqlite3.Error as error:
        raise _translation(error, path, act) from error
    except OSError as error:
        if error.errno not in _FULL_ERRNO:
            raise
        raise LogFullError(f"{act} {path.name}: {error}: no room, nothing was written") from error


def _translation(error: sqlite3.Error, path: Path, act: str) -> TickhouseError:
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)
    said = f"{act} {path.name}: {error} ({getattr(error, 'sqlite_errorname', type(error).__name__)})"
    if code in _FULL:
        return LogFullError(f"{said}: no room, nothing was written")
    if code & 0xFF in _BUSY:
        return CommitConflictError(f"{said}: another process keeps it locked, nothing was written")
    if code == sqlite3.SQLITE_CANTOPEN and path.exists():
        return LogFullError(f"{said}: its write-ahead log could not be made, nothing was written")
    if code == sqlite3.SQLITE_IOERR_FSYNC:
        return CommitUnknownError(f"{said}: the disk did not confirm the write")
    if code & 0xFF in _DAMAGED or code == sqlite3.SQLITE_CANTOPEN:
        return CorruptedError(f"{said}: the file is damaged or missing")
    return CommitUnknownError(said)


def open_database(path: Path, *, mode: str = "rw") -> sqlite3.Connection:
    """Return a connection in autocommit mode whose commits are durable; a missing file is an error unless mode is `rwc`."""
    connection = sqlite3.connect(
        f"file:{quote(str(path))}?mode={mode}", uri=True, timeout=BUSY_S, isolation_level=None, check_same_thread=False
    )
    try:
        connection.execute("PRAGMA synchronous=FULL")
    except sqlite3.Error:
        connection.close()
        raise
    return connection


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """Run the body as one writing transaction: the write lock is taken first, any error rolls all of it back."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")


def fsync(path: Path) -> None:
    """Force a file or folder to disk. Never call it on a database that this process has open: closing drops its locks."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def create_segment(path: Path, base: Offset, now_ns: int) -> None:
    """Make an empty segment at `path`, on disk with its folder on return; leftovers of a killed attempt are replaced."""
    delete_segment(path)
    with translated(path, "making segment"):
        connection = open_database(path, mode="rwc")
        try:
            connection.execute(f"PRAGMA page_size={PAGE_BYTES}")
            connection.execute("PRAGMA journal_mode=WAL")
            connection.executescript(_SCHEMA)
            connection.execute("INSERT INTO segment VALUES (?, ?, 0, 0, ?, ?)", (base, base, now_ns, now_ns))
        finally:
            connection.close()
        fsync(path)
        fsync(path.parent)


def delete_segment(path: Path) -> None:
    """Remove a database's files, the database itself first; none there is no error."""
    for suffix in _COMPANIONS:
        path.with_name(path.name + suffix).unlink(missing_ok=True)


class SegmentFile:
    """An open segment; not safe for several threads at once."""

    def __init__(self, path: Path, *, is_frozen: bool = False) -> None:
        """Open the segment at `path`.

        A frozen one is only read and makes no file beside it, for a disk so full that there is no room for SQLite's
        shared memory; it sees nothing later, and raises LogFullError when part of it still waits in a write-ahead log.
        """
        self.path = path
        log = path.with_name(path.name + "-wal")
        if is_frozen and log.exists() and log.stat().st_size:
            raise LogFullError(f"reading segment {path.name}: no room for shared memory, and {log.name} is not empty")
        with translated(path, "opening segment"):
            self._connection = open_database(path, mode="ro&immutable=1" if is_frozen else "rw")
            self._connection.execute(f"PRAGMA wal_autocheckpoint={WAL_PAGES}")

    def close(self) -> None:
        """Close the file; the last one to close it folds the write-ahead log into it."""
        self._connection.close()

    def state(self) -> SegmentState:
        """Return what the segment says of itself now."""
        with translated(self.path, "reading segment"):
            row = self._connection.execute(
                "SELECT base, next, bytes, is_sealed, created_at_ns, appended_at_ns, (SELECT max(offset) FROM blocks)"
                " FROM segment"
            ).fetchone()
        if row is None:
            raise CorruptedError(f"segment {self.path.name} does not say what it holds")
        base, following, size, is_sealed, created, appended, last = row
        if following != (base if last is None else last + 1):
            raise CorruptedError(f"segment {self.path.name} says that {following} is next, but its last block is {last}")
        return SegmentState(base, following, size, bool(is_sealed), created, appended)

    def append(self, blocks: Sequence[Block], now_ns: int) -> Offset | None:
        """Append all of `blocks` in one durable transaction; returns the offset of the first, None when it is sealed."""
        with translated(self.path, "appending to segment"), transaction(self._connection):
            row = self._connection.execute("SELECT next, is_sealed FROM segment").fetchone()
            if row is None:
                raise CorruptedError(f"segment {self.path.name} does not say what it holds")
            first, is_sealed = row
            if is_sealed:
                return None
            self._connection.executemany(
                "INSERT INTO blocks VALUES (?, ?, ?, ?, ?)",
                [
                    (first + index, block.key, block.count, _checksum(first + index, block), block.payload)
                    for index, block in enumerate(blocks)
                ],
            )
            self._connection.execute(
                "UPDATE segment SET next = next + ?, bytes = bytes + ?, appended_at_ns = ?",
                (len(blocks), sum(len(block.payload) for block in blocks), now_ns),
            )
        return int(first)

    def seal(self) -> Offset:
        """Take no more blocks, for good; returns the offset after the last. Sealing twice is sealing once."""
        with translated(self.path, "sealing segment"):
            with transaction(self._connection):
                self._connection.execute("UPDATE segment SET is_sealed = 1")
            # Readers may be in the way: then the last one to close the file does it.
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        return self.state().next

    def read(self, offset: Offset, max_bytes: int) -> Batch:
        """Return blocks from `offset` on, together at most `max_bytes` but one at least, up to the segment's end.

        Raises CorruptedError when a block is missing below the segment's end or does not match its checksum.
        """
        end = self.state().next
        blocks: list[tuple[Offset, Block]] = []
        expected, room = offset, max_bytes
        with translated(self.path, "reading segment"):
            rows = self._connection.execute(
                "SELECT offset, key, count, crc, payload FROM blocks WHERE offset >= ? AND offset < ? ORDER BY offset",
                (offset, end),
            )
            try:
                for found, key, count, crc, payload in rows:
                    is_bytes = type(payload) is bytes  # of a page cut off SQLite may make a null
                    room -= len(payload) if is_bytes else 0
                    if blocks and room < 0:
                        return Batch(blocks, expected)
                    block = Block(key, payload, count)
                    if found != expected or not is_bytes or _checksum(found, block) != crc:
                        raise CorruptedError(f"segment {self.path.name}: block {expected} is missing or fails its checksum")
                    blocks.append((found, block))
                    expected += 1
            finally:
                rows.close()
        if expected < end:
            raise CorruptedError(f"segment {self.path.name}: block {expected} is missing; it says it holds {end - 1}")
        return Batch(blocks, expected)


def _checksum(offset: Offset, block: Block) -> int:
    return zlib.crc32(block.payload, zlib.crc32(f"{offset}/{block.count}/{block.key}".encode()))
