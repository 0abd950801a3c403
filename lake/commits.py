"""Commits: every change of a table passes here, as a compare-and-set on main and on the owner's position.

A conflict (somebody else's commit came first) is certain not to have landed: own files are deleted and the check starts
again. Any other error leaves the outcome unknown: nothing is deleted, the table is looked at.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import pyarrow as pa
import pyarrow.compute as pc
from pyiceberg.exceptions import CommitFailedException, ValidationException
from pyiceberg.manifest import DataFile
from pyiceberg.table import Table as IcebergTable
from pyiceberg.table.metadata import TableMetadata
from pyiceberg.table.update import TableRequirement, TableUpdate

from lake import as_of, files
from lake import iceberg_internals as internals
from lake.catalog import LANDED, MAIN, Lake
from lake.durable import told_of
from lake.epochs import Epoch
from lake.errors import CommitConflictError, CommitUnknownError, InvalidValueError
from lake.heads import ACT, COUNTS, HOLDS, INTERVAL, POSITION, RANGES, RUN, Act, Head, compact, ranges_text, same_vector
from lake.identity import check_writable
from lake.tables import PublishedBy, Table, table_named
from lake.values import MessageRange, Vector

ATTEMPTS = 50
"""Conflicts in a row after which a commit gives up; each means that another writer did get through."""

Summary = dict[str, str]
Plan = Callable[[Head], Summary]
"""Checks main's head and returns the summary of the next snapshot; raises when the commit may not be made any more."""
Producer = Callable[[IcebergTable, Sequence[DataFile], Sequence[DataFile], Summary], internals.Produced]


def append(
    lake: Lake,
    table: str,
    rows: pa.Table,
    owner: str,
    before: Vector,
    after: Vector,
    run_id: str,
    ranges: Sequence[MessageRange] = (),
    counts: Mapping[str, int] | None = None,
) -> int | None:
    """Append rows to main if main's position for `owner` is `before`; return the snapshot's id.

    Without rows the position moves all the same; without rows and movement nothing is done and None returned.
    Raises CommitConflictError when the position is not `before` (these offsets belong to somebody else: reload),
    CommitUnknownError when it is not known whether the commit landed, InvalidValueError for rows the table cannot take,
    StorageError when disk or store refuse: nothing was committed.
    """
    definition = table_named(table)
    if rows.num_rows == 0 and same_vector(before, after):
        return None
    conformed = files.conform(definition, rows)
    check_vectors(before, after)
    check_rows(definition, conformed, run_id, ranges)
    plan = moving_plan(Act.APPEND if rows.num_rows else Act.ADVANCE, owner, before, after, run_id, ranges, counts or {})
    seen = lake.table(table)
    head = lake.head_of(table, seen)
    plan(head)
    if rows.num_rows:
        check_run(lake, definition, head, run_id)
    prefix = "land" if table == LANDED else "append"
    written = files.write_files(seen, definition, conformed)
    lake.steps.reached(f"{prefix}.files")
    snapshot_id = commit_to_main(lake, table, written, plan, Epoch.of(seen))
    lake.steps.reached(f"{prefix}.committed")
    return snapshot_id


def commit_to_main(
    lake: Lake,
    table: str,
    written: Sequence[DataFile],
    plan: Plan,
    begun_in: Epoch | None,
    extra: Callable[[], tuple[Sequence[TableRequirement], Sequence[TableUpdate]]] | None = None,
    replaced: Sequence[DataFile] = (),
    produce: Producer = internals.produce,
) -> int:
    """Put a snapshot with `written` in place of `replaced` on main, planned anew on each conflict; return its id.

    begun_in    the table's epoch before the first of the new files was written; None: nothing was written before

    See `append` for errors; a file to replace that is not on main any more is a CommitConflictError. When it surely did
    not land, the data files are deleted.
    """
    with kept_if_committed(table, written):
        for _ in range(ATTEMPTS):
            seen = lake.table(table)
            head = lake.head_of(table, seen)
            summary = plan(head)
            epoch = begun_in or Epoch.of(seen)
            epoch.check(seen)
            produced = produce(seen, written, replaced, summary)
            requirements, updates = extra() if extra else ((), ())
            lake.steps.reached("commit.prepared")
            if table == LANDED:
                updates = (*updates, internals.set_property(POSITION, summary[POSITION]))
            try:
                commit(
                    lake,
                    table,
                    seen,
                    [internals.points_to(MAIN, head.snapshot_id), epoch.lasts(), *requirements],
                    [*produced.updates, internals.point(MAIN, produced.snapshot_id), *updates],
                    lambda metadata, wanted=produced.snapshot_id: is_on_main(metadata, wanted),  # type: ignore[misc]
                )
            except CommitConflictError:
                produced.clean()
                lake.state.leases.check()
                continue
            return produced.snapshot_id
        raise CommitConflictError(f"{table}: {ATTEMPTS} commits in a row met somebody else's; is there a second writer?")


