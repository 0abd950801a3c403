"""Capturing from providers that want a key: where they are reached, which keys, and what a feed's name stands for.

Keys come from the environment (`KEY_VARIABLES`) when a provider itself is asked, and from the simulator when it is; they go
into addresses and into nothing that is written down.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import get_args

from ingest.asks import Address, Ask, Pages
from ingest.capture import CaptureReport, capture_pages, capture_stream
from ingest.providers import alpaca, alpaca_stream, alpha_vantage, finnhub
from ingest.providers.alpaca_stream import MarketStream
from ingest.providers.finnhub import TradeStream
from ingest.simulator.keyed import Keys
from lake.catalog import Lake
from lake.errors import InvalidValueError, NotFoundError, SettingsError
from lake.log.log import Log
from serving.operate.providers import DATA, KEY_VARIABLES, KEYED, STREAM

_DEFAULT_FEEDS = {alpaca.PROVIDER: "iex", finnhub.PROVIDER: finnhub.QUOTE, alpha_vantage.PROVIDER: alpha_vantage.STOCKS}
_DEFAULT_DATA = {
    "opra": "chain",
    "indicative": "chain",
    "actions": "actions",
    finnhub.TRADES: STREAM,
    alpha_vantage.FUNDAMENTALS: "overview",
}
_RECORDED = {
    alpaca.PROVIDER: "AAPL,TSLA",
    finnhub.PROVIDER: "AAPL",
    alpha_vantage.PROVIDER: "IBM",
    "opra": "AAPL",
    "indicative": "AAPL",
    "actions": alpaca.EVERY,
    "crypto": "BTC/USD,ETH/USD",
    alpha_vantage.CURRENCIES: "EUR/USD",
    alpha_vantage.FUNDAMENTALS: "TSLA",
    finnhub.TRADES: "AAPL,TSLA,BINANCE:BTCUSDT,OANDA:EUR_USD",
}
_RECORDED_SPAN = (datetime(2000, 1, 1, tzinfo=UTC), datetime(2025, 1, 1, tzinfo=UTC))


@dataclass(frozen=True, slots=True)
class KeyedReach:
    """Where the providers are reached and with which keys; `is_recorded`: by the simulator, which knows what to ask."""

    keys: Mapping[str, tuple[str, ...]]
    http: Mapping[str, str]
    streams: Mapping[str, str]
    is_recorded: bool = False

    def secrets(self, provider: str) -> tuple[str, ...]:
        """Return the keys of a provider. Raises SettingsError that names the variables to set."""
        found = self.keys.get(provider, ())
        if not found or not all(found):
            raise SettingsError(f"{provider} needs {' and '.join(KEY_VARIABLES[provider])} in the environment")
        return found


def themselves(environment: Mapping[str, str]) -> KeyedReach:
    """Return how the providers themselves are reached, with the keys of `environment`."""
    keys = {provider: tuple(environment.get(name, "") for name in names) for provider, names in KEY_VARIABLES.items()}
    http = {each.PROVIDER: each.ADDRESS for each in (alpaca, finnhub, alpha_vantage)}
    streams = {alpaca.PROVIDER: alpaca_stream.STREAM_ADDRESS, finnhub.PROVIDER: finnhub.STREAM_ADDRESS}
    return KeyedReach(keys, http, streams)


def simulated(addresses: Mapping[str, str], known: Keys) -> KeyedReach:
    """Return how a running simulator is reached at its addresses, with the keys it takes."""
    keys = {
        alpaca.PROVIDER: (known.alpaca_key_id, known.alpaca_secret),
        finnhub.PROVIDER: (known.finnhub_token,),
        alpha_vantage.PROVIDER: (known.alpha_vantage_key,),
    }
    streams = {name: addresses[name] for name in (alpaca.PROVIDER, finnhub.PROVIDER) if name in addresses}
    return KeyedReach(keys, dict.fromkeys(KEYED, addresses["http"]), streams, True)


def capture_keyed(
    lake: Lake,
    log: Log,
    reach: KeyedReach,
    provider: str,
    feed: str | None,
    data: str | None,
    symbols: tuple[str, ...],
    interval: str,
    span: tuple[datetime, datetime] | None,
    is_stopped: Callable[[], bool],
) -> CaptureReport:
    """Capture one feed: poll `data` of `symbols` over `span`, or listen to its stream.

    Raises NotFoundError for an unknown feed, SettingsError without keys, InvalidValueError for what cannot be asked.
    """
    feed = feed or (
        alpha_vantage.CURRENCIES if any("/" in each for each in symbols) and provider == alpha_vantage.PROVIDER else ""
    )
    feed = feed or _DEFAULT_FEEDS[provider]
    data = data or _DEFAULT_DATA.get(feed, "bars")
    if not symbols and reach.is_recorded:
        symbols = tuple(_RECORDED.get(feed, _RECORDED[provider]).split(","))
        span = span or _RECORDED_SPAN
    if not symbols:
        raise InvalidValueError(f"{provider} is asked by symbol: name at least one with --symbol")
    if data == STREAM:
        session, address = _session(reach, provider, feed, symbols)
        return capture_stream(lake, log, session, address, provider=provider, feed=feed, is_stopped=is_stopped)
    if span is None:
        raise InvalidValueError("a poll needs a start and an end")
    pages, address = _pages(reach, provider, feed, data)
    together = [",".join(symbols)] if provider == alpaca.PROVIDER and data != "chain" else list(symbols)
    asks = [Ask(each, interval, span[0].astimezone(UTC), span[1].astimezone(UTC)) for each in together]
    return capture_pages(lake, log, pages, asks, address, provider=provider, feed=feed)


def _pages(reach: KeyedReach, provider: str, feed: str, data: str) -> tuple[Pages, Address]:
    secrets, http = reach.secrets(provider), reach.http[provider]
    if provider == alpaca.PROVIDER and feed in alpaca.FEEDS:
        known = next(each for each in alpaca.FEEDS if each == feed)
        kind = next((each for each in get_args(alpaca.Kind) if each == data), None)
        if kind is None:
            raise InvalidValueError(f"alpaca has no {data}; there are {', '.join(DATA)}")
        return alpaca.MarketData(known, kind), Address(http, credentials=alpaca.credentials(*secrets))
    if provider == finnhub.PROVIDER and feed == finnhub.QUOTE:
        return finnhub.Quote(), Address(http, credentials=finnhub.credentials(*secrets))
    if provider == alpha_vantage.PROVIDER and feed == alpha_vantage.FUNDAMENTALS:
        return alpha_vantage.Company(data), Address(http, credentials=alpha_vantage.credentials(*secrets))
    if provider == alpha_vantage.PROVIDER and feed in (alpha_vantage.STOCKS, alpha_vantage.CURRENCIES):
        return alpha_vantage.Query(), Address(http, credentials=alpha_vantage.credentials(*secrets))
    raise NotFoundError(f"no feed {provider} {feed} that can be polled; `tickhouse feeds` lists them")


def _session(reach: KeyedReach, provider: str, feed: str, symbols: tuple[str, ...]) -> tuple[MarketStream | TradeStream, Address]:
    secrets, http, stream = reach.secrets(provider), reach.http[provider], reach.streams.get(provider)
    if provider == alpaca.PROVIDER:
        key_id, secret = secrets
        return MarketStream(feed, symbols, key_id, secret), Address(http, stream, credentials=alpaca.credentials(key_id, secret))
    if provider == finnhub.PROVIDER and feed == finnhub.TRADES:
        return TradeStream(symbols), Address(http, stream, credentials=finnhub.stream_credentials(*secrets))
    raise NotFoundError(f"{provider} {feed} has no stream")
