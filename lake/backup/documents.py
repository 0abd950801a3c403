"""The documents of a backup, and where things are kept in its store.

    objects/ab/abcdef…       a file, a listing or a dump, under the SHA-256 of its bytes
    backups/<id>.json        one backup, written last: {"sha256": hash of the document, "document": {...}}

A backup is what stands in `backups/`: whatever was written before it is only an object that nobody names yet.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from typing import Any

from lake.backup.stores import Store, get, put_bytes
from lake.backup.trees import Document
from lake.errors import CorruptedError, NotFoundError
from lake.heads import compact
from lake.instants import to_datetime

FORMAT = 1
FOLDER = "backups"
Listing = dict[str, tuple[str, int]]
"""Path below the table's place -> (SHA-256, size)."""


@dataclass(frozen=True, slots=True)
class TableBackup:
    """One table in a backup. `content` is the hash of the head's data files, `listing` the object that lists all files."""

    uuid: str
    location: str
    metadata: str
    snapshot_id: int
    rows: int
    position: dict[str, dict[str, int]]
    holds: list[dict[str, Any]]
    files: int
    bytes: int
    content: str
    listing: str


@dataclass(frozen=True, slots=True)
class TailBackup:
    """Blocks of the log that were not in their tables; `objects` hold them in order."""

    topic: str
    partition: int
    first: int
    next: int
    objects: list[str]


@dataclass(frozen=True, slots=True)
class Backup:
    """One backup: what stood at `at_ns`, and the objects that hold it."""

    id: str
    lake_id: str
    epoch: int
    at_ns: int
    is_between: bool
    tables: dict[str, TableBackup]
    state: str
    tails: list[TailBackup]
    log: str
    new_objects: int = 0
    new_bytes: int = 0
    seconds: float = 0.0
    previous: str | None = None
    format: int = field(default=FORMAT)

    @property
    def at(self) -> str:
        """The moment, ISO 8601."""
        return to_datetime(self.at_ns).isoformat()

    @property
    def rows(self) -> int:
        """Rows of all tables."""
        return sum(table.rows for table in self.tables.values())

    def document(self) -> dict[str, Any]:
        """Return the backup as JSON values, without its listing of tables' positions."""
        return {
            "id": self.id,
            "at": self.at,
            "epoch": self.epoch,
            "between_batches": self.is_between,
            "rows": self.rows,
            "files": sum(table.files for table in self.tables.values()),
            "bytes": sum(table.bytes for table in self.tables.values()),
            "new_objects": self.new_objects,
            "new_bytes": self.new_bytes,
            "seconds": self.seconds,
            "log": self.log,
            "log_blocks": sum(tail.next - tail.first for tail in self.tails),
        }


def object_key(digest: str) -> str:
    """Return where the object of a SHA-256 is kept."""
    return f"objects/{digest[:2]}/{digest}"


def put_object(store: Store, data: bytes) -> tuple[str, bool]:
    """Keep a small object; return its hash and whether it is new."""
    digest = sha256(data).hexdigest()
    return digest, put_bytes(store, object_key(digest), data)


def get_object(store: Store, digest: str) -> bytes:
    """Return a small object. Raises NotFoundError, CorruptedError when it is not what it was."""
    data = get(store, object_key(digest))
    if sha256(data).hexdigest() != digest:
        raise CorruptedError(f"{object_key(digest)} in {store.address} is damaged: its SHA-256 is another")
    return data


def packed(value: object) -> bytes:
    """Return JSON, compressed; equal values give equal bytes."""
    return gzip.compress(compact(value).encode(), mtime=0)


def unpacked(data: bytes) -> Any:
    """Return the value that `packed` wrote."""
    return json.loads(gzip.decompress(data))


def save_backup(store: Store, backup: Backup) -> None:
    """Write the document that makes a backup."""
    document = asdict(backup)
    text = {"sha256": sha256(compact(document).encode()).hexdigest(), "document": document}
    put_bytes(store, f"{FOLDER}/{backup.id}.json", json.dumps(text, indent=1).encode())


def load_backup(store: Store, backup_id: str) -> Backup:
    """Return a backup by its id. Raises NotFoundError, CorruptedError."""
    key = f"{FOLDER}/{backup_id}.json"
    data = get(store, key)
    try:
        text = json.loads(data)
        document: Document = text["document"]
        if sha256(compact(document).encode()).hexdigest() != text["sha256"]:
            raise CorruptedError(f"{key} in {store.address} is damaged: its SHA-256 is another")
        tables = {name: TableBackup(**table) for name, table in document["tables"].items()}
        tails = [TailBackup(**tail) for tail in document["tails"]]
        return Backup(**{**document, "tables": tables, "tails": tails})
    except (ValueError, KeyError, TypeError) as error:
        raise CorruptedError(f"{key} in {store.address} is no backup: {error}") from error


def backup_ids(store: Store) -> list[str]:
    """Return the ids of all backups, oldest first."""
    keys = (key for key in store.list(FOLDER) if key.endswith(".json"))
    return [key.removeprefix(f"{FOLDER}/").removesuffix(".json") for key in keys]


def newest_backup(store: Store) -> Backup:
    """Return the last backup. Raises NotFoundError when there is none, CorruptedError when it is damaged."""
    ids = backup_ids(store)
    if not ids:
        raise NotFoundError(f"{store.address} holds no backup; make one with `tickhouse backup`")
    return load_backup(store, ids[-1])


def backups(store: Store) -> Iterator[Backup]:
    """Yield every backup, newest first."""
    for backup_id in reversed(backup_ids(store)):
        yield load_backup(store, backup_id)


def listing_of(store: Store, table: TableBackup) -> Listing:
    """Return the files of a table in a backup."""
    return {path: (digest, size) for path, digest, size in unpacked(get_object(store, table.listing))}
