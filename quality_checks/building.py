"""Building: trades, their corrections and quotes become adjusted.built_bars, through the gate.

A part is what one provider told of one session. The rows of a part are a pure function of what the normalized tables had
published at a position (owner `built`): input -> its last publication, `clock` -> when it was looked at, both in milliseconds
since the epoch. Parts that publications since the last position touch are computed anew, and those in which a bar had
not ended yet; what differs is published. Nothing derived is ever held: failing checks leave the position where it is.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import date, datetime, timedelta

import pyarrow as pa
import pyarrow.compute as pc

from lake import as_of
from lake.catalog import Lake
from lake.conditions import Where
from lake.instants import to_datetime
from lake.publish import advance, stage
from lake.runner import LocalRunner, Runner, Task
from lake.scan import read
from lake.staging import Increment, clean_dead_branches
from lake.tables import table_named
from lake.values import CaptureKind, Vector
from quality_checks.batches import kinds_of
from quality_checks.differences import changes
from quality_checks.inputs import last_published, milliseconds, moment_of, published_between
from quality_checks.news import stamped
from quality_checks.publishing import run_name, settle
from transforms.bar_spans import venue_of_instrument
from transforms.built_bars import BUILT, SETTLED_DAYS, Facts, built_bars
from transforms.calendars import STAMP, Venue
from transforms.revisions import effective
from transforms.steps import BUILT_FROM

OWNER = "built"
TRADES, EVENTS, QUOTES = BUILT_FROM
CLOCK = "clock"
PUBLISHED_AT = "published_at"
_STATE, _DUE = "building", "due"
_MOST_NAMED = 256
"""A plan is pruned by no more instruments than this (lake/plans.py)."""
PartKey = tuple[str, date]
"""Provider and session date."""


@dataclass(slots=True)
class BuildReport:
    """What building did: parts computed, rows published."""

    parts: int = 0
    rows: int = 0
    runs: list[str] = field(default_factory=list)

    def document(self) -> dict[str, object]:
        """Return the report as JSON values."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Part:
    """What one part gives to write, and when its next bar can be known: milliseconds since the epoch, or None."""

    rows: pa.Table
    due_ms: int | None


def build(lake: Lake, runner: Runner | None = None) -> BuildReport:
    """Bring adjusted.built_bars up to what the normalized tables have published; returns what was done.

    runner    where parts are computed, default: here

    Takes the table's lease; safe to repeat after any crash. Raises QualityError when rows break their contract: the position
    stays, and the next call tries again.
    """
    report = BuildReport()
    with lake.state.lease(BUILT):
        clean_dead_branches(lake, BUILT)
        as_of.reconcile(lake, BUILT)
        before = lake.head(BUILT).vector(OWNER)
        inputs = last_published(lake, BUILT_FROM)
        clock_ms = milliseconds(to_datetime(lake.clock()))
        due = _due(lake, before)
        waiting = {key for key, moment in due.items() if moment <= clock_ms}
        if not inputs or (inputs == _inputs_of(before) and not waiting):
            return report
        after = {**inputs, CLOCK: clock_ms}
        keys = sorted(touched_since(lake, before, after) | waiting)
        run_id = run_name(BUILT, OWNER, before, after)
        tasks = [
            Task(f"bars of {provider} on {day}", arguments={"part": (provider, day), "position": after, "run": run_id})
            for provider, day in keys
        ]
        done = {task.partition: part for task, part in (runner or LocalRunner(lake)).run(build_part, tasks)}
        parts = [done[task.partition] for task in tasks]
        report.parts, report.rows = len(parts), _publish(lake, [part.rows for part in parts], before, after, run_id)
        report.runs += [run_id] if report.rows else []
        told = {key: part.due_ms for key, part in zip(keys, parts, strict=True)}
        due = {key: moment for key, moment in {**due, **told}.items() if moment is not None}
        lake.state.save_document(
            _STATE, _DUE, {"clock": clock_ms, "parts": [[p, d.isoformat(), ms] for (p, d), ms in due.items()]}
        )
    return report


