"""Promotion: raw messages become facts of the normalized tables, batch by batch, each through the gate.

The unit is (table, provider): every target table has a position of its own for each provider, in main's summary. A batch is
decoded once and cut for each table by its position, so that a crash between two tables is mended by the next run. Order in a
batch: quarantine and findings, instruments, then each table: stage, audit, publish or hold. A held batch moves the position
like a published one: it is never decoded again, and the feed goes on. In every batch, for every table:
decoded = rows - moved + repeated + quarantined, where rows were published or are held (moved: see quality_checks/news.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from lake import as_of
from lake.catalog import Lake
from lake.conditions import Where
from lake.errors import CommitConflictError, QualityError
from lake.instants import to_datetime
from lake.publish import advance, stage
from lake.scan import may_hold, read
from lake.staging import Increment, clean_dead_branches, has_branches
from lake.tables import table_named
from lake.values import CaptureKind, Vector
from quality_checks.adjusting import AdjustReport, adjust
from quality_checks.batches import Prepared, Reading, decode_batch, joined_rows, kinds_of, read_batch
from quality_checks.building import BuildReport, build
from quality_checks.contract import CONTRACTS
from quality_checks.naming import NAMED_AT, eras_known
from quality_checks.news import News, existing_on_main, news_of, stamped
from quality_checks.publishing import run_name, settle
from quality_checks.records import record_findings, record_quarantine
from quality_checks.rules import constant, finding_rows
from transforms.feeds import FEEDS
from transforms.normalize import reference_news

REFERENCE_TABLES = ("reference.instruments", "reference.listings")
PROVISIONAL = "provisional_instrument"
_RESTARTS = 5
_ROWS = "rows"


@dataclass(slots=True)
class TableReport:
    """What a promotion did to one table, in facts."""

    decoded: int = 0
    rows: int = 0
    repeated: int = 0
    quarantined: int = 0
    held: int = 0
    runs: list[str] = field(default_factory=list)
    holds: list[str] = field(default_factory=list)


@dataclass(slots=True)
class PromotionReport:
    """What a promotion of one provider did.

    control            messages that carry no fact by design
    refused_messages   messages that could not be decoded, in quarantine whole
    waiting            messages whose capture is not in ops.captures yet: land the history, promote again
    instruments        rows published in reference.instruments
    """

    provider: str
    batches: int = 0
    messages: int = 0
    control: int = 0
    refused_messages: int = 0
    waiting: int = 0
    instruments: int = 0
    tables: dict[str, TableReport] = field(default_factory=dict)

    @property
    def holds(self) -> list[str]:
        """Ids of the batches that the gate held."""
        return [hold for report in self.tables.values() for hold in report.holds]

    def document(self) -> dict[str, object]:
        """Return the report as JSON values."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class WholePromotion:
    """What `promote_all` did: one report a provider that had messages, the adjustment, and the bars built."""

    providers: tuple[PromotionReport, ...]
    adjusted: AdjustReport
    built: BuildReport

    @property
    def holds(self) -> list[str]:
        """Ids of the batches that the gate held."""
        return [hold for report in self.providers for hold in report.holds]

    def document(self) -> dict[str, object]:
        """Return the report as JSON values."""
        derived = {"adjusted": self.adjusted.document(), "built": self.built.document()}
        return {"providers": [report.document() for report in self.providers], **derived}


def promote_all(lake: Lake, told: Callable[[PromotionReport], None] = lambda report: None) -> WholePromotion:
    """Promote every provider, then bring what is derived up to it; returns what was done. See `promote`, `adjust`, `build`."""
    reports = [promote(lake, provider, told) for provider in providers_of(lake)]
    return WholePromotion(tuple(report for report in reports if report.messages or report.waiting), adjust(lake), build(lake))


def tables_of(provider: str) -> tuple[str, ...]:
    """Return the tables that the feeds of a provider fill."""
    return tuple(sorted({table for feed in FEEDS.values() if feed.provider == provider for table in feed.tables}))


def most_messages(lake: Lake, provider: str) -> int:
    """Return how many messages of a provider a batch may hold: the setting, or less where its feeds say so."""
    return min([lake.settings.batch_messages, *(feed.most_messages for feed in FEEDS.values() if feed.provider == provider)])


def providers_of(lake: Lake) -> tuple[str, ...]:
    """Return every provider of the registry or of a message."""
    captured = read(lake, "ops.captures", ["provider"])["provider"].unique().to_pylist()
    return tuple(sorted({feed.provider for feed in FEEDS.values()} | set(captured)))


