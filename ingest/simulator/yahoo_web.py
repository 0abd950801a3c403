"""The simulator's other answers of Yahoo: cookie and crumb, quotes, chains of options, searches, a screener.

A request as recorded gets the recorded bytes. Other sets of symbols get the recorded quotes of those there are, in the order
asked; an expiration that nobody recorded gets what Yahoo says of one without contracts. Source: PROVIDERS.md section 5.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ingest.simulator.keyed import Answer, answers, whole

JSON = "application/json;charset=utf-8"
YAHOO_PATHS = ("/v7/finance/", "/v8/finance/", "/v1/finance/", "/v1/test/getcrumb")
COOKIE = "A3=d=simulated-cookie-of-yahoo-0000"
CRUMB = "simulated.Cr/umb0"
_QUOTE, _OPTIONS, _SEARCH = "/v7/finance/quote", "/v7/finance/options/", "/v1/finance/search"
_SCREENER = "/v1/finance/screener/predefined/saved"


_CONSENT = (
    b'<!DOCTYPE html><html lang="de"><head><title>Yahoo ist Teil der Yahoo Markenfamilie</title></head><body>'
    b'<form method="post" class="consent-form" action="/v2/collectConsent?sessionId=3_cc-session_simulated">'
    b'<input type="hidden" name="csrfToken" value="simulated"><button type="submit" name="agree" value="agree">Alle'
    b" akzeptieren</button></form></body></html>"
)
"""Made by its words: nobody gave a recording away."""


def yahoo_routes() -> list[Route]:
    """Return the routes of what is not a chart."""

    async def cookie(request: Request) -> Response:
        return Response(b"", 404, {"set-cookie": f"{COOKIE}; Path=/; HttpOnly; SameSite=None"})

    async def answer(request: Request) -> Response:
        return yahoo_answer(request.url.path, request.query_params, request.headers)

    paths = ("/v1/test/getcrumb", _QUOTE, _OPTIONS + "{symbol}", _SEARCH, _SCREENER)
    return [Route("/", cookie), *(Route(path, answer) for path in paths)]


def yahoo_refusal(path: str, status: int) -> tuple[int, bytes, str] | None:
    """Return the (status, body, content type) with which Yahoo refuses: a session, or (200) by a form that asks for consent."""
    if path != "/" and not path.startswith(YAHOO_PATHS):
        return None
    if status == 200:
        return 200, _CONSENT, "text/html"
    return (401, _refused("Unauthorized", "Invalid Crumb"), JSON) if status == 401 else None


def yahoo_answer(path: str, query: Mapping[str, str], headers: Mapping[str, str]) -> Response:
    """Return Yahoo's answer to a request."""
    if "mozilla/" not in headers.get("user-agent", "").lower():
        return Response(b"Too Many Requests\r\n", 429, media_type="text/plain")
    has_cookie = COOKIE in headers.get("cookie", "")
    if path == "/v1/test/getcrumb":
        return Response(CRUMB, media_type="text/plain") if has_cookie else _error(401, "Unauthorized", "Invalid Cookie")
    if path != _SEARCH and not (has_cookie and query.get("crumb") == CRUMB):
        return _error(401, "Unauthorized", "Invalid Crumb")
    here = [each for each in answers("yahoo") if each.path == path]
    if path == _QUOTE:
        return _quotes(here, [name for name in query.get("symbols", "").split(",") if name])
    if path.startswith(_OPTIONS):
        return _chain(here, query.get("date"))
    word = "q" if path == _SEARCH else "scrIds"
    found = next((each for each in here if each.params.get(word, "").lower() == query.get(word, "").lower()), None)
    if found is not None:
        return whole(found)
    if path == _SEARCH:
        return Response(orjson.dumps({"explains": [], "count": 0, "quotes": [], "news": []}), media_type=JSON)
    return _error(404, "Not Found", f"No screener with id: {query.get(word, '')}")


def _quotes(here: list[Answer], symbols: list[str]) -> Response:
    exact = next((each for each in here if each.params["symbols"].split(",") == symbols), None)
    if exact is not None:
        return whole(exact)
    told = {quote["symbol"]: quote for each in here for quote in each.document["quoteResponse"]["result"]}
    results = [told[symbol] for symbol in dict.fromkeys(symbols) if symbol in told]
    return Response(orjson.dumps({"quoteResponse": {"result": results, "error": None}}), media_type=JSON)


def _chain(here: list[Answer], date: str | None) -> Response:
    exact = next((each for each in here if each.params.get("date") == date), None)
    if exact is not None:
        return whole(exact)
    if not here:
        return Response(orjson.dumps({"optionChain": {"result": [], "error": None}}), media_type=JSON)
    (known,) = here[0].document["optionChain"]["result"]
    told: dict[str, Any] = known | {"options": []}
    if date is None or date.isdigit():
        day = known["expirationDates"][0] if date is None else int(date)
        told["options"] = [{"expirationDate": day, "hasMiniOptions": False, "calls": [], "puts": []}]
    return Response(orjson.dumps({"optionChain": {"result": [told], "error": None}}), media_type=JSON)


def _refused(code: str, description: str) -> bytes:
    return orjson.dumps({"finance": {"result": None, "error": {"code": code, "description": description}}})


def _error(status: int, code: str, description: str) -> Response:
    return Response(_refused(code, description), status, media_type=JSON)
