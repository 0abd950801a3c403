"""Adjusting: the normalized bars and actions become agreed bars, factors and the ready-made daily answer.

Everything in `adjusted` is a pure function of what the normalized tables had published at one moment; the position of each
adjusted table (owner `adjusted`) says which: normalized table -> its last publication, in milliseconds since the epoch. So
an adjustment can be made again from its position, which is what a rebuild does.

Only what differs from the effective rows is written. Rows whose key and known_at stay but whose values changed, because an
input arrived late, are published anew: of several rows with one key the one published last is in force. Nothing derived is
ever held: failing checks leave the position where it is.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from lake import as_of, files
from lake.catalog import Lake
from lake.conditions import Where
from lake.heads import Act
from lake.instants import EPOCH, to_datetime
from lake.publish import advance, stage
from lake.scan import read, replaced_files
from lake.staging import Increment, clean_dead_branches
from lake.tables import Table, table_named
from lake.values import Vector
from quality_checks.news import stamped
from quality_checks.publishing import run_name, settle
from quality_checks.records import record, record_findings, record_quarantine
from quality_checks.rules import finding_rows
from transforms.adjust import bars_1d
from transforms.agree import Agreed, agreed_bars
from transforms.factor_rows import Factors
from transforms.factors import factors
from transforms.revisions import effective
from transforms.steps import derived_ids

OWNER = "adjusted"
BARS, ACTIONS = "normalized.bars", "normalized.corporate_actions"
AGREED, FACTORS, BARS_1D = "adjusted.agreed_bars", "adjusted.factors", "adjusted.bars_1d"
TABLES = (AGREED, FACTORS, BARS_1D)
PUBLISHED_AT = "published_at"


@dataclass(slots=True)
class AdjustReport:
    """What an adjustment did: new rows by table, and the instruments that wait for a person."""

    rows: dict[str, int] = field(default_factory=dict)
    runs: list[str] = field(default_factory=list)
    blocked: list[int] = field(default_factory=list)

    def document(self) -> dict[str, object]:
        """Return the report as JSON values."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Adjusted:
    """Everything computed from one state of the inputs."""

    agreed: Agreed
    factors: Factors

    def bars(self, run_id: str) -> pa.Table:
        """Return rows of adjusted.bars_1d."""
        return bars_1d(self.agreed.rows, self.factors.rows, run_id=run_id, blocked=self.factors.blocked)


def adjust(lake: Lake) -> AdjustReport:
    """Bring the adjusted tables up to what the normalized tables have published; returns what was done.

    Takes the lease of each table; safe to repeat after any crash. Raises QualityError when rows break their contract or an
    audit could not be finished: the table's position stays, and the next call tries again.
    """
    report = AdjustReport()
    with lake.state.lease(AGREED), lake.state.lease(FACTORS), lake.state.lease(BARS_1D):
        after = input_position(lake)
        lagging = []
        for table in TABLES:
            clean_dead_branches(lake, table)
            as_of.reconcile(lake, table)
            if lake.head(table).vector(OWNER) != after:
                lagging.append(table)
        if not lagging or not after:
            return report
        recorded_at = to_datetime(lake.clock())
        computed = compute(lake, after, recorded_at)
        report.blocked = sorted(computed.factors.blocked)
        _record(lake, computed, run_name(AGREED, OWNER, {}, after))
        for table in lagging:
            before = lake.head(table).vector(OWNER)
            run_id = run_name(table, OWNER, before, after)
            if table == BARS_1D:
                report.rows[table] = _rewrite(lake, computed, before, after, run_id)
            else:
                report.rows[table] = _append(lake, table, computed, before, after, run_id, recorded_at)
            if report.rows[table]:
                report.runs.append(run_id)
    return report


def input_position(lake: Lake) -> Vector:
    """Return when each input was last published, in milliseconds since the epoch; an input without rows is left out."""
    found: Vector = {}
    for table in (BARS, ACTIONS):
        made = [one.published_at for one in as_of.ledger(lake, table) if one.act in (Act.PUBLISH, Act.RELEASE, Act.APPEND)]
        if made:
            found[table] = (max(made) - EPOCH) // timedelta(milliseconds=1)
    return found


def compute(lake: Lake, position: Vector, recorded_at: datetime) -> Adjusted:
    """Return everything adjusted that follows from the inputs as they were published at `position`."""
    bars, actions = (inputs_at(lake, table, position) for table in (BARS, ACTIONS))
    priority = lake.settings.provider_priority
    agreed = agreed_bars(bars, actions, run_id="", recorded_at=recorded_at, priority=priority)
    return Adjusted(agreed, factors(agreed.rows, actions, run_id="", recorded_at=recorded_at))


def inputs_at(lake: Lake, table: str, position: Vector) -> pa.Table:
    """Return the effective rows of an input as published at `position`."""
    definition = table_named(table)
    if table not in position:
        return definition.arrow_schema().empty_table()
    moment = EPOCH + timedelta(milliseconds=position[table])
    rows = read(lake, table, [*definition.column_names, PUBLISHED_AT], as_of=moment)
    return effective(definition, rows).select(list(definition.column_names))


