"""Messages that TWS and IB Gateway send, of the market-data kind: fields that end with NUL, by server version.

Fields without a version of their own come and go with the server's: historical bars tell start and end before version 196 and
a version and gaps before 124, computations of options a version before 156. A recording that does not tell its server's version
(`server_version` of the request) is read by the layout that fits the count of its fields. The contract, bar size and kind of
prices stand in the client's request (`contract`, `ask`), which a recording of both directions holds; else the instrument is
provisional. One tick of streaming data is one field of a quote: `status_events` (statistic) in TWS's words, not a quote with a
side missing. Depth is by position and refused as `by_position`, protobuf (server 201 and later) as `unsupported_message`.
Messages of accounts and orders, errors and ends are control.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, tzinfo
from pathlib import PurePath

import orjson
import pyarrow as pa

from lake.values import Basis
from transforms.decode.decoded import ALTERNATIVE, BARS, NEWS, QUOTES, STATUS_EVENTS, TRADES, Decoded
from transforms.decode.delivery import json_object, zone_named
from transforms.decode.ibkr_values import BAR_SIZES, PRICE_TYPES, about, codes, end_of, interval_of, moment, number
from transforms.decode.readers import Reader, Row, read_messages
from transforms.numbers import PRICE_SCALE, SIZE_SCALE, VOLUME_SCALE, NumberRefusedError

TABLES = (TRADES, QUOTES, BARS, STATUS_EVENTS, NEWS, ALTERNATIVE)
SYNTHETIC_BARS, OPTION_VERSION_GONE, BARS_END_APART, PROTOBUF = 124, 156, 196, 201
"""Server versions at which a layout changed."""
_LEVEL_SCALE, _LEVEL_DIGITS, _VOLUME_DIGITS = 12, 38, 28
_MOST_FIELDS = 2_000_000
_TICKS = {
    "0": "bid_size", "1": "bid", "2": "ask", "3": "ask_size", "4": "last", "5": "last_size", "6": "high", "7": "low",
    "8": "volume", "9": "close", "10": "bid_option", "11": "ask_option", "12": "last_option", "13": "model_option",
    "14": "open", "23": "historical_volatility", "24": "implied_volatility", "31": "index_future_premium",
    "32": "bid_exchange", "33": "ask_exchange", "37": "mark_price", "45": "last_time", "48": "rt_volume", "49": "halted",
    "66": "delayed_bid", "67": "delayed_ask", "68": "delayed_last", "69": "delayed_bid_size", "70": "delayed_ask_size",
    "71": "delayed_last_size", "72": "delayed_high", "73": "delayed_low", "74": "delayed_volume", "75": "delayed_close",
    "76": "delayed_open", "84": "last_exchange",
}  # fmt: skip
_GREEKS = ("implied_volatility", "delta", "option_price", "dividends", "gamma", "vega", "theta", "underlying_price")
_BAR_FIELDS, _OLD_BAR_FIELDS = 8, 9
_MASK_UNREPORTED = 2
_DEPTH = ("12", "13")
_READ = ("1", "2", "17", "21", "45", "46", "50", "84", "90", "96", "97", "98", "99")


def decode(messages: pa.Table) -> Decoded:
    """Return what messages of TWS say about the market."""
    reader = _WireReader()
    return read_messages(reader, messages, reader.read)


class _WireReader(Reader):
    """The rows of one message while they are read, and what its request told of server and contract."""

    def __init__(self) -> None:
        super().__init__(TABLES)
        self._told: Mapping[str, object] = {}
        self._ask: Mapping[str, object] = {}
        self._version: int | None = None
        self._file = "unknown"
        self._is_request = False

    def begin(self, message: int, request: str | None, headers: str | None) -> None:
        """Turn to the next message; its request holds the server's version and what the client had asked for."""
        self.message, self.ordinal = message, 0
        asked = json_object(request)
        contract, ask, version = asked.get("contract"), asked.get("ask"), asked.get("server_version")
        self._told = contract if isinstance(contract, dict) else {}
        self._ask = ask if isinstance(ask, dict) else {}
        self._version = version if isinstance(version, int) else None
        self._file = PurePath(str(asked.get("file", "unknown"))).name.split(".")[0][:40]
        self._is_request = asked.get("direction") == "request"

    def read(self, payload: bytes) -> None:
        """Read one message. Raises NumberRefusedError for one that is refused whole."""
        if self._is_request:
            return
        if self._version is not None and self._version >= PROTOBUF and payload[:1] == b"\0":
            raise NumberRefusedError("unsupported_message", payload[:40].hex(), "fields of text: protobuf is not read")
        if not payload.endswith(b"\0") or payload.count(b"\0") > _MOST_FIELDS:
            raise NumberRefusedError("truncated", payload[-100:], "fields that end with NUL")
        fields = payload[:-1].decode("utf-8", "replace").split("\0")
        kind = fields[0]
        if kind in _DEPTH:
            raise NumberRefusedError("by_position", "|".join(fields[:8]), "a book by price")
        if not kind.isdecimal() or len(kind) > 4:
            raise NumberRefusedError("malformed", payload[:100], "the number of a message's kind")
        if kind in _READ:
            self._market(kind, fields)

    def _market(self, kind: str, fields: list[str]) -> None:
        readers = {
            "17": self._bars, "50": self._five_seconds, "90": self._update, "96": self._midpoints, "97": self._quotes,
            "98": self._trades, "99": self._tick_by_tick, "1": self._tick_price, "2": self._tick_size, "45": self._tick_word,
            "46": self._tick_word, "21": self._computation, "84": self._news,
        }  # fmt: skip
        readers[kind](fields)

    def _who(self, request_id: str) -> Row:
        return about(self._told, f"file:{self._file}#{request_id[:12]}")

    def _zone(self) -> tzinfo:
        return zone_named(self._told.get("zone")) or UTC

    def _shown(self) -> str:
        return str(self._ask.get("whatToShow", "TRADES"))

    def _bars(self, fields: list[str]) -> None:
        at, width = self._bars_layout(fields)
        entries = [fields[place : place + width] for place in range(at, len(fields), width)]
        request_id = fields[2] if width == _OLD_BAR_FIELDS else fields[1]
        placed = []
        for entry in entries:
            instant, _, day = moment(entry[0], self._zone())
            placed.append((instant, day))
        interval = BAR_SIZES.get(str(self._ask.get("barSize"))) or interval_of(placed)
        if interval is None:
            raise NumberRefusedError(
                "unknown_interval", fields[at] if entries else None, "bars a step apart, or the client's request"
            )
        for entry, (instant, day) in zip(entries, placed, strict=True):
            numbers = entry[1:7] + entry[-1:]
            self.add(BARS, self._bar, request_id, instant, day, interval, numbers)

    def _bars_layout(self, fields: list[str]) -> tuple[int, int]:
        """Return (where bars begin, fields of one): by the server's version, else by what fits. Raises NumberRefusedError."""
        layouts: tuple[tuple[int, int, int], ...] = (
            (BARS_END_APART, 3, _BAR_FIELDS),
            (SYNTHETIC_BARS, 5, _BAR_FIELDS),
            (0, 6, _OLD_BAR_FIELDS),
        )
        if self._version is not None:
            layouts = (next(layout for layout in layouts if self._version >= layout[0]),)
        for _, at, width in layouts:
            count = fields[at - 1] if len(fields) >= at else ""
            if count.isdecimal() and len(count) <= 7 and len(fields) == at + int(count) * width:
                return at, width
        raise NumberRefusedError(
            "entry_count", f"{len(fields)} fields", f"bars as server version {self._version or 'any'} writes them"
        )

    def _bar(self, request_id: str, instant: datetime, day: date | None, interval: str, numbers: Sequence[str]) -> Row:
        shown = self._shown()
        volume, average, count = (number(text, VOLUME_SCALE, _VOLUME_DIGITS) for text in numbers[4:7])
        return self._who(request_id) | {
            "session_date": day,
            "interval": interval,
            "ts_open": instant,
            **{name: number(text, PRICE_SCALE) for name, text in zip(("open", "high", "low", "close"), numbers, strict=False)},
            "volume": None if volume is None or volume < 0 else volume,
            "vwap": None if average is None or average < 0 else number(numbers[5], PRICE_SCALE),
            "trade_count": None if count is None or count < 0 else int(count),
            "basis": Basis.FULLY_ADJUSTED if shown == "ADJUSTED_LAST" else Basis.SPLIT_ADJUSTED,
            "price_type": PRICE_TYPES.get(shown, "trade"),
            "is_final": True,
            "known_at": end_of(interval, instant),
        }

    def _five_seconds(self, fields: list[str]) -> None:
        _needs(fields, 11)
        self.add(BARS, self._live_bar, fields[2], fields[3], fields[4:11], "5s", True)

    def _update(self, fields: list[str]) -> None:
        _needs(fields, 10)
        prices = [fields[place] for place in (4, 6, 7, 5, 9, 8, 2)]  # TWS tells open, close, high, low, average, volume here
        interval = BAR_SIZES.get(str(self._ask.get("barSize")))
        if interval is None:
            raise NumberRefusedError("unknown_interval", fields[3], "the client's request")
        self.add(BARS, self._live_bar, fields[1], fields[3], prices, interval, False)

    def _live_bar(self, request_id: str, time: str, numbers: Sequence[str], interval: str, is_final: bool) -> Row:
        instant, _, day = moment(time, self._zone())
        row = self._bar(request_id, instant, day, interval, numbers)
        return row | {"is_final": is_final, "basis": Basis.AS_TRADED if interval == "5s" else row["basis"]}

    def _entries(self, fields: list[str], width: int) -> list[list[str]]:
        _needs(fields, 3)
        count = fields[2]
        if not count.isdecimal() or len(count) > 7 or len(fields) not in (3 + int(count) * width, 4 + int(count) * width):
            raise NumberRefusedError("entry_count", f"{count}: {len(fields)} fields", f"{width} fields a tick")
        return [fields[place : place + width] for place in range(3, 3 + int(count) * width, width)]

    def _midpoints(self, fields: list[str]) -> None:
        for time, _, price, _ in self._entries(fields, 4):
            self.add(ALTERNATIVE, self._midpoint, fields[1], time, price)

    def _midpoint(self, request_id: str, time: str, price: str) -> Row:
        instant, _, _ = moment(time, self._zone())
        return self._who(request_id) | {
            "ts_event": instant,
            "measure": "midpoint",
            "value": number(price, _LEVEL_SCALE, _LEVEL_DIGITS),
        }

    def _quotes(self, fields: list[str]) -> None:
        for time, _, *sides in self._entries(fields, 6):
            self.add(QUOTES, self._quote, fields[1], time, sides)

    def _quote(self, request_id: str, time: str, sides: Sequence[str]) -> Row:
        instant, nanos, _ = moment(time, self._zone())
        row = self._who(request_id) | {"ts_event": instant, "ts_event_nanos": nanos}
        for side, place in (("bid", 0), ("ask", 1)):
            price = number(sides[place], PRICE_SCALE)
            if price:
                row |= {f"{side}_price": price, f"{side}_size": number(sides[place + 2], SIZE_SCALE)}
        return row

    def _trades(self, fields: list[str]) -> None:
        for time, mask, price, size, _, conditions in self._entries(fields, 6):
            self.add(TRADES, self._trade, fields[1], time, mask, price, size, conditions)

    def _trade(self, request_id: str, time: str, mask: str, price: str, size: str, conditions: str) -> Row:
        instant, nanos, _ = moment(time, self._zone())
        if not mask.isdecimal() or len(mask) > 9:
            raise NumberRefusedError("malformed_number", mask, "the marks of a trade")
        told = [codes(conditions), "unreported" if int(mask) & _MASK_UNREPORTED else None]
        return self._who(request_id) | {
            "ts_event": instant,
            "ts_event_nanos": nanos,
            "price": number(price, PRICE_SCALE),
            "size": number(size, SIZE_SCALE),
            "conditions": ",".join(code for code in told if code) or None,
        }

    def _tick_by_tick(self, fields: list[str]) -> None:
        _needs(fields, 5)
        _, request_id, kind, time, *told = fields
        if kind in ("1", "2") and len(told) == 5:
            self.add(TRADES, self._trade, request_id, time, told[2], told[0], told[1], told[4])
        elif kind == "3" and len(told) == 5:
            self.add(QUOTES, self._quote, request_id, time, told[:4])
        elif kind == "4" and len(told) == 1:
            self.add(ALTERNATIVE, self._midpoint, request_id, time, told[0])
        else:
            raise NumberRefusedError("entry_count", "|".join(fields[:12]), "a trade, both sides or a midpoint")

    def _tick_price(self, fields: list[str]) -> None:
        _needs(fields, 6)
        self.add(STATUS_EVENTS, self._tick, fields[2], fields[3], fields[4], fields[5], {"attributes": fields[6:]})

    def _tick_size(self, fields: list[str]) -> None:
        _needs(fields, 5)
        self.add(STATUS_EVENTS, self._tick, fields[2], fields[3], None, fields[4], {})

    def _tick_word(self, fields: list[str]) -> None:
        _needs(fields, 5)
        self.add(STATUS_EVENTS, self._tick, fields[2], fields[3], None, None, {"value": fields[4]})

    def _computation(self, fields: list[str]) -> None:
        has_version = self._version is not None and self._version < OPTION_VERSION_GONE
        _needs(fields, 12 if has_version else 11)
        told = fields[2:] if has_version else fields[1:]
        request_id, kind, *numbers = told
        named = dict(zip(_GREEKS, numbers[-len(_GREEKS) :], strict=False))
        self.add(STATUS_EVENTS, self._tick, request_id, kind, None, None, named)

    def _tick(self, request_id: str, kind: str, price: str | None, size: str | None, more: Mapping[str, object]) -> Row:
        found = number(price, PRICE_SCALE)
        return self._who(request_id) | {
            "kind": "statistic",
            "status": _TICKS.get(kind, f"tick_{kind}"[:20]),
            "code": kind[:20],
            "price": None if price is None or price in ("-1", "-1.0") else found,
            "size": number(size, SIZE_SCALE),
            "detail": orjson.dumps(dict(more)).decode() if more else None,
        }

    def _news(self, fields: list[str]) -> None:
        _needs(fields, 6)
        self.add(NEWS, self._article, fields)

    def _article(self, fields: list[str]) -> Row:
        _, request_id, stamp, source, article, headline = fields[:6]
        if not stamp.isdecimal() or len(stamp) != 13:
            raise NumberRefusedError("timestamp", stamp, "milliseconds since 1970")
        instant, _, _ = moment(stamp[:-3])
        return self._who(request_id) | {"ts_event": instant, "news_id": article, "headline": headline, "source": source}


def _needs(fields: Sequence[str], count: int) -> None:
    if len(fields) < count:
        raise NumberRefusedError("truncated", "|".join(fields[:20]), f"at least {count} fields")
