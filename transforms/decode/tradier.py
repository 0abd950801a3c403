"""Tradier: chains of options with greeks, quotes of stocks and options, daily history.

A chain's entry gives a quote, what the chain tells of the option (open interest, volume, greeks, implied volatility of the mid),
its terms, and the day so far as a bar that is not final; a quote gives the first and the last. Times are milliseconds; what is
told of an option is placed at its newest bid, offer or trade. Sizes of stocks are in hundreds, as Tradier documents them. A list
of one is an object, an empty one null. Kept in raw only: bid_iv, ask_iv, smv_vol, phi and the time of greeks, changes, averages,
52 weeks; lists of expirations are refused as raw_only.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import PurePath
from zoneinfo import ZoneInfo

import pyarrow as pa

from lake.values import Basis
from transforms.decode.decoded import BARS, OPTION_CONTRACTS, OPTION_OPEN_INTEREST, QUOTES, Decoded
from transforms.decode.delivery import json_object
from transforms.decode.json_digits import document, exact, rounded
from transforms.decode.readers import Object, Reader, Row, object_of, read_messages
from transforms.numbers import PRICE_SCALE, SIZE_SCALE, VOLUME_SCALE, NumberRefusedError

TABLES = (QUOTES, OPTION_OPEN_INTEREST, OPTION_CONTRACTS, BARS)
_LISTS = {"options": "option", "quotes": "quote", "history": "day", "expirations": "date"}
_GREEKS = ("delta", "gamma", "theta", "vega", "rho")
_GREEK_SCALE, _GREEK_DIGITS, _VOLUME_DIGITS = 18, 28, 28
_AMOUNT_SCALE, _AMOUNT_DIGITS = 18, 38
_PRICES = ("open", "high", "low", "close")
_ASSETS = {"stock": "equity", "etf": "etf", "option": "option", "index": "index", "mutual_fund": "fund"}
_DAY = re.compile(r"\d{4}-\d\d-\d\d\Z")
_FILE_SYMBOL = re.compile(r"history_([A-Z]{1,6}(?:\d{6}[CP]\d{8})?)(?![A-Za-z0-9])")
_NEW_YORK = ZoneInfo("America/New_York")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MOST_MS = 7_258_118_400_000


def decode(messages: pa.Table) -> Decoded:
    """Return what Tradier's answers say."""
    reader = _TradierReader()
    return read_messages(reader, messages, reader.read)


class _TradierReader(Reader):
    """The rows of one answer while they are read."""

    def __init__(self) -> None:
        super().__init__(TABLES)
        self._file = ""

    def begin(self, message: int, request: str | None, headers: str | None) -> None:
        """Turn to the next message; the symbol of a history stands in its request alone, or in the file's name."""
        super().begin(message, request, headers)
        self._file = PurePath(str(json_object(request).get("file", ""))).name

    def read(self, payload: bytes) -> None:
        """Read one answer. Raises NumberRefusedError for one that is refused whole."""
        told = object_of(document(payload))
        kind = next((name for name in _LISTS if name in told), None)
        if kind is None:
            raise NumberRefusedError("malformed", payload[:100], f"an object of {', '.join(_LISTS)}")
        held = told[kind]
        if held is None or held == "null":
            return
        entries = object_of(held).get(_LISTS[kind])
        if kind == "expirations":
            raise NumberRefusedError("raw_only", str(entries)[:100], "chains, quotes or history")
        for entry in entries if isinstance(entries, list) else [] if entries is None else [entries]:
            if kind == "history":
                self.add(BARS, self._day, entry)
            else:
                self._quoted(entry)

    def _quoted(self, entry: object) -> None:
        self.add_all(QUOTES, _quotes, entry)
        if isinstance(entry, dict) and entry.get("type") == "option":
            self.add(OPTION_OPEN_INTEREST, self._interest, entry)
            self.add(OPTION_CONTRACTS, self._terms, entry)
        self.add_all(BARS, self._day_so_far, entry)

    def _interest(self, entry: object) -> Row:
        told = object_of(entry)
        greeks = told.get("greeks")
        known = greeks if isinstance(greeks, dict) else {}
        return _who(told) | {
            "underlying": told.get("underlying") if isinstance(told.get("underlying"), str) else None,
            "ts_event": _newest(told, "bid_date", "ask_date", "trade_date"),
            "open_interest": _count(told, "open_interest"),
            "day_volume": _count(told, "volume"),
            "implied_volatility": _greek(known.get("mid_iv")),
            **{name: _greek(known.get(name)) for name in _GREEKS},
            "delivered_at": self.delivered,
        }

    def _terms(self, entry: object) -> Row:
        told = object_of(entry)
        right, size = told.get("option_type"), told.get("contract_size")
        if right not in ("call", "put"):
            raise NumberRefusedError("malformed", right, "call or put")
        return _who(told) | {
            "underlying": told.get("underlying") or told.get("root_symbol"),
            "expiry_date": _date(told.get("expiration_date")),
            "option_right": right,
            "strike": exact(told.get("strike"), PRICE_SCALE),
            "multiplier": None if size is None else exact(size, _AMOUNT_SCALE, _AMOUNT_DIGITS),
            "known_at": self.delivered or _newest(told, "bid_date", "ask_date", "trade_date"),
            "delivered_at": self.delivered,
        }

    def _day_so_far(self, entry: object) -> Iterator[Row]:
        told = object_of(entry)
        if told.get("open") is None or told.get("trade_date") is None:
            return  # not traded on its day
        at = _newest(told, "trade_date")
        day = at.astimezone(_NEW_YORK).date()
        prices = {name: _price(told.get(name)) for name in _PRICES}
        prices["close"] = prices["close"] if prices["close"] is not None else _price(told.get("last"))
        yield (
            _who(told)
            | prices
            | {
                "ts_open": datetime.combine(day, datetime.min.time(), UTC),
                "session_date": day,
                "is_final": False,
                "delivered_at": self.delivered or at,
                **_daily(told, is_option=told.get("type") == "option"),
            }
        )

    def _day(self, entry: object) -> Row:
        told = object_of(entry)
        symbol = self.params.get("symbol")
        named = _FILE_SYMBOL.search(self._file)
        if symbol is None and named is None:
            raise NumberRefusedError(
                "unknown_symbol", self._file or None, "the request of a history, or its symbol in the file's name"
            )
        day = _date(told.get("date"))
        found = symbol if symbol is not None else named[1] if named is not None else ""
        is_option = found[-9:-8] in ("C", "P") and found[-8:].isdigit()
        return {
            "symbol": found,
            "exchange": "US",
            "asset_class": "option" if is_option else None,
            "currency": "USD",
            **{name: _price(told.get(name)) for name in _PRICES},
            "ts_open": datetime.combine(day, datetime.min.time(), UTC),
            "session_date": day,
            "is_final": True,
            "delivered_at": self.delivered,
            **_daily(told, is_option=is_option),
        }


