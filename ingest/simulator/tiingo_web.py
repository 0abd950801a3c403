"""The simulator's answers of Tiingo: token checks, error bodies, recorded payloads.

A symbol and frequency as recorded gets the recorded bytes, whatever its days; newest quotes of stocks and prices of currencies,
which nobody recorded, are made after the documentation.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ingest.simulator.keyed import Answer, Keys, answers, whole

JSON = "application/json"
TIINGO_PATHS = ("/tiingo/", "/iex")
_SPENT = (
    "You have run over your 500 symbol look up for this month. Please upgrade at https://api.tiingo.com/pricing to have your"
    " limits increased."
)
_SLOW = "Error: You have run over your hourly request allocation. Then please upgrade at https://api.tiingo.com/pricing"
_PAIRS: dict[str, list[dict[str, Any]]] = {
    "eurusd": [
        {
            "date": "2019-07-01T00:00:00.000Z",
            "ticker": "eurusd",
            "open": 1.13725,
            "high": 1.13735,
            "low": 1.1281,
            "close": 1.12865,
        },
        {"date": "2019-07-02T00:00:00.000Z", "ticker": "eurusd", "open": 1.12865, "high": 1.1322, "low": 1.1275, "close": 1.1286},
    ]
}
_TOPS: dict[str, dict[str, Any]] = {
    "eurusd": {
        "ticker": "eurusd", "quoteTimestamp": "2019-07-02T21:00:01.289000+00:00", "bidPrice": 1.1285, "bidSize": 100000.0,
        "askPrice": 1.1287, "askSize": 100000.0, "midPrice": 1.1286,
    },
}  # fmt: skip
_QUOTES: dict[str, dict[str, Any]] = {
    "GOOGL": {
        "ticker": "GOOGL", "timestamp": "2018-01-02T20:59:59.12345678Z", "quoteTimestamp": "2018-01-02T20:59:59.12345678Z",
        "lastSaleTimeStamp": "2018-01-02T20:59:58.1Z", "last": 1073.21, "lastSize": 100, "tngoLast": 1073.25, "prevClose": 1053.4,
        "open": 1057.47, "high": 1075.98, "low": 1053.02, "mid": 1073.255, "volume": 1307, "bidSize": 100, "bidPrice": 1073.11,
        "askSize": 200, "askPrice": 1073.4,
    },
}  # fmt: skip


def tiingo_routes(keys: Keys) -> list[Route]:
    """Return Tiingo's routes."""

    async def answer(request: Request) -> Response:
        return tiingo_answer(request.url.path, request.query_params, request.headers, keys)

    return [Route(path, answer) for path in ("/tiingo/{rest:path}", "/iex", "/iex/{rest:path}")]


def tiingo_refusal(path: str, status: int) -> tuple[int, bytes, str] | None:
    """Return the (status, body, content type) with which Tiingo refuses; None for another provider's path.

    429 stands for the hour's quota, 402 for the month's symbols, which comes with HTTP 200.
    """
    if not path.startswith(TIINGO_PATHS):
        return None
    if status == 429:
        return 429, orjson.dumps({"detail": _SLOW}), JSON
    if status == 402:
        return 200, _SPENT.encode(), "text/html"
    return (403, b'{"detail":"You do not have permission to perform this action."}', JSON) if status == 403 else None


def tiingo_answer(path: str, query: Mapping[str, str], headers: Mapping[str, str], keys: Keys) -> Response:
    """Return Tiingo's answer to a request."""
    if headers.get("authorization") != f"Token {keys.tiingo_token}" and query.get("token") != keys.tiingo_token:
        return _json({"detail": "Invalid token."}, 401)
    symbols = [name for name in query.get("tickers", "").split(",") if name]
    if path == "/iex":
        return _json([_QUOTES[name] for name in symbols if name in _QUOTES])
    if path == "/tiingo/fx/top":
        return _json([_TOPS[name] for name in symbols if name in _TOPS])
    if path.startswith("/tiingo/fx/"):
        return _json(_PAIRS.get(path.split("/")[3], []))
    here = [each for each in answers("tiingo") if each.path == path and _is_as_asked(each, query)]
    if path.startswith("/tiingo/crypto/"):
        return _pairs(here, symbols)
    if here:
        return whole(here[0])
    known = {each.path for each in answers("tiingo")}
    if path not in known:
        symbol = path.split("/")[-2]
        return _json({"detail": f"Error: Ticker '{symbol}' not found"}, 404)
    return _json([])


def _is_as_asked(answer: Answer, query: Mapping[str, str]) -> bool:
    ours, theirs = answer.params.get("resampleFreq", ""), query.get("resampleFreq", "")
    return not ours or ours.lower() == theirs.lower()


def _pairs(here: list[Answer], symbols: list[str]) -> Response:
    """Return the recorded pairs that are asked for."""
    if not here:
        return _json([])
    kept = [pair for pair in here[0].document if pair["ticker"] in symbols]
    return whole(here[0]) if len(kept) == len(here[0].document) else _json(kept)


def _json(document: Any, status: int = 200) -> Response:
    return Response(orjson.dumps(document), status, media_type=JSON)
