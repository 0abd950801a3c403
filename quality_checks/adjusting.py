"""Adjusting: the normalized bars and actions become agreed bars, factors and the ready-made daily answer.

Everything in `adjusted` is a pure function of what the normalized tables had published at one moment, and of the waivers
decided by then; the position of each adjusted table (owner `adjusted`) says which: input -> its last publication, in
milliseconds since the epoch. So an adjustment can be made again from its position, which is what a rebuild does.

An instrument follows from its own bars and actions alone, so only the instruments that the inputs' publications since the last
adjustment touch are read, computed and written; what differs from the effective rows is written, the rest stays. Its own are
those that belong to it by the joins and changes of symbols published at the position (quality_checks/naming.py): one told late
restates both instruments. Everything is computed once more when the feeds' priority or a step changed. Rows whose key and
known_at stay but whose values changed, because an input arrived late, are published anew: of several rows with one key the one
published last is in force. Nothing derived is ever held: failing checks leave the position where it is.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime

import pyarrow as pa
import pyarrow.compute as pc

from lake import as_of, files
from lake.catalog import Lake
from lake.conditions import Where
from lake.instants import to_datetime
from lake.publish import advance, stage
from lake.runner import LocalRunner, Runner, Task
from lake.scan import read, replaced_files
from lake.staging import Increment, clean_dead_branches
from lake.tables import table_named
from lake.values import Vector
from quality_checks import waivers
from quality_checks.differences import MOVED_TO, changes, lineage_of, named_run, vanished, with_kept_runs
from quality_checks.inputs import last_published, moment_of, published_between
from quality_checks.moving import moved_findings, publish_owners
from quality_checks.naming import NAMES, belonging_at, owned, renamed_between
from quality_checks.news import stamped
from quality_checks.publishing import run_name, settle
from quality_checks.records import record, record_findings, record_quarantine
from quality_checks.rules import finding_rows
from transforms.adjust import bars_1d
from transforms.agree import Agreed, agreed_bars
from transforms.factor_rows import Blocked, Factors
from transforms.factors import factors
from transforms.revisions import effective
from transforms.steps import STEPS

OWNER = "adjusted"
BARS, ACTIONS = "normalized.bars", "normalized.corporate_actions"
AGREED, FACTORS, BARS_1D = "adjusted.agreed_bars", "adjusted.factors", "adjusted.bars_1d"
TABLES = (AGREED, FACTORS, BARS_1D)
PUBLISHED_AT = "published_at"
_TOGETHER = 64
"""Instruments computed at once: 20 years of 64 instruments are some 300,000 rows."""
_MOST_NAMED = 256
"""A plan is pruned by no more instruments than this (lake/plans.py)."""
_STATE, _COMPUTED_BY = "adjusting", "computed_by"


@dataclass(slots=True)
class AdjustReport:
    """What an adjustment did: new rows by table, how many instruments it computed, and those that wait for a person."""

    rows: dict[str, int] = field(default_factory=dict)
    runs: list[str] = field(default_factory=list)
    instruments: int = 0
    blocked: list[int] = field(default_factory=list)

    def document(self) -> dict[str, object]:
        """Return the report as JSON values."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Adjusted:
    """Everything computed of some instruments from one state of the inputs."""

    agreed: Agreed
    factors: Factors
    moved: pa.Table
    """Which bars filed under these instruments, or once, belong to which: event id in three columns, moved_to."""

    def bars(self, run_id: str) -> pa.Table:
        """Return rows of adjusted.bars_1d."""
        return bars_1d(self.agreed.rows, self.factors.rows, run_id=run_id, blocked=self.factors.blocked)


@dataclass(frozen=True, slots=True)
class Part:
    """What an adjustment of some instruments gives to write.

    rows       rows to append to agreed bars and factors, and every row of bars_1d of the instruments that changed, by table
    lineage    of the appended rows, by table
    """

    rows: dict[str, pa.Table]
    lineage: dict[str, pa.Table]
    findings: pa.Table
    refused: pa.Table
    waiting: tuple[Blocked, ...]
    changed: int
    """Rows of bars_1d that differ."""
    touched: tuple[int, ...]
    """Instruments whose rows of bars_1d are written again."""


