"""Polygon's stream of stocks and of options: hello, key, subscriptions, then trades, quotes, minutes. Machine: no I/O.

Every server message is an array. Trades carry the ids of the REST history, so what was lost can be looked up; their sequence
numbers grow and skip, so nothing counts them. One connection a key and market: another ends the one before it.
Source: polygon-io/client-python, Polygon's documentation of WebSockets.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import orjson

from ingest.conversation import UNREADABLE
from ingest.providers.handshake import STALE_CONNECTION_S, Handshake
from ingest.verdicts import Reading, Verdict
from lake.errors import InvalidValueError
from lake.values import Message

STREAM_ADDRESS = "wss://socket.polygon.io"
STALE_AFTER_NS = 300_000_000_000
"""Trades and minutes of one liquid stock come every minute of the session; five without any ask for a new socket."""
CHANNELS = {"T": "trades", "Q": "quotes", "AM": "bars"}
"""Event of a frame -> what it is of."""
_REFUSALS: Mapping[str, Verdict] = {
    "auth_failed": Verdict.AUTH,
    "auth_timeout": Verdict.AUTH,
    "max_connections": Verdict.THROTTLED,
    "force_disconnect": Verdict.THROTTLED,
}


class MarketStream(Handshake):
    """One capture's conversation (`Session`). The key is said to the provider, and stands in no message and no target."""

    def __init__(
        self,
        symbols: Sequence[str],
        key: str,
        *,
        channels: Sequence[str] = tuple(CHANNELS),
        stale_after_ns: int = STALE_AFTER_NS,
        first_seq: int = 0,
    ) -> None:
        super().__init__(stale_after_ns, first_seq)
        are_options = {symbol.startswith("O:") for symbol in symbols}
        if (
            not symbols
            or set(channels) - set(CHANNELS)
            or len(are_options) > 1
            or any(set(each) & set(", *") for each in symbols)
        ):
            told = f"channels of {', '.join(CHANNELS)}, and symbols like AAPL, or O:AAPL230616C00150000 alone"
            raise InvalidValueError(f"polygon: a stream needs {told}")
        self.target = "/options" if True in are_options else "/stocks"
        self._key = key
        self.wanted = {CHANNELS[channel]: tuple(symbols) for channel in channels}
        self._wanted = ",".join(f"{channel}.{symbol}" for symbol in symbols for channel in channels)

    def receive(self, data: bytes, ts_recv_ns: int) -> list[Message]:
        """Take one frame, answer what it asks for; every frame is a message."""
        try:
            found = orjson.loads(data)
        except orjson.JSONDecodeError:
            found = None
        events = [event for event in found if isinstance(event, dict)] if isinstance(found, list) else []
        kinds = {str(event.get("ev")) for event in events}
        message = self._message(data, ts_recv_ns, may_repeat=bool(kinds & {"Q"}))
        if not isinstance(found, list):
            self._lose(UNREADABLE)
        for event in events:
            kind = str(event.get("ev"))
            if kind == "status":
                self._told(str(event.get("status")), str(event.get("message")))
            elif kind in CHANNELS and isinstance(event.get("sym"), str):
                self._event(event["sym"], CHANNELS[kind], str(event.get("e" if kind == "AM" else "t")))
        return [message]

    def _told(self, status: str, words: str) -> None:
        if status == "connected":
            self._outgoing.append(orjson.dumps({"action": "auth", "params": self._key}))
        elif status == "auth_success":
            self._outgoing.append(orjson.dumps({"action": "subscribe", "params": self._wanted}))
        elif status == "success":
            self._subscribed()
        elif status == "error" and "not authorized" in words.lower():
            self._refusal = Reading(Verdict.NOT_ENTITLED, words)
        elif status in _REFUSALS:
            verdict = _REFUSALS[status]
            self._refusal = Reading(verdict, f"{status} {words}", STALE_CONNECTION_S if verdict is Verdict.THROTTLED else None)


def open_stream(symbols: Sequence[str], keys: Sequence[str]) -> MarketStream:
    """Return the conversation about symbols, with the key. Raises InvalidValueError."""
    (key,) = keys
    return MarketStream(symbols, key)
