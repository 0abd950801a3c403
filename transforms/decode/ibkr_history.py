"""Interactive Brokers' historical bars and ticks as JSON: objects as clients of the API write them, one a line or in an array.

Bars have date, open, high, low, close, volume, average, barCount; ticks price and size, or both sides. Nothing in them says whose
they are: a `_manifest.json` beside the file may (symbol, secType, exchange, currency, barSize, whatToShow, zone); else the
instrument is provisional, named after the file, and the interval is the smallest step between bars. A stamp without a zone is
UTC unless the manifest names TWS's. TRADES and ADJUSTED_LAST are restated by IB: split-adjusted, and for dividends as well.
Kept in raw only: marks bidPastLow, askPastHigh, pastLimit.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, tzinfo
from pathlib import PurePath

import pyarrow as pa

from lake.values import Basis
from transforms.decode.decoded import ALTERNATIVE, BARS, QUOTES, TRADES, Decoded
from transforms.decode.delivery import delivered_at, json_object, zone_named
from transforms.decode.ibkr_values import BAR_SIZES, PRICE_TYPES, about, codes, end_of, interval_of, moment, number
from transforms.decode.json_digits import document
from transforms.decode.readers import Object, Reader, Row, object_of, read_messages
from transforms.numbers import PRICE_SCALE, SIZE_SCALE, VOLUME_SCALE, NumberRefusedError

TABLES = (BARS, TRADES, QUOTES, ALTERNATIVE)
_LEVEL_SCALE, _LEVEL_DIGITS, _VOLUME_DIGITS = 12, 38, 28
_NO_COUNT = (None, -1)


def decode(messages: pa.Table) -> Decoded:
    """Return the bars and ticks of JSON archives."""
    reader = _HistoryReader()
    return read_messages(reader, messages, reader.read)


class _HistoryReader(Reader):
    """The rows of one message while they are read, and what its request told of the contract."""

    def __init__(self) -> None:
        super().__init__(TABLES)
        self._told: Mapping[str, object] = {}
        self._interval: str | None = None
        self._zone: tzinfo = UTC

    def begin(self, message: int, request: str | None, headers: str | None) -> None:
        """Turn to the next message; its request holds the manifest's words and the interval that the whole file shows."""
        self.message, self.ordinal = message, 0
        self.delivered = delivered_at(headers, request)
        asked = json_object(request)
        told = asked.get("contract")
        self._told = told if isinstance(told, dict) else {}
        self._named = "file:" + PurePath(str(asked.get("file", "unknown"))).name.split(".")[0][:50]
        interval = asked.get("interval")
        self._interval = BAR_SIZES.get(str(self._told.get("barSize"))) or (interval if isinstance(interval, str) else None)
        self._zone = zone_named(self._told.get("zone")) or UTC

    def read(self, payload: bytes) -> None:
        """Read an array, or objects one a line. Raises NumberRefusedError for what is neither."""
        for entry in entries_of(payload):
            self._entry(entry)

    def _entry(self, entry: object) -> None:
        told = entry if isinstance(entry, dict) else {}
        if "open" in told:
            self.add(BARS, self._bar, entry)
        elif "priceBid" in told or "tickAttribBidAsk" in told:
            self.add(QUOTES, self._quote, entry)
        elif "tickAttribLast" in told or "specialConditions" in told:
            self.add(TRADES, self._trade, entry)
        else:
            self.add(ALTERNATIVE, self._midpoint, entry)

    def _at(self, entry: Object, name: str) -> tuple[datetime, int]:
        found = entry.get(name)
        instant, nanos, _ = moment(str(found) if isinstance(found, str | int) else "", self._zone)
        return instant, nanos

    def _who(self) -> Row:
        return about(self._told, self._named)

    def _bar(self, entry: object) -> Row:
        told = object_of(entry)
        date = told.get("date", told.get("time"))
        instant, _, day = moment(str(date) if isinstance(date, str | int) else "", self._zone)
        if self._interval is None:
            raise NumberRefusedError("unknown_interval", date, "bars a step apart, or barSize in a manifest")
        shown = str(self._told.get("whatToShow", "TRADES"))
        count = told.get("barCount")
        return self._who() | {
            "session_date": day,
            "interval": self._interval,
            "ts_open": instant,
            **{name: number(told.get(name), PRICE_SCALE) for name in ("open", "high", "low", "close")},
            "volume": _told(number(told.get("volume"), VOLUME_SCALE, _VOLUME_DIGITS)),
            "vwap": _told(number(told.get("average", told.get("wap")), PRICE_SCALE)),
            "trade_count": None if count in _NO_COUNT or not isinstance(count, int) else count,
            "basis": Basis.FULLY_ADJUSTED if shown == "ADJUSTED_LAST" else Basis.SPLIT_ADJUSTED,
            "price_type": PRICE_TYPES.get(shown, "trade"),
            "is_final": True,
            "known_at": end_of(self._interval, instant),
            "delivered_at": self.delivered,
        }

    def _quote(self, entry: object) -> Row:
        told = object_of(entry)
        instant, nanos = self._at(told, "time")
        row = self._who() | {"ts_event": instant, "ts_event_nanos": nanos}
        for side, price, size in (("bid", "priceBid", "sizeBid"), ("ask", "priceAsk", "sizeAsk")):
            found = number(told.get(price), PRICE_SCALE)
            if found:
                row |= {f"{side}_price": found, f"{side}_size": number(told.get(size), SIZE_SCALE)}
        return row

    def _trade(self, entry: object) -> Row:
        told = object_of(entry)
        instant, nanos = self._at(told, "time")
        marks = told.get("tickAttribLast")
        is_unreported = isinstance(marks, dict) and marks.get("unreported") is True
        conditions = [codes(str(told.get("specialConditions") or "")), "unreported" if is_unreported else None]
        return self._who() | {
            "ts_event": instant,
            "ts_event_nanos": nanos,
            "price": number(told.get("price"), PRICE_SCALE),
            "size": number(told.get("size"), SIZE_SCALE),
            "conditions": ",".join(code for code in conditions if code) or None,
        }

    def _midpoint(self, entry: object) -> Row:
        told = object_of(entry)
        instant, _ = self._at(told, "time")
        if "price" not in told:
            raise NumberRefusedError("malformed", entry, "a bar or a tick of IB")
        value = number(told["price"], _LEVEL_SCALE, _LEVEL_DIGITS)
        return self._who() | {"ts_event": instant, "measure": "midpoint", "value": value, "delivered_at": self.delivered}


def _told(value: object) -> object:
    """Return a volume or average; -1 is IB's word for one that bars of quotes do not have."""
    return None if value is None or value == -1 else value


def entries_of(payload: bytes) -> Iterator[object]:
    """Yield the objects of an array, or of lines. Raises NumberRefusedError."""
    packed = payload.strip()
    if packed.startswith(b"["):
        found = document(packed)
        yield from found if isinstance(found, list) else [found]
    else:
        for line in packed.splitlines():
            if line.strip():
                yield document(line)


def interval_shown(payload: bytes) -> str | None:
    """Return the interval that the bars of a message show; None where it holds none."""
    found = []
    try:
        for entry in entries_of(payload):
            if isinstance(entry, dict) and "open" in entry:
                date = entry.get("date", entry.get("time"))
                instant, _, day = moment(str(date) if isinstance(date, str | int) else "")
                found.append((instant, day))
    except NumberRefusedError:
        return interval_of(found)  # the entry itself is refused when it is decoded
    return interval_of(found)
