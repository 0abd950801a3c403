"""Holds: batches that the gate refused, listed, released or rejected by a person with a reason.

A release is audited again, on the files it would publish. While a batch was held the feed went on: what was delivered again
meanwhile was published then, so the held copy is compared with main anew and counts as repeated. Rows in quarantine by a
rule `held_…` have left the hold for good, whatever crash came after: a later release does not publish them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

import pyarrow as pa
import pyarrow.compute as pc

from lake import publish as publishing
from lake.as_of import ledger
from lake.catalog import Lake
from lake.conditions import Where
from lake.errors import InvalidValueError, QualityError
from lake.heads import Act, Hold
from lake.instants import to_datetime
from lake.scan import read
from lake.staging import discard
from lake.tables import TABLES
from quality_checks.gate import GateReport, audit_to_the_end, failing_rows
from quality_checks.levels import known_levels
from quality_checks.news import existing_on_main, news_of
from quality_checks.publishing import judged, publish_judged
from quality_checks.records import record_findings, record_quarantine
from quality_checks.rules import event_ids, quarantine_rows

HELD = "held_"
"""Prefix of the quarantine rules that take rows out of a hold: `held_rejected`, `held_price_jump` …"""


@dataclass(frozen=True, slots=True)
class Decision:
    """What became of a hold.

    outcome      released, rejected, or already (it was settled before: `detail` says how)
    rows         rows published
    repeated     held rows that main had meanwhile
    quarantined  held rows that went to quarantine, now or before
    """

    hold_id: str
    table: str
    outcome: str
    rows: int = 0
    repeated: int = 0
    quarantined: int = 0
    detail: str = ""

    def document(self) -> dict[str, object]:
        """Return the decision as JSON values."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class _Share:
    """What is left of a hold: `rows` to publish, and the hold with the counts as they will be."""

    rows: pa.Table
    hold: Hold
    repeated: int
    quarantined: int
    findings: pa.Table


def list_holds(lake: Lake) -> list[Hold]:
    """Return every open hold, oldest first."""
    found = [hold for name in TABLES if name.startswith("normalized.") for hold in lake.head(name).holds]
    return sorted(found, key=lambda hold: (hold.held_at_ns, hold.hold_id))


def release(
    lake: Lake,
    hold_id: str,
    reason: str,
    *,
    without_failed: bool = False,
    waive: Sequence[str] = (),
    who: str = "operator",
) -> Decision:
    """Publish a hold's rows after a second audit; returns what was done, or `already`.

    without_failed   the rows that failed go to quarantine, the rest is published
    waive            names of checks that may fail this time

    Raises QualityError when checks still fail (nothing changes), NotFoundError when there never was such a hold,
    InvalidValueError without a reason.
    """
    _need_reason(reason)
    table = str(lake.state.hold(hold_id)["table"])
    with lake.state.lease(table):
        hold = _open(lake, table, hold_id)
        if hold is None:
            return _already(lake, table, hold_id)
        share = _share(lake, hold)
        if without_failed:
            share = _without_failed(lake, share, waive, reason)
        detail = {"hold": hold_id, "waive": list(waive), "without_failed": without_failed, "rows": share.rows.num_rows}
        record_findings(lake, share.findings, f"{hold.run_id}-release")
        if share.rows.num_rows == 0:
            lake.state.audit(who, "release", reason, detail)
            publishing.reject(lake, share.hold)
        else:
            _publish(lake, share, waive, reason, who, detail)
        return Decision(hold_id, table, "released", share.rows.num_rows, share.repeated, share.quarantined)


def reject(lake: Lake, hold_id: str, reason: str, *, who: str = "operator") -> Decision:
    """Send a hold's rows to quarantine (rule `held_rejected`) and take it off the list; returns what was done, or `already`.

    Raises NotFoundError when there never was such a hold, InvalidValueError without a reason.
    """
    _need_reason(reason)
    table = str(lake.state.hold(hold_id)["table"])
    with lake.state.lease(table):
        hold = _open(lake, table, hold_id)
        if hold is None:
            return _already(lake, table, hold_id)
        rows = _own(hold, publishing.held_rows(lake, hold))
        gone = _held_in_quarantine(lake, hold)
        rest = rows.filter(pc.invert(pc.is_in(event_ids(rows), value_set=gone)))
        _quarantine(lake, hold, rest, "rejected", reason)
        lake.steps.reached("reject.quarantined")
        lake.state.audit(who, "reject", reason, {"hold": hold_id, "rows": rows.num_rows})
        publishing.reject(lake, _counted(hold, rows=0, moved=0, repeated=0, quarantined=rows.num_rows))
        return Decision(hold_id, table, "rejected", quarantined=rows.num_rows)


def left_for_good(lake: Lake, table: str, owner: str) -> set[str]:
    """Return the facts in quarantine less those that a release or reject of an open hold put there before it was cut short.

    They count as held until it is repeated.
    """
    where = [Where("table_name", "=", table), Where("provider", "=", owner)]
    quarantined = read(lake, "quality.quarantine", ["event_id", "rule", "capture_id", "message_seq"], where)
    ranges = [one for hold in lake.head(table).holds if hold.owner == owner for one in hold.ranges]
    return {
        row["event_id"]
        for row in quarantined.to_pylist()
        if not row["rule"].startswith(HELD)
        or not any(one.capture_id == row["capture_id"] and one.first_seq <= row["message_seq"] <= one.last_seq for one in ranges)
    }


def _need_reason(reason: str) -> None:
    if not reason.strip():
        raise InvalidValueError("a decision about a hold needs a reason; it is kept in the audit log")


def _open(lake: Lake, table: str, hold_id: str) -> Hold | None:
    return next((hold for hold in lake.head(table).holds if hold.hold_id == hold_id), None)


