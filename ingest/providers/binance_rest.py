"""Binance by REST: bars, trades by their ids, depth, the newest trade and quote; spot and USD-margined futures. Machine: no I/O.

No key is wanted. Trades of a window are found in two steps, for only aggregates can be asked by time: `aggTrades` tells the
first id, `historicalTrades` the trades themselves. The price ticker is not asked: it tells neither size nor (of spot) time, the
newest trade both. Limits are weights a minute, told back in X-MBX-USED-WEIGHT-1M; 429 means wait, 418 that nobody did.
Source: developers.binance.com, REST API of spot and of USDⓈ-M futures.
"""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime

import orjson

from ingest.asks import Ask, Page, Request, Response
from ingest.providers.binance import DEPTH_PATH, Market
from ingest.verdicts import Reading, Verdict
from lake.errors import InvalidValueError
from lake.instants import check_window

INTERVALS = {
    **{each: each for each in ("1m", "3m", "5m", "15m", "30m", "1h", "2h", "4h", "6h", "8h", "12h", "1d")},
    "60m": "1h",
    "1wk": "1w",
    "1mo": "1M",
}
"""Interval of an ask -> Binance's word."""
PAGE_ROWS = 1_000
BOOK_TICKER = "ticker/bookTicker"
_PATHS: dict[Market, str] = {"spot": "/api/v3/", "usdm": "/fapi/v1/"}
_SYMBOL = re.compile(r"[A-Z0-9_]{2,30}\Z")
_HEADERS = (("accept-encoding", "identity"), ("accept", "application/json"))
_HOUR_MS = 3_600_000
"""Longest window that aggTrades takes, of futures still."""
_WAF_S, _BAN_S = 300.0, 120.0
_BY_CODE = {
    -1121: Verdict.UNKNOWN_SYMBOL,
    -1127: Verdict.OUT_OF_RANGE,
    -1003: Verdict.THROTTLED,
    -1000: Verdict.UPSTREAM_5XX,
    -1001: Verdict.UPSTREAM_5XX,
    -1007: Verdict.UPSTREAM_5XX,
    -1008: Verdict.THROTTLED,
    -1016: Verdict.UPSTREAM_5XX,
    -1002: Verdict.AUTH,
    -2014: Verdict.AUTH,
    -2015: Verdict.AUTH,
}
"""Binance's own codes, where they say more than the status."""


class _Asked:
    """What the kinds of question share: the market's paths, and the request of the moment."""

    def __init__(self, market: Market) -> None:
        self._market = market
        self._request = Request("GET", _PATHS[market])
        self._end_ms = 0
        self._rows = 0

    def _ask(self, ask: Ask, endpoint: str, *params: tuple[str, object]) -> Request:
        symbol = checked(ask.symbol)
        told = tuple((name, str(value)) for name, value in (("symbol", symbol), *params))
        self._request = Request("GET", _PATHS[self._market] + endpoint, told, _HEADERS, endpoint)
        return self._request

    def _again(self, **changed: object) -> Request:
        kept = tuple((name, value) for name, value in self._request.params if name not in changed)
        told = tuple((name, str(value)) for name, value in changed.items())
        self._request = replace(self._request, params=kept + told)
        return self._request


def checked(symbol: str) -> str:
    """Return a symbol as Binance writes it. Raises InvalidValueError."""
    if not _SYMBOL.match(symbol.upper()):
        raise InvalidValueError(f"symbol {symbol!r} is not one of Binance's; expected like BTCUSDT or BTCUSDT_240927")
    return symbol.upper()


class Klines(_Asked):
    """Bars of one symbol, a thousand a page (`Pages`)."""

    def first(self, ask: Ask) -> Request:
        """Return the request for the first bars of an ask. Raises InvalidValueError."""
        interval = INTERVALS.get(ask.interval)
        if interval is None:
            raise InvalidValueError(f"interval {ask.interval!r} is not one of Binance's; expected {', '.join(INTERVALS)}")
        start_ms, self._end_ms = window_ms(ask)
        self._rows = 0
        bounds = (("startTime", start_ms), ("endTime", self._end_ms - 1), ("limit", PAGE_ROWS))
        return self._ask(ask, "klines", ("interval", interval), *bounds)

    def read(self, response: Response) -> Page:
        """Return what an answer means, and the request for the bars after it."""
        rows = read_rows(response)
        if isinstance(rows, Reading):
            return Page(rows)
        opened = [row[0] for row in rows if isinstance(row, list) and len(row) > 5 and type(row[0]) is int]
        if len(opened) != len(rows) or opened != sorted(set(opened)):
            return Page(Reading(Verdict.MALFORMED, "not a list of bars in order of their open time"))
        self._rows += len(rows)
        if len(rows) >= PAGE_ROWS and opened[-1] + 1 < self._end_ms:
            return Page(Reading(Verdict.OK, f"{self._rows} bars so far"), self._again(startTime=opened[-1] + 1))
        return Page(Reading(Verdict.OK if self._rows else Verdict.EMPTY_VALID, f"{self._rows} bars"))


