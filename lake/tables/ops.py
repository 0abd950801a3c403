"""History of our own work: captures, calls, lineage of derived rows."""

from __future__ import annotations

from lake.tables import quantities as q
from lake.tables.definition import Encoding, PublishedBy, Quantity, Table

_KIND = Quantity("kind", "string", "live, poll, backfill or import.")
_STARTED_AT = Quantity("started_at", "timestamptz", "Start of the capture.", Encoding.DELTA)
_CODE_VERSION = Quantity("code_version", "string", "Version of tickhouse that captured.")
_CONFIGURATION_HASH = Quantity("configuration_hash", "string", "SHA-256 of the settings in force.")
_CALL_ID = Quantity("call_id", "string", "Name of the call.", Encoding.PLAIN)
_TS_REQUEST = Quantity("ts_request", "timestamptz", "When we asked.", Encoding.DELTA)
_TS_RESPONSE = Quantity("ts_response", "timestamptz", "When the answer was there.", Encoding.DELTA)
_METHOD = Quantity("method", "string", "HTTP method, or CONNECT for a stream.")
_URL = Quantity("url", "string", "Address asked, without secrets.", Encoding.PLAIN)
_HTTP_STATUS = Quantity("status", "int", "HTTP status; null without an answer.")
_VERDICT = Quantity("verdict", "string", "What the answer meant: OK, THROTTLED, UNKNOWN_SYMBOL ...")
_RETRY_AFTER_S = Quantity("retry_after_s", "double", "Seconds the provider asked us to wait.", Encoding.PLAIN)
_BYTE_COUNT = Quantity("byte_count", "long", "Size of the answer in bytes.", Encoding.DELTA)
_ATTEMPT = Quantity("attempt", "int", "Number of the attempt at the same question, from 1.")
_STEP = Quantity("step", "string", "The step that made the row: agree, factors, adjust.")
_OUTPUT = Quantity("output_event_id", "string", "The derived row.", Encoding.DELTA_BYTES)
_INPUT_TABLE = Quantity("input_table", "string", "Table of the input.")
_INPUT = Quantity("input_event_id", "string", "The input row.", Encoding.DELTA_BYTES)
_ROLE = Quantity("role", "string", "What the input was for: bar, split, dividend, reference_close.")
_HEALTH_EVENT_ID = Quantity("event_id", "string", "Name of the event.", Encoding.PLAIN)
_HEALTH_KIND = Quantity(
    "kind",
    "string",
    "breaker_opened, breaker_probed, breaker_closed, provider_up, provider_degraded, provider_down, failover, quota_low, "
    "feed_stale, feed_speaks.",
)
_ENDPOINT = Quantity("endpoint", "string", "What is asked of the provider, as its requests name it.")

CAPTURES = Table(
    "ops.captures",
    "One run of asking one feed.",
    columns=(
        q.CAPTURE_ID.at(1, required=True),
        q.PROVIDER.at(2, required=True),
        q.FEED.at(3, required=True),
        _KIND.at(4, required=True),
        _STARTED_AT.at(5, required=True),
        _CODE_VERSION.at(6, required=True),
        _CONFIGURATION_HASH.at(7, required=True),
        q.DETAIL.at(8),
        q.RECORDED_AT.at(9, required=True),
    ),
    partition=(("recorded_at", "day"),),
    order=("started_at",),
    key=("capture_id",),
    published_by=PublishedBy.RECORDED,
)

PROVIDER_CALLS = Table(
    "ops.provider_calls",
    "One call to a provider and what it meant.",
    columns=(
        _CALL_ID.at(1, required=True),
        q.PROVIDER.at(2, required=True),
        q.FEED.at(3, required=True),
        _TS_REQUEST.at(4, required=True),
        _TS_RESPONSE.at(5),
        _METHOD.at(6, required=True),
        _URL.at(7, required=True),
        _HTTP_STATUS.at(8),
        _VERDICT.at(9, required=True),
        _RETRY_AFTER_S.at(10),
        _BYTE_COUNT.at(11),
        _ATTEMPT.at(12, required=True),
        q.CAPTURE_ID.at(13),
        q.MESSAGE_SEQ.at(14),
        q.DETAIL.at(15),
        q.RECORDED_AT.at(16, required=True),
    ),
    partition=(("recorded_at", "day"),),
    order=("ts_request",),
    key=("call_id",),
    published_by=PublishedBy.RECORDED,
)

LINEAGE = Table(
    "ops.lineage",
    "One input of one derived row.",
    columns=(
        q.RUN_ID.at(1, required=True),
        _STEP.at(2, required=True),
        q.TABLE_NAME.at(3, required=True),
        _OUTPUT.at(4, required=True),
        _INPUT_TABLE.at(5, required=True),
        _INPUT.at(6, required=True),
        _ROLE.at(7, required=True),
        q.RECORDED_AT.at(8, required=True),
    ),
    partition=(("recorded_at", "day"),),
    order=("output_event_id",),
    key=("output_event_id", "input_event_id", "role"),
    published_by=PublishedBy.RECORDED,
)

HEALTH_EVENTS = Table(
    "ops.health_events",
    "One change in how providers stand: a breaker, a provider up, degraded or down, a failover and its reason.",
    columns=(
        _HEALTH_EVENT_ID.at(1, required=True),
        _HEALTH_KIND.at(2, required=True),
        q.PROVIDER.at(3),
        _ENDPOINT.at(4),
        _VERDICT.at(5, doc="The answer that led to it, where one did."),
        q.DETAIL.at(6),
        q.RECORDED_AT.at(7, required=True),
    ),
    partition=(("recorded_at", "day"),),
    order=("recorded_at",),
    key=("event_id",),
    published_by=PublishedBy.RECORDED,
)

TABLES = (CAPTURES, PROVIDER_CALLS, LINEAGE, HEALTH_EVENTS)