def adjust(lake: Lake, runner: Runner | None = None) -> AdjustReport:
    """Bring the adjusted tables up to what the normalized tables have published; returns what was done.

    runner    where instruments are computed, default: here

    Takes the lease of each table; safe to repeat after any crash. Raises QualityError when rows break their contract or an
    audit could not be finished: the table's position stays, and the next call tries again.
    """
    report = AdjustReport()
    with lake.state.lease(AGREED), lake.state.lease(FACTORS), lake.state.lease(BARS_1D):
        after = input_position(lake)
        lagging: dict[str, Vector] = {}
        for table in TABLES:
            clean_dead_branches(lake, table)
            as_of.reconcile(lake, table)
            before = lake.head(table).vector(OWNER)
            if before != after:
                lagging[table] = before
        if not lagging or not after:
            return report
        by = _computed_by(lake)
        is_whole = lake.state.document(_STATE, _COMPUTED_BY) != by
        since = {} if is_whole else _lowest(lagging.values())
        instruments = touched_since(lake, since, after)
        publish_owners(lake, (BARS, ACTIONS), since, after)
        recorded_at = to_datetime(lake.clock())
        runs = {table: run_name(table, OWNER, before, after) for table, before in lagging.items()}
        arguments = {"position": after, "runs": runs, "recorded_at": recorded_at}
        tasks = [
            Task(f"instruments {n}", arguments={**arguments, "instruments": ids}) for n, ids in enumerate(grouped(instruments))
        ]
        done = {task.partition: part for task, part in (runner or LocalRunner(lake)).run(adjust_instruments, tasks)}
        parts = [done[task.partition] for task in tasks]
        report.instruments = len(instruments)
        report.blocked = waivers.keep_blocked(lake, instruments, [one for part in parts for one in part.waiting])
        _record(lake, parts, run_name(AGREED, OWNER, {}, after), after)
        for table, before in lagging.items():
            write = _rewrite if table == BARS_1D else _append
            report.rows[table] = write(lake, table, parts, before, after, runs[table])
            if report.rows[table]:
                report.runs.append(runs[table])
        lake.state.save_document(_STATE, _COMPUTED_BY, by)
    return report


def _computed_by(lake: Lake) -> dict[str, object]:
    """Return what else than the inputs decides: when it changes, every instrument is computed again."""
    told = {"steps": [step.identity for step in STEPS], "priority": list(lake.settings.provider_priority)}
    return {"hash": hashlib.sha256(json.dumps(told).encode()).hexdigest()}


def _lowest(positions: Iterable[Vector]) -> Vector:
    """Return the position that lies before all; an input that one of them does not know is not known."""
    found = list(positions)
    return {key: min(one[key] for one in found) for key in found[0] if all(key in one for one in found)}


def input_position(lake: Lake) -> Vector:
    """Return when each input was last published, in milliseconds since the epoch; an input without rows is left out."""
    found = last_published(lake, (BARS, ACTIONS))
    decided = waivers.last_decision_ms(lake)
    if not found:
        return found
    return {**found, **last_published(lake, NAMES), **({} if decided is None else {waivers.INPUT: decided})}


def touched_since(lake: Lake, before: Vector, after: Vector) -> list[int]:
    """Return the instruments that may differ between two positions, ordered; from {}: every instrument."""
    found = waivers.decided_between(lake, before.get(waivers.INPUT, -1), after.get(waivers.INPUT, -1))
    found |= renamed_between(lake, before, after)
    for table in (BARS, ACTIONS):
        runs = {one.run_id for one in published_between(lake, table, before, after)}
        where = [Where("run_id", "in", sorted(runs))]
        if runs and table == BARS:
            found |= set(read(lake, table, ["instrument_id"], where)["instrument_id"].unique().to_pylist())
        elif runs:
            found |= _sharing_chains(lake, where)
    return sorted(belonging_at(lake, after).holders(found))


def _sharing_chains(lake: Lake, where: Sequence[Where]) -> set[int]:
    """Return the instruments of actions and of every version of them: a revision may come under another instrument."""
    new = read(lake, ACTIONS, ["instrument_id", "action_key"], where)
    also = read(lake, ACTIONS, ["instrument_id"], [Where("action_key", "in", new["action_key"].unique().to_pylist())])
    return {*new["instrument_id"].unique().to_pylist(), *also["instrument_id"].unique().to_pylist()}


