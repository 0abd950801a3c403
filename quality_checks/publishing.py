"""One increment through the gate: staged, read back, audited, then published or held."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from lake.catalog import Lake
from lake.conditions import Where
from lake.errors import QualityError
from lake.heads import Hold
from lake.instants import to_datetime
from lake.publish import Publication, hold, publish
from lake.staging import Increment, Staged, discard, read_staged
from lake.tables import rows, table_named
from lake.values import Vector
from quality_checks.contract import CONTRACTS
from quality_checks.gate import GateReport, audit_to_the_end
from quality_checks.levels import keep_levels, known_levels, newer_levels
from quality_checks.records import record


@dataclass(frozen=True, slots=True)
class Settlement:
    """What became of an increment: `publication`, or else `hold`."""

    report: GateReport
    publication: Publication | None = None
    hold: Hold | None = None


@dataclass(frozen=True, slots=True)
class Judgement:
    """The gate's report about an increment, and the levels of its table once it is published."""

    report: GateReport
    levels: pa.Table | None


def run_name(table: str, owner: str, before: Vector, after: Vector) -> str:
    """Return the run of a batch, the same each time it is tried: `trades-binance-0.0_1.4-0.12_1.9`."""
    return f"{table_named(table).short_name}-{owner}-{_offsets(before)}-{_offsets(after)}"


def _offsets(vector: Vector) -> str:
    return "_".join(f"{key.rpartition('.')[2]}.{vector[key]}" for key in sorted(vector)) or "0"


def settle(lake: Lake, staged: Staged, *, may_hold: bool = True, contracts: Path = CONTRACTS) -> Settlement:
    """Audit a staged increment's own files and publish it, or hold it when checks fail.

    may_hold    False for rows that can be made again at any time: failing checks raise instead
    contracts   folder of the contracts

    Raises QualityError when the audit could not be finished, or checks failed and it may not be held; the increment is
    then discarded and the position stays.
    """
    increment = staged.increment
    try:
        judgement = judged(lake, staged, contracts=contracts)
    except QualityError:
        discard(lake, staged)
        raise
    report = judgement.report
    if report.ok:
        return Settlement(report, publication=publish_judged(lake, staged, judgement))
    if may_hold:
        return Settlement(report, hold=hold(lake, staged, report.as_dict()))
    discard(lake, staged)
    checks = ", ".join(report.failed_checks)
    raise QualityError(f"{increment.table}: run {increment.run_id} fails {checks}; not published", report.as_dict())


def judged(lake: Lake, staged: Staged, waive: Sequence[str] = (), contracts: Path = CONTRACTS) -> Judgement:
    """Return the gate's report about the staged files, written to quality.gate_runs. Raises QualityError on audit errors."""
    increment = staged.increment
    rows_staged = read_staged(lake, staged)
    before = known_levels(lake, increment.table, increment.owner)
    context = {"run": increment.run_id, "owner": increment.owner}
    report = audit_to_the_end(
        increment.table,
        rows_staged,
        context,
        waive=waive,
        folder=contracts,
        before=before,
        recorded=lambda report: record_gate_run(lake, increment, report, staged.snapshot_id),
    )
    return Judgement(report, newer_levels(before, increment.table, rows_staged) if report.ok else before)


def publish_judged(lake: Lake, staged: Staged, judgement: Judgement) -> Publication:
    """Publish a staged increment that passed, then keep its prices for the next one. Raises as `publish` does."""
    publication = publish(lake, staged)
    keep_levels(lake, staged.increment.table, staged.increment.owner, judgement.levels)
    return publication


def record_gate_run(lake: Lake, increment: Increment, report: GateReport, snapshot_id: int) -> None:
    """Write one audit to quality.gate_runs; the same verdict about the same run stands once."""
    row = gate_run_row(lake, increment, report, snapshot_id)
    run = Where("run_id", "=", increment.run_id)
    record(lake, "quality.gate_runs", row, increment.run_id, ("run_id", "table_name", "provider", "verdict"), run)


def gate_run_row(lake: Lake, increment: Increment, report: GateReport, snapshot_id: int) -> pa.Table:
    """Return one row of quality.gate_runs."""
    return rows(
        table_named("quality.gate_runs"),
        {
            "run_id": [increment.run_id],
            "table_name": [increment.table],
            "provider": [increment.owner],
            "verdict": [report.verdict],
            "checks_expected": [report.checks_expected],
            "checks_evaluated": [report.evaluated],
            "failed_checks": [",".join(report.failed_checks) or None],
            "row_count": [report.row_count],
            "snapshot_id": [snapshot_id],
            "detail": [json.dumps(report.as_dict(), sort_keys=True)],
            "recorded_at": [to_datetime(lake.clock())],
        },
    )
