"""The simulator's side of Tiingo's streams: the subscription, its refusals by code, which frames it lets through.

Made after the documentation: nobody recorded a stream. A free token gets no level of IEX but the reference prices.
"""

from __future__ import annotations

from typing import Any

import orjson
from websockets.asyncio.server import ServerConnection

from ingest.simulator.faults import Sending
from ingest.simulator.keyed import Keys

_LEVELS = {"/iex": (0, 5, 6), "/crypto": (2, 5), "/fx": (2, 5, 7)}
_REFERENCE = 6
_PLACES = {"iex": 3, "crypto_data": 1, "fx": 1}
"""Where an array has its ticker; one without a letter at its beginning (reference prices) has it at 1."""


async def subscribed(connection: ServerConnection, keys: Keys) -> tuple[str, frozenset[str]] | None:
    """Take subscriptions until one is right; return the recording that it gets and its tickers, None for a refused client."""
    path = (connection.request.path if connection.request is not None else "/").partition("?")[0]
    if path not in _LEVELS:
        await connection.close(1008, "no such endpoint")
        return None
    while True:
        asked = _object(await connection.recv())
        data = _object(asked.get("eventData"))
        level, token = data.get("thresholdLevel"), asked.get("authorization")
        if token not in (keys.tiingo_token, keys.tiingo_free_token):
            await _refuse(connection, 401, "Not authorized")
            await connection.close(1008, "not authorized")
            return None
        if asked.get("eventName") != "subscribe":
            await _refuse(connection, 400, "eventName not valid")
        elif level not in _LEVELS[path] or (token == keys.tiingo_free_token and path == "/iex" and level != _REFERENCE):
            await _refuse(connection, 400, "thresholdLevel not valid for your subscription tier")
        else:
            tickers = frozenset(str(ticker) for ticker in data.get("tickers", ()))
            for told in ({"subscriptionId": 49792869}, {"tickers": sorted(tickers), "thresholdLevel": str(level)}):
                await _say(connection, "I", 200, "Success", data=told)
            return f"tiingo_{'reference' if path == '/iex' and level == _REFERENCE else path[1:]}", tickers


def of_tickers(sending: Sending, wanted: frozenset[str]) -> bytes | None:
    """Return a frame whose ticker is wanted, else None. A heartbeat and a spoilt frame pass."""
    frame = _object(sending.frame.payload)
    told = frame.get("data")
    place = _PLACES.get(str(frame.get("service")), 1)
    if not isinstance(told, list) or not told:
        return sending.frame.payload
    at = place if told[0] in ("T", "Q", "B") else 1
    return sending.frame.payload if len(told) <= at or told[at] in wanted or "*" in wanted else None


async def _refuse(connection: ServerConnection, code: int, words: str) -> None:
    await _say(connection, "E", code, words)


async def _say(connection: ServerConnection, kind: str, code: int, words: str, **more: Any) -> None:
    await connection.send(orjson.dumps({"messageType": kind, "response": {"code": code, "message": words}, **more}).decode())


def _object(text: Any) -> dict[str, Any]:
    """Return a JSON object, or the object that JSON holds; an empty one for anything else."""
    try:
        found = orjson.loads(text) if isinstance(text, str | bytes) else text
    except orjson.JSONDecodeError:
        return {}
    return found if isinstance(found, dict) else {}
