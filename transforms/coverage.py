"""What feeds cover: which market a symbol without a MIC is listed in, and which feeds see a part of their market only."""

from __future__ import annotations

from functools import lru_cache

from transforms.decode.dbn_publishers import partial_datasets
from transforms.decode.exchange_symbols import US, hints
from transforms.feeds import feed_of

PARTIAL_FEEDS = frozenset(
    {("alpaca", "iex"), ("alpaca", "indicative"), ("finnhub", "quote"), ("yahoo", "quote"), ("tiingo", "iex")}
    | {("databento", dataset.lower()) for dataset in partial_datasets()}
)
"""One exchange of many, modified prices, a day without its volume: they win no bar that another feed has, and where their
prices differ that is no disagreement."""
_US_CALENDAR = "XNYS"


@lru_cache(maxsize=65_536)
def home_mic(provider: str, feed: str, symbol: str, mic: str | None) -> str | None:
    """Return the MIC whose calendar counts a symbol's sessions: the one told, else that of the US where the feed means it."""
    if mic is not None:
        return mic
    found = feed_of(provider, feed)
    is_us = found is not None and (found.venue == US or (found.venue is None and _is_us_by_name(provider, feed, symbol)))
    return _US_CALENDAR if is_us else None


def _is_us_by_name(provider: str, feed: str, symbol: str) -> bool:
    """Providers that name no exchange of US listings; Alpha Vantage's pairs of currencies have no listing at all,
    and digits alone are no symbol of the US."""
    return (provider, feed) in _NAMELESS and not symbol.isdigit() and hints(symbol).get("exchange") == US


_NAMELESS = frozenset(
    {
        ("finnhub", "quote"),
        ("finnhub", "trades"),
        ("alpha_vantage", "stocks"),
        ("polygon", "market"),
        ("tiingo", "daily"),
        ("iex_cloud", "stock"),
        ("yahoo", "download"),
    }
)
