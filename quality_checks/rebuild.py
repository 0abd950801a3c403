"""Rebuild: a derived table made again from raw, in the order in which it was published, and compared row by row.

Normalized tables replay the publication ledger: the same messages, batch by batch, under the same run ids, each compared with
what was replayed before it. Held and rejected batches stay what they are, and rows that left a hold for quarantine stay out.
Adjusted tables are computed again from each position they stood at. Rows keep runs and message numbers, so `published_at`
stays. What differs is told; a replay that differs must pass the gate batch by batch before it takes main's place.

The parts of a table are made by a runner (quality_checks/replay.py says how); here they are put together and committed at once.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field

import pyarrow as pa
import pyarrow.compute as pc

from lake import files
from lake.as_of import Settled, ledger
from lake.catalog import Lake
from lake.content import sum_of_hashes
from lake.durable import Place, make_folder
from lake.epochs import Epoch
from lake.errors import InvalidValueError, QualityError
from lake.heads import Act
from lake.publish import publish, replace_all_by
from lake.runner import LocalRunner, Runner, Task, new_job, sweep
from lake.scan import read, replaced_files
from lake.staging import clean_dead_branches
from lake.tables import PublishedBy, Table, table_named
from quality_checks import adjusting, building
from quality_checks.batches import kinds_of
from quality_checks.gate import audit_to_the_end
from quality_checks.levels import keep_levels, newer_levels, no_levels
from quality_checks.replay import SHOWN, PartKey, Replayed, part_of_file, replay_built, replay_instruments, replay_part, spill
from transforms.built_bars import BUILT

_ROWS_MADE = (Act.PUBLISH, Act.RELEASE)


@dataclass(slots=True)
class RebuildReport:
    """What a rebuild found.

    before, after   content hashes of main and of the replay
    missing         rows of main that the replay does not give; shown: the first few of both
    extra           rows of the replay that main does not have
    is_replaced     whether the replay took main's place
    """

    table: str
    rows: int
    before: str
    after: str
    missing: int = 0
    extra: int = 0
    shown: list[str] = field(default_factory=list)
    is_replaced: bool = False

    @property
    def is_same(self) -> bool:
        """True when the replay gives main row by row, runs and message numbers included."""
        return self.before == self.after and not self.missing and not self.extra

    def document(self) -> dict[str, object]:
        """Return the report as JSON values."""
        return {**asdict(self), "is_same": self.is_same}


def rebuild(lake: Lake, table: str, runner: Runner | None = None) -> RebuildReport:
    """Make a normalized or adjusted table again and put the result in main's place; returns what differs.

    runner    where the parts of the table are made, default: here, one after the other

    Takes the table's lease. Raises InvalidValueError for a table that is not derived from raw, QualityError when a replay
    that differs does not pass the gate, WorkerError when workers failed: main stays as it is.
    """
    definition = table_named(table)
    if definition.namespace not in ("normalized", "adjusted"):
        raise InvalidValueError(f"{table} is not made from raw; normalized and adjusted tables are")
    with lake.state.lease(table):
        clean_dead_branches(lake, table)
        seen = lake.table(table)
        base, begun_in = lake.head_of(table, seen).snapshot_id, Epoch.of(seen)
        job = new_job()
        entries = [one for one in ledger(lake, table) if one.act in _ROWS_MADE]
        make = _normalized_parts if definition.namespace == "normalized" else _DERIVED.get(table, _adjusted_parts)
        try:
            parts = list(make(lake, definition, entries, runner or LocalRunner(lake), job))
            report = _report(table, parts)
            written = [file for part in parts for file in part.written]
            levels = {} if report.is_same else _judge(definition, entries, files.paths_of(written))
        except BaseException:
            sweep(lake, table, job)
            raise
        staged = replace_all_by(lake, table, written, report.rows, f"rebuild-{definition.short_name}-{base}", base, begun_in)
        sweep(lake, table, job, written)
        publish(lake, staged)
        for owner, known in levels.items():
            keep_levels(lake, table, owner, known)
        report.is_replaced = True
        return report


def _report(table: str, parts: Sequence[Replayed]) -> RebuildReport:
    before, after = (sum_of_hashes(getattr(part, name) for part in parts) for name in ("before", "after"))
    report = RebuildReport(table, sum(part.rows for part in parts), before, after)
    report.missing, report.extra = (sum(getattr(part, name) for part in parts) for name in ("missing", "extra"))
    for word in ("only on main", "only in the replay"):
        report.shown += [line for part in parts for line in part.shown if line.startswith(word)][:SHOWN]
    return report


def _judge(table: Table, entries: Sequence[Settled], paths: Sequence[Place]) -> dict[str, pa.Table | None]:
    """Audit each replayed batch as it was audited first, beside the prices replayed before it; returns each owner's last prices.

    What a person released then may fail the same checks now.
    """
    levels: dict[str, pa.Table | None] = {}
    if table.name == adjusting.BARS_1D:
        return levels
    for entry in entries:
        rows = _rows_of(table, entry, paths)
        before = levels.get(entry.owner, no_levels(table.name))
        if rows.num_rows and entry.act is not Act.RELEASE:
            report = audit_to_the_end(table.name, rows, {"run": entry.run_id}, before=before)
            if not report.ok:
                checks = ", ".join(report.failed_checks)
                raise QualityError(f"{table.name}: run {entry.run_id}, made again, fails {checks}; main stays", report.as_dict())
        levels[entry.owner] = newer_levels(before, table.name, rows)
    return levels


def _rows_of(table: Table, entry: Settled, paths: Sequence[Place]) -> pa.Table:
    """Return the rows that an entry of the ledger published, out of the rebuilt files."""
    found = [table.arrow_schema().empty_table()]
    for path in paths:
        rows = files.read_files(table, [path])
        if table.published_by is PublishedBy.RUN:
            mask = pc.equal(rows["run_id"], entry.run_id)
        else:
            mask = pa.array([False] * rows.num_rows)
            for one in entry.ranges:
                seq = rows["message_seq"]
                inside = pc.and_(pc.greater_equal(seq, one.first_seq), pc.less_equal(seq, one.last_seq))
                mask = pc.or_(mask, pc.and_(pc.equal(rows["capture_id"], one.capture_id), inside))
        found.append(rows.filter(mask))
    return pa.concat_tables(found)


def _normalized_parts(lake: Lake, table: Table, entries: Sequence[Settled], runner: Runner, job: str) -> Iterator[Replayed]:
    """Replay the ledger in two passes over a folder that a later rebuild of the table would clear."""
    folder = lake.settings.home / "rebuild" / table.name
    shutil.rmtree(folder, ignore_errors=True)
    make_folder(folder)
    try:
        kinds = {owner: kinds_of(lake, owner) for owner in sorted({entry.owner for entry in entries})}
        batches = [
            Task(
                f"{table.name}, batch {entry.run_id}",
                arguments={"entry": entry, "kinds": kinds[entry.owner], "folder": str(folder)},
            )
            for entry in entries
        ]
        numbers = {id(task): number for number, task in enumerate(batches)}
        spilled: dict[PartKey, list[tuple[int, str]]] = {}
        for task, found in runner.run(spill, batches):
            for key, path in found:
                spilled.setdefault(key, []).append((numbers[id(task)], path))
        on_main: dict[PartKey, list[str]] = {}
        for file in replaced_files(lake, table.name):
            place = part_of_file(table, [file.partition[number] for number in range(len(table.partition))])
            on_main.setdefault(place, []).append(str(files.paths_of([file])[0]))
        tasks = [
            Task(
                f"{table.name}, part {'/'.join(str(value) for value in key) or 'whole'}",
                inputs=tuple(on_main.get(key, ())),
                arguments={"table": table.name, "batches": [(entries[n], path) for n, path in sorted(spilled.get(key, ()))]},
                job=job,
            )
            for key in sorted({*spilled, *on_main}, key=str)
        ]
        yield from (part for _, part in runner.run(replay_part, tasks))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _adjusted_parts(lake: Lake, table: Table, entries: Sequence[Settled], runner: Runner, job: str) -> Iterator[Replayed]:
    """Replay the positions of an adjusted table in groups of instruments."""
    mine = [entry for entry in entries if entry.owner == adjusting.OWNER and entry.act is Act.PUBLISH]
    position = lake.head(table.name).vector(adjusting.OWNER)
    touched = [
        set(adjusting.touched_since(lake, before, entry.after))
        for before, entry in zip([{}, *(entry.after for entry in mine)], mine, strict=False)
    ]
    on_main = read(lake, table.name, ["instrument_id"])["instrument_id"].unique().to_pylist()
    everything = {*adjusting.touched_since(lake, {}, position), *on_main}
    tasks = [
        Task(
            f"{table.name}, instruments {number}",
            arguments={
                "table": table.name,
                "instruments": ids,
                "entries": [(entry, sorted(found & set(ids))) for entry, found in zip(mine, touched, strict=True)],
            },
            job=job,
        )
        for number, ids in enumerate(adjusting.grouped(sorted(everything)))
    ]
    yield from (part for _, part in runner.run(replay_instruments, tasks))


def _built_parts(lake: Lake, table: Table, entries: Sequence[Settled], runner: Runner, job: str) -> Iterator[Replayed]:
    """Replay the positions of adjusted.built_bars part by part: those that an entry touched, or found with bars to come."""
    mine = [entry for entry in entries if entry.owner == building.OWNER and entry.act is Act.PUBLISH]
    changed = [
        (entry, {*building.touched_since(lake, entry.before, entry.after), *building.open_parts(lake, entry.before)})
        for entry in mine
    ]
    keys = read(lake, table.name, ["provider", "session_date"]).group_by(["provider", "session_date"]).aggregate([])
    everything = {(row["provider"], row["session_date"]) for row in keys.to_pylist()}.union(*(found for _, found in changed))
    tasks = [
        Task(
            f"{table.name}, {key[0]} on {key[1]}",
            arguments={"part": key, "entries": [entry for entry, found in changed if key in found]},
            job=job,
        )
        for key in sorted(everything)
    ]
    yield from (part for _, part in runner.run(replay_built, tasks))


_DERIVED = {BUILT: _built_parts}
