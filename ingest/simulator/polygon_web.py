"""The simulator's answers of Polygon: key checks, pages, error bodies, recorded payloads.

Another ticker than the recorded one gets what Polygon says of a ticker without rows; a page that nobody recorded is the last.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ingest.simulator.keyed import Answer, Keys, answers, whole

JSON = "application/json"
POLYGON_PATHS = (
    "/v2/aggs/", "/v2/last/", "/v2/snapshot/", "/v3/trades/", "/v3/quotes/", "/v3/snapshot/options/", "/v3/reference/"
)  # fmt: skip
_RANGE = re.compile(r"(/v2/aggs/ticker/([^/]+)/range/\d+/[a-z]+/)")
_ID = "simulated0000000000000000000000"
_SLOW = (
    "You've exceeded the maximum requests per minute, please wait or upgrade your subscription to continue."
    " https://polygon.io/pricing"
)
_NOT_YOURS = "You are not entitled to this data. Please upgrade your plan at https://polygon.io/pricing"


def polygon_routes(keys: Keys) -> list[Route]:
    """Return Polygon's routes."""

    async def answer(request: Request) -> Response:
        return polygon_answer(request.url.path, request.query_params, request.headers, keys)

    return [Route(path + "{rest:path}", answer) for path in POLYGON_PATHS]


def polygon_refusal(path: str, status: int) -> tuple[int, bytes, str] | None:
    """Return the (status, body, content type) with which Polygon refuses; None for another provider's path."""
    if not path.startswith(POLYGON_PATHS) or status not in (403, 429):
        return None
    if status == 403:
        return status, orjson.dumps({"status": "NOT_AUTHORIZED", "request_id": _ID, "message": _NOT_YOURS}), JSON
    return status, orjson.dumps({"status": "ERROR", "request_id": _ID, "error": _SLOW}), JSON


def polygon_answer(path: str, query: Mapping[str, str], headers: Mapping[str, str], keys: Keys) -> Response:
    """Return Polygon's answer to a request."""
    if headers.get("authorization") != f"Bearer {keys.polygon_key}" and query.get("apiKey") != keys.polygon_key:
        return _json({"status": "ERROR", "request_id": _ID, "error": "Unknown API Key"}, 401)
    here = [each for each in answers("polygon") if _same(each.path, path)]
    if "cursor" in query:
        found = next((each for each in here if each.params.get("cursor") == query["cursor"]), None)
        return _empty() if found is None else whole(found)
    here = [each for each in here if "cursor" not in each.params]
    if path.startswith("/v3/reference/") and here:
        return _of_ticker(here[0], query.get("ticker"))
    if here:
        return whole(here[0])
    if path.startswith(("/v2/last/", "/v2/snapshot/")):
        return _json({"status": "NOT_FOUND", "request_id": _ID, "message": "Ticker not found."}, 404)
    ranged = _RANGE.match(path)
    if ranged is not None:
        counts = {"ticker": ranged[2], "queryCount": 0, "resultsCount": 0, "adjusted": query.get("adjusted") != "false"}
        return _json({**counts, "status": "OK", "request_id": _ID})
    return _empty()


def _same(recorded: str, path: str) -> bool:
    """Return whether a recorded path answers one that is asked: of a range, the same ticker and span, whatever the days."""
    ours, theirs = _RANGE.match(recorded), _RANGE.match(path)
    return ours[1] == theirs[1] if ours is not None and theirs is not None else recorded == path


def _of_ticker(answer: Answer, ticker: str | None) -> Response:
    """Return a recorded list whole, or its entries of one ticker on one page."""
    if ticker is None:
        return whole(answer)
    found = answer.document
    kept = [entry for entry in found["results"] if entry["ticker"] == ticker]
    return _json({"results": kept, "status": "OK", "request_id": _ID})


def _empty() -> Response:
    return _json({"results": [], "status": "OK", "request_id": _ID})


def _json(document: Any, status: int = 200) -> Response:
    return Response(orjson.dumps(document), status, media_type=JSON)
