"""Binance's messages read by a JSON parser: any shape, any order of keys; what the kernel leaves over, or everything.

Columns are collected as plain lists in the same form as the kernel's (`transforms/kernels/binance.py`): scaled integers,
milliseconds, -1 where nothing is told.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

import msgspec

from transforms.decode.binance_answers import path_kind, read_klines, trade_object
from transforms.decode.decoded import BARS, BOOK_EVENTS, QUOTES, TRADES, Refusals, Rows
from transforms.decode.json_digits import asked
from transforms.numbers import PRICE_SCALE, SIZE_SCALE, NumberRefusedError, scaled_digits

NOT_TOLD = -1
_BOOK_TICKER = {"symbol": "s", "bidPrice": "b", "bidQty": "B", "askPrice": "a", "askQty": "A"}
"""Words of a quote that was asked for -> those of the stream. Its number is left out: only the stream's are without a hole."""
SNAPSHOT_CHANNEL = "depth_snapshot"
"""The channel of a REST depth snapshot, which comes on no stream."""
BARE_CHANNEL = "depth"
"""The channel of a depth update outside `{"stream":…}`: the socket knew it, the frame does not tell."""

FIRST_ERROR_STATUS = 400
_LAST_MS = 253_402_300_799_999
_INT64_MOST = 2**63 - 1
_decode = msgspec.json.Decoder().decode


@dataclass(slots=True)
class TradeColumns:
    """Trades: one list entry a trade; `ordinal` is its place in a list of trades, 0 in a frame."""

    message: list[int] = field(default_factory=list)
    ms: list[int] = field(default_factory=list)
    trade_id: list[int] = field(default_factory=list)
    price: list[int] = field(default_factory=list)
    size: list[int] = field(default_factory=list)
    symbol: list[str] = field(default_factory=list)
    is_buyer_maker: list[int] = field(default_factory=list)
    conditions: list[str | None] = field(default_factory=list)
    ordinal: list[int] = field(default_factory=list)


@dataclass(slots=True)
class QuoteColumns:
    """Best bids and offers."""

    message: list[int] = field(default_factory=list)
    ms: list[int] = field(default_factory=list)
    sequence: list[int] = field(default_factory=list)
    bid_price: list[int] = field(default_factory=list)
    bid_size: list[int] = field(default_factory=list)
    ask_price: list[int] = field(default_factory=list)
    ask_size: list[int] = field(default_factory=list)
    symbol: list[str] = field(default_factory=list)


@dataclass(slots=True)
class LevelColumns:
    """Depth levels: one list entry a level, the head of its update repeated."""

    message: list[int] = field(default_factory=list)
    ms: list[int] = field(default_factory=list)
    first: list[int] = field(default_factory=list)
    last: list[int] = field(default_factory=list)
    previous: list[int] = field(default_factory=list)
    symbol: list[str] = field(default_factory=list)
    channel: list[str] = field(default_factory=list)
    index: list[int] = field(default_factory=list)
    is_snapshot: list[int] = field(default_factory=list)
    is_ask: list[int] = field(default_factory=list)
    price: list[int] = field(default_factory=list)
    size: list[int] = field(default_factory=list)


