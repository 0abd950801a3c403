"""The small lake with more in it: quotes, an announcement, gaps, findings, refusals. Hand-made, every number known."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import httpx

from lake.catalog import Lake
from lake.values import MessageRange
from serving.operate.supervisor import WebServer
from serving.read_through import ReadThrough
from tests.serving import small_lake
from tests.serving.small_lake import AAPL, SPOT, put

NOON = datetime(2024, 8, 8, 12, tzinfo=UTC)


def make(home: Path) -> Lake:
    """Return a new lake at `home` with everything in it."""
    lake = small_lake.make(home)
    put_quotes(lake, 0, 3)
    put_action(lake)
    put_history(lake)
    return lake


def put_quotes(lake: Lake, message: int, count: int) -> None:
    """Publish `count` quotes of BTCUSDT that came in one message: bid 100, 101 …, ask one above."""
    capture = "binance-quotes-1"
    put(
        lake,
        "normalized.quotes",
        {
            "instrument_id": [SPOT] * count,
            "provider": ["binance"] * count,
            "feed": ["spot"] * count,
            "symbol": ["BTCUSDT"] * count,
            "currency": ["USDT"] * count,
            "session_date": [date(2024, 8, 8)] * count,
            "ts_recv": [NOON + timedelta(seconds=message * 1000 + number) for number in range(count)],
            "sequence": [message * 1000 + number for number in range(count)],
            "bid_price": [Decimal(100 + number) for number in range(count)],
            "bid_size": [Decimal("1.5")] * count,
            "ask_price": [Decimal(101 + number) for number in range(count)],
            "ask_size": [Decimal("0.5")] * count,
            "capture_id": [capture] * count,
            "message_seq": [message] * count,
            "ordinal": list(range(count)),
        },
        f"promote-quotes-{message}",
        (MessageRange(capture, message, message),),
    )


def put_action(lake: Lake) -> None:
    """Publish the announcement behind the small lake's factor, and a correction of its record date."""
    for run, known_at, record in (
        ("promote-actions-1", small_lake.KNOWN_SPLIT, date(2020, 8, 20)),
        ("promote-actions-2", small_lake.KNOWN_SPLIT + timedelta(days=1), date(2020, 8, 24)),
    ):
        put(
            lake,
            "normalized.corporate_actions",
            {
                "instrument_id": [AAPL],
                "provider": ["ice"],
                "feed": ["reorg"],
                "symbol": ["AAPL"],
                "currency": ["USD"],
                "action_key": ["2103357"],
                "kind": ["split"],
                "ex_date": [date(2020, 8, 31)],
                "record_date": [record],
                "ratio_old": [1],
                "ratio_new": [4],
                "status": ["announced"],
                "known_at": [known_at],
                "capture_id": ["ice-1"],
                "message_seq": [0],
                "ordinal": [0 if run.endswith("1") else 1],
                "run_id": [run],
            },
            run,
        )


def put_history(lake: Lake) -> None:
    """Write two gaps (one filled), a finding and a refused row."""
    now = datetime(2026, 11, 21, tzinfo=UTC)
    put(
        lake,
        "quality.gaps",
        {
            "gap_id": ["g1", "g2", "g2"],
            "provider": ["binance"] * 3,
            "feed": ["spot"] * 3,
            "status": ["open", "open", "filled"],
            "reason": ["reconnect"] * 3,
            "recorded_at": [now, now, now + timedelta(seconds=1)],
        },
        "gaps-1",
    )
    put(
        lake,
        "quality.findings",
        {
            "event_id": ["x:0:0"],
            "kind": ["price_jump"],
            "severity": ["warning"],
            "table_name": ["normalized.bars"],
            "provider": ["csv"],
            "instrument_id": [AAPL],
            "detail": ["close 129.04 after 499.23"],
            "recorded_at": [now],
            "run_id": ["r"],
        },
        "findings-1",
    )
    put(
        lake,
        "quality.quarantine",
        {
            "event_id": ["x:1:0"],
            "table_name": ["normalized.trades"],
            "provider": ["binance"],
            "feed": ["spot"],
            "rule": ["price_positive"],
            "value": ["-1"],
            "expected": ["> 0"],
            "capture_id": ["x"],
            "message_seq": [1],
            "ordinal": [0],
            "recorded_at": [now],
            "run_id": ["r"],
        },
        "quarantine-1",
    )


@contextmanager
def served(lake: Lake, read_through: ReadThrough | None = None, **headers: str) -> Iterator[httpx.Client]:
    """Serve a lake on a free port and give a client of it."""
    server = WebServer(lake, "127.0.0.1", 0, read_through)
    running = threading.Thread(target=server.run)
    running.start()
    try:
        with httpx.Client(base_url=server.address, timeout=60, headers=headers) as client:
            yield client
    finally:
        server.stop()
        running.join()
