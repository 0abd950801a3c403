"""Small good rows of every gated table, written by hand."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pyarrow as pa

from lake.tables import rows, table_named
from tests.quality_checks import reference_samples, subject_samples

DAY = date(2024, 1, 3)
NOON = datetime(2024, 1, 3, 12, 0, 0, 1, UTC)


def numbered(table: str, count: int, **columns: object) -> pa.Table:
    """Return `count` rows of `table`: a list gives a column row by row, any other value stands in every row."""
    placed = {name: value if isinstance(value, list) else [value] * count for name, value in columns.items()}
    return rows(table_named(table), placed)


def trades(count: int = 10, **changes: object) -> pa.Table:
    """Return good trades around 100 with the columns of `changes` put in their place."""
    columns: dict[str, object] = {
        "instrument_id": 7,
        "provider": "binance",
        "feed": "spot",
        "symbol": "BTCUSDT",
        "mic": "BINANCE",
        "currency": "USDT",
        "session_date": DAY,
        "ts_event": [NOON + timedelta(seconds=n) for n in range(count)],
        "ts_event_nanos": 0,
        "ts_recv": [NOON + timedelta(seconds=n, milliseconds=5) for n in range(count)],
        "sequence": list(range(count)),
        "trade_id": [f"t{n}" for n in range(count)],
        "price": [Decimal(100) + n for n in range(count)],
        "size": Decimal("0.5"),
        "side": "buy",
        "capture_id": "c1",
        "message_seq": list(range(count)),
        "ordinal": 0,
    }
    return numbered("normalized.trades", count, **{**columns, **changes})


def quotes(count: int = 10, **changes: object) -> pa.Table:
    """Return good quotes around 100."""
    columns: dict[str, object] = {
        "instrument_id": 7,
        "provider": "binance",
        "feed": "spot",
        "symbol": "BTCUSDT",
        "session_date": DAY,
        "ts_recv": [NOON + timedelta(seconds=n) for n in range(count)],
        "sequence": list(range(count)),
        "bid_price": Decimal(100),
        "bid_size": Decimal(1),
        "ask_price": Decimal(101),
        "ask_size": Decimal(2),
        "capture_id": "c1",
        "message_seq": list(range(count)),
        "ordinal": 0,
    }
    return numbered("normalized.quotes", count, **{**columns, **changes})


def book_events(count: int = 10, **changes: object) -> pa.Table:
    """Return good levels of one update around 100."""
    columns: dict[str, object] = {
        "instrument_id": 7,
        "provider": "binance",
        "feed": "spot",
        "channel": "btcusdt@depth",
        "symbol": "BTCUSDT",
        "session_date": DAY,
        "ts_event": NOON,
        "ts_event_nanos": 0,
        "ts_recv": NOON,
        "first_sequence": 3,
        "sequence": 5,
        "event_index": list(range(count)),
        "event": "update",
        "side": ["buy" if n % 2 else "sell" for n in range(count)],
        "price": [Decimal(100) - n if n % 2 else Decimal(100) + n for n in range(count)],
        "size": Decimal(0),
        "capture_id": "c1",
        "message_seq": 1,
        "ordinal": list(range(count)),
    }
    return numbered("normalized.book_events", count, **{**columns, **changes})


def status_events(count: int = 10, **changes: object) -> pa.Table:
    """Return good states of trading, one a second."""
    instants = [NOON + timedelta(seconds=n) for n in range(count)]
    columns: dict[str, object] = {
        "instrument_id": 7,
        "provider": "iex",
        "feed": "tops",
        "symbol": "AAPL",
        "session_date": DAY,
        "ts_event": instants,
        "ts_event_nanos": 0,
        "ts_recv": instants,
        "channel": "1",
        "venue_session": "1137508352",
        "sequence": list(range(count)),
        "kind": "trading_status",
        "status": "halted",
        "code": "H",
        "is_trading": False,
        "capture_id": "c1",
        "message_seq": 1,
        "ordinal": list(range(count)),
    }
    return numbered("normalized.status_events", count, **{**columns, **changes})


def bars(count: int = 10, **changes: object) -> pa.Table:
    """Return good daily bars of successive days around 100."""
    opened = [datetime(2024, 1, 1, 14, 30, tzinfo=UTC) + timedelta(days=n) for n in range(count)]
    columns: dict[str, object] = {
        "instrument_id": 9,
        "provider": "yahoo",
        "feed": "chart",
        "symbol": "AAPL",
        "mic": "XNAS",
        "currency": "USD",
        "session_date": [instant.date() for instant in opened],
        "interval": "1d",
        "ts_open": opened,
        "open": Decimal(100),
        "high": Decimal(102),
        "low": Decimal(99),
        "close": Decimal(101),
        "volume": Decimal(1000),
        "basis": "split_adjusted",
        "price_type": "trade",
        "is_final": True,
        "known_at": [instant + timedelta(hours=7) for instant in opened],
        "delivered_at": datetime(2024, 6, 1, tzinfo=UTC),
        "capture_id": "y1",
        "message_seq": 0,
        "ordinal": list(range(count)),
        "run_id": "r1",
    }
    return numbered("normalized.bars", count, **{**columns, **changes})


def corporate_actions(**changes: object) -> pa.Table:
    """Return a split and a dividend."""
    columns: dict[str, object] = {
        "instrument_id": 9,
        "provider": "yahoo",
        "feed": "chart",
        "symbol": "AAPL",
        "action_key": ["split:2020-08-31", "dividend:2020-08-07"],
        "kind": ["split", "cash_dividend"],
        "ex_date": [date(2020, 8, 31), date(2020, 8, 7)],
        "ratio_old": [1, None],
        "ratio_new": [4, None],
        "amount": [None, Decimal("0.205")],
        "share_basis": [None, "split_adjusted"],
        "status": "confirmed",
        "known_at": NOON,
        "capture_id": "y1",
        "message_seq": 0,
        "ordinal": [0, 1],
        "run_id": "r1",
    }
    return numbered("normalized.corporate_actions", 2, **{**columns, **changes})


def instruments(**changes: object) -> pa.Table:
    """Return two instruments."""
    columns: dict[str, object] = {
        "instrument_id": [7, 9],
        "identity": ["listing:BINANCE/BTCUSDT:spot", "listing:US/AAPL"],
        "is_provisional": False,
        "run_id": "r1",
    }
    return numbered("reference.instruments", 2, **{**columns, **changes})


def listings(**changes: object) -> pa.Table:
    """Return two listings."""
    columns: dict[str, object] = {
        "instrument_id": [7, 9],
        "provider": ["binance", "yahoo"],
        "symbol": ["BTCUSDT", "AAPL"],
        "run_id": "r1",
    }
    return numbered("reference.listings", 2, **{**columns, **changes})


def agreed_bars(**changes: object) -> pa.Table:
    """Return two agreed bars."""
    columns: dict[str, object] = {
        "instrument_id": 9,
        "interval": "1d",
        "session_date": [date(2024, 1, 2), DAY],
        "ts_open": [datetime(2024, 1, 2, 14, 30, tzinfo=UTC), datetime(2024, 1, 3, 14, 30, tzinfo=UTC)],
        "open": Decimal(100),
        "high": Decimal(102),
        "low": Decimal(99),
        "close": Decimal(101),
        "provider": "yahoo",
        "feed": "chart",
        "symbol": "AAPL",
        "undone_ratio_old": 1,
        "undone_ratio_new": 1,
        "is_final": True,
        "known_at": NOON,
        "capture_id": "y1",
        "message_seq": 0,
        "ordinal": [0, 1],
        "run_id": "r1",
    }
    return numbered("adjusted.agreed_bars", 2, **{**columns, **changes})


def factors(**changes: object) -> pa.Table:
    """Return the factors of a split and of a dividend."""
    columns: dict[str, object] = {
        "instrument_id": 9,
        "ex_date": [date(2020, 8, 31), date(2020, 8, 7)],
        "kind": ["split", "cash_dividend"],
        "status": "confirmed",
        "price_factor": [Decimal("0.25"), Decimal("0.998")],
        "volume_factor": [Decimal(4), Decimal(1)],
        "method": ["split_ratio", "prev_close"],
        "inputs_hash": "00",
        "known_at": NOON,
        "provider": "yahoo",
        "action_key": ["split:2020-08-31", "dividend:2020-08-07"],
        "capture_id": "y1",
        "message_seq": 0,
        "ordinal": [0, 1],
        "run_id": "r1",
    }
    return numbered("adjusted.factors", 2, **{**columns, **changes})


def bars_1d(**changes: object) -> pa.Table:
    """Return two adjusted daily bars."""
    columns: dict[str, object] = {
        "instrument_id": 9,
        "session_date": [date(2024, 1, 2), DAY],
        "symbol": "AAPL",
        "ts_open": [datetime(2024, 1, 2, 14, 30, tzinfo=UTC), datetime(2024, 1, 3, 14, 30, tzinfo=UTC)],
        "close": Decimal(101),
        "split_factor": Decimal(1),
        "all_factor": [Decimal("0.99"), Decimal(1)],
        "volume_factor": Decimal(1),
        "adj_close": [Decimal("99.99"), Decimal(101)],
        "provider": "yahoo",
        "is_final": True,
        "known_at": NOON,
        "run_id": "r1",
    }
    return numbered("adjusted.bars_1d", 2, **{**columns, **changes})


def built_bars(**changes: object) -> pa.Table:
    """Return a bar built from trades and one from bids."""
    columns: dict[str, object] = {
        "instrument_id": 7,
        "provider": "binance",
        "feed": "spot",
        "symbol": "BTCUSDT",
        "currency": "USDT",
        "price_type": ["trade", "bid"],
        "interval": "1m",
        "session_date": DAY,
        "ts_open": datetime(2024, 1, 3, 12, 0, tzinfo=UTC),
        "ts_end": datetime(2024, 1, 3, 12, 1, tzinfo=UTC),
        "open": Decimal(100),
        "high": Decimal(101),
        "low": Decimal(99),
        "close": Decimal(100),
        "volume": [Decimal(2), None],
        "trade_count": [3, None],
        "quote_count": [None, 5],
        "dollar_volume": [Decimal(200), None],
        "vwap": [Decimal(100), None],
        "known_at": datetime(2024, 1, 3, 12, 1, 1, tzinfo=UTC),
        "run_id": "r1",
    }
    return numbered("adjusted.built_bars", 2, **{**columns, **changes})


GOOD = {
    "normalized.trades": trades,
    "normalized.quotes": quotes,
    "normalized.book_events": book_events,
    "normalized.status_events": status_events,
    "normalized.bars": bars,
    "normalized.corporate_actions": corporate_actions,
    "reference.instruments": instruments,
    "reference.listings": listings,
    "adjusted.agreed_bars": agreed_bars,
    "adjusted.factors": factors,
    "adjusted.bars_1d": bars_1d,
    "adjusted.built_bars": built_bars,
    **subject_samples.GOOD,
    **reference_samples.GOOD,
}