def effective_rows(lake: Lake, table: str) -> pa.Table:
    """Return the rows of adjusted.agreed_bars or adjusted.factors in force, all their versions along known_at."""
    definition = table_named(table)
    rows = read(lake, table, [*definition.column_names, PUBLISHED_AT])
    return effective(definition, rows).select(list(definition.column_names))


def _record(lake: Lake, computed: Adjusted, run_id: str) -> None:
    """Write what was found on the way; each finding and refusal stands once, whatever run meets it again."""
    refused = _named(computed.factors.refused, run_id)
    if refused.num_rows:
        record_quarantine(lake, refused, run_id)
    findings = pa.concat_tables([computed.agreed.findings, computed.factors.findings, _refusal_findings(refused)])
    if findings.num_rows:
        record_findings(lake, _named(findings, run_id), run_id)


def _named(rows: pa.Table, run_id: str) -> pa.Table:
    at = rows.schema.get_field_index("run_id")
    return rows.set_column(at, rows.schema.field(at), pa.repeat(run_id, rows.num_rows))


def _refusal_findings(refused: pa.Table) -> pa.Table:
    if refused.num_rows == 0:
        return table_named("quality.findings").arrow_schema().empty_table()
    detail = pc.binary_join_element_wise(refused["rule"], pc.fill_null(refused["value"], "null"), " ").combine_chunks()
    recorded_at = refused["recorded_at"][0].as_py()
    return finding_rows(
        refused["event_id"].combine_chunks(), "no_factor", "error", FACTORS, detail, recorded_at, "",
        provider=refused["provider"],
    )  # fmt: skip


# --- agreed bars and factors: appended


@dataclass(frozen=True, slots=True)
class Change:
    """Rows to append so that the effective rows become the computed ones, and where each comes from.

    source   for each row: the number of the computed row it copies, or null for a row that takes an effect back
    """

    rows: pa.Table
    source: pa.Array


def changes(table: Table, computed: pa.Table, existing: pa.Table) -> Change:
    """Return what to append beside the effective `existing` rows so that readers see the `computed` ones.

    New and differing rows are appended. A key that is not computed any more cannot be deleted: what is in force at its
    known_at is said again under it, so that reading along known_at gives the computed answer; where nothing is in force
    then, a factor is rescinded and a bar stays as it was.
    """
    keys = list(table.key)
    chain = [name for name in keys if name != "known_at"]
    new = _frame(table, computed).with_columns(source=pl.int_range(pl.len(), dtype=pl.Int64))
    old = _frame(table, existing).with_columns(old=pl.int_range(pl.len(), dtype=pl.Int64))
    fresh = new.join(old, on=list(table.business_columns), how="anti", nulls_equal=True, maintain_order="left")
    gone = old.join(new, on=keys, how="anti", maintain_order="left").select(*keys, "old")
    in_force = gone.sort("known_at").join_asof(
        new.sort("known_at").select(*keys, "source"), on="known_at", by=chain, strategy="backward", check_sortedness=False
    )
    replaced = in_force.filter(pl.col("source").is_not_null())
    again = _with_known_at(computed.take(replaced["source"].to_arrow()), replaced["known_at"].to_arrow())
    again, is_new = _differing(table, again, old)
    rows = [computed.take(fresh["source"].to_arrow()), again]
    source = [fresh["source"], replaced["source"].filter(is_new)]
    if table.name == FACTORS:
        nothing = in_force.filter(pl.col("source").is_null())
        rescinded, is_new = _differing(table, _rescinded(existing.take(nothing["old"].to_arrow())), old)
        rows.append(rescinded)
        source.append(pl.Series("source", [None] * rescinded.num_rows, pl.Int64))
    return Change(pa.concat_tables(rows), pl.concat(source).to_arrow())


def _differing(table: Table, rows: pa.Table, old: pl.DataFrame) -> tuple[pa.Table, pl.Series]:
    """Return the rows that do not stand in `old` as they are, and which they are."""
    frame = _frame(table, rows).with_columns(row=pl.int_range(pl.len(), dtype=pl.Int64))
    kept = frame.join(old, on=list(table.business_columns), how="anti", nulls_equal=True, maintain_order="left")["row"]
    mask = pl.Series("kept", range(rows.num_rows), pl.Int64).is_in(kept.to_list())
    return rows.take(kept.to_arrow()), mask


def _frame(table: Table, rows: pa.Table) -> pl.DataFrame:
    return pl.DataFrame({name: pl.from_arrow(rows[name]) for name in table.business_columns})


def _with_known_at(rows: pa.Table, known_at: pa.Array) -> pa.Table:
    at = rows.schema.get_field_index("known_at")
    return rows.set_column(at, rows.schema.field(at), known_at.cast(rows.schema.field(at).type))


def _rescinded(rows: pa.Table) -> pa.Table:
    for name, value in (("status", "rescinded"), ("price_factor", Decimal(1)), ("volume_factor", Decimal(1))):
        at = rows.schema.get_field_index(name)
        rows = rows.set_column(at, rows.schema.field(at), pa.repeat(pa.scalar(value, rows.schema.field(at).type), rows.num_rows))
    return rows


