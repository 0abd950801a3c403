"""Yahoo's other REST answers: quotes, chains of options, screeners, searches. Machine: no I/O.

All but searches want a session: a cookie, and a crumb that goes with it in the query. Neither is an account's, and neither is
written down: the transport keeps the cookie, the crumb is added for sending alone. A session that is refused is asked for once
more; refused again, it is credentials that do not work (AUTH). Source: PROVIDERS.md section 5, yfinance's data.py,
node-yahoo-finance2.
"""

from __future__ import annotations

import re
from collections import deque
from dataclasses import replace
from typing import Any, Protocol

from ingest.asks import Ask, Credentials, Page, Request, Response
from ingest.offers import Offer
from ingest.providers.yahoo import HEADERS, PROVIDER, checked, consent_wanted, read_document, retry_after, words_of
from ingest.verdicts import Reading, Verdict
from lake.errors import InvalidValueError

COOKIE_HOST = "cookie"
HOSTS = {COOKIE_HOST: "https://fc.yahoo.com"}
"""Where a cookie is given: the word for it, and its address."""
_CRUMB = re.compile(rb"[!-;=?-z|~]{4,64}\s*\Z")
"""A crumb: some letters, never JSON or a page."""
_COOKIE_REQUEST = Request("GET", "/", (), HEADERS, "cookie", host=COOKIE_HOST)
_CRUMB_REQUEST = Request("GET", "/v1/test/getcrumb", (), (*HEADERS[:1], ("accept", "text/plain")), "crumb", secret_answer=_CRUMB)
_QUERY = re.compile(r"[\w .,&^=:'\-]{1,60}\Z")
_SCREENER = re.compile(r"[A-Za-z0-9_]{1,60}\Z")
MOST_QUOTES = 50
"""Symbols of one request for quotes: what a browser's page asks for at once."""
_MOST_SCREENED = "250"
Object = dict[str, Any]


class _Subject(Protocol):
    """What is asked about within a session."""

    def question(self, ask: Ask) -> Request:
        """Return the first request of an ask, unsigned. Raises InvalidValueError."""
        ...

    def answered(self, document: object) -> Page:
        """Return what an answer with data means, and the next request, unsigned."""
        ...


class Crumbed:
    """What is asked within a session: cookie, crumb, then the answers about a subject (`Pages`)."""

    def __init__(self, subject: _Subject) -> None:
        self._subject = subject
        self._wanted = self._asked = Request("GET", "")
        self._crumb = Credentials()
        self._is_renewed = False

    def first(self, ask: Ask) -> Request:
        """Return the first request of an ask: for a cookie where there is no session yet. Raises InvalidValueError."""
        self._wanted, self._is_renewed = self._subject.question(ask), False
        return self._signed() if self._crumb.query else self._put(_COOKIE_REQUEST)

    def read(self, response: Response) -> Page:
        """Return what an answer means, and what follows: the crumb, the question itself, a new session, the next question."""
        if self._asked is _COOKIE_REQUEST:
            reading = read_cookie(response)
            return Page(reading, self._put(_CRUMB_REQUEST)) if reading.verdict is Verdict.OK else Page(reading)
        if self._asked is _CRUMB_REQUEST:
            crumb = read_crumb(response)
            if isinstance(crumb, str):
                self._crumb = Credentials(query=(("crumb", crumb),))
                return Page(Reading(Verdict.OK, "a crumb"), self._signed())
            return self._refused(crumb)
        found = read_document(response)
        if isinstance(found, Reading):
            return self._refused(found)
        page = self._subject.answered(found)
        if page.next is None:
            return page
        self._wanted, self._is_renewed = page.next, False
        return Page(page.reading, self._signed())

    def _refused(self, reading: Reading) -> Page:
        """Return the page of an answer without data: a session that is not accepted is begun anew, once an ask."""
        if reading.verdict is not Verdict.AUTH or self._is_renewed:
            return Page(reading)
        self._crumb, self._is_renewed = Credentials(), True
        return Page(reading, self._put(_COOKIE_REQUEST))

    def _signed(self) -> Request:
        return self._put(replace(self._wanted, session=self._crumb))

    def _put(self, request: Request) -> Request:
        self._asked = request
        return request


