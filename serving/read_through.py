"""Reading through: what the lake does not have, or has too old, is asked of a provider while somebody waits.

Bounded in every way: one call for all who ask the same at once, so many calls at a time, so long for each, within quotas and
breakers, and kept for as long as its market stands as it does. The answer is provisional and says `source=real_time`.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as TooLateError
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta

import pyarrow as pa

from ingest.asks import Ask
from ingest.offers import Offer
from ingest.permits import Impatient
from ingest.routing import Asked, Asking, Choice, Router, ask_with_failover
from ingest.transport.backoff import Backoff
from ingest.verdicts import Verdict
from lake import scan
from lake.catalog import Lake
from lake.errors import BusyError, NotFoundError, ProviderUnavailableError
from lake.instants import to_datetime
from lake.scan import Where
from lake.values import CaptureKind
from serving.instruments import Instrument, instrument_named
from serving.real_time import Heard, instrument_heard, of_symbol, positions_of, rows_heard
from transforms.market_hours import Hours, hours_at

_NEWEST: dict[str, tuple[str, ...]] = {"bars": (), "trades": ("latest_trades",), "quotes": ("latest_quotes", "snapshots")}
"""What tells the newest of a kind without any window, in the words of offers; asked before the kind itself."""
_DAY_SO_FAR = "quotes"
"""What tells today's bar so far, in the words of offers whose rows are bars."""
_KEPT = 1_024
_WINDOW = {"bars": timedelta(days=1), "trades": timedelta(minutes=15), "quotes": timedelta(minutes=15)}
_DAILY_WINDOW = timedelta(days=10)
_AMERICAN = "listing:US/"
"""How identities begin of what is listed on any exchange of the US, where a provider names none."""
_SAME_EVERYWHERE = frozenset({"equity", "etf", "index"})
"""Asset classes whose symbols most providers write alike, where the lake knows no other."""


