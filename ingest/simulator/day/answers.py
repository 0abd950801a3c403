"""What each provider answers by HTTP on a simulated day: trades and minutes of the tape, never later than now. Pure.

Paths, parameters and shapes are the providers' own (PROVIDERS.md); keys are checked where a provider wants one. A minute is
told once it is over; Yahoo and Alpha Vantage tell the running one too, as they do.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import orjson

from ingest.simulator.day.tape import MINUTE_NS, NANOS_PER_MILLI, Bar, Tape, Trade
from ingest.simulator.day.wires import FIRST_ID, alpaca_trade, at, polygon_sides, sip_ns
from ingest.simulator.keyed import Keys

JSON, TEXT = "application/json", "text/plain"
_SECOND_NS = 1_000_000_000
_NEW_YORK = ZoneInfo("America/New_York")
_CHART = re.compile(r"/v8/finance/chart/([^/]+)\Z")
_POLYGON_EVENTS = re.compile(r"/v3/(trades|quotes)/([^/]+)\Z")
_POLYGON_BARS = re.compile(r"/v2/aggs/ticker/([^/]+)/range/1/minute/(\d{13})/(\d{13})\Z")
_TIINGO = re.compile(r"/iex/([^/]+)/prices\Z")


@dataclass(frozen=True, slots=True)
class Asked:
    """One request: path, parameters, headers (names in lower case), the address it came to."""

    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    base: str = ""


@dataclass(frozen=True, slots=True)
class Told:
    """One answer."""

    status: int
    body: bytes
    media_type: str = JSON


@dataclass(frozen=True, slots=True)
class Market:
    """What can be told: the tapes by symbol, up to now."""

    tapes: Mapping[str, Tape]
    now_ns: int

    def trades(self, symbol: str, start_ns: int, end_ns: int) -> list[Any]:
        """Return the trades of a symbol in `[start_ns, end_ns)` that have happened."""
        return list(self.tapes[symbol].between(start_ns, min(end_ns, self.now_ns)))

    def minutes(self, symbol: str, start_ns: int, end_ns: int) -> list[Bar]:
        """Return the minutes of a symbol in `[start_ns, end_ns)` that are over."""
        return self.tapes[symbol].minutes(start_ns, min(end_ns, self.now_ns // MINUTE_NS * MINUTE_NS))


def provider_of(path: str) -> str:
    """Return whose path it is; empty for nobody's."""
    for start, provider in _PATHS:
        if path.startswith(start):
            return provider
    return ""


def answer(asked: Asked, market: Market, keys: Keys) -> Told:
    """Return the answer of the provider whose path is asked."""
    provider = provider_of(asked.path)
    try:
        return _ANSWERS[provider](asked, market, keys)
    except (KeyError, ValueError, OverflowError, OSError) as error:
        return _json({"error": f"bad request: {error}"}, 400)


def _json(document: object, status: int = 200) -> Told:
    return Told(status, orjson.dumps(document))