def _append(lake: Lake, table: str, computed: Adjusted, before: Vector, after: Vector, run_id: str, recorded_at: datetime) -> int:
    definition = table_named(table)
    rows, lineage = (
        (computed.agreed.rows, computed.agreed.lineage) if table == AGREED else (computed.factors.rows, computed.factors.lineage)
    )
    change = changes(definition, rows, effective_rows(lake, table))
    count = int(change.rows.num_rows)
    if count == 0:
        advance(lake, table, OWNER, before, after, run_id, {"rows": 0}, ())
        as_of.reconcile(lake, table)
        return 0
    new = stamped(table, change.rows, run_id)
    told = lineage_of(definition, new, change.source, rows, lineage, run_id)
    record(lake, "ops.lineage", told, run_id, ("output_event_id", "input_event_id", "role"), Where("run_id", "=", run_id))
    staged = stage(lake, Increment(table, OWNER, new, before, after, run_id, (), {"rows": count}))
    lake.steps.reached("adjust.staged")
    settle(lake, staged, may_hold=False)
    return count


def lineage_of(
    definition: Table, new: pa.Table, source: pa.Array, computed: pa.Table, lineage: pa.Table, run_id: str
) -> pa.Table:
    """Return the lineage of appended rows: that of the computed row each copies, under its own event id."""
    named = pl.DataFrame(
        {
            "output_event_id": pl.from_arrow(derived_ids(definition, computed)),
            "source": pl.Series(range(computed.num_rows), dtype=pl.Int64),
        }
    )
    made = pl.DataFrame({"source": pl.from_arrow(source), "made": pl.from_arrow(derived_ids(definition, new))})
    frame = pl.DataFrame({name: pl.from_arrow(lineage[name]) for name in lineage.column_names})
    joined = frame.join(named, on="output_event_id").join(made, on="source")
    columns = {**{name: joined[name] for name in lineage.column_names}, "output_event_id": joined["made"]}
    told = pa.table({name: columns[name].to_arrow() for name in lineage.column_names}).cast(lineage.schema)
    return _named(told, run_id)


# --- bars_1d: rewritten where instruments changed


def _rewrite(lake: Lake, computed: Adjusted, before: Vector, after: Vector, run_id: str) -> int:
    """Rewrite the files of instruments whose answer changed; returns how many rows differ."""
    definition = table_named(BARS_1D)
    existing = read(lake, BARS_1D, list(definition.column_names))
    rows = with_kept_runs(computed.bars(run_id), existing)
    changed = rows.filter(pc.equal(rows["run_id"], run_id))
    gone = _vanished(rows, existing, computed.factors.blocked)
    touched = sorted({*changed["instrument_id"].unique().to_pylist(), *gone})
    if not touched:
        advance(lake, BARS_1D, OWNER, before, after, run_id, {"rows": 0}, ())
        as_of.reconcile(lake, BARS_1D)
        return 0
    replaced = replaced_files(lake, BARS_1D, [Where("instrument_id", "in", touched)])
    beside = files.read_files(definition, files.paths_of(replaced)) if replaced else existing.slice(0, 0)
    is_touched = pa.array(touched, pa.int64())
    written = pa.concat_tables(
        [
            rows.filter(pc.is_in(rows["instrument_id"], value_set=is_touched)),
            beside.filter(pc.invert(pc.is_in(beside["instrument_id"], value_set=is_touched))).cast(rows.schema),
        ]
    )
    increment = Increment(BARS_1D, OWNER, written, before, after, run_id, (), {"rows": changed.num_rows})
    staged = stage(lake, increment, replaced)
    lake.steps.reached("adjust.staged")
    settle(lake, staged, may_hold=False)
    return int(changed.num_rows)


def with_kept_runs(rows: pa.Table, existing: pa.Table) -> pa.Table:
    """Return rows of adjusted.bars_1d; those that stand already keep the run that first wrote them."""
    definition = table_named(BARS_1D)
    business = list(definition.business_columns)
    old = _frame(definition, existing).with_columns(kept=pl.Series(pl.from_arrow(existing["run_id"])))
    frame = _frame(definition, rows).with_columns(run_id=pl.Series(pl.from_arrow(rows["run_id"])))
    joined = frame.join(old, on=business, how="left", nulls_equal=True, maintain_order="left")
    at = rows.schema.get_field_index("run_id")
    runs = joined.select(pl.coalesce("kept", "run_id"))[:, 0].to_arrow().cast(pa.string())
    return rows.set_column(at, rows.schema.field(at), runs)


def _vanished(rows: pa.Table, existing: pa.Table, blocked: Iterable[int]) -> set[int]:
    """Return instruments with existing sessions that are not computed any more; blocked ones stay as they are."""
    keys = ["instrument_id", "session_date"]
    old, new = (pl.DataFrame({name: pl.from_arrow(table[name]) for name in keys}) for table in (existing, rows))
    return set(old.join(new, on=keys, how="anti")["instrument_id"].to_list()) - set(blocked)
