"""The simulator's REST side of Binance: depth as recorded; trades by id, aggregates and bars of the recorded trade frames,
best bid and offer of the newest recorded one.

Nobody recorded these lists: their form is the documentation's, their content the recorded stream's. So a trade looked up is
the very trade that the stream told, as it is with the real one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ingest.simulator.faults import Market
from ingest.simulator.recorded import binance

JSON = "application/json;charset=utf-8"
_PATHS: dict[Market, str] = {"spot": "/api/v3/", "usdm": "/fapi/v1/"}
_SYMBOL = "BTCUSDT"
_MINUTE_MS = 60_000
_INTERVALS_MS = {"1m": 1, "3m": 3, "5m": 5, "15m": 15, "30m": 30, "1h": 60, "1d": 1_440}
_MOST_ROWS = 1_000
_TOO_MUCH = (
    "Too much request weight used; current limit is 6000 request weight per 1 MINUTE. Please use WebSocket Streams for live"
    " updates to avoid polling the API."
)
_BANNED = "Way too much request weight used; IP banned until 1723100000000. Please use WebSocket Streams for live updates."


@dataclass(frozen=True, slots=True)
class _Trade:
    number: int
    ms: int
    price: str
    size: str
    is_buyer_maker: bool


def binance_routes(markets: Sequence[Market], excerpt: int | None) -> list[Route]:
    """Return the routes of the markets that are played."""
    return [Route(_PATHS[market] + "{kind:path}", _endpoint(market, excerpt)) for market in markets]


def binance_refusal(path: str, status: int) -> tuple[int, bytes, str] | None:
    """Return the (status, body, content type) with which Binance refuses; None for another provider's path."""
    if not path.startswith(tuple(_PATHS.values())):
        return None
    if status in (418, 429):
        return status, orjson.dumps({"code": -1003, "msg": _BANNED if status == 418 else _TOO_MUCH}), JSON
    if status == 403:
        return status, b"<html><head><title>403 Forbidden</title></head></html>", "text/html"
    return None


def _endpoint(market: Market, excerpt: int | None) -> Any:
    async def answer(request: Request) -> Response:
        return binance_answer(market, request.path_params["kind"], request.query_params, excerpt)

    return answer


def binance_answer(market: Market, kind: str, query: Mapping[str, str], excerpt: int | None = None) -> Response:
    """Return Binance's answer to a request of a market."""
    if kind not in ("depth", "historicalTrades", "aggTrades", "klines", "trades", "ticker/bookTicker"):
        return Response(b"<html><body><h1>404 Not Found</h1></body></html>", 404, media_type="text/html")
    if not query.get("symbol"):
        return _error(-1102, "Mandatory parameter 'symbol' was not sent, was empty/null, or malformed.")
    if query["symbol"] != _SYMBOL:
        return _error(-1121, "Invalid symbol.")
    if kind == "depth":
        return Response(binance(market, excerpt).snapshot, media_type=JSON)
    if kind == "ticker/bookTicker":
        return Response(orjson.dumps(_newest_quote(market, excerpt)), media_type=JSON)
    try:
        limit = min(_MOST_ROWS, int(query.get("limit", "500")))
        bounds = {name: int(query[name]) for name in ("fromId", "startTime", "endTime") if name in query}
    except ValueError:
        return _error(-1100, "Illegal characters found in a parameter.")
    if kind == "klines" and query.get("interval") not in _INTERVALS_MS:
        return _error(-1120, "Invalid interval.")
    trades = _wanted(_trades(market, excerpt), bounds)
    if kind == "klines":
        return _list(_klines(trades, _INTERVALS_MS[query["interval"]] * _MINUTE_MS)[:limit])
    if kind == "trades":
        return _list([_looked_up(trade) for trade in trades[-limit:]])
    return _list([(_looked_up if kind == "historicalTrades" else _aggregate)(trade) for trade in trades[:limit]])


@cache
def _trades(market: Market, excerpt: int | None) -> tuple[_Trade, ...]:
    found = {}
    for frame in binance(market, excerpt).frames:
        if frame.stream.endswith("@trade"):
            told = orjson.loads(frame.payload)["data"]
            found[told["t"]] = _Trade(told["t"], told["T"], told["p"], told["q"], told["m"])
    return tuple(found[number] for number in sorted(found))


@cache
def _newest_quote(market: Market, excerpt: int | None) -> dict[str, Any]:
    frames = [frame.payload for frame in binance(market, excerpt).frames if frame.stream.endswith("@bookTicker")]
    told = orjson.loads(frames[-1])["data"]
    words = {"symbol": "s", "bidPrice": "b", "bidQty": "B", "askPrice": "a", "askQty": "A"}
    found = {name: told[word] for name, word in words.items()}
    return found if market == "spot" else {**found, "lastUpdateId": told["u"], "time": told["T"]}


def _wanted(trades: Sequence[_Trade], bounds: Mapping[str, int]) -> list[_Trade]:
    first, start, end = bounds.get("fromId", 0), bounds.get("startTime", 0), bounds.get("endTime", 1 << 62)
    return [each for each in trades if each.number >= first and start <= each.ms <= end]


def _looked_up(trade: _Trade) -> dict[str, Any]:
    amount = f"{Decimal(trade.price) * Decimal(trade.size):.8f}"
    told = {"id": trade.number, "price": trade.price, "qty": trade.size, "quoteQty": amount, "time": trade.ms}
    return {**told, "isBuyerMaker": trade.is_buyer_maker, "isBestMatch": True}


def _aggregate(trade: _Trade) -> dict[str, Any]:
    told = {"a": trade.number, "p": trade.price, "q": trade.size, "f": trade.number, "l": trade.number, "T": trade.ms}
    return {**told, "m": trade.is_buyer_maker, "M": True}


def _klines(trades: Sequence[_Trade], length_ms: int) -> list[list[Any]]:
    by_open: dict[int, list[_Trade]] = {}
    for trade in trades:
        by_open.setdefault(trade.ms // length_ms * length_ms, []).append(trade)
    return [_kline(opened, length_ms, within) for opened, within in sorted(by_open.items())]


def _kline(opened: int, length_ms: int, within: Sequence[_Trade]) -> list[Any]:
    prices = [Decimal(trade.price) for trade in within]
    volume = sum(Decimal(trade.size) for trade in within)
    amount = sum(Decimal(trade.price) * Decimal(trade.size) for trade in within)
    bought = [trade for trade in within if not trade.is_buyer_maker]
    taken = [f"{sum((Decimal(each.size) * price for each, price in pairs), Decimal()):.8f}" for pairs in (
        [(each, Decimal(1)) for each in bought], [(each, Decimal(each.price)) for each in bought],
    )]  # fmt: skip
    head = [opened, within[0].price, str(max(prices)), str(min(prices)), within[-1].price, f"{volume:.8f}"]
    return [*head, opened + length_ms - 1, f"{amount:.8f}", len(within), *taken, "0"]


def _list(rows: list[Any]) -> Response:
    return Response(orjson.dumps(rows), media_type=JSON)


def _error(code: int, words: str) -> Response:
    return Response(orjson.dumps({"code": code, "msg": words}), 400, media_type=JSON)