@dataclass(frozen=True, slots=True)
class Policy:
    """How it is done; asked for at each miss, so that a change counts at once.

    is_on      whether misses are read through where the client does not say
    open_s     lifetime of an answer while its market is open
    closed_s   longest lifetime while it is closed; its opening ends it
    """

    is_on: bool = False
    timeout_s: float = 5.0
    open_s: float = 15.0
    closed_s: float = 3_600.0


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is missing: a kind of rows of one instrument, as the client named it; dates are UTC days."""

    kind: str
    symbol: str
    interval: str = ""
    start: date | datetime | None = None
    end: date | datetime | None = None
    provider: str | None = None


@dataclass(frozen=True, slots=True)
class Fetched:
    """What came of asking: rows of the normalized table, about whom, until when they may be given again."""

    rows: pa.Table
    refused: int
    instrument: Instrument
    asked: Asked
    hours: Hours
    asked_at: datetime
    expires_at: datetime

    def is_good(self, now: datetime, max_age_s: float | None) -> bool:
        """Return whether it may be given again."""
        age_s = (now - self.asked_at).total_seconds()
        return now < self.expires_at and (max_age_s is None or age_s <= max_age_s)

    def metadata(self) -> dict[str, object]:
        """Return what an answer made of it says beside the usual."""
        return {
            "source": "real_time",
            "status": "provisional",
            "is_stale": False,
            "provider": None if self.asked.answered is None else self.asked.answered.provider,
            "asked_at": self.asked_at,
            "expires_at": self.expires_at,
            "is_market_open": self.hours.is_open,
            "refused": self.refused,
            "failovers": [one.document() for one in self.asked.failovers],
        }


@dataclass(frozen=True, slots=True)
class _Subject:
    """Who a question is about, as far as the lake knows."""

    instrument: Instrument | None
    asset_class: str
    symbols: dict[str, str]
    """By provider."""

    def symbol(self, offer: Offer, asked: str) -> str | None:
        """Return how a provider writes it; None where nobody can tell."""
        known = self.symbols.get(offer.provider)
        if known is not None or self.asset_class not in _SAME_EVERYWHERE:
            return known if self.instrument is not None else asked
        return self.instrument.symbol if self.instrument is not None else asked


class ReadThrough:
    """Asks providers for what the lake misses; one a process, for every thread.

    router   among the offers of providers that we may ask
    asking   how they are asked: quotas for live work, and breakers, are its permits
    at_once  questions to providers under way, at most
    """

    def __init__(
        self, lake: Lake, router: Router, asking: Asking, policy: Callable[[], Policy] = Policy, at_once: int = 8
    ) -> None:
        self._lake, self._router, self._asking, self.policy, self._at_once = lake, router, asking, policy, at_once
        self._pool = ThreadPoolExecutor(at_once, thread_name_prefix="read-through")
        self._lock = threading.RLock()  # a flight that ends at once lands in the thread that started it
        self._flights: dict[Wanted, Future[Fetched]] = {}
        self._kept: OrderedDict[Wanted, Fetched] = OrderedDict()

    def close(self) -> None:
        """End: wait for what is under way, which is bounded."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def fetch(self, wanted: Wanted, max_age_s: float | None = None) -> Fetched:
        """Return what a provider answers, or answered a moment ago, at most `max_age_s`.

        Raises NotFoundError when the providers have nothing, ProviderUnavailableError when none answered in time, BusyError
        when as many questions as may be are under way. A question that was given up here still ends in the log.
        """
        timeout_s = self.policy().timeout_s
        try:
            return self._flight(wanted, max_age_s).result(timeout_s)
        except TooLateError as error:
            words = f"no provider answered for {wanted.kind} of {wanted.symbol} within {timeout_s:g} s; ask again"
            raise ProviderUnavailableError(words, timeout_s) from error

    def _flight(self, wanted: Wanted, max_age_s: float | None) -> Future[Fetched]:
        now = to_datetime(self._lake.clock())
        with self._lock:
            kept = self._kept.get(wanted)
            if kept is not None and kept.is_good(now, max_age_s):
                done: Future[Fetched] = Future()
                done.set_result(kept)
                return done
            flight = self._flights.get(wanted)
            if flight is None:
                if len(self._flights) >= self._at_once:
                    raise BusyError(f"{self._at_once} questions to providers are under way, as many as may be")
                flight = self._flights[wanted] = self._pool.submit(self._ask, wanted)
                flight.add_done_callback(lambda landed: self._landed(wanted, landed))
            return flight

    def _landed(self, wanted: Wanted, flight: Future[Fetched]) -> None:
        with self._lock:
            self._flights.pop(wanted, None)
            if flight.cancelled() or flight.exception() is not None:
                return
            self._kept[wanted] = flight.result()
            self._kept.move_to_end(wanted)
            while len(self._kept) > _KEPT:
                self._kept.popitem(last=False)

    def _ask(self, wanted: Wanted) -> Fetched:
        policy, log = self.policy(), self._asking.log
        subject = self._subject(wanted)
        ask = self._words(wanted, subject)
        choices = self._choices(wanted, subject, ask)
        if not choices:
            scope = f" by {wanted.provider}" if wanted.provider else ""
            raise NotFoundError(f"no provider that may be asked{scope} offers {_named(wanted, subject)}")
        backoff = Backoff(attempts=1, ceiling_s=policy.timeout_s / 2)
        asking = replace(
            self._asking,
            symbol=subject.symbol,
            backoff=backoff,
            timeout_s=policy.timeout_s,
            whole_s=policy.timeout_s,
            permits=lambda offer: Impatient(self._asking.permits(offer), policy.timeout_s / 2),
        )
        before = positions_of(log)
        asked = ask_with_failover(asking, choices, ask, kind=CaptureKind.POLL)
        if asked.report is None or asked.answered is None:
            raise _nobody(wanted, subject, asked, policy)
        heard = rows_heard(self._lake, log, asked.report, asked.answered.table, before)
        rows = of_symbol(heard.rows, [subject.symbol(asked.answered, ask.symbol) or ask.symbol])
        heard = Heard(rows, heard.refused, heard.instruments)
        instrument = instrument_heard(heard, ask.symbol)
        if instrument is None:
            refused = f", {heard.refused} rows broke a rule" if heard.refused else ""
            raise NotFoundError(f"{asked.answered.provider} has no {_named(wanted, subject)}{refused}")
        return self._kept_until(heard, subject.instrument or instrument, subject, asked, policy)

    def _kept_until(self, heard: Heard, instrument: Instrument, subject: _Subject, asked: Asked, policy: Policy) -> Fetched:
        now = to_datetime(self._lake.clock())
        is_american = instrument.mic is None and instrument.identity.startswith(_AMERICAN)
        hours = hours_at(now, "XNYS" if is_american else instrument.mic, subject.asset_class)
        expires = now + timedelta(seconds=policy.open_s if hours.is_open else policy.closed_s)
        if not hours.is_open and hours.changes_at is not None:
            expires = min(expires, hours.changes_at)
        return Fetched(heard.rows, heard.refused, instrument, asked, hours, now, expires)

    def _subject(self, wanted: Wanted) -> _Subject:
        """Return what the lake knows of the instrument; a symbol it never heard of is asked as it was written."""
        try:
            instrument = instrument_named(self._lake, wanted.symbol, wanted.provider)
        except NotFoundError:
            return _Subject(None, "crypto" if "/" in wanted.symbol else "equity", {})
        mine = [Where("instrument_id", "=", instrument.instrument_id)]
        known = scan.read(self._lake, "reference.instruments", ["asset_class"], mine)["asset_class"].to_pylist()
        listings = scan.read(self._lake, "reference.listings", ["provider", "symbol"], mine).to_pylist()
        asset_class = next((one for one in known if one), "equity")
        return _Subject(instrument, asset_class, {row["provider"]: row["symbol"] for row in listings})

    def _words(self, wanted: Wanted, subject: _Subject) -> Ask:
        now = to_datetime(self._lake.clock())
        window = _DAILY_WINDOW if wanted.interval in ("1d", "1wk", "1mo") else _WINDOW[wanted.kind]
        end = _instant(wanted.end) or now
        start = _instant(wanted.start) or min(end, now) - window
        symbol = wanted.symbol if subject.instrument is None else subject.instrument.symbol
        return Ask(symbol, wanted.interval or "1d", start, end)

    def _choices(self, wanted: Wanted, subject: _Subject, ask: Ask) -> list[Choice]:
        table = f"normalized.{wanted.kind}"
        found = [each for kind in kinds_of(wanted) for each in self._router.choose(kind, subject.asset_class, ask, table)]
        return [each for each in found if wanted.provider in (None, each.offer.provider)]


