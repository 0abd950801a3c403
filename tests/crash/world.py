"""What the lake of a seed must hold: every row is a pure function of (seed, provider, number), so each check is exact.

A provider writes one log partition under one capture; the message's number is its offset. Most messages are trades; one in
13 is late (its session is a month old), one in 11 is a correction (a revised corporate action), and blocks of eight drawn by
the seed come in a wrong scale: their batch is held by the audit.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pyarrow as pa

from lake.tables import rows, table_named
from lake.values import MessageRange

RAW, TRADES, ACTIONS = "raw.messages", "normalized.trades", "normalized.corporate_actions"
PROVIDERS = ("binance", "alpaca")
"""A provider's place here is its log partition."""
LAST = 72
"""Messages of each provider by the end of a seed."""
BLOCK = 8
MORNING = datetime(2024, 8, 8, 12, tzinfo=UTC)
LATE_DAYS = 30
TOO_HIGH = Decimal(100_000)
"""A price above this is in the wrong scale."""


@dataclass(frozen=True, slots=True)
class World:
    """The rows of one seed."""

    seed: int
    has_corrections: bool = True

    def is_bad(self, provider: str, number: int) -> bool:
        """Whether the message's price is in the wrong scale."""
        drawn = hashlib.sha256(f"{self.seed}/{provider}/{number // BLOCK}".encode()).digest()[0]
        return drawn % 6 == 0 and number % BLOCK > 2

    def is_late(self, number: int) -> bool:
        """Whether the message tells of a session a month ago."""
        return number % 13 == 3

    def is_correction(self, number: int) -> bool:
        """Whether the message revises a corporate action instead of telling a trade."""
        return self.has_corrections and number % 11 == 5

    def numbers_of(self, table: str, numbers: Iterable[int]) -> list[int]:
        """Return those of `numbers` whose message makes a row of `table`."""
        return [one for one in numbers if table == RAW or self.is_correction(one) == (table == ACTIONS)]

    def rows(self, table: str, provider: str, numbers: Sequence[int], run_id: str = "") -> pa.Table:
        """Return the rows of `table` that these messages make."""
        makers = {RAW: self._messages, TRADES: self._trades}
        if table in makers:
            return makers[table](provider, numbers)
        return self._actions(provider, numbers, run_id)

    def _messages(self, provider: str, numbers: Sequence[int]) -> pa.Table:
        count, partition = len(numbers), PROVIDERS.index(provider)
        payloads = [self.payload(provider, number) for number in numbers]
        return rows(
            table_named(RAW),
            {
                "capture_id": [capture_of(provider)] * count,
                "message_seq": list(numbers),
                "provider": [provider] * count,
                "feed": ["spot"] * count,
                "ts_recv": [received_at(number) for number in numbers],
                "ts_recv_nanos": [number % 1000 for number in numbers],
                "content_type": ["application/json"] * count,
                "sha256": [hashlib.sha256(payload).hexdigest() for payload in payloads],
                "payload": payloads,
                "log_partition": [partition] * count,
                "log_offset": list(numbers),
            },
        )

    def payload(self, provider: str, number: int) -> bytes:
        """Return the message: a trade frame in Binance's form, which the real decoder reads too."""
        at_ms = int(self.event_at(number).timestamp() * 1000)
        data = {
            "e": "trade",
            "E": at_ms,
            "s": "BTCUSDT",
            "t": number,
            "p": str(self.price(provider, number)),
            "q": str(size_of(number)),
            "T": at_ms,
            "m": number % 2 == 0,
            "M": True,
        }
        return json.dumps({"stream": "btcusdt@trade", "data": data}).encode()

    def price(self, provider: str, number: int) -> Decimal:
        """Return the price as told."""
        price = Decimal(6_000_000 + number + PROVIDERS.index(provider)) / 100
        return price * 100 if self.is_bad(provider, number) else price

    def event_at(self, number: int) -> datetime:
        """Return when the trade was made."""
        return MORNING + timedelta(seconds=number) - timedelta(days=LATE_DAYS if self.is_late(number) else 0)

    def _trades(self, provider: str, numbers: Sequence[int]) -> pa.Table:
        count = len(numbers)
        return rows(
            table_named(TRADES),
            {
                "instrument_id": [7 + number % 3 for number in numbers],
                "provider": [provider] * count,
                "feed": ["spot"] * count,
                "symbol": ["BTCUSDT"] * count,
                "session_date": [self.event_at(number).date() for number in numbers],
                "ts_event": [self.event_at(number) for number in numbers],
                "ts_event_nanos": [0] * count,
                "ts_recv": [received_at(number) for number in numbers],
                "sequence": list(numbers),
                "trade_id": [str(number) for number in numbers],
                "price": [self.price(provider, number) for number in numbers],
                "size": [size_of(number) for number in numbers],
                "capture_id": [capture_of(provider)] * count,
                "message_seq": list(numbers),
                "ordinal": [0] * count,
            },
        )

    def _actions(self, provider: str, numbers: Sequence[int], run_id: str) -> pa.Table:
        count = len(numbers)
        return rows(
            table_named(ACTIONS),
            {
                "instrument_id": list(numbers),
                "provider": [provider] * count,
                "feed": ["spot"] * count,
                "symbol": ["BTCUSDT"] * count,
                "action_key": [f"split:{number // 22}" for number in numbers],
                "kind": ["split"] * count,
                "ex_date": [date(2024, 9, 2) + timedelta(days=number) for number in numbers],
                "status": ["announced"] * count,
                "known_at": [received_at(number) for number in numbers],
                "capture_id": [capture_of(provider)] * count,
                "message_seq": list(numbers),
                "ordinal": [0] * count,
                "run_id": [run_id] * count,
            },
        )


def capture_of(provider: str) -> str:
    """Return the capture of a provider."""
    return f"c-{provider}"


def partition_of(provider: str) -> str:
    """Return the log partition of a provider, as positions name it."""
    return str(PROVIDERS.index(provider))


def received_at(number: int) -> datetime:
    """Return when the message came to us; one in eight the next day, so that raw has two partitions."""
    return MORNING + timedelta(seconds=number, days=int(number % 8 == 7))


def size_of(number: int) -> Decimal:
    """Return the size of a trade."""
    return Decimal(number + 1) / 1000


def ranges_of(provider: str, first: int, end: int) -> tuple[MessageRange, ...]:
    """Return the messages [first, end) as the ledger names them."""
    return (MessageRange(capture_of(provider), first, end - 1),)