def _daily(told: Object, *, is_option: bool) -> Row:
    """Return what bars of a day share: a stock's history is split-adjusted, an option's terms are adjusted instead."""
    volume = told.get("volume")
    return {
        "interval": "1d",
        "basis": Basis.AS_TRADED if is_option else Basis.SPLIT_ADJUSTED,
        "price_type": "trade",
        "volume": None if volume is None else exact(volume, VOLUME_SCALE, _VOLUME_DIGITS),
    }


def _who(told: Object) -> Row:
    symbol = told.get("symbol")
    if not isinstance(symbol, str) or not symbol:
        raise NumberRefusedError("unknown_symbol", symbol, "a symbol")
    kind = told.get("type")
    return {
        "symbol": symbol,
        "exchange": "US",
        "asset_class": _ASSETS.get(kind) if isinstance(kind, str) else None,
        "currency": "USD",
    }


def _quotes(entry: object) -> Iterator[Row]:
    told = object_of(entry)
    row = _who(told)
    unit = 1 if told.get("type") == "option" else 100
    for side in ("bid", "ask"):
        price, size = _price(told.get(side)), told.get(f"{side}size")
        if price:
            row |= {f"{side}_price": price, f"{side}_size": None if size is None else exact(size, SIZE_SCALE) * unit}
    if "bid_price" in row or "ask_price" in row:
        yield row | {"ts_event": _newest(told, "bid_date", "ask_date"), "ts_event_nanos": 0}


def _newest(told: Object, *names: str) -> datetime:
    stamps = [told[name] for name in names if told.get(name)]
    if not stamps or not all(isinstance(stamp, int) and not isinstance(stamp, bool) and 0 < stamp < _MOST_MS for stamp in stamps):
        raise NumberRefusedError("timestamp", stamps or None, f"milliseconds since 1970 in {' or '.join(names)}")
    return _EPOCH + timedelta(milliseconds=max(int(str(stamp)) for stamp in stamps))


def _date(text: object) -> date:
    if isinstance(text, str) and _DAY.match(text):
        try:
            return date.fromisoformat(text)
        except ValueError as error:
            raise NumberRefusedError("malformed_date", text, "a date like 2022-02-25") from error
    raise NumberRefusedError("malformed_date", text, "a date like 2022-02-25")


def _price(value: object) -> Decimal | None:
    return None if value is None else exact(value, PRICE_SCALE)


def _greek(value: object) -> Decimal | None:
    return None if value is None else rounded(value, _GREEK_SCALE, _GREEK_DIGITS)


def _count(told: Object, name: str) -> int | None:
    value = told.get(name)
    if value is None or (isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 62):
        return value
    raise NumberRefusedError("malformed_number", value, f"{name}: a whole number")
