"""Alpaca's REST market data: what to ask, page by page, and what its answers mean. Machine: no I/O.

Keys go with the address's credentials, as two headers. History is always asked with `asof=-`: otherwise Alpaca maps symbols
to the companies of today and history silently changes its identity. Source: PROVIDERS.md section 6.
"""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Literal, get_args

import orjson

from ingest.asks import Ask, Credentials, Page, Request, Response
from ingest.verdicts import Reading, Verdict
from lake.errors import InvalidValueError
from lake.instants import check_window

PROVIDER = "alpaca"
Feed = Literal["iex", "sip", "opra", "indicative", "crypto", "actions", "news"]
Kind = Literal[
    "bars", "trades", "quotes", "snapshots", "chain", "latest_quotes", "latest_trades", "latest_bars", "actions", "news"
]
ADDRESS = "https://data.alpaca.markets"
STOCK_FEEDS, OPTION_FEEDS = ("iex", "sip"), ("opra", "indicative")
FEEDS: tuple[Feed, ...] = ("iex", "sip", "opra", "indicative", "crypto", "actions", "news")
_LATEST: dict[str, str] = {"latest_quotes": "quotes", "latest_trades": "trades", "latest_bars": "bars"}
"""What is told once of each symbol, and the name of its map. Of options no trades: their last one has no id, and makes no row."""
_KINDS: dict[str, dict[str, str]] = {
    "stocks": {name: f"/v2/stocks/{name}" for name in ("bars", "trades", "quotes", "snapshots")}
    | {kind: f"/v2/stocks/{name}/latest" for kind, name in _LATEST.items()},
    "options": {name: f"/v1beta1/options/{name}" for name in ("bars", "trades", "snapshots")}
    | {"latest_quotes": "/v1beta1/options/quotes/latest", "chain": "/v1beta1/options/snapshots"},
    "crypto": {name: f"/v1beta3/crypto/us/{name}" for name in ("bars", "trades", "quotes", "snapshots")}
    | {kind: f"/v1beta3/crypto/us/latest/{name}" for kind, name in _LATEST.items()},
    "actions": {"actions": "/v1/corporate-actions"},
    "news": {"news": "/v1beta1/news"},
}
EVERY = "*"
"""In place of symbols, for corporate actions and news alone: those of all companies."""
_OF_ALL = frozenset({"actions", "news"})
_HISTORY = frozenset({"bars", "trades", "quotes"})
_SYMBOLS = re.compile(r"[A-Za-z0-9./\-]{1,30}(?:,[A-Za-z0-9./\-]{1,30})*\Z")
_INTERVAL = re.compile(r"(\d{1,3})(m|h|d|wk|mo)\Z")
_ADJUSTMENTS = frozenset({"raw", "split", "dividend", "spin-off", "all"})
_MOST_ROWS = "10000"
_PAGE_ROWS = {"actions": "1000", "snapshots": "1000", "chain": "1000", "news": "50"}


def credentials(key_id: str, secret: str) -> Credentials:
    """Return the two headers."""
    return Credentials(headers=(("APCA-API-KEY-ID", key_id), ("APCA-API-SECRET-KEY", secret)))


def timeframe(interval: str) -> str:
    """Return Alpaca's name of an interval: 1Min, 1Hour, 1Day, 1Week, 1Month. Raises InvalidValueError."""
    found = _INTERVAL.match(interval)
    count, unit = (int(found[1]), found[2]) if found else (0, "")
    if unit == "m" and count % 60 == 0:
        count, unit = count // 60, "h"
    limit = {"m": 59, "h": 23, "d": 1, "wk": 1, "mo": 12}.get(unit, 0)
    if not 1 <= count <= limit:
        raise InvalidValueError(
            f"interval {interval!r} is not one of Alpaca's; expected 1m to 59m, 1h to 23h, 1d, 1wk, 1mo to 12mo"
        )
    return f"{count}{ {'m': 'Min', 'h': 'Hour', 'd': 'Day', 'wk': 'Week', 'mo': 'Month'}[unit] }"


def market_of(feed: Feed) -> str:
    """Return the market that a feed is of: stocks, options, crypto, actions or news."""
    return "stocks" if feed in STOCK_FEEDS else "options" if feed in OPTION_FEEDS else feed


def kinds_of(feed: Feed) -> tuple[Kind, ...]:
    """Return what can be asked of a feed."""
    return tuple(kind for kind in get_args(Kind) if kind in _KINDS[market_of(feed)])


def page_rows(kind: Kind) -> int | None:
    """Return the most rows of one page that are asked for; None where an answer has no pages."""
    return None if kind in _LATEST else int(_PAGE_ROWS.get(kind, _MOST_ROWS))


