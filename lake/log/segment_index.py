"""The index of a segment log: which segments there are, and how far every registered reader has come.

One small SQLite file. Its write lock is what makes rolling and dropping segments exclusive among processes; it is taken
before a segment's own lock, never after. A segment that the index does not name is the leftover of a killed process.
"""

from __future__ import annotations

import fcntl
import sqlite3
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lake.errors import CorruptedError, SettingsError
from lake.log.log import Offset, Positions
from lake.log.segment_file import delete_segment, fsync, open_database, transaction, translated

_SCHEMA = """
BEGIN;
CREATE TABLE segments (topic TEXT NOT NULL, part INTEGER NOT NULL, base INTEGER NOT NULL, is_dropped INTEGER NOT NULL,
    PRIMARY KEY (topic, part, base));
CREATE TABLE readers (topic TEXT NOT NULL, reader TEXT NOT NULL, PRIMARY KEY (topic, reader));
CREATE TABLE positions (topic TEXT NOT NULL, reader TEXT NOT NULL, part INTEGER NOT NULL, next INTEGER NOT NULL,
    PRIMARY KEY (topic, reader, part));
COMMIT;
"""


class SegmentIndex:
    """The index, opened; safe for several threads and processes."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "index.db"
        self._lock = threading.RLock()
        try:
            with translated(self.path, "opening index"):
                folder.mkdir(parents=True, exist_ok=True)
                with (folder / "index.lock").open("a") as guard:
                    fcntl.flock(guard, fcntl.LOCK_EX)
                    if not self.path.exists():
                        self._create(folder)
                    self._connection = open_database(self.path)
        except OSError as error:
            raise SettingsError(f"log_path {folder} cannot be used: {error}") from error

    def _create(self, folder: Path) -> None:
        orphan = next(folder.glob("*/*/*.db"), None)
        if orphan is not None:
            raise CorruptedError(f"{folder} holds segment {orphan.name} but no index.db: offsets would be given twice")
        making = folder / "index.new"
        delete_segment(making)
        connection = open_database(making, mode="rwc")
        try:
            connection.executescript(_SCHEMA)
            connection.execute("PRAGMA journal_mode=WAL")
        finally:
            connection.close()
        fsync(making)
        making.rename(self.path)
        fsync(folder)
        fsync(folder.parent)

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._connection.close()

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Hold the index's write lock among all processes; any error in the body rolls the changes back."""
        with self._lock, translated(self.path, "locking index"), transaction(self._connection):
            yield

    def partitions(self, topic: str) -> list[int]:
        """Return the partitions that have segments."""
        return [part for (part,) in self._rows("SELECT DISTINCT part FROM segments WHERE topic = ? ORDER BY part", topic)]

    def bases(self, topic: str, partition: int) -> list[Offset]:
        """Return the first offsets of the segments, in order; the last one is the active segment's."""
        return [
            base
            for (base,) in self._rows(
                "SELECT base FROM segments WHERE topic = ? AND part = ? AND NOT is_dropped ORDER BY base", topic, partition
            )
        ]

    def add(self, topic: str, partition: int, base: Offset) -> None:
        """Name a new active segment."""
        self._change("INSERT INTO segments VALUES (?, ?, ?, 0)", topic, partition, base)

    def mark_dropped(self, topic: str, partition: int, base: Offset) -> None:
        """Say that a segment's files may go."""
        self._change("UPDATE segments SET is_dropped = 1 WHERE topic = ? AND part = ? AND base = ?", topic, partition, base)

    def dropped(self, topic: str) -> list[tuple[int, Offset]]:
        """Return (partition, base) of segments whose files may still be there."""
        return self._rows("SELECT part, base FROM segments WHERE topic = ? AND is_dropped", topic)

    def forget(self, topic: str, partition: int, base: Offset) -> None:
        """Remove a segment whose files are gone."""
        self._change("DELETE FROM segments WHERE topic = ? AND part = ? AND base = ? AND is_dropped", topic, partition, base)

    def advance(self, topic: str, reader: str, positions: Positions) -> None:
        """Register a reader and move its positions forward, never back."""
        self._change("INSERT INTO readers VALUES (?, ?) ON CONFLICT DO NOTHING", topic, reader)
        for partition, position in positions.items():
            self._change(
                "INSERT INTO positions VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET next = max(next, excluded.next)",
                topic,
                reader,
                partition,
                position,
            )

    def positions(self, topic: str, partition: int) -> Mapping[str, Offset]:
        """Return the position of every registered reader; 0 where it named none."""
        return dict(
            self._rows(
                "SELECT r.reader, coalesce(p.next, 0) FROM readers r LEFT JOIN positions p"
                " ON p.topic = r.topic AND p.reader = r.reader AND p.part = ? WHERE r.topic = ?",
                partition,
                topic,
            )
        )

    def _rows(self, statement: str, *values: object) -> list[Any]:
        with self._lock, translated(self.path, "reading index"):
            return self._connection.execute(statement, values).fetchall()

    def _change(self, statement: str, *values: object) -> None:
        with self._lock, translated(self.path, "writing index"):
            if not self._connection.in_transaction:
                raise sqlite3.ProgrammingError("the index is changed inside `exclusive` only")
            self._connection.execute(statement, values)