def _publish(lake: Lake, rows: Sequence[pa.Table], before: Vector, after: Vector, run_id: str) -> int:
    """Append new rows through the gate, or move the position past inputs that change nothing; returns how many."""
    new = pa.concat_tables([table_named(BUILT).arrow_schema().empty_table(), *rows])
    if new.num_rows == 0:
        advance(lake, BUILT, OWNER, before, after, run_id, {"rows": 0}, ())
        as_of.reconcile(lake, BUILT)
        return 0
    staged = stage(lake, Increment(BUILT, OWNER, new, before, after, run_id, (), {"rows": new.num_rows}))
    lake.steps.reached("build.staged")
    settle(lake, staged, may_hold=False)
    return int(new.num_rows)


def _inputs_of(position: Vector) -> Vector:
    return {name: moment for name, moment in position.items() if name != CLOCK}


def _due(lake: Lake, position: Vector) -> dict[PartKey, int]:
    """Return when parts have their next bar; where that was lost, every part that may have one is due at once."""
    told = lake.state.document(_STATE, _DUE)
    if told is not None and told["clock"] == position.get(CLOCK):
        return {(provider, date.fromisoformat(day)): moment for provider, day, moment in told["parts"]}
    return dict.fromkeys(open_parts(lake, position), 0)


def open_parts(lake: Lake, position: Vector) -> set[PartKey]:
    """Return the parts in which a bar may not have been known yet when the lake was looked at."""
    if CLOCK not in position:
        return set()
    since = moment_of(position[CLOCK]).date() - timedelta(days=SETTLED_DAYS)
    return {key for table in (TRADES, QUOTES) for key in _keys_where(lake, table, [Where("session_date", ">=", since)])}


def touched_since(lake: Lake, before: Vector, after: Vector) -> set[PartKey]:
    """Return the parts that publications between two positions touch; from {}: every part."""
    found: set[PartKey] = set()
    for table in (TRADES, QUOTES):
        for entry in published_between(lake, table, before, after):
            found |= _keys_where(lake, table, _rows_of_entry(entry))
    for entry in published_between(lake, EVENTS, before, after):
        named = read(lake, EVENTS, ["trade_id", "new_trade_id"], [Where("run_id", "=", entry.run_id)])
        ids = sorted({one for name in named.column_names for one in named[name].unique().to_pylist() if one is not None})
        for start in range(0, len(ids), _MOST_NAMED):
            some = ids[start : start + _MOST_NAMED]
            found |= _keys_where(lake, TRADES, [Where("provider", "=", entry.owner), Where("trade_id", "in", some)])
    return found


def _rows_of_entry(entry: as_of.Settled) -> list[Where]:
    """Return where the messages of a publication stand; more do no harm."""
    if not entry.ranges:
        return [Where("provider", "=", entry.owner)]
    return [
        Where("provider", "=", entry.owner),
        Where("capture_id", "in", sorted({one.capture_id for one in entry.ranges})),
        Where("message_seq", ">=", min(one.first_seq for one in entry.ranges)),
        Where("message_seq", "<=", max(one.last_seq for one in entry.ranges)),
    ]


def _keys_where(lake: Lake, table: str, where: Sequence[Where]) -> set[PartKey]:
    rows = read(lake, table, ["provider", "session_date"], where)
    found = rows.group_by(["provider", "session_date"]).aggregate([])
    return set(zip(found["provider"].to_pylist(), found["session_date"].to_pylist(), strict=True))


# --- one part: what workers do


