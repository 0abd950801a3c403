"""The simulator counts: every call by provider, key and window; over the limit it is refused in the provider's own words.

The limits are the providers' (PROVIDERS.md), told here once more and on purpose: they judge what `ingest/shipped_plans.py` says.
A window rolls, which is the strictest way a provider may count; a day or month begins in the provider's zone.
"""

from __future__ import annotations

import threading
from bisect import bisect_right, insort
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from urllib.parse import parse_qsl
from zoneinfo import ZoneInfo

from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from ingest.simulator.web import refusal_of
from ingest.simulator.yahoo_web import YAHOO_PATHS
from lake.instants import NANOS_PER_SECOND, Clock

_DAY_S, _MONTH_S = 86_400.0, 31 * 86_400.0
_NEW_YORK = "America/New_York"
_BINANCE_DEPTH = ((100, 5), (500, 25), (1_000, 50), (5_000, 250))
_STICKY_S = 900.0


@dataclass(frozen=True, slots=True)
class Limit:
    """So much weight in `seconds`; of a day or month that begins in `zone`, where one is told."""

    most: int
    seconds: float
    zone: str = ""

    @property
    def name(self) -> str:
        """What tells it from the others of a provider."""
        return f"{self.seconds:g} s" + (f" in {self.zone}" if self.zone else "")

    def opened_ns(self, now_ns: int) -> int:
        """Return the last instant that does not count any more."""
        if not self.zone:
            return now_ns - round(self.seconds * NANOS_PER_SECOND)
        local = datetime.fromtimestamp(now_ns // NANOS_PER_SECOND, ZoneInfo(self.zone))
        start = local.replace(day=local.day if self.seconds <= _DAY_S else 1, hour=0, minute=0, second=0, microsecond=0, fold=0)
        return int(start.timestamp()) * NANOS_PER_SECOND - 1


LIMITS: Mapping[str, tuple[Limit, ...]] = {
    "alpha_vantage": (Limit(25, _DAY_S, _NEW_YORK), Limit(5, 60.0), Limit(1, 1.0)),
    "finnhub": (Limit(60, 60.0), Limit(30, 1.0)),
    "yahoo": (Limit(2, 1.0), Limit(120, 60.0)),
    "alpaca": (Limit(200, 60.0),),
    "polygon": (Limit(5, 60.0),),
    "tiingo": (Limit(50, 3_600.0), Limit(1_000, _DAY_S, _NEW_YORK)),
    "binance": (Limit(2_400, 60.0),),
    "databento": (Limit(100, 1.0),),
}
"""Of a free or default plan, by provider."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Whose API a call is for, with which key, and what it weighs."""

    provider: str
    key: str
    weight: int = 1


def caller_of(path: str, query: Mapping[str, str], headers: Mapping[str, str]) -> Caller | None:
    """Return who calls whom; None for a path of nobody's. Header names are in lower case."""
    bearer = headers.get("authorization", "")
    if path == "/" or path.startswith(YAHOO_PATHS):
        return Caller("yahoo", "address")
    if path == "/query":
        return Caller("alpha_vantage", query.get("apikey", ""))
    if path.startswith("/api/v1/"):
        return Caller("finnhub", headers.get("x-finnhub-token", "") or query.get("token", ""))
    if path.startswith(("/api/v3/", "/fapi/v1/")):
        return Caller("binance", "address", _binance_weight(path, query))
    if path.startswith(("/v2/stocks/", "/v1beta", "/v1/corporate-actions")):
        return Caller("alpaca", headers.get("apca-api-key-id", ""))
    if path == "/iex" or path.startswith(("/tiingo/", "/iex/")):
        return Caller("tiingo", bearer or query.get("token", ""))
    if path.startswith(("/v2/", "/v3/")):
        return Caller("polygon", bearer or query.get("apiKey", ""))
    return Caller("databento", bearer) if path.startswith("/v0/") else None


def _binance_weight(path: str, query: Mapping[str, str]) -> int:
    kind, limit = path.rpartition("/")[2], query.get("limit", "")
    if kind == "depth":
        asked = int(limit) if limit.isdigit() else 100
        return next((weight for most, weight in _BINANCE_DEPTH if asked <= most), 250)
    if kind == "aggTrades":
        return 20 if path.startswith("/fapi/") else 4
    return {"klines": 2, "trades": 25, "historicalTrades": 25, "bookTicker": 2, "exchangeInfo": 20}.get(kind, 1)


@dataclass(slots=True)
class _Key:
    """What one key called: instants with weights, the most each window ever held, until when it is refused whatever it does."""

    calls: list[tuple[int, int]] = field(default_factory=list)
    most: Counter[str] = field(default_factory=Counter)
    refused: int = 0
    banned_ns: int = 0


class Limits:
    """Counts calls; safe between threads.

    limits       by provider; a provider without any is counted and never refused
    is_enforced  whether a call over the limit is refused, or counted only
    """

    def __init__(self, clock: Clock, limits: Mapping[str, Sequence[Limit]] = LIMITS, *, is_enforced: bool = True) -> None:
        self._clock, self._limits, self._is_enforced = clock, limits, is_enforced
        self._keys: dict[tuple[str, str], _Key] = {}
        self._lock = threading.Lock()

    def count(self, caller: Caller) -> Limit | None:
        """Count one call; return the limit it broke, for which it is to be refused."""
        with self._lock:
            now_ns, key = self._clock(), self._keys.setdefault((caller.provider, caller.key), _Key())
            insort(key.calls, (now_ns, caller.weight))
            broken: Limit | None = None
            for limit in self._limits.get(caller.provider, ()):
                first = bisect_right(key.calls, (limit.opened_ns(now_ns), 1 << 62))
                held = sum(weight for _, weight in key.calls[first:])
                key.most[limit.name] = max(key.most[limit.name], held)
                broken = limit if held > limit.most else broken
            if caller.provider == "yahoo":  # a throttle sticks to the address
                if broken is None and now_ns < key.banned_ns:
                    broken = self._limits["yahoo"][0]
                elif broken is not None:
                    key.banned_ns = now_ns + round(_STICKY_S * NANOS_PER_SECOND)
            key.refused += broken is not None
            return broken if self._is_enforced else None

    def used(self, caller: Caller, limit: Limit) -> int:
        """Return what a window of a key holds now."""
        with self._lock:
            key = self._keys.setdefault((caller.provider, caller.key), _Key())
            return sum(weight for at, weight in key.calls if at > limit.opened_ns(self._clock()))

    def report(self) -> list[dict[str, Any]]:
        """Return, by provider and key, how many calls came, how many were over a limit, and the most each window held."""
        with self._lock:
            return [
                {
                    "provider": provider,
                    "calls": len(key.calls),
                    "over": key.refused,
                    "windows": [
                        {"window": limit.name, "most": key.most[limit.name], "limit": limit.most}
                        for limit in self._limits.get(provider, ())
                    ],
                }
                for (provider, _), key in sorted(self._keys.items())
            ]

    def exceeded(self) -> list[str]:
        """Return each window that ever held more than its limit, in words; none: no quota was ever exceeded."""
        return [
            f"{each['provider']}: {window['most']} in {window['window']}, allowed are {window['limit']}"
            for each in self.report()
            for window in each["windows"]
            if window["most"] > window["limit"]
        ]

    def headers(self, caller: Caller) -> dict[str, str]:
        """Return the headers in which a provider tells how a key stands."""
        limits = self._limits.get(caller.provider, ())
        if not limits:
            return {}
        used = self.used(caller, limits[0])
        if caller.provider in ("alpaca", "finnhub"):
            reset = self._clock() // NANOS_PER_SECOND + int(limits[0].seconds)
            left = max(0, limits[0].most - used)
            return {
                "x-ratelimit-limit": str(limits[0].most), "x-ratelimit-remaining": str(left), "x-ratelimit-reset": str(reset),
            }  # fmt: skip
        return {"x-mbx-used-weight-1m": str(used)} if caller.provider == "binance" else {}


class Limited:
    """An ASGI app whose callers are counted, and refused over their limits, before it is asked."""

    def __init__(self, app: ASGIApp, limits: Limits) -> None:
        self._app, self._limits = app, limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one call."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        query = dict(parse_qsl(bytes(scope["query_string"]).decode("latin-1")))
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        caller = caller_of(str(scope["path"]), query, headers)
        broken = None if caller is None else self._limits.count(caller)
        if caller is None:
            await self._app(scope, receive, send)
        elif broken is not None:
            await refusal(caller, broken, str(scope["path"]), query, self._limits)(scope, receive, send)
        else:
            told = [(name.encode(), value.encode()) for name, value in self._limits.headers(caller).items()]

            async def with_limits(message: Any) -> None:
                if message["type"] == "http.response.start":
                    message = {**message, "headers": [*message.get("headers", ()), *told]}
                await send(message)

            await self._app(scope, receive, with_limits)


def refusal(caller: Caller, broken: Limit, path: str, query: Mapping[str, str], limits: Limits) -> Response:
    """Return how a provider refuses a call over a limit, in its own words."""
    headers = limits.headers(caller)
    if caller.provider in ("binance", "databento"):
        headers["retry-after"] = f"{broken.seconds:.0f}"
    told = None if caller.provider == "yahoo" else refusal_of(path, 429, query)
    status, body, kind = told or (429, b"Edge: Too Many Requests", "text/plain")
    return Response(body, status, headers, media_type=kind)
