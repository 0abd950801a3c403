"""Small good rows of the tables beyond trading, written by hand."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import partial

import pyarrow as pa

from lake.tables import rows, table_named

_NOON = datetime(2024, 1, 3, 12, tzinfo=UTC)
_OWN: dict[str, dict[str, object]] = {
    "normalized.trade_events": {
        "ts_event_nanos": 0, "kind": "correction", "trade_id": [f"t{n}" for n in range(10)], "price": Decimal(100),
        "size": Decimal(5), "new_price": Decimal("100.5"), "new_size": Decimal(5),
    },
    "normalized.fx_rates": {"base_currency": "EUR", "quote_currency": "USD", "rate": Decimal("1.0919"), "rate_kind": "reference"},
    "normalized.index_levels": {"measure": "level", "value": Decimal("13.2")},
    "normalized.fundamentals": {
        "statement": "income", "item": "totalRevenue", "period": "annual", "period_end": date(2023, 12, 31), "value": Decimal(7),
    },
    "normalized.news": {
        "news_id": [f"n{n}" for n in range(10)], "headline": "Shares rise", "ts_updated": _NOON + timedelta(hours=1),
    },
    "normalized.alternative": {"measure": "short_interest", "value": Decimal(3)},
    "normalized.option_open_interest": {"open_interest": 5, "delta": Decimal("-0.5"), "implied_volatility": Decimal("0.2")},
}  # fmt: skip


def subjects(table: str, **changes: object) -> pa.Table:
    """Return ten good rows of `table` with the columns of `changes` put in their place."""
    instants = [_NOON + timedelta(minutes=n) for n in range(10)]
    columns: dict[str, object] = {
        "instrument_id": 7, "provider": "alpaca", "feed": "news", "symbol": "AAPL", "session_date": date(2024, 1, 3),
        "ts_event": instants, "known_at": instants, "capture_id": "c1", "message_seq": list(range(10)), "ordinal": 0,
        "run_id": "r1",
    }  # fmt: skip
    placed = {**columns, **_OWN[table], **changes}
    return rows(table_named(table), {name: v if isinstance(v, list) else [v] * 10 for name, v in placed.items()})


GOOD: dict[str, Callable[..., pa.Table]] = {table: partial(subjects, table) for table in _OWN}
