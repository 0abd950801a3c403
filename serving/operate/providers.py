"""What `up` captures of each provider. Light to import."""

from __future__ import annotations

from dataclasses import dataclass

from ingest.providers import alpaca, alpha_vantage, binance, finnhub, polygon, tiingo, yahoo
from ingest.providers.registry import PROVIDERS, STREAM


@dataclass(frozen=True, slots=True)
class Task:
    """One capture that `up` makes of a provider; `data` is a word of `ingest.providers.registry.WORDS`."""

    provider: str
    feed: str
    data: str | None = None

    @property
    def is_stream(self) -> bool:
        """Whether the provider is listened to until the end, not asked."""
        push = PROVIDERS[self.provider].push(self.feed)
        return self.data == STREAM or (self.data is None and push is not None and push.is_default)

    def __str__(self) -> str:
        return f"{self.feed} {self.data}" if self.data else self.feed


def _tasks(provider: str, *feeds: tuple[str, str | None]) -> tuple[Task, ...]:
    return tuple(Task(provider, feed, data) for feed, data in feeds)


PLAYED: dict[str, tuple[Task, ...]] = {
    yahoo.PROVIDER: _tasks(yahoo.PROVIDER, (yahoo.FEED, None)),
    binance.PROVIDER: _tasks(binance.PROVIDER, ("spot", None), ("usdm", None)),
    alpaca.PROVIDER: _tasks(
        alpaca.PROVIDER,
        ("iex", "bars"),
        ("iex", "trades"),
        ("iex", "quotes"),
        ("indicative", "chain"),
        ("actions", "actions"),
        ("iex", STREAM),
    ),
    finnhub.PROVIDER: _tasks(finnhub.PROVIDER, (finnhub.QUOTE, None), (finnhub.TRADES, None)),
    polygon.PROVIDER: _tasks(
        polygon.PROVIDER,
        (polygon.MARKET, "bars"),
        (polygon.MARKET, "trades"),
        (polygon.MARKET, "quotes"),
        (polygon.ACTIONS, "splits"),
    ),
    tiingo.PROVIDER: _tasks(tiingo.PROVIDER, (tiingo.DAILY, None), (tiingo.CRYPTO, None), (tiingo.FX, None)),
    alpha_vantage.PROVIDER: _tasks(alpha_vantage.PROVIDER, (alpha_vantage.STOCKS, None), (alpha_vantage.CURRENCIES, None)),
}
"""What `up` captures of each provider, in this order."""


def tasks_of(provider: str, symbols: tuple[str, ...]) -> tuple[Task, ...]:
    """Return what `up --live` captures of a provider itself: what its symbols can be asked for."""
    if provider == binance.PROVIDER:
        return _tasks(provider, ("spot", None))
    if provider == alpha_vantage.PROVIDER:
        return _tasks(provider, *((feed, None) for feed in alpha_vantage.feeds_of(symbols)))
    if provider == tiingo.PROVIDER:
        return _tasks(provider, *((feed, None) for feed in tiingo.feeds_of(symbols)))
    return tuple(task for task in PLAYED[provider] if task.feed != "indicative")
