"""Where each table's metadata stands now, asked so cheaply that every question can ask.

Loading a table through the catalog costs half a millisecond, which is more than answering from memory does. SQLite tells
in microseconds whether anybody committed since the last look (`PRAGMA data_version` of a connection that never writes),
so the rows of its catalog are remembered for as long as nobody did. Other catalogs are asked as ever.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from pathlib import Path

from lake.durable import location_of
from lake.errors import CommitUnknownError


class Pointers:
    """Metadata locations of a SQLite catalog, by table name, never older than the question; for any number of threads."""

    def __init__(self, database: Path, catalog: str) -> None:
        self._database = database
        self._catalog = catalog
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        self._version: int | None = None
        self._process = 0
        self._known: dict[str, str] = {}

    def location(self, table: str) -> str | None:
        """Return where the metadata of `namespace.name` stands; None when the catalog has no such table.

        Raises CommitUnknownError when the database cannot be read.
        """
        with self._lock:
            try:
                if self._connection is None or self._process != os.getpid():  # SQLite forbids to carry one over a fork
                    uri = f"{location_of(self._database)}?mode=ro"
                    self._connection = sqlite3.connect(uri, uri=True, check_same_thread=False, isolation_level=None)
                    self._process, self._version = os.getpid(), None
                # The version first: a commit between the two statements shows as a new version next time.
                (version,) = self._connection.execute("PRAGMA data_version").fetchone()
                if version != self._version:
                    self._known.clear()
                    self._version = version
                found = self._known.get(table)
                if found is None:
                    namespace, _, name = table.rpartition(".")
                    row = self._connection.execute(
                        "SELECT metadata_location FROM iceberg_tables"
                        " WHERE catalog_name = ? AND table_namespace = ? AND table_name = ?",
                        (self._catalog, namespace, name),
                    ).fetchone()
                    if row is None or not row[0]:
                        return None
                    found = self._known[table] = str(row[0])
                return found
            except sqlite3.Error as error:
                raise CommitUnknownError(f"catalog database, looking for {table}: {error}") from error

    def close(self) -> None:
        """Close the connection; the next question opens another."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()
            self._connection, self._version = None, None
            self._known.clear()
