"""Polygon by REST (Massive since 2025): bars, trades, quotes, last values, snapshots, splits, dividends, lists. Machine: no I/O.

The key goes with the address's credentials as a bearer; no request holds it. Answers come in pages: `next_url` is taken apart
and asked at our own address, without any key that might stand in it. Prices are asked as traded (`adjusted=false`).
Source: polygon-io/client-python, its mocks and its documentation.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from urllib.parse import parse_qsl, unquote, urlsplit

import orjson

from ingest.asks import Ask, Credentials, Page, Request, Response
from ingest.offers import Offer
from ingest.verdicts import Reading, Verdict, error_told
from lake.errors import InvalidValueError
from lake.instants import check_window

PROVIDER = "polygon"
ADDRESS = "https://api.polygon.io"
MARKET, ACTIONS, REFERENCE = "market", "actions", "reference"
MOST_ROWS, LIST_ROWS = 50_000, 1_000
_SYMBOL = re.compile(r"(?:[OXCI]:)?[A-Za-z0-9.\-/]{1,30}\Z")
_INTERVAL = re.compile(r"(\d{1,3})(m|h|d|wk|mo)\Z")
_SPANS = {"m": "minute", "h": "hour", "d": "day", "wk": "week", "mo": "month"}
_HEADERS = (("accept-encoding", "identity"), ("accept", "application/json"))
_MINUTE_S = 60.0
_SECRET_NAMES = frozenset({"apikey", "api_key", "token", "authorization"})
_NOT_ENTITLED = ("NOT_AUTHORIZED", "NOT_ENTITLED")


def credentials(key: str) -> Credentials:
    """Return the key as a bearer token."""
    return Credentials(headers=(("Authorization", f"Bearer {key}"),))


@dataclass(frozen=True, slots=True)
class _Question:
    """What can be asked: the path of an ask and its parameters."""

    feed: str
    request: Callable[[Ask], tuple[str, list[tuple[str, str]]]]


def _bars(ask: Ask) -> tuple[str, list[tuple[str, str]]]:
    found = _INTERVAL.match(ask.interval)
    if found is None or int(found[1]) == 0:
        raise InvalidValueError(f"interval {ask.interval!r} is not one of Polygon's; expected like 1m, 15m, 1h, 1d, 1wk, 1mo")
    start_ms, end_ms = _nanos(ask.start) // 1_000_000, -(-_nanos(ask.end) // 1_000_000) - 1  # Polygon includes the end
    path = f"/v2/aggs/ticker/{ask.symbol}/range/{int(found[1])}/{_SPANS[found[2]]}/{start_ms}/{max(start_ms, end_ms)}"
    return path, [("adjusted", "false"), ("sort", "asc"), ("limit", str(MOST_ROWS))]


def _events(kind: str, ask: Ask) -> tuple[str, list[tuple[str, str]]]:
    window = [("timestamp.gte", str(_nanos(ask.start))), ("timestamp.lt", str(_nanos(ask.end)))]
    return f"/v3/{kind}/{ask.symbol}", [*window, ("order", "asc"), ("sort", "timestamp"), ("limit", str(MOST_ROWS))]


def _actions(kind: str, date: str, ask: Ask) -> tuple[str, list[tuple[str, str]]]:
    window = [(f"{date}.gte", ask.start.date().isoformat()), (f"{date}.lt", ask.end.date().isoformat())]
    params = [("ticker", ask.symbol), *window, ("order", "asc"), ("sort", date), ("limit", str(LIST_ROWS))]
    return f"/v3/reference/{kind}", params


def _now(path: str, ask: Ask) -> tuple[str, list[tuple[str, str]]]:
    return path.format(ask.symbol), []


def _tickers(ask: Ask) -> tuple[str, list[tuple[str, str]]]:
    return "/v3/reference/tickers", [("ticker", ask.symbol), ("active", "true"), ("limit", str(LIST_ROWS))]


def _chain(ask: Ask) -> tuple[str, list[tuple[str, str]]]:
    return f"/v3/snapshot/options/{ask.symbol}", [("limit", "250")]


QUESTIONS: dict[str, _Question] = {
    "bars": _Question(MARKET, _bars),
    "trades": _Question(MARKET, partial(_events, "trades")),
    "quotes": _Question(MARKET, partial(_events, "quotes")),
    "snapshot": _Question(MARKET, partial(_now, "/v2/snapshot/locale/us/markets/stocks/tickers/{}")),
    "chain": _Question(MARKET, _chain),
    "last_trade": _Question(MARKET, partial(_now, "/v2/last/trade/{}")),
    "last_quote": _Question(MARKET, partial(_now, "/v2/last/nbbo/{}")),
    "splits": _Question(ACTIONS, partial(_actions, "splits", "execution_date")),
    "dividends": _Question(ACTIONS, partial(_actions, "dividends", "ex_dividend_date")),
    "tickers": _Question(REFERENCE, _tickers),
}
"""What can be asked, by the word a person says."""


class Query:
    """One kind of data of one symbol, page by page (`Pages`)."""

    def __init__(self, kind: str) -> None:
        if kind not in QUESTIONS:
            raise InvalidValueError(f"polygon has no {kind}; there are {', '.join(QUESTIONS)}")
        self.kind = kind
        self._request = Request("GET", "")
        self._asked: set[str] = set()
        self._rows = 0

    def first(self, ask: Ask) -> Request:
        """Return the first request of an ask. Raises InvalidValueError."""
        if not _SYMBOL.match(ask.symbol):
            raise InvalidValueError(f"symbol {ask.symbol!r} is not one of Polygon's; expected like AAPL, O:…, X:BTCUSD, C:EURUSD")
        check_window(ask.start, ask.end)
        path, params = QUESTIONS[self.kind].request(ask)
        self._request = Request("GET", path, tuple(params), _HEADERS, self.kind, symbols=(ask.symbol,))
        self._asked, self._rows = set(), 0
        return self._request

    def read(self, response: Response) -> Page:
        """Return what an answer means, and the request of the next page where there is one."""
        found = read_answer(response)
        if isinstance(found, Reading):
            return Page(found)
        results = found.get("results", found.get("ticker"))
        self._rows += len(results) if isinstance(results, list) else int(results is not None)
        follows = found.get("next_url")
        if follows is None or follows == "":
            return Page(Reading(Verdict.OK if self._rows else Verdict.EMPTY_VALID, f"{self._rows} rows"))
        request = self._next(follows)
        if request is None:
            return Page(Reading(Verdict.MALFORMED, "next_url asks for something else, or for a page that came before"))
        self._request = request
        return Page(Reading(Verdict.OK, f"{self._rows} rows so far"), request)

    def _next(self, url: object) -> Request | None:
        """Return the request of `next_url` at our own address; None for another question, or a page asked for before."""
        try:
            parts = urlsplit(url if isinstance(url, str) else "")
            params = parse_qsl(parts.query)
        except ValueError:
            return None
        kept = tuple((name, value) for name, value in params if name.lower() not in _SECRET_NAMES)
        path = unquote(parts.path)
        key = f"{path}?{kept}"
        # Aggregates move the window's first instant in the path itself: the question is told by its beginning.
        if key in self._asked or _question_of(path) != _question_of(self._request.path):
            return None
        self._asked.add(key)
        return replace(self._request, path=path, params=kept)


def _question_of(path: str) -> str:
    found = re.match(r"(/v2/aggs/ticker/[^/]+/range/\d+/[a-z]+)/\d+", path)
    return found[1] if found else path


def _nanos(instant: datetime) -> int:
    since = instant.astimezone(UTC) - datetime(1970, 1, 1, tzinfo=UTC)
    return (since.days * 86_400_000_000 + since.seconds * 1_000_000 + since.microseconds) * 1_000


def read_answer(response: Response) -> dict[str, object] | Reading:
    """Return the object in an answer, or what one without data means. Any bytes give either."""
    words = " ".join(response.body[:300].decode("utf-8", "replace").split())
    told = words.lower()
    if response.status == 429 or "exceeded the maximum requests" in told:
        wait_s = _wait_s(response)
        return Reading(Verdict.THROTTLED, words, _MINUTE_S if wait_s is None else wait_s)
    if (broken := response.broken(words, _wait_s(response))) is not None:
        return broken
    if response.status == 401:
        return Reading(Verdict.AUTH, words)
    if response.status == 403:
        return Reading(Verdict.AUTH if "unknown api key" in told else Verdict.NOT_ENTITLED, words)
    if response.status == 404:
        return Reading(Verdict.UNKNOWN_SYMBOL if "not_found" in told or "not found" in told else Verdict.BAD_REQUEST, words)
    if response.status != 200:
        return Reading(Verdict.BAD_REQUEST, f"HTTP {response.status}: {words}")
    try:
        found = orjson.loads(response.body)
    except orjson.JSONDecodeError as error:
        return Reading(Verdict.MALFORMED, f"not JSON: {error}")
    if not isinstance(found, dict):
        return Reading(Verdict.MALFORMED, "expected an object with status and results")
    status = found.get("status")
    if status in _NOT_ENTITLED:
        return Reading(Verdict.NOT_ENTITLED, words)
    if status == "ERROR" or isinstance(found.get("error"), str):
        return Reading(Verdict.AUTH, words) if "api key" in told else error_told(words)
    if "results" not in found and "ticker" not in found and found.get("resultsCount") != 0:
        return Reading(Verdict.MALFORMED, "no results and no reason")
    return found


def _wait_s(response: Response) -> float | None:
    told = response.headers.get("retry-after", "")
    return float(told) if re.match(r"\d{1,6}\Z", told) else None


_INTERVALS = ("1m", "5m", "15m", "30m", "60m", "1h", "1d", "1wk", "1mo")
_ANY = frozenset({"equity", "etf", "option", "crypto", "fx", "index"})
_STOCKS = frozenset({"equity", "etf"})
_TABLES = {
    "bars": ("bars", "normalized.bars", _ANY), "trades": ("trades", "normalized.trades", _ANY - {"fx", "index"}),
    "quotes": ("quotes", "normalized.quotes", _ANY - {"index", "crypto"}),
    "snapshot": ("snapshots", "normalized.quotes", _STOCKS),
    "chain": ("chain", "normalized.quotes", frozenset({"option"})), "last_trade": ("latest_trades", "normalized.trades", _STOCKS),
    "last_quote": ("latest_quotes", "normalized.quotes", _STOCKS),
    "splits": ("corporate_actions", "normalized.corporate_actions", _STOCKS),
    "dividends": ("corporate_actions", "normalized.corporate_actions", _STOCKS),
}  # fmt: skip
_PAGE_ROWS = {
    "bars": MOST_ROWS,
    "trades": MOST_ROWS,
    "quotes": MOST_ROWS,
    "splits": LIST_ROWS,
    "dividends": LIST_ROWS,
    "chain": 250,
}
OFFERS: tuple[Offer, ...] = tuple(
    Offer(
        PROVIDER, QUESTIONS[word].feed, kind, table, word, partial(Query, word), classes, _INTERVALS if kind == "bars" else (),
        rows_per_page=_PAGE_ROWS.get(word), basis="as_traded" if kind == "bars" else None, data=word,
    )
    for word, (kind, table, classes) in _TABLES.items()
)  # fmt: skip
"""What it offers when asked, but for lists of tickers, which end in raw only."""
