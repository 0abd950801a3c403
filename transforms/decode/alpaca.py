"""Alpaca's market data: REST answers (bars, trades, quotes, snapshots, corporate actions), frames of its stream, JSON or msgpack.

Numbers are exact digits of JSON; a `vw` is Alpaca's own quotient and is rounded. A trade's id counts within an exchange and
a day, so `trade_id` is `<New York date>:<exchange>:<i>`. The `adjustment` of the request decides the basis of bars. Corrections
and cancels of stocks are events; statuses and LULD bands are refused. Source: PROVIDERS.md section 6.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

import pyarrow as pa

from lake.values import Basis
from transforms.decode.alpaca_actions import ACTIONS_KEY, read_actions, read_announcements
from transforms.decode.alpaca_events import cancel, correction, frame, measures
from transforms.decode.decoded import (
    BARS,
    CORPORATE_ACTIONS,
    OPTION_OPEN_INTEREST,
    QUOTES,
    TRADE_EVENTS,
    TRADES,
    Decoded,
)
from transforms.decode.json_digits import document, exact, instant, joined, rounded, text_of
from transforms.decode.readers import Reader, object_of, read_messages, trade_number, two_sides
from transforms.decode.spans import NEW_YORK, bar_end, count_of
from transforms.numbers import MOST_VOLUME_DIGITS, PRICE_SCALE, SIZE_SCALE, VOLUME_SCALE, NumberRefusedError

STOCK_TABLES, OPTION_TABLES = (TRADES, TRADE_EVENTS, QUOTES, BARS), (TRADES, QUOTES, BARS, OPTION_OPEN_INTEREST)
CRYPTO_TABLES = (TRADES, QUOTES, BARS)
_TIMEFRAME = re.compile(r"(\d{1,2})(Min|T|Hour|H|Day|D|Week|W|Month|M)\Z")
_UNITS = {"Min": "m", "T": "m", "Day": "d", "D": "d", "Week": "wk", "W": "wk", "Month": "mo", "M": "mo"}
_BASES = {
    "raw": Basis.AS_TRADED,
    "split": Basis.SPLIT_ADJUSTED,
    "all": Basis.FULLY_ADJUSTED,
    "dividend,split": Basis.FULLY_ADJUSTED,
}
_SNAPSHOT_BARS = {"minuteBar": "1m", "dailyBar": "1d", "prevDailyBar": "1d"}
_STREAM_BARS = {"b": "1m", "u": "1m", "d": "1d"}
_STREAM_CONTROL = frozenset({"success", "subscription", "error"})
_MEASURES = frozenset({"greeks", "impliedVolatility"})
_SNAPSHOT_PARTS = frozenset({"latestTrade", "latestQuote", *_SNAPSHOT_BARS, *_MEASURES})
_EVENTS = {"c": correction, "x": cancel}
_QUOTE = {"bid_price": "bp", "bid_size": "bs", "ask_price": "ap", "ask_size": "as"}
_SIDES = {"B": "buy", "S": "sell"}
_LISTS = ("bars", "trades", "quotes")
_ONE_OF = {"bar": "bars", "trade": "trades", "quote": "quotes"}


@dataclass(frozen=True, slots=True)
class _Market:
    """What is true of every symbol of a feed."""

    asset_class: str | None
    zone: ZoneInfo
    tables: tuple[str, ...]

    def hints(self, symbol: str) -> dict[str, object]:
        currency = symbol.partition("/")[2] or None if self.asset_class == "crypto" else "USD"
        return {"symbol": symbol, "currency": currency, "asset_class": self.asset_class}


_STOCKS, _OPTIONS = _Market(None, NEW_YORK, STOCK_TABLES), _Market("option", NEW_YORK, OPTION_TABLES)
_CRYPTO = _Market("crypto", ZoneInfo("UTC"), CRYPTO_TABLES)


def decode_stocks(messages: pa.Table) -> Decoded:
    """Return what answers and frames about US stocks say."""
    return _decode(messages, _STOCKS)


def decode_options(messages: pa.Table) -> Decoded:
    """Return what answers about US options say; symbols are OCC's."""
    return _decode(messages, _OPTIONS)


def decode_crypto(messages: pa.Table) -> Decoded:
    """Return what answers and frames about crypto pairs say."""
    return _decode(messages, _CRYPTO)


