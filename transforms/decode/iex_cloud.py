"""IEX's own market data in REST answers and SSE messages of IEX Cloud and the IEX API v1 (closed since 2024-08-31).

TOPS, last, DEEP, book, trades and trade breaks. Numbers are exact digits of JSON, stamps milliseconds since 1970. A trade's id
counts within a day: `trade_id` is `<New York date>:<tradeId>`; a trade told by its price alone (last, TOPS) has no id and is
skipped where TOPS repeats it. A stream's `seq` starts anew with its connection: quotes and trades do without; a book is a
snapshot of the channel `book:<date>`, numbered by `seq`, in REST of `snapshot:<date>`, by the milliseconds of its newest level.
Kept in raw only: auctions, trading, halt, short-sale, security and system events, official prices.
Source: iextrading4j's saved answers.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import pyarrow as pa

from transforms.decode.decoded import (
    BOOK_EVENTS,
    QUOTES,
    TRADE_EVENTS,
    TRADES,
    Decoded,
)
from transforms.decode.json_digits import document, exact, text_of
from transforms.decode.polygon_rows import instant
from transforms.decode.readers import CAMEL_QUOTE, Reader, Row, object_of, read_messages, trade_number, two_sides
from transforms.decode.spans import NEW_YORK
from transforms.numbers import PRICE_SCALE, SIZE_SCALE, NumberRefusedError

MARKET_TABLES = (TRADES, TRADE_EVENTS, QUOTES, BOOK_EVENTS)
_FLAGS = {
    "isISO": "ISO",
    "isOddLot": "ODD_LOT",
    "isOutsideRegularHours": "EXTENDED_HOURS",
    "isSinglePriceCross": "SINGLE_PRICE_CROSS",
    "isTradeThroughExempt": "TRADE_THROUGH_EXEMPT",
}
_BREAKS = re.compile(r"trade-?breaks?", re.IGNORECASE)
_WORDS = re.compile(rb"[A-Z][ -~\s]{0,500}\Z")
_STATES = frozenset({"ssr", "ophaltstatus", "securityevent", "tradingstatus", "auction", "officialprice", "systemevent"})
_STATE_PARTS = ("systemEvent", "tradingStatus", "opHaltStatus", "ssrStatus", "securityEvent", "auction", "officialPrice")
_STATE_WORDS = frozenset({"isHalted", "isSSR", "status", "securityEvent", "systemEvent", "priceType", "auctionType"})


def decode_market(messages: pa.Table) -> Decoded:
    """Return trades, breaks, quotes and books of IEX; every entry takes one ordinal."""
    reader = _Reader(MARKET_TABLES)
    return read_messages(reader, messages, reader.answer)


def sse_data(payload: bytes) -> bytes:
    """Return the data of an SSE event, its lines joined, or the payload where it is none; empty for a comment alone."""
    body = payload.lstrip()
    if not body.startswith((b"data:", b"event:", b"id:", b"retry:", b":")):
        return payload
    return b"\n".join(line[5:].lstrip() for line in body.splitlines() if line.startswith(b"data:"))


def is_no_answer(payload: bytes) -> bool:
    """Return whether a payload is empty, a page, or one of IEX's refusals in words (Unknown symbol, Not Found, quota …)."""
    body = payload.strip()
    return body in (b"", b"[]", b"{}", b"null") or body[:1] == b"<" or _WORDS.match(body) is not None


def hints(symbol: object) -> Row:
    """Return symbol, currency and exchange of a US stock. Raises NumberRefusedError (missing_symbol)."""
    name = text_of(symbol)
    if name is None:
        raise NumberRefusedError("missing_symbol", symbol, "a symbol")
    return {"symbol": name.upper(), "currency": "USD", "exchange": "US"}


