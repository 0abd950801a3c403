"""Alpha Vantage: one path, `function` selects the data; every refusal comes with HTTP 200. Machine: no I/O.

The key goes with the address's credentials as a parameter of the query, and answers that quote it are blotted before they are
recorded. Throttling is told by the absence of data, whatever the words; words only say for how long. Source: PROVIDERS.md
section 1.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import orjson

from ingest.asks import Ask, Credentials, Page, Request, Response
from ingest.verdicts import Reading, Verdict
from lake.errors import InvalidValueError
from lake.instants import check_window

PROVIDER = "alpha_vantage"
STOCKS, CURRENCIES, FUNDAMENTALS = "stocks", "currencies", "fundamentals"
ADDRESS = "https://www.alphavantage.co"
HEADERS = (("accept-encoding", "identity"),)
_SYMBOL = re.compile(r"[A-Za-z0-9.\-]{1,30}\Z")
_PAIR = re.compile(r"([A-Z0-9]{2,10})/([A-Z]{3})\Z")
MINUTES = {"1m": "1min", "5m": "5min", "15m": "15min", "30m": "30min", "60m": "60min", "1h": "60min"}
STOCK = {"1d": "TIME_SERIES_DAILY", "1wk": "TIME_SERIES_WEEKLY", "1mo": "TIME_SERIES_MONTHLY", "quote": "GLOBAL_QUOTE"}
PAIRS = {"1d": "FX_DAILY", "1wk": "FX_WEEKLY", "1mo": "FX_MONTHLY", "quote": "CURRENCY_EXCHANGE_RATE"}
COMPANY = {
    "overview": "OVERVIEW",
    "income": "INCOME_STATEMENT",
    "balance": "BALANCE_SHEET",
    "cash_flow": "CASH_FLOW",
    "earnings": "EARNINGS",
}
"""What can be asked about a company -> the function."""
_THROTTLE_WORDS = re.compile(r"per (second|minute|day)|call frequency|rate limit|sparingly", re.IGNORECASE)
_MINUTE_S, _BURST_S = 60.0, 1.0
REPEATS_UNTIL_QUOTA = 3
"""A refusal for speed is over after a minute; so many in a row are the day's quota."""
_LISTS = ("data", "bestMatches", "feed", "markets", "top_gainers", "top_losers", "most_actively_traded")
"""Where answers that are lists have them."""
_ZONE = ZoneInfo("America/New_York")
_CSV_HEADS = (b"timestamp,", b"time,", b"symbol,", b"contractid,")


def credentials(key: str) -> Credentials:
    """Return the key as a parameter of every query."""
    return Credentials(query=(("apikey", key),))


def feeds_of(symbols: Sequence[str]) -> tuple[str, ...]:
    """Return the feed that symbols are of where nobody names one: currencies when there is a pair among them."""
    return (CURRENCIES,) if any("/" in symbol for symbol in symbols) else (STOCKS,)


class Repeats:
    """What refusals for speed in a row mean: nothing that the words say tells them from a day's quota that is spent."""

    def __init__(self) -> None:
        self._refusals = 0

    def judged(self, reading: Reading) -> Reading:
        """Return the reading, or that the quota is spent."""
        self._refusals = self._refusals + 1 if reading.verdict is Verdict.THROTTLED else 0
        return Reading(Verdict.QUOTA_EXHAUSTED, reading.detail) if self._refusals >= REPEATS_UNTIL_QUOTA else reading


class OneAnswer:
    """What a question that is one request shares: its answer is judged, and there is never a next page."""

    def __init__(self) -> None:
        self._repeats = Repeats()

    def read(self, response: Response) -> Page:
        """Return what an answer means; there is never a next page."""
        return Page(self._repeats.judged(read_answer(response)))


