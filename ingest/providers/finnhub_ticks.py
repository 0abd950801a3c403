"""Finnhub's history of trades, `/stock/tick`: a New York day of one symbol, page by page. Machine: no I/O.

Trades have no id in the stream and none here: what both tell is counted by its content (transforms/revisions.py). A plan that
is paid for is wanted. Source: PROVIDERS.md section 2.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta
from zoneinfo import ZoneInfo

import orjson

from ingest.asks import Ask, Page, Request, Response
from ingest.providers.finnhub import checked, read_refusal
from ingest.verdicts import Reading, Verdict, error_told
from lake.instants import check_window

ENDPOINT = "stock/tick"
MOST_ROWS = 25_000
_NEW_YORK = ZoneInfo("America/New_York")
_DAY = timedelta(days=1)


class Ticks:
    """Trades of every New York day that an ask's window touches (`Pages`)."""

    def __init__(self) -> None:
        self._request = Request("GET", "/api/v1/stock/tick")
        self._day = self._last = date.min
        self._rows = self._skip = 0

    def first(self, ask: Ask) -> Request:
        """Return the request for the first page of the first day. Raises InvalidValueError."""
        check_window(ask.start, ask.end)
        self._day = ask.start.astimezone(_NEW_YORK).date()
        self._last = (ask.end - timedelta(microseconds=1)).astimezone(_NEW_YORK).date()
        self._rows = 0
        symbol = (("symbol", checked(ask.symbol)),)
        self._request = Request("GET", "/api/v1/stock/tick", symbol, (("accept-encoding", "identity"),), ENDPOINT)
        return self._page(0)

    def _page(self, skip: int) -> Request:
        self._skip = skip
        told = (("date", self._day.isoformat()), ("limit", str(MOST_ROWS)), ("skip", str(skip)))
        return replace(self._request, params=(*self._request.params, *told))

    def read(self, response: Response) -> Page:
        """Return what an answer means, and the next page of the day, or the first of the next day."""
        refused = read_refusal(response)
        if refused is not None:
            return Page(refused)
        try:
            found = orjson.loads(response.body)
        except orjson.JSONDecodeError as error:
            return Page(Reading(Verdict.MALFORMED, f"not JSON: {error}"))
        times = found.get("t") if isinstance(found, dict) else None
        if isinstance(found, dict) and isinstance(found.get("error"), str):
            return Page(error_told(found["error"]))
        if not isinstance(found, dict) or (times is None and found.get("count") != 0):
            return Page(Reading(Verdict.MALFORMED, "no ticks: expected the columns p, v, t"))
        count = len(times) if isinstance(times, list) else 0
        self._rows += count
        if count >= MOST_ROWS:
            return Page(Reading(Verdict.OK, f"{self._rows} trades so far"), self._page(self._skip + count))
        verdict = Verdict.OK if self._rows else Verdict.EMPTY_VALID
        if self._day < self._last:
            self._day += _DAY
            return Page(Reading(verdict, f"{self._rows} trades so far"), self._page(0))
        return Page(Reading(verdict, f"{self._rows} trades"))
