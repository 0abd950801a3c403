"""What there is to ask of a simulator: the symbols that were recorded, by provider and feed."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from ingest.asks import Ask
from ingest.simulator.recorded import charts

SPAN = (datetime(2000, 1, 1, tzinfo=UTC), datetime(2025, 1, 1, tzinfo=UTC))
_SYMBOLS: dict[tuple[str, str], Sequence[str]] = {
    ("yahoo", ""): ("AAPL", "MSFT"),
    ("binance", ""): ("BTCUSDT",),
    ("alpaca", ""): ("AAPL", "TSLA"),
    ("alpaca", "opra"): ("AAPL",),
    ("alpaca", "indicative"): ("AAPL",),
    ("alpaca", "actions"): ("*",),
    ("alpaca", "news"): ("CWAN", "AAPL"),
    ("alpaca", "crypto"): ("BTC/USD", "ETH/USD"),
    ("finnhub", ""): ("AAPL",),
    ("finnhub", "trades"): ("AAPL", "TSLA", "BINANCE:BTCUSDT", "OANDA:EUR_USD"),
    ("polygon", ""): ("AAPL",),
    ("polygon", "actions"): ("GOOGL",),
    ("tiingo", ""): ("GOOGL",),
    ("tiingo", "crypto"): ("btcusd", "fldcbtc"),
    ("tiingo", "fx"): ("EUR/USD",),
    ("alpha_vantage", ""): ("IBM",),
    ("alpha_vantage", "currencies"): ("EUR/USD",),
    ("alpha_vantage", "fundamentals"): ("TSLA",),
}


def recorded_symbols(provider: str, feed: str) -> tuple[str, ...]:
    """Return the symbols that the simulator has answers or frames of; none where it has no such provider."""
    return tuple(_SYMBOLS.get((provider, feed), _SYMBOLS.get((provider, ""), ())))


def recorded_asks(provider: str) -> list[Ask]:
    """Return the asks that get every recording of a provider, where they differ by more than their symbol; else none."""
    return [chart.ask for chart in charts()] if provider == "yahoo" else []
