"""Which feeds bring data as they should: what is listened to or scheduled is judged by its newest data, while its market is open.

Data counts, not pings. A feed is stale once nothing came for longer than is allowed, although all that time somebody asked or
listened and the market was open: of a stream `stale_after_s`, of a poll as much more than its pause. Nothing is kept for this
but the alerts, so that every process tells the same.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum

from ingest.configuration import Configuration
from ingest.configured import Configured
from ingest.health import Health
from ingest.providers.registry import PROVIDERS
from ingest.tallies import ASKED, DATA_NS, LISTENED
from lake import tallies
from lake.catalog import Lake
from lake.errors import CommitUnknownError
from lake.instants import NANOS_PER_SECOND, to_datetime
from lake.state import State
from lake.tallies import Key
from serving.operate.configured import open_configured
from serving.operate.scheduled import Planned, planned, polled_since
from serving.operate.telling import tell
from transforms.decode.exchange_symbols import US
from transforms.feeds import feed_of as feed_of_data
from transforms.market_hours import hours_at

LOOK_S = 5.0
STREAM = "stream:"
"""How the jobs of streams begin."""
_US = "XNYS"


class Freshness(StrEnum):
    """How a feed stands."""

    FRESH = "fresh"
    STALE = "stale"
    QUIET = "quiet"
    """Nothing came for long, and nothing was to come: its market is closed, or it was begun a moment ago."""


@dataclass(frozen=True, slots=True)
class Fresh:
    """One feed that is listened to, or asked by a schedule.

    age_s       of its newest data; None: it never brought any
    allowed_s   older is stale
    """

    provider: str
    feed: str
    way: str
    freshness: Freshness
    age_s: float | None
    allowed_s: float

    @property
    def subject(self) -> str:
        """Provider, feed and way, as alerts name them."""
        return f"{self.provider}/{self.feed}/{self.way}"

    def words(self) -> str:
        """Return it for a person."""
        since = "no data yet" if self.age_s is None else f"no data for {self.age_s:,.0f} s"
        return f"{since}, where {self.allowed_s:,.0f} s are allowed while its market is open"


@dataclass(frozen=True, slots=True)
class _Watched:
    """What is expected of a feed: since when, for how long it may be silent, whether its market was open an instant ago."""

    provider: str
    feed: str
    way: str
    since_ns: int
    allowed_s: float
    plan: Planned | None = None

    def is_expected(self, now_ns: int) -> bool:
        """Return whether data was to come at an instant."""
        now = to_datetime(now_ns)
        if self.plan is not None and not self.plan.is_time(now):
            return False
        if self.way == ASKED:
            return True
        told = "" if self.plan is None else self.plan.schedule.calendar
        classes = _classes(self.provider, self.feed) if self.plan is None else {self.plan.asset_class}
        return all(hours_at(now, told or _market(self.provider, self.feed), each).is_open for each in classes)


def judged(state: State, configuration: Configuration, now_ns: int) -> list[Fresh]:
    """Return how each feed stands from which somebody wants data now, by provider and feed."""
    counted, found = tallies.read(state), []
    for one in _watched(state, configuration):
        last_ns = counted.get(Key(DATA_NS, one.provider, one.feed, one.way))
        allowed_ns = round(one.allowed_s * NANOS_PER_SECOND)
        freshness = Freshness.QUIET
        if last_ns is not None and now_ns - last_ns <= allowed_ns:
            freshness = Freshness.FRESH
        elif one.since_ns <= now_ns - allowed_ns and one.is_expected(now_ns) and one.is_expected(now_ns - allowed_ns):
            freshness = Freshness.STALE
        age_s = None if last_ns is None else max(now_ns - last_ns, 0) / NANOS_PER_SECOND
        found.append(Fresh(one.provider, one.feed, one.way, freshness, age_s, one.allowed_s))
    return sorted(found, key=lambda one: one.subject)


def stale_feeds(state: State, configuration: Configuration, now_ns: int) -> frozenset[tuple[str, str]]:
    """Return (provider, feed) of those that are stale."""
    return frozenset((one.provider, one.feed) for one in judged(state, configuration, now_ns) if one.freshness is Freshness.STALE)


def look(lake: Lake, configured: Configured, health: Health) -> list[Fresh]:
    """Judge every feed; raise an alert for one that became stale, resolve it when it brings data or nobody wants it any more."""
    found = judged(lake.state, configured.in_force(), lake.clock())
    for one in found:
        if one.freshness is Freshness.STALE:
            health.stale(one.provider, one.subject, one.words())
        elif one.freshness is Freshness.FRESH:
            health.speaks(one.provider, one.subject, "data comes again")
    wanted = {one.subject for one in found}
    for subject in health.stale_subjects() - wanted:
        health.speaks(subject.partition("/")[0], subject, "nobody listens to it or asks for it any more")
    return found


@contextmanager
def watched(lake: Lake, stopping: threading.Event) -> Iterator[None]:
    """Look every few seconds, in a thread, as long as the context lasts or until the event."""
    configured, health, ended = open_configured(lake), Health(lake.state, lake.clock), threading.Event()

    def watch() -> None:
        while not (ended.is_set() or stopping.is_set()):
            try:
                look(lake, configured, health)
            except CommitUnknownError as error:
                tell("trouble", words=f"whether feeds are stale cannot be told: {error}")
            ended.wait(LOOK_S)

    thread = threading.Thread(target=watch, name="freshness", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def under_way(state: State) -> dict[tuple[str, str], list[Mapping[str, object]]]:
    """Return (provider, feed) -> jobs of the streams that are listened to, as far as their processes told."""
    found: dict[tuple[str, str], list[Mapping[str, object]]] = {}
    for name, document in state.jobs(STREAM).items():
        if document.get("ended") is None:
            found.setdefault(feed_of(name, document), []).append(document)
    return found


def ever_listened(state: State) -> set[tuple[str, str]]:
    """Return (provider, feed) of every stream that was ever listened to."""
    return {feed_of(name, document) for name, document in state.jobs(STREAM).items()}


def feed_of(job: str, document: Mapping[str, object]) -> tuple[str, str]:
    """Return (provider, feed) of the job of a stream; older jobs tell it by their names alone."""
    provider, _, feed = job.removeprefix(STREAM).partition("-")
    return str(document.get("provider", provider)), str(document.get("feed", feed))


def _watched(state: State, configuration: Configuration) -> Iterator[_Watched]:
    allowed_s = configuration.thresholds.stale_after_s
    plans = [plan for plan in planned(configuration).values() if plan.schedule.provider in PROVIDERS]
    streams = {(each.schedule.provider, _feed(each)): each for each in plans if each.is_stream}
    for (provider, feed), jobs in under_way(state).items():
        begun_ns = min(_number(each.get("begun_ns")) for each in jobs)
        yield _Watched(provider, feed, LISTENED, begun_ns, allowed_s, streams.get((provider, feed)))
    since_ns = polled_since(state)
    polls: dict[tuple[str, str], _Watched] = {}
    for plan in plans:
        if plan.name in since_ns and not plan.is_stream:
            key = plan.schedule.provider, _feed(plan)
            one = _Watched(*key, ASKED, since_ns[plan.name], plan.schedule.every_s + allowed_s, plan)
            polls[key] = min(polls.get(key, one), one, key=lambda each: each.allowed_s)
    yield from polls.values()


def _feed(plan: Planned) -> str:
    return plan.schedule.feed or PROVIDERS[plan.schedule.provider].feeds(plan.symbols)[0]


def _classes(provider: str, feed: str) -> frozenset[str]:
    """Return the asset classes that a feed may be about: where nobody told, those of its provider."""
    offers = PROVIDERS[provider].offers if provider in PROVIDERS else ()
    mine = [offer.asset_classes for offer in offers if offer.feed == feed] or [offer.asset_classes for offer in offers]
    return frozenset().union(*mine)


def _market(provider: str, feed: str) -> str:
    """Return the market of all symbols of a feed, as its reader tells it; New York where it tells none.

    One without a calendar never closes: Binance trades its futures day and night like the rest.
    """
    known = feed_of_data(provider, feed)
    return _US if known is None or known.venue in (None, US) else known.venue


def _number(value: object) -> int:
    return value if isinstance(value, int) else 0
