"""Raw messages put into a lake by the lake's own commits, as landing would: blocks with offsets, and their captures."""

from __future__ import annotations

import gzip
import hashlib
import itertools
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pyarrow as pa

from lake.catalog import Lake
from lake.commits import append
from lake.instants import to_datetime
from lake.tables import rows, table_named

RECORDINGS = Path(__file__).parents[2] / "ingest" / "simulator" / "recordings"
START = datetime(2024, 8, 8, 12, tzinfo=UTC)
Payload = tuple[int, bytes]
"""(receive time in nanoseconds, bytes)."""


def frames(count: int, name: str = "binance_spot_btcusdt_20240808.gz") -> list[Payload]:
    """Return the first frames of the Binance recording (MIT, see ORIGIN.md beside it), REST snapshots included."""
    with gzip.open(RECORDINGS / "binance" / name, "rb") as lines:
        return [
            (int(ns), body.rstrip(b"\n")) for ns, _, body in (line.partition(b" ") for line in itertools.islice(lines, count))
        ]


def trade(number: int, price: object, *, size: object = "0.5", at_ms: int = 0) -> bytes:
    """Return one trade frame in Binance's form."""
    event = int(START.timestamp() * 1000) + at_ms + number
    data = {
        "e": "trade",
        "E": event,
        "s": "BTCUSDT",
        "t": number,
        "p": str(price),
        "q": str(size),
        "T": event,
        "m": True,
        "M": True,
    }
    return json.dumps({"stream": "btcusdt@trade", "data": data}).encode()


def trades(numbers: Sequence[int], price: object = Decimal(60000)) -> list[Payload]:
    """Return trade frames of these numbers, a millisecond apart."""
    return [(int(START.timestamp() * 1e9) + number * 1_000_000, trade(number, price)) for number in numbers]


def chart(name: str) -> Payload:
    """Return a recorded Yahoo chart answer (see ORIGIN.md beside it), received in 2025."""
    return int(datetime(2025, 6, 1, tzinfo=UTC).timestamp() * 1e9), (RECORDINGS / "yahoo" / name).read_bytes()


def land(
    lake: Lake,
    capture_id: str,
    payloads: Sequence[Payload],
    *,
    provider: str = "binance",
    feed: str = "spot",
    kind: str = "live",
    partition: int = 0,
    block: int = 10,
    first_seq: int = 0,
    with_capture: bool = True,
    status: int | None = None,
) -> None:
    """Append payloads to raw.messages as the next blocks of a partition, and the capture to ops.captures."""
    before = lake.head("raw.messages").vector("raw")
    offset = before.get(str(partition), 0)
    count = len(payloads)
    blocks = -(-count // block)
    after = {**before, str(partition): offset + blocks}
    table = messages(capture_id, payloads, provider, feed, first_seq, status)
    table = table.set_column(12, "log_partition", pa.array([partition] * count, pa.int32()))
    table = table.set_column(13, "log_offset", pa.array([offset + n // block for n in range(count)], pa.int64()))
    append(lake, "raw.messages", table, "raw", before, after, f"land-{partition}-{offset}", _ranges(table))
    if with_capture:
        land_capture(lake, capture_id, provider, feed, kind)


def land_capture(lake: Lake, capture_id: str, provider: str = "binance", feed: str = "spot", kind: str = "live") -> None:
    """Append a capture to ops.captures."""
    row = rows(
        table_named("ops.captures"),
        {
            "capture_id": [capture_id],
            "provider": [provider],
            "feed": [feed],
            "kind": [kind],
            "started_at": [START],
            "code_version": ["test"],
            "configuration_hash": ["00"],
            "recorded_at": [START],
        },
    )
    history = lake.head("ops.captures").vector("history")
    append(lake, "ops.captures", row, "history", history, {"0": history.get("0", 0) + 1}, f"history-{capture_id}")


def messages(
    capture_id: str, payloads: Sequence[Payload], provider: str, feed: str, first_seq: int, status: int | None
) -> pa.Table:
    """Return rows of raw.messages, partition and offset 0."""
    count = len(payloads)
    return rows(
        table_named("raw.messages"),
        {
            "capture_id": [capture_id] * count,
            "message_seq": list(range(first_seq, first_seq + count)),
            "provider": [provider] * count,
            "feed": [feed] * count,
            "ts_recv": [to_datetime(ns) for ns, _ in payloads],
            "ts_recv_nanos": [ns % 1000 for ns, _ in payloads],
            "content_type": ["application/json"] * count,
            "sha256": [hashlib.sha256(body).hexdigest() for _, body in payloads],
            "status": [status] * count,
            "payload": [body for _, body in payloads],
            "log_partition": [0] * count,
            "log_offset": [0] * count,
        },
    )


def _ranges(table: pa.Table):
    from quality_checks.batches import message_ranges

    return message_ranges(table)
