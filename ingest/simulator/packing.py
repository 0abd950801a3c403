"""The two codecs of Alpaca's sockets: JSON, and msgpack with stamps as timestamp extensions."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgpack
import orjson
from websockets.asyncio.server import ServerConnection

_STAMPS = frozenset({"t"})


class Wire:
    """One connection, in the codec of its endpoint."""

    def __init__(self, connection: ServerConnection, *, is_binary: bool) -> None:
        self._connection, self._is_binary = connection, is_binary

    async def say(self, events: list[Any]) -> None:
        """Send an array of events."""
        await self._connection.send(in_msgpack(events) if self._is_binary else orjson.dumps(events), text=not self._is_binary)

    async def hear(self) -> dict[str, Any] | None:
        """Return what the client says next; None for a frame that is no object in this codec."""
        data = await self._connection.recv()
        if isinstance(data, str) == self._is_binary:
            return None
        try:
            found = msgpack.unpackb(data) if self._is_binary else orjson.loads(data)
        except (ValueError, TypeError, msgpack.exceptions.UnpackException):
            return None
        return found if isinstance(found, dict) else None

    async def refuse(self, code: int, message: str) -> None:
        """Tell an error and close."""
        await self.say([{"T": "error", "code": code, "msg": message}])
        await self._connection.close(1000, message)

    def packed(self, frame: bytes | None) -> bytes | None:
        """Return a frame of a recording, which is JSON, in the codec of the endpoint."""
        return frame if frame is None or not self._is_binary else in_msgpack(orjson.loads(frame))


def in_msgpack(events: list[Any]) -> bytes:
    """Return events, as JSON has them, packed: stamps in RFC 3339 become timestamp extensions, nanoseconds kept."""
    told = [
        {name: _stamp(value) if name in _STAMPS and isinstance(value, str) else value for name, value in event.items()}
        for event in events
    ]
    return bytes(msgpack.packb(told))


def is_msgpack(frame: bytes) -> bool:
    """Return whether a frame is an array of msgpack, whose first byte no JSON has."""
    return bool(frame) and (0x90 <= frame[0] <= 0x9F or frame[0] in (0xDC, 0xDD))


def _stamp(text: str) -> msgpack.Timestamp:
    whole, _, fraction = text.removesuffix("Z").partition(".")
    return msgpack.Timestamp(int(datetime.fromisoformat(whole + "+00:00").timestamp()), int(fraction.ljust(9, "0")[:9] or 0))
