"""Rows of `ops.*` and `quality.*` history, and their way into the log.

History is landed like data, never committed row by row.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import pyarrow as pa

from ingest.asks import Gap
from lake.instants import to_datetime
from lake.log.blocks import decode_rows
from lake.log.history import HISTORY_PARTITION as HISTORY_PARTITION
from lake.log.history import append_history as append_history
from lake.log.log import HISTORY_TOPIC, Log
from lake.tables import rows, table_named
from lake.values import Capture

HISTORY_OWNER = "history"
"""Owner of the history topic's position in each table it fills."""
_SCAN_BYTES = 8 * 1024 * 1024


def captures_announced(log: Log, offset: int) -> set[str]:
    """Return the captures that blocks of the history topic from `offset` on announce."""
    found: set[str] = set()
    while True:
        batch = log.read(HISTORY_TOPIC, HISTORY_PARTITION, offset, _SCAN_BYTES, 0.0)
        for _, block in batch.blocks:
            if block.key == "ops.captures":
                found.update(decode_rows(block.payload)[1]["capture_id"].to_pylist())
        if batch.next_offset == offset:
            return found
        offset = batch.next_offset


def capture_row(capture: Capture, recorded_at_ns: int) -> pa.Table:
    """Return the row of ops.captures that announces `capture`."""
    return rows(
        table_named("ops.captures"),
        {
            "capture_id": [capture.capture_id],
            "provider": [capture.provider],
            "feed": [capture.feed],
            "kind": [capture.kind.value],
            "started_at": [to_datetime(capture.started_at_ns)],
            "code_version": [capture.code_version],
            "configuration_hash": [capture.configuration_hash],
            "detail": [capture.detail],
            "recorded_at": [to_datetime(recorded_at_ns)],
        },
    )


def gap_rows(capture: Capture, gaps: Sequence[Gap], recorded_at_ns: int) -> pa.Table:
    """Return rows of quality.gaps: one when a gap opens, one more when it closes."""
    return rows(
        table_named("quality.gaps"),
        {
            "gap_id": [f"{capture.capture_id}-gap-{gap.number}" for gap in gaps],
            "provider": [capture.provider] * len(gaps),
            "feed": [capture.feed] * len(gaps),
            "symbol": [gap.symbol for gap in gaps],
            "status": [gap.status for gap in gaps],
            "reason": [f"{gap.channel}: {gap.reason}" for gap in gaps],
            "first_missing": [gap.first_missing for gap in gaps],
            "last_missing": [gap.last_missing for gap in gaps],
            "capture_id": [capture.capture_id] * len(gaps),
            "recorded_at": [to_datetime(recorded_at_ns)] * len(gaps),
        },
    )


def call_row(
    capture: Capture,
    *,
    number: int,
    ts_request_ns: int,
    ts_response_ns: int | None,
    method: str,
    url: str,
    verdict: str,
    attempt: int,
    recorded_at_ns: int,
    status: int | None = None,
    retry_after_s: float | None = None,
    byte_count: int | None = None,
    message_seq: int | None = None,
    detail: str | None = None,
) -> pa.Table:
    """Return the row of ops.provider_calls of one call; `number` counts the capture's calls from 0."""
    return rows(
        table_named("ops.provider_calls"),
        {
            "call_id": [f"{capture.capture_id}-call-{number}"],
            "provider": [capture.provider],
            "feed": [capture.feed],
            "ts_request": [to_datetime(ts_request_ns)],
            "ts_response": [None if ts_response_ns is None else to_datetime(ts_response_ns)],
            "method": [method],
            "url": [url],
            "status": [status],
            "verdict": [verdict],
            "retry_after_s": [retry_after_s],
            "byte_count": [byte_count],
            "attempt": [attempt],
            "capture_id": [capture.capture_id],
            "message_seq": [message_seq],
            "detail": [detail],
            "recorded_at": [to_datetime(recorded_at_ns)],
        },
    )


def finding_row(event_id: str, kind: str, table: str, detail: str, recorded_at: datetime, run_id: str) -> pa.Table:
    """Return an error-severity row of quality.findings about something the path of the data itself met."""
    return rows(
        table_named("quality.findings"),
        {
            "event_id": [event_id],
            "kind": [kind],
            "severity": ["error"],
            "table_name": [table],
            "detail": [detail],
            "recorded_at": [recorded_at],
            "run_id": [run_id],
        },
    )
