"""The simulator's answers of Finnhub: token checks, recorded quotes, and the rest made after the documentation.

A path that is known and whose symbol, exchange or base nobody recorded gets an empty answer of its kind; days are not looked at.
Source: PROVIDERS.md section 2.
"""

from __future__ import annotations

from collections.abc import Mapping

from starlette.responses import Response

from ingest.simulator.keyed import Keys, answers, whole

JSON = "application/json"
_ZEROS = b'{"c":0,"d":null,"dp":null,"h":0,"l":0,"o":0,"pc":0,"t":0}'
_EMPTY = {
    "/api/v1/quote": _ZEROS,
    "/api/v1/stock/candle": b'{"s":"no_data"}',
    "/api/v1/stock/market-status": b'{"error":"Wrong exchange"}',
    "/api/v1/forex/rates": b'{"error":"Wrong base"}',
}
_NAMES = ("symbol", "exchange", "base")
"""Parameters that say about whom."""


def finnhub_answer(path: str, query: Mapping[str, str], headers: Mapping[str, str], keys: Keys) -> Response:
    """Return Finnhub's answer to a request."""
    token = headers.get("x-finnhub-token", query.get("token", ""))
    if not token:
        told = "API limit reached. Please sign up for a free account to continue using the API."
        return Response(told, 429, media_type="text/plain")
    refused, *others = sorted(answers("finnhub"), key=lambda each: each.status, reverse=True)
    if token != keys.finnhub_token:
        return whole(refused)
    here = [each for each in others if each.path == path]
    wanted = {name: query[name] for name in _NAMES if name in query}
    found = next((each for each in here if each.params == wanted), None)
    if found is not None:
        return whole(found)
    if here or path in _EMPTY:
        is_list = bool(here) and isinstance(here[0].document, list)
        return Response(_EMPTY.get(path, b"[]" if is_list else b'{"data":[]}'), media_type=JSON)
    return Response(b'{"error":"This API does not exist."}', 404, media_type=JSON)
