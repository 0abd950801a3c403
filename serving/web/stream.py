"""WebSocket /api/v1/stream: subscribe by instrument and kind; a snapshot, then every publication, without a hole.

    → {"action": "subscribe", "id": "a", "symbol": "AAPL", "kind": "bars", "rows": 1}        rows: of the snapshot, default 1
    ← {"type": "snapshot", "id": "a", "position": "38215…", "row_count": 1, "columns": {…}, …}
    ← {"type": "update",   "id": "a", "position": "55024…", …}
    → {"action": "subscribe", "id": "b", …, "position": "38215…"}                            goes on after a break: updates only
    → {"action": "unsubscribe", "id": "a"}
    ← {"type": "error", "id": "a", "problem": "urn:tickhouse:problem:not-found", "detail": "…"}

Rows are confirmed: on main, passed by the gate. `position` is an entry of the publication ledger; keep the last one of each
subscription. A client that reads too slowly is closed with 4008 and the reason; nothing is left out silently.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import orjson
from fastapi import APIRouter, WebSocket
from starlette.websockets import WebSocketDisconnect

from lake.errors import InvalidValueError, TickhouseError
from serving.outcomes import outcome_of
from serving.streaming.hub import Client, Hub

router = APIRouter()
MAX_REQUEST = 8_192


@router.websocket("/stream")
async def stream(socket: WebSocket) -> None:
    """Serve one client until it leaves, reads too slowly, or the server stops."""
    hub: Hub = socket.app.state.hub
    await socket.accept()
    client = hub.join()
    reading = asyncio.create_task(_read(socket, hub, client))
    sending = asyncio.create_task(_send(socket, client))
    try:
        ends: set[asyncio.Future[Any]] = {reading, sending, client.dropped}
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
    finally:
        hub.leave(client)
        for task in (reading, sending):
            task.cancel()
        ended = await asyncio.gather(reading, sending, return_exceptions=True)
    if client.dropped.done():
        code, reason = client.dropped.result()
        await socket.close(code, reason)
    for error in ended:
        if isinstance(error, Exception) and not isinstance(error, WebSocketDisconnect):
            raise error


async def _send(socket: WebSocket, client: Client) -> None:
    while True:
        await socket.send_text((await client.next()).decode())


async def _read(socket: WebSocket, hub: Hub, client: Client) -> None:
    while True:
        text = await socket.receive_text()
        name = ""
        try:
            ask = _request(text)
            name = str(ask.get("id", ""))
            if ask.get("action") == "unsubscribe":
                client.subscriptions.pop(name, None)
            else:
                await hub.subscribe(client, ask)
        except TickhouseError as error:
            body = {"type": "error", "id": name, "problem": outcome_of(error).type, "detail": str(error)}
            client.offer(orjson.dumps(body))


def _request(text: str) -> Mapping[str, object]:
    if len(text) > MAX_REQUEST:
        raise InvalidValueError(f"a request of {len(text)} characters; at most {MAX_REQUEST}")
    try:
        found = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise InvalidValueError(f"not JSON: {error}") from error
    if not isinstance(found, dict) or found.get("action") not in ("subscribe", "unsubscribe"):
        raise InvalidValueError('expected an object with "action": "subscribe" or "unsubscribe"')
    return found
