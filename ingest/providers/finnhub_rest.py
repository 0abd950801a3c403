"""Finnhub's other REST answers: candles, splits, dividends, news, lists of symbols, market status, rates. Machine: no I/O.

Candles of stocks are for plans that are paid for: a free key gets 403. One call holds a month of intraday candles, so a longer
window is asked month by month. Source: PROVIDERS.md section 2.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial

from ingest.asks import Ask, Page, Request, Response
from ingest.offers import Offer
from ingest.providers.finnhub import PROVIDER, checked, read_document
from ingest.verdicts import Reading, Verdict
from lake.errors import InvalidValueError
from lake.instants import check_window

RESOLUTIONS = {
    "1m": "1", "5m": "5", "15m": "15", "30m": "30", "60m": "60", "1h": "60", "1d": "D", "1wk": "W", "1mo": "M",
}  # fmt: skip
MONTH = timedelta(days=30)
"""Of intraday candles one call holds a month."""
_HEADERS = (("accept-encoding", "identity"),)
_DAILY = frozenset({"D", "W", "M"})
EVERY = "*"
"""The symbol of an ask for what is told of all symbols at once."""
Params = list[tuple[str, str]]


def _days(names: tuple[str, str], ask: Ask) -> Params:
    last = ask.end - timedelta(microseconds=1)
    return [(names[0], ask.start.astimezone(UTC).date().isoformat()), (names[1], last.astimezone(UTC).date().isoformat())]


def _of_symbol(ask: Ask) -> Params:
    return [("symbol", checked(ask.symbol)), *_days(("from", "to"), ask)]


def _of_exchange(ask: Ask) -> Params:
    return [("exchange", checked(ask.symbol))]


def _of_all_days(ask: Ask) -> Params:
    if ask.symbol != EVERY:
        raise InvalidValueError(f"this is told of all symbols at once: {EVERY!r}, not {ask.symbol!r}")
    return _days(("from", "to"), ask)


def _of_base(ask: Ask) -> Params:
    return [("base", checked(ask.symbol)), ("date", ask.start.astimezone(UTC).date().isoformat())]


@dataclass(frozen=True, slots=True)
class _Question:
    """What can be asked: the feed of its answers, the path, the parameters of an ask, and whether an answer holds data."""

    feed: str
    path: str
    params: Callable[[Ask], Params]
    count: Callable[[object], int | None]


def _listed(found: object) -> int | None:
    """Return how many entries a list has; None where it is none of entries."""
    return len(found) if isinstance(found, list) and all(isinstance(each, dict) for each in found) else None


def _named(name: str, found: object) -> int | None:
    """Return 1 where an object has `name`, 0 where it says nothing; None where it is no such answer."""
    return int(found[name] is not None) if isinstance(found, dict) and name in found else None


def _data(found: object) -> int | None:
    """Return how many entries an object lists as its data."""
    return _listed(found.get("data")) if isinstance(found, dict) else None


QUESTIONS: dict[str, _Question] = {
    "splits": _Question("actions", "stock/split", _of_symbol, _listed),
    "dividends": _Question("actions", "stock/dividend", _of_symbol, _listed),
    "news": _Question("news", "company-news", _of_symbol, _listed),
    "symbols": _Question("reference", "stock/symbol", _of_exchange, _listed),
    "market_status": _Question("reference", "stock/market-status", _of_exchange, partial(_named, "isOpen")),
    "holidays": _Question("reference", "stock/market-holiday", _of_exchange, _data),
    "symbol_changes": _Question("reference", "ca/symbol-change", _of_all_days, _data),
    "rates": _Question("rates", "forex/rates", _of_base, partial(_named, "quote")),
}
"""What can be asked in one call, by the word a person says; of lists and status the symbol of an ask is an exchange, like US."""


class Answers:
    """One kind of answer, in one call (`Pages`)."""

    def __init__(self, kind: str) -> None:
        if kind not in QUESTIONS:
            raise InvalidValueError(f"finnhub has no {kind}; there are {', '.join(QUESTIONS)}")
        self._question = QUESTIONS[kind]

    def first(self, ask: Ask) -> Request:
        """Return the request for an ask. Raises InvalidValueError."""
        check_window(ask.start, ask.end)
        path = self._question.path
        return Request("GET", f"/api/v1/{path}", tuple(self._question.params(ask)), _HEADERS, path)

    def read(self, response: Response) -> Page:
        """Return what an answer means; there is never a next page."""
        found = read_document(response)
        if isinstance(found, Reading):
            return Page(found)
        count = self._question.count(found)
        if count is None:
            return Page(Reading(Verdict.MALFORMED, f"not an answer of {self._question.path}"))
        return Page(Reading(Verdict.OK if count else Verdict.EMPTY_VALID, f"{count} entries"))


class Candles:
    """Bars of one symbol, a month of intraday ones a call (`Pages`)."""

    def __init__(self) -> None:
        self._request = Request("GET", "/api/v1/stock/candle", (), _HEADERS, "stock/candle")
        self._from = self._end = datetime.min.replace(tzinfo=UTC)
        self._rows = 0

    def first(self, ask: Ask) -> Request:
        """Return the first request of an ask. Raises InvalidValueError."""
        check_window(ask.start, ask.end)
        resolution = RESOLUTIONS.get(ask.interval)
        if resolution is None:
            raise InvalidValueError(f"interval {ask.interval!r} is not one of Finnhub's; expected {', '.join(RESOLUTIONS)}")
        self._from, self._end, self._rows = ask.start, ask.end, 0
        params = (("symbol", checked(ask.symbol)), ("resolution", resolution))
        self._request = Request("GET", "/api/v1/stock/candle", params, _HEADERS, "stock/candle")
        return self._window()

    def _window(self) -> Request:
        until = self._end if dict(self._request.params).get("resolution") in _DAILY else min(self._end, self._from + MONTH)
        bounds = (("from", str(-int(-self._from.timestamp() // 1))), ("to", str(-int(-until.timestamp() // 1) - 1)))
        kept = tuple(param for param in self._request.params if param[0] not in ("from", "to"))
        self._request, self._from = replace(self._request, params=kept + bounds), until
        return self._request

    def read(self, response: Response) -> Page:
        """Return what an answer means, and the request for the month after it."""
        found = read_document(response)
        if isinstance(found, Reading):
            return Page(found)
        state, stamps = (found.get("s"), found.get("t")) if isinstance(found, dict) else (None, None)
        if state not in ("ok", "no_data") or (state == "ok" and not isinstance(stamps, list)):
            return Page(Reading(Verdict.MALFORMED, "no candles: expected columns with s ok, or s no_data"))
        self._rows += len(stamps) if isinstance(stamps, list) else 0
        reading = Reading(Verdict.OK if self._rows else Verdict.EMPTY_VALID, f"{self._rows} bars")
        return Page(reading, self._window()) if self._from < self._end else Page(reading)


_STOCKS = frozenset({"equity", "etf"})
CANDLES = tuple(
    Offer(
        PROVIDER, "candles", "bars", "normalized.bars", "stock/candle", Candles, _STOCKS,
        tuple(each for each, word in RESOLUTIONS.items() if (word in _DAILY) == is_daily),
        basis="split_adjusted" if is_daily else "as_traded",
    )
    for is_daily in (True, False)
)  # fmt: skip
"""For plans that are paid for: asked when somebody names the feed, never chosen."""
_EXCHANGE = "exchange, like US or L"


def _list(word: str, table: str, subject: str) -> Offer:
    asked = QUESTIONS[word]
    return Offer(
        PROVIDER, asked.feed, "reference", table, asked.path, partial(Answers, word), _STOCKS, data=word, subject=subject
    )


OFFERS: tuple[Offer, ...] = (
    *(
        Offer(
            PROVIDER, "actions", "corporate_actions", "normalized.corporate_actions", QUESTIONS[kind].path,
            partial(Answers, kind), _STOCKS, data=kind,
        )
        for kind in ("splits", "dividends")
    ),
    Offer(PROVIDER, "news", "news", "normalized.news", "company-news", partial(Answers, "news"), _STOCKS),
    Offer(PROVIDER, "rates", "fx_rates", "normalized.fx_rates", "forex/rates", partial(Answers, "rates"), frozenset({"fx"})),
    _list("symbols", "reference.classifications", _EXCHANGE),
    _list("holidays", "reference.market_hours", _EXCHANGE),
    _list("symbol_changes", "reference.symbol_changes", f"{EVERY} for all"),
)  # fmt: skip
"""What it offers when asked."""
STATUS = _list("market_status", "raw.messages", _EXCHANGE)
"""Whether an exchange is open now: asked when somebody names it, for it ends in raw only."""