class Query:
    """Time series and quotes (`Pages`).

    interval of an ask   1d, 1wk, 1mo, 1m to 60m, or `quote` for the latest price; a pair is written EUR/USD
    is_adjusted          daily stock bars with adjusted close, dividends and splits (a premium function)
    is_full              everything there is, not the latest 100 rows
    datatype             json or csv
    """

    def __init__(self, *, is_adjusted: bool = False, is_full: bool = False, datatype: str = "json") -> None:
        if datatype not in ("json", "csv"):
            raise InvalidValueError(f"datatype {datatype!r} is neither json nor csv")
        self._is_adjusted, self._is_full, self._datatype = is_adjusted, is_full, datatype
        self._months: list[str] = []
        self._request = Request("GET", "/query")
        self._repeats = Repeats()

    def first(self, ask: Ask) -> Request:
        """Return the first request of an ask; intraday stock bars are asked month by month. Raises InvalidValueError."""
        check_window(ask.start, ask.end)
        pair = _PAIR.match(ask.symbol)
        self._months = []
        if ask.interval in MINUTES:
            params = self._intraday(ask, pair)
        else:
            params = self._series(ask, pair)
        if ask.interval != "quote":
            params.append(("datatype", self._datatype))
        self._request = Request("GET", "/query", tuple(params), HEADERS, dict(params)["function"])
        return self._request

    def _series(self, ask: Ask, pair: re.Match[str] | None) -> list[tuple[str, str]]:
        function = (STOCK if pair is None else PAIRS).get(ask.interval)
        if function is None:
            told = ", ".join([*STOCK, *MINUTES])
            raise InvalidValueError(f"interval {ask.interval!r} is not one of Alpha Vantage's; expected {told}")
        if self._is_adjusted and pair is None and ask.interval != "quote":
            function += "_ADJUSTED"
        params = [("function", function), *_subject(ask, pair, "currency" if ask.interval == "quote" else "symbol")]
        if ask.interval == "1d":
            params.append(("outputsize", "full" if self._is_full else "compact"))
        return params

    def _intraday(self, ask: Ask, pair: re.Match[str] | None) -> list[tuple[str, str]]:
        interval = ("interval", MINUTES[ask.interval])
        size = ("outputsize", "full" if self._is_full else "compact")
        if pair is not None:
            return [("function", "FX_INTRADAY"), *_subject(ask, pair, "symbol"), interval, size]
        function, raw = ("function", "TIME_SERIES_INTRADAY"), (("adjusted", "false"), ("extended_hours", "true"))
        if not self._is_full:
            return [function, *_subject(ask, pair, "symbol"), interval, *raw, size]
        first, *self._months = months_of(ask.start, ask.end)
        return [function, *_subject(ask, pair, "symbol"), interval, *raw, size, ("month", first)]

    def read(self, response: Response) -> Page:
        """Return what an answer means, and the request for the next month where the ask has one."""
        reading = self._repeats.judged(read_answer(response))
        if reading.verdict not in (Verdict.OK, Verdict.EMPTY_VALID) or not self._months:
            return Page(reading)
        kept = tuple(param for param in self._request.params if param[0] != "month")
        self._request = replace(self._request, params=(*kept, ("month", self._months.pop(0))))
        return Page(reading, self._request)


def months_of(start: datetime, end: datetime) -> list[str]:
    """Return the months to ask for the minutes of `[start, end)`, at least one, as `month=` names them.

    They are New York's. A window that begins at midnight UTC on the 1st begins with that month: the hour of evening trade
    before it, in winter, is not worth a call of 25 a day.
    """
    last = (end - timedelta(microseconds=1)).astimezone(_ZONE)
    begins = start.astimezone(UTC)
    first = begins if (begins.year, begins.month) <= (last.year, last.month) else last
    months = range(first.year * 12 + first.month - 1, last.year * 12 + last.month)
    return [f"{number // 12:04d}-{number % 12 + 1:02d}" for number in months]


class Company(OneAnswer):
    """Profile, statements and earnings of one company (`Pages`); interval and window of an ask do not matter."""

    def __init__(self, about: str) -> None:
        if about not in COMPANY:
            raise InvalidValueError(f"alpha_vantage has no {about!r} of a company; there are {', '.join(COMPANY)}")
        super().__init__()
        self._function = COMPANY[about]

    def first(self, ask: Ask) -> Request:
        """Return the request for a symbol. Raises InvalidValueError."""
        params = (("function", self._function), *_subject(ask, None, "symbol"))
        return Request("GET", "/query", params, HEADERS, self._function)


