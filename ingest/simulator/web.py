"""The simulator's HTTP side: Yahoo's chart API, with its own paths, headers and error bodies, and what goes wrong.

Yahoo's other answers: `yahoo_web.py`; Binance: `binance_web.py`; providers that want a key: `keyed_web.py`,
`polygon_web.py`, `tiingo_web.py`; files: `files_web.py`.

A chart is chosen by symbol, interval and window. The recorded window gets the recorded bytes and Date exactly. Another
window gets the recording of that symbol and interval that overlaps it most, whole: wider or narrower than asked, never
cut. A window that overlaps none gets Yahoo's error for dates without data. Source: PROVIDERS.md section 5.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from urllib.parse import parse_qsl

import orjson
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from ingest.providers.yahoo import INTERVALS
from ingest.simulator.binance_web import binance_refusal, binance_routes
from ingest.simulator.faults import Faults, HttpFault, Market, garbled_body
from ingest.simulator.files_web import databento_refusal, file_routes
from ingest.simulator.keyed import Keys
from ingest.simulator.keyed_web import keyed_routes, refusal_body
from ingest.simulator.polygon_web import polygon_refusal, polygon_routes
from ingest.simulator.recorded import Chart, charts
from ingest.simulator.report import FaultReport
from ingest.simulator.tiingo_web import tiingo_refusal, tiingo_routes
from ingest.simulator.yahoo_web import yahoo_refusal, yahoo_routes

JSON = "application/json;charset=utf-8"
_MINUTE_WINDOW_S = 8 * 86_400
_RETRY_TEXT = {429: b"Too Many Requests\r\n", 500: b"Internal Server Error", 502: b"Bad Gateway", 503: b"Service Unavailable"}


def web_app(
    faults: Faults,
    report: FaultReport,
    markets: Sequence[Market],
    excerpt: int | None,
    sleep: Callable[[float], Awaitable[None]],
    keys: Keys,
) -> ASGIApp:
    """Return the ASGI app; `sleep` is awaited by slow answers."""

    async def chart(request: Request) -> Response:
        return chart_answer(request.path_params["symbol"], request.query_params, request.headers)

    routes = [Route("/v8/finance/chart/{symbol:path}", chart), *_routes(markets, excerpt, keys)]
    return _Misbehaving(Starlette(routes=routes), faults, report, sleep)


def _routes(markets: Sequence[Market], excerpt: int | None, keys: Keys) -> list[Route]:
    return [
        *keyed_routes(keys),
        *binance_routes(markets, excerpt),
        *polygon_routes(keys),
        *tiingo_routes(keys),
        *file_routes(keys),
        *yahoo_routes(),
    ]


def refusal_of(path: str, status: int, query: Mapping[str, str]) -> tuple[int, bytes, str] | None:
    """Return how the provider whose path it is says a status; None where it says it as anybody does."""
    of_paths = (binance_refusal, polygon_refusal, tiingo_refusal, databento_refusal, yahoo_refusal)
    return next((told for each in of_paths if (told := each(path, status))), None) or refusal_body(path, status, query)


def chart_answer(symbol: str, query: Mapping[str, str], headers: Mapping[str, str]) -> Response:
    """Return Yahoo's answer about bars of a symbol."""
    if "mozilla/" not in headers.get("user-agent", "").lower():
        return Response(b"Too Many Requests\r\n", 429, media_type="text/plain")
    of_symbol = [each for each in charts() if each.symbol.upper() == symbol.upper()]
    if not of_symbol:
        return _error(404, "Not Found", "No data found, symbol may be delisted")
    interval = query.get("interval", "1d")
    if interval not in INTERVALS:
        return _error(
            422,
            "Unprocessable Entity",
            f"Invalid input - interval={interval} is not supported. Valid intervals: [{', '.join(INTERVALS)}]",
        )
    start, end = query.get("period1", ""), query.get("period2", "")
    if not (start.isdigit() and end.isdigit()) or int(start) >= int(end):
        return _error(
            400,
            "Bad Request",
            f"Invalid input - start date cannot be after end date. startDate = {start}, endDate = {end}",
        )
    if interval == "1m" and int(end) - int(start) > _MINUTE_WINDOW_S:
        return _error(
            422,
            "Unprocessable Entity",
            f"1m data not available for startTime={start} and endTime={end}. Only 8 days worth of 1m granularity data are allowed"
            " to be fetched per request.",
        )
    found = _nearest([each for each in of_symbol if each.interval == interval], int(start), int(end))
    if found is None:
        return _error(400, "Bad Request", f"Data doesn't exist for startDate = {start}, endDate = {end}")
    dated = {"date": found.date} if found.date is not None else {}
    return Response(found.body, found.status, {**dated, "content-type": found.content_type})


