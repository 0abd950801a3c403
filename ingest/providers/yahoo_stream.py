"""Yahoo's price stream: subscriptions by JSON, frames of PricingData. Machine: no I/O, and no key is wanted.

Nothing is numbered and nothing is confirmed. A subscription lapses unless it is repeated, which is the heartbeat; frames are
the only sign of life. Source: PROVIDERS.md section 5, yfinance's live.py.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import orjson

from ingest.conversation import UNREADABLE, Unnumbered
from ingest.providers.yahoo import checked
from lake.errors import InvalidValueError, ProtocolError
from lake.instants import NANOS_PER_SECOND
from lake.values import Message

STREAM = "stream"
"""The feed that is pushed."""
STREAM_ADDRESS = "wss://streamer.finance.yahoo.com"
STALE_AFTER_NS = 300 * NANOS_PER_SECOND
"""A liquid symbol is told every second of its session; five minutes without any ask for a new socket."""
HEARTBEAT_NS = 15 * NANOS_PER_SECOND
MOST_SYMBOLS = 100
"""On one socket: more are not known to be refused, nor to be served."""
_QUOTES, _PRICES = "quotes", "prices"
_UNQUOTED = re.compile(r"\^|.*-[A-Z]{3}\Z")
"""Indices and pairs of crypto: Yahoo tells a price of them, and neither bid nor ask."""


class PriceStream(Unnumbered):
    """One capture's conversation (`Session`): the newest price of each symbol, with bid and ask where there are any."""

    target = "/?version=2"

    def __init__(self, symbols: Sequence[str], *, stale_after_ns: int = STALE_AFTER_NS, first_seq: int = 0) -> None:
        from transforms.decode.yahoo_stream import pricing_of  # slow to import, and the registry imports this module

        super().__init__(stale_after_ns, first_seq)
        self._pricing_of = pricing_of
        if not symbols:
            raise InvalidValueError("the price stream needs at least one symbol")
        self._subscription = orjson.dumps({"subscribe": [checked(symbol) for symbol in symbols]})
        channels = {_PRICES: [symbol for symbol in symbols if _UNQUOTED.match(symbol)]}
        channels[_QUOTES] = [symbol for symbol in symbols if symbol not in channels[_PRICES]]
        self.wanted = {name: told for name, told in channels.items() if told}
        self._said_ns = 0

    def connected(self, now_ns: int) -> None:
        """Begin a connection: one subscription of all symbols."""
        self._begun(now_ns)
        self._subscribe(now_ns)

    def tick(self, now_ns: int) -> None:
        """Learn the time; the subscription is repeated before it lapses."""
        super().tick(now_ns)
        if now_ns - self._said_ns >= HEARTBEAT_NS:
            self._subscribe(now_ns)

    def _subscribe(self, now_ns: int) -> None:
        self._said_ns = now_ns
        self._outgoing.append(self._subscription)

    def receive(self, data: bytes, ts_recv_ns: int) -> list[Message]:
        """Take one frame; the same bytes again are noted as a repeat."""
        message = self._message(data, ts_recv_ns, may_repeat=True)
        try:
            told = self._pricing_of(data)
        except ProtocolError:
            self._lose(UNREADABLE)
            return [message]
        symbol = None if told is None else told.get("symbol")
        if told is not None and isinstance(symbol, str):
            self._event(symbol, _QUOTES if told.get("bid") or told.get("ask") else _PRICES, str(told.get("time")))
        return [message]

    def _is_heard(self, symbol: str, name: str) -> None:
        """Learn that a symbol spoke for the first time: on which of its channels cannot be known before."""
        for each in (_QUOTES, _PRICES):
            super()._is_heard(symbol, each)


def open_stream(symbols: Sequence[str], keys: Sequence[str]) -> PriceStream:
    """Return the conversation about symbols; there are no keys. Raises InvalidValueError."""
    return PriceStream(symbols)
