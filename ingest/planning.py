"""What it would take to ask for something: calls, bytes, time within the quotas as they stand now, money; by whom it is cheapest.

Values and functions. Time is not guessed: the plan's own book is played forward with every call, from what is spent already.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from math import ceil

from ingest.asks import Request
from ingest.backfill_asks import windows
from ingest.offers import Offer
from ingest.plans import Plan, Purpose, Window
from ingest.quota_book import Wanted
from ingest.quotas import Quotas
from lake.errors import InvalidValueError
from lake.instants import NANOS_PER_SECOND, to_datetime, to_ns
from quality_checks.missing import expected_bars
from transforms.calendars import is_daily_or_coarser, venue_of

LATENCY_S = 0.3
"""Of a call, where nobody has measured it yet."""
_PLAYED = 1_000
"""Calls played one by one; the rest goes on at their pace, or at that of the tightest window where it is slower."""
_BYTES_A_ROW = {"bars": 110, "trades": 130, "quotes": 160, "corporate_actions": 220, "fundamentals": 400}
_ROWS_A_DAY = {"trades": 20_000, "quotes": 100_000, "book_events": 200_000, "corporate_actions": 0.02, "fundamentals": 0.02}
_BYTES_A_CALL = 400
_US = "XNYS"


@dataclass(frozen=True, slots=True)
class Question:
    """What is wanted: a kind of data of symbols over `[start, end)`; of bars, their interval."""

    kind: str
    asset_class: str
    symbols: tuple[str, ...]
    interval: str
    start: datetime
    end: datetime

    def __post_init__(self) -> None:
        if not self.symbols:
            raise InvalidValueError("a plan is of symbols: name at least one")
        if self.start.tzinfo is None or self.end.tzinfo is None or self.start >= self.end:
            raise InvalidValueError(f"a plan is of [start, end), both with a zone; got {self.start} to {self.end}")


@dataclass(frozen=True, slots=True)
class Estimate:
    """What one offer would take.

    seconds   until the last answer, from now; None: never, and `why_not` says why
    paced_by  the window that makes it last, in words; empty: the provider's own speed
    why_not   why it does not suffice; empty: it does
    """

    provider: str
    feed: str
    endpoint: str
    plan: str
    calls: int
    rows: int
    byte_count: int
    usd: float
    seconds: float | None
    paced_by: str = ""
    why_not: str = ""

    @property
    def suffices(self) -> bool:
        """Whether all that is wanted can be had from it."""
        return not self.why_not

    def words(self) -> str:
        """Return it in words, like `3.0 days at 25 a day in America/New_York, free`."""
        if self.seconds is None:
            return self.why_not
        cost = f"{self.usd:.2f} USD" if self.usd else "free"
        return f"{duration_words(self.seconds)}{f' at {self.paced_by}' if self.paced_by else ''}, {cost}"

    def document(self, now: datetime) -> dict[str, object]:
        """Return it in JSON values."""
        return {
            "provider": self.provider,
            "feed": self.feed,
            "endpoint": self.endpoint,
            "plan": self.plan,
            "calls": self.calls,
            "rows": self.rows,
            "bytes": self.byte_count,
            "usd": round(self.usd, 4),
            "seconds": None if self.seconds is None else round(self.seconds, 1),
            "done_at": None if self.seconds is None else (now + timedelta(seconds=self.seconds)).isoformat(timespec="seconds"),
            "suffices": self.suffices,
            "why_not": self.why_not,
            "words": self.words(),
        }


@dataclass(frozen=True, slots=True)
class Purse:
    """With what is asked: the ledger, and by provider the name of its key, what it lacks to be asked, how long a call takes."""

    quotas: Quotas
    key: Callable[[str], str]
    lacks: Callable[[str], str] = lambda provider: ""
    latency_s: Callable[[Offer], float] = lambda offer: LATENCY_S
    purpose: Purpose = "backfill"


def estimates(question: Question, offers: Sequence[Offer], purse: Purse, budget_usd: float | None = None) -> list[Estimate]:
    """Return what each offer of that kind would take: those that suffice first, the cheapest first, the quicker of two as cheap.

    budget_usd   more is too much
    """
    now = to_datetime(purse.quotas.clock())
    fitting = [offer for offer in offers if offer.kind == question.kind and question.asset_class in offer.asset_classes]
    found = [_estimate(question, offer, purse, now, budget_usd) for offer in _of_interval(fitting, question.interval)]
    return sorted(found, key=lambda one: (not one.suffices, one.usd, one.seconds or 0.0, one.provider, one.feed, one.endpoint))


def offered(offers: Sequence[Offer], asset_class: str) -> list[str]:
    """Return the kinds of data that somebody offers of an asset class."""
    return sorted({offer.kind for offer in offers if asset_class in offer.asset_classes})


def _of_interval(offers: Sequence[Offer], interval: str) -> list[Offer]:
    """Return the offers to estimate, of a feed that has an offer an interval: the one that was asked for, or all as one."""
    by_feed: dict[tuple[str, str], list[Offer]] = {}
    for offer in offers:
        by_feed.setdefault((offer.provider, offer.feed), []).append(offer)
    found: list[Offer] = []
    for mine in by_feed.values():
        able = [offer for offer in mine if not offer.intervals or interval in offer.intervals]
        every = dict.fromkeys(each for offer in mine for each in offer.intervals)
        found += able or [replace(mine[0], intervals=tuple(every))]
    return found


class _Asking:
    """The asks that together get what is wanted of an offer, counted without being made: there may be millions."""

    def __init__(self, question: Question, offer: Offer) -> None:
        self._symbols, self._many = question.symbols, offer.symbols_per_call
        spans = windows(question.start, question.end, offer.longest(question.interval))
        self._rows, span_s = _rows_a_symbol(question), (question.end - question.start).total_seconds()
        shares = [(end - start).total_seconds() / span_s for start, end in spans]
        least = [1 if offer.parts is None else offer.parts(start, end) for start, end in spans]
        sizes = {len(group) for group in self._groups()}
        self._pages = {
            size: [max(few, _pages(offer, self._rows * size * share)) for few, share in zip(least, shares, strict=True)]
            for size in sizes
        }

    @property
    def rows(self) -> int:
        """Rows expected in all."""
        return round(self._rows * len(self._symbols))

    @property
    def calls(self) -> int:
        """Calls in all, a page each."""
        by_size = {size: sum(pages) for size, pages in self._pages.items()}
        return sum(by_size[len(group)] for group in self._groups())

    def pages(self) -> Iterator[tuple[tuple[str, ...], int]]:
        """Return ask by ask the symbols it names and its pages."""
        for group in self._groups():
            for pages in self._pages[len(group)]:
                yield group, pages

    def _groups(self) -> Iterator[tuple[str, ...]]:
        for first in range(0, len(self._symbols), self._many):
            yield self._symbols[first : first + self._many]


def _pages(offer: Offer, rows: float) -> int:
    return 1 if offer.rows_per_page is None else max(1, ceil(round(rows, 6) / offer.rows_per_page))


def _estimate(question: Question, offer: Offer, purse: Purse, now: datetime, budget_usd: float | None) -> Estimate:
    plan, asking = purse.quotas.plan(offer.provider), _Asking(question, offer)
    calls = asking.calls + len(offer.session)
    byte_count = asking.rows * _BYTES_A_ROW.get(offer.kind, 200) + calls * _BYTES_A_CALL
    usd = calls * plan.usd_per_call + byte_count / 1e9 * plan.usd_per_gb
    why_not = _why_not(question, offer, purse, now)
    weight = _weight(plan, offer.endpoint)
    played, refused = _played(purse, plan, offer, asking)
    why_not = why_not or refused
    if not why_not and budget_usd is not None and usd > budget_usd:
        why_not = f"costs {usd:.2f} USD, more than {budget_usd:.2f}"
    slowest = _slowest(plan, offer.endpoint, calls * weight)
    is_paced = slowest is not None and played is not None and played > calls * purse.latency_s(offer) * 1.5
    paced = _a_window(slowest, plan.limit(slowest, purse.purpose)) if slowest is not None and is_paced else ""
    return Estimate(
        offer.provider, offer.feed, offer.endpoint, plan.name, calls, asking.rows, byte_count, usd, played, paced, why_not
    )  # fmt: skip


def _why_not(question: Question, offer: Offer, purse: Purse, now: datetime) -> str:
    if offer.intervals and question.interval not in offer.intervals:
        return f"has no bars of {question.interval}, only of {', '.join(offer.intervals)}"
    begins = offer.begins(question.interval, now)
    if begins is not None and question.start < begins:
        return f"reaches back to {begins:%Y-%m-%d} only"
    return purse.lacks(offer.provider)


def _played(purse: Purse, plan: Plan, offer: Offer, asking: _Asking) -> tuple[float | None, str]:
    """Return the seconds that the calls take one after the other, by playing the book forward; or None and why it cannot be."""
    book, start_ns = purse.quotas.book(offer.provider, purse.key(offer.provider)), purse.quotas.clock()
    latency_ns, now_ns, done = round(purse.latency_s(offer) * NANOS_PER_SECOND), start_ns, 0
    for endpoint, symbols, pages in _in_turn(offer, asking):
        left, weight = pages, _weight(plan, endpoint)
        at_once = plan.batch(endpoint, weight)[0]
        while left and done < _PLAYED:
            wanted = Wanted(endpoint, purse.purpose, weight, min(left, at_once), symbols)
            granted = book.reserve(now_ns, wanted, "plan", 0)
            if granted.never:
                return None, granted.why
            if not granted.calls:
                now_ns = max(granted.at_ns, now_ns + 1)
                continue
            now_ns += latency_ns * granted.calls
            book.settle(now_ns, "plan", wanted, granted.calls)
            done, left = done + granted.calls, left - granted.calls
        if done >= _PLAYED:
            break
    took_s, calls, weight = (now_ns - start_ns) / NANOS_PER_SECOND, asking.calls, _weight(plan, offer.endpoint)
    if done == calls + len(offer.session):
        return took_s, ""
    slowest = _slowest(plan, offer.endpoint, calls * weight)
    least_s = 0.0 if slowest is None else calls * weight / plan.limit(slowest, purse.purpose) * _length_s(slowest)
    return max(took_s * calls / done, least_s), ""


def _in_turn(offer: Offer, asking: _Asking) -> Iterator[tuple[str, tuple[str, ...], int]]:
    """Return what is called, one after the other: the endpoint, the symbols named, how many pages."""
    yield from ((endpoint, (), 1) for endpoint in offer.session)
    yield from ((offer.endpoint, symbols, pages) for symbols, pages in asking.pages())


def _weight(plan: Plan, endpoint: str) -> int:
    return plan.weight(Request("GET", "", endpoint=endpoint))


def _rows_a_symbol(question: Question) -> float:
    """Return how many rows are expected of one symbol: of bars by the calendar, of other kinds by a usual day's."""
    days = (question.end - question.start).total_seconds() / 86_400
    if question.kind != "bars":
        return days * 5 / 7 * _ROWS_A_DAY.get(question.kind, 1.0)
    venue = venue_of(None if question.asset_class in ("crypto", "fx") else _US, None, question.asset_class)
    if is_daily_or_coarser(question.interval) and question.interval != "1d":
        return days / {"wk": 7, "mo": 30.4, "d": 1}[question.interval.lstrip("0123456789")]
    return float(len(expected_bars(venue, question.interval, question.start, question.end).starts))


def _slowest(plan: Plan, endpoint: str, weight: int) -> Window | None:
    """Return the window that lets so much pass last; None when one period of every window holds it."""
    too_small = [each for each in plan.windows_about(endpoint) if each.counts == "weight" and weight > each.limit]
    return max(too_small, key=lambda each: _length_s(each) / each.limit, default=None)


def _length_s(window: Window) -> float:
    start, end = window.period_ns(to_ns(datetime(2026, 1, 1, tzinfo=UTC))) if window.calendar else (0, window.length_ns)
    return (end - start) / NANOS_PER_SECOND


def _a_window(window: Window, limit: int) -> str:
    units = {1.0: "second", 60.0: "minute", 3_600.0: "hour", 86_400.0: "day"}
    length = window.calendar or units.get(window.seconds, f"{window.seconds:g} s")
    return f"{limit:,} calls a {length}" + (f" ({window.zone})" if window.calendar else "")


def duration_words(seconds: float) -> str:
    """Return a length of time in its largest fitting unit."""
    for unit, length in (("days", 86_400.0), ("hours", 3_600.0), ("minutes", 60.0)):
        if seconds >= 1.5 * length:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds:.1f} seconds"
