"""Alpaca's streams: hello, credentials, subscription, then events; JSON, or msgpack, which options speak alone. Machine: no I/O.

Every server message is an array. One connection an endpoint: a second gets 406, and connecting again at once would get it
again, so a refusal ends the capture with what the provider said. Too many symbols (405) leave the subscriptions as they were:
the session asks for half as many, and says which it went without. Source: PROVIDERS.md section 6.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgpack
import orjson

from ingest.asks import Finding
from ingest.conversation import UNREADABLE
from ingest.providers.handshake import STALE_CONNECTION_S, Handshake
from ingest.subscriptions import Subscriptions
from ingest.verdicts import Reading, Verdict
from lake.errors import InvalidValueError
from lake.values import Message

STREAM_ADDRESS = "wss://stream.data.alpaca.markets"
STALE_AFTER_NS = 600_000_000_000
"""Pings stand apart from data, and a quiet symbol may be silent for minutes; ten without one event ask for a new socket."""
QUIET_AFTER_NS = 6 * 3_600_000_000_000
"""News, and options that nobody trades, may be silent for hours."""
CHANNELS = ("trades", "quotes", "bars", "updatedBars")
_STOCK_CHANNELS = (*CHANNELS, "dailyBars", "statuses", "lulds")
_CHANNELS_OF: Mapping[str, tuple[str, ...]] = {
    "iex": _STOCK_CHANNELS,
    "sip": _STOCK_CHANNELS,
    "test": _STOCK_CHANNELS,
    "crypto": (*CHANNELS, "dailyBars"),
    "opra": ("trades", "quotes"),
    "indicative": ("trades", "quotes"),
    "news": ("news",),
}
_TARGETS = {
    "iex": "/v2/iex",
    "sip": "/v2/sip",
    "test": "/v2/test",
    "crypto": "/v1beta3/crypto/us",
    "opra": "/v1beta1/opra",
    "indicative": "/v1beta1/indicative",
    "news": "/v1beta1/news",
}
FEEDS = tuple(feed for feed in _TARGETS if feed != "test")
"""The feeds whose events are read; `test` (symbol FAKEPACA, at any hour) proves a connection, and nothing of a market."""
_BINARY_FEEDS = frozenset({"opra", "indicative"})
_REFUSALS: Mapping[int, Verdict] = {
    400: Verdict.BAD_REQUEST,
    402: Verdict.AUTH,
    406: Verdict.THROTTLED,
    408: Verdict.NOT_ENTITLED,
    409: Verdict.NOT_ENTITLED,
    410: Verdict.BAD_REQUEST,
    411: Verdict.AUTH,
}
"""Codes that the same conversation would meet again. 404 and 500 are worth a new connection; 403 ends nothing."""
_NOT_AUTHENTICATED, _TOO_MANY_SYMBOLS, _SLOW_CLIENT = 401, 405, 407
_EVENTS = {"t": "trades", "q": "quotes", "b": "bars", "u": "updatedBars", "d": "dailyBars", "n": "news"}


class MarketStream(Handshake):
    """One capture's conversation (`Session`). The keys are said to the provider, and stand in no message and no target."""

    def __init__(
        self,
        feed: str,
        symbols: Sequence[str],
        key_id: str,
        secret: str,
        *,
        channels: Sequence[str] = (),
        stale_after_ns: int | None = None,
        first_seq: int = 0,
    ) -> None:
        known = _CHANNELS_OF.get(feed, ())
        if not symbols or not known or set(channels) - set(known):
            told = f"a feed of {', '.join(_TARGETS)}, symbols, and channels of {', '.join(known) or 'that feed'}"
            raise InvalidValueError(f"alpaca {feed}: a stream needs {told}")
        quiet = QUIET_AFTER_NS if feed in ("news", *_BINARY_FEEDS) else STALE_AFTER_NS
        super().__init__(quiet if stale_after_ns is None else stale_after_ns, first_seq)
        self.target = _TARGETS[feed]
        self.is_binary = feed in _BINARY_FEEDS
        self.is_paced = feed != "news"
        self.content_type = "application/msgpack" if self.is_binary else "application/json"
        self._keys = (key_id, secret)
        self._symbols = list(symbols)
        self._asked_channels = tuple(channels) or tuple(each for each in known if each in (*CHANNELS, "news"))
        self.wanted = dict.fromkeys(self._asked_channels, tuple(symbols))
        self._is_reauthenticated = False

    def connected(self, now_ns: int) -> None:
        """Begin a connection."""
        super().connected(now_ns)
        self._is_reauthenticated = False

    def receive(self, data: bytes, ts_recv_ns: int) -> list[Message]:
        """Take one frame, answer what it asks for; every frame is a message."""
        found = self._read(data)
        events = [event for event in found if isinstance(event, dict)] if isinstance(found, list) else []
        kinds = {str(event.get("T")) for event in events}
        message = self._message(data, ts_recv_ns, may_repeat="q" in kinds)
        if not isinstance(found, list):
            self._lose(UNREADABLE)
        for event in events:
            kind = str(event.get("T"))
            if kind == "success":
                self._greeted(str(event.get("msg")))
            elif kind == "subscription":
                self._subscribed()
                self._subscriptions.confirmed(_subscribed_to(event))
            elif kind == "error":
                self._told(event.get("code"), str(event.get("msg")))
            elif kind == "n":
                self._event("*", "news", str(event.get("updated_at")))
            elif kind in _EVENTS and isinstance(event.get("S"), str):
                self._event(event["S"], _EVENTS[kind], str(event.get("t")))
        return [message]

    def _read(self, data: bytes) -> object:
        """Return what a frame holds, in the codec of the feed; None for anything else."""
        try:
            return msgpack.unpackb(data, timestamp=3) if self.is_binary else orjson.loads(data)
        except (ValueError, TypeError, RecursionError, OverflowError, msgpack.exceptions.UnpackException):
            return None

    def _say(self, words: Mapping[str, Any]) -> None:
        self._outgoing.append(msgpack.packb(words) if self.is_binary else orjson.dumps(words))

    def _authenticate(self) -> None:
        key_id, secret = self._keys
        self._say({"action": "auth", "key": key_id, "secret": secret})

    def tick(self, now_ns: int) -> None:
        """Learn the time: what was not confirmed is asked for again."""
        super().tick(now_ns)
        again = self._to_ask_again(now_ns)
        if again:
            self._ask_for(again)

    def _subscribe(self) -> None:
        self._subscriptions = Subscriptions(f"{channel}:{symbol}" for channel in self._asked_channels for symbol in self._symbols)
        self._subscriptions.begun()
        self._ask_for(self._subscriptions.missing)

    def _ask_for(self, names: Sequence[str]) -> None:
        by_channel: dict[str, list[str]] = {}
        for name in names:
            channel, _, symbol = name.partition(":")
            by_channel.setdefault(channel, []).append(symbol)
        self._say({"action": "subscribe", **by_channel})
        self._subscriptions.asked(self._now_ns)

    def _greeted(self, words: str) -> None:
        if words == "connected":
            self._authenticate()
        elif words == "authenticated":
            self._subscribe()

    def _told(self, code: object, words: str) -> None:
        """Do what an error's code asks for."""
        verdict = _REFUSALS.get(code) if isinstance(code, int) else None
        if verdict is not None:
            wait_s = STALE_CONNECTION_S if code == 406 else None
            self._refusal = Reading(verdict, f"{code} {words}", wait_s)
        elif code == _NOT_AUTHENTICATED and not self._is_reauthenticated:
            self._is_reauthenticated = True
            self._authenticate()
        elif code == _TOO_MANY_SYMBOLS and len(self._symbols) > 1:
            kept = len(self._symbols) // 2
            left_out, self._symbols = self._symbols[kept:], self._symbols[:kept]
            self._findings.append(Finding("symbol_limit", f"{code} {words}: went on without {', '.join(left_out)}"))
            self._subscribe()
        elif code == _TOO_MANY_SYMBOLS:
            self._refusal = Reading(Verdict.NOT_ENTITLED, f"{code} {words}")
        elif code == _SLOW_CLIENT:
            self._lose(f"{code} {words}")


def open_stream(feed: str, symbols: Sequence[str], keys: Sequence[str]) -> MarketStream:
    """Return the conversation about symbols of a feed, with the key's id and its secret. Raises InvalidValueError."""
    key_id, secret = keys
    return MarketStream(feed, symbols, key_id, secret)


def _names(told: object) -> list[str]:
    return [str(each) for each in told] if isinstance(told, list) else []


def _subscribed_to(event: Mapping[str, Any]) -> list[str]:
    """Return `channel:symbol` of everything that a subscription message says is subscribed to."""
    return [f"{channel}:{name}" for channel, names in event.items() if isinstance(names, list) for name in names]
