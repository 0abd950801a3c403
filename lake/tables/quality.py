"""Quality history: what was refused, found, judged and missing."""

from __future__ import annotations

from lake.tables import quantities as q
from lake.tables.definition import Encoding, PublishedBy, Quantity, Table

_FINDING_KIND = Quantity("kind", "string", "What was found: crossed_quote, restatement, disagreement, price_jump ...")
_SEVERITY = Quantity("severity", "string", "info, warning or error.")
_VERDICT = Quantity("verdict", "string", "passed, failed or error.")
_CHECKS_EXPECTED = Quantity("checks_expected", "int", "Checks in the contract.")
_CHECKS_EVALUATED = Quantity("checks_evaluated", "int", "Checks that reached an outcome.")
_FAILED_CHECKS = Quantity("failed_checks", "string", "Names of the failed checks, joined by commas.")
_ROW_COUNT = Quantity("row_count", "long", "Rows of the increment.", Encoding.DELTA)
_SNAPSHOT_ID = Quantity("snapshot_id", "long", "The audited snapshot.", Encoding.PLAIN)
_GAP_ID = Quantity("gap_id", "string", "Name of the gap; its later rows share it.")
_GAP_STATUS = Quantity("status", "string", "open, filling, filled, proven_empty or unfillable; the newest row of a gap tells.")
_REASON = Quantity("reason", "string", "Why.")
_FIRST_MISSING = Quantity("first_missing", "string", "Sequence or instant after which something may be missing.")
_LAST_MISSING = Quantity("last_missing", "string", "Sequence or instant up to which; null while open.")
_GAP_TABLE = Quantity("table_name", "string", "Table in which rows may be missing; null where a feed does not tell.")
_GAP_START = Quantity(
    "gap_start", "timestamptz", "First instant of what may be missing; null until the data tell.", Encoding.DELTA
)
_GAP_END = Quantity("gap_end", "timestamptz", "Instant after it; null until the data tell.", Encoding.DELTA)
_FILLED_BY = Quantity("filled_by", "string", "Captures that were made to fill it, joined by commas.")
_MISSING_COUNT = Quantity(
    "missing_count", "long", "Facts that are known to be missing when it opened; null where nothing counts them."
)
_FOUND_COUNT = Quantity(
    "found_count", "long", "Of these, how many the lake has now; without a count, how many it has in the gap."
)
_ATTEMPTS = Quantity("attempts", "int", "How often providers were asked for it so far.")
_NEXT_ATTEMPT_AT = Quantity(
    "next_attempt_at", "timestamptz", "When they are asked again; null when they are not.", Encoding.DELTA
)
_WORKER = Quantity("worker", "string", "Who wrote the row: capture, look, backfill ...")
_ALERT_ID = Quantity("alert_id", "string", "Name of the alert: kind/subject and when it was raised.")
_ALERT_KIND = Quantity("kind", "string", "What it is about: breaker_open, feed_given_up, few_providers, no_provider ...")
_SUBJECT = Quantity("subject", "string", "Who or what it concerns, like a provider and an endpoint.")
_ALERT_STATUS = Quantity("status", "string", "raised, acknowledged or resolved; the newest row of an alert tells.")
_WHO = Quantity("who", "string", "The person, or the part of tickhouse, that did it.")

QUARANTINE = Table(
    "quality.quarantine",
    "A row or message refused, with the one reason that refused it.",
    columns=(
        q.EVENT_ID.at(1, required=True),
        q.TABLE_NAME.at(2, required=True),
        q.PROVIDER.at(3, required=True),
        q.FEED.at(4, required=True),
        q.RULE.at(5, required=True),
        q.VALUE.at(6),
        q.EXPECTED.at(7),
        q.CAPTURE_ID.at(8, required=True),
        q.MESSAGE_SEQ.at(9, required=True),
        q.ORDINAL.at(10, required=True),
        q.RECORDED_AT.at(11, required=True),
        q.RUN_ID.at(12, required=True),
    ),
    partition=(("recorded_at", "day"),),
    order=("capture_id", "message_seq", "ordinal"),
    key=("event_id", "rule"),
    published_by=PublishedBy.RECORDED,
)

