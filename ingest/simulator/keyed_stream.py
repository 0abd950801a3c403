"""The simulator's sockets of Alpaca, Finnhub, Polygon, Yahoo and Tiingo: handshakes, keys, error frames, then recorded frames.

A replay begins with the first subscription and ends with close code 1000, `end of recording`; after a planned drop the next
connection resumes where the plan says. Each endpoint takes one connection at a time. Source: PROVIDERS.md sections 2, 5 and 6.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any
from urllib.parse import parse_qs, urlsplit

import orjson
from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed

from ingest.simulator.faults import Faults, Sending, sendings
from ingest.simulator.keyed import KeyedStream, Keys, frames
from ingest.simulator.packing import Wire, is_msgpack
from ingest.simulator.report import FaultReport
from ingest.simulator.tiingo_stream import of_tickers, subscribed
from ingest.transport.websocket import END_OF_RECORDING
from lake.instants import NANOS_PER_SECOND
from transforms.decode.yahoo_stream import pricing_of
from transforms.numbers import NumberRefusedError

_CHANNELS = ("trades", "quotes", "bars", "updatedBars", "dailyBars", "statuses", "lulds", "corrections", "cancelErrors", "news")
_CHANNEL_OF = {
    "t": "trades",
    "q": "quotes",
    "b": "bars",
    "u": "updatedBars",
    "d": "dailyBars",
    "s": "statuses",
    "l": "lulds",
    "n": "news",
}
_WITH_TRADES = {"c": "trades", "x": "trades"}
_ALPACA_PATHS = {
    **dict.fromkeys(("/v2/iex", "/v2/sip", "/v2/test"), "alpaca"),
    **dict.fromkeys(("/v1beta1/opra", "/v1beta1/indicative"), "alpaca_options"),
    "/v1beta3/crypto/us": "alpaca_crypto",
    "/v1beta1/news": "alpaca_news",
}
"""Endpoint -> the recording that it plays; options speak msgpack."""
_POLYGON_CHANNELS = frozenset({"T", "Q", "AM"})
_AUTH_S = 10.0
_MOST_SYMBOLS = 30
"""Of a free plan."""


class KeyedReplay:
    """One provider's replay; `handle` serves a connection."""

    def __init__(
        self,
        stream: KeyedStream,
        keys: Keys,
        faults: Faults,
        report: FaultReport,
        *,
        sleep: Callable[[float], Awaitable[None]],
        is_paced: bool,
    ) -> None:
        self._stream, self._keys, self._report = stream, keys, report
        self._sleep, self._is_paced = sleep, is_paced
        self._sendings = sendings(frames(stream), faults, stream)
        self._drops = sorted((f for f in faults.stream if f.kind == "drop" and f.market == stream), key=lambda f: f.first)
        self._resume_at = 0
        self._open: set[str] = set()
        self._handling: set[asyncio.Task[None]] = set()

    async def handle(self, connection: ServerConnection) -> None:
        """Serve one connection to its end."""
        task = asyncio.current_task()
        if task is not None:
            self._handling.add(task)
            task.add_done_callback(self._handling.discard)
        try:
            await self._served(connection)
        except ConnectionClosed:
            return  # the client went away, at any time it likes

    def stop(self) -> None:
        """End every connection where it stands."""
        for task in list(self._handling):
            task.cancel()

    async def _served(self, connection: ServerConnection) -> None:
        serve = {
            "alpaca": self._alpaca,
            "finnhub": self._finnhub,
            "polygon": self._polygon,
            "yahoo": self._yahoo,
            "tiingo": self._tiingo,
        }
        await serve[self._stream](connection)

    async def _tiingo(self, connection: ServerConnection) -> None:
        granted = await subscribed(connection, self._keys)
        if granted is not None:
            recording, wanted = granted
            sent = self._sendings if recording == "tiingo_iex" else sendings(frames(recording), Faults(), "tiingo")
            await self._replay(connection, lambda sending: of_tickers(sending, wanted), sent)

    async def _yahoo(self, connection: ServerConnection) -> None:
        wanted: set[str] = set()
        while not wanted:
            asked = _object(await connection.recv()).get("subscribe")
            wanted |= {str(symbol) for symbol in asked} if isinstance(asked, list) else set()
        await self._replay(connection, lambda sending: _of_pricing(sending, wanted), self._sendings)

    async def _finnhub(self, connection: ServerConnection) -> None:
        target = urlsplit(connection.request.path if connection.request is not None else "/")
        if parse_qs(target.query).get("token") != [self._keys.finnhub_token]:
            await connection.send('{"msg":"Invalid API token","type":"error"}')
            await connection.close(1008, "invalid token")
            return
        wanted: set[str] = set()
        while not wanted:
            self._subscribe(await connection.recv(), wanted)
        listening = asyncio.create_task(self._listen(connection, lambda text: self._subscribe(text, wanted)))
        await asyncio.sleep(0.05)  # the subscriptions of one client come together
        try:
            await self._replay(connection, lambda sending: _of_symbols(sending, wanted), self._sendings)
        finally:
            listening.cancel()

    def _subscribe(self, text: str | bytes, wanted: set[str]) -> None:
        told = _object(text)
        symbol = told.get("symbol")
        if isinstance(symbol, str):
            (wanted.add if told.get("type") == "subscribe" else wanted.discard)(symbol)

    async def _alpaca(self, connection: ServerConnection) -> None:
        path = urlsplit(connection.request.path if connection.request is not None else "/").path
        recording = _ALPACA_PATHS.get(path)
        if recording is None:
            await connection.close(1008, "no such endpoint")
            return
        wire = Wire(connection, is_binary=recording == "alpaca_options")
        await wire.say([{"T": "success", "msg": "connected"}])
        if not await self._is_known(wire):
            return
        if path in self._open:
            await wire.refuse(406, "connection limit exceeded")
            return
        self._open.add(path)
        try:
            await wire.say([{"T": "success", "msg": "authenticated"}])
            wanted: dict[str, set[str]] = {}
            while not any(wanted.values()):
                await self._subscribed(wire, await wire.hear(), wanted)
            sent = self._sendings if recording == "alpaca" else sendings(frames(recording), Faults(), "alpaca")
            await self._replay(connection, lambda sending: wire.packed(_of_channels(sending, wanted)), sent)
        finally:
            self._open.discard(path)

    async def _is_known(self, wire: Wire) -> bool:
        """Take the client's credentials; refuse wrong ones, and a client that does not give any in time."""
        try:
            told = await asyncio.wait_for(wire.hear(), _AUTH_S)
        except TimeoutError:
            await wire.refuse(404, "auth timeout")
            return False
        if told is None or told.get("action") != "auth":
            await wire.refuse(*((400, "invalid syntax") if told is None else (401, "not authenticated")))
            return False
        if (told.get("key"), told.get("secret")) != (self._keys.alpaca_key_id, self._keys.alpaca_secret):
            await wire.refuse(402, "auth failed")
            return False
        return True

    async def _subscribed(self, wire: Wire, told: dict[str, Any] | None, wanted: dict[str, set[str]]) -> None:
        if told is None or told.get("action") not in ("subscribe", "unsubscribe"):
            await wire.say([{"T": "error", "code": 400, "msg": "invalid syntax"}])
            return
        asked = {channel: {str(name) for name in told.get(channel, [])} for channel in _CHANNELS}
        if len(set().union(*asked.values())) > _MOST_SYMBOLS:
            await wire.say([{"T": "error", "code": 405, "msg": "symbol limit exceeded"}])
            return
        for channel, names in asked.items():
            now = wanted.setdefault(channel, set())
            now.update(names) if told["action"] == "subscribe" else now.difference_update(names)
        wanted["corrections"] = wanted["cancelErrors"] = set(wanted["trades"])
        full = {channel: sorted(names) for channel, names in wanted.items()}
        await wire.say([{"T": "subscription", **full}])

    async def _polygon(self, connection: ServerConnection) -> None:
        await connection.send('[{"ev":"status","status":"connected","message":"Connected Successfully"}]')
        told = _object(await connection.recv())
        if told.get("action") != "auth" or told.get("params") != self._keys.polygon_key:
            await connection.send('[{"ev":"status","status":"auth_failed","message":"authentication failed"}]')
            await connection.close(1008, "authentication failed")
            return
        await connection.send('[{"ev":"status","status":"auth_success","message":"authenticated"}]')
        wanted: set[str] = set()
        while not wanted:
            asked = _object(await connection.recv())
            wanted |= {name for name in str(asked.get("params", "")).split(",") if name.partition(".")[0] in _POLYGON_CHANNELS}
            for name in sorted(wanted):
                told = {"ev": "status", "status": "success", "message": f"subscribed to: {name}"}
                await connection.send(orjson.dumps([told]).decode())
        await self._replay(connection, lambda sending: _of_names(sending, wanted), self._sendings)

    async def _listen(self, connection: ServerConnection, take: Callable[[str | bytes], None]) -> None:
        try:
            async for text in connection:
                take(text)
        except ConnectionClosed:
            return

    async def _replay(
        self, connection: ServerConnection, cut: Callable[[Sending], bytes | None], sent: Sequence[Sending]
    ) -> None:
        """Send the frames of a recording that `cut` leaves something of; planned faults are of the first recording."""
        is_planned = sent is self._sendings
        at, self._resume_at = (self._resume_at, 0) if is_planned else (0, self._resume_at)
        for index in range(at, len(sent)):
            sending = sent[index]
            if self._is_paced and index:
                waited = sending.frame.recv_ns - sent[index - 1].frame.recv_ns
                await self._sleep(max(0, waited) / NANOS_PER_SECOND)
            payload = cut(sending)
            if payload is not None:
                await connection.send(payload, text=not is_msgpack(payload))
            if sending.fault:
                self._report.did(sending.fault, market=self._stream, frame=sending.frame.number)
            if is_planned and self._drops and sending.frame.number >= self._drops[0].first:
                fault = self._drops.pop(0)
                await (await connection.ping())
                self._resume_at = min(max(0, index + 1 - fault.overlap), len(sent))
                self._report.did("drop", market=self._stream, after=fault.first, overlap=fault.overlap)
                connection.transport.abort()
                return
        await connection.close(1000, END_OF_RECORDING)