class _Reader(Reader):
    """Reads answers and messages of the exchange."""

    is_of_breaks: bool = False
    """Whether the request, or the name of the file, is of trade breaks."""

    def begin(self, message: int, request: str | None, headers: str | None) -> None:
        """Turn to the next message."""
        super().begin(message, request, headers)
        self.is_of_breaks = _BREAKS.search(request or "") is not None

    def answer(self, payload: bytes) -> None:
        """Append what a payload says."""
        body = sse_data(payload)
        if not is_no_answer(body):
            self.read(document(body))

    def read(self, found: object) -> None:
        """Append what a document says. Raises NumberRefusedError when it is none of the exchange's."""
        if isinstance(found, list) and found and all(isinstance(each, dict) for each in found):
            for each in found:
                self.one(each)
        elif isinstance(found, dict):
            self.one(found)
        else:
            raise NumberRefusedError("unsupported_answer", type(found).__name__, "TOPS, last, DEEP, book, trades or breaks")

    def one(self, found: Mapping[str, object]) -> None:
        """Append an object: a message of the stream, an entry of a list, or answers by symbol."""
        kind, symbol = found.get("messageType"), found.get("symbol")
        if isinstance(kind, str):
            self._streamed(kind, symbol, found.get("data"), found.get("seq"))
        elif "bidPrice" in found or "askPrice" in found:
            self._tops(found)
        elif "bids" in found and "asks" in found:
            self._deep(symbol, found)
        elif symbol is not None and "price" in found and "time" in found:
            self.add(TRADES, self._trade, symbol, found, "time")
        elif symbol is not None and "tradeId" in found:
            self.add(TRADES, self._trade, symbol, found, "timestamp")
        elif found and all(isinstance(part, dict | list) for part in found.values()):
            self._by_symbol(found)
        else:
            self._state(found)

    def _streamed(self, kind: str, symbol: object, data: object, number: object) -> None:
        if kind == "trades":
            self.add(TRADES, self._trade, symbol, data, "timestamp")
        elif kind == "tradebreak":
            self.add(TRADE_EVENTS, self._break, symbol, data)
        elif kind == "book" and isinstance(data, dict):
            self._book(symbol, data, number)
        elif kind in _STATES:
            self.refuse(TRADES, NumberRefusedError("raw_only", kind, "trades, tradebreak or book"))
        else:
            self.refuse(TRADES, NumberRefusedError("unsupported_event", kind, "trades, tradebreak or book"))

    def _by_symbol(self, found: Mapping[str, object]) -> None:
        """Append answers by symbol; `/deep/trades` and `/deep/trade-breaks` look alike, the request alone tells them apart."""
        for symbol, told in found.items():
            if isinstance(told, list):
                for each in told:
                    self._trade_or_break(symbol, each, self.is_of_breaks)
            elif isinstance(told, dict) and "bids" in told and "asks" in told:
                self._deep(told.get("symbol", symbol), told)
            else:
                self._state(told if isinstance(told, dict) else {})

    def _trade_or_break(self, symbol: object, entry: object, is_break: bool) -> None:
        if is_break:
            self.add(TRADE_EVENTS, self._break, symbol, entry)
        else:
            self.add(TRADES, self._trade, symbol, entry, "timestamp")

    def _state(self, found: Mapping[str, object]) -> None:
        if _STATE_WORDS & set(found):
            return self.refuse(TRADES, NumberRefusedError("raw_only", sorted(found)[:6], "trades, quotes or a book"))
        told = sorted(found)[:6]
        self.refuse(TRADES, NumberRefusedError("unsupported_answer", told, "TOPS, last, DEEP, book, trades or breaks"))

    def _tops(self, found: Mapping[str, object]) -> None:
        self.add(QUOTES, self._quote, found)
        if found.get("lastSalePrice") is not None:
            self.skipped += 1  # the last price, told again with each quote: no execution report

    def _deep(self, symbol: object, found: Mapping[str, object]) -> None:
        quote = found.get("quote")
        name = symbol if symbol is not None else quote.get("symbol") if isinstance(quote, dict) else None
        self._book(name, found, None)
        for key, is_break in (("trades", False), ("tradeBreaks", True)):
            told = found.get(key)
            for each in told if isinstance(told, list) else []:
                self._trade_or_break(name, each, is_break)
        self.skipped += sum(bool(found.get(part)) for part in (*_STATE_PARTS, "quote", "lastSalePrice"))

    def _book(self, symbol: object, found: Mapping[str, object], number: object) -> None:
        """Append the levels of a snapshot, bids first; one that cannot be read is refused alone."""
        levels = [
            (side, each)
            for side, name in (("buy", "bids"), ("sell", "asks"))
            if isinstance(told := found.get(name), list)
            for each in told
        ]
        stamps = [each["timestamp"] for _, each in levels if isinstance(each, dict) and type(each.get("timestamp")) is int]
        if not levels:
            self.skipped += 1  # an empty book has no level
            return
        for place, (side, each) in enumerate(levels):
            self.add(BOOK_EVENTS, self._level, symbol, side, each, place, number, max(stamps, default=None))

    def _level(self, symbol: object, side: str, entry: object, place: int, number: object, newest: object) -> Row:
        told = object_of(entry)
        at, _ = instant(told.get("timestamp"))
        day = instant(newest)[0].astimezone(NEW_YORK).date()
        is_streamed = isinstance(number, int) and not isinstance(number, bool) and 0 <= number < 1 << 62
        return hints(symbol) | {
            "channel": f"book:{day}" if is_streamed else f"snapshot:{day}",
            "sequence": number if is_streamed else newest,
            "event_index": place,
            "event": "snapshot",
            "side": side,
            "ts_event": at,
            "ts_event_nanos": 0,
            "price": exact(told.get("price"), PRICE_SCALE),
            "size": exact(told.get("size"), SIZE_SCALE),
        }

    def _trade(self, symbol: object, entry: object, clock: str) -> Row:
        told = object_of(entry)
        at, nanos = instant(told.get(clock))
        number = trade_number(told.get("tradeId"))
        return hints(symbol) | {
            "ts_event": at,
            "ts_event_nanos": nanos,
            "price": exact(told.get("price"), PRICE_SCALE),
            "size": exact(told.get("size"), SIZE_SCALE),
            "trade_id": None if number is None else f"{at.astimezone(NEW_YORK).date()}:{number}",
            "conditions": ",".join(word for name, word in _FLAGS.items() if told.get(name) is True) or None,
        }

    def _break(self, symbol: object, entry: object) -> Row:
        return self._trade(symbol, entry, "timestamp") | {"kind": "break", "delivered_at": self.delivered}

    def _quote(self, told: Mapping[str, object]) -> Row:
        at, nanos = instant(told.get("lastUpdated"))
        return hints(told.get("symbol")) | {"ts_event": at, "ts_event_nanos": nanos} | two_sides(told, CAMEL_QUOTE)
