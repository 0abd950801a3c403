"""The simulated day behind real sockets: streams in the day's pace, answers by HTTP, and the storm's incidents.

Whatever was pushed whole to a living socket, and every call, is counted (`/_day`): a checker asks the simulator what could be
had, not us what we have.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from typing import Any
from urllib.parse import parse_qs, urlsplit

import orjson
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from ingest.simulator.day.answers import Asked, Market, Told, answer, provider_of
from ingest.simulator.day.incidents import Incident
from ingest.simulator.day.tape import MINUTE_NS, Bar, Day, Tape, Trade
from ingest.simulator.day.wires import FRAMES, frames_of
from ingest.simulator.faults import garbled_body, garbled_text
from ingest.simulator.keyed import Keys
from ingest.simulator.keyed_web import refusal_body
from ingest.transport.websocket import END_OF_RECORDING
from lake.instants import NANOS_PER_SECOND, Clock

HOST = "127.0.0.1"
STOCKS = ("AAPL", "MSFT")
SYMBOLS = {"binance": ("BTCUSDT",), "alpaca": STOCKS, "finnhub": STOCKS, "polygon": STOCKS}
"""What each provider that pushes tells of."""
_TRADES = frozenset({"T"})
"""The one channel of those who push trades only, in Polygon's words; it also has Q, quotes, and AM, minutes."""
_REFUSALS = {
    429: b"Too Many Requests\r\n",
    503: b"",
    403: b"",
    400: b'{"chart":{"result":null,"error":{"code":"Bad Request","description":"Invalid input"}}}',
}
"""Of Yahoo, and of whom nothing better is known."""
_STATUSES = {"throttled": 429, "server_error": 503, "misunderstood": 400, "forbidden": 403}
_LATE_S = 11.0
_NEVER_S = 3_600.0


