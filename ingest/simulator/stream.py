"""The simulator's WebSocket side: a market of Binance replayed frame by frame, in the order recorded.

`/stream?streams=a/b` sends combined frames as recorded, `/ws/a` the bare event; SUBSCRIBE, UNSUBSCRIBE and
LIST_SUBSCRIPTIONS are answered. A replay begins with the first subscription and ends with close code 1000, reason
`end of recording`; the next connection begins anew, but after a planned drop it resumes where the plan says.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Literal
from urllib.parse import parse_qs, urlsplit

import orjson
from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed

from ingest.simulator.faults import Faults, Market, Sending, sendings
from ingest.simulator.recorded import Recording
from ingest.simulator.report import FaultReport
from ingest.transport.websocket import END_OF_RECORDING
from lake.instants import NANOS_PER_SECOND, Clock

Pace = Literal["recorded", "fast"]
_YIELD_EVERY = 64
"""A socket that takes all it is given never lets the event loop turn; the HTTP side shares it."""


class MarketReplay:
    """One market's replay; `handle` serves a connection."""

    def __init__(
        self,
        market: Market,
        recording: Recording,
        faults: Faults,
        report: FaultReport,
        *,
        clock: Clock,
        sleep: Callable[[float], Awaitable[None]],
        pace: Pace,
    ) -> None:
        self._market, self._report = market, report
        self._clock, self._sleep, self._pace = clock, sleep, pace
        self._sendings = sendings(recording.frames, faults, market)
        self._drops = sorted(
            (each for each in faults.stream if each.kind == "drop" and each.market == market), key=lambda f: f.first
        )
        self._resume_at = 0
        self._told: set[tuple[str, int]] = set()
        self._handling: set[asyncio.Task[None]] = set()

    async def handle(self, connection: ServerConnection) -> None:
        """Serve one connection to its end."""
        target = urlsplit(connection.request.path if connection.request is not None else "/")
        wanted = {name for part in parse_qs(target.query).get("streams", []) for name in part.split("/")}
        is_bare = target.path.startswith("/ws")
        wanted |= {name for name in target.path.removeprefix("/ws").split("/") if name} if is_bare else set()
        begun = asyncio.Event()
        task = asyncio.current_task()
        if task is not None:
            self._handling.add(task)
            task.add_done_callback(self._handling.discard)
        if wanted:
            begun.set()
        listening = asyncio.create_task(self._listen(connection, wanted, begun))
        try:
            await begun.wait()
            await self._replay(connection, wanted, is_bare)
        except ConnectionClosed:
            return  # the client went away, at any time it likes
        finally:
            listening.cancel()

    def stop(self) -> None:
        """End every connection's replay where it stands."""
        for task in list(self._handling):
            task.cancel()

    async def _listen(self, connection: ServerConnection, wanted: set[str], begun: asyncio.Event) -> None:
        try:
            async for text in connection:
                await connection.send(_answer(text, wanted))
                if wanted:
                    begun.set()
        except ConnectionClosed:
            return
        finally:
            begun.set()

    async def _replay(self, connection: ServerConnection, wanted: set[str], is_bare: bool) -> None:
        at, self._resume_at = self._resume_at, 0
        began_ns = self._clock()
        first_ns = self._sendings[at].frame.recv_ns if at < len(self._sendings) else 0
        for index in range(at, len(self._sendings)):
            sending = self._sendings[index]
            if sending.frame.stream in wanted:
                if self._pace == "recorded":
                    await self._until(began_ns + sending.frame.recv_ns - first_ns)
                payload = _bare(sending) if is_bare else sending.frame.payload
                await connection.send(payload, text=True)
                self._tell(sending)
            if self._drops and sending.frame.number >= self._drops[0].first and sending.fault != "reorder":
                await self._drop(connection, index)
                return
            if index % _YIELD_EVERY == 0:
                await asyncio.sleep(0)
        await connection.close(1000, END_OF_RECORDING)

    async def _until(self, due_ns: int) -> None:
        wait_ns = due_ns - self._clock()
        if wait_ns > 0:
            await self._sleep(wait_ns / NANOS_PER_SECOND)

    async def _drop(self, connection: ServerConnection, index: int) -> None:
        """Kill the socket once the client has taken everything sent: a planned drop loses what the plan says, no more."""
        fault = self._drops[0]
        await (await connection.ping())
        self._drops.pop(0)
        self._resume_at = min(max(0, index + 1 - fault.overlap), len(self._sendings))
        self._report.did("drop", market=self._market, after=fault.first, overlap=fault.overlap)
        connection.transport.abort()

    def _tell(self, sending: Sending) -> None:
        key = (sending.fault, sending.frame.number)
        if sending.fault and key not in self._told:
            self._told.add(key)
            self._report.did(sending.fault, market=self._market, frame=sending.frame.number, stream=sending.frame.stream)


def _bare(sending: Sending) -> bytes:
    """Return the event without its envelope; a spoilt frame stays as it is."""
    head = b'{"stream":"' + sending.frame.stream.encode() + b'","data":'
    payload = sending.frame.payload
    return payload[len(head) : -1] if payload.startswith(head) and payload.endswith(b"}") else payload


def _answer(text: str | bytes, wanted: set[str]) -> str:
    """Change `wanted` as a client's frame asks; return the acknowledgement, or Binance's error for what it does not know."""
    try:
        ask = orjson.loads(text)
        method, number = ask["method"], ask.get("id")
        names = [str(name) for name in ask.get("params", [])]
    except (orjson.JSONDecodeError, TypeError, KeyError, AttributeError):
        return '{"error":{"code":3,"msg":"Invalid JSON: expected value"}}'
    if method == "SUBSCRIBE":
        wanted.update(names)
    elif method == "UNSUBSCRIBE":
        wanted.difference_update(names)
    elif method == "LIST_SUBSCRIPTIONS":
        return orjson.dumps({"result": sorted(wanted), "id": number}).decode()
    else:
        return orjson.dumps({"error": {"code": 2, "msg": f"Invalid request: unknown variant `{method}`"}, "id": number}).decode()
    return orjson.dumps({"result": None, "id": number}).decode()