class MarketData:
    """One kind of data of one feed (`Pages`). An ask's symbol may be several, joined by commas; of a chain it is the underlying.

    Symbols without data are absent from the answers: those that no page named are told in the last page's detail.
    """

    def __init__(self, feed: Feed, kind: Kind = "bars", *, adjustment: str = "raw") -> None:
        market = market_of(feed)
        if kind not in _KINDS.get(market, {}):
            raise InvalidValueError(f"alpaca {feed} has no {kind}; there are {', '.join(_KINDS.get(market, {})) or 'none'}")
        if not adjustment or set(adjustment.split(",")) - _ADJUSTMENTS:
            raise InvalidValueError(f"adjustment {adjustment!r} is not of {', '.join(sorted(_ADJUSTMENTS))}")
        self.feed, self.kind = feed, kind
        self._market, self._adjustment = market, adjustment
        self._request = Request("GET", "")
        self._wanted: tuple[str, ...] = ()
        self._seen: dict[str, int] = {}
        self._tokens: set[str] = set()

    def first(self, ask: Ask) -> Request:
        """Return the first request of an ask. Raises InvalidValueError."""
        if not _SYMBOLS.match(ask.symbol) and not (ask.symbol == EVERY and self.kind in _OF_ALL):
            raise InvalidValueError(f"symbol {ask.symbol!r} is not one of Alpaca's; several are joined by commas")
        check_window(ask.start, ask.end)
        path = _KINDS[self._market][self.kind]
        params = [] if ask.symbol == EVERY else [("symbols", ask.symbol)]
        if self.kind == "chain":
            path, params = f"{path}/{ask.symbol}", []
        if self.kind == "bars":
            params.append(("timeframe", timeframe(ask.interval)))
        last = ask.end - timedelta(microseconds=1)  # Alpaca includes the end
        if self.kind in (*_HISTORY, "news"):
            params += [("start", _rfc3339(ask.start)), ("end", _rfc3339(last))]
        elif self.kind == "actions":
            params += [("start", ask.start.date().isoformat()), ("end", last.date().isoformat())]
        if self.kind == "news":
            params.append(("sort", "asc"))
        if self.kind not in _LATEST:
            params.append(("limit", _PAGE_ROWS.get(self.kind, _MOST_ROWS)))
        if self._market == "stocks" and self.kind in _HISTORY:
            if self.kind == "bars":
                params.append(("adjustment", self._adjustment))
            params.append(("asof", "-"))
        if self._market == "stocks" or (self._market == "options" and self.kind not in _HISTORY):
            params.append(("feed", self.feed))
        headers = (("accept-encoding", "identity"), ("accept", "application/json"))
        self._request = Request("GET", path, tuple(params), headers, f"{self._market}/{self.kind}")
        self._wanted = () if self.kind in ("chain", *_OF_ALL) else tuple(ask.symbol.split(","))
        self._seen, self._tokens = {}, set()
        return self._request

    def read(self, response: Response) -> Page:
        """Return what an answer means, and the request of the next page where there is one."""
        reading = read_refusal(response)
        if reading is not None:
            return Page(reading)
        try:
            found = orjson.loads(response.body)
        except orjson.JSONDecodeError as error:
            return Page(Reading(Verdict.MALFORMED, f"not JSON: {error}"))
        rows = self._rows(found)
        if rows is None:
            return Page(Reading(Verdict.MALFORMED, f"no {self.kind}: expected JSON with their map"))
        token = found.get("next_page_token") if isinstance(found, dict) else None
        if token is not None and (not isinstance(token, str) or token in self._tokens):
            return Page(Reading(Verdict.MALFORMED, f"the token of the next page came before, or is none: {str(token)[:40]}"))
        for name, count in rows.items():
            self._seen[name] = self._seen.get(name, 0) + count
        total = sum(self._seen.values())
        if token:
            self._tokens.add(token)
            kept = tuple(param for param in self._request.params if param[0] != "page_token")
            self._request = replace(self._request, params=(*kept, ("page_token", token)))
            return Page(Reading(Verdict.OK, f"{total} rows so far"), self._request)
        absent = [name for name in self._wanted if not self._seen.get(name)]
        detail = f"{total} rows" + (f"; no data: {', '.join(absent)}" if absent else "")
        return Page(Reading(Verdict.OK if total else Verdict.EMPTY_VALID, detail))

    def _rows(self, found: object) -> dict[str, int] | None:
        """Return the rows of each name in an answer; None when it is none."""
        if not isinstance(found, dict):
            return None
        name = ({"chain": "snapshots", "actions": "corporate_actions"} | _LATEST).get(self.kind, self.kind)
        by_name = found.get(name)
        if by_name is None and self.kind == "snapshots" and self._market == "stocks":
            by_name = found  # stock snapshots come without an envelope
        if self.kind == "news":
            return {name: len(by_name)} if isinstance(by_name, list) else {} if name in found and by_name is None else None
        if not isinstance(by_name, dict):
            return {} if name in found and by_name is None else None
        if any(not isinstance(told, list | dict | None) for told in by_name.values()):
            return None
        return {name: len(told) if isinstance(told, list) else int(told is not None) for name, told in by_name.items()}


def read_refusal(response: Response) -> Reading | None:
    """Return what an answer without data means; None for one that may have data. Any bytes give a reading or None."""
    words = " ".join(response.body[:300].decode("utf-8", "replace").split())
    told = words.lower()
    if response.status == 429:
        return Reading(Verdict.THROTTLED, words, _wait_s(response))
    if (broken := response.broken(words, _wait_s(response))) is not None:
        return broken
    if response.status == 401:
        return Reading(Verdict.AUTH, words)
    if response.status == 403:
        return Reading(Verdict.NOT_ENTITLED if "subscription" in told or "permit" in told else Verdict.AUTH, words)
    if response.status in (400, 422) and "invalid symbol" in told:
        return Reading(Verdict.UNKNOWN_SYMBOL, words)
    if response.status != 200:
        return Reading(Verdict.BAD_REQUEST, f"HTTP {response.status}: {words}")
    return None


def _wait_s(response: Response) -> float | None:
    """Return the seconds to wait, where Retry-After or X-RateLimit-Reset (UNIX s) tells them; Alpaca documents neither."""
    told = response.headers.get("retry-after", "")
    if re.match(r"\d{1,6}\Z", told):
        return float(told)
    try:
        sent = parsedate_to_datetime(response.headers.get("date", "")).timestamp()
        return max(0.0, int(response.headers.get("x-ratelimit-reset", "")) - sent)
    except (ValueError, TypeError, OverflowError):
        return None


def _rfc3339(instant: datetime) -> str:
    return instant.astimezone(UTC).isoformat().replace("+00:00", "Z")