def _yahoo(asked: Asked, market: Market, keys: Keys) -> Told:
    found = _CHART.match(asked.path)
    symbol = found[1] if found else ""
    if symbol not in market.tapes:
        told = {"code": "Not Found", "description": "No data found, symbol may be delisted"}
        return _json({"chart": {"result": None, "error": told}}, 404)
    start_ns, end_ns = (int(asked.query[name]) * _SECOND_NS for name in ("period1", "period2"))
    bars = market.minutes(symbol, start_ns, end_ns)
    quote = {
        "open": [bar.open / 100 for bar in bars], "high": [bar.high / 100 for bar in bars],
        "low": [bar.low / 100 for bar in bars], "close": [bar.close / 100 for bar in bars],
        "volume": [bar.volume for bar in bars],
    }  # fmt: skip
    meta = {
        "currency": "USD", "symbol": symbol, "exchangeName": "NMS", "fullExchangeName": "NasdaqGS", "instrumentType": "EQUITY",
        "firstTradeDate": 345479400, "gmtoffset": -18000, "exchangeTimezoneName": "America/New_York", "timezone": "EST",
        "priceHint": 2, "dataGranularity": "1m", "range": "",
    }  # fmt: skip
    result: dict[str, Any] = {"meta": meta, "indicators": {"quote": [quote if bars else {}]}}
    if bars:
        result["timestamp"] = [bar.open_ns // _SECOND_NS for bar in bars]
    return _json({"chart": {"result": [result], "error": None}})


def _binance(asked: Asked, market: Market, keys: Keys) -> Told:
    symbol = asked.query.get("symbol", "")
    if symbol not in market.tapes:
        return _json({"code": -1121, "msg": "Invalid symbol."}, 400)
    limit = min(1_000, int(asked.query.get("limit", "500")))
    tape, past = market.tapes[symbol], market.tapes[symbol].before(market.now_ns)
    if asked.path.endswith("/historicalTrades"):
        first = int(asked.query["fromId"]) - FIRST_ID if "fromId" in asked.query else past - limit
        return _json(
            [
                {
                    "id": FIRST_ID + each.number, "price": f"{each.price:.8f}", "qty": f"{each.size / 1_000:.8f}",
                    "quoteQty": f"{each.cents * each.size / 100_000:.8f}", "time": each.ts_ms,
                    "isBuyerMaker": each.number % 2 == 0, "isBestMatch": True,
                }
                for each in tape.trades[max(0, first) : min(past, max(0, first) + limit)]
            ]
        )  # fmt: skip
    if asked.path.endswith("/aggTrades"):
        if "fromId" in asked.query:
            first = max(0, int(asked.query["fromId"]) - FIRST_ID)
            trades = list(tape.trades[first : min(past, first + limit)])
        else:
            start_ns, end_ns = (int(asked.query[name]) * NANOS_PER_MILLI for name in ("startTime", "endTime"))
            trades = market.trades(symbol, start_ns, end_ns + NANOS_PER_MILLI)[:limit]
        return _json(
            [
                {
                    "a": FIRST_ID + each.number, "p": f"{each.price:.8f}", "q": f"{each.size / 1_000:.8f}",
                    "f": FIRST_ID + each.number, "l": FIRST_ID + each.number, "T": each.ts_ms, "m": each.number % 2 == 0,
                    "M": True,
                }
                for each in trades
            ]
        )  # fmt: skip
    return _json({"code": -1, "msg": "not simulated"}, 404)


def _alpaca(asked: Asked, market: Market, keys: Keys) -> Told:
    if (
        asked.headers.get("apca-api-key-id") != keys.alpaca_key_id
        or asked.headers.get("apca-api-secret-key") != keys.alpaca_secret
    ):
        return _json({"code": 40310000, "message": "forbidden."}, 403)
    kind = asked.path.rsplit("/", 1)[-1]
    symbols = [name for name in asked.query["symbols"].split(",") if name in market.tapes]
    start_ns, end_ns = (_instant(asked.query[name]) for name in ("start", "end"))
    rows: list[tuple[str, dict[str, Any]]] = []
    for symbol in symbols:
        if kind == "trades":
            rows += [(symbol, alpaca_trade(each)) for each in market.trades(symbol, start_ns, end_ns + 1)]
        else:
            rows += [(symbol, _alpaca_bar(each)) for each in market.minutes(symbol, start_ns, end_ns + 1)]
    skip, limit = int(asked.query.get("page_token", "0")), int(asked.query.get("limit", "1000"))
    page: dict[str, list[Any]] = {}
    for symbol, row in rows[skip : skip + limit]:
        page.setdefault(symbol, []).append(row)
    return _json({kind: page, "next_page_token": str(skip + limit) if skip + limit < len(rows) else None})


def _alpaca_bar(bar: Bar) -> dict[str, Any]:
    return {
        "t": at(bar.open_ns), "o": bar.open / 100, "h": bar.high / 100, "l": bar.low / 100, "c": bar.close / 100,
        "v": bar.volume, "n": bar.count,
    }  # fmt: skip


def _finnhub(asked: Asked, market: Market, keys: Keys) -> Told:
    if asked.headers.get("x-finnhub-token", asked.query.get("token")) != keys.finnhub_token:
        return _json({"error": "Invalid API key"}, 401)
    symbol = asked.query.get("symbol", "")
    if asked.path.endswith("/quote"):
        trades = market.trades(symbol, 0, market.now_ns) if symbol in market.tapes else []
        if not trades:
            return Told(200, b'{"c":0,"d":null,"dp":null,"h":0,"l":0,"o":0,"pc":0,"t":0}')
        cents = [each.cents for each in trades]
        told = {"c": cents[-1] / 100, "h": max(cents) / 100, "l": min(cents) / 100, "o": cents[0] / 100}
        return _json({**told, "d": 0, "dp": 0, "pc": cents[0] / 100, "t": trades[-1].ts_ns // _SECOND_NS})
    day = datetime.fromisoformat(asked.query["date"]).replace(tzinfo=_NEW_YORK)
    start_ns = int(day.timestamp()) * _SECOND_NS
    trades = market.trades(symbol, start_ns, start_ns + 86_400 * _SECOND_NS) if symbol in market.tapes else []
    skip, limit = int(asked.query.get("skip", "0")), min(25_000, int(asked.query.get("limit", "25000")))
    page = trades[skip : skip + limit]
    return _json(
        {
            "s": symbol, "skip": skip, "count": len(page), "total": len(trades), "v": [each.size for each in page],
            "p": [each.price for each in page], "t": [each.ts_ms for each in page], "x": ["V"] * len(page),
            "c": [["1", "12"]] * len(page),
        }
    )  # fmt: skip


def _alpha_vantage(asked: Asked, market: Market, keys: Keys) -> Told:
    if asked.query.get("apikey") != keys.alpha_vantage_key:
        return _json({"Error Message": "the parameter apikey is invalid or missing."})
    symbol = asked.query.get("symbol", "")
    if asked.query.get("function") != "TIME_SERIES_INTRADAY" or symbol not in market.tapes:
        return _json(
            {"Error Message": f"Invalid API call. Please retry or visit the documentation for {asked.query.get('function')}."}
        )
    bars = market.minutes(symbol, 0, market.now_ns)
    if asked.query.get("outputsize", "compact") == "compact":
        bars = bars[-100:]
    series = {}
    for bar in reversed(bars):
        series[datetime.fromtimestamp(bar.open_ns // _SECOND_NS, _NEW_YORK).strftime("%Y-%m-%d %H:%M:%S")] = {
            "1. open": f"{bar.open / 100:.4f}", "2. high": f"{bar.high / 100:.4f}", "3. low": f"{bar.low / 100:.4f}",
            "4. close": f"{bar.close / 100:.4f}", "5. volume": str(bar.volume),
        }  # fmt: skip
    meta = {
        "1. Information": "Intraday (1min) open, high, low, close prices and volume", "2. Symbol": symbol,
        "3. Last Refreshed": next(iter(series), ""), "4. Interval": "1min", "5. Output Size": "Full size",
        "6. Time Zone": "US/Eastern",
    }  # fmt: skip
    return _json({"Meta Data": meta, "Time Series (1min)": series}) if series else Told(200, b"{}")


def _polygon(asked: Asked, market: Market, keys: Keys) -> Told:
    (key,) = keys.of()["polygon"]
    if asked.headers.get("authorization") != f"Bearer {key}" and asked.query.get("apiKey") != key:
        return _json({"status": "ERROR", "request_id": "simulated", "error": "Unknown API Key"}, 401)
    found = _POLYGON_BARS.match(asked.path)
    if found is not None:
        bars = market.minutes(found[1], int(found[2]) * NANOS_PER_MILLI, (int(found[3]) + 1) * NANOS_PER_MILLI)
        rows = [
            {
                "v": each.volume, "o": each.open / 100, "c": each.close / 100, "h": each.high / 100, "l": each.low / 100,
                "t": each.open_ns // NANOS_PER_MILLI, "n": each.count,
            }
            for each in bars
        ]  # fmt: skip
        head = {"ticker": found[1], "queryCount": len(rows), "resultsCount": len(rows), "adjusted": False}
        return _json({**head, "results": rows, "status": "OK", "request_id": "simulated", "count": len(rows)})
    found = _POLYGON_EVENTS.match(asked.path)
    kind, symbol = (found[1], found[2]) if found else ("", "")
    start_ns = int(asked.query.get("timestamp.gte", "0"))
    end_ns = (
        int(asked.query["timestamp.lt"]) if "timestamp.lt" in asked.query else int(asked.query.get("timestamp.lte", "9" * 19)) + 1
    )
    skip, limit = int(asked.query.get("cursor", "0")), min(50_000, int(asked.query.get("limit", "1000")))
    around = market.trades(symbol, start_ns - NANOS_PER_MILLI, end_ns)
    trades = [each for each in around if start_ns <= sip_ns(each) < end_ns]
    entry = _polygon_quote if kind == "quotes" else _polygon_trade
    page = [entry(each) for each in trades[skip : skip + limit]]
    told: dict[str, Any] = {"results": page, "status": "OK", "request_id": "simulated"}
    if skip + limit < len(trades):
        words = "&".join(f"{name}={value}" for name, value in asked.query.items() if name not in ("cursor", "apiKey"))
        told["next_url"] = f"{asked.base}{asked.path}?{words}&cursor={skip + limit}"
    return _json(told)


def _polygon_trade(trade: Trade) -> dict[str, Any]:
    return {
        "conditions": [12], "exchange": 11, "id": str(FIRST_ID + trade.number), "participant_timestamp": trade.ts_ns,
        "price": trade.price, "sequence_number": trade.number + 1, "sip_timestamp": sip_ns(trade), "size": trade.size, "tape": 3,
    }  # fmt: skip


def _polygon_quote(trade: Trade) -> dict[str, Any]:
    bid, ask = polygon_sides(trade)
    return {
        "ask_exchange": 15, "ask_price": ask, "ask_size": 5, "bid_exchange": 10, "bid_price": bid, "bid_size": trade.size,
        "participant_timestamp": trade.ts_ns, "sequence_number": trade.number + 1, "sip_timestamp": sip_ns(trade), "tape": 3,
    }  # fmt: skip


def _tiingo(asked: Asked, market: Market, keys: Keys) -> Told:
    (token,) = keys.of()["tiingo"]
    if asked.headers.get("authorization") != f"Token {token}" and asked.query.get("token") != token:
        return _json({"detail": "Please supply a token"}, 403)
    found = _TIINGO.match(asked.path)
    symbol = found[1].upper() if found else ""
    if symbol not in market.tapes:
        return _json({"detail": "Not found."}, 404)
    start_ns, end_ns = (_instant(asked.query[name]) for name in ("startDate", "endDate"))
    if len(asked.query["endDate"]) == len("2026-11-20"):  # a day is meant whole
        end_ns += 86_400 * _SECOND_NS
    return _json(
        [
            {
                "date": at(each.open_ns), "open": each.open / 100, "high": each.high / 100, "low": each.low / 100,
                "close": each.close / 100, "volume": each.volume,
            }
            for each in market.minutes(symbol, start_ns, end_ns)
        ]
    )  # fmt: skip


def _nobody(asked: Asked, market: Market, keys: Keys) -> Told:
    return Told(404, b"Not Found", TEXT)


def _instant(text: str) -> int:
    told = datetime.fromisoformat(text)
    whole = told if told.tzinfo else told.replace(tzinfo=UTC)
    return round(whole.timestamp() * 1_000) * NANOS_PER_MILLI


_PATHS = (
    ("/v8/finance/", "yahoo"),
    ("/api/v3/", "binance"),
    ("/v2/stocks/", "alpaca"),
    ("/api/v1/", "finnhub"),
    ("/query", "alpha_vantage"),
    ("/v3/trades/", "polygon"),
    ("/v3/quotes/", "polygon"),
    ("/v2/aggs/", "polygon"),
    ("/iex/", "tiingo"),
)
_ANSWERS: dict[str, Callable[[Asked, Market, Keys], Told]] = {
    "yahoo": _yahoo,
    "binance": _binance,
    "alpaca": _alpaca,
    "finnhub": _finnhub,
    "alpha_vantage": _alpha_vantage,
    "polygon": _polygon,
    "tiingo": _tiingo,
    "": _nobody,
}