@contextmanager
def kept_if_committed(table: str, written: Sequence[DataFile]) -> Iterator[None]:
    """Delete new data files where their commit surely did not land; where nobody knows (CommitUnknownError), keep them.

    Raises CommitConflictError when a file to replace is not on main any more, StorageError when manifests cannot be written.
    """
    try:
        with told_of(f"{table}: writing what a commit needs"):
            yield
    except CommitUnknownError:
        raise
    except ValidationException as error:
        files.give_up(files.paths_of(written))
        raise CommitConflictError(f"{table}: a file to replace is not on main any more: {error}") from error
    except Exception:
        files.give_up(files.paths_of(written))
        raise


def commit(
    lake: Lake,
    table: str,
    seen: IcebergTable,
    requirements: Iterable[TableRequirement],
    updates: Iterable[TableUpdate],
    has_landed: Callable[[TableMetadata], bool],
) -> TableMetadata:
    """Commit once; return the table's metadata after it.

    Raises CommitConflictError when it surely did not land, CommitUnknownError when that is not known. On every error looks
    whether it did, and returns when so. A conflict may be one with itself, when something on the way to a catalog sent the
    commit twice: then the snapshots that it adds are there. SettingsError: this lake is a replica, or was replaced by one.
    """
    check_writable(lake.state)
    fences, wanted = lake.fences(), list(updates)
    try:
        return internals.commit(seen, [*fences, *requirements], wanted).metadata
    except Exception as error:
        try:
            metadata = lake.table(table).metadata
        except Exception as blind:
            words = f"{type(error).__name__}: {error}; nor could it be looked at: {blind}"
            raise CommitUnknownError(f"{table}: commit failed with {words}") from error
        # A snapshot added on any branch since loading shows as a ValueError about sequence numbers.
        is_conflict = isinstance(error, CommitFailedException) or (
            isinstance(error, ValueError) and "sequence number" in str(error)
        )
        if internals.has_snapshots_of(metadata, wanted) if is_conflict else has_landed(metadata):
            return metadata
        if is_conflict:
            raise CommitConflictError(f"{table}: {error}") from error
        raise CommitUnknownError(f"{table}: commit failed with {type(error).__name__}: {error}; it is not to be seen") from error


def is_on_main(metadata: TableMetadata, snapshot_id: int) -> bool:
    """Return whether a snapshot is, or was lately, the head of main."""
    return any(entry.snapshot_id == snapshot_id for entry in metadata.snapshot_log)


def moving_plan(
    act: Act, owner: str, before: Vector, after: Vector, run_id: str, ranges: Sequence[MessageRange], counts: Mapping[str, int]
) -> Plan:
    """Return the plan of a commit that moves the owner's position from `before` to `after` and keeps everything else."""

    def plan(head: Head) -> Summary:
        if not same_vector(head.vector(owner), before):
            raise CommitConflictError(f"{head.table}: {owner} is at {head.vector(owner)}, not at {before}; reload and rebuild")
        return {
            POSITION: compact({**head.position, owner: after}),
            HOLDS: compact(head.listed_holds),
            **told(act, owner, before, after, run_id, ranges, counts),
        }

    return plan


def told(
    act: Act, owner: str, before: Vector, after: Vector, run_id: str, ranges: Sequence[MessageRange], counts: Mapping[str, int]
) -> Summary:
    """Return the part of a summary that tells what this one snapshot did; the ledger is made from it."""
    return {
        ACT: act.value,
        RUN: run_id,
        INTERVAL: compact({"owner": owner, "before": before, "after": after}),
        RANGES: ranges_text(ranges),
        COUNTS: compact(dict(counts)),
    }


def check_vectors(before: Vector, after: Vector) -> None:
    """Refuse a vector that forgets a partition. Raises InvalidValueError."""
    lost = set(before) - set(after)
    if lost:
        raise InvalidValueError(f"position after {after} forgets partitions {sorted(lost)} of {before}")


def check_rows(table: Table, rows: pa.Table, run_id: str, ranges: Sequence[MessageRange]) -> None:
    """Refuse rows that the publication ledger could not find again. Raises InvalidValueError."""
    if rows.num_rows == 0:
        return
    if table.published_by is PublishedBy.RUN:
        runs = pc.unique(rows.column("run_id")).to_pylist()
        if runs != [run_id]:
            raise InvalidValueError(f"{table.name}: rows say run_id {runs[:5]}, the batch is {run_id!r}")
    if table.published_by is PublishedBy.MESSAGE:
        bounds = rows.select(["capture_id", "message_seq"]).group_by("capture_id")
        for row in bounds.aggregate([("message_seq", "min"), ("message_seq", "max")]).to_pylist():
            for seq in (row["message_seq_min"], row["message_seq_max"]):
                if not any(one.capture_id == row["capture_id"] and one.first_seq <= seq <= one.last_seq for one in ranges):
                    raise InvalidValueError(f"{table.name}: message {row['capture_id']}:{seq} is in no range of the batch")


def check_run(lake: Lake, table: Table, head: Head, run_id: str) -> None:
    """Refuse a second batch under a run's name: its rows could not be told apart in time. Raises InvalidValueError."""
    if table.published_by is not PublishedBy.RUN:
        return
    if any(entry["run"] == run_id for entry in head.listed_holds) or as_of.has_published(lake, table.name, run_id):
        raise InvalidValueError(f"{table.name}: run {run_id!r} has published or held rows already; a run names one batch")
