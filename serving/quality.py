"""Questions about quality: what the gate judged, what was refused, found, missing, held. Scores do not exist yet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

import orjson
import pyarrow as pa
import pyarrow.compute as pc

from lake import scan
from lake.catalog import Lake
from lake.scan import Where
from lake.tables import TABLES
from quality_checks.gaps import GapStatus
from quality_checks.holds import list_holds
from serving.answers import Answered, newest, page, snapshots_of, told
from serving.demands import NO_SCORES
from serving.formats import plain_value

_STAMP = pa.timestamp("us", "UTC")


class History(StrEnum):
    """Parts of the quality history that can be asked for; the value is the address, `table` the table."""

    GATE_RUNS = "gate-runs"
    QUARANTINE = "quarantine"
    FINDINGS = "findings"

    @property
    def table(self) -> str:
        """The table that holds it."""
        return "quality." + self.value.replace("-", "_")


@dataclass(frozen=True, slots=True)
class HistoryQuestion:
    """What is asked of a history: newest rows first; `[start, end)` by recorded_at."""

    table_name: str | None = None
    provider: str | None = None
    start: datetime | None = None
    end: datetime | None = None
    as_of: datetime | None = None
    limit: int = 1_000
    offset: int = 0


def history(lake: Lake, part: History, question: HistoryQuestion) -> Answered:
    """Return rows of a part of the quality history."""
    asked = [
        Where("table_name", "=", question.table_name),
        Where("provider", "=", question.provider),
        Where("recorded_at", ">=", question.start),
        Where("recorded_at", "<", question.end),
    ]
    where = [one for one in asked if one.value is not None]
    return _newest_first(lake, part.table, where, question)


@dataclass(frozen=True, slots=True)
class GapsQuestion:
    """What is asked of the gaps; `[start, end)` touches the instants of a gap."""

    only_open: bool = False
    provider: str | None = None
    feed: str | None = None
    symbol: str | None = None
    table_name: str | None = None
    status: str | None = None
    start: datetime | None = None
    end: datetime | None = None
    as_of: datetime | None = None
    limit: int = 1_000
    offset: int = 0


def gaps(lake: Lake, question: GapsQuestion) -> Answered:
    """Return gaps, each as its newest row tells it: open, filling, filled, proven_empty or unfillable."""
    snapshots = snapshots_of(lake, "quality.gaps")
    asked = [Where(name, "=", getattr(question, name)) for name in ("provider", "feed", "symbol")]
    where = [one for one in asked if one.value is not None]
    rows = scan.read(lake, "quality.gaps", where=where, as_of=question.as_of).sort_by("recorded_at")
    # A gap closes by a later row; rows of one instant: the one that does not say open.
    status = {GapStatus.OPEN.value: 0}
    newest_by: dict[str, tuple[datetime, int, int]] = {}
    columns = (rows[name].to_pylist() for name in ("gap_id", "recorded_at", "status"))
    for number, (gap_id, recorded_at, told_status) in enumerate(zip(*columns, strict=True)):
        rank = (recorded_at, status.get(told_status, 1), number)
        newest_by[gap_id] = max(newest_by.get(gap_id, rank), rank)
    found = rows.take(pa.array(sorted(number for _, _, number in newest_by.values()), pa.int64()))
    is_open = pc.is_in(found["status"], value_set=pa.array([GapStatus.OPEN.value, GapStatus.FILLING.value]))
    found = found.filter(is_open) if question.only_open else found
    for name in ("table_name", "status"):
        value = getattr(question, name)
        found = found if value is None else found.filter(pc.equal(found[name], value))
    if question.start is not None:
        found = found.filter(pc.greater(found["gap_end"], pa.scalar(question.start, _STAMP)))
    if question.end is not None:
        found = found.filter(pc.less(found["gap_start"], pa.scalar(question.end, _STAMP)))
    open_count = sum(1 for value in found["status"].to_pylist() if value in (GapStatus.OPEN, GapStatus.FILLING))
    shown, more = page(found.sort_by([("recorded_at", "descending")]), question.limit, question.offset)
    metadata = told(lake, snapshots, newest(rows, "recorded_at"), as_of=question.as_of)
    return Answered(shown, {**metadata, "open_count": open_count, **more})


def holds(lake: Lake) -> Answered:
    """Return the batches that the gate holds back, and why."""
    names = [name for name in TABLES if name.startswith("normalized.")]
    snapshots = snapshots_of(lake, *names)
    rows = [
        {
            "hold_id": hold.hold_id,
            "table_name": hold.table,
            "owner": hold.owner,
            "row_count": hold.row_count,
            "held_at": hold.held_at_ns // 1_000,
            "run_id": hold.run_id,
            "report": orjson.dumps(plain_value(hold.report)).decode(),
        }
        for hold in list_holds(lake)
    ]
    schema = pa.schema(
        [
            *((name, pa.string()) for name in ("hold_id", "table_name", "owner")),
            ("row_count", pa.int64()),
            ("held_at", _STAMP),
            ("run_id", pa.string()),
            ("report", pa.string()),
        ]
    )
    table = pa.Table.from_pylist(rows, schema)
    return Answered(table, told(lake, snapshots, newest(table, "held_at")))


def summary(lake: Lake) -> dict[str, object]:
    """Return how the lake stands: verdicts, refusals, findings, open gaps and holds, and that there are no scores."""
    tables = [*(part.table for part in History), "quality.gaps"]
    snapshots = snapshots_of(lake, *tables)
    runs = scan.read(lake, "quality.gate_runs", ["table_name", "verdict", "recorded_at"])
    still_open = gaps(lake, GapsQuestion(only_open=True, limit=0)).metadata["open_count"]
    return {
        "metadata": told(lake, snapshots, newest(runs, "recorded_at")),
        "scores": None,
        "scores_note": NO_SCORES,
        "gate_runs": _counts(runs, ["table_name", "verdict"]),
        "quarantined": _counts(scan.read(lake, "quality.quarantine", ["table_name", "rule"]), ["table_name", "rule"]),
        "findings": _counts(scan.read(lake, "quality.findings", ["kind", "severity"]), ["kind", "severity"]),
        "open_gaps": still_open,
        "holds": [hold.hold_id for hold in list_holds(lake)],
    }


def _counts(rows: pa.Table, by: Sequence[str]) -> list[dict[str, object]]:
    counted = rows.select(list(by)).group_by(list(by)).aggregate([([], "count_all")]).rename_columns([*by, "count"])
    found: list[dict[str, object]] = counted.sort_by([(name, "ascending") for name in by]).to_pylist()
    return found


def _newest_first(lake: Lake, table: str, where: Sequence[Where], question: HistoryQuestion) -> Answered:
    snapshots = snapshots_of(lake, table)
    rows = scan.read(lake, table, where=where, as_of=question.as_of)
    shown, more = page(rows.sort_by([("recorded_at", "descending")]), question.limit, question.offset)
    metadata = told(lake, snapshots, newest(rows, "recorded_at"), as_of=question.as_of)
    return Answered(shown, {**metadata, "scores_note": NO_SCORES, **more})
