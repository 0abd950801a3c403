"""The sweep: deleting files that nothing refers to, in two phases, so that no reader and no writer misses one.

First a file is seen to be unreachable and the time is written down in state; a later sweep deletes it, once it has been
unreachable for longer than the oldest plan of a reader. A deletion by path is the one act that no assertion of the catalog
stops, so a sweep that deletes begins a new epoch first (lake/epochs.py): what it then cannot reach nobody can commit any more.
Before every batch the lease is read again, reachability is computed again, and a backup under way ends the sweep. What is not
named as we name files is reported and left alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from pyiceberg.table import Table as IcebergTable

from lake import files
from lake import iceberg_internals as internals
from lake.catalog import Lake
from lake.commits import ATTEMPTS, commit
from lake.durable import Place, listed, place_of
from lake.epochs import TAG, Epoch
from lake.errors import CommitConflictError
from lake.heads import ACT, Act
from lake.instants import NANOS_PER_SECOND
from lake.maintenance.archiving import archive_root
from lake.maintenance.rewriting import writers_lease

BACKUP_LEASE = "backup"
"""Held while a backup reads files that main may have left behind: nothing is deleted meanwhile."""
BATCH = 100
"""Files deleted between two looks at the lease."""
_DEAD = "dead"
_UUID = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_OURS = {
    "data": re.compile(r"(?:[A-Za-z0-9_.+-]+-)?[0-9a-f]{32}\.parquet\Z"),
    "held": re.compile(r"\d+-[0-9a-f]{32}\.parquet\Z"),
    "metadata": re.compile(rf"(?:\d{{5,}}-{_UUID}\.metadata\.json|snap-\d+-\d+-{_UUID}\.avro|{_UUID}-m\d+\.avro)\Z"),
}
"""How our own files are named, by folder."""


class Seen(NamedTuple):
    """A file in a folder of a table, as listed: names are never used again, so it stays true."""

    path: Place
    kind: str
    bytes: int
    written_ns: int


@dataclass(slots=True)
class Swept:
    """What a sweep of one table found and did.

    waiting    unreachable, and not long enough yet
    foreign    files of names that are not ours and that nothing refers to: left alone
    stopped    why it ended early
    """

    dead_files: int = 0
    dead_bytes: int = 0
    deleted_files: int = 0
    deleted_bytes: int = 0
    foreign: list[str] = field(default_factory=list)
    stopped: str | None = None

    @property
    def waiting(self) -> int:
        """Dead files that stay for now."""
        return self.dead_files - self.deleted_files


def sweep(lake: Lake, name: str, after_s: float, token: str, *, lease: str, plan_only: bool = False) -> Swept:
    """Write down what is unreachable, delete what has been for `after_s` and is as old; call it under `lease`, taken as `token`.

    plan_only   neither writes down nor deletes
    """
    done = Swept()
    now_ns = lake.clock()
    found = list(_listed(lake, lake.table(name)))
    lake.steps.reached("sweep.listed")
    # Listed before the table is loaded: what is committed in between is reachable.
    seen = lake.table(name)
    dead = _unreachable(lake, seen, found, done)
    since = dict((lake.state.document(_DEAD, name) or {}).items())
    first_seen = {str(one.path): min(int(since.get(str(one.path), now_ns)), now_ns) for one in dead}
    done.dead_files, done.dead_bytes = len(dead), sum(one.bytes for one in dead)
    if plan_only:
        return done
    if first_seen != since:
        lake.state.save_document(_DEAD, name, first_seen)
    limit_ns = now_ns - int(after_s * NANOS_PER_SECOND)
    due = [one for one in dead if first_seen[str(one.path)] <= limit_ns and one.written_ns <= limit_ns]
    if due:
        done.stopped = _why_not(lake, lease, token) or _epoch_begun(lake, name)
        if done.stopped is not None:
            return done
    for start in range(0, len(due), BATCH):
        batch = due[start : start + BATCH]
        done.stopped = _why_not(lake, lease, token)
        if done.stopped is not None:
            break
        seen = lake.table(name)
        still = _unreachable(lake, seen, batch, Swept())
        lake.steps.reached("sweep.decided")
        files.delete_paths(one.path for one in still)
        done.deleted_files += len(still)
        done.deleted_bytes += sum(one.bytes for one in still)
        gone = {str(one.path) for one in still}
        first_seen = {path: at_ns for path, at_ns in first_seen.items() if path not in gone}
        lake.state.save_document(_DEAD, name, first_seen)
        lake.steps.reached("sweep.deleted")
    _drop_empty_holds(lake, seen, limit_ns)
    return done


def reachable(lake: Lake, iceberg: IcebergTable) -> set[Place]:
    """Return every file that any snapshot, branch or the metadata log of a table as loaded refers to."""
    metadata = iceberg.metadata
    found = {iceberg.metadata_location, *(entry.metadata_file for entry in metadata.metadata_log)}
    found |= {one.statistics_path for one in (*metadata.statistics, *metadata.partition_statistics)}
    manifests = {}
    for snapshot in metadata.snapshots:
        found.add(snapshot.manifest_list)
        manifests.update({manifest.manifest_path: manifest for manifest in snapshot.manifests(iceberg.io)})
    for path, manifest in manifests.items():
        found.add(path)
        found |= {entry.data_file.file_path for entry in manifest.fetch_manifest_entry(iceberg.io, discard_deleted=True)}
    return {place_of(location) for location in found}


def _listed(lake: Lake, iceberg: IcebergTable) -> Iterator[Seen]:
    """Return every file in the folders of a table, the archive's included."""
    own = place_of(iceberg.location())
    folders: list[tuple[Place, str]] = [(own / kind, kind) for kind in _OURS]
    archive = archive_root(lake.settings, ".".join(iceberg.name()))
    if archive is not None:
        folders.append((archive, "data"))
    for folder, kind in folders:
        yield from (Seen(path, kind, size, written_ns) for path, size, written_ns in listed(folder))


