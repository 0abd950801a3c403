"""Building: trades, their corrections and quotes become adjusted.built_bars, through the gate.

A part is what one provider told of one session. The rows of a part are a pure function of what the normalized tables had
published at a position (owner `built`): input -> its last publication, `clock` -> when it was looked at, both in milliseconds
since the epoch. Parts that publications since the last position touch are computed anew, and those with bars to come, while a
session goes on from the first minute that may differ; what differs is published. Nothing derived is ever held: failing checks
leave the position where it is.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import date, datetime, timedelta

import numpy as np
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
from quality_checks.differences import MOVED_TO, changes
from quality_checks.inputs import last_published, milliseconds, moment_of, published_between
from quality_checks.moving import moved_findings, publish_owners
from quality_checks.naming import NAMES, belonging_at, owned, renamed_between
from quality_checks.news import stamped
from quality_checks.publishing import run_name, settle
from quality_checks.records import record_findings
from transforms.bar_spans import day_number, interval_of, spans, venue_of_instrument
from transforms.belonging import Belonging
from transforms.built_bars import BUILT, MINUTE_US, SETTLED_DAYS, Facts, built_bars
from transforms.calendars import STAMP, Venue
from transforms.revisions import effective
from transforms.standing import FOR_EVER
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
class Due:
    """Bars to come: when the next can be known (milliseconds since the epoch), and where the first of the minutes opens (µs)."""

    at_ms: int
    since_us: int


@dataclass(frozen=True, slots=True)
class Part:
    """What one part gives to write, and what of it is still to come."""

    rows: pa.Table
    due: Due | None


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
        inputs |= last_published(lake, NAMES) if inputs else {}
        clock_ms = milliseconds(to_datetime(lake.clock()))
        due = _due(lake, before)
        waiting = {key for key, one in due.items() if one.at_ms <= clock_ms}
        if not inputs or (inputs == _inputs_of(before) and not waiting):
            return report
        after = {**inputs, CLOCK: clock_ms}
        touched = touched_since(lake, before, after)
        publish_owners(lake, (TRADES, QUOTES), before, after)
        keys = sorted({*touched, *waiting})
        run_id = run_name(BUILT, OWNER, before, after)
        tasks = [
            Task(
                f"bars of {key[0]} on {key[1]}",
                arguments={
                    "part": key,
                    "position": after,
                    "run": run_id,
                    "since_us": _since_us(touched.get(key), due.get(key)),
                },
            )
            for key in keys
        ]
        done = {task.partition: part for task, part in (runner or LocalRunner(lake)).run(build_part, tasks)}
        parts = [done[task.partition] for task in tasks]
        report.parts, report.rows = len(parts), _publish(lake, [part.rows for part in parts], before, after, run_id)
        report.runs += [run_id] if report.rows else []
        told = {key: part.due for key, part in zip(keys, parts, strict=True)}
        waits = [
            [provider, day.isoformat(), one.at_ms, one.since_us]
            for (provider, day), one in {**due, **told}.items()
            if one is not None
        ]
        lake.state.save_document(_STATE, _DUE, {"clock": clock_ms, "parts": waits})
    return report


def _since_us(touched_us: int | None, due: Due | None) -> int:
    """Return the begin of the first minute that may differ."""
    found = [at for at in (touched_us, None if due is None else due.since_us) if at not in (None, FOR_EVER)]
    return min(found, default=0) // MINUTE_US * MINUTE_US


def _publish(lake: Lake, rows: Sequence[pa.Table], before: Vector, after: Vector, run_id: str) -> int:
    """Append new rows through the gate, or move the position past inputs that change nothing; returns how many."""
    new = pa.concat_tables([table_named(BUILT).arrow_schema().empty_table(), *rows])
    if new.num_rows == 0:
        advance(lake, BUILT, OWNER, before, after, run_id, {"rows": 0}, ())
        as_of.reconcile(lake, BUILT)
        return 0
    record_findings(lake, moved_findings(lake, BUILT, [new], after), run_id)
    staged = stage(lake, Increment(BUILT, OWNER, new, before, after, run_id, (), {"rows": new.num_rows}))
    lake.steps.reached("build.staged")
    settle(lake, staged, may_hold=False)
    return int(new.num_rows)


def _inputs_of(position: Vector) -> Vector:
    return {name: moment for name, moment in position.items() if name != CLOCK}


def _due(lake: Lake, position: Vector) -> dict[PartKey, Due]:
    """Return when parts have their next bar; where that was lost, every part that may have one is due at once."""
    told = lake.state.document(_STATE, _DUE)
    if told is not None and told["clock"] == position.get(CLOCK):
        return {(provider, date.fromisoformat(day)): Due(at_ms, since_us) for provider, day, at_ms, since_us in told["parts"]}
    return dict.fromkeys(open_parts(lake, position), Due(0, 0))


def open_parts(lake: Lake, position: Vector) -> set[PartKey]:
    """Return the parts in which a bar may not have been known yet when the lake was looked at."""
    if CLOCK not in position:
        return set()
    since = moment_of(position[CLOCK]).date() - timedelta(days=SETTLED_DAYS)
    return {key for table in (TRADES, QUOTES) for key in _first_of_parts(lake, table, [Where("session_date", ">=", since)])}


def touched_since(lake: Lake, before: Vector, after: Vector) -> dict[PartKey, int]:
    """Return the parts that publications between two positions touch, each with the first instant touched; from {}: every part.

    Instants are of the facts' own clock, microseconds since the epoch.
    """
    if not before:
        return _earliest(_first_of_parts(lake, table, []) for table in (TRADES, QUOTES))
    renamed = sorted(renamed_between(lake, before, after))
    filed = [renamed[start : start + _MOST_NAMED] for start in range(0, len(renamed), _MOST_NAMED)]
    found = [_first_of_parts(lake, table, [Where("instrument_id", "in", ids)]) for table in (TRADES, QUOTES) for ids in filed]
    found += [
        _first_of_parts(lake, table, _rows_of_entry(entry))
        for table in (TRADES, QUOTES)
        for entry in published_between(lake, table, before, after)
    ]
    for entry in published_between(lake, EVENTS, before, after):
        named = read(lake, EVENTS, ["trade_id", "new_trade_id"], [Where("run_id", "=", entry.run_id)])
        ids = sorted({one for name in named.column_names for one in named[name].unique().to_pylist() if one is not None})
        for start in range(0, len(ids), _MOST_NAMED):
            some = Where("trade_id", "in", ids[start : start + _MOST_NAMED])
            found.append(_first_of_parts(lake, TRADES, [Where("provider", "=", entry.owner), some]))
    return _earliest(found)


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


def _first_of_parts(lake: Lake, table: str, where: Sequence[Where]) -> dict[PartKey, int]:
    """Return the first instant of each part's rows that satisfy `where`."""
    rows = read(lake, table, ["provider", "session_date", "ts_event", "ts_recv"], where)
    at = pc.coalesce(rows["ts_event"], rows["ts_recv"]).cast(pa.int64())
    found = rows.select(["provider", "session_date"]).append_column("at", at)
    found = found.group_by(["provider", "session_date"]).aggregate([("at", "min")])
    return {(row["provider"], row["session_date"]): row["at_min"] for row in found.to_pylist()}


