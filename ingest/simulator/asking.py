"""What there is to ask of a simulator: the symbols that were recorded, by provider and feed."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from ingest.asks import Ask
from ingest.simulator.recorded import charts

SPAN = (datetime(2000, 1, 1, tzinfo=UTC), datetime(2025, 1, 1, tzinfo=UTC))
_SYMBOLS: dict[tuple[str, str], Sequence[str]] = {
    ("yahoo", ""): ("AAPL", "MSFT"),
    ("yahoo", "quotes"): ("AAPL", "BABA", "BTC-USD", "EURUSD=X", "GC=F"),
    ("yahoo", "options"): ("EBAY", "AAPL"),
    ("yahoo", "screener"): ("aggressive_small_caps",),
    ("yahoo", "search"): ("AAPL",),
    ("yahoo", "stream"): ("^GSPC", "AAPL", "BABA", "EURUSD=X", "BTC-USD", "GC=F"),
    ("binance", ""): ("BTCUSDT",),
    ("alpaca", ""): ("AAPL", "TSLA"),
    ("alpaca", "opra"): ("AAPL",),
    ("alpaca", "indicative"): ("AAPL",),
    ("alpaca", "actions"): ("*",),
    ("alpaca", "news"): ("CWAN", "AAPL"),
    ("alpaca", "crypto"): ("BTC/USD", "ETH/USD"),
    ("finnhub", ""): ("AAPL",),
    ("finnhub", "rates"): ("EUR",),
    ("finnhub", "reference"): ("US",),
    ("finnhub", "symbol_changes"): ("*",),
    ("finnhub", "trades"): ("AAPL", "TSLA", "BINANCE:BTCUSDT", "OANDA:EUR_USD"),
    ("polygon", ""): ("AAPL",),
    ("polygon", "actions"): ("GOOGL",),
    ("tiingo", ""): ("GOOGL",),
    ("tiingo", "iex"): ("GOOGL", "AAPL"),
    ("tiingo", "crypto"): ("btcusd", "fldcbtc"),
    ("tiingo", "fx"): ("EUR/USD",),
    ("alpha_vantage", ""): ("IBM",),
    ("alpha_vantage", "currencies"): ("EUR/USD",),
    ("alpha_vantage", "fundamentals"): ("TSLA",),
    ("alpha_vantage", "splits"): ("AAPL",),
    ("alpha_vantage", "bulk"): ("MSFT",),
    ("alpha_vantage", "crypto"): ("BTC/EUR",),
    ("alpha_vantage", "economic"): ("WTI",),
    ("alpha_vantage", "search"): ("BA",),
    **{("alpha_vantage", word): ("*",) for word in ("movers", "listings", "market_status", "earnings_calendar", "ipo_calendar")},
}


def recorded_symbols(provider: str, feed: str, word: str = "") -> tuple[str, ...]:
    """Return the symbols that the simulator has answers or frames of; none where it has no such provider.

    word   what of the feed is asked, where it was recorded of other symbols than the rest
    """
    found = (_SYMBOLS.get((provider, each)) for each in (word or feed, feed, ""))
    return tuple(next((symbols for symbols in found if symbols is not None), ()))


def recorded_asks(provider: str, feed: str = "chart") -> list[Ask]:
    """Return the asks that get every recording of a feed, where they differ by more than their symbol; else none."""
    return [chart.ask for chart in charts()] if (provider, feed) == ("yahoo", "chart") else []