def kinds_of(wanted: Wanted) -> tuple[str, ...]:
    """Return what is asked for, in the words of offers, in this order: of a window what it holds, else the newest first."""
    if wanted.start is not None or wanted.end is not None:
        return (wanted.kind,)
    today = (_DAY_SO_FAR,) if (wanted.kind, wanted.interval) == ("bars", "1d") else ()
    return (*_NEWEST[wanted.kind], wanted.kind, *today)


def _instant(bound: date | datetime | None) -> datetime | None:
    if bound is None or isinstance(bound, datetime):
        return bound
    return datetime.combine(bound, time(), UTC)


def _named(wanted: Wanted, subject: _Subject) -> str:
    of = wanted.symbol if subject.instrument is None else f"{wanted.symbol} ({subject.instrument.identity})"
    return f"{wanted.interval} {wanted.kind} of {of}".strip()


def _nobody(wanted: Wanted, subject: _Subject, asked: Asked, policy: Policy) -> Exception:
    """Return the error that says why nobody answered: nobody knows the symbol, or nobody can answer now."""
    told = "; ".join(f"{one.offer.provider}: {one.verdict.value} {one.detail}" for one in asked.failovers) or asked.detail
    words = f"no provider gives {_named(wanted, subject)}: {told}"
    if asked.verdict is Verdict.BAD_REQUEST or {one.verdict for one in asked.failovers} == {Verdict.UNKNOWN_SYMBOL}:
        return NotFoundError(words)
    return ProviderUnavailableError(words, policy.open_s)