def _unreachable(lake: Lake, seen: IcebergTable, found: Sequence[Seen], told: Swept) -> list[Seen]:
    """Return those of some files that nothing refers to and that are named as ours; foreign ones are told."""
    name = ".".join(seen.name())
    known = reachable(lake, seen)
    held = {files.safe_name(str(entry["id"])) for entry in lake.head_of(name, seen).listed_holds}
    dead = []
    for one in found:
        if one.path in known or (one.kind == "held" and one.path.parent.name in held):
            continue
        if _OURS[one.kind].fullmatch(one.path.name):
            dead.append(one)
        else:
            told.foreign.append(str(one.path))
    return dead


def _epoch_begun(lake: Lake, name: str) -> str | None:
    """Begin a new epoch of a table in place of the last one; return why it could not be, or None.

    Under the lease of the table's writers, so that none of them has to begin again: correctness does not need that.
    """
    try:
        with lake.state.lease(writers_lease(name)):
            begin_epoch(lake, name)
    except CommitConflictError as error:
        return str(error)
    lake.steps.reached("sweep.epoch")
    return None


def begin_epoch(lake: Lake, name: str) -> None:
    """Begin a new epoch: commits of files whose writing began before it fail from now on. Raises CommitConflictError."""
    for _ in range(ATTEMPTS):
        seen = lake.table(name)
        last = Epoch.of(seen)
        before = None if last.snapshot_id is None else seen.metadata.snapshot_by_id(last.snapshot_id)
        # All epochs share one empty list: a sweep leaves nothing for the next one.
        produced = internals.produce_alone(seen, {ACT: Act.EPOCH}, before)
        forgotten = [] if before is None else [internals.forget([before.snapshot_id])]
        try:
            commit(
                lake,
                name,
                seen,
                [last.lasts()],
                [*produced.updates, internals.tag(TAG, produced.snapshot_id), *forgotten],
                lambda now, wanted=produced.snapshot_id: TAG in now.refs and now.refs[TAG].snapshot_id == wanted,  # type: ignore[misc]
            )
        except CommitConflictError:
            produced.clean()
            lake.state.leases.check()
            continue
        return
    raise CommitConflictError(f"{name}: {ATTEMPTS} attempts to begin an epoch met somebody else's commit")


def _why_not(lake: Lake, lease: str, token: str) -> str | None:
    """Return why nothing may be deleted now, or None."""
    if not lake.state.still_holds(lease, token):
        return "the lease was lost to another process"
    backup = lake.state.lease_holder(BACKUP_LEASE)
    if backup is not None and backup.condition() != "dead":
        return f"a backup is under way (process {backup.pid})"
    return None


def _drop_empty_holds(lake: Lake, seen: IcebergTable, limit_ns: int) -> None:
    """Remove folders of holds that are empty and old; one that is being filled is new. An object store has no folders."""
    held = place_of(seen.location()) / "held"
    for folder in sorted(held.iterdir()) if isinstance(held, Path) and held.is_dir() else []:
        if folder.is_dir() and folder.stat().st_mtime_ns <= limit_ns and not any(folder.iterdir()):
            folder.rmdir()