def _nearest(recorded: list[Chart], start_s: int, end_s: int) -> Chart | None:
    overlaps = [(min(each.end_s, end_s) - max(each.start_s, start_s), each) for each in recorded]
    exact = [each for each in recorded if (each.start_s, each.end_s) == (start_s, end_s)]
    if exact:
        return exact[0]
    longest = max((overlap for overlap, _ in overlaps), default=0)
    return next((each for overlap, each in overlaps if overlap == longest > 0), None)


def _error(status: int, code: str, description: str) -> Response:
    body = {"chart": {"result": None, "error": {"code": code, "description": description}}}
    return Response(orjson.dumps(body), status, media_type=JSON)


class _Misbehaving:
    """Wraps an app and lets its answers go wrong as planned."""

    def __init__(self, app: ASGIApp, faults: Faults, report: FaultReport, sleep: Callable[[float], Awaitable[None]]) -> None:
        self._app, self._report, self._sleep = app, report, sleep
        self._seed = faults.seed
        self._plan = [[fault, 0] for fault in faults.http]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        path = str(scope["path"])
        fault = self._next_fault(path)
        if fault is None:
            await self._app(scope, receive, send)
            return
        self._report.did(fault.kind, path=path, **({"status": fault.status} if fault.kind == "status" else {}))
        if fault.kind == "status":
            waits = {} if fault.retry_after_s is None else {"retry-after": f"{fault.retry_after_s:g}"}
            query = dict(parse_qsl(bytes(scope["query_string"]).decode("latin-1")))
            own = refusal_of(path, fault.status, query)
            status, body, kind = own or (fault.status, _RETRY_TEXT.get(fault.status, b"Error"), "text/plain")
            await Response(body, status, waits, media_type=kind)(scope, receive, send)
            return
        if fault.kind == "slow":
            await self._sleep(fault.delay_s)
            await self._app(scope, receive, send)
            return
        await self._spoilt(fault, scope, receive, send)

    def _next_fault(self, path: str) -> HttpFault | None:
        for each in self._plan:
            fault, seen = each
            if isinstance(fault, HttpFault) and isinstance(seen, int) and fault.path in path:
                each[1] = seen + 1
                if fault.skip <= seen < fault.skip + fault.times:
                    return fault
        return None

    async def _spoilt(self, fault: HttpFault, scope: Scope, receive: Receive, send: Send) -> None:
        answer: list[Mapping[str, object]] = []

        async def keep(message: Mapping[str, object]) -> None:
            answer.append(message)

        await self._app(scope, receive, keep)
        body = b"".join(bytes(message.get("body", b"")) for message in answer[1:])  # type: ignore[call-overload]  # ASGI: bytes
        await send(dict(answer[0]))
        if fault.kind == "garble":
            await send({"type": "http.response.body", "body": garbled_body(body, self._seed)})
            return
        # The head promises the whole length: ending here makes the server close the connection within the body.
        await send({"type": "http.response.body", "body": body[: len(body) // 2], "more_body": True})
        await asyncio.sleep(0)