FINDINGS = Table(
    "quality.findings",
    "Something kept that deserves a look: a crossed quote, a jump, a restatement, a disagreement.",
    columns=(
        q.EVENT_ID.at(1, required=True),
        _FINDING_KIND.at(2, required=True),
        _SEVERITY.at(3, required=True),
        q.TABLE_NAME.at(4, required=True),
        q.PROVIDER.at(5),
        q.INSTRUMENT_ID.at(6),
        q.DETAIL.at(7),
        q.RECORDED_AT.at(8, required=True),
        q.RUN_ID.at(9, required=True),
    ),
    partition=(("recorded_at", "day"),),
    order=("kind", "event_id"),
    key=("event_id", "kind"),
    published_by=PublishedBy.RECORDED,
)

GATE_RUNS = Table(
    "quality.gate_runs",
    "One audit of one increment by its contract.",
    columns=(
        q.RUN_ID.at(1, required=True),
        q.TABLE_NAME.at(2, required=True),
        q.PROVIDER.at(3, required=True),
        _VERDICT.at(4, required=True),
        _CHECKS_EXPECTED.at(5, required=True),
        _CHECKS_EVALUATED.at(6, required=True),
        _FAILED_CHECKS.at(7),
        _ROW_COUNT.at(8, required=True),
        _SNAPSHOT_ID.at(9),
        q.DETAIL.at(10),
        q.RECORDED_AT.at(11, required=True),
    ),
    partition=(("recorded_at", "day"),),
    order=("recorded_at",),
    key=("run_id", "table_name", "provider", "recorded_at"),
    published_by=PublishedBy.RECORDED,
)

GAPS = Table(
    "quality.gaps",
    "A stretch in which something may be missing: one row when it opens, one at each step of its filling, one when it closes.",
    columns=(
        _GAP_ID.at(1, required=True),
        q.PROVIDER.at(2, required=True),
        q.FEED.at(3, required=True),
        q.SYMBOL.at(4),
        _GAP_STATUS.at(5, required=True),
        _REASON.at(6, required=True),
        _FIRST_MISSING.at(7),
        _LAST_MISSING.at(8),
        q.CAPTURE_ID.at(9),
        q.RECORDED_AT.at(10, required=True),
        _GAP_TABLE.at(11),
        q.INTERVAL.at(12, doc="Of missing bars."),
        _GAP_START.at(13),
        _GAP_END.at(14),
        _FILLED_BY.at(15),
        _MISSING_COUNT.at(16),
        _FOUND_COUNT.at(17),
        _ATTEMPTS.at(18),
        _NEXT_ATTEMPT_AT.at(19),
        _WORKER.at(20),
    ),
    partition=(("recorded_at", "day"),),
    order=("recorded_at",),
    key=("gap_id", "status", "attempts"),
    published_by=PublishedBy.RECORDED,
    nullable_key=("attempts",),
)

ALERTS = Table(
    "quality.alerts",
    "Something a person should look at: one row when it is raised, acknowledged, resolved.",
    columns=(
        _ALERT_ID.at(1, required=True),
        _ALERT_KIND.at(2, required=True),
        _SUBJECT.at(3, required=True),
        _SEVERITY.at(4, required=True),
        _ALERT_STATUS.at(5, required=True),
        _WHO.at(6, required=True),
        q.DETAIL.at(7),
        q.RECORDED_AT.at(8, required=True),
    ),
    partition=(("recorded_at", "day"),),
    order=("recorded_at",),
    key=("alert_id", "status", "recorded_at"),
    published_by=PublishedBy.RECORDED,
)

TABLES = (QUARANTINE, FINDINGS, GATE_RUNS, GAPS, ALERTS)
