"""Write, audit, publish: an increment waits on a branch of its own until the gate has judged it.

*Stage* makes snapshot and branch in one commit, *publish* points main to it and drops the branch in another, each
asserting what it rests on. A refused increment is *held*: its files are linked aside, main passes its offsets and lists
it, the feed goes on. Main's summary decides what is held; the state database describes it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import pyarrow as pa
from pyiceberg.manifest import DataFile
from pyiceberg.table.update import TableRequirement, TableUpdate

from lake import as_of, files
from lake import iceberg_internals as internals
from lake.catalog import MAIN, Lake
from lake.commits import (
    Plan,
    Summary,
    append,
    check_rows,
    check_run,
    check_vectors,
    commit,
    commit_to_main,
    is_on_main,
    moving_plan,
    told,
)
from lake.epochs import Epoch
from lake.errors import CommitConflictError, InvalidValueError, NotFoundError
from lake.heads import HELD_RUN, HOLDS, POSITION, REBUILD, Act, Head, Hold, compact
from lake.instants import EPOCH
from lake.staging import Increment, Staged, clean_dead_branches, discard, put_on_branch, read_staged
from lake.tables import table_named
from lake.values import MessageRange, Vector

_LONG_NAME = 120
"""Offsets of a hold longer than this are told by their digest: a file system takes 255 bytes a name."""

__all__ = [
    "Hold",
    "Increment",
    "Publication",
    "Staged",
    "advance",
    "clean_dead_branches",
    "discard",
    "held_rows",
    "hold",
    "publish",
    "read_staged",
    "reject",
    "replace_all",
    "replace_all_by",
    "stage",
    "stage_release",
]


@dataclass(frozen=True, slots=True)
class Publication:
    """A snapshot that became main. `published_at` is what the ledger says, UTC."""

    run_id: str
    snapshot_id: int
    published_at: datetime


def stage(lake: Lake, increment: Increment, replace_files: Sequence[DataFile] = ()) -> Staged:
    """Write an increment to a branch of its own; main does not move.

    replace_files   files of main that the increment's rows stand in for (a table that is rewritten, not appended)

    Raises CommitConflictError when main's position for the owner is not `before`, or a file to replace is gone;
    InvalidValueError for rows the table cannot take or a run id used before.
    """
    definition = table_named(increment.table)
    rows = files.conform(definition, increment.rows)
    check_vectors(increment.before, increment.after)
    if not replace_files:
        check_rows(definition, rows, increment.run_id, increment.ranges)
    act = Act.PUBLISH if rows.num_rows or replace_files else Act.ADVANCE
    plan = moving_plan(
        act, increment.owner, increment.before, increment.after, increment.run_id, increment.ranges, increment.counts
    )
    seen = lake.table(increment.table)
    head = lake.head_of(increment.table, seen)
    plan(head)
    check_run(lake, definition, head, increment.run_id)
    written = files.write_files(seen, definition, rows)
    lake.steps.reached("publish.files")
    staged = put_on_branch(lake, increment, act, written, replace_files, plan, Epoch.of(seen))
    lake.steps.reached("publish.staged")
    return staged


def replace_all(lake: Lake, table: str, rows: pa.Table, run_id: str, base: int) -> Staged:
    """Stage `rows` in place of everything in the table, positions and holds unchanged; audit, then `publish` as ever.

    base    main's snapshot that the rows were computed from: a main that moved since is a CommitConflictError

    The rows keep the run ids and message numbers they were first published with, so the ledger goes on telling when; the
    rebuild's own snapshot is not booked.
    """
    definition = table_named(table)
    conformed = files.conform(definition, rows)
    _rebuild_plan(run_id, base, rows.num_rows)(lake.head(table))
    seen = lake.table(table)
    written = files.write_files(seen, definition, conformed)
    return replace_all_by(lake, table, written, rows.num_rows, run_id, base, Epoch.of(seen))


def replace_all_by(
    lake: Lake, table: str, written: Sequence[DataFile], row_count: int, run_id: str, base: int, begun_in: Epoch
) -> Staged:
    """Stage files that workers wrote in place of everything in the table; see `replace_all`. Deletes them on a conflict.

    begun_in    the table's epoch before the first of them began
    """
    lake.steps.reached("publish.files")
    increment = Increment(table, "rebuild", table_named(table).arrow_schema().empty_table(), {}, {}, run_id)
    replaced = internals.files_of(lake.table(table), base)
    plan = _rebuild_plan(run_id, base, row_count)
    staged = put_on_branch(lake, increment, Act.REBUILD, written, replaced, plan, begun_in)
    lake.steps.reached("publish.staged")
    return staged


def _rebuild_plan(run_id: str, base: int, row_count: int) -> Plan:
    def plan(now: Head) -> Summary:
        if now.snapshot_id != base:
            raise CommitConflictError(f"{now.table}: main is {now.snapshot_id}, the rebuild began at {base}; rebuild again")
        summary = told(Act.REBUILD, "rebuild", {}, {}, run_id, (), {"rows": row_count})
        return {POSITION: compact(now.position), HOLDS: compact(now.listed_holds), REBUILD: "true", **summary}

    return plan


def publish(lake: Lake, staged: Staged) -> Publication:
    """Make the staged snapshot main and drop its branch in one commit, then book it; repeating is harmless.

    Raises CommitConflictError when main moved since staging: the branch is discarded, stage and audit again.
    """
    table = staged.increment.table
    seen = lake.table(table)
    metadata = seen.metadata
    if not is_on_main(metadata, staged.snapshot_id):
        try:
            metadata = commit(
                lake,
                table,
                seen,
                [internals.points_to(MAIN, staged.base), internals.points_to(staged.branch, staged.snapshot_id)],
                [internals.point(MAIN, staged.snapshot_id), internals.drop(staged.branch)],
                lambda now: is_on_main(now, staged.snapshot_id),
            )
        except CommitConflictError:
            discard(lake, staged)
            raise
        lake.steps.reached("publish.published" if staged.hold is None else "release.published")
    as_of.reconcile(lake, table)
    if staged.hold is not None:
        files.drop_held(lake.table(table), staged.hold.hold_id)
    logged_ms = next(entry.timestamp_ms for entry in metadata.snapshot_log if entry.snapshot_id == staged.snapshot_id)
    booked = as_of.published_at(lake, table, staged.snapshot_id)
    moment = EPOCH + timedelta(milliseconds=logged_ms) if booked is None else booked
    return Publication(staged.increment.run_id, staged.snapshot_id, moment)


def hold(lake: Lake, staged: Staged, report: Mapping[str, object]) -> Hold:
    """Set a refused increment aside: its files linked under held/, main past its offsets and listing it, the branch gone.

    Repeatable after a crash: the hold's name comes from the offsets. The table's rows do not change.
    Raises InvalidValueError for an increment that replaces files (leave it unpublished), CommitConflictError.
    """
    increment = staged.increment
    if staged.is_overwrite or staged.hold is not None or staged.act is Act.REBUILD:
        raise InvalidValueError(f"{increment.table}: only an increment that adds rows can be held; discard {staged.branch}")
    table = table_named(increment.table)
    held = Hold(
        hold_id=hold_id_of(table.short_name, increment.owner, increment.before, increment.after),
        table=table.name,
        owner=increment.owner,
        before=increment.before,
        after=increment.after,
        run_id=increment.run_id,
        ranges=increment.ranges,
        row_count=increment.rows.num_rows,
        counts=dict(increment.counts),
        report=dict(report),
        held_at_ns=lake.clock(),
    )
    moving = moving_plan(Act.HOLD, held.owner, held.before, held.after, held.run_id, held.ranges, held.counts)

    def plan(head: Head) -> Summary:
        return {**moving(head), HOLDS: compact([*head.listed_holds, _listed(held)])}

    seen = lake.table(table.name)
    plan(lake.head_of(table.name, seen))
    described = files.link_held(seen, held.hold_id, staged.data_files)
    lake.steps.reached("hold.linked")
    lake.state.leases.check()
    # Described before it is listed: whatever main lists, state can describe.
    lake.state.save_hold(held.hold_id, _description(held, described))
    lake.steps.reached("hold.described")
    commit_to_main(lake, table.name, (), plan, Epoch.of(seen), extra=lambda: _drops_branch(lake, staged))
    lake.steps.reached("hold.committed")
    if staged.branch not in lake.table(table.name).metadata.refs:
        files.delete_paths(files.paths_of(staged.data_files))
    return held


def held_rows(lake: Lake, hold: Hold) -> pa.Table:
    """Return the rows of a hold. Raises NotFoundError when it was never described or its files are gone."""
    folder = files.held_folder(lake.table(hold.table), hold.hold_id)
    names = [str(entry["name"]) for entry in lake.state.hold(hold.hold_id)["files"]]
    try:
        return files.read_files(table_named(hold.table), [folder / name for name in names])
    except FileNotFoundError as error:
        raise NotFoundError(f"hold {hold.hold_id} has no files any more: it was released or rejected") from error


def stage_release(lake: Lake, hold: Hold, rows: pa.Table | None = None) -> Staged:
    """Stage the rows of a hold; the staged snapshot takes the hold off the list, so `publish` releases and unlists at once.

    rows    only these of the held rows (the rest went to quarantine first); None: all, the held files under new names

    Rows keep the run id they were held with; the ledger gives it the release's time.
    Raises NotFoundError when main does not list the hold (any more), CommitConflictError when it was released meanwhile.
    """
    definition = table_named(hold.table)
    run_id = f"{hold.run_id}-release"

    def plan(head: Head) -> Summary:
        _check_listed(head, hold)
        summary = told(Act.RELEASE, hold.owner, hold.before, hold.after, run_id, hold.ranges, hold.counts)
        return {POSITION: compact(head.position), HOLDS: _without(head, hold), HELD_RUN: hold.run_id, **summary}

    seen = lake.table(hold.table)
    head = lake.head_of(hold.table, seen)
    plan(head)
    if rows is None:
        released = held_rows(lake, hold)
        try:
            written = files.link_released(seen, hold.hold_id, lake.state.hold(hold.hold_id)["files"])
        except FileNotFoundError as error:
            raise CommitConflictError(f"hold {hold.hold_id} was released or rejected meanwhile") from error
    else:
        released = files.conform(definition, rows)
        check_rows(definition, released, hold.run_id, hold.ranges)
        written = files.write_files(seen, definition, released)
    lake.steps.reached("release.linked")
    vector = head.vector(hold.owner)
    increment = Increment(hold.table, hold.owner, released, vector, vector, run_id, hold.ranges, dict(hold.counts))
    staged = put_on_branch(lake, increment, Act.RELEASE, written, (), plan, Epoch.of(seen), hold)
    lake.steps.reached("release.staged")
    return staged


def reject(lake: Lake, hold: Hold) -> int:
    """Take a hold off the list without its rows, which the caller has put into quarantine first; return the snapshot's id.

    Raises NotFoundError when main does not list the hold (any more).
    """

    def plan(head: Head) -> Summary:
        _check_listed(head, hold)
        summary = told(Act.REJECT, hold.owner, hold.before, hold.after, f"{hold.run_id}-reject", hold.ranges, hold.counts)
        return {POSITION: compact(head.position), HOLDS: _without(head, hold), HELD_RUN: hold.run_id, **summary}

    snapshot_id = commit_to_main(lake, hold.table, (), plan, None)
    lake.steps.reached("reject.committed")
    as_of.reconcile(lake, hold.table)
    files.drop_held(lake.table(hold.table), hold.hold_id)
    return snapshot_id


def hold_id_of(short_name: str, owner: str, before: Vector, after: Vector) -> str:
    """Return the name of a hold, `trades-binance-0.12-24`: table, owner and the offsets it passes.

    A repeat has the same one. So does no other attempt that begins at the same offsets and ends elsewhere: of two writers
    one may describe its hold last, and the other list its own.
    """
    passed = "_".join(f"{key}.{before.get(key, 0)}-{end}" for key, end in sorted(after.items()) if end != before.get(key, 0))
    if len(passed) > _LONG_NAME:
        passed = hashlib.sha256(passed.encode()).hexdigest()[:32]
    return files.safe_name(f"{short_name}-{owner}-{passed}")


def _drops_branch(lake: Lake, staged: Staged) -> tuple[list[TableRequirement], list[TableUpdate]]:
    """Return assertion and update that drop an audit branch in the same commit as something else."""
    ref = lake.table(staged.increment.table).metadata.refs.get(staged.branch)
    if ref is None or ref.snapshot_id != staged.snapshot_id:
        raise CommitConflictError(f"{staged.increment.table}: branch {staged.branch} is gone; stage and audit again")
    return [internals.points_to(staged.branch, staged.snapshot_id)], [internals.drop(staged.branch)]


def _listed(hold: Hold) -> dict[str, object]:
    """Return what main's summary says of a hold; kept short, since every snapshot repeats it."""
    return {
        "id": hold.hold_id,
        "owner": hold.owner,
        "before": hold.before,
        "after": hold.after,
        "run": hold.run_id,
        "rows": hold.row_count,
        "at": hold.held_at_ns,
    }


def _description(hold: Hold, described: Sequence[Mapping[str, object]]) -> dict[str, object]:
    ranges = [[one.capture_id, one.first_seq, one.last_seq] for one in hold.ranges]
    return {
        **_listed(hold),
        "table": hold.table,
        "ranges": ranges,
        "counts": hold.counts,
        "report": hold.report,
        "files": list(described),
    }


def _without(head: Head, hold: Hold) -> str:
    return compact([entry for entry in head.listed_holds if entry["id"] != hold.hold_id])


def _check_listed(head: Head, hold: Hold) -> None:
    if not head.lists(hold.hold_id):
        raise NotFoundError(f"{head.table}: hold {hold.hold_id} is not open; it was released or rejected before")


def advance(
    lake: Lake,
    table: str,
    owner: str,
    before: Vector,
    after: Vector,
    run_id: str,
    counts: Mapping[str, int],
    ranges: Sequence[MessageRange],
) -> int | None:
    """Move the owner's position past an empty batch by an empty snapshot; see `lake.commits.append`."""
    return append(lake, table, table_named(table).arrow_schema().empty_table(), owner, before, after, run_id, ranges, counts)
