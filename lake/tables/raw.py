"""The raw layer: every message as received."""

from __future__ import annotations

from lake.tables import quantities as q
from lake.tables.definition import Encoding, PublishedBy, Quantity, Table

_CONTENT_TYPE = Quantity("content_type", "string", "Media type of the payload.")
_SHA256 = Quantity("sha256", "string", "SHA-256 of the payload, in hex.", Encoding.PLAIN)
_REQUEST = Quantity("request", "string", "JSON of what was asked, without secrets; null for a pushed frame.", Encoding.PLAIN)
_STATUS_CODE = Quantity("status", "int", "HTTP status; null where there is none.")
_HEADERS = Quantity("headers", "string", "JSON of the response's headers, without secrets.", Encoding.PLAIN)
_PAYLOAD = Quantity("payload", "binary", "The bytes as received.", Encoding.PLAIN)
_LOG_PARTITION = Quantity("log_partition", "int", "Partition of the raw log.", is_stamp=True)
_LOG_OFFSET = Quantity("log_offset", "long", "Offset of the message's block in that partition.", Encoding.DELTA, is_stamp=True)

MESSAGES = Table(
    "raw.messages",
    "One frame, page, packet or record batch as received.",
    columns=(
        q.CAPTURE_ID.at(1, required=True),
        q.MESSAGE_SEQ.at(2, required=True),
        q.PROVIDER.at(3, required=True),
        q.FEED.at(4, required=True),
        q.TS_RECV.at(5, required=True),
        q.TS_RECV_NANOS.at(6, required=True),
        _CONTENT_TYPE.at(7, required=True),
        _SHA256.at(8, required=True),
        _REQUEST.at(9),
        _STATUS_CODE.at(10),
        _HEADERS.at(11),
        _PAYLOAD.at(12, required=True),
        _LOG_PARTITION.at(13, required=True),
        _LOG_OFFSET.at(14, required=True),
    ),
    partition=(("ts_recv", "day"), ("provider", "identity")),
    order=("capture_id", "message_seq"),
    key=("capture_id", "message_seq"),
    published_by=PublishedBy.MESSAGE,
)

TABLES = (MESSAGES,)