def read_cookie(response: Response) -> Reading:
    """Return what the answer to a request for a cookie means: the page itself is 404, what counts is the cookie."""
    if response.status == 429:
        return Reading(Verdict.THROTTLED, words_of(response.body), retry_after(response))
    if (asked := consent_wanted(response)) is not None:
        return asked  # a redirection to the form brings cookies of its own
    if "set-cookie" in response.headers:
        return Reading(Verdict.OK, "a cookie")
    if (broken := response.broken(words_of(response.body), retry_after(response))) is not None:
        return broken
    return Reading(Verdict.AUTH, f"HTTP {response.status} without a cookie: {words_of(response.body)}")


def read_crumb(response: Response) -> str | Reading:
    """Return the crumb, or what an answer without one means."""
    if response.status == 200 and response.is_complete and _CRUMB.match(response.body):
        return response.body.decode().strip()
    found = read_document(response)
    return found if isinstance(found, Reading) else Reading(Verdict.MALFORMED, f"no crumb: {words_of(response.body)}")


class Quotes:
    """The newest quotes of up to `MOST_QUOTES` symbols, joined by commas; interval and window of an ask do not matter."""

    def __init__(self) -> None:
        self._symbols: tuple[str, ...] = ()

    def question(self, ask: Ask) -> Request:
        """Return the request for all symbols. Raises InvalidValueError."""
        self._symbols = tuple(checked(symbol) for symbol in ask.symbol.split(","))
        params = (("symbols", ",".join(self._symbols)), ("formatted", "false"))
        return Request("GET", "/v7/finance/quote", params, HEADERS, "quote", self._symbols)

    def answered(self, document: object) -> Page:
        """Return what an answer means; there is never a next page."""
        results = _results(document, "quoteResponse")
        if results is None:
            return Page(Reading(Verdict.MALFORMED, "no quoteResponse with a list of results"))
        told = {str(each.get("symbol")).upper() for each in results if each.get("quoteType") != "NONE"}
        missing = [symbol for symbol in self._symbols if symbol.upper() not in told]
        without = f"; none of {', '.join(missing)}" if missing else ""
        return Page(Reading(Verdict.OK if told else Verdict.UNKNOWN_SYMBOL, f"{len(told)} quotes{without}"))


class Options:
    """The chain of an underlying: each expiration is one request, the first of them tells which there are."""

    def __init__(self) -> None:
        self._request = Request("GET", "")
        self._dates: deque[int] = deque()
        self._is_begun = False
        self._contracts = self._expirations = 0

    def question(self, ask: Ask) -> Request:
        """Return the request for the nearest expiration. Raises InvalidValueError."""
        self._dates.clear()
        self._is_begun, self._contracts, self._expirations = False, 0, 0
        path = f"/v7/finance/options/{checked(ask.symbol)}"
        self._request = Request("GET", path, (("formatted", "false"),), HEADERS, "options")
        return self._request

    def answered(self, document: object) -> Page:
        """Return what an answer means, and the request for the next expiration."""
        results = _results(document, "optionChain")
        if results is None:
            return Page(Reading(Verdict.MALFORMED, "no optionChain with a list of results"))
        if not results:
            return Page(Reading(Verdict.UNKNOWN_SYMBOL, "no chain of this underlying"))
        parts = [part for result in results for part in _objects(result.get("options"))]
        self._contracts += sum(len(_objects(part.get(kind))) for part in parts for kind in ("calls", "puts"))
        self._expirations += 1
        if not self._is_begun:
            self._is_begun = True
            told, here = results[0].get("expirationDates"), {part.get("expirationDate") for part in parts}
            dates = dict.fromkeys(each for each in told if type(each) is int) if isinstance(told, list) else {}
            self._dates.extend(each for each in dates if each not in here)
        if not self._dates:
            detail = f"{self._contracts} contracts of {self._expirations} expirations"
            return Page(Reading(Verdict.OK if self._contracts else Verdict.EMPTY_VALID, detail))
        params = (("formatted", "false"), ("date", str(self._dates.popleft())))
        return Page(Reading(Verdict.OK, f"{self._contracts} contracts so far"), replace(self._request, params=params))


