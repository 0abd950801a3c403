"""Small tables written out: rows of the lake's tables from the few values that a test is about."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal

import pyarrow as pa

from lake.tables import Table, table_named

BARS = table_named("normalized.bars")
ACTIONS = table_named("normalized.corporate_actions")
AGREED = table_named("adjusted.agreed_bars")
FACTORS = table_named("adjusted.factors")
NOW = datetime(2026, 1, 2, tzinfo=UTC)
STAMPS = {"run_id": "run", "recorded_at": NOW}


def at(day: str | date, hour: int = 0) -> datetime:
    """Return an instant: an hour of a UTC day."""
    whole = date.fromisoformat(day) if isinstance(day, str) else day
    return datetime.combine(whole, time(), UTC) + timedelta(hours=hour)


def of(table: Table, *rows: dict[str, object]) -> pa.Table:
    """Return rows of a table; text stands for decimals, dates and instants."""
    return pa.Table.from_pylist(
        [{name: _value(table, name, value) for name, value in row.items()} for row in rows], schema=table.arrow_schema()
    )


def bar(day: str, close: object, **values: object) -> dict[str, object]:
    """Return a daily bar of AAPL as Yahoo delivers it, known at its close."""
    price = dict.fromkeys(("open", "high", "low", "close"), close)
    return {
        "instrument_id": 1, "provider": "yahoo", "feed": "chart", "symbol": "AAPL", "mic": "XNAS", "currency": "USD",
        "session_date": day, "interval": "1d", "ts_open": at(day, 14), "volume": "1000", "basis": "split_adjusted",
        "price_type": "trade", "is_final": True, "known_at": at(day, 21), "delivered_at": at("2025-02-20"),
        "capture_id": "c", "message_seq": 0, "ordinal": date.fromisoformat(day).toordinal(), "run_id": "run",
    } | price | values  # fmt: skip


def action(kind: str, ex_date: str, **values: object) -> dict[str, object]:
    """Return an action of AAPL as Yahoo tells it, known at the ex-date."""
    return {
        "instrument_id": 1, "provider": "yahoo", "feed": "chart", "symbol": "AAPL", "mic": "XNAS", "currency": "USD",
        "action_key": f"AAPL:{kind}:{ex_date}", "kind": kind, "ex_date": ex_date, "status": "confirmed",
        "known_at": at(ex_date, 4), "delivered_at": at("2025-02-20"), "capture_id": "c", "message_seq": 1,
        "ordinal": date.fromisoformat(ex_date).toordinal(), "run_id": "run",
    } | values  # fmt: skip


def split(ex_date: str, new: int, old: int = 1, **values: object) -> dict[str, object]:
    """Return a split of new shares for old ones."""
    return action("split", ex_date, ratio_old=old, ratio_new=new, **values)


def dividend(ex_date: str, amount: object, **values: object) -> dict[str, object]:
    """Return a cash dividend, per share as paid."""
    return action("cash_dividend", ex_date, amount=amount, **{"share_basis": "as_paid"} | values)


def agreed(day: str, close: object, **values: object) -> dict[str, object]:
    """Return an agreed daily bar of AAPL, as traded."""
    row = bar(day, close)
    kept = {name: value for name, value in row.items() if name in AGREED.column_names}
    return kept | {"undone_ratio_old": 1, "undone_ratio_new": 1} | values


def _value(table: Table, name: str, value: object) -> object:
    kind = table.column(name).type
    if value is None:
        return None
    if kind.startswith("decimal"):
        return Decimal(str(value))
    if kind == "date" and isinstance(value, str):
        return date.fromisoformat(value)
    return value