@dataclass(slots=True)
class JsonFrames:
    """What messages read by the parser say."""

    trades: TradeColumns = field(default_factory=TradeColumns)
    quotes: QuoteColumns = field(default_factory=QuoteColumns)
    levels: LevelColumns = field(default_factory=LevelColumns)
    bars: Rows = field(default_factory=lambda: Rows(BARS))
    refused: Refusals = field(default_factory=Refusals)

    def read(self, message: int, payload: bytes, request: str | None, status: int | None) -> None:
        """Append what one message says; an acknowledgement or an error recorded as received appends nothing."""
        if status is not None and status >= FIRST_ERROR_STATUS:
            return
        try:
            found = _decode(payload)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ValueError) as error:
            self.refused.add_message(message, "malformed", payload[:200], f"JSON ({error})")
            return
        try:
            self._read(message, found, request)
        except NumberRefusedError as refused:
            self.refused.add_message(message, refused.rule, refused.value, refused.expected)

    def _read(self, message: int, found: object, request: str | None) -> None:
        channel: str | None = None
        if isinstance(found, dict) and "stream" in found and "data" in found:
            channel = _text(found, "stream")
            found = found["data"]
        if isinstance(found, list):
            return self._read_list(message, found, request)
        if not isinstance(found, dict):
            raise NumberRefusedError("unknown_message", found, "an object or a list")
        kind = found.get("e")
        if kind == "trade":
            self._read_trade(message, 0, found)
        elif kind == "bookTicker" or (kind is None and {"u", "s", "b", "B", "a", "A"} <= found.keys()):
            self._read_quote(message, found)
        elif kind is None and found.keys() >= _BOOK_TICKER.keys():
            self._read_quote(message, _as_streamed(found), is_numbered=False)
        elif kind == "depthUpdate":
            self._read_update(message, found, channel or BARE_CHANNEL)
        elif kind is None and "lastUpdateId" in found:
            self._read_snapshot(message, found, request)
        elif kind is not None or not _is_control(found):
            raise NumberRefusedError("unknown_message", _words(found, kind), "trade, bookTicker, depthUpdate or a depth snapshot")

    def _read_list(self, message: int, found: list[object], request: str | None) -> None:
        """Read an answer to a request for bars or for trades; aggregates of trades are kept in raw only."""
        path, params = asked(request)
        kind, symbol = path_kind(path), symbol_asked(request) or params.get("symbol")
        if kind == "klines":
            read_klines(message, found, (symbol, params.get("interval")), request, (self.bars, self.refused))
        elif kind in ("historicalTrades", "trades") and symbol is not None:
            for ordinal, entry in enumerate(found):
                self._read_trade(message, ordinal, entry, symbol)
        elif kind != "aggTrades":
            raise NumberRefusedError("unknown_message", path, "a list asked for by klines, historicalTrades or aggTrades")

    def _read_trade(self, message: int, ordinal: int, entry: object, symbol_of: str | None = None) -> None:
        try:
            found = trade_object(entry, symbol_of)
            ms, trade_id, symbol = _ms(found, "T"), _whole(found, "t"), _text(found, "s")
            price, size = scaled_digits(found.get("p"), PRICE_SCALE), scaled_digits(found.get("q"), SIZE_SCALE)
            conditions = _text(found, "X") if "X" in found else None
            is_buyer_maker = found.get("m")
            if not isinstance(is_buyer_maker, bool):
                raise NumberRefusedError("missing_field", is_buyer_maker, "m: true or false")
        except NumberRefusedError as refused:
            self.refused.add(message, ordinal, TRADES, refused.rule, refused.value, refused.expected)
            return
        into = self.trades
        into.message.append(message)
        into.ms.append(ms)
        into.trade_id.append(trade_id)
        into.price.append(price)
        into.size.append(size)
        into.symbol.append(symbol)
        into.is_buyer_maker.append(int(is_buyer_maker))
        into.conditions.append(conditions)
        into.ordinal.append(ordinal)

    def _read_quote(self, message: int, found: Mapping[str, object], *, is_numbered: bool = True) -> None:
        try:
            sequence, symbol = _whole(found, "u") if is_numbered else NOT_TOLD, _text(found, "s")
            ms = _ms(found, "T") if "T" in found else NOT_TOLD
            prices = [scaled_digits(found.get(key), PRICE_SCALE) for key in ("b", "a")]
            sizes = [scaled_digits(found.get(key), SIZE_SCALE) for key in ("B", "A")]
        except NumberRefusedError as refused:
            self.refused.add(message, 0, QUOTES, refused.rule, refused.value, refused.expected)
            return
        into = self.quotes
        into.message.append(message)
        into.ms.append(ms)
        into.sequence.append(sequence)
        into.bid_price.append(prices[0])
        into.bid_size.append(sizes[0])
        into.ask_price.append(prices[1])
        into.ask_size.append(sizes[1])
        into.symbol.append(symbol)

    def _read_update(self, message: int, found: dict[str, object], channel: str) -> None:
        ms = _ms(found, "T" if "T" in found else "E")
        first, last, symbol = _whole(found, "U"), _whole(found, "u"), _text(found, "s")
        previous = _whole(found, "pu") if "pu" in found else NOT_TOLD
        sides = _list(found, "b"), _list(found, "a")
        self._add_levels(message, sides, (ms, first, last, previous, symbol, channel), is_snapshot=False)

    def _read_snapshot(self, message: int, found: dict[str, object], request: str | None) -> None:
        last = _whole(found, "lastUpdateId")
        ms = next((_ms(found, key) for key in ("T", "E") if key in found), NOT_TOLD)
        sides = _list(found, "bids"), _list(found, "asks")
        symbol = symbol_asked(request)
        if symbol is None:
            raise NumberRefusedError("missing_symbol", last, "the symbol in the request of a depth snapshot")
        self._add_levels(message, sides, (ms, NOT_TOLD, last, NOT_TOLD, symbol, SNAPSHOT_CHANNEL), is_snapshot=True)

    def _add_levels(
        self,
        message: int,
        sides: tuple[list[object], list[object]],
        head: tuple[int, int, int, int, str, str],
        *,
        is_snapshot: bool,
    ) -> None:
        into = self.levels
        index = 0
        for is_ask, levels in enumerate(sides):
            for level in levels:
                try:
                    if not isinstance(level, list) or len(level) < 2:
                        raise NumberRefusedError("malformed", level, "[price, size]")
                    price, size = scaled_digits(level[0], PRICE_SCALE), scaled_digits(level[1], SIZE_SCALE)
                except NumberRefusedError as refused:
                    self.refused.add(message, index, BOOK_EVENTS, refused.rule, refused.value, refused.expected)
                else:
                    into.price.append(price)
                    into.size.append(size)
                    into.is_ask.append(is_ask)
                    into.index.append(index)
                index += 1
        added = len(into.price) - len(into.message)
        ms, first, last, previous, symbol, channel = head
        into.message += [message] * added
        into.ms += [ms] * added
        into.first += [first] * added
        into.last += [last] * added
        into.previous += [previous] * added
        into.symbol += [symbol] * added
        into.channel += [channel] * added
        into.is_snapshot += [int(is_snapshot)] * added


