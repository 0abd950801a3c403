"""More examples that the OpenAPI document shows: reference, quality, SQL, integration."""

from __future__ import annotations

from typing import Any

from serving.web.examples import METADATA

_INSTRUMENT = METADATA["instrument"]
_PLAIN = {**{key: value for key, value in METADATA.items() if key != "instrument"}, "basis": "as_recorded"}


def _tabular(columns: dict[str, list[Any]], **metadata: Any) -> dict[str, Any]:
    return {"metadata": {**_PLAIN, **metadata}, "row_count": len(next(iter(columns.values()))), "columns": columns}


QUOTES = _tabular(
    {
        "ts_recv": ["2024-08-08T00:00:01.027Z"],
        "provider": ["binance"],
        "bid_price": ["55131.99"],
        "bid_size": ["1.2"],
        "ask_price": ["55132"],
        "ask_size": ["0.4"],
    },
    instrument=_INSTRUMENT,
    snapshots={"normalized.quotes": "3821550127947089009"},
    basis="as_traded",
    has_more=True,
)
SNAPSHOT = _tabular(
    {
        "symbol": ["AAPL"],
        "trade_at": [None],
        "trade_price": [None],
        "quote_at": [None],
        "bid_price": [None],
        "bar_session_date": ["2020-08-31"],
        "bar_close": ["129.04"],
    },
    basis="as_traded",
)
INSTRUMENTS = _tabular(
    {
        "instrument_id": ["4611686018427387904"],
        "identity": ["listing:US/AAPL"],
        "name": ["Apple Inc."],
        "symbols": [["AAPL"]],
        "providers": [["csv", "yahoo"]],
    },
    total_count=1,
)
NAMES_QUESTION: dict[str, Any] = {"names": ["META", "isin:US0378331005"], "on": "2022-06-09"}
RESOLVED = _tabular(
    {
        "asked": ["META"],
        "status": ["found"],
        "instrument_id": ["2694488452913129550"],
        "identity": ["listing:US/FB"],
        "name": ["symbol:META"],
        "start_date": ["2022-06-09"],
        "end_date": [None],
    },
    on="2022-06-09",
    found=1,
)
NAMES = _tabular(
    {
        "name": ["isin:US0378331005", "symbol:AAPL"],
        "instrument_id": ["4611686018427387904", "4611686018427387904"],
        "start_date": [None, None],
        "end_date": [None, None],
    }
)
ACTIONS = _tabular(
    {
        "ex_date": ["2020-08-31"],
        "kind": ["split"],
        "ratio_old": [1],
        "ratio_new": [4],
        "known_at": ["2020-07-30T04:00:00Z"],
        "price_factor": ["0.25"],
        "volume_factor": ["4"],
    },
    instrument=_INSTRUMENT,
    basis="as_announced",
)
CALENDAR = _tabular(
    {
        "session_date": ["2020-08-28", "2020-08-31"],
        "opens_at": ["2020-08-28T13:30:00Z", "2020-08-31T13:30:00Z"],
        "closes_at": ["2020-08-28T20:00:00Z", "2020-08-31T20:00:00Z"],
    },
    calendar="XNYS",
    zone="America/New_York",
    source="exchange_calendars",
)
FEEDS = _tabular(
    {"provider": ["yahoo"], "feed": ["chart"], "reads": ["chart JSON"], "tables": [["normalized.bars"]], "captures": [3]}
)
QUALITY: dict[str, Any] = {
    "metadata": _PLAIN,
    "scores": None,
    "scores_note": "quality scores are not computed yet; gate runs, quarantine and findings are, under /quality",
    "gate_runs": [{"table_name": "normalized.trades", "verdict": "passed", "count": 4}],
    "quarantined": [{"table_name": "normalized.bars", "rule": "null_price", "count": 2}],
    "findings": [{"kind": "restatement", "severity": "warning", "count": 1}],
    "open_gaps": 1,
    "holds": [],
}
GATE_RUNS = _tabular(
    {
        "run_id": ["promote-trades-1"],
        "table_name": ["normalized.trades"],
        "verdict": ["passed"],
        "checks_expected": [9],
        "checks_evaluated": [9],
        "recorded_at": ["2026-11-21T00:00:00Z"],
    },
    total_count=1,
)
GAPS = _tabular(
    {"gap_id": ["binance-spot-1"], "provider": ["binance"], "status": ["open"], "reason": ["reconnect"]}, open_count=1
)
HOLDS = _tabular(
    {
        "hold_id": ["trades-binance-0.12-24"],
        "table_name": ["normalized.trades"],
        "row_count": [1000],
        "report": ['{"failing_rows":{}}'],
    }
)
SQL_QUESTION: dict[str, Any] = {
    "query": "SELECT session_date, close, adj_close FROM adjusted.bars_1d WHERE symbol = 'AAPL' ORDER BY session_date",
    "known_as_of": "2020-08-28",
}
SQL_ANSWER = _tabular(
    {"session_date": ["2020-08-28"], "close": ["499.23"], "adj_close": ["499.23"]}, basis="as_selected", truncated=False
)
PROCESS: dict[str, Any] = {"source": "yahoo", "data_type": "MARKET_DATA", "instruments": ["AAPL"], "timeframe": "1d"}
JOB: dict[str, Any] = {
    "request_id": "job-0f3b",
    "status": "DISTRIBUTED",
    "processed_count": 252,
    "failed_count": 0,
    "quality_score": None,
    "processing_time_ms": 1840,
    "source": "yahoo",
    "data_type": "MARKET_DATA",
    "error_message": None,
}
ISSUES: list[dict[str, Any]] = [
    {
        "instrument_id": "4611686018427387904",
        "timestamp": "2026-11-21T00:00:00Z",
        "completeness": None,
        "accuracy": None,
        "freshness": None,
        "consistency": None,
        "overall_score": None,
        "issues": [{"type": "price_jump", "severity": "warning", "description": "129.04", "field": None, "value": None}],
    }
]
JOBS: dict[str, Any] = {
    "status": "ok",
    "jobs": {"RECEIVED": 0, "VALIDATED": 0, "PROCESSED": 0, "DISTRIBUTED": 3, "FAILED": 0},
    "is_running": False,
}
FX = _tabular(
    {
        "base_currency": ["USD"],
        "quote_currency": ["JPY"],
        "session_date": ["2026-04-13"],
        "ts_event": ["2026-04-13T12:15:00Z"],
        "known_at": ["2026-04-13T14:00:00Z"],
        "rate": ["159.833960972270"],
        "method": ["via EUR"],
        "rates_used": [["ECB:EURUSD 1.1684", "ECB:EURJPY 186.75"]],
    },
    basis="as_told",
)