class Screener:
    """The quotes of one of Yahoo's own screeners, like day_gainers: the symbol of an ask is its name."""

    def question(self, ask: Ask) -> Request:
        """Return the request. Raises InvalidValueError."""
        if not _SCREENER.match(ask.symbol):
            raise InvalidValueError(f"{ask.symbol!r} is not a screener of Yahoo's; expected a name like day_gainers")
        params = (("scrIds", ask.symbol), ("count", _MOST_SCREENED), ("formatted", "false"))
        return Request("GET", "/v1/finance/screener/predefined/saved", params, HEADERS, "screener")

    def answered(self, document: object) -> Page:
        """Return what an answer means; there is never a next page."""
        results = _results(document, "finance")
        if results is None or len(results) != 1 or not isinstance(results[0].get("quotes"), list):
            return Page(Reading(Verdict.MALFORMED, "no finance.result of one screener with its quotes"))
        count = len(results[0]["quotes"])
        return Page(Reading(Verdict.OK if count else Verdict.EMPTY_VALID, f"{count} quotes of {results[0].get('total', count)}"))


class Search:
    """Articles and symbols found by a word (`Pages`): the symbol of an ask is what is looked for. No session is wanted."""

    def first(self, ask: Ask) -> Request:
        """Return the request. Raises InvalidValueError."""
        if not _QUERY.match(ask.symbol) or not ask.symbol.strip():
            raise InvalidValueError(f"{ask.symbol!r} cannot be looked for at Yahoo; expected a symbol or a few words")
        params = (("q", ask.symbol), ("quotesCount", "6"), ("newsCount", "10"), ("enableFuzzyQuery", "false"))
        return Request("GET", "/v1/finance/search", params, HEADERS, "search")

    def read(self, response: Response) -> Page:
        """Return what an answer means; there is never a next page."""
        found = read_document(response)
        if isinstance(found, Reading):
            return Page(found)
        told = found if isinstance(found, dict) else {}
        articles, symbols = told.get("news"), told.get("quotes")
        if not isinstance(articles, list) and not isinstance(symbols, list):
            return Page(Reading(Verdict.MALFORMED, "no search: expected the lists news and quotes"))
        counts = len(articles or ()), len(symbols or ())
        return Page(Reading(Verdict.OK if any(counts) else Verdict.EMPTY_VALID, f"{counts[0]} articles, {counts[1]} symbols"))


def _results(document: object, envelope: str) -> list[Object] | None:
    """Return the results of an answer; None where it is no such answer."""
    part = document.get(envelope) if isinstance(document, dict) else None
    found = part.get("result") if isinstance(part, dict) else None
    return _objects(found) if isinstance(found, list) else None


def _objects(entries: object) -> list[Object]:
    return [each for each in entries if isinstance(each, dict)] if isinstance(entries, list) else []


_SESSION = (_COOKIE_REQUEST.endpoint, _CRUMB_REQUEST.endpoint)
_ALL = frozenset({"equity", "etf", "index", "fx", "crypto", "future"})
_STOCKS = frozenset({"equity", "etf"})
_QUOTES = "normalized.quotes"
OFFERS: tuple[Offer, ...] = (
    Offer(
        PROVIDER,
        "quote",
        "latest_quotes",
        _QUOTES,
        "quote",
        lambda: Crumbed(Quotes()),
        _ALL,
        symbols_per_call=MOST_QUOTES,
        data="quotes",
        session=_SESSION,
    ),
    Offer(
        PROVIDER,
        "quote",
        "chain",
        _QUOTES,
        "options",
        lambda: Crumbed(Options()),
        frozenset({"option"}),
        data="options",
        session=_SESSION,
    ),
    Offer(PROVIDER, "quote", "screener", _QUOTES, "screener", lambda: Crumbed(Screener()), _STOCKS, session=_SESSION),
    Offer(PROVIDER, "search", "news", "normalized.news", "search", Search, _STOCKS),
)
"""What it offers beside charts."""