def grouped(instruments: Sequence[int]) -> list[list[int]]:
    """Return instruments in groups that are read together: those of one bucket beside each other."""
    ordered = sorted(instruments, key=lambda one: (files.bucket_of(table_named(BARS_1D), "instrument_id", one), one))
    return [ordered[start : start + _TOGETHER] for start in range(0, len(ordered), _TOGETHER)]


# --- one group of instruments: what workers do


def compute(lake: Lake, position: Vector, recorded_at: datetime, instruments: Collection[int]) -> Adjusted:
    """Return everything adjusted of some instruments that follows from the inputs as they were published at `position`."""
    (bars, moved), (actions, _) = (inputs_at(lake, table, position, instruments) for table in (BARS, ACTIONS))
    priority = lake.settings.provider_priority
    agreed = agreed_bars(bars, actions, run_id="", recorded_at=recorded_at, priority=priority)
    allowed = waivers.allowed_at(lake, position.get(waivers.INPUT, -1))
    made = factors(agreed.rows, actions, run_id="", recorded_at=recorded_at, allowed=allowed)
    return Adjusted(agreed, made, moved)


def inputs_at(lake: Lake, table: str, position: Vector, instruments: Collection[int]) -> tuple[pa.Table, pa.Table]:
    """Return the effective rows of an input of some instruments as published at `position`, and where its rows belong."""
    definition = table_named(table)
    if table not in position:
        nothing = definition.arrow_schema().empty_table()
        return nothing, _whereabouts(nothing, nothing["instrument_id"])
    moment = moment_of(position[table])
    columns = [*definition.column_names, PUBLISHED_AT]
    whose = belonging_at(lake, position)
    mine = Where("instrument_id", "in", sorted(whose.sources(instruments)))
    rows = read(lake, table, columns, [mine], as_of=moment)
    if table == ACTIONS and rows.num_rows:  # an action's key does not name its instrument: another's row may have replaced it
        rows = read(lake, table, columns, [Where("action_key", "in", rows["action_key"].unique().to_pylist())], as_of=moment)
    rows = owned(lake, rows, whose)
    found = effective(definition, rows).select(list(definition.column_names))
    moved = (
        _whereabouts(rows, rows["instrument_id"]) if whose.names else _whereabouts(rows.slice(0, 0), rows["instrument_id"][:0])
    )
    return found.filter(pc.is_in(found["instrument_id"], value_set=pa.array(sorted(instruments), pa.int64()))), moved


def _whereabouts(rows: pa.Table, instruments: pa.ChunkedArray) -> pa.Table:
    """Return the event id of each row in three columns, and the instrument it belongs to."""
    return rows.select(["capture_id", "message_seq", "ordinal"]).append_column(MOVED_TO, instruments)


def effective_rows(lake: Lake, table: str, instruments: Collection[int] | None = None) -> pa.Table:
    """Return the rows of adjusted.agreed_bars or adjusted.factors in force, all their versions along known_at."""
    definition = table_named(table)
    where = [] if instruments is None else [Where("instrument_id", "in", sorted(instruments))]
    rows = read(lake, table, [*definition.column_names, PUBLISHED_AT], where)
    return effective(definition, rows).select(list(definition.column_names))


def adjust_instruments(lake: Lake, task: Task) -> Part:
    """Return what an adjustment of the task's instruments gives to write; a step of `lake.runner`."""
    instruments: list[int] = task.arguments["instruments"]
    runs: Mapping[str, str] = task.arguments["runs"]
    computed = compute(lake, task.arguments["position"], task.arguments["recorded_at"], instruments)
    rows, lineage, changed, touched = {}, {}, 0, set[int]()
    for table, made, told in (
        (AGREED, computed.agreed.rows, computed.agreed.lineage),
        (FACTORS, computed.factors.rows, computed.factors.lineage),
    ):
        if table in runs:
            definition = table_named(table)
            change = changes(definition, made, effective_rows(lake, table, instruments), computed.moved)
            rows[table] = stamped(table, change.rows, runs[table])
            lineage[table] = lineage_of(definition, rows[table], change.source, made, told, runs[table])
    if BARS_1D in runs:
        existing = read(lake, BARS_1D, where=[Where("instrument_id", "in", instruments)])
        answers = with_kept_runs(computed.bars(runs[BARS_1D]), existing)
        new = answers.filter(pc.equal(answers["run_id"], runs[BARS_1D]))
        changed = new.num_rows
        touched = {*new["instrument_id"].unique().to_pylist(), *vanished(answers, existing, computed.factors.blocked)}
        rows[BARS_1D] = answers.filter(pc.is_in(answers["instrument_id"], value_set=pa.array(sorted(touched), pa.int64())))
    findings = pa.concat_tables([computed.agreed.findings, computed.factors.findings])
    waiting = computed.factors.waiting
    return Part(rows, lineage, findings, computed.factors.refused, waiting, changed, tuple(sorted(touched)))