def _object(text: str | bytes) -> dict[str, Any]:
    try:
        found = orjson.loads(text)
    except orjson.JSONDecodeError:
        return {}
    return found if isinstance(found, dict) else {}


def _of_symbols(sending: Sending, wanted: set[str]) -> bytes | None:
    """Return a Finnhub frame as recorded, or with the entries wanted alone; None when none is. A spoilt frame passes."""
    found = _object(sending.frame.payload)
    entries = found.get("data")
    if not isinstance(entries, list):
        return sending.frame.payload
    kept = [entry for entry in entries if entry["s"] in wanted]
    if len(kept) == len(entries):
        return sending.frame.payload
    return orjson.dumps({"data": kept, "type": "trade"}) if kept else None


def _of_pricing(sending: Sending, wanted: set[str]) -> bytes | None:
    """Return a frame of Yahoo where its symbol is wanted, else None. A heartbeat and a spoilt frame pass."""
    try:
        told = pricing_of(sending.frame.payload)
    except NumberRefusedError:
        return sending.frame.payload
    return sending.frame.payload if told is None or told.get("symbol") in wanted else None


def _of_channels(sending: Sending, wanted: dict[str, set[str]]) -> bytes | None:
    """Return an Alpaca frame as recorded, or with the events wanted alone; None when none is. A spoilt frame passes."""
    try:
        events = orjson.loads(sending.frame.payload)
    except orjson.JSONDecodeError:
        return sending.frame.payload
    kept = [event for event in events if wanted.get(_channel(event), set()) & {event.get("S"), *event.get("symbols", ()), "*"}]
    if len(kept) == len(events):
        return sending.frame.payload
    return orjson.dumps(kept) if kept else None


def _of_names(sending: Sending, wanted: set[str]) -> bytes | None:
    """Return a Polygon frame as recorded, or with the events wanted alone; None when none is. A spoilt frame passes."""
    try:
        events = orjson.loads(sending.frame.payload)
    except orjson.JSONDecodeError:
        return sending.frame.payload
    kept = [event for event in events if wanted & {f"{event['ev']}.{event['sym']}", f"{event['ev']}.*"}]
    if len(kept) == len(events):
        return sending.frame.payload
    return orjson.dumps(kept) if kept else None


def _channel(event: dict[str, Any]) -> str:
    kind = str(event.get("T"))
    return _CHANNEL_OF.get(kind) or _WITH_TRADES.get(kind, "")
