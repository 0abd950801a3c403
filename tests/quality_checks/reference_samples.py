"""Small good rows of the tables of reference facts, written by hand."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import partial

import pyarrow as pa

from lake.tables import rows, table_named

_NOON = datetime(2024, 1, 3, 12, tzinfo=UTC)
_DAYS = [date(2024, 1, 2), date(2024, 1, 3)]
_NOBODY = {"instrument_id": None, "symbol": None}
_OWN: dict[str, dict[str, object]] = {
    "reference.identifiers": {"scheme": "isin", "identifier": ["US0378331005", "US5949181045"]},
    "reference.venues": {**_NOBODY, "mic": ["XNAS", "XNGS"], "operating_mic": "XNAS", "is_segment": [False, True]},
    "reference.sessions": {
        **_NOBODY, "mic": "XHKG", "session_date": _DAYS,
        "opens_at": [_NOON - timedelta(days=1), _NOON], "closes_at": [_NOON - timedelta(hours=18), _NOON + timedelta(hours=6)],
        "break_start": [None, _NOON + timedelta(hours=2)], "break_end": [None, _NOON + timedelta(hours=3)],
    },
    "reference.market_hours": {
        **_NOBODY, "market": "Equity-usa-[*]", "zone": "America/New_York", "day_kind": ["weekday", "holiday"],
        "weekday_key": ["1", "2024-01-01"], "weekday": [1, None], "day": [None, date(2024, 1, 1)], "local_start": "09:30:00",
    },
    "reference.currencies": {
        **_NOBODY, "currency_code": ["GBP", "GBp"], "major_currency": [None, "GBP"], "units_per_major": [1, 100],
    },
    "reference.classifications": {"scheme": "gics", "level": ["sector", "sub_industry"], "label": "Energy"},
    "reference.issuers": {"symbol": ["GOOG", "GOOGL"], "issuer": "cik:0001652044", "share_class": ["C", "A"]},
    "reference.option_contracts": {
        "symbol": ["AAPL240126P00050000", "AAPL240126C00050000"], "underlying": "AAPL", "expiry_date": date(2024, 1, 26),
        "option_right": ["put", "call"], "strike": Decimal(50), "multiplier": Decimal(100),
    },
    "reference.futures_contracts": {
        **_NOBODY, "market": "cme", "product": "ES", "contract": ["*", "ESH4"], "multiplier": Decimal(50),
        "tick_size": Decimal("0.25"),
    },
    "reference.trading_rules": {**_NOBODY, "market": "usa", "product_kind": "equity", "product": ["*", "AAPL"], "round_lot": 100},
    "reference.index_constituents": {"index_name": "SP500", "start_date": _DAYS},
    "reference.symbol_changes": {
        **_NOBODY, "scope": "US", "old_symbol": ["FB", "TWTR"], "new_symbol": ["META", None], "start_date": _DAYS,
    },
    "reference.instrument_joins": {
        **_NOBODY, "identity": ["provider:csv/A", "provider:csv/B"], "joined_identity": "listing:US/A", "joined_id": 9,
        "start_date": _DAYS,
    },
}  # fmt: skip


def facts(table: str, **changes: object) -> pa.Table:
    """Return two good rows of `table` with the columns of `changes` put in their place."""
    columns: dict[str, object] = {
        "instrument_id": 9, "provider": "reference", "feed": "lists", "symbol": "AAPL", "known_at": _NOON, "capture_id": "c1",
        "message_seq": 0, "ordinal": [0, 1], "run_id": "r1",
    }  # fmt: skip
    placed = {**columns, **_OWN[table], **changes}
    return rows(table_named(table), {name: v if isinstance(v, list) else [v] * 2 for name, v in placed.items()})


GOOD: dict[str, Callable[..., pa.Table]] = {table: partial(facts, table) for table in _OWN}
BAD: list[tuple[str, dict[str, object], str]] = [
    ("reference.identifiers", {"identifier": ["US037833100", "US5949181045"]}, "length_impossible"),
    ("reference.venues", {"mic": [None, "XNGS"]}, "mic_missing"),
    ("reference.venues", {"operating_mic": "XNYS"}, "segment_inconsistent"),
    ("reference.sessions", {"closes_at": _NOON - timedelta(days=2)}, "session_reversed"),
    ("reference.sessions", {"session_date": date(2023, 1, 3)}, "session_misplaced"),
    ("reference.market_hours", {"day": None}, "day_missing"),
    ("reference.currencies", {"units_per_major": 1}, "minor_unit_impossible"),
    ("reference.classifications", {"label": ""}, "label_empty"),
    ("reference.option_contracts", {"strike": Decimal(0)}, "strike_not_positive"),
    ("reference.futures_contracts", {"tick_size": Decimal(0)}, "terms_not_positive"),
    ("reference.trading_rules", {"round_lot": 0}, "rule_negative"),
    ("reference.index_constituents", {"end_date": date(2024, 1, 2)}, "dates_reversed"),
    ("reference.symbol_changes", {"new_symbol": "FB"}, "change_empty"),
    ("reference.instrument_joins", {"joined_identity": "provider:csv/A"}, "join_of_one"),
]
"""(table, what is changed, the check that fails)."""