class Trades(_Asked):
    """Trades of one symbol: those that an ask numbers, or those of its window (`Pages`)."""

    def __init__(self, market: Market) -> None:
        super().__init__(market)
        self._ask_of: Ask | None = None
        self._last: int | None = None

    def first(self, ask: Ask) -> Request:
        """Return the first request: trades from an id on, or the aggregate that begins the window. Raises InvalidValueError."""
        self._ask_of, self._rows = ask, 0
        start_ms, self._end_ms = window_ms(ask)
        if ask.numbers is not None:
            first, self._last = ask.numbers
            if not 0 <= first <= self._last:
                raise InvalidValueError(f"trade ids {first} to {self._last}: expected the first and the last, both included")
            return self._from(ask, first)
        self._last = None
        return self._ask(ask, "aggTrades", *self._hour(start_ms), ("limit", 1))

    def _from(self, ask: Ask, first: int) -> Request:
        return self._ask(ask, "historicalTrades", ("fromId", first), ("limit", PAGE_ROWS))

    def _hour(self, start_ms: int) -> tuple[tuple[str, int], ...]:
        return (("startTime", start_ms), ("endTime", min(start_ms + _HOUR_MS, self._end_ms) - 1))

    def read(self, response: Response) -> Page:
        """Return what an answer means, and what to ask next until the last id or the window's end."""
        rows = read_rows(response)
        if isinstance(rows, Reading):
            return Page(rows)
        return self._begun(rows) if self._request.endpoint == "aggTrades" else self._trades(rows)

    def _begun(self, rows: list[object]) -> Page:
        """Read the aggregate that begins the window; an hour without one leads to the next hour."""
        if self._ask_of is None:
            return Page(Reading(Verdict.MALFORMED, "nothing was asked"))
        params = dict(self._request.params)
        if not rows:
            next_ms = int(params["endTime"]) + 1
            if next_ms >= self._end_ms:
                return Page(Reading(Verdict.EMPTY_VALID, "no trades in the window"))
            return Page(Reading(Verdict.EMPTY_VALID, "no trades in this hour"), self._again(**dict(self._hour(next_ms))))
        found = rows[0]
        first = found.get("f") if isinstance(found, dict) else None
        if type(first) is not int or first < 0:
            return Page(Reading(Verdict.MALFORMED, "not a list of aggregates with f, the first trade of each"))
        return Page(Reading(Verdict.OK, f"the window begins with trade {first}"), self._from(self._ask_of, first))

    def _trades(self, rows: list[object]) -> Page:
        told = [(row.get("id"), row.get("time")) for row in rows if isinstance(row, dict)]
        numbered = [(number, ms) for number, ms in told if type(number) is int and type(ms) is int]
        from_id = int(dict(self._request.params)["fromId"])
        numbers = [number for number, _ in numbered]
        if len(numbers) != len(rows) or numbers != sorted(set(numbers)) or (numbers and numbers[0] < from_id):
            return Page(Reading(Verdict.MALFORMED, "not a list of trades in order of their id, from the one asked for on"))
        self._rows += len(rows)
        is_over = len(rows) < PAGE_ROWS or (numbered[-1][1] >= self._end_ms if self._last is None else numbers[-1] >= self._last)
        if is_over:
            return Page(Reading(Verdict.OK if self._rows else Verdict.EMPTY_VALID, f"{self._rows} trades"))
        return Page(Reading(Verdict.OK, f"{self._rows} trades so far"), self._again(fromId=numbers[-1] + 1))


class Depth(_Asked):
    """The book of one symbol as it is now, a thousand levels a side (`Pages`); interval and window do not matter."""

    def first(self, ask: Ask) -> Request:
        """Return the request for the book. Raises InvalidValueError."""
        params = (("symbol", checked(ask.symbol)), ("limit", str(PAGE_ROWS)))
        self._request = Request("GET", DEPTH_PATH[self._market], params, _HEADERS, "depth")
        return self._request

    def read(self, response: Response) -> Page:
        """Return what an answer means; there is never a next page."""
        return Page(read_book(response))


