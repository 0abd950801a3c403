"""Audit branches: where an increment waits, seen by nobody, until the gate has judged it."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field

import pyarrow as pa
from pyiceberg.manifest import DataFile
from pyiceberg.table.metadata import TableMetadata

from lake import files
from lake import iceberg_internals as internals
from lake.catalog import MAIN, Lake
from lake.commits import ATTEMPTS, Plan, commit, is_on_main, kept_if_committed
from lake.epochs import Epoch
from lake.errors import CommitConflictError, CommitUnknownError
from lake.heads import Act, Hold
from lake.tables import table_named
from lake.values import MessageRange, Vector

BRANCH_PREFIX = "audit-"


@dataclass(frozen=True, slots=True)
class Increment:
    """What one batch adds to one table, and the offsets of its owner that it settles.

    run_id    names this batch of this table alone, never two; where the table has a column run_id, the rows say the same
    ranges    the messages read, one range a capture: facts of a table without run_id are found by them later
    counts    what went in, came out, was quarantined: kept in the snapshot's summary
    """

    table: str
    owner: str
    rows: pa.Table
    before: Vector
    after: Vector
    run_id: str
    ranges: tuple[MessageRange, ...] = ()
    counts: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Staged:
    """An increment on its audit branch: durable, and seen by nobody."""

    increment: Increment
    act: Act
    snapshot_id: int
    branch: str
    base: int
    data_files: tuple[DataFile, ...]
    is_overwrite: bool
    hold: Hold | None = None

    @property
    def files(self) -> list[str]:
        """Where the increment's own files are: local paths, or locations in an object store."""
        return [str(path) for path in files.paths_of(self.data_files)]


def put_on_branch(
    lake: Lake,
    increment: Increment,
    act: Act,
    written: Sequence[DataFile],
    replaced: Sequence[DataFile],
    plan: Plan,
    begun_in: Epoch,
    hold: Hold | None = None,
) -> Staged:
    """Make snapshot and branch in one commit, planned anew on each conflict. Deletes `written` when it surely failed.

    begun_in    the table's epoch before the first of `written` was
    """
    table = increment.table
    branch = f"{BRANCH_PREFIX}{uuid.uuid4().hex}"
    with kept_if_committed(table, written):
        for _ in range(ATTEMPTS):
            seen = lake.table(table)
            head = lake.head_of(table, seen)
            summary = plan(head)
            begun_in.check(seen)
            produced = internals.produce(seen, written, replaced, summary)
            lake.steps.reached("commit.prepared")
            try:
                commit(
                    lake,
                    table,
                    seen,
                    [internals.points_to(MAIN, head.snapshot_id), internals.points_to(branch, None), begun_in.lasts()],
                    [*produced.updates, internals.point(branch, produced.snapshot_id)],
                    lambda metadata: branch in metadata.refs,
                )
            except CommitConflictError:
                produced.clean()
                lake.state.leases.check()
                continue
            return Staged(increment, act, produced.snapshot_id, branch, head.snapshot_id, tuple(written), bool(replaced), hold)
        raise CommitConflictError(f"{table}: {ATTEMPTS} stages in a row met somebody else's commit; is there a second writer?")


def read_staged(lake: Lake, staged: Staged) -> pa.Table:
    """Return the increment's rows read back from the staged files: what would be published, not what was meant to be."""
    return files.read_files(table_named(staged.increment.table), files.paths_of(staged.data_files))


def discard(lake: Lake, staged: Staged) -> None:
    """Drop the audit branch, then delete the increment's files; a branch that is not ours any more leaves them alone."""
    if drop_branch(lake, staged.increment.table, staged.branch, staged.snapshot_id):
        files.delete_paths(files.paths_of(staged.data_files))


def drop_branch(lake: Lake, table: str, branch: str, snapshot_id: int) -> bool:
    """Drop a branch that points to `snapshot_id`; return whether this call did and read it back."""
    for _ in range(ATTEMPTS):
        seen = lake.table(table)
        if branch not in seen.metadata.refs or seen.metadata.refs[branch].snapshot_id != snapshot_id:
            return False
        try:
            commit(
                lake,
                table,
                seen,
                [internals.points_to(branch, snapshot_id)],
                [internals.drop(branch)],
                lambda metadata: branch not in metadata.refs,
            )
        except CommitConflictError:
            lake.state.leases.check()
            continue
        now = lake.table(table).metadata
        return branch not in now.refs and not is_on_main(now, snapshot_id)
    raise CommitConflictError(f"{table}: branch {branch} could not be dropped in {ATTEMPTS} attempts")


def has_branches(lake: Lake, table: str) -> bool:
    """Return whether a table has audit branches: of a run that goes on, or left by a dead one."""
    return any(branch.startswith(BRANCH_PREFIX) for branch in lake.table(table).metadata.refs)


def clean_dead_branches(lake: Lake, table: str) -> int:
    """Drop the audit branches that dead runs left; return how many. Call at start, under the table's lease.

    Main never moved for them, so their offsets are read again. Their files are deleted: no reader ever planned a branch.
    """
    seen = lake.table(table)
    count = 0
    for branch, ref in list(seen.metadata.refs.items()):
        if not branch.startswith(BRANCH_PREFIX):
            continue
        known = {file.file_path for file in internals.files_of(seen, _main_of(seen.metadata))}
        own = [file for file in internals.files_added_by(seen, ref.snapshot_id) if file.file_path not in known]
        if drop_branch(lake, table, branch, ref.snapshot_id):
            files.delete_paths(files.paths_of(own))
            count += 1
    return count


def _main_of(metadata: TableMetadata) -> int:
    if metadata.current_snapshot_id is None:
        raise CommitUnknownError(f"table at {metadata.location} has no main")
    return metadata.current_snapshot_id