def _already(lake: Lake, table: str, hold_id: str) -> Decision:
    run_id = lake.state.hold(hold_id)["run"]
    settled = [one for one in ledger(lake, table) if one.run_id == run_id and one.act in (Act.RELEASE, Act.REJECT)]
    detail = f"{settled[-1].act.value} at {settled[-1].published_at.isoformat()}" if settled else "not on main's list"
    rows = settled[-1].counts.get("rows", 0) if settled else 0
    return Decision(hold_id, table, "already", rows, detail=detail)


def _own(hold: Hold, rows: pa.Table) -> pa.Table:
    """Return the held rows without those that were published before and only moved: their messages are of no range of it."""
    mask = pa.array([False] * rows.num_rows)
    for one in hold.ranges:
        of_range = pc.and_(
            pc.equal(rows["capture_id"], one.capture_id),
            pc.and_(pc.greater_equal(rows["message_seq"], one.first_seq), pc.less_equal(rows["message_seq"], one.last_seq)),
        )
        mask = pc.or_(mask, of_range)
    return rows.filter(mask)


def _held_in_quarantine(lake: Lake, hold: Hold) -> pa.Array:
    """Return the event ids of this hold's facts that left it for quarantine."""
    captures = sorted({one.capture_id for one in hold.ranges})
    where = [Where("table_name", "=", hold.table), Where("capture_id", "in", captures)]
    found = read(lake, "quality.quarantine", ["event_id", "rule"], where)
    return found.filter(pc.starts_with(found["rule"], HELD))["event_id"].combine_chunks()


def _share(lake: Lake, hold: Hold) -> _Share:
    """Return what of a hold is still to be published: not in quarantine, and not on main meanwhile."""
    held = publishing.held_rows(lake, hold)
    own = _own(hold, held)
    gone = pc.is_in(event_ids(own), value_set=_held_in_quarantine(lake, hold))
    quarantined = pc.sum(gone).as_py() or 0
    at = to_datetime(lake.clock())
    news = news_of(hold.table, own.filter(pc.invert(gone)), existing_on_main(lake), at, hold.run_id)
    record_quarantine(lake, news.refused, f"{hold.run_id}-release")
    quarantined += news.refused.num_rows
    counted = _counted(hold, rows=news.rows.num_rows, moved=news.moved, repeated=news.repeated, quarantined=quarantined)
    rows = held if news.rows.num_rows == held.num_rows else news.rows
    return _Share(rows, counted, news.repeated, quarantined, news.findings)


def _counted(hold: Hold, *, rows: int, moved: int, repeated: int, quarantined: int) -> Hold:
    """Return the hold with the counts of its batch as they are once it is settled."""
    counts = {**hold.counts, "rows": rows, "moved": moved}
    counts["repeated"] = hold.counts.get("repeated", 0) + repeated
    counts["quarantined"] = hold.counts.get("quarantined", 0) + quarantined
    return replace(hold, counts=counts)


def _without_failed(lake: Lake, share: _Share, waive: Sequence[str], reason: str) -> _Share:
    """Return the share without the rows that fail row checks, which are in quarantine then. Raises QualityError."""
    if share.rows.num_rows == 0:
        return share
    hold = share.hold
    if hold.counts["moved"]:
        raise QualityError(
            f"{hold.hold_id} also places published rows anew; release it whole or reject it", {"hold": hold.hold_id}
        )
    before = known_levels(lake, hold.table, hold.owner)
    report = audit_to_the_end(hold.table, share.rows, {"hold": hold.hold_id}, waive=waive, before=before)
    failing = failing_rows(hold.table, share.rows, report.failed_checks, before=before)
    is_out = pa.array([False] * share.rows.num_rows)
    numbers = pa.array(range(share.rows.num_rows), pa.int64())
    for rule, found in failing.items():
        mask = pc.and_(pc.is_in(numbers, value_set=found), pc.invert(is_out))
        _quarantine(lake, hold, share.rows.filter(mask), rule, reason)
        is_out = pc.or_(is_out, mask)
    kept = share.rows.filter(pc.invert(is_out))
    out = share.rows.num_rows - kept.num_rows
    counts = {**hold.counts, "rows": kept.num_rows, "quarantined": hold.counts["quarantined"] + out}
    return _Share(kept, replace(hold, counts=counts), share.repeated, share.quarantined + out, share.findings)


def _quarantine(lake: Lake, hold: Hold, rows: pa.Table, rule: str, reason: str) -> None:
    if rows.num_rows == 0:
        return
    values = pa.repeat(pa.scalar(reason, pa.string()), rows.num_rows)
    expected = f"rows of {hold.hold_id} that pass {rule}" if rule != "rejected" else "a person's release"
    refused = quarantine_rows(hold.table, rows, HELD + rule, values, expected, to_datetime(lake.clock()), hold.run_id)
    record_quarantine(lake, refused, f"{hold.run_id}-{rule}")


def _publish(lake: Lake, share: _Share, waive: Sequence[str], reason: str, who: str, detail: dict[str, object]) -> GateReport:
    hold = share.hold
    is_whole = share.rows.num_rows == hold.row_count and share.repeated == share.quarantined == 0
    staged = publishing.stage_release(lake, hold, None if is_whole else share.rows)
    try:
        judgement = judged(lake, staged, waive)
    except QualityError:
        discard(lake, staged)
        raise
    report = judgement.report
    if not report.ok:
        discard(lake, staged)
        lake.state.audit(who, "release refused", reason, {**detail, "failed": list(report.failed_checks)})
        checks = ", ".join(report.failed_checks)
        raise QualityError(f"hold {hold.hold_id} still fails {checks}; it stays held", report.as_dict())
    lake.state.audit(who, "release", reason, detail)
    publish_judged(lake, staged, judgement)
    return report