class NewestTrade(_Asked):
    """The newest trade of one symbol, as the stream told it (`Pages`); interval and window do not matter."""

    def first(self, ask: Ask) -> Request:
        """Return the request for one trade. Raises InvalidValueError."""
        return self._ask(ask, "trades", ("limit", 1))

    def read(self, response: Response) -> Page:
        """Return what an answer means; there is never a next page."""
        rows = read_rows(response)
        if isinstance(rows, Reading):
            return Page(rows)
        if not all(isinstance(row, dict) and type(row.get("id")) is int and type(row.get("time")) is int for row in rows):
            return Page(Reading(Verdict.MALFORMED, "not a list of trades with id and time"))
        return Page(Reading(Verdict.OK if rows else Verdict.EMPTY_VALID, f"{len(rows)} trades"))


class NewestQuote(_Asked):
    """The best bid and offer of one symbol as they are now (`Pages`); interval and window do not matter."""

    def first(self, ask: Ask) -> Request:
        """Return the request. Raises InvalidValueError."""
        return self._ask(ask, BOOK_TICKER)

    def read(self, response: Response) -> Page:
        """Return what an answer means; there is never a next page."""
        found = read_document(response)
        if isinstance(found, Reading):
            return Page(found)
        symbol = dict(self._request.params).get("symbol")
        if not isinstance(found, dict) or found.get("symbol") != symbol or not {"bidPrice", "askPrice"} <= found.keys():
            return Page(Reading(Verdict.MALFORMED, f"no bid and ask of {symbol}"))
        return Page(Reading(Verdict.OK, "a quote"))


def window_ms(ask: Ask) -> tuple[int, int]:
    """Return the milliseconds of `[start, end)`. Raises InvalidValueError."""
    check_window(ask.start, ask.end)
    return _ms(ask.start), _ms(ask.end)


def _ms(instant: datetime) -> int:
    """Return the first whole millisecond not before an instant."""
    since = instant.astimezone(UTC) - datetime(1970, 1, 1, tzinfo=UTC)
    return -(-(since.days * 86_400_000_000 + since.seconds * 1_000_000 + since.microseconds) // 1_000)


def read_rows(response: Response) -> list[object] | Reading:
    """Return the list in an answer, or what an answer without one means. Any bytes give either."""
    found = read_document(response)
    if isinstance(found, Reading | list):
        return found
    return Reading(Verdict.MALFORMED, "expected a list")


def read_book(response: Response) -> Reading:
    """Return what an answer to a depth request means."""
    found = read_document(response)
    if isinstance(found, Reading):
        return found
    if not isinstance(found, dict) or "lastUpdateId" not in found:
        return Reading(Verdict.MALFORMED, "no book: expected JSON with lastUpdateId")
    return Reading(Verdict.OK)


def read_document(response: Response) -> object:
    """Return the JSON of an answer, or (a Reading) what one without data means. Any bytes give either."""
    words = " ".join(response.body[:300].decode("utf-8", "replace").split())
    wait_s = _wait_s(response)
    if response.status == 429:
        return Reading(Verdict.THROTTLED, words, wait_s)
    if response.status == 418:
        return Reading(Verdict.THROTTLED, f"banned: {words}", _BAN_S if wait_s is None else wait_s)
    if response.status == 451:
        return Reading(Verdict.NOT_ENTITLED, f"not served in this place: {words}")
    if (broken := response.broken(words, wait_s)) is not None:
        return broken
    try:
        found = orjson.loads(response.body)
    except orjson.JSONDecodeError as error:
        found, told = None, f"not JSON: {error}"
    else:
        told = words
    if isinstance(found, dict) and type(found.get("code")) is int and isinstance(found.get("msg"), str):
        return Reading(_BY_CODE.get(found["code"], Verdict.BAD_REQUEST), f"{found['code']} {found['msg']}")
    if response.status == 403:
        return Reading(Verdict.THROTTLED, f"the firewall's limit: {words}", _WAF_S if wait_s is None else wait_s)
    if response.status == 401:
        return Reading(Verdict.AUTH, words)
    if response.status != 200:
        return Reading(Verdict.BAD_REQUEST, f"HTTP {response.status}: {words}")
    return Reading(Verdict.MALFORMED, told) if found is None else found


def _wait_s(response: Response) -> float | None:
    told = response.headers.get("retry-after", "")
    return float(told) if re.match(r"\d{1,7}\Z", told) else None
