"""Backup: incremental by content, of one moment, beside a running pipeline.

A file is read once in its life: names are never used again, so what the backup before has under the same path is there.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from hashlib import sha256

from lake.backup.checking import hashed
from lake.backup.cuts import PATIENCE_S, Cut, TableCut, Tail, read_chunks, take_cut
from lake.backup.documents import (
    Backup,
    Listing,
    TableBackup,
    TailBackup,
    listing_of,
    newest_backup,
    object_key,
    packed,
    put_object,
    save_backup,
)
from lake.backup.pins import LEASE, pinned
from lake.backup.stores import Store
from lake.backup.tails import pack_blocks
from lake.backup.trees import File, content_of
from lake.catalog import Lake
from lake.errors import CommitConflictError, CorruptedError, NotFoundError, SettingsError
from lake.heads import POSITION
from lake.identity import Identity, fence, named_identity
from lake.instants import NANOS_PER_SECOND, to_datetime
from lake.log.log import Log

LAST = "backup:last"
"""Job document: the last backup made."""
_ATTEMPTS = 5
_TAIL_BYTES = 8 << 20
COVERS = "every block not yet landed is in the backup; topics of consumers are not: they are published again from tables"
NOT_OURS = "the log is on Kafka, which keeps itself: positions are in the backup, blocks are not"


@dataclass(slots=True)
class _Work:
    """One run: what was there before, and what was added."""

    lake: Lake
    store: Store
    before: Backup | None
    is_full: bool = False
    objects: int = 0
    size: int = 0

    def keep(self, data: bytes) -> str:
        """Keep a small object; return its hash."""
        digest, is_new = put_object(self.store, data)
        self.count(len(data), is_new)
        return digest

    def count(self, size: int, is_new: bool) -> None:
        """Count what was added."""
        if is_new:
            self.objects += 1
            self.size += size
            self.lake.steps.reached("backup.objects")


def back_up(lake: Lake, store: Store, log: Log | None, patience_s: float = PATIENCE_S, *, is_full: bool = False) -> Backup:
    """Make a backup and return it; a run that was killed left objects, which this one finds.

    log       the embedded log; None: the log is on Kafka
    is_full   read every file again, which puts back what the store lost

    Raises SettingsError when the store holds backups of another lake, or of a later generation of this one (which fences
    this lake), StorageError when the store is full or out of reach: nothing half done counts.
    """
    with lake.state.lease(LEASE):
        mine = named_identity(lake.state)
        before = _before(lake, store, mine)
        store.tidy()
        started_ns = lake.clock()
        work = _Work(lake, store, before, is_full)
        for _ in range(_ATTEMPTS):
            cut = take_cut(lake, log, patience_s)
            try:
                with pinned(lake, LEASE, cut):
                    lake.steps.reached("backup.pinned")
                    made = _backed_up(work, cut, log, mine)
            except NotFoundError:
                continue  # a hold was released, or the log dropped what has landed since: another moment
            made = replace(made, seconds=(lake.clock() - started_ns) / NANOS_PER_SECOND)
            save_backup(store, made)
            lake.steps.reached("backup.listed")
            lake.state.save_job(LAST, {"id": made.id, "at_ns": made.at_ns, "to": store.address})
            return made
    raise CommitConflictError(f"files of {_ATTEMPTS} moments in a row were gone before they were read")


def _before(lake: Lake, store: Store, mine: Identity) -> Backup | None:
    """Return the backup before. Raises SettingsError when this lake has no business in this store."""
    try:
        found = newest_backup(store)
    except NotFoundError:
        return None
    if found.lake_id != mine.lake_id:
        raise SettingsError(f"{store.address} holds backups of another lake ({found.lake_id}); one store for one lake")
    if found.epoch > mine.epoch:
        fence(lake.state, replace(mine, epoch=found.epoch), store.address)
        raise SettingsError(
            f"{store.address} holds backups of generation {found.epoch}; this is {mine.epoch}, which was replaced"
        )
    return found


def _backed_up(work: _Work, cut: Cut, log: Log | None, mine: Identity) -> Backup:
    tails = [_kept_tail(work, tail, log) for tail in cut.tails if log is not None]
    tables = {name: _kept_table(work, table, cut) for name, table in cut.tables.items()}
    moment = to_datetime(cut.at_ns)
    return Backup(
        id=f"{moment:%Y%m%dT%H%M%S.%fZ}",
        lake_id=mine.lake_id,
        epoch=mine.epoch,
        at_ns=cut.at_ns,
        is_between=cut.is_between,
        tables=tables,
        state=work.keep(packed(cut.state)),
        tails=tails,
        log=NOT_OURS if log is None else COVERS,
        new_objects=work.objects,
        new_bytes=work.size,
        previous=None if work.before is None else work.before.id,
    )


def _kept_table(work: _Work, table: TableCut, cut: Cut) -> TableBackup:
    known = _known(work, table)
    tree = table.tree()
    listing: Listing = {}
    # What may be deleted first is read first: a hold that is released takes its files along.
    for file in [*table.held(cut.state), *tree.files.values()]:
        listing[file.path] = known.get(file.path) or _kept_file(work, table, file)
    listing[table.metadata_path] = (work.keep(table.metadata_bytes), len(table.metadata_bytes))
    head = tree.heads[table.main["current-snapshot-id"]]
    rows = sorted([path, digest, size] for path, (digest, size) in listing.items())
    return TableBackup(
        uuid=table.main["table-uuid"],
        location=table.location,
        metadata=table.metadata_path,
        snapshot_id=table.main["current-snapshot-id"],
        rows=int(table.summary.get("total-records", "0")),
        position=json.loads(table.summary[POSITION]),
        holds=table.holds,
        files=len(listing),
        bytes=sum(size for _, size in listing.values()),
        content=content_of(head, {path: digest for path, (digest, _) in listing.items()}),
        listing=work.keep(packed(rows)),
    )


def _known(work: _Work, table: TableCut) -> Listing:
    """Return what the backup before has of this table and what has not changed since.

    A restore into another place writes metadata again, under the same names, with its own addresses.
    """
    before = None if work.before is None else work.before.tables.get(table.name)
    if before is None or work.is_full or before.uuid != table.main["table-uuid"]:
        return {}
    listing = listing_of(work.store, before)
    if before.location == table.location:
        return listing
    return {path: kept for path, kept in listing.items() if not path.startswith("metadata/")}


def _kept_file(work: _Work, table: TableCut, file: File) -> tuple[str, int]:
    """Keep a file of a table; return its hash and size. Read twice, for its name is its hash, and checked the second time."""
    found, size = sha256(), 0
    try:
        for chunk in read_chunks(table, file):
            found.update(chunk)
            size += len(chunk)
        if file.size not in (-1, size):
            raise CorruptedError(f"{file.location} has {size} bytes; its manifest says {file.size}")
        digest = found.hexdigest()
        again = hashed(read_chunks(table, file), digest, file.location)
        work.count(size, work.store.put(object_key(digest), again, size))
    except FileNotFoundError as error:
        raise NotFoundError(f"{file.location} is gone") from error
    return digest, size


def _kept_tail(work: _Work, tail: Tail, log: Log) -> TailBackup:
    objects = []
    offset = tail.first
    while offset < tail.next:
        batch = log.read(tail.topic, tail.partition, offset, _TAIL_BYTES, 0.0)
        blocks = [(found, block) for found, block in batch.blocks if found < tail.next]
        objects.append(work.keep(pack_blocks(blocks)))
        offset = batch.next_offset
    return TailBackup(tail.topic, tail.partition, tail.first, tail.next, objects)
