"""Rows made by hand for the tests of the lake, small and in the tables' own schemas."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pyarrow as pa

from lake.publish import Increment
from lake.tables import rows, table_named
from lake.values import MessageRange

MORNING = datetime(2024, 3, 4, 9, 30, tzinfo=UTC)


def messages(first: int, last: int, capture: str = "c1", provider: str = "binance") -> pa.Table:
    """Return raw messages first..last of a capture, offsets equal to their numbers, over two days."""
    numbers = range(first, last + 1)
    count = len(numbers)
    return rows(
        table_named("raw.messages"),
        {
            "capture_id": [capture] * count,
            "message_seq": list(numbers),
            "provider": [provider] * count,
            "feed": ["spot"] * count,
            "ts_recv": [MORNING + timedelta(days=number % 2, seconds=number) for number in numbers],
            "ts_recv_nanos": [number % 1000 for number in numbers],
            "content_type": ["application/json"] * count,
            "sha256": [f"{number:064x}" for number in numbers],
            "payload": [b'{"n":%d}' % number for number in numbers],
            "log_partition": [0] * count,
            "log_offset": list(numbers),
        },
    )


def trades(first: int, last: int, capture: str = "c1", provider: str = "binance") -> pa.Table:
    """Return one trade a message first..last of a capture, over two session dates."""
    numbers = range(first, last + 1)
    count = len(numbers)
    return rows(
        table_named("normalized.trades"),
        {
            "instrument_id": [7 + number % 3 for number in numbers],
            "provider": [provider] * count,
            "feed": ["spot"] * count,
            "symbol": ["BTCUSDT"] * count,
            "session_date": [date(2024, 3, 4 + number % 2) for number in numbers],
            "ts_event": [MORNING + timedelta(seconds=number) for number in numbers],
            "ts_event_nanos": [0] * count,
            "ts_recv": [MORNING + timedelta(seconds=number) for number in numbers],
            "sequence": list(numbers),
            "trade_id": [str(number) for number in numbers],
            "price": [Decimal(60000 + number) / 100 for number in numbers],
            "size": [Decimal(number + 1) / 1000 for number in numbers],
            "capture_id": [capture] * count,
            "message_seq": list(numbers),
            "ordinal": [0] * count,
        },
    )


def actions(first: int, last: int, run_id: str, provider: str = "ice") -> pa.Table:
    """Return one corporate action a message first..last: a table whose rows carry their run."""
    numbers = range(first, last + 1)
    count = len(numbers)
    return rows(
        table_named("normalized.corporate_actions"),
        {
            "instrument_id": list(numbers),
            "provider": [provider] * count,
            "feed": ["reorg"] * count,
            "symbol": ["AAPL"] * count,
            "action_key": [f"split:{number}" for number in numbers],
            "kind": ["split"] * count,
            "ex_date": [date(2020, 8, 31)] * count,
            "status": ["announced"] * count,
            "known_at": [MORNING] * count,
            "capture_id": ["c1"] * count,
            "message_seq": list(numbers),
            "ordinal": [0] * count,
            "run_id": [run_id] * count,
        },
    )


def trade_batch(first: int, last: int, provider: str = "binance", run_id: str | None = None) -> Increment:
    """Return the increment of trades first..last, whose owner stands at offset `first`."""
    return Increment(
        "normalized.trades",
        provider,
        trades(first, last, provider=provider, capture=f"c-{provider}"),
        {"0": first} if first else {},
        {"0": last + 1},
        run_id or f"run-{provider}-{first}",
        (MessageRange(f"c-{provider}", first, last),),
        {"in": last - first + 1},
    )


def action_batch(first: int, last: int, run_id: str | None = None) -> Increment:
    """Return the increment of corporate actions first..last, whose owner stands at offset `first`."""
    run = run_id or f"run-ice-{first}"
    before = {"0": first} if first else {}
    return Increment(
        "normalized.corporate_actions",
        "ice",
        actions(first, last, run),
        before,
        {"0": last + 1},
        run,
        (MessageRange("c1", first, last),),
    )
