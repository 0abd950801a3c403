"""A cut: heads of all tables, state rows and log bounds as of one moment, taken beside running writers, locking nobody.

Heads are read twice: equal means that no commit fell in between, so together they stood at one moment. When moreover no
writer held a lease, the moment lies between batches and everything in it is whole; otherwise it is what a crash at that
moment would have left, which the pipeline mends by going on.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from pyiceberg.io import FileIO

from lake import as_of
from lake.backup.stores import CHUNK_BYTES
from lake.backup.trees import Document, File, Tree, main_only, relative, summary_of, tree_of
from lake.catalog import Lake
from lake.errors import CommitConflictError, CorruptedError, NotFoundError
from lake.files import safe_name
from lake.heads import HOLDS, POSITION
from lake.instants import NANOS_PER_MICRO
from lake.log.log import HISTORY_TOPIC, RAW_TOPIC, Bounds, Log
from lake.tables import TABLES

PATIENCE_S = 10.0
"""How long a cut waits for a moment between batches before it takes one within."""
LOOK_S = 0.05
_ATTEMPTS = 200
_NOT_WRITERS = ("backup", "replica", "drill", "import:", "identity")
"""Leases that say nothing about tables being written."""
LANDED_OWNERS = {RAW_TOPIC: "raw", HISTORY_TOPIC: "history"}
"""Topics that are landed, and the owner of their position in the tables they fill."""

Rows = dict[str, list[dict[str, Any]]]


@dataclass(frozen=True, slots=True)
class TableCut:
    """One table at the moment: its metadata document as it was, and the files that it reaches through main."""

    name: str
    metadata_path: str
    metadata_bytes: bytes
    main: Document
    io: FileIO

    @property
    def location(self) -> str:
        """Where the table is."""
        return str(self.main["location"])

    @property
    def summary(self) -> dict[str, str]:
        """The summary of main's head."""
        return summary_of(self.main)

    @property
    def holds(self) -> list[dict[str, Any]]:
        """Open holds as main lists them."""
        return list(json.loads(self.summary.get(HOLDS, "[]")))

    def read(self, path: str) -> bytes:
        """Return the bytes of one of the table's metadata files. Raises NotFoundError when it was deleted meanwhile."""
        return read_location(self.io, self._location_of(path))

    def tree(self, seen: dict[str, tuple[File, ...]] | None = None) -> Tree:
        """Return everything that the document reaches. Raises NotFoundError when a part was deleted meanwhile."""
        return tree_of(self.main, self.read, seen)

    def held(self, state: Rows) -> list[File]:
        """Return the files of open holds."""
        return held_files(self.location, self.holds, state)

    def _location_of(self, path: str) -> str:
        for snapshot in self.main["snapshots"]:
            if relative(self.location, snapshot["manifest-list"]) == path:
                return str(snapshot["manifest-list"])
        return f"{self.location}/{path}"


@dataclass(frozen=True, slots=True)
class Tail:
    """Blocks of one partition of the log that tables do not have yet: offsets in [first, next)."""

    topic: str
    partition: int
    first: int
    next: int


@dataclass(frozen=True, slots=True)
class Cut:
    """What stood at `at_ns`.

    is_between   no batch was under way
    """

    at_ns: int
    is_between: bool
    tables: dict[str, TableCut]
    state: Rows
    tails: list[Tail] = field(default_factory=list)


def take_cut(lake: Lake, log: Log | None, patience_s: float = PATIENCE_S) -> Cut:
    """Return a cut, if possible between batches, waiting `patience_s` for one. Raises CommitConflictError.

    log   the embedded log of the lake; None: the log is elsewhere and keeps itself (Kafka)
    """
    waiting = threading.Event()  # never set: a wait that ends by time alone
    waited = 0.0
    for _ in range(_ATTEMPTS):
        is_busy = bool(_writers(lake))
        if is_busy and waited < patience_s:
            waiting.wait(LOOK_S)
            waited += LOOK_S
            continue
        try:
            cut = _try_cut(lake, log, is_between=not is_busy)
        except NotFoundError:
            continue  # metadata that was read about and deleted before it was read: main has moved far
        if cut is not None and (cut.is_between or waited >= patience_s):
            return cut
    raise CommitConflictError("heads of tables moved at every look; no moment could be fixed")


