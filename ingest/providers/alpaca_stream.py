"""Alpaca's JSON stream: hello, credentials, subscription, then events. Machine: no I/O.

Every server message is an array. One connection an endpoint: a second gets 406, and connecting again at once would get it
again, so a refusal ends the capture with what the provider said. Source: PROVIDERS.md section 6.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import orjson

from ingest.conversation import Unnumbered
from ingest.verdicts import Reading, Verdict
from lake.errors import InvalidValueError
from lake.values import Message

STREAM_ADDRESS = "wss://stream.data.alpaca.markets"
STALE_AFTER_NS = 600_000_000_000
"""Pings stand apart from data, and a quiet symbol may be silent for minutes; ten without one event ask for a new socket."""
FRUITLESS = 5
"""So many connections in a row that never came to a subscription: something is wrong that waiting does not mend."""
CHANNELS = ("trades", "quotes", "bars", "updatedBars")
_TARGETS = {"iex": "/v2/iex", "sip": "/v2/sip", "crypto": "/v1beta3/crypto/us"}
FEEDS = tuple(_TARGETS)
_REFUSALS: Mapping[int, Verdict] = {
    400: Verdict.BAD_REQUEST,
    402: Verdict.AUTH,
    405: Verdict.BAD_REQUEST,
    406: Verdict.THROTTLED,
    408: Verdict.NOT_ENTITLED,
    409: Verdict.NOT_ENTITLED,
    410: Verdict.BAD_REQUEST,
    411: Verdict.AUTH,
}
"""Codes that the same conversation would meet again. 401, 404 and 500 are worth a new one; 403 and 407 end nothing."""
_STALE_CONNECTION_S = 60.0
_EVENTS = {"t": "trades", "q": "quotes", "b": "bars", "u": "updatedBars", "d": "dailyBars"}


class MarketStream(Unnumbered):
    """One capture's conversation (`Session`). The keys are said to the provider, and stand in no message and no target."""

    def __init__(
        self,
        feed: str,
        symbols: Sequence[str],
        key_id: str,
        secret: str,
        *,
        channels: Sequence[str] = CHANNELS,
        stale_after_ns: int = STALE_AFTER_NS,
        first_seq: int = 0,
    ) -> None:
        super().__init__(stale_after_ns, first_seq)
        if feed not in _TARGETS or not symbols or not channels:
            raise InvalidValueError(f"alpaca {feed}: a stream needs a feed of {', '.join(_TARGETS)}, symbols and channels")
        self.target = _TARGETS[feed]
        self._keys = (key_id, secret)
        self._wanted = {channel: list(symbols) for channel in channels}
        self._fruitless = 0

    def connected(self, now_ns: int) -> None:
        """Begin a connection: the server says hello first."""
        self._begun(now_ns)
        self._fruitless += 1
        if self._fruitless > FRUITLESS:
            told = f"{FRUITLESS} connections in a row came to no subscription"
            self._refusal = Reading(Verdict.UPSTREAM_5XX, told, _STALE_CONNECTION_S)

    def receive(self, data: bytes, ts_recv_ns: int) -> list[Message]:
        """Take one frame, answer what it asks for; every frame is a message."""
        try:
            found = orjson.loads(data)
        except orjson.JSONDecodeError:
            found = None
        events = [event for event in found if isinstance(event, dict)] if isinstance(found, list) else []
        kinds = {str(event.get("T")) for event in events}
        message = self._message(data, ts_recv_ns, may_repeat="q" in kinds)
        for event in events:
            kind = str(event.get("T"))
            if kind == "success":
                self._greeted(str(event.get("msg")))
            elif kind == "subscription":
                self._fruitless = 0
            elif kind == "error":
                self._told(event.get("code"), str(event.get("msg")))
            elif kind in _EVENTS and isinstance(event.get("S"), str):
                self._event(event["S"], _EVENTS[kind], str(event.get("t")))
        return [message]

    def _greeted(self, words: str) -> None:
        if words == "connected":
            key_id, secret = self._keys
            self._outgoing.append(orjson.dumps({"action": "auth", "key": key_id, "secret": secret}))
        elif words == "authenticated":
            self._outgoing.append(orjson.dumps({"action": "subscribe", **self._wanted}))

    def _told(self, code: object, words: str) -> None:
        verdict = _REFUSALS.get(code) if isinstance(code, int) else None
        if verdict is not None:
            wait_s = _STALE_CONNECTION_S if code == 406 else None
            self._refusal = Reading(verdict, f"{code} {words}", wait_s)


def open_stream(feed: str, symbols: Sequence[str], keys: Sequence[str]) -> MarketStream:
    """Return the conversation about symbols of a feed, with the key's id and its secret. Raises InvalidValueError."""
    key_id, secret = keys
    return MarketStream(feed, symbols, key_id, secret)
