"""Yahoo Finance's chart API: how to ask, and what its answers mean. Machine: no I/O.

Source: PROVIDERS.md section 5. Yahoo is unofficial and unpublished: the status is never trusted without the body, and 429
is sticky, for minutes to hours.
"""

from __future__ import annotations

import re

import orjson

from ingest.asks import Ask, Page, Request, Response
from ingest.verdicts import Reading, Verdict
from lake.errors import InvalidValueError
from lake.instants import check_window

PROVIDER = "yahoo"
FEED = "chart"
ADDRESS = "https://query2.finance.yahoo.com"
INTERVALS = ("1m", "2m", "5m", "15m", "30m", "60m", "90m", "1h", "1d", "5d", "1wk", "1mo", "3mo")
USER_AGENT = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0 Safari/537.36"
"""Without a browser's name Yahoo answers 429 to everything."""
_SYMBOL = re.compile(r"[A-Za-z0-9^=.\-]{1,40}\Z")


class Chart:
    """`/v8/finance/chart/{symbol}`: one request answers one ask (`Pages`)."""

    def first(self, ask: Ask) -> Request:
        """Return the request for bars of `ask`, with its events. Raises InvalidValueError."""
        if not _SYMBOL.match(ask.symbol):
            raise InvalidValueError(f"symbol {ask.symbol!r} is not one of Yahoo's; expected letters, digits, ^ = . or -")
        if ask.interval not in INTERVALS:
            raise InvalidValueError(f"interval {ask.interval!r} is not one of {', '.join(INTERVALS)}")
        check_window(ask.start, ask.end)
        params = [
            ("interval", ask.interval),
            ("period1", str(int(ask.start.timestamp()))),
            ("period2", str(int(ask.end.timestamp()))),
            ("includePrePost", "false"),
        ]
        if ask.events:
            params.append(("events", ",".join(ask.events)))
        headers = (("user-agent", USER_AGENT), ("accept", "application/json"), ("accept-encoding", "identity"))
        return Request("GET", f"/v8/finance/chart/{ask.symbol}", tuple(params), headers, FEED)

    def read(self, response: Response) -> Page:
        """Return what an answer means; there is never a next page."""
        return Page(read_chart(response))


def read_chart(response: Response) -> Reading:
    """Return the meaning of an answer of the chart API; any bytes give one."""
    if response.status == 429 or b"Too Many Requests" in response.body[:200]:
        return Reading(Verdict.THROTTLED, _words(response.body), retry_after(response))
    if (broken := response.broken(_words(response.body), retry_after(response))) is not None:
        return broken
    if not response.body.strip() or response.body.lstrip()[:1] == b"<":
        return Reading(Verdict.UPSTREAM_5XX, f"no JSON: {_words(response.body) or 'empty body'}")
    try:
        document = orjson.loads(response.body)
    except orjson.JSONDecodeError as error:
        return Reading(Verdict.MALFORMED, f"not JSON: {error}")
    refused = _error_of(document)
    if refused is not None:
        return _refusal(response.status, *refused)
    if response.status in (401, 403):
        return Reading(Verdict.AUTH if response.status == 401 else Verdict.NOT_ENTITLED, _words(response.body))
    if response.status != 200:
        return Reading(Verdict.BAD_REQUEST, f"HTTP {response.status}: {_words(response.body)}")
    return _result(document)


def retry_after(response: Response) -> float | None:
    """Return the seconds of a Retry-After header; None when there is none or it is a date (Yahoo sends none)."""
    text = response.headers.get("retry-after", "").strip()
    return float(text) if re.match(r"\d{1,7}(\.\d+)?\Z", text) else None


def _words(body: bytes) -> str:
    return " ".join(body[:200].decode("utf-8", "replace").split())


def _error_of(document: object) -> tuple[str, str] | None:
    """Return (code, description) of `chart.error` or `finance.error`."""
    if not isinstance(document, dict):
        return None
    for name in ("chart", "finance"):
        part = document.get(name)
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
    return Reading(Verdict.BAD_REQUEST, told)


def _result(document: object) -> Reading:
    try:
        (result,) = document["chart"]["result"]  # type: ignore[index]  # any JSON is tried, what does not fit is caught
        timestamps = result.get("timestamp")
        symbol = result["meta"]["symbol"]
        quotes = result["indicators"]["quote"]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        return Reading(Verdict.MALFORMED, f"chart.result is not one result with meta and indicators: {error!r}")
    if not timestamps:
        return Reading(Verdict.EMPTY_VALID, f"{symbol}: no rows in the window")
    if not isinstance(timestamps, list) or not isinstance(quotes, list) or not quotes:
        return Reading(Verdict.MALFORMED, f"{symbol}: timestamps without quotes")
    return Reading(Verdict.OK, f"{symbol}: {len(timestamps)} rows")
