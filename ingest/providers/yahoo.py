"""Yahoo Finance's chart API: how to ask, and what the answers of all its APIs mean. Machine: no I/O.

Source: PROVIDERS.md section 5. Yahoo is unofficial and unpublished: the status is never trusted without the body, and 429
is sticky, for minutes to hours.
"""

from __future__ import annotations

import re
from collections import deque
from dataclasses import replace
from datetime import timedelta

import orjson

from ingest.asks import Ask, Page, Request, Response
from ingest.verdicts import Reading, Verdict, error_told
from lake.errors import InvalidValueError
from lake.instants import check_window

PROVIDER = "yahoo"
FEED = "chart"
ADDRESS = "https://query2.finance.yahoo.com"
INTERVALS = ("1m", "2m", "5m", "15m", "30m", "60m", "90m", "1h", "1d", "5d", "1wk", "1mo", "3mo")
_DAYS = timedelta(days=1)
SPANS = {
    "1m": 7 * _DAYS,
    **dict.fromkeys(("2m", "5m", "15m", "30m", "90m"), 60 * _DAYS),
    **dict.fromkeys(("60m", "1h"), 730 * _DAYS),
}
"""Longest window of one request, by interval; of minutes Yahoo allows eight days and counts them in its own way."""
HISTORY = SPANS | {"1m": 30 * _DAYS}
"""How far back bars of an interval reach; others reach back to the beginning."""
USER_AGENT = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0 Safari/537.36"
"""Without a browser's name Yahoo answers 429 to everything."""
HEADERS = (("user-agent", USER_AGENT), ("accept", "application/json"), ("accept-encoding", "identity"))
_SYMBOL = re.compile(r"[A-Za-z0-9^=.\-]{1,40}\Z")
_TO_CONSENT = re.compile(r"https?://(?:[a-z0-9-]+\.)*(?:guce|consent)\.yahoo\.com(?:[/?:]|\Z)", re.IGNORECASE)
_CONSENT_FORM = re.compile(rb"collectConsent|consent-form|//consent\.yahoo\.com/")
_FORM_BYTES = 65_536


def checked(symbol: str) -> str:
    """Return a symbol that can be one of Yahoo's. Raises InvalidValueError."""
    if not _SYMBOL.match(symbol):
        raise InvalidValueError(f"symbol {symbol!r} is not one of Yahoo's; expected letters, digits, ^ = . or -")
    return symbol


class Chart:
    """`/v8/finance/chart/{symbol}`: one request a window that Yahoo answers at once, a longer one is asked in parts (`Pages`).

    The newest part comes first: behind one that is out of Yahoo's reach, which ends the ask, there is nothing to be had.
    """

    def __init__(self) -> None:
        self._request = Request("GET", "")
        self._windows: deque[tuple[int, int]] = deque()
        self._parts = self._rows = 0

    def first(self, ask: Ask) -> Request:
        """Return the first request for bars of `ask`, with its events. Raises InvalidValueError."""
        checked(ask.symbol)
        if ask.interval not in INTERVALS:
            raise InvalidValueError(f"interval {ask.interval!r} is not one of {', '.join(INTERVALS)}")
        check_window(ask.start, ask.end)
        params = [("interval", ask.interval), ("period1", ""), ("period2", ""), ("includePrePost", "false")]
        if ask.events:
            params.append(("events", ",".join(ask.events)))
        self._request = Request("GET", f"/v8/finance/chart/{ask.symbol}", tuple(params), HEADERS, FEED)
        self._windows = deque(_windows(ask))
        self._parts, self._rows = len(self._windows), 0
        return self._window()

    def _window(self) -> Request:
        told = dict(zip(("period1", "period2"), map(str, self._windows.pop()), strict=True))
        params = tuple((name, told.get(name, value)) for name, value in self._request.params)
        self._request = replace(self._request, params=params)
        return self._request

    def read(self, response: Response) -> Page:
        """Return what an answer means, and the request for the next part of the window where there is one."""
        reading, rows = read_bars(response)
        if self._parts <= 1:
            return Page(reading)
        told = f"{self._rows + rows} rows in the newest {self._parts - len(self._windows)} of {self._parts} parts of the window"
        if reading.verdict is Verdict.OUT_OF_RANGE:
            return Page(replace(reading, detail=f"{told}; {reading.detail}"))
        if reading.verdict not in (Verdict.OK, Verdict.EMPTY_VALID):
            return Page(reading)
        self._rows += rows
        if self._windows:
            return Page(reading, self._window())
        return Page(Reading(Verdict.OK if self._rows else Verdict.EMPTY_VALID, told))


