"""The providers that can be captured, by name: which want a key and where it is looked for. Light to import."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import get_args

from ingest.providers import alpaca, alpha_vantage, binance, finnhub, yahoo

KEYED = (alpaca.PROVIDER, finnhub.PROVIDER, alpha_vantage.PROVIDER)
PROVIDERS = (yahoo.PROVIDER, binance.PROVIDER, *KEYED)
KEY_VARIABLES: dict[str, tuple[str, ...]] = {
    alpaca.PROVIDER: ("APCA_API_KEY_ID", "APCA_API_SECRET_KEY"),
    finnhub.PROVIDER: ("FINNHUB_API_KEY",),
    alpha_vantage.PROVIDER: ("ALPHAVANTAGE_API_KEY",),
}
STREAM = "stream"
DATA = (*get_args(alpaca.Kind), STREAM)


@dataclass(frozen=True, slots=True)
class Task:
    """One capture that `up` makes of a provider; `data` is a kind of Alpaca's."""

    feed: str
    data: str | None = None

    @property
    def is_stream(self) -> bool:
        """Whether the provider is listened to until the end, not asked."""
        return self.data == STREAM or self.feed in (*_MARKETS, finnhub.TRADES)

    def __str__(self) -> str:
        return f"{self.feed} {self.data}" if self.data else self.feed


_MARKETS = ("spot", "usdm")
PLAYED: dict[str, tuple[Task, ...]] = {
    yahoo.PROVIDER: (Task(yahoo.FEED),),
    binance.PROVIDER: (Task("spot"), Task("usdm")),
    alpaca.PROVIDER: (
        Task("iex", "bars"), Task("iex", "trades"), Task("iex", "quotes"), Task("indicative", "chain"),
        Task("actions", "actions"), Task("iex", STREAM),
    ),
    finnhub.PROVIDER: (Task(finnhub.QUOTE), Task(finnhub.TRADES)),
    alpha_vantage.PROVIDER: (Task(alpha_vantage.STOCKS), Task(alpha_vantage.CURRENCIES)),
}  # fmt: skip
"""What `up` captures of each provider, in this order."""


def tasks_of(provider: str, symbols: tuple[str, ...]) -> tuple[Task, ...]:
    """Return what `up --live` captures of a provider itself: what its symbols can be asked for."""
    if provider == binance.PROVIDER:
        return (Task("spot"),)
    if provider == alpha_vantage.PROVIDER:
        return (Task(alpha_vantage.CURRENCIES if any("/" in symbol for symbol in symbols) else alpha_vantage.STOCKS),)
    return tuple(task for task in PLAYED[provider] if task.feed != "indicative")


def missing_keys(provider: str, environment: Mapping[str, str]) -> str:
    """Return what must be set before a provider itself can be asked, in words; empty when nothing is missing."""
    missing = [name for name in KEY_VARIABLES.get(provider, ()) if not environment.get(name)]
    return f"needs {' and '.join(missing)} in the environment" if missing else ""
