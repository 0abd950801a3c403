"""Tiingo by REST: end-of-day and intraday prices, crypto, currencies, newest quotes. Machine: no I/O.

The token goes with the address's credentials; no request holds it. Refusals come as plain words with HTTP 200 too. A plan
counts requests an hour and a day, and different symbols a month. Source: hydrosquall/tiingo-python and its issue 45,
Tiingo's documentation.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import partial

import orjson

from ingest.asks import Ask, Credentials, Page, Request, Response
from ingest.offers import Offer
from ingest.verdicts import Reading, Verdict, error_told
from lake.errors import InvalidValueError
from lake.instants import check_window

PROVIDER = "tiingo"
ADDRESS = "https://api.tiingo.com"
DAILY, IEX, CRYPTO, FX = "daily", "iex", "crypto", "fx"
_SYMBOL = re.compile(r"[A-Za-z0-9.\-]{1,30}\Z")
_PAIR = re.compile(r"[A-Za-z0-9]{5,20}\Z")
_FREQUENCIES = {
    DAILY: {"1d": "daily", "1wk": "weekly", "1mo": "monthly"},
    IEX: {**{f"{minutes}m": f"{minutes}min" for minutes in (1, 5, 15, 30)}, "60m": "1hour", "1h": "1hour", "4h": "4hour"},
    CRYPTO: {**{f"{minutes}m": f"{minutes}min" for minutes in (1, 5, 15, 30)}, "60m": "1hour", "1h": "1hour", "1d": "1day"},
    FX: {**{f"{minutes}m": f"{minutes}min" for minutes in (1, 5, 15, 30)}, "60m": "1hour", "1h": "1hour", "1d": "1day"},
}
_HEADERS = (("accept-encoding", "identity"), ("accept", "application/json"))
SPENT = re.compile(r"run over your|over your .* limit|request allocation", re.IGNORECASE)
"""Words of a quota that is gone."""
_HOUR_S = 3_600.0


def credentials(token: str) -> Credentials:
    """Return the token as the REST side takes it."""
    return Credentials(headers=(("Authorization", f"Token {token}"),))


def feeds_of(symbols: Sequence[str]) -> tuple[str, ...]:
    """Return the feed that symbols are of where nobody names one: a pair with a slash is of currencies."""
    return (FX,) if any("/" in symbol for symbol in symbols) else (DAILY,)


class Prices:
    """Bars of one symbol of a feed, in one answer (`Pages`)."""

    def __init__(self, feed: str) -> None:
        if feed not in _FREQUENCIES:
            raise InvalidValueError(f"tiingo {feed} has no prices; there are {', '.join(_FREQUENCIES)}")
        self._feed = feed

    def first(self, ask: Ask) -> Request:
        """Return the request for bars of an ask. Raises InvalidValueError."""
        symbol = checked(self._feed, ask.symbol)
        frequency = _FREQUENCIES[self._feed].get(ask.interval)
        if frequency is None:
            told = ", ".join(_FREQUENCIES[self._feed])
            raise InvalidValueError(f"interval {ask.interval!r} is not one of Tiingo's {self._feed}; expected {told}")
        check_window(ask.start, ask.end)
        path = {DAILY: f"/tiingo/daily/{symbol}/prices", IEX: f"/iex/{symbol}/prices", CRYPTO: "/tiingo/crypto/prices"}.get(
            self._feed, f"/tiingo/fx/{symbol}/prices"
        )
        params = [("tickers", symbol)] if self._feed == CRYPTO else []
        params += [*_window(self._feed, ask.start, ask.end), ("resampleFreq", frequency)]
        if self._feed == IEX:
            params.append(("columns", "open,high,low,close,volume"))
        return Request("GET", path, tuple(params), _HEADERS, f"{self._feed}/prices", symbols=(symbol,))

    def read(self, response: Response) -> Page:
        """Return what an answer means; there is never a next page."""
        return Page(read_answer(response))


class Top:
    """The newest quote of one symbol or several, joined by commas (`Pages`); interval and window do not matter."""

    def __init__(self, feed: str) -> None:
        if feed not in (IEX, CRYPTO, FX):
            raise InvalidValueError(f"tiingo {feed} has no quotes; there are {IEX}, {CRYPTO}, {FX}")
        self._feed = feed

    def first(self, ask: Ask) -> Request:
        """Return the request for quotes. Raises InvalidValueError."""
        symbols = tuple(checked(self._feed, each) for each in ask.symbol.split(","))
        path = {IEX: "/iex", CRYPTO: "/tiingo/crypto/top"}.get(self._feed, "/tiingo/fx/top")
        return Request("GET", path, (("tickers", ",".join(symbols)),), _HEADERS, f"{self._feed}/top", symbols=symbols)

    def read(self, response: Response) -> Page:
        """Return what an answer means; there is never a next page."""
        return Page(read_answer(response))


def checked(feed: str, symbol: str) -> str:
    """Return a symbol as Tiingo writes it in a feed. Raises InvalidValueError."""
    plain = symbol.replace("/", "").lower() if feed in (CRYPTO, FX) else symbol
    if not (_PAIR if feed in (CRYPTO, FX) else _SYMBOL).match(plain):
        raise InvalidValueError(f"symbol {symbol!r} is not one of Tiingo's {feed}; expected like AAPL, btcusd or EUR/USD")
    return plain


def _window(feed: str, start: datetime, end: datetime) -> list[tuple[str, str]]:
    """Return the window in Tiingo's words: days, both included, or instants."""
    last = end - timedelta(microseconds=1)
    if feed in (DAILY, IEX):  # days both ends included; what is beyond the window is real, and known again by its key
        return [("startDate", start.astimezone(UTC).date().isoformat()), ("endDate", last.astimezone(UTC).date().isoformat())]
    return [("startDate", _instant(start)), ("endDate", _instant(last))]


