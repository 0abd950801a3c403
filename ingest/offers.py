"""What can be had from whom: one `Offer` for each kind of answer a provider gives when it is asked.

Values only. Planning, routing and backfill choose among offers; `ingest/providers/registry.py` lists them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from ingest.asks import Ask, Pages


@dataclass(frozen=True, slots=True)
class Offer:
    """One kind of answer of one provider.

    kind             what is answered, in the words of the tables: bars, trades, quotes, corporate_actions, ...
    table            the table that its rows end in, such as normalized.bars
    endpoint         the provider's word for what is asked, as its requests name it (`Request.endpoint`)
    pages            makes what asks and reads
    asset_classes    equity, etf, crypto, fx, option, future, index
    intervals        of bars, in the words of `Ask.interval`; none for what has no interval
    span             longest window of one request, by interval (`""`: any other); None in the map: no limit
    history          how far back it reaches, by interval, likewise
    rows_per_page    most rows of one page; None: one answer holds all
    symbols_per_call symbols that one request may name
    basis            of bars: as_traded, split_adjusted, fully_adjusted
    data             the word by which a person asks for it beside the feed; empty: its kind
    subject          what the symbol of an ask is, where it is none: an exchange, a word to look for
    session          endpoints of the calls that come before a capture's first question: Yahoo's cookie and crumb
    parts            requests that one window takes, where the provider cuts it by a calendar of its own
    """

    provider: str
    feed: str
    kind: str
    table: str
    endpoint: str
    pages: Callable[[], Pages]
    asset_classes: frozenset[str]
    intervals: tuple[str, ...] = ()
    span: tuple[tuple[str, timedelta | None], ...] = ()
    history: tuple[tuple[str, timedelta | None], ...] = ()
    rows_per_page: int | None = None
    symbols_per_call: int = 1
    basis: str | None = None
    data: str = ""
    subject: str = ""
    session: tuple[str, ...] = ()
    parts: Callable[[datetime, datetime], int] | None = None

    @property
    def word(self) -> str:
        """The word by which a person asks for it beside the feed."""
        return self.data or self.kind

    def longest(self, interval: str) -> timedelta | None:
        """Return the longest window of one request, or None when there is no limit."""
        return _told(self.span, interval)

    def begins(self, interval: str, now: datetime) -> datetime | None:
        """Return the first instant it can be asked for, or None when it reaches back without limit."""
        reach = _told(self.history, interval)
        return None if reach is None else now - reach

    def answers(self, kind: str, asset_class: str, ask: Ask, now: datetime) -> bool:
        """Return whether it can answer `ask`, whole, as far as is known before asking."""
        if kind != self.kind or asset_class not in self.asset_classes or (self.intervals and ask.interval not in self.intervals):
            return False
        begins = self.begins(ask.interval, now)
        return begins is None or ask.start >= begins


def _told(by_interval: tuple[tuple[str, timedelta | None], ...], interval: str) -> timedelta | None:
    told = dict(by_interval)
    return told.get(interval, told.get(""))