def promote(
    lake: Lake,
    provider: str,
    told: Callable[[PromotionReport], None] = lambda report: None,
    *,
    contracts: Path = CONTRACTS,
) -> PromotionReport:
    """Promote everything of one provider that is in raw.messages; returns what was done.

    told        called after each batch with the report so far
    contracts   folder of the contracts

    Takes the lease of each table, unless there is nothing to do. Safe to repeat after any crash. Raises QualityError when an
    audit could not be finished or facts were lost on the way (nothing is published then, the position stays),
    CommitUnknownError as the lake does.
    """
    report = PromotionReport(provider)
    tables = tables_of(provider)
    if _is_done(lake, provider, tables):
        return report
    with ExitStack() as leases:
        for table in (*tables, *REFERENCE_TABLES):
            leases.enter_context(lake.state.lease(table))
            clean_dead_branches(lake, table)
            as_of.reconcile(lake, table)
        if not tables:
            report.waiting = read_batch(lake, provider, {}, {}, lake.settings.batch_messages).waiting
            return report
        kinds = kinds_of(lake, provider)
        restarts = 0
        while True:
            try:
                if not _promote_batch(lake, provider, tables, kinds, report, contracts):
                    return report
            except CommitConflictError:
                restarts += 1  # main moved although the lease is ours: read the positions again
                if restarts > _RESTARTS:
                    raise
            else:
                told(report)


def _is_done(lake: Lake, provider: str, tables: Sequence[str]) -> bool:
    """Return whether a provider has no message beyond its positions and no run of it is left half done, without a lease.

    Most providers most of the time: a pipeline asks each of them every few seconds.
    """
    of_provider = Where("provider", "=", provider)
    if not may_hold(lake, "raw.messages", [of_provider]):
        return True
    low = _lowest(lake.head(table).vector(provider) for table in tables)
    for partition, end in lake.head("raw.messages").vector("raw").items():
        ours = [of_provider, Where("log_partition", "=", int(partition)), Where("log_offset", ">=", low.get(partition, 0))]
        if may_hold(lake, "raw.messages", [*ours, Where("log_offset", "<", end)]):
            return False
    for table in (*tables, *REFERENCE_TABLES):
        if has_branches(lake, table):
            return False
        as_of.reconcile(lake, table)
    return True


