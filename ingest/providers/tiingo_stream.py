"""Tiingo's streams of IEX, crypto and currencies: one subscription with the token, then an event a frame. Machine: no I/O.

The level of a subscription says how much is told. All of IEX (0) needs an agreement with the exchange: who has none is refused
(400), and gets Tiingo's reference prices (6) in its place, which is a finding. Heartbeats show that the socket lives, not
that data come. Events carry no numbers and no ids, and each frame holds one: a trade in the same bytes as one before is
another trade, a quote is the same quote. Source: Tiingo's documentation of its websockets.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import orjson

from ingest.asks import Finding
from ingest.conversation import UNREADABLE
from ingest.providers.handshake import STALE_CONNECTION_S, Handshake
from ingest.providers.tiingo import CRYPTO, FX, IEX, SPENT, checked
from ingest.subscriptions import Subscriptions
from ingest.verdicts import Reading, Verdict
from lake.errors import InvalidValueError
from lake.values import Message

STREAM_ADDRESS = "wss://api.tiingo.com"
STALE_AFTER_NS = 600_000_000_000
"""A quiet pair may be silent for minutes; ten without one event ask for a new socket, whatever its heartbeats say."""
FEEDS = (IEX, CRYPTO, FX)


@dataclass(frozen=True, slots=True)
class _Service:
    """The levels to ask for, best first, and the channels of each; where the ticker and the instant stand in an array."""

    levels: Mapping[int, tuple[str, ...]]
    ticker: int
    at: int


_CHANNELS = {"T": "trades", "B": "trades", "Q": "quotes"}
_REFERENCE = "reference_prices"
_SERVICES = {
    IEX: _Service({0: ("trades", "quotes"), 6: (_REFERENCE,)}, 3, 1),
    CRYPTO: _Service({2: ("trades", "quotes")}, 1, 2),
    FX: _Service({5: ("quotes",)}, 1, 2),
}
_CONFIRMATION = "subscription"


class MarketStream(Handshake):
    """One capture's conversation (`Session`). The token is said to the provider, and stands in no message and no target."""

    def __init__(
        self, feed: str, symbols: Sequence[str], token: str, *, stale_after_ns: int = STALE_AFTER_NS, first_seq: int = 0
    ) -> None:
        super().__init__(stale_after_ns, first_seq)
        if feed not in FEEDS or not symbols:
            raise InvalidValueError(f"tiingo {feed}: a stream needs a feed of {', '.join(FEEDS)}, and symbols")
        self.target = f"/{feed}"
        self._service, self._token = _SERVICES[feed], token
        self._tickers = [checked(feed, symbol).lower() for symbol in symbols]
        self._is_upper = feed == IEX
        self._levels = list(self._service.levels)
        self._subscriptions = Subscriptions((_CONFIRMATION,))
        self._settle_level()

    def _settle_level(self) -> None:
        """Say what the level that is asked for brings."""
        symbols = tuple(self._named(ticker) for ticker in self._tickers)
        self.wanted = dict.fromkeys(self._service.levels[self._levels[0]], symbols)

    def _named(self, ticker: str) -> str:
        """Return a ticker as rows have it."""
        return ticker.upper() if self._is_upper else ticker

    def connected(self, now_ns: int) -> None:
        """Begin a connection: the client speaks first."""
        super().connected(now_ns)
        self._subscribe()

    def tick(self, now_ns: int) -> None:
        """Learn the time: a subscription that was not confirmed is asked for again."""
        super().tick(now_ns)
        if self._to_ask_again(now_ns):
            self._subscribe()

    def receive(self, data: bytes, ts_recv_ns: int) -> list[Message]:
        """Take one frame; every frame is a message, and a heartbeat is no sign of data."""
        try:
            found = orjson.loads(data)
        except orjson.JSONDecodeError:
            found = None
        frame = found if isinstance(found, dict) else {}
        kind, told = frame.get("messageType"), frame.get("data")
        heard_ns = self._last_heard_ns
        message = self._message(data, ts_recv_ns, may_repeat=kind == "A" and isinstance(told, list) and told[:1] == ["Q"])
        if kind == "H":
            self._last_heard_ns = heard_ns
        elif kind in ("I", "E"):
            self._answered(frame.get("response"))
        elif kind == "A" and isinstance(told, list):
            self._heard(told)
        else:
            self._lose(UNREADABLE)
        return [message]

    def _subscribe(self) -> None:
        wanted = {"thresholdLevel": self._levels[0], "tickers": self._tickers}
        self._outgoing.append(orjson.dumps({"eventName": "subscribe", "authorization": self._token, "eventData": wanted}))
        self._subscriptions.asked(self._now_ns)

    def _heard(self, told: list[object]) -> None:
        """Follow the channel of an event: its ticker as rows have it."""
        kind = str(told[0]) if told else ""
        channel = _CHANNELS.get(kind, _REFERENCE)
        ticker, at = (self._service.ticker, self._service.at) if kind in _CHANNELS else (1, 0)
        if len(told) > max(ticker, at) and isinstance(told[ticker], str):
            self._event(self._named(str(told[ticker])), channel, str(told[at]))

    def _answered(self, response: object) -> None:
        """Read what Tiingo says of the subscription, by its code; the words tell what a code leaves open."""
        told: Mapping[str, object] = response if isinstance(response, dict) else {}
        code, words = told.get("code"), str(told.get("message", ""))
        if code == 200:
            self._subscribed()
            self._subscriptions.confirmed((_CONFIRMATION,))
        elif code == 400 and "threshold" in words.lower() and len(self._levels) > 1:
            lost = self._levels.pop(0)
            self._findings.append(Finding("level", f"{code} {words}: went on with level {self._levels[0]} in place of {lost}"))
            self._settle_level()
            self._subscribe()
        else:
            self._refusal = _refusal(code, f"{code} {words}")


def _refusal(code: object, words: str) -> Reading:
    """Return what an error means that ends a connection; what may be over later is worth another."""
    if SPENT.search(words):
        return Reading(Verdict.QUOTA_EXHAUSTED, words)
    if code == 401:
        return Reading(Verdict.AUTH, words)
    if code == 403 or (code == 400 and "threshold" in words.lower()):
        return Reading(Verdict.NOT_ENTITLED, words)
    if code == 429:
        return Reading(Verdict.THROTTLED, words, STALE_CONNECTION_S)
    if isinstance(code, int) and 400 <= code < 500:
        return Reading(Verdict.BAD_REQUEST, words)
    return Reading(Verdict.UPSTREAM_5XX, words, STALE_CONNECTION_S)


def open_stream(feed: str, symbols: Sequence[str], keys: Sequence[str]) -> MarketStream:
    """Return the conversation about symbols of a feed, with the token. Raises InvalidValueError."""
    (token,) = keys
    return MarketStream(feed, symbols, token)