# --- the committer


def _record(lake: Lake, parts: Sequence[Part], run_id: str, position: Vector) -> None:
    """Write what was found on the way; each finding and refusal stands once, whatever run meets it again."""
    refused = named_run(_joined("quality.quarantine", [part.refused for part in parts]), run_id)
    if refused.num_rows:
        record_quarantine(lake, refused, run_id)
    moved = moved_findings(lake, AGREED, [part.rows[AGREED] for part in parts if AGREED in part.rows], position)
    findings = _joined("quality.findings", [*(part.findings for part in parts), _refusal_findings(refused), moved])
    if findings.num_rows:
        record_findings(lake, named_run(findings, run_id), run_id)


def _joined(table: str, parts: Iterable[pa.Table]) -> pa.Table:
    return pa.concat_tables([table_named(table).arrow_schema().empty_table(), *parts])


def _refusal_findings(refused: pa.Table) -> pa.Table:
    if refused.num_rows == 0:
        return table_named("quality.findings").arrow_schema().empty_table()
    detail = pc.binary_join_element_wise(refused["rule"], pc.fill_null(refused["value"], "null"), " ").combine_chunks()
    recorded_at = refused["recorded_at"][0].as_py()
    return finding_rows(
        refused["event_id"].combine_chunks(), "no_factor", "error", FACTORS, detail, recorded_at, "",
        provider=refused["provider"],
    )  # fmt: skip


def _append(lake: Lake, table: str, parts: Sequence[Part], before: Vector, after: Vector, run_id: str) -> int:
    """Append the new rows of agreed bars or factors, their lineage first; returns how many."""
    new = _joined(table, [part.rows[table] for part in parts])
    if new.num_rows == 0:
        return _advanced(lake, table, before, after, run_id)
    told = _joined("ops.lineage", [part.lineage[table] for part in parts])
    record(lake, "ops.lineage", told, run_id, ("output_event_id", "input_event_id", "role"), Where("run_id", "=", run_id))
    staged = stage(lake, Increment(table, OWNER, new, before, after, run_id, (), {"rows": new.num_rows}))
    lake.steps.reached("adjust.staged")
    settle(lake, staged, may_hold=False)
    return int(new.num_rows)


def _rewrite(lake: Lake, table: str, parts: Sequence[Part], before: Vector, after: Vector, run_id: str) -> int:
    """Rewrite the files of instruments whose answer changed; returns how many rows differ."""
    definition = table_named(table)
    touched = sorted({one for part in parts for one in part.touched})
    changed = sum(part.changed for part in parts)
    if not touched:
        return _advanced(lake, table, before, after, run_id)
    named_ones = [Where("instrument_id", "in", touched)] if len(touched) <= _MOST_NAMED else []
    replaced = replaced_files(lake, table, named_ones)
    beside = files.read_files(definition, files.paths_of(replaced))
    is_touched = pc.is_in(beside["instrument_id"], value_set=pa.array(touched, pa.int64()))
    written = _joined(table, [*(part.rows[table] for part in parts), beside.filter(pc.invert(is_touched))])
    staged = stage(lake, Increment(table, OWNER, written, before, after, run_id, (), {"rows": changed}), replaced)
    lake.steps.reached("adjust.staged")
    settle(lake, staged, may_hold=False)
    return changed


def _advanced(lake: Lake, table: str, before: Vector, after: Vector, run_id: str) -> int:
    """Move the position past inputs that change nothing; returns 0."""
    advance(lake, table, OWNER, before, after, run_id, {"rows": 0}, ())
    as_of.reconcile(lake, table)
    return 0
