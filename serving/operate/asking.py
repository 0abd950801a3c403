"""Capturing from the command line: which captures a provider's name stands for, against the simulator or for real."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from ingest.asks import Address, Ask
from ingest.capture import CaptureReport, capture_pages, capture_stream
from ingest.providers import binance, yahoo
from lake.catalog import Lake
from lake.errors import InvalidValueError, NotFoundError
from lake.instants import to_datetime
from lake.log.log import Log

PROVIDERS = (yahoo.PROVIDER, binance.PROVIDER)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to capture of one provider.

    symbols    empty: a small default universe
    start, end what to poll over, half open; not for streams
    address    where the provider is reached; None: the provider's own address
    """

    provider: str
    feed: str | None = None
    symbols: tuple[str, ...] = ()
    interval: str = "1d"
    start: datetime | None = None
    end: datetime | None = None
    address: Callable[[str], Address] | None = None


def capture(lake: Lake, log: Log, wanted: Wanted, is_stopped: Callable[[], bool] = lambda: False) -> list[CaptureReport]:
    """Capture what is wanted, one capture after the other, and return what each did.

    Raises NotFoundError for an unknown provider or feed, InvalidValueError for what the provider cannot be asked, and
    ProviderUnavailableError when a stream stays dead.
    """
    if wanted.provider == yahoo.PROVIDER:
        return [_poll_yahoo(lake, log, wanted)]
    if wanted.provider == binance.PROVIDER:
        return [_listen_to_binance(lake, log, wanted, market, is_stopped) for market in _markets(wanted.feed)]
    raise NotFoundError(f"provider {wanted.provider!r} cannot be captured; there are {', '.join(PROVIDERS)}")


def _poll_yahoo(lake: Lake, log: Log, wanted: Wanted) -> CaptureReport:
    if wanted.feed not in (None, yahoo.FEED):
        raise NotFoundError(f"no feed yahoo {wanted.feed}; there is {yahoo.FEED}")
    end = wanted.end or to_datetime(lake.clock())
    start = wanted.start or end - timedelta(days=30)
    if not wanted.symbols:
        raise InvalidValueError("yahoo is polled by symbol: name at least one with --symbol")
    asks = [Ask(symbol, wanted.interval, start.astimezone(UTC), end.astimezone(UTC)) for symbol in wanted.symbols]
    address = Address(yahoo.ADDRESS) if wanted.address is None else wanted.address(yahoo.FEED)
    return capture_pages(lake, log, yahoo.Chart(), asks, address, provider=yahoo.PROVIDER, feed=yahoo.FEED)


def _markets(feed: str | None) -> tuple[binance.Market, ...]:
    if feed is None:
        return ("spot", "usdm")
    if feed == "spot":
        return ("spot",)
    if feed == "usdm":
        return ("usdm",)
    raise NotFoundError(f"no feed binance {feed}; there are spot, usdm")


def _listen_to_binance(
    lake: Lake, log: Log, wanted: Wanted, market: binance.Market, is_stopped: Callable[[], bool]
) -> CaptureReport:
    symbols = wanted.symbols or ("BTCUSDT",)
    session = binance.MarketSession([name for symbol in symbols for name in binance.default_streams(market, symbol)], market)
    own = Address(binance.HTTP_ADDRESS[market], binance.STREAM_ADDRESS[market])
    address = own if wanted.address is None else wanted.address(market)
    return capture_stream(lake, log, session, address, provider=binance.PROVIDER, feed=market, is_stopped=is_stopped)
