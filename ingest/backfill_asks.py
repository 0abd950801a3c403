"""What is asked for a gap, and of whom: candidates in order, questions cut to what one request may span. Functions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from ingest.asks import Ask
from ingest.offers import Offer
from quality_checks.gaps import KnownGap

PAGES_AT_ONCE = 10
"""Pages of one question: what a crash may let be asked again."""
HISTORY = ("bars", "trades", "quotes")
"""Kinds of offers that tell of the past; a book or a snapshot is of now."""
_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Candidate:
    """Somebody who can be asked for a gap, and what it calls the instrument."""

    offer: Offer
    symbol: str

    @property
    def name(self) -> str:
        """PROVIDER/FEED."""
        return f"{self.offer.provider}/{self.offer.feed}"


def own_offers(gap: KnownGap, offers: Sequence[Offer], now: datetime) -> list[Offer]:
    """Return the offers of the gap's own feed that fit: what it tells again is merged with what it told."""
    return [
        offer
        for offer in offers
        if offer.kind in HISTORY
        and (offer.provider, offer.feed, offer.table) == (gap.provider, gap.feed, gap.table_name)
        and offer.table == f"normalized.{offer.kind}"
        and (not offer.intervals or gap.interval in offer.intervals)
        and _reaches(offer, gap, now)
    ]


def _reaches(offer: Offer, gap: KnownGap, now: datetime) -> bool:
    begins = offer.begins(gap.interval or "", now)
    return begins is None or gap.gap_end is None or gap.gap_end > begins


def questions(gap: KnownGap, candidate: Candidate) -> list[Ask]:
    """Return the asks that together cover a gap's window, or its numbers, each no longer than one request may be.

    Of what comes page by page without a limit, a day is one question; of numbers, some pages: so far a crash sets it back.
    """
    assert gap.gap_start is not None and gap.gap_end is not None  # bounded
    offer, interval = candidate.offer, gap.interval or ""
    numbers = _numbers(gap) if offer.provider == gap.provider else None
    if numbers is not None:
        step = PAGES_AT_ONCE * (offer.rows_per_page or 1_000)
        first, last = numbers
        return [
            Ask(candidate.symbol, interval, gap.gap_start, gap.gap_end, numbers=(low, min(low + step - 1, last)))
            for low in range(first, last + 1, step)
        ]
    longest = offer.longest(interval) or (None if offer.intervals else _DAY)
    return [Ask(candidate.symbol, interval, *window) for window in windows(gap.gap_start, gap.gap_end, longest)]


def windows(start: datetime, end: datetime, longest: timedelta | None) -> list[tuple[datetime, datetime]]:
    """Return `[start, end)` cut into windows of at most `longest`; None: one."""
    found = []
    while start < end:
        until = end if longest is None else min(end, start + longest)
        found.append((start, until))
        start = until
    return found


def _numbers(gap: KnownGap) -> tuple[int, int] | None:
    if gap.interval is None and gap.missing_count is not None and gap.first_missing and gap.last_missing:
        return int(gap.first_missing), int(gap.last_missing)
    return None