def _earliest(found: Iterable[Mapping[PartKey, int]]) -> dict[PartKey, int]:
    first: dict[PartKey, int] = {}
    for one in found:
        for key, at in one.items():
            first[key] = min(at, first.get(key, at))
    return first


# --- one part: what workers do


def build_part(lake: Lake, task: Task) -> Part:
    """Return what building one part gives to write; a step of `lake.runner`.

    arguments   part; position; run; since_us: no fact before it is new, and bars that ended before it are built

    While the day goes on in every venue of the part, only minutes from `since_us` on are read and compared.
    """
    key: PartKey = task.arguments["part"]
    position: Vector = task.arguments["position"]
    since = Where("ts_open", ">=", to_datetime(task.arguments["since_us"] * 1_000))
    moments, whose = _moments(position), belonging_at(lake, position)
    facts = facts_of(lake, key, moments, whose, since_us=task.arguments["since_us"])
    is_going_on = bool(facts.venues) and _first_end_us(facts.venues.values(), key[1]) > position[CLOCK] * 1_000
    facts = facts if is_going_on else facts_of(lake, key, moments, whose)
    bars = built_bars(facts, ("1m",)) if is_going_on else built_bars(facts)
    computed, due = _known_by(bars, position)
    table = table_named(BUILT)
    where = [*where_part(key), *([since] if is_going_on else [])]
    rows = read(lake, BUILT, [*table.column_names, PUBLISHED_AT], where)
    change = changes(table, computed, effective(table, rows).select(list(table.column_names)), _whereabouts(facts))
    if is_going_on:
        end_ms = _first_end_us(facts.venues.values(), key[1]) // 1_000
        due = Due(end_ms, FOR_EVER) if due is None else Due(min(due.at_ms, end_ms), due.since_us)
    return Part(stamped(BUILT, change.rows, task.arguments["run"]), due)