def _instant(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def read_answer(response: Response) -> Reading:
    """Return what an answer means; any bytes give a reading. Plain words with HTTP 200 are a refusal."""
    words = " ".join(response.body[:300].decode("utf-8", "replace").split())
    told = words.lower()
    if response.status == 429 or SPENT.search(words):
        if "month" in told or "day" in told or "daily" in told:
            return Reading(Verdict.QUOTA_EXHAUSTED, words)
        if "hour" in told:
            return Reading(Verdict.QUOTA_EXHAUSTED, words, _HOUR_S)
        return Reading(Verdict.THROTTLED, words, _wait_s(response))
    if (broken := response.broken(words, _wait_s(response))) is not None:
        return broken
    if response.status == 401 or "invalid token" in told or "supply a token" in told:
        return Reading(Verdict.AUTH, words)
    if response.status == 403:
        return Reading(Verdict.NOT_ENTITLED if "permission" in told or "entitle" in told else Verdict.AUTH, words)
    if response.status == 404 or ("not found" in told[:200] and not told.startswith("[")):
        return Reading(Verdict.UNKNOWN_SYMBOL if "{" in told[:2] or "ticker" in told else Verdict.BAD_REQUEST, words)
    if response.status != 200:
        return Reading(Verdict.BAD_REQUEST, f"HTTP {response.status}: {words}")
    return _read_list(response.body, words)


def _read_list(body: bytes, words: str) -> Reading:
    if body.lstrip()[:1] == b"<":
        return Reading(Verdict.UPSTREAM_5XX, f"no JSON: {words}")
    try:
        found = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        return Reading(Verdict.MALFORMED, f"not JSON: {error}: {words[:100]}")
    if isinstance(found, dict) and isinstance(found.get("detail"), str):
        return error_told(found["detail"])
    if not isinstance(found, list):
        return Reading(Verdict.MALFORMED, "expected a list of prices")
    if any(isinstance(each, str) for each in found):
        return error_told(words)
    if not all(isinstance(each, dict) for each in found):
        return Reading(Verdict.MALFORMED, f"expected a list of prices: {words[:100]}")
    rows = sum(len(told) if isinstance(told := _of_pair(each), list) else 1 for each in found)
    return Reading(Verdict.OK if rows else Verdict.EMPTY_VALID, f"{rows} rows")


def _of_pair(entry: object) -> object:
    """Return the rows of one pair of a crypto answer; None for a row that stands alone."""
    return entry.get("priceData", entry.get("topOfBookData")) if isinstance(entry, dict) else None


def _wait_s(response: Response) -> float | None:
    told = response.headers.get("retry-after", "")
    return float(told) if re.match(r"\d{1,6}\Z", told) else None


_CLASSES = {
    DAILY: frozenset({"equity", "etf"}),
    IEX: frozenset({"equity", "etf"}),
    CRYPTO: frozenset({"crypto"}),
    FX: frozenset({"fx"}),
}
_SPANS: dict[str, tuple[tuple[str, timedelta | None], ...]] = {
    IEX: (("1m", timedelta(days=20)), ("", timedelta(days=100))),
    CRYPTO: (("1m", timedelta(days=3)), ("5m", timedelta(days=17)), ("", timedelta(days=100))),
    FX: (("1m", timedelta(days=3)), ("5m", timedelta(days=17)), ("", timedelta(days=100))),
}
"""An answer holds about 10,000 rows at most (5,000 of pairs); longer windows come cut, silently."""
OFFERS: tuple[Offer, ...] = (
    *(
        Offer(
            PROVIDER, feed, "bars", "normalized.bars", f"{feed}/prices", partial(Prices, feed), _CLASSES[feed],
            tuple(_FREQUENCIES[feed]), _SPANS.get(feed, ()), basis="as_traded",
        )
        for feed in _FREQUENCIES
    ),
    *(
        Offer(
            PROVIDER, feed, "latest_quotes", "normalized.quotes", f"{feed}/top", partial(Top, feed), _CLASSES[feed],
            symbols_per_call=50, data="top",
        )
        for feed in (IEX, CRYPTO, FX)
    ),
)  # fmt: skip
"""What it offers when asked."""
