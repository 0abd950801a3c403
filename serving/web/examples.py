"""Examples that the OpenAPI document shows; real answers, shortened."""

from __future__ import annotations

from typing import Any

_INSTRUMENT = {
    "instrument_id": "4611686018427387904",
    "identity": "listing:US/AAPL",
    "symbol": "AAPL",
    "name": "Apple Inc.",
    "currency": "USD",
    "mic": "XNAS",
}
METADATA = {
    "instrument": _INSTRUMENT,
    "snapshots": {"adjusted.agreed_bars": "3821550127947089009", "adjusted.factors": "5502431930012311702"},
    "basis": "split_adjusted",
    "fresh": "2020-08-31T20:00:00Z",
    "completeness": None,
    "quality_score": None,
    "source": "lake",
    "as_of": None,
    "known_as_of": None,
}
BARS: dict[str, Any] = {
    "metadata": {**METADATA, "interval": "1d", "adjustment": "splits"},
    "row_count": 2,
    "columns": {
        "session_date": ["2020-08-28", "2020-08-31"],
        "ts_open": ["2020-08-28T13:30:00Z", "2020-08-31T13:30:00Z"],
        "open": ["126.0125", "127.58"],
        "high": ["126.4425", "131"],
        "low": ["124.5775", "126"],
        "close": ["124.8075", "129.04"],
        "volume": ["187629960", "225702700"],
        "price_factor": ["0.25", "1"],
        "volume_factor": ["4", "1"],
    },
}
TRADES: dict[str, Any] = {
    "metadata": {
        **METADATA,
        "instrument": {**_INSTRUMENT, "identity": "listing:BINANCE/BTCUSDT:spot", "symbol": "BTCUSDT", "name": None, "mic": None},
        "snapshots": {"normalized.trades": "3821550127947089009"},
        "basis": "as_traded",
        "total_count": 9757,
        "offset": 0,
        "has_more": True,
    },
    "row_count": 1,
    "columns": {
        "ts_event": ["2024-08-08T00:00:01.027Z"],
        "provider": ["binance"],
        "price": ["55131.99"],
        "size": ["0.00018"],
        "side": ["buy"],
        "trade_id": ["3720157911"],
    },
}
EXPLANATION: dict[str, Any] = {
    "event_id": "yahoo-chart-import-0f3b:0:12",
    "table": "normalized.bars",
    "step": "decode and normalize",
    "row": {"symbol": "AAPL", "session_date": "2020-08-31", "close": "129.04"},
    "publication": {"run_id": "promote-yahoo-0", "snapshot_id": 3821550127947089009, "published_at": "2026-11-21T12:00:00Z"},
    "gate": {"verdict": "passed", "checks_expected": 9, "checks_evaluated": 9, "row_count": 49},
    "message": {
        "sha256": "9f86d081…",
        "is_sha256_proved": True,
        "request": {"url": "https://…/v8/finance/chart/AAPL"},
        "status": 200,
    },
    "inputs": [],
}
HEALTH: dict[str, Any] = {
    "status": "ok",
    "version": "0.1.0",
    "tables": {"normalized.trades": {"snapshot": "3821550127947089009", "holds": 0}},
    "holds": [],
    "providers": {"yahoo": {"standing": "up", "since": "2026-11-21T14:31:00+00:00", "detail": "every breaker is closed"}},
    "alerts": [],
}