class DayServer:
    """One simulated day. `sleep` is of the day's clock."""

    def __init__(
        self, day: Day, incidents: Sequence[Incident], keys: Keys, *, clock: Clock, sleep: Callable[[float], Awaitable[None]]
    ) -> None:
        self._day, self._keys, self._clock, self._sleep = day, keys, clock, sleep
        self._tapes = {symbol: Tape(day, symbol) for symbol in day.symbols}
        self._http = [each for each in incidents if each.part == "http"]
        self._stream = [each for each in incidents if each.part == "stream"]
        self._instant_done: set[int] = set()
        self._met: Counter[int] = Counter()
        self._pushed: dict[str, Counter[str]] = {provider: Counter() for provider in FRAMES}
        self._calls: list[tuple[str, str, int, int]] = []
        self._connections: Counter[str] = Counter()
        self._open: dict[str, set[ServerConnection]] = {provider: set() for provider in FRAMES}
        self._channels: dict[ServerConnection, frozenset[str]] = {}

    async def run(self, told: Callable[[dict[str, str]], None], stop: asyncio.Event) -> None:
        """Serve until `stop`; `told` is called once with the addresses."""
        servers = {
            provider: await serve(self._handler(provider), HOST, 0, compression=None, close_timeout=1.0, process_request=None)
            for provider in FRAMES
        }
        addresses = {provider: f"ws://{HOST}:{next(iter(each.sockets)).getsockname()[1]}" for provider, each in servers.items()}
        addresses["spot"] = addresses["binance"]
        config = uvicorn.Config(
            self._app(), host=HOST, port=0, log_level="critical", lifespan="off", timeout_graceful_shutdown=1
        )  # fmt: skip
        web = uvicorn.Server(config)
        serving = asyncio.create_task(web.serve())
        while not web.started:
            await asyncio.sleep(0.01)
        addresses["http"] = f"http://{HOST}:{web.servers[0].sockets[0].getsockname()[1]}"
        told(addresses)
        await stop.wait()
        web.should_exit = True
        for each in servers.values():
            each.close()
        await serving

    def report(self) -> dict[str, Any]:
        """Return what was pushed (provider -> symbol/number -> times), every call, connections, incidents met."""
        return {
            "pushed": {provider: dict(counts) for provider, counts in self._pushed.items()},
            "calls": self._calls,
            "connections": dict(self._connections),
            "met": dict(self._met),
        }

    # --- HTTP

    def _app(self) -> Starlette:
        async def day(request: Request) -> Response:
            return Response(orjson.dumps(self.report(), option=orjson.OPT_NON_STR_KEYS), media_type="application/json")

        async def any_path(request: Request) -> Response:
            return await self._answered(request)

        return Starlette(routes=[Route("/_day", day), Route("/{path:path}", any_path)])

    async def _answered(self, request: Request) -> Response:
        now_ns = self._clock()
        asked = Asked(request.url.path, dict(request.query_params), dict(request.headers), str(request.base_url).rstrip("/"))
        provider = provider_of(asked.path)
        told = answer(asked, Market(self._tapes, now_ns), self._keys)
        wrong = next((each for each in self._http if each.whom == provider and each.is_on(now_ns)), None)
        if wrong is not None:
            self._met[wrong.number] += 1
            told = await self._spoilt(wrong, asked, told)
        self._calls.append((provider, asked.path, now_ns, told.status))
        headers = {"content-length": str(len(told.body) * 2)} if wrong is not None and wrong.kind == "truncated" else None
        if headers is not None:
            return _Broken(told.body, told.status, headers, media_type=told.media_type)
        return Response(told.body, told.status, media_type=told.media_type)

    async def _spoilt(self, wrong: Incident, asked: Asked, told: Told) -> Told:
        if wrong.kind in _STATUSES:
            status = _STATUSES[wrong.kind]
            own = refusal_body(asked.path, status, asked.query)
            return Told(*own) if own is not None else Told(status, _REFUSALS[status], "text/plain")
        if wrong.kind in ("slow", "no_answer"):
            await self._sleep(_LATE_S if wrong.kind == "slow" else _NEVER_S)
            return told
        bodies = {
            "truncated": told.body[: len(told.body) // 2],
            "garbled": garbled_body(told.body, wrong.number),
            "outage_page": b"<!DOCTYPE html><html><body><h1>Will be right back</h1></body></html>",
            "empty_body": b"",
            "error_in_200": b'{"Information":"We are down for maintenance","error":"temporarily unavailable"}',
        }
        return Told(200, bodies[wrong.kind], "text/html" if wrong.kind == "outage_page" else told.media_type)

    # --- sockets

    def _handler(self, provider: str) -> Callable[[ServerConnection], Awaitable[None]]:
        async def handle(connection: ServerConnection) -> None:
            self._connections[provider] += 1
            try:
                if await self._is_refused(provider, connection):
                    return
                wanted = await self._greeted(provider, connection)
                self._open[provider].add(connection)
                listening = asyncio.create_task(_drained(connection))
                try:
                    await self._push(provider, connection, wanted)
                finally:
                    listening.cancel()
                    self._open[provider].discard(connection)
                    self._channels.pop(connection, None)
            except ConnectionClosed:
                return  # the client went away, at any time it likes

        return handle

    async def _is_refused(self, provider: str, connection: ServerConnection) -> bool:
        for each in self._now(provider):
            if each.kind == "refused":
                self._met[each.number] += 1
                connection.transport.abort()
                return True
            if each.kind == "limited" and provider == "alpaca":
                self._met[each.number] += 1
                await connection.send('[{"T":"success","msg":"connected"}]')
                await connection.recv()
                await connection.send('[{"T":"error","code":406,"msg":"connection limit exceeded"}]')
                await connection.close(1000, "connection limit exceeded")
                return True
        return False

    async def _greeted(self, provider: str, connection: ServerConnection) -> set[str]:
        """Go through the provider's handshake; return the symbols asked for."""
        target = urlsplit(connection.request.path if connection.request is not None else "/")
        if provider == "binance":
            names = [name for part in parse_qs(target.query).get("streams", []) for name in part.split("/")]
            return {name.partition("@")[0].upper() for name in names if name.endswith("@trade")}
        if provider == "finnhub":
            wanted = {str(orjson.loads(await connection.recv()).get("symbol"))}
            while len(wanted) < len(SYMBOLS["finnhub"]):
                try:
                    wanted.add(str(orjson.loads(await asyncio.wait_for(connection.recv(), 0.2)).get("symbol")))
                except TimeoutError:
                    break
            return wanted
        hello: dict[str, tuple[str, str]] = {
            "alpaca": ('[{"T":"success","msg":"connected"}]', '[{"T":"success","msg":"authenticated"}]'),
            "polygon": (
                '[{"ev":"status","status":"connected","message":"Connected Successfully"}]',
                '[{"ev":"status","status":"auth_success","message":"authenticated"}]',
            ),
        }
        connected, authenticated = hello[provider]
        await connection.send(connected)
        await connection.recv()
        await connection.send(authenticated)
        asked = orjson.loads(await connection.recv())
        if provider == "polygon":
            names = str(asked.get("params", "")).split(",")
            for name in names:
                told = {"ev": "status", "status": "success", "message": f"subscribed to: {name}"}
                await connection.send(orjson.dumps([told]).decode())
            self._channels[connection] = frozenset(name.partition(".")[0] for name in names)
            return {name.partition(".")[2] for name in names}
        await connection.send(orjson.dumps([{"T": "subscription", "trades": asked.get("trades", [])}]).decode())
        return set(asked.get("trades", []))

    async def _push(self, provider: str, connection: ServerConnection, wanted: set[str]) -> None:
        channels = self._channels.get(connection, _TRADES)
        tapes = [self._tapes[symbol] for symbol in wanted & set(self._tapes)]
        told: list[tuple[int, str, Trade | Bar]] = [(trade.ts_ns, tape.symbol, trade) for tape in tapes for trade in tape.trades]
        if "AM" in channels:
            minutes = [(tape.symbol, bar) for tape in tapes for bar in tape.minutes(self._day.open_ns, self._day.close_ns)]
            told += [(bar.open_ns + MINUTE_NS, symbol, bar) for symbol, bar in minutes]
        began_ns = self._clock()
        for ts_ns, symbol, each in sorted(told, key=lambda one: one[:2]):
            if ts_ns < began_ns:
                continue
            wait_ns = ts_ns - self._clock()
            if wait_ns > 0:
                await self._sleep(wait_ns / NANOS_PER_SECOND)
            for frame in frames_of(provider, symbol, each, channels):
                if not await self._sent(provider, connection, symbol, frame, each):
                    return
        while self._clock() < self._day.close_ns:
            await self._sleep((self._day.close_ns - self._clock()) / NANOS_PER_SECOND + 0.001)
        await connection.close(1000, END_OF_RECORDING)

    async def _sent(self, provider: str, connection: ServerConnection, symbol: str, frame: bytes, told: Trade | Bar) -> bool:
        """Send a frame, as the incidents of the moment let it; returns False when the connection is over."""
        number, times = told.number if isinstance(told, Trade) else told.open_ns // MINUTE_NS, 1
        for each in self._now(provider):
            if each.kind in ("dropped", "closed") and each.number not in self._instant_done:
                self._instant_done.add(each.number)
                self._met[each.number] += 1
                if each.kind == "closed":
                    await connection.close(1001, "going away")
                else:
                    connection.transport.abort()
                return False
            if each.kind == "mute" or (each.kind == "half_mute" and symbol == min(SYMBOLS[provider])):
                self._met[each.number] += 1
                return True
            if each.kind == "doubled":
                self._met[each.number] += 1
                times = 2
            if each.kind in ("truncated", "garbled"):
                self._met[each.number] += 1
                spoilt = frame[: len(frame) // 2] if each.kind == "truncated" else garbled_text(frame, number)
                await connection.send(spoilt, text=True)
                return True
        for _ in range(times):
            await connection.send(frame, text=True)
        if isinstance(told, Trade):
            self._pushed[provider][f"{symbol}/{number}"] += times
        return True

    def _now(self, provider: str) -> list[Incident]:
        now_ns = self._clock()
        return [
            each
            for each in self._stream
            if each.whom == provider
            and (each.is_on(now_ns) or (each.kind in ("dropped", "closed") and each.start_ns <= now_ns))
            and each.number not in self._instant_done
        ]


class _Broken(Response):
    """An answer whose head promises more than comes: the server closes the connection within the body."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        await send({"type": "http.response.body", "body": self.body, "more_body": True})
        await asyncio.sleep(0)


async def _drained(connection: ServerConnection) -> None:
    """Read what a client says and answer nothing, until it goes."""
    try:
        async for _ in connection:
            continue
    except ConnectionClosed:
        return