def _first_end_us(venues: Iterable[Venue], day: date) -> int:
    """Return when a trading day first ends among venues."""
    at, days = np.zeros(1, np.int64), np.full(1, day_number(day))
    return min(int(spans(at, days, interval_of("1d"), venue).ends[0]) for venue in set(venues))


def where_part(key: PartKey) -> list[Where]:
    """Return where the rows of a part stand."""
    return [Where("provider", "=", key[0]), Where("session_date", "=", key[1])]


def compute(lake: Lake, position: Vector, key: PartKey) -> tuple[pa.Table, Due | None, pa.Table]:
    """Return the bars of a part that follow from the inputs as they were published at `position`, what is to come, and
    whose the symbols of its feeds are."""
    facts = facts_of(lake, key, _moments(position), belonging_at(lake, position))
    return *_known_by(built_bars(facts), position), _whereabouts(facts)


def _whereabouts(facts: Facts) -> pa.Table:
    """Return whose facts the symbols of each feed are."""
    parts = [rows.select(["feed", "symbol", "instrument_id"]) for rows in (facts.trades, facts.quotes)]
    found = pa.concat_tables(parts).group_by(["feed", "symbol", "instrument_id"]).aggregate([])
    return found.rename_columns(["feed", "symbol", MOVED_TO])


def _moments(position: Vector) -> dict[str, datetime | None]:
    return {table: moment_of(position[table]) for table in BUILT_FROM if table in position}


def _known_by(bars: pa.Table, position: Vector) -> tuple[pa.Table, Due | None]:
    """Return the bars known at the clock of a position, and what is to come of the others."""
    limit = pa.scalar(moment_of(position[CLOCK]), STAMP)
    is_known = pc.less_equal(bars["known_at"], limit)
    later = bars.filter(pc.invert(is_known))
    if not later.num_rows:
        return bars, None
    opens = later.filter(pc.equal(later["interval"], "1m"))["ts_open"].cast(pa.int64())
    since_us = pc.min(opens).as_py() if len(opens) else FOR_EVER
    return bars.filter(is_known), Due(milliseconds(pc.min(later["known_at"]).as_py()) + 1, since_us)


def facts_of(
    lake: Lake,
    key: PartKey,
    moments: Mapping[str, datetime | None],
    whose: Belonging,
    instruments: Collection[int] | None = None,
    since_us: int = 0,
) -> Facts:
    """Return what the bars of a part are built from.

    moments       input -> as of when it is read, None for now; an input left out counts as empty
    whose         whom filed rows belong to
    instruments   only these; None: everybody
    since_us      nothing before this instant of the facts' own clock, microseconds since the epoch
    """
    mine = [] if instruments is None else [Where("instrument_id", "in", sorted(whose.sources(instruments)))]
    since = to_datetime(since_us * 1_000)
    recent = [Where("ts_event", ">=", since)] if since_us else []
    trades = _inputs_at(lake, TRADES, moments, whose, [*where_part(key), *mine, *recent])
    quotes = _inputs_at(lake, QUOTES, moments, whose, [*where_part(key), *mine, *recent])
    wanted = pa.array(sorted(instruments or ()), pa.int64())
    if instruments is not None:
        trades, quotes = (rows.filter(pc.is_in(rows["instrument_id"], value_set=wanted)) for rows in (trades, quotes))
    ids = sorted({*trades["instrument_id"].unique().to_pylist(), *quotes["instrument_id"].unique().to_pylist()})
    # A correction may come sessions after its trade, never before it.
    after = [Where("provider", "=", key[0]), Where("session_date", ">=", key[1]), *mine]
    events = _inputs_at(lake, EVENTS, moments, whose, after)
    events = events.filter(pc.is_in(events["instrument_id"], value_set=pa.array(ids, pa.int64())))
    live = {name for name, kind in kinds_of(lake, key[0]).items() if kind is CaptureKind.LIVE}
    return Facts(key[0], trades, events, quotes, venues_of(lake, ids), live)


def _inputs_at(
    lake: Lake, table: str, moments: Mapping[str, datetime | None], whose: Belonging, where: Sequence[Where]
) -> pa.Table:
    """Return the rows of an input in force, under the instruments they belong to."""
    definition = table_named(table)
    names = list(definition.column_names)
    if table not in moments:
        return definition.arrow_schema().empty_table()
    if not definition.is_revised:
        return owned(lake, read(lake, table, names, where, as_of=moments[table]), whose)
    rows = owned(lake, read(lake, table, [*names, PUBLISHED_AT], where, as_of=moments[table]), whose)
    return effective(definition, rows).select(names)


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