def build_part(lake: Lake, task: Task) -> Part:
    """Return what building one part gives to write; a step of `lake.runner`."""
    key: PartKey = task.arguments["part"]
    position: Vector = task.arguments["position"]
    computed, due_ms = compute(lake, position, key)
    table = table_named(BUILT)
    rows = read(lake, BUILT, [*table.column_names, PUBLISHED_AT], where_part(key))
    change = changes(table, computed, effective(table, rows).select(list(table.column_names)))
    return Part(stamped(BUILT, change.rows, task.arguments["run"]), due_ms)


def where_part(key: PartKey) -> list[Where]:
    """Return where the rows of a part stand."""
    return [Where("provider", "=", key[0]), Where("session_date", "=", key[1])]


def compute(lake: Lake, position: Vector, key: PartKey) -> tuple[pa.Table, int | None]:
    """Return the bars of a part that follow from the inputs as they were published at `position`, and when the next is due."""
    moments = {table: moment_of(position[table]) for table in BUILT_FROM if table in position}
    bars = built_bars(facts_of(lake, key, moments))
    limit = pa.scalar(moment_of(position[CLOCK]), STAMP)
    later = bars["known_at"].filter(pc.greater(bars["known_at"], limit))
    due = None if not len(later) else milliseconds(pc.min(later).as_py()) + 1
    return bars.filter(pc.less_equal(bars["known_at"], limit)), due


def facts_of(
    lake: Lake, key: PartKey, moments: Mapping[str, datetime | None], instruments: Collection[int] | None = None
) -> Facts:
    """Return what the bars of a part are built from.

    moments       input -> as of when it is read, None for now; an input left out counts as empty
    instruments   only these; None: everybody
    """
    mine = [] if instruments is None else [Where("instrument_id", "in", sorted(instruments))]
    trades, quotes = (_inputs_at(lake, table, moments, [*where_part(key), *mine]) for table in (TRADES, QUOTES))
    ids = sorted({*trades["instrument_id"].unique().to_pylist(), *quotes["instrument_id"].unique().to_pylist()})
    # A correction may come sessions after its trade, never before it.
    after = [Where("provider", "=", key[0]), Where("session_date", ">=", key[1]), *mine]
    events = _inputs_at(lake, EVENTS, moments, after)
    events = events.filter(pc.is_in(events["instrument_id"], value_set=pa.array(ids, pa.int64())))
    live = {name for name, kind in kinds_of(lake, key[0]).items() if kind is CaptureKind.LIVE}
    return Facts(key[0], trades, events, quotes, venues_of(lake, ids), live)


def _inputs_at(lake: Lake, table: str, moments: Mapping[str, datetime | None], where: Sequence[Where]) -> pa.Table:
    """Return the rows of an input in force."""
    definition = table_named(table)
    names = list(definition.column_names)
    if table not in moments:
        return definition.arrow_schema().empty_table()
    if not definition.is_revised:
        return read(lake, table, names, where, as_of=moments[table])
    return effective(definition, read(lake, table, [*names, PUBLISHED_AT], where, as_of=moments[table])).select(names)


def venues_of(lake: Lake, instruments: Collection[int]) -> dict[int, Venue]:
    """Return where the days of instruments are counted."""
    where = [Where("instrument_id", "in", sorted(instruments))] if len(instruments) <= _MOST_NAMED else []
    rows = read(lake, "reference.instruments", ["instrument_id", "identity", "mic", "asset_class"], where).to_pylist()
    told: dict[int, list[tuple[str, str | None, str | None]]] = {}
    for row in rows:
        told.setdefault(row["instrument_id"], []).append((row["identity"], row["mic"], row["asset_class"]))
    return {one: _venue(told.get(one, [])) for one in instruments}


def _venue(told: Iterable[tuple[str, str | None, str | None]]) -> Venue:
    """Return the venue that the rows about an instrument name; a later row may tell what an earlier one left out."""
    rows = sorted(told, key=str)
    identity = rows[0][0] if rows else ""
    mic, asset_class = (next((row[n] for row in rows if row[n] is not None), None) for n in (1, 2))
    return venue_of_instrument(identity, mic, asset_class)