def held_files(location: str, holds: list[dict[str, Any]], state: Rows) -> list[File]:
    """Return the files of holds, as the state rows describe them."""
    described = {row["key"]: json.loads(row["document"]) for row in state["documents"] if row["kind"] == "hold"}
    found = []
    for hold in holds:
        for entry in described.get(hold["id"], {}).get("files", ()):
            path = f"held/{safe_name(hold['id'])}/{entry['name']}"
            found.append(File(path, -1, f"{location}/{path}"))
    return found


def read_location(io: FileIO, location: str) -> bytes:
    """Return the bytes of a small file of a table. Raises NotFoundError."""
    try:
        with io.new_input(location).open() as stream:
            return bytes(stream.read())
    except FileNotFoundError as error:
        raise NotFoundError(f"{location} is gone") from error


def read_chunks(table: TableCut, file: File) -> Iterator[bytes]:
    """Yield the bytes of a file of a table. Raises NotFoundError."""
    try:
        with table.io.new_input(file.location).open() as stream:
            while chunk := stream.read(CHUNK_BYTES):
                yield bytes(chunk)
    except FileNotFoundError as error:
        raise NotFoundError(f"{file.location} is gone") from error


def tails_of(positions: Mapping[str, Mapping[str, Mapping[str, int]]], bounds: Mapping[str, Mapping[int, Bounds]]) -> list[Tail]:
    """Return what of the landed topics no table has. `positions`: table -> owner -> vector."""
    found = []
    for topic, by_partition in bounds.items():
        for partition, bound in sorted(by_partition.items()):
            first = max(bound.first, min(_landed(positions, topic, partition)))
            found.append(Tail(topic, partition, first, max(first, bound.next)))
    return found


def _landed(positions: Mapping[str, Mapping[str, Mapping[str, int]]], topic: str, partition: int) -> list[int]:
    """Return how far each table that a topic fills has come."""
    spaces = ("raw.",) if topic == RAW_TOPIC else ("ops.", "quality.")
    vectors = [owners.get(LANDED_OWNERS[topic], {}) for name, owners in positions.items() if name.startswith(spaces)]
    return [vector.get(str(partition), 0) for vector in vectors]


def _try_cut(lake: Lake, log: Log | None, *, is_between: bool) -> Cut | None:
    for name in TABLES:
        as_of.reconcile(lake, name)
    before = {name: lake.table(name) for name in TABLES}
    documents = {name: read_location(table.io, table.metadata_location) for name, table in before.items()}
    bounds = {} if log is None else {topic: log.bounds(topic) for topic in LANDED_OWNERS}
    at_ns = lake.clock() // NANOS_PER_MICRO * NANOS_PER_MICRO  # as a user can name it
    state = lake.state.dump()
    after = {name: lake.table(name).metadata_location for name in TABLES}
    if after != {name: table.metadata_location for name, table in before.items()}:
        return None
    tables = {}
    for name, table in before.items():
        main = main_only(json.loads(documents[name]))
        if main is None:
            raise CorruptedError(f"{name}: main's head is not among its snapshots at {table.metadata_location}")
        path = relative(main["location"], table.metadata_location)
        tables[name] = TableCut(name, path, documents[name], main, table.io)
    positions = {name: json.loads(table.summary[POSITION]) for name, table in tables.items()}
    return Cut(at_ns, is_between and not _writers(lake), tables, state, tails_of(positions, bounds))


def _writers(lake: Lake) -> list[str]:
    return [
        name
        for name, holder in lake.state.lease_holders().items()
        if not name.startswith(_NOT_WRITERS) and holder.condition() in ("running", "elsewhere")
    ]
