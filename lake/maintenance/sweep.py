"""The sweep: deleting files that nothing refers to, in two phases, so that no reader and no writer misses one.

First a file is seen to be unreachable and the time is written down in state; a later sweep deletes it, once it has been
unreachable for longer than the oldest plan of a reader and is older than any commit under way. A deletion by path is the one
act that no assertion of the catalog stops, so before every batch the lease is read again, reachability is computed again, and
a backup under way ends the sweep. What is not named as we name files is reported and left alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pyiceberg.table import Table as IcebergTable

from lake import files
from lake.catalog import Lake
from lake.durable import local_path
from lake.instants import NANOS_PER_SECOND
from lake.maintenance.archiving import archive_root

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
    listed = list(_listed(lake, lake.table(name)))
    lake.steps.reached("sweep.listed")
    # Listed before the table is loaded: what is committed in between is reachable.
    seen = lake.table(name)
    dead = _unreachable(lake, seen, listed, done)
    since = dict((lake.state.document(_DEAD, name) or {}).items())
    first_seen = {str(path): min(int(since.get(str(path), now_ns)), now_ns) for path in dead}
    done.dead_files, done.dead_bytes = len(dead), sum(dead.values())
    if plan_only:
        return done
    if first_seen != since:
        lake.state.save_document(_DEAD, name, first_seen)
    limit_ns = now_ns - int(after_s * NANOS_PER_SECOND)
    due = [path for path in dead if first_seen[str(path)] <= limit_ns and _written_ns(path) <= limit_ns]
    for start in range(0, len(due), BATCH):
        batch = due[start : start + BATCH]
        done.stopped = _why_not(lake, lease, token)
        if done.stopped is not None:
            break
        seen = lake.table(name)
        still = _unreachable(lake, seen, [(path, kind) for path, kind in listed if path in set(batch)], Swept())
        files.delete_paths(still)
        done.deleted_files += len(still)
        done.deleted_bytes += sum(still.values())
        first_seen = {path: at for path, at in first_seen.items() if Path(path) not in still}
        lake.state.save_document(_DEAD, name, first_seen)
        lake.steps.reached("sweep.deleted")
    _drop_empty_holds(lake, seen, limit_ns)
    return done


def reachable(lake: Lake, iceberg: IcebergTable) -> set[Path]:
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
    return {local_path(location) for location in found}


def _listed(lake: Lake, iceberg: IcebergTable) -> Iterator[tuple[Path, str]]:
    """Return (path, kind) of every file in the folders of a table, the archive's included."""
    own = local_path(iceberg.location())
    folders = [(own / kind, kind) for kind in _OURS]
    archive = archive_root(lake.settings, ".".join(iceberg.name()))
    if archive is not None:
        folders.append((archive, "data"))
    for folder, kind in folders:
        yield from ((path, kind) for path in sorted(folder.rglob("*")) if path.is_file())


def _unreachable(lake: Lake, seen: IcebergTable, listed: Sequence[tuple[Path, str]], told: Swept) -> dict[Path, int]:
    """Return path -> bytes of the listed files that nothing refers to and that are named as ours; foreign ones are told."""
    name = ".".join(seen.name())
    known = reachable(lake, seen)
    held = {files.safe_name(str(entry["id"])) for entry in lake.head_of(name, seen).listed_holds}
    dead: dict[Path, int] = {}
    for path, kind in listed:
        if path in known or (kind == "held" and path.parent.name in held):
            continue
        if not _OURS[kind].fullmatch(path.name):
            told.foreign.append(str(path))
            continue
        try:
            dead[path] = path.stat().st_size
        except FileNotFoundError:
            continue  # deleted meanwhile by the process that wrote it
    return dead


def _why_not(lake: Lake, lease: str, token: str) -> str | None:
    """Return why nothing may be deleted now, or None."""
    if not lake.state.still_holds(lease, token):
        return "the lease was lost to another process"
    backup = lake.state.lease_holder(BACKUP_LEASE)
    if backup is not None and backup.condition() != "dead":
        return f"a backup is under way (process {backup.pid})"
    return None


def _written_ns(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except FileNotFoundError:
        return 1 << 62


def _drop_empty_holds(lake: Lake, seen: IcebergTable, limit_ns: int) -> None:
    """Remove folders of holds that are empty and old; one that is being filled is new."""
    held = local_path(seen.location()) / "held"
    for folder in sorted(held.iterdir()) if held.is_dir() else []:
        if folder.is_dir() and folder.stat().st_mtime_ns <= limit_ns and not any(folder.iterdir()):
            folder.rmdir()
