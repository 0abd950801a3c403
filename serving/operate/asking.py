"""Capturing: which captures a provider's name stands for, against the simulator or the provider itself."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from ingest.asks import Address, Ask
from ingest.capture import CaptureReport, capture_pages, capture_stream
from ingest.providers import binance, yahoo
from ingest.simulator import Simulator
from ingest.simulator.keyed import Keys
from ingest.simulator.recorded import charts
from lake.catalog import Lake
from lake.errors import InvalidValueError, NotFoundError
from lake.instants import to_datetime
from lake.log.log import Log
from serving.choices import From as From
from serving.operate import keyed
from serving.operate.keyed import KeyedReach
from serving.operate.providers import KEYED, PROVIDERS

_POLLED_DAYS = 30


@dataclass(frozen=True, slots=True)
class Reach:
    """Where providers are reached, and what Yahoo is asked when nobody says."""

    yahoo: Address
    spot: Address
    usdm: Address
    asks: tuple[Ask, ...] = ()
    keyed: KeyedReach | None = None


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to capture of one provider; a poll is over `[start, end)`, by default the last 30 days."""

    provider: str
    feed: str | None = None
    symbols: tuple[str, ...] = ()
    interval: str = "1d"
    start: datetime | None = None
    end: datetime | None = None
    data: str | None = None
    """Of Alpaca: bars, trades, quotes, snapshots, chain, latest_quotes, actions or stream; None: what the feed is for."""


PROVIDERS_THEMSELVES = Reach(
    Address(yahoo.ADDRESS),
    Address(binance.HTTP_ADDRESS["spot"], binance.STREAM_ADDRESS["spot"]),
    Address(binance.HTTP_ADDRESS["usdm"], binance.STREAM_ADDRESS["usdm"]),
)


def reach_of(simulator: Simulator) -> Reach:
    """Return how a running simulator is reached."""
    return reach_at(simulator.addresses(), simulator.keys)


def reach_at(addresses: Mapping[str, str], keys: Keys) -> Reach:
    """Return how a simulator is reached at its addresses; it can be asked everything that was recorded."""
    http = addresses["http"]
    spot, usdm = (Address(http, addresses.get(market)) for market in ("spot", "usdm"))
    return Reach(Address(http), spot, usdm, tuple(chart.ask for chart in charts()), keyed.simulated(addresses, keys))


def themselves(environment: Mapping[str, str]) -> Reach:
    """Return how the providers themselves are reached, with the keys of `environment`."""
    return replace(PROVIDERS_THEMSELVES, keyed=keyed.themselves(environment))


@contextmanager
def reached(source: From, excerpt: int | None = None) -> Iterator[Reach]:
    """Give where providers are reached: a simulator that lives as long as the context, or the providers themselves."""
    if source is From.PROVIDER:
        yield themselves(os.environ)
        return
    with Simulator(excerpt=excerpt) as simulator:
        yield reach_of(simulator)


def capture(
    lake: Lake, log: Log, wanted: Wanted, reach: Reach, is_stopped: Callable[[], bool] = lambda: False
) -> list[CaptureReport]:
    """Capture what is wanted, one capture after the other, and return what each did.

    Raises NotFoundError for an unknown provider or feed, InvalidValueError for what the provider cannot be asked, and
    ProviderUnavailableError when a stream stays dead.
    """
    if wanted.provider == yahoo.PROVIDER:
        return [_poll_yahoo(lake, log, wanted, reach)]
    if wanted.provider == binance.PROVIDER:
        return [_listen_to_binance(lake, log, wanted, reach, market, is_stopped) for market in _markets(wanted.feed)]
    if wanted.provider in KEYED and reach.keyed is not None:
        return [_capture_keyed(lake, log, wanted, reach.keyed, is_stopped)]
    raise NotFoundError(f"provider {wanted.provider!r} cannot be captured; there are {', '.join(PROVIDERS)}")


def _capture_keyed(lake: Lake, log: Log, wanted: Wanted, reach: KeyedReach, is_stopped: Callable[[], bool]) -> CaptureReport:
    end = wanted.end or to_datetime(lake.clock())
    span = (wanted.start or end - timedelta(days=_POLLED_DAYS), end)
    is_told = bool(wanted.symbols or wanted.start or wanted.end) or not reach.is_recorded
    return keyed.capture_keyed(
        lake, log, reach, wanted.provider, wanted.feed, wanted.data, wanted.symbols, wanted.interval,
        span if is_told else None, is_stopped,
    )  # fmt: skip


def _poll_yahoo(lake: Lake, log: Log, wanted: Wanted, reach: Reach) -> CaptureReport:
    if wanted.feed not in (None, yahoo.FEED):
        raise NotFoundError(f"no feed yahoo {wanted.feed}; there is {yahoo.FEED}")
    end = wanted.end or to_datetime(lake.clock())
    start = wanted.start or end - timedelta(days=_POLLED_DAYS)
    asks = [Ask(symbol, wanted.interval, start.astimezone(UTC), end.astimezone(UTC)) for symbol in wanted.symbols]
    asks = asks or list(reach.asks)
    if not asks:
        raise InvalidValueError("yahoo is polled by symbol: name at least one with --symbol")
    return capture_pages(lake, log, yahoo.Chart(), asks, reach.yahoo, provider=yahoo.PROVIDER, feed=yahoo.FEED)


def _markets(feed: str | None) -> tuple[binance.Market, ...]:
    if feed is None:
        return ("spot", "usdm")
    if feed == "spot":
        return ("spot",)
    if feed == "usdm":
        return ("usdm",)
    raise NotFoundError(f"no feed binance {feed}; there are spot, usdm")


def _listen_to_binance(
    lake: Lake, log: Log, wanted: Wanted, reach: Reach, market: binance.Market, is_stopped: Callable[[], bool]
) -> CaptureReport:
    symbols = wanted.symbols or ("BTCUSDT",)
    session = binance.MarketSession([name for symbol in symbols for name in binance.default_streams(market, symbol)], market)
    address = reach.spot if market == "spot" else reach.usdm
    return capture_stream(lake, log, session, address, provider=binance.PROVIDER, feed=market, is_stopped=is_stopped)