def _windows(ask: Ask) -> list[tuple[int, int]]:
    """Return the ask's window in whole seconds, cut into windows that Yahoo answers: each begins where the one before ends."""
    start, end = (-int(-edge.timestamp() // 1) for edge in (ask.start, ask.end))
    end = max(end, start + 1)
    longest = SPANS.get(ask.interval)
    step = end - start if longest is None else int(longest.total_seconds())
    return [(each, min(each + step, end)) for each in range(start, end, step)]


def read_chart(response: Response) -> Reading:
    """Return the meaning of an answer of the chart API; any bytes give one."""
    return read_bars(response)[0]


def read_bars(response: Response) -> tuple[Reading, int]:
    """Return the meaning of an answer of the chart API and how many rows it holds."""
    found = read_document(response)
    return (found, 0) if isinstance(found, Reading) else _result(found)


def read_document(response: Response) -> object:
    """Return the JSON of an answer, or (a Reading) what one without data means. Any bytes give either."""
    if response.status == 429 or b"Too Many Requests" in response.body[:200]:
        return Reading(Verdict.THROTTLED, words_of(response.body), retry_after(response))
    if (asked := consent_wanted(response)) is not None:
        return asked
    if (broken := response.broken(words_of(response.body), retry_after(response))) is not None:
        return broken
    if not response.body.strip() or response.body.lstrip()[:1] == b"<":
        return Reading(Verdict.UPSTREAM_5XX, f"no JSON: {words_of(response.body) or 'empty body'}")
    try:
        document = orjson.loads(response.body)
    except orjson.JSONDecodeError as error:
        return Reading(Verdict.MALFORMED, f"not JSON: {error}")
    refused = _error_of(document)
    if refused is not None:
        return _refusal(response.status, *refused)
    if response.status in (401, 403):
        return Reading(Verdict.AUTH if response.status == 401 else Verdict.NOT_ENTITLED, words_of(response.body))
    if response.status != 200:
        return Reading(Verdict.BAD_REQUEST, f"HTTP {response.status}: {words_of(response.body)}")
    return document


def consent_wanted(response: Response) -> Reading | None:
    """Return the refusal of an answer that asks for consent to Yahoo's terms, by a form or a redirection to one; else None.

    To agree is for a person, who would have to be asked each time: the answer of a browser is not ours to send.
    """
    is_form = response.body[:_FORM_BYTES].lstrip()[:1] == b"<" and _CONSENT_FORM.search(response.body[:_FORM_BYTES])
    if not is_form and not _TO_CONSENT.match(response.headers.get("location", "")):
        return None
    return Reading(
        Verdict.NOT_ENTITLED,
        "Yahoo asks for consent to its terms first (guce.yahoo.com), as it does of callers in the EU; nothing is agreed to in"
        " anybody's name: ask from another network, or another provider",
    )


def retry_after(response: Response) -> float | None:
    """Return the seconds of a Retry-After header; None when there is none or it is a date (Yahoo sends none)."""
    text = response.headers.get("retry-after", "").strip()
    return float(text) if re.match(r"\d{1,7}(\.\d+)?\Z", text) else None


def words_of(body: bytes) -> str:
    """Return the beginning of a body as a line of text."""
    return " ".join(body[:200].decode("utf-8", "replace").split())


def _error_of(document: object) -> tuple[str, str] | None:
    """Return (code, description) of the error of an answer: `chart.error`, `finance.error`, `quoteResponse.error`, ..."""
    for part in document.values() if isinstance(document, dict) else ():
        error = part.get("error") if isinstance(part, dict) else None
        if isinstance(error, dict):
            return str(error.get("code", "")), str(error.get("description", ""))
    return None


def _refusal(status: int, code: str, description: str) -> Reading:
    told = f"{code}: {description}"
    if status == 401 or code == "Unauthorized":
        return Reading(Verdict.AUTH, told)
    if status == 403:
        return Reading(Verdict.NOT_ENTITLED, told)
    if status == 404 or code == "Not Found":
        return Reading(Verdict.UNKNOWN_SYMBOL, told)
    if "data not available for startTime" in description or "Data doesn't exist for startDate" in description:
        return Reading(Verdict.OUT_OF_RANGE, told)
    return error_told(told)


def _result(document: object) -> tuple[Reading, int]:
    try:
        (result,) = document["chart"]["result"]  # type: ignore[index]  # any JSON is tried, what does not fit is caught
        timestamps = result.get("timestamp")
        symbol = result["meta"]["symbol"]
        quotes = result["indicators"]["quote"]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        return Reading(Verdict.MALFORMED, f"chart.result is not one result with meta and indicators: {error!r}"), 0
    if not timestamps:
        return Reading(Verdict.EMPTY_VALID, f"{symbol}: no rows in the window"), 0
    if not isinstance(timestamps, list) or not isinstance(quotes, list) or not quotes:
        return Reading(Verdict.MALFORMED, f"{symbol}: timestamps without quotes"), 0
    return Reading(Verdict.OK, f"{symbol}: {len(timestamps)} rows"), len(timestamps)