def symbol_asked(request: str | None) -> str | None:
    """Return the symbol in the request's JSON (`symbol`, or `params.symbol`), or None."""
    if request is None:
        return None
    try:
        asked = json.loads(request)
    except (ValueError, RecursionError):
        return None
    if not isinstance(asked, dict):
        return None
    params = asked.get("params")
    for place in (asked, params if isinstance(params, dict) else {}):
        symbol = place.get("symbol")
        if isinstance(symbol, str) and symbol:
            return symbol.upper()
    return None


def _as_streamed(found: Mapping[str, object]) -> dict[str, object]:
    """Return a quote that was asked for in the words of the stream; spot tells no time of it."""
    told = {name: found.get(word) for word, name in _BOOK_TICKER.items()}
    return told | ({"T": found["time"]} if "time" in found else {})


def _is_control(found: Mapping[str, object]) -> bool:
    """Acknowledgements `{"result":null,"id":1}` and errors `{"code":…,"msg":…}`, `{"error":…}` carry no fact."""
    return ("result" in found and "id" in found) or "error" in found or ("code" in found and "msg" in found)


def _words(found: Mapping[str, object], kind: object) -> object:
    return kind if kind is not None else ", ".join(list(found)[:8])


def _whole(found: Mapping[str, object], key: str) -> int:
    value = found.get(key)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= _INT64_MOST:
        rule = "missing_field" if key not in found else "malformed_number"
        raise NumberRefusedError(rule, value, f"{key}: a whole number of 63 bits")
    return value


def _ms(found: Mapping[str, object], key: str) -> int:
    value = _whole(found, key)
    if value > _LAST_MS:
        raise NumberRefusedError("timestamp", value, f"{key}: milliseconds up to the year 9999")
    return value


def _text(found: Mapping[str, object], key: str) -> str:
    value = found.get(key)
    if not isinstance(value, str) or not value:
        raise NumberRefusedError("missing_field", value, f"{key}: text")
    return value


def _list(found: Mapping[str, object], key: str) -> list[object]:
    value = found.get(key)
    if not isinstance(value, list):
        raise NumberRefusedError("missing_field", value, f"{key}: a list of levels")
    return value
