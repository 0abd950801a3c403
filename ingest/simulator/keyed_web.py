"""The simulator's answers of Alpaca, Finnhub and Alpha Vantage: their paths, key checks and error bodies, recorded payloads.

A request as recorded gets the recorded bytes. Alpaca: another set of symbols gets the recorded rows of those it has, like the
real map without those that have no data; a window without recorded rows, and a page that nobody recorded, are empty.
Source: PROVIDERS.md sections 1, 2 and 6.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ingest.simulator.finnhub_web import finnhub_answer
from ingest.simulator.keyed import Answer, Keys, answers, whole

JSON = "application/json"
ALPACA_PATHS = ("/v2/stocks/", "/v1beta1/options/", "/v1beta3/crypto/", "/v1/corporate-actions", "/v1beta1/news")
_MORE = "next_page_token"
_ALPACA_LISTS = {
    "bars": "bars",
    "trades": "trades",
    "quotes": "quotes",
    "snapshots": "snapshots",
    "corporate-actions": "corporate_actions",
    "news": "news",
}
_TIMEFRAMES = ("Min", "Hour", "Day", "Week", "Month")
_ADJUSTMENTS = {"raw", "split", "dividend", "spin-off", "all"}
_AV_NOT_ASKED = frozenset(
    {"datatype", "outputsize", "adjusted", "extended_hours", "month", "time_from", "time_to", "sort", "limit", "date"}
)
_AV_KEY = "the parameter apikey is invalid or missing. Please claim your free API key on (https://www.alphavantage.co/support/#api-key)."
_AV_CALL = "Invalid API call. Please retry or visit the documentation (https://www.alphavantage.co/documentation/) for {}."
_AV_SLOW = (
    "We have detected your API key as {} and our standard API rate limit is 25 requests per day. Please subscribe to any of the"
    " premium plans at https://www.alphavantage.co/premium/ to instantly remove all daily rate limits."
)
_FINNHUB_SLOW = b"API limit reached. Please try again later. Remaining Limit: 0"


def keyed_routes(keys: Keys) -> list[Route]:
    """Return the routes of the three providers."""

    async def alpaca(request: Request) -> Response:
        return alpaca_answer(request.url.path, request.query_params, request.headers, keys)

    async def finnhub(request: Request) -> Response:
        return finnhub_answer(request.url.path, request.query_params, request.headers, keys)

    async def alpha_vantage(request: Request) -> Response:
        return alpha_vantage_answer(request.query_params, keys)

    return [
        *(Route(path + "{rest:path}", alpaca) for path in ALPACA_PATHS),
        Route("/api/v1/{rest:path}", finnhub),
        Route("/query", alpha_vantage),
    ]


def refusal_body(path: str, status: int, query: Mapping[str, str]) -> tuple[int, bytes, str] | None:
    """Return the (status, body, content type) with which the provider of `path` refuses; None for another provider.

    Alpha Vantage says 429 with HTTP 200, and quotes the key.
    """
    if path == "/query" and status == 429:
        return 200, orjson.dumps({"Information": _AV_SLOW.format(query.get("apikey", ""))}), JSON
    if path.startswith("/api/v1/"):
        if status == 429:
            return 429, _FINNHUB_SLOW, "text/plain"
        return (403, b'{"error":"You don\'t have access to this resource."}', JSON) if status == 403 else None
    if path.startswith(ALPACA_PATHS):
        told = {403: "subscription does not permit querying recent SIP data", 429: "too many requests."}.get(
            status, "internal error"
        )
        return status, orjson.dumps({"code": status * 100_000, "message": told}), JSON
    return None


def alpaca_answer(path: str, query: Mapping[str, str], headers: Mapping[str, str], keys: Keys) -> Response:
    """Return Alpaca's answer to a request."""
    if headers.get("apca-api-key-id") != keys.alpaca_key_id or headers.get("apca-api-secret-key") != keys.alpaca_secret:
        return _alpaca_error(403, 40310000, "forbidden.")
    wrong = _alpaca_wrong(path, query)
    if wrong is not None:
        return wrong
    kind = path.split("/")[-1 if path.rstrip("/").rsplit("/", 1)[-1] in _ALPACA_LISTS else -2]
    envelope = _ALPACA_LISTS.get(kind)
    here = [each for each in answers("alpaca") if each.path == path]
    if envelope is None or (not here and "/snapshots/" not in path):
        return _alpaca_error(404, 40410000, "endpoint not found.")
    wanted = {name for name in query.get("symbols", "").split(",") if name}
    if envelope == "news":
        return _news(here, wanted, query)
    token = query.get("page_token")
    if token is not None:
        tokens = [each.document.get("next_page_token") for each in here]
        following = [each for each in here if "page_token" in each.params]
        found = following[0] if token in tokens and following else None
        return whole(found) if found is not None else _empty(envelope)
    if envelope == "corporate_actions" and wanted:
        return _actions_of(here, wanted)
    best = _best(here, wanted, query, envelope)
    return _empty(envelope) if best is None else best