def decode_actions(messages: pa.Table) -> Decoded:
    """Return splits and cash dividends; other kinds are refused as unsupported_action, so that nothing is lost."""
    reader = Reader((CORPORATE_ACTIONS,))

    def read(payload: bytes) -> None:
        found = None if _is_no_answer(payload) else document(payload)
        if isinstance(found, list):
            read_announcements(reader, found)
        elif isinstance(found, dict) and isinstance(found.get(ACTIONS_KEY), dict):
            read_actions(reader, found[ACTIONS_KEY])
        elif found is not None and not _is_error(found):
            raise NumberRefusedError("unsupported_answer", payload[:200], "corporate_actions: an object of lists")

    return read_messages(reader, messages, read)


def _decode(messages: pa.Table, market: _Market) -> Decoded:
    reader = _Reader(market)
    return read_messages(reader, messages, reader.answer)


def _is_no_answer(payload: bytes) -> bool:
    body = payload.lstrip()
    return not body or body.startswith((b"<", b"Too Many Requests"))


def _is_error(found: object) -> bool:
    """`{"code":int,"message":str}`, or a bare message, under whatever status."""
    return isinstance(found, dict) and isinstance(found.get("message"), str) and not set(found) - {"code", "message"}


class _Reader(Reader):
    """Reads answers and frames about one market."""

    def __init__(self, market: _Market) -> None:
        super().__init__(market.tables)
        self.market = market

    def answer(self, payload: bytes) -> None:
        """Append what a payload says."""
        if not _is_no_answer(payload):
            self.read(frame(payload))

    def read(self, found: object) -> None:
        """Append what a document says. Raises NumberRefusedError when it is none of Alpaca's."""
        if isinstance(found, list) and all(isinstance(event, dict) and isinstance(event.get("T"), str) for event in found):
            for event in found:
                self._event(event)
            return
        if isinstance(found, dict) and not _is_error(found):
            for name in _LISTS:
                if isinstance(found.get(name), dict):
                    return self._listed(name, found[name])
            for name, plural in _ONE_OF.items():
                if isinstance(found.get(name), dict):
                    return self._listed(plural, found[name])
            snapshots = found.get("snapshots", found)
            if isinstance(snapshots, dict) and all(_is_snapshot(each) for each in snapshots.values()):
                return self._snapshots(snapshots)
        if not _is_error(found):
            told = sorted(found)[:5] if isinstance(found, dict) else type(found).__name__
            raise NumberRefusedError("unsupported_answer", told, "bars, trades, quotes, snapshots, or frames of the stream")

    def _listed(self, name: str, by_symbol: Mapping[str, object]) -> None:
        """Symbols without data are absent from the map, or null."""
        for symbol, told in by_symbol.items():
            is_latest = isinstance(told, dict)
            entries = [told] if is_latest else told
            if entries is None:
                continue
            if not isinstance(entries, list):
                raise NumberRefusedError("malformed", {symbol: entries}, f"{name}: lists by symbol")
            newest = max((str(e["t"]) for e in entries if isinstance(e, dict) and isinstance(e.get("t"), str)), default="")
            for entry in entries:
                if name == "bars":
                    self.add(BARS, self._polled_bar, symbol, entry, is_latest, newest)
                elif name == "quotes":
                    self.add(QUOTES, self._quote, symbol, entry)
                elif is_latest and isinstance(entry, dict) and entry.get("i") is None:
                    self.skipped += 1  # the last price of an option, told again at each poll: no execution report
                else:
                    self.add(TRADES, self._trade, symbol, entry)

    def _snapshots(self, by_symbol: Mapping[str, object]) -> None:
        for symbol, parts in by_symbol.items():
            if not isinstance(parts, dict):
                continue
            for name, told in parts.items():
                if told is None:
                    continue
                if name in _MEASURES:
                    continue
                if name == "latestTrade":
                    self._listed("trades", {symbol: told})
                elif name == "latestQuote":
                    self.add(QUOTES, self._quote, symbol, told)
                else:
                    interval = _SNAPSHOT_BARS[name]
                    self.add(BARS, self._bar, symbol, told, interval, Basis.AS_TRADED, None)
            if OPTION_OPEN_INTEREST in self.rows and any(parts.get(name) is not None for name in _MEASURES):
                self.add(OPTION_OPEN_INTEREST, measures, parts, self.market.hints(symbol), self.path, self.delivered)

    def _event(self, event: Mapping[str, object]) -> None:
        kind, symbol = str(event["T"]), event.get("S")
        if kind in _STREAM_CONTROL:
            return
        if kind == "t":
            self.add(TRADES, self._trade, symbol, event)
        elif kind == "q":
            self.add(QUOTES, self._quote, symbol, event)
        elif kind in _STREAM_BARS:
            self.add(BARS, self._streamed_bar, symbol, event, kind)
        elif kind in _EVENTS and TRADE_EVENTS in self.rows:
            self.add(TRADE_EVENTS, self._trade_event, symbol, event, _EVENTS[kind])
        else:  # statuses (s), LULD bands (l), imbalances: no table holds them
            self.refuse(TRADES, NumberRefusedError("unsupported_event", f"{kind}: {dict(event)}", "t, q, b, u, d, c or x"))

    def _trade_event(self, symbol: object, event: object, read: Callable[..., dict[str, object]]) -> dict[str, object]:
        told, hints = self._told(symbol, event)
        return read(told, hints, self.delivered)

    def _trade(self, symbol: object, entry: object) -> dict[str, object]:
        told, hints = self._told(symbol, entry)
        at, nanos = instant(told.get("t"))
        number, venue = trade_number(told.get("i")), text_of(told.get("x"))
        day = at.astimezone(self.market.zone).date()
        return hints | {
            "ts_event": at,
            "ts_event_nanos": nanos,
            "price": exact(told.get("p"), PRICE_SCALE),
            "size": exact(told.get("s"), SIZE_SCALE),
            "side": _SIDES.get(str(told.get("tks"))),
            "trade_id": None if number is None else f"{day}:{venue or ''}:{number}",
            "conditions": joined(told.get("c")),
        }

    def _quote(self, symbol: object, entry: object) -> dict[str, object]:
        told, hints = self._told(symbol, entry)
        at, nanos = instant(told.get("t"))
        row = hints | {"ts_event": at, "ts_event_nanos": nanos, "conditions": joined(told.get("c"))}
        return row | two_sides(told, _QUOTE)

    def _polled_bar(self, symbol: str, entry: object, is_latest: bool, newest: str) -> dict[str, object]:
        if is_latest:  # /bars/latest gives minute bars, as traded
            return self._bar(symbol, entry, "1m", Basis.AS_TRADED, None)
        return self._bar(symbol, entry, self._interval(), self._basis(), newest)

    def _streamed_bar(self, symbol: object, event: object, kind: str) -> dict[str, object]:
        row = self._bar(symbol, event, _STREAM_BARS[kind], Basis.AS_TRADED, None)
        return row | {"is_final": kind != "d"}  # a minute's bar is sent after its end; u restates it, d is the day so far

    def _bar(self, symbol: object, entry: object, interval: str, basis: Basis, newest: str | None) -> dict[str, object]:
        told, hints = self._told(symbol, entry)
        opened, _ = instant(told.get("t"))
        row = hints | {
            "interval": interval,
            "ts_open": opened,
            "session_date": None if interval[-1] == "m" else opened.astimezone(self.market.zone).date(),
            "basis": basis.value,
            "price_type": "trade",
            "is_final": self._is_over(opened, interval, newest),
            "delivered_at": self.delivered,
            "volume": exact(told.get("v"), VOLUME_SCALE, MOST_VOLUME_DIGITS),
            "trade_count": count_of(told.get("n")),
            "vwap": None if told.get("vw") is None else rounded(told["vw"], PRICE_SCALE),
        }
        return row | {name: exact(told.get(name[0]), PRICE_SCALE) for name in ("open", "high", "low", "close")}

    def _told(self, symbol: object, entry: object) -> tuple[Mapping[str, object], dict[str, object]]:
        name = text_of(symbol)
        if name is None:
            raise NumberRefusedError("missing_symbol", symbol, "a symbol")
        return object_of(entry), self.market.hints(name)

    def _interval(self) -> str:
        found = _TIMEFRAME.match(self.params.get("timeframe", ""))
        if found is None or int(found[1]) == 0:
            raise NumberRefusedError("unknown_interval", self.params.get("timeframe"), "timeframe of the request, like 1Day")
        count, unit = int(found[1]), found[2]
        return f"{count * 60}m" if unit in ("Hour", "H") else f"{count}{_UNITS[unit]}"

    def _basis(self) -> Basis:
        told = self.params.get("adjustment", "raw")
        basis = _BASES.get(",".join(sorted(told.split(","))))
        if basis is None:
            raise NumberRefusedError("unsupported_adjustment", told, "raw, split, all, or split and dividend together")
        return basis

    def _is_over(self, opened: datetime, interval: str, newest: str | None) -> bool:
        """Whether the bar's interval had ended when the answer was given; a later bar in it proves that too."""
        until = self.until
        if until is None and newest:
            until, _ = instant(newest)
        return until is not None and bar_end(opened, interval, self.market.zone) <= until


def _is_snapshot(parts: object) -> bool:
    return parts is None or (isinstance(parts, dict) and not set(parts) - _SNAPSHOT_PARTS)