def _promote_batch(
    lake: Lake,
    provider: str,
    tables: Iterable[str],
    kinds: Mapping[str, CaptureKind],
    report: PromotionReport,
    contracts: Path,
) -> bool:
    """Promote the next batch; False when there is none."""
    positions = {table: lake.head(table).vector(provider) for table in tables}
    batch = read_batch(lake, provider, _lowest(positions.values()), kinds, most_messages(lake, provider))
    report.waiting = batch.waiting
    if batch.messages.num_rows == 0:
        return False
    afters = {table: _highest(position, batch.after) for table, position in positions.items()}
    wanted = {table: position for table, position in positions.items() if afters[table] != position}
    runs = {table: run_name(table, provider, position, afters[table]) for table, position in wanted.items()}
    eras = eras_known(lake)
    recorded_at = to_datetime(lake.clock())
    reading = decode_batch(batch, wanted, kinds, runs, recorded_at, eras)
    named = {NAMED_AT: lake.clock() // 1_000} if eras.eras else {}
    news = {table: _news(lake, table, reading.tables[table], recorded_at, runs[table]) for table in wanted}
    _record(lake, reading, [one for one, _ in news.values()], runs)
    lake.steps.reached("promote.quarantined")
    report.instruments += publish_reference(lake, provider, reading, recorded_at, contracts)
    for table, (one, counts) in news.items():
        increment = Increment(
            *(table, provider, one.rows, wanted[table], afters[table], runs[table], reading.tables[table].ranges, counts | named)
        )
        _settle(lake, increment, report.tables.setdefault(table, TableReport()), contracts)
    report.batches += 1
    report.messages += batch.messages.num_rows
    widest = max(reading.tables.values(), key=lambda prepared: prepared.messages)
    report.control += widest.control
    report.refused_messages += widest.refused_messages
    return True


def _lowest(positions: Iterable[Vector]) -> Vector:
    vectors = list(positions)
    keys = set().union(*vectors)
    return {key: min(vector.get(key, 0) for vector in vectors) for key in keys}


def _highest(one: Vector, other: Vector) -> Vector:
    return {key: max(one.get(key, 0), other.get(key, 0)) for key in {*one, *other}}


def _news(lake: Lake, table: str, prepared: Prepared, recorded_at: datetime, run_id: str) -> tuple[News, dict[str, int]]:
    """Return what is new of one table's share, its refused rows joined with the rules', and the counts."""
    rows, refused, findings = joined_rows(table, prepared)
    found = news_of(table, rows, existing_on_main(lake), recorded_at, run_id)
    whole = News(
        found.rows,
        found.repeated,
        found.moved,
        pa.concat_tables([refused, found.refused]),
        pa.concat_tables([findings, found.findings]),
    )
    counts = counts_of(table, prepared, whole)
    return whole, counts


def counts_of(table: str, prepared: Prepared, news: News) -> dict[str, int]:
    """Return the counts of a batch. Raises QualityError when facts were lost: in must be out."""
    counts = {
        "messages": prepared.messages,
        "control": prepared.control,
        "refused_messages": prepared.refused_messages,
        "decoded": prepared.decoded,
        _ROWS: news.rows.num_rows,
        "moved": news.moved,
        "repeated": news.repeated,
        "quarantined": news.refused.num_rows,
    }
    if not adds_up(counts):
        raise QualityError(f"{table}: counts of the batch do not add up: {counts}", dict(counts))
    return counts


def adds_up(counts: Mapping[str, int]) -> bool:
    """Return whether every decoded fact became a new row, a repetition or a quarantined row."""
    return counts["decoded"] == counts[_ROWS] - counts["moved"] + counts["repeated"] + counts["quarantined"]


def _record(lake: Lake, reading: Reading, news: Iterable[News], runs: Mapping[str, str]) -> None:
    run_id = min(runs.values())
    refused = [reading.refused_messages]
    findings = []
    for one in news:
        refused.append(one.refused)
        findings.append(one.findings)
    record_quarantine(lake, pa.concat_tables(refused), run_id)
    record_findings(lake, pa.concat_tables(findings), run_id)


def publish_reference(lake: Lake, provider: str, reading: Reading, recorded_at: datetime, contracts: Path = CONTRACTS) -> int:
    """Publish the instruments and listings that main does not know, before any fact names them; returns new instruments.

    A provisional instrument, known by its provider's symbol only, becomes a finding. The position of these tables counts rows
    and moves only with them. Raises QualityError when they break their contract.
    """
    count = 0
    for table, rows in (("reference.instruments", reading.instruments), ("reference.listings", reading.listings)):
        if rows.num_rows == 0:
            continue
        fresh = reference_news(table_named(table), rows, read(lake, table, list(table_named(table).column_names)))
        if fresh.num_rows == 0:
            continue
        before = lake.head(table).vector(provider)
        after = {_ROWS: before.get(_ROWS, 0) + fresh.num_rows}
        run_id = run_name(table, provider, before, after)
        increment = Increment(table, provider, stamped(table, fresh, run_id), before, after, run_id, (), {_ROWS: fresh.num_rows})
        if table == "reference.instruments":
            record_findings(lake, _provisional(fresh, provider, run_id, recorded_at), run_id)
        settle(lake, stage(lake, increment), may_hold=False, contracts=contracts)
        count += fresh.num_rows if table == "reference.instruments" else 0
    return count


def _provisional(fresh: pa.Table, provider: str, run_id: str, recorded_at: datetime) -> pa.Table:
    """Return a finding for each instrument of which nothing beyond its provider's symbol is known."""
    found = fresh.filter(fresh["is_provisional"])
    ids = pc.binary_join_element_wise("reference.instruments", found["instrument_id"].cast(pa.string()), "/").combine_chunks()
    return finding_rows(
        ids, PROVISIONAL, "info", "reference.instruments", found["identity"].combine_chunks(), recorded_at, run_id,
        provider=constant(provider, found.num_rows), instrument_id=found["instrument_id"],
    )  # fmt: skip


def _settle(lake: Lake, increment: Increment, report: TableReport, contracts: Path) -> None:
    counts = increment.counts
    if increment.rows.num_rows == 0:
        advance(
            lake, increment.table, increment.owner, increment.before, increment.after, increment.run_id, counts, increment.ranges
        )
        as_of.reconcile(lake, increment.table)
    else:
        settlement = settle(lake, stage(lake, increment), contracts=contracts)
        if settlement.hold is None:
            report.rows += counts[_ROWS]
            report.runs.append(increment.run_id)
        else:
            report.held += counts[_ROWS]
            report.holds.append(settlement.hold.hold_id)
    report.decoded += counts["decoded"]
    report.repeated += counts["repeated"]
    report.quarantined += counts["quarantined"]