def _subject(ask: Ask, pair: re.Match[str] | None, noun: str) -> list[tuple[str, str]]:
    if pair is not None:
        return [(f"from_{noun}", pair[1]), (f"to_{noun}", pair[2])]
    return [("symbol", checked(ask.symbol))]


def checked(symbol: str) -> str:
    """Return a symbol that can be one of Alpha Vantage's. Raises InvalidValueError."""
    if not _SYMBOL.match(symbol):
        raise InvalidValueError(f"symbol {symbol!r} is not one of Alpha Vantage's; expected like IBM, TSCO.LON or EUR/USD")
    return symbol


def read_answer(response: Response) -> Reading:
    """Return the meaning of an answer; any bytes give one. The status is no help, the absence of data is."""
    if response.status == 429:
        return Reading(Verdict.THROTTLED, _words(response.body), _MINUTE_S)
    if (broken := response.broken(_words(response.body))) is not None:
        return broken
    if response.status != 200:
        return Reading(Verdict.BAD_REQUEST, f"HTTP {response.status}: {_words(response.body)}")
    body = response.body.strip()
    if not body.startswith(b"{"):
        return _read_csv(body)
    try:
        found = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        return Reading(Verdict.MALFORMED, f"not JSON: {error}")
    if not found:
        return Reading(Verdict.EMPTY_VALID, "{}: no data")
    for name in ("Error Message", "Note", "Information", "message"):
        if isinstance(found.get(name), str) and not (name == "message" and found[name] in ("", "success")):
            return refusal(name, found[name])
    lists = [found[name] for name in _LISTS if isinstance(found.get(name), list)]
    if lists:
        count = sum(map(len, lists))
        return Reading(Verdict.OK if count else Verdict.EMPTY_VALID, f"{count} entries")
    periods = [value for value in found.values() if isinstance(value, list)]
    if isinstance(found.get("symbol", found.get("Symbol")), str):
        return Reading(Verdict.OK, f"{len(periods)} lists of periods" if periods else "a profile")
    rows = [value for name, value in found.items() if name != "Meta Data" and isinstance(value, dict)]
    if not rows:
        return Reading(Verdict.MALFORMED, f"no data and no reason: {', '.join(sorted(found)[:5])}")
    if not rows[0]:
        return Reading(Verdict.EMPTY_VALID, "no rows")
    return Reading(Verdict.OK, f"{len(rows[0])} rows")


def refusal(name: str, words: str) -> Reading:
    """Return what a body without data means: speed first, for those texts speak of the key and of premium plans too."""
    told = words.lower()
    if _THROTTLE_WORDS.search(words):
        return Reading(Verdict.THROTTLED, words, _BURST_S if "per second" in told and "per day" not in told else _MINUTE_S)
    if "premium" in told:
        return Reading(Verdict.NOT_ENTITLED, words)
    if "apikey" in told or "api key" in told:
        return Reading(Verdict.AUTH, words)
    if "invalid inputs" in told:
        return Reading(Verdict.BAD_REQUEST, words)
    if "invalid api call" in told:
        return Reading(Verdict.UNKNOWN_SYMBOL, words)
    return Reading(Verdict.BAD_REQUEST, words) if name == "Error Message" else Reading(Verdict.THROTTLED, words, _MINUTE_S)


def _read_csv(body: bytes) -> Reading:
    lines = body.count(b"\n")
    if body.lower().startswith(_CSV_HEADS):
        return Reading(Verdict.OK if lines else Verdict.EMPTY_VALID, f"{lines} rows of CSV")
    if not body or body.startswith(b"<"):
        return Reading(Verdict.UPSTREAM_5XX, f"no data: {_words(body) or 'empty body'}")
    return Reading(Verdict.MALFORMED, f"neither JSON nor CSV: {_words(body)}")


def _words(body: bytes) -> str:
    return " ".join(body[:300].decode("utf-8", "replace").split())