def _best(here: list[Answer], wanted: set[str], query: Mapping[str, str], envelope: str) -> Response | None:
    """Return the recording of exactly the symbols wanted, else the rows of those that some recording has."""
    pool = [each for each in here if "page_token" not in each.params and _is_in_window(each, query, envelope)]
    if "timeframe" in query:
        pool = [each for each in pool if each.params.get("timeframe") == query["timeframe"]]
    by_name = [(each, _by_name(each, envelope)) for each in pool]
    for each, names in by_name:
        if names and (not wanted or set(names) == wanted):
            return whole(each)
    for _, names in sorted(by_name, key=lambda pair: -len(wanted & set(pair[1]))):
        kept = {name: rows for name, rows in names.items() if name in wanted}
        if kept:
            return Response(orjson.dumps({envelope: kept, _MORE: None}), media_type=JSON)
    return None


def _actions_of(here: list[Answer], wanted: set[str]) -> Response:
    """Return the recorded actions that name a symbol wanted, on one page."""
    kept: dict[str, list[Any]] = {}
    for each in here:
        for kind, entries in _by_name(each, "corporate_actions").items():
            mine = [entry for entry in entries if wanted & {told for key, told in entry.items() if key.endswith("symbol")}]
            kept[kind] = kept.get(kind, []) + mine
    return Response(orjson.dumps({"corporate_actions": {k: v for k, v in kept.items() if v}, _MORE: None}), media_type=JSON)


def _news(here: list[Answer], wanted: set[str], query: Mapping[str, str]) -> Response:
    """Return the recorded page that is asked for, with the articles of the window that name a symbol wanted."""
    pages = sorted(here, key=lambda each: each.document[_MORE] is None)  # the page without a token ends them
    tokens = [each.document[_MORE] for each in pages]
    asked = query.get("page_token")
    at = 0 if asked is None else tokens.index(asked) + 1 if asked in tokens else len(pages)
    if at >= len(pages):
        return Response(orjson.dumps({"news": [], _MORE: None}), media_type=JSON)
    page = pages[at]
    start, end = query.get("start", ""), query.get("end", "9999")
    told = page.document["news"]
    kept = [one for one in told if (not wanted or wanted & set(one["symbols"])) and start <= one["updated_at"] <= end]
    return whole(page) if kept == told else Response(orjson.dumps({"news": kept, _MORE: page.document[_MORE]}), media_type=JSON)


def _by_name(answer: Answer, envelope: str) -> dict[str, Any]:
    found = answer.document.get(envelope, answer.document if envelope == "snapshots" else {})
    return dict(found) if isinstance(found, dict) else {}


def _is_in_window(answer: Answer, query: Mapping[str, str], envelope: str) -> bool:
    if envelope == "corporate_actions":
        return True
    rows = [row for rows in _by_name(answer, envelope).values() if isinstance(rows, list) for row in rows]
    start, end = query.get("start", ""), query.get("end", "9999")
    return not rows or any(start <= row["t"] <= end for row in rows)


def _alpaca_wrong(path: str, query: Mapping[str, str]) -> Response | None:
    if path.endswith("/bars") and "/latest/" not in path and not query.get("timeframe", "").endswith(_TIMEFRAMES):
        return _alpaca_error(400, 40010000, f"invalid timeframe: {query.get('timeframe', '')}")
    adjustments = query.get("adjustment", "raw").split(",")
    if set(adjustments) - _ADJUSTMENTS or len(set(adjustments)) != len(adjustments):
        return _alpaca_error(400, 40010000, f"invalid adjustment: {query['adjustment']}")
    if not 1 <= int(query.get("limit", "1000") if query.get("limit", "1000").isdigit() else 0) <= 10_000:
        return _alpaca_error(422, 42210000, "invalid limit")
    bad = [name for name in query.get("symbols", "").split(",") if name and not name.replace("/", "").replace(".", "").isalnum()]
    return _alpaca_error(400, 40010000, f"invalid symbol: {bad[0]}") if bad else None


def _alpaca_error(status: int, code: int, message: str) -> Response:
    return Response(orjson.dumps({"code": code, "message": message}), status, {"x-request-id": "simulated"}, media_type=JSON)


def _empty(envelope: str) -> Response:
    return Response(orjson.dumps({envelope: {}, _MORE: None}), media_type=JSON)


def alpha_vantage_answer(query: Mapping[str, str], keys: Keys) -> Response:
    """Return Alpha Vantage's answer; whatever is wrong, the status is 200."""
    if query.get("apikey") != keys.alpha_vantage_key:
        return Response(orjson.dumps({"Error Message": _AV_KEY}), media_type=JSON)
    wanted = {name: value for name, value in query.items() if name not in _AV_NOT_ASKED | {"apikey"}}
    pool = [
        each for each in answers("alpha_vantage") if {k: v for k, v in each.params.items() if k not in _AV_NOT_ASKED} == wanted
    ]
    datatype = query.get("datatype", "json")
    pool = [
        each for each in pool if each.params.get("datatype", "json") == datatype or each.body.startswith(b'{\n    "Information')
    ]
    sized = [each for each in pool if each.params.get("outputsize") == query.get("outputsize")] or pool
    if not sized:
        return Response(orjson.dumps({"Error Message": _AV_CALL.format(wanted.get("function", ""))}), media_type=JSON)
    found = max(sized, key=lambda each: len(each.body))
    month = query.get("month")
    return Response(b"{}", media_type=JSON) if month and month.encode() not in found.body else whole(found)
