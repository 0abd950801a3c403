"""Rebuild: a derived table made again from raw, in the order in which it was published, and compared row by row.

Normalized tables replay the publication ledger: the same messages, batch by batch, under the same run ids, each compared with
what was replayed before it. Held and rejected batches stay what they are, and rows that left a hold for quarantine stay out.
Adjusted tables are computed again from each position they stood at. Rows keep runs and message numbers, so `published_at`
stays. What differs is told; a replay that differs must pass the gate batch by batch before it takes main's place.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from lake.as_of import Settled, ledger
from lake.catalog import Lake
from lake.conditions import Where
from lake.content import content_hash
from lake.errors import CorruptedError, InvalidValueError, QualityError
from lake.heads import Act
from lake.instants import to_datetime
from lake.publish import publish, replace_all
from lake.scan import read
from lake.staging import clean_dead_branches, discard, read_staged
from lake.tables import Table, table_named
from lake.values import CaptureKind
from quality_checks import adjusting
from quality_checks.batches import Batch, decode_batch, joined_rows, kinds_of
from quality_checks.gate import audit_to_the_end
from quality_checks.holds import HELD
from quality_checks.levels import keep_levels, newer_levels, no_levels
from quality_checks.news import Existing, news_of, stamped
from quality_checks.publishing import run_name
from quality_checks.rules import event_ids
from transforms.revisions import effective

_SHOWN = 10
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


def rebuild(lake: Lake, table: str) -> RebuildReport:
    """Make a normalized or adjusted table again and put the result in main's place; returns what differs.

    Takes the table's lease. Raises InvalidValueError for a table that is not derived from raw, QualityError when a replay
    that differs does not pass the gate: main stays as it is.
    """
    definition = table_named(table)
    if definition.namespace not in ("normalized", "adjusted"):
        raise InvalidValueError(f"{table} is not made from raw; normalized and adjusted tables are")
    with lake.state.lease(table):
        clean_dead_branches(lake, table)
        base = lake.head(table).snapshot_id
        now = read(lake, table)
        replayed: list[tuple[Settled, pa.Table]] = []
        if table == adjusting.BARS_1D:
            made = _remade_bars_1d(lake, now)
        else:
            replayed = (_replay_normalized if definition.namespace == "normalized" else _replay_adjusted)(lake, definition)
            made = pa.concat_tables([now.slice(0, 0), *(rows.select(now.column_names).cast(now.schema) for _, rows in replayed)])
        report = _compared(definition, now, made)
        levels = {} if report.is_same else _judge(table, replayed)
        staged = replace_all(lake, table, made, f"rebuild-{definition.short_name}-{base}", base)
        if content_hash(definition, read_staged(lake, staged)) != report.after:
            discard(lake, staged)
            raise CorruptedError(f"{table}: the rebuilt files read back differ from the rows written; main stays")
        publish(lake, staged)
        for owner, known in levels.items():
            keep_levels(lake, table, owner, known)
        report.is_replaced = True
        return report


def _judge(table: str, replayed: list[tuple[Settled, pa.Table]]) -> dict[str, pa.Table | None]:
    """Audit each replayed batch as it was audited first, beside the prices replayed before it; returns each owner's last prices.

    What a person released then may fail the same checks now.
    """
    levels: dict[str, pa.Table | None] = {}
    for entry, rows in replayed:
        before = levels.get(entry.owner, no_levels(table))
        if rows.num_rows and entry.act is not Act.RELEASE:
            report = audit_to_the_end(table, rows, {"run": entry.run_id}, before=before)
            if not report.ok:
                checks = ", ".join(report.failed_checks)
                raise QualityError(f"{table}: run {entry.run_id}, made again, fails {checks}; main stays", report.as_dict())
        levels[entry.owner] = newer_levels(before, table, rows)
    return levels


def _compared(table: Table, now: pa.Table, made: pa.Table) -> RebuildReport:
    report = RebuildReport(table.name, made.num_rows, content_hash(table, now), content_hash(table, made))
    names = list(table.column_names)
    left, right = (pl.DataFrame({name: pl.from_arrow(rows[name]) for name in names}) for rows in (now, made))
    counts = [frame.group_by(names).len() for frame in (left, right)]
    joined = counts[0].join(counts[1], on=names, how="full", nulls_equal=True, coalesce=True, suffix="_made")
    surplus = joined.with_columns(more=pl.col("len").fill_null(0).cast(pl.Int64) - pl.col("len_made").fill_null(0).cast(pl.Int64))
    missing, extra = surplus.filter(pl.col("more") > 0), surplus.filter(pl.col("more") < 0)
    report.missing, report.extra = int(missing["more"].sum()), -int(extra["more"].sum())
    for word, part in (("only on main", missing), ("only in the replay", extra)):
        for row in part.select(names).head(_SHOWN).iter_rows(named=True):
            report.shown.append(f"{word}: { ({name: str(value) for name, value in row.items() if value is not None}) }")
    return report


# --- normalized


def _replay_normalized(lake: Lake, table: Table) -> list[tuple[Settled, pa.Table]]:
    replayed: list[tuple[Settled, pa.Table]] = []
    kinds: dict[str, dict[str, CaptureKind]] = {}
    for entry in ledger(lake, table.name):
        if entry.act not in _ROWS_MADE:
            continue
        if entry.owner not in kinds:
            kinds[entry.owner] = kinds_of(lake, entry.owner)
        rows = _replay_batch(lake, table.name, entry, kinds[entry.owner], _existing_in(table, replayed))
        replayed.append((entry, rows))
    return replayed


def _existing_in(table: Table, replayed: list[tuple[Settled, pa.Table]]) -> Existing:
    """Return a reader of what was replayed so far, as `existing_on_main` reads main."""

    def existing(name: str, new: pa.Table) -> pa.Table:
        if table_named(name).is_revised:
            return _effective_of(table, replayed)
        ids = new["instrument_id"].unique()
        parts = [rows.filter(pc.is_in(rows["instrument_id"], value_set=ids)) for _, rows in replayed]
        return pa.concat_tables([table.arrow_schema().empty_table(), *parts])

    return existing


def _effective_of(table: Table, replayed: list[tuple[Settled, pa.Table]]) -> pa.Table:
    """Return the effective rows of what was replayed so far."""
    stamp = pa.timestamp("us", tz="UTC")
    parts = [
        rows.append_column(adjusting.PUBLISHED_AT, pa.repeat(pa.scalar(entry.published_at, stamp), rows.num_rows))
        for entry, rows in replayed
    ]
    if not parts:
        return table.arrow_schema().empty_table()
    return effective(table, pa.concat_tables(parts)).select(list(table.column_names))


def _replay_batch(lake: Lake, table: str, entry: Settled, kinds: dict[str, CaptureKind], existing: Existing) -> pa.Table:
    parts = [
        read(
            lake,
            "raw.messages",
            where=[
                Where("provider", "=", entry.owner),
                Where("capture_id", "=", one.capture_id),
                Where("message_seq", ">=", one.first_seq),
                Where("message_seq", "<=", one.last_seq),
            ],
        )
        for one in entry.ranges
    ]
    messages = pa.concat_tables(parts).sort_by(
        [("log_partition", "ascending"), ("log_offset", "ascending"), ("message_seq", "ascending")]
    )
    at = to_datetime(lake.clock())
    batch = Batch(entry.owner, messages, {}, {})
    reading = decode_batch(batch, {table: {}}, kinds, {table: entry.run_id}, at)
    rows, _, _ = joined_rows(table, reading.tables[table])
    if entry.act is Act.RELEASE:
        rows = rows.filter(pc.invert(pc.is_in(event_ids(rows), value_set=_left_for_quarantine(lake, table, entry))))
    return news_of(table, rows, existing, at, entry.run_id).rows


def _left_for_quarantine(lake: Lake, table: str, entry: Settled) -> pa.Array:
    captures = sorted({one.capture_id for one in entry.ranges})
    where = [Where("table_name", "=", table), Where("capture_id", "in", captures)]
    found = read(lake, "quality.quarantine", ["event_id", "rule"], where)
    return found.filter(pc.starts_with(found["rule"], HELD))["event_id"].combine_chunks()


# --- adjusted


def _replay_adjusted(lake: Lake, table: Table) -> list[tuple[Settled, pa.Table]]:
    replayed: list[tuple[Settled, pa.Table]] = []
    for entry in ledger(lake, table.name):
        if entry.owner != adjusting.OWNER or entry.act is not Act.PUBLISH:
            continue
        computed = adjusting.compute(lake, entry.after, to_datetime(lake.clock()))
        rows = computed.agreed.rows if table.name == adjusting.AGREED else computed.factors.rows
        change = adjusting.changes(table, rows, _effective_of(table, replayed))
        replayed.append((entry, stamped(table.name, change.rows, entry.run_id)))
    return replayed


def _remade_bars_1d(lake: Lake, now: pa.Table) -> pa.Table:
    """Return the daily answers computed from their position; a row that main has too keeps the run that wrote it.

    Instruments that wait for a person keep the rows they have.
    """
    position = lake.head(adjusting.BARS_1D).vector(adjusting.OWNER)
    computed = adjusting.compute(lake, position, to_datetime(lake.clock()))
    rows = adjusting.with_kept_runs(computed.bars(run_name(adjusting.BARS_1D, adjusting.OWNER, {}, position)), now)
    blocked = pa.array(sorted(computed.factors.blocked), pa.int64())
    return pa.concat_tables([rows, now.filter(pc.is_in(now["instrument_id"], value_set=blocked)).cast(rows.schema)])
