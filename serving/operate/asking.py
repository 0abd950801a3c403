"""Capturing: which captures a provider's name stands for, against the simulator or the provider itself."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from ingest.asks import Ask
from ingest.capture import CaptureReport, capture_pages
from ingest.configuration import Configuration
from ingest.giving_up import GivingUp
from ingest.offers import Offer
from ingest.permits import FREE, Permits, Together
from ingest.providers.registry import STREAM, Provider, Push, provider_named
from ingest.reach import Reach, simulated, themselves
from ingest.shards import ALONE, Shard
from ingest.simulator import Simulator
from ingest.simulator.asking import SPAN, recorded_asks, recorded_symbols
from lake.catalog import Lake
from lake.errors import InvalidValueError, NotFoundError
from lake.instants import to_datetime
from lake.log.log import Log
from quality_checks.alerts import Alerts
from serving.choices import From as From
from serving.operate.streaming import listen

_POLLED_DAYS = 30
_MARGIN = timedelta(hours=1)
"""What a provider reaches back to moves on while it is asked."""


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
    """What of the feed: a word of `ingest.providers.registry.WORDS`; None: what the feed is for."""
    asks: tuple[Ask, ...] = ()
    """What is polled, in so many words; none: what the rest tells."""
    shard: Shard = ALONE
    """Which of several processes that capture the same: its share of the symbols."""


def reach_of(simulator: Simulator) -> Reach:
    """Return how a running simulator is reached; it can be asked everything that was recorded."""
    return simulated(simulator.addresses(), simulator.keys)


@contextmanager
def reached(source: From, configuration: Callable[[], Configuration], excerpt: int | None = None) -> Iterator[Reach]:
    """Give where providers are reached: a simulator that lives as long as the context, or the providers as configured."""
    if source is From.PROVIDER:
        yield themselves(os.environ, configuration)
        return
    with Simulator(excerpt=excerpt) as simulator:
        yield reach_of(simulator)


def capture(
    lake: Lake,
    log: Log,
    wanted: Wanted,
    reach: Reach,
    is_stopped: Callable[[], bool] = lambda: False,
    permits: Callable[[str], Permits] = lambda provider: FREE,
    sleep: Callable[[float], None] = time.sleep,
) -> list[CaptureReport]:
    """Capture what is wanted, one poll after the other, then all streams at once; return what each did. Giving up is an alert.

    permits   leave to call a provider: its quota and breakers (`serving.operate.rights`)

    Raises NotFoundError for an unknown provider or feed, InvalidValueError for what the provider cannot be asked,
    SettingsError without its keys, and ProviderUnavailableError when a stream stays dead.
    """
    provider = provider_named(wanted.provider)
    reports: list[CaptureReport] = []
    streams: dict[Push, Sequence[str]] = {}
    if wanted.feed:
        feed, data = provider.meant(wanted.feed, wanted.data)
        wanted = replace(wanted, feed=feed, data=data)
    for feed in (wanted.feed,) if wanted.feed else provider.feeds(wanted.symbols):
        push = _listened_to(provider, feed, wanted)
        symbols = wanted.symbols or (recorded_symbols(provider.name, feed, wanted.data or "") if reach.is_recorded else ())
        if push is not None:
            streams[push] = _named(symbols, provider, feed)
            continue
        share = wanted.shard.share(provider.name, feed, symbols)
        if share or wanted.shard.number == 1:
            reports.append(_poll(lake, log, wanted, provider, feed, share, reach, permits(provider.name), sleep))
    if streams:
        reports += listen(
            lake,
            log,
            provider,
            streams,
            reach,
            shard=wanted.shard,
            is_stopped=is_stopped,
            permits=permits(provider.name),
            sleep=sleep,
        )
    return reports


def _listened_to(provider: Provider, feed: str, wanted: Wanted) -> Push | None:
    """Return what a feed pushes where that is wanted; None where it is to be asked."""
    push = provider.push(feed)
    if wanted.data == STREAM and push is None:
        raise NotFoundError(f"{provider.name} {feed} has no stream")
    return push if wanted.data == STREAM or (wanted.data is None and push is not None and push.is_default) else None


def _poll(
    lake: Lake,
    log: Log,
    wanted: Wanted,
    provider: Provider,
    feed: str,
    symbols: Sequence[str],
    reach: Reach,
    permits: Permits,
    sleep: Callable[[float], None],
) -> CaptureReport:
    patience = GivingUp(Alerts(lake.state, lake.clock, log), provider.name, feed)
    leave = Together([permits, patience])
    offers = provider.offers_of(feed, wanted.data)
    if not offers:
        words = dict.fromkeys(offer.word for offer in (*provider.offers, *provider.named_only) if offer.feed == feed)
        raise InvalidValueError(f"{provider.name} {feed} has no {wanted.data}; there are {', '.join(words) or 'none'}")
    offer = next((each for each in offers if wanted.interval in each.intervals), offers[0])
    asks = _asks(lake, wanted, offer, symbols, reach)
    address = reach.asked(provider.name, feed)
    report = capture_pages(lake, log, offer.pages(), asks, address, provider=provider.name, feed=feed, permits=leave, sleep=sleep)
    patience.told(report)
    return report


def _asks(lake: Lake, wanted: Wanted, offer: Offer, symbols: Sequence[str], reach: Reach) -> list[Ask]:
    """Return what is asked for, once each: as many symbols at once as the provider takes."""
    if wanted.asks:
        return list(dict.fromkeys(wanted.asks))
    is_told = bool(wanted.symbols or wanted.start or wanted.end) or not reach.is_recorded
    if not is_told and (recorded := recorded_asks(offer.provider, offer.feed)):
        return recorded
    named = _named(symbols, provider_named(offer.provider), offer.feed, offer.subject)
    symbols = list(dict.fromkeys(named))  # what has no number would stand once a telling
    now = to_datetime(lake.clock())
    end = wanted.end or now
    start, end = (wanted.start or _beginning(offer, wanted.interval, end, now), end) if is_told else SPAN
    many = offer.symbols_per_call
    together = [",".join(symbols[first : first + many]) for first in range(0, len(symbols), many)]
    return [Ask(each, wanted.interval, start.astimezone(UTC), end.astimezone(UTC)) for each in together]


def _beginning(offer: Offer, interval: str, end: datetime, now: datetime) -> datetime:
    """Return where a poll begins that nobody says: some days back, or a little after the first that the provider reaches."""
    polled, begins = end - timedelta(days=_POLLED_DAYS), offer.begins(interval, now)
    return polled if begins is None else max(polled, begins + _MARGIN)


def _named(symbols: Sequence[str], provider: Provider, feed: str, subject: str = "") -> Sequence[str]:
    if not symbols:
        raise InvalidValueError(f"{provider.name} {feed} is asked by {subject or 'symbol'}: name at least one with --symbol")
    return symbols
