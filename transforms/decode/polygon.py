"""Polygon (Massive since 2025): aggregates, trades, quotes, last prices, snapshots, splits, dividends; frames of its stream.

A prefix of the ticker names the market: `O:` options (OCC), `X:` crypto, `C:` currencies, `I:` indices, none US stocks.
Kept in raw only: tickers, exchanges, conditions, option contracts, market status (reference), depth of a crypto pair; and
within what is read: prevDay and change of snapshots, fair value (fmv), break-even, extended-hours prices, TRF fields.
Source: polygon-io/client-python test_rest/mocks, whose bodies are in tests/samples.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import datetime

import pyarrow as pa

from lake.values import Basis
from transforms.decode import polygon_rows
from transforms.decode.decoded import (
    BARS,
    CORPORATE_ACTIONS,
    INDEX_LEVELS,
    OPTION_OPEN_INTEREST,
    QUOTES,
    TRADE_EVENTS,
    TRADES,
    Decoded,
)
from transforms.decode.json_digits import document, text_of
from transforms.decode.polygon_actions import read_action
from transforms.decode.polygon_rows import CANCELLED, CANCELS, CHAIN_QUOTE, CORRECTS, LONG_QUOTE, SHORT_QUOTE, STREAM_QUOTE
from transforms.decode.readers import Reader, Row, read_messages, read_raw_only
from transforms.numbers import NumberRefusedError

MARKET_TABLES = (TRADES, TRADE_EVENTS, QUOTES, BARS, OPTION_OPEN_INTEREST, INDEX_LEVELS)
_RANGE = re.compile(r"/v2/aggs/ticker/[^/]+/range/(\d{1,4})/(second|minute|hour|day|week|month|quarter|year)/")
_SYMBOL = re.compile(r"/v3/(?:trades|quotes)/([^/?]+)")
_MINUTES = {"minute": 1, "hour": 60}
_UNITS = {"day": "d", "week": "wk", "month": "mo", "quarter": "mo", "year": "mo"}
_MONTHS = {"quarter": 3, "year": 12}
_CLOCKS = ("sip_timestamp", "participant_timestamp")
_PAIR_QUOTE = {"bid_price": "bid", "bid_size": "", "ask_price": "ask", "ask_size": ""}
_ERRORS = frozenset({"ERROR", "NOT_FOUND", "NOT_AUTHORIZED", "NOT_ENTITLED"})


def decode_market(messages: pa.Table) -> Decoded:
    """Return what answers about prices say; every entry of an answer takes one ordinal."""
    reader = _Reader(MARKET_TABLES)
    return read_messages(reader, messages, reader.answer)


def decode_actions(messages: pa.Table) -> Decoded:
    """Return splits and cash dividends of /v3/reference/splits and /dividends."""
    reader = Reader((CORPORATE_ACTIONS,))

    def read(payload: bytes) -> None:
        found = None if _is_no_answer(payload) else document(payload)
        if found is None or _is_error(found):
            return
        entries = found.get("results") if isinstance(found, dict) else None
        if not isinstance(entries, list):
            raise NumberRefusedError("unsupported_answer", payload[:200], "results: splits or dividends")
        for entry in entries:
            reader.add(CORPORATE_ACTIONS, read_action, entry, reader.delivered)

    return read_messages(reader, messages, read)


def decode_reference(messages: pa.Table) -> Decoded:
    """Return no rows: lists of tickers, exchanges, conditions and contracts are kept in raw only, each named in its refusal."""
    return read_raw_only(messages, _about)


def _about(payload: bytes) -> object:
    found = None if _is_no_answer(payload) else document(payload)
    return None if found is None or _is_error(found) else payload[:200]


def _is_no_answer(payload: bytes) -> bool:
    body = payload.lstrip()
    return not body or body.startswith(b"<")


def _is_error(found: object) -> bool:
    status = found.get("status") if isinstance(found, dict) else None
    return isinstance(status, str) and status in _ERRORS


class _Reader(Reader):
    """Reads answers about prices."""

    def answer(self, payload: bytes) -> None:
        """Append what a payload says."""
        if not _is_no_answer(payload):
            self.read(document(payload))

    def read(self, found: object) -> None:
        """Append what an answer says. Raises NumberRefusedError when it is none that is known."""
        if _is_error(found):
            return
        if isinstance(found, list):
            return self.events(found)
        if isinstance(found, dict):
            entries = found.get("results")
            first = entries[0] if isinstance(entries, list) and entries else entries
            if entries == [] or (entries is None and found.get("resultsCount") == 0):
                return
            for is_one, read in _SHAPES:
                if is_one(found, first if isinstance(first, dict) else {}):
                    return read(self, found)
        told = sorted(found)[:6] if isinstance(found, dict) else type(found).__name__
        raise NumberRefusedError("unsupported_answer", told, "aggregates, trades, quotes, a last price, or snapshots")

    def events(self, found: list[object]) -> None:
        """Append the events of a frame of the stream; its words about the connection hold no fact."""
        for event in found:
            kind = event.get("ev") if isinstance(event, dict) else None
            if not isinstance(event, dict) or kind not in ("status", "T", "Q", "AM"):
                self.refuse(TRADES, NumberRefusedError("unsupported_event", event, "status, T, Q or AM"))
            elif kind == "T":
                self.add(TRADES, polygon_rows.trade, event.get("sym"), event, ("t",))
            elif kind == "Q":
                self.add(QUOTES, polygon_rows.quote, event.get("sym"), polygon_rows.streamed_quote(event), STREAM_QUOTE, ("t",))
            elif kind == "AM":
                self.add(BARS, self._minute, event)

    def _minute(self, event: Mapping[str, object]) -> Row:
        until, _ = polygon_rows.instant(event.get("e"))
        told = {**event, "t": event.get("s")}
        return polygon_rows.aggregate(event.get("sym"), told, "1m", Basis.AS_TRADED, None, until)

    def aggregates(self, found: Mapping[str, object]) -> None:
        """Append bars: a range, the day before, or a day of every stock."""
        is_prev = self.path.rstrip("/").endswith("/prev")
        is_range = not is_prev and "/grouped/" not in self.path and "ticker" in found
        interval = self._interval() if is_range else "1d"
        basis = Basis.AS_TRADED if found.get("adjusted") is False else Basis.SPLIT_ADJUSTED
        entries = _entries(found)
        stamps = [each["t"] for each in entries if isinstance(each, dict) and type(each.get("t")) is int]
        until = self.until
        if is_range and stamps and until is None:
            until, _ = polygon_rows.instant(max(stamps))  # a later bar proves that the ones before it are over
        for entry in entries:
            self.add(BARS, self._bar, found.get("ticker"), entry, interval, basis, until, is_prev)

    def _bar(
        self, ticker: object, entry: object, interval: str, basis: Basis, until: datetime | None, is_over: bool = False
    ) -> Row:
        row = polygon_rows.aggregate(ticker, entry, interval, basis, self.delivered, until)
        return row | {"is_final": True} if is_over else row

    def day(self, found: Mapping[str, object]) -> None:
        """Append the bar of `/v1/open-close`."""
        basis = Basis.AS_TRADED if self.params.get("adjusted") == "false" else Basis.SPLIT_ADJUSTED
        self.add(BARS, self._open_close, found, basis)

    def _open_close(self, found: Mapping[str, object], basis: Basis) -> Row:
        return self._bar(found.get("symbol"), polygon_rows.open_close(found), "1d", basis, self.until)

    def trades(self, found: Mapping[str, object]) -> None:
        """Append `/v3/trades`, whose symbol stands in the request only."""
        symbol = self._asked_symbol()
        for entry in _entries(found):
            self._trade_or_event(symbol, entry, _CLOCKS)

    def quotes(self, found: Mapping[str, object]) -> None:
        """Append `/v3/quotes`, whose symbol stands in the request only."""
        symbol = self._asked_symbol()
        for entry in _entries(found):
            self.add(QUOTES, polygon_rows.quote, symbol, entry, LONG_QUOTE, _CLOCKS)

    def last(self, found: Mapping[str, object]) -> None:
        """Append `/v2/last/trade` or `/v2/last/nbbo`: one object in short names."""
        entry = found["results"]
        if isinstance(entry, dict) and "P" in entry:
            self.add(QUOTES, polygon_rows.quote, entry.get("T"), entry, SHORT_QUOTE, ("t", "y"))
        else:
            self._trade_or_event(entry.get("T") if isinstance(entry, dict) else None, entry, ("t", "y"))

    def last_of_pair(self, found: Mapping[str, object]) -> None:
        """Append `/v1/last/…` or `/v1/conversion/…`: the newest quote of two currencies, or trade of a crypto pair."""
        entry, pair = found["last"], text_of(found.get("symbol"))
        if pair is None:
            raise NumberRefusedError("missing_symbol", found.get("symbol"), "a pair like AUD/USD")
        name = re.sub(r"[-/]", "", pair)
        if isinstance(entry, dict) and "price" in entry:
            self.add(TRADES, polygon_rows.trade, f"X:{name}", entry, ("timestamp",))
        else:
            self.add(QUOTES, polygon_rows.quote, f"C:{name}", entry, _PAIR_QUOTE, ("timestamp",))

    def stock_snapshots(self, found: Mapping[str, object]) -> None:
        """Append `/v2/snapshot`: last quote, last trade, minute and day of one ticker or of many."""
        told = found.get("tickers", found.get("ticker"))
        for each in told if isinstance(told, list) else [told]:
            if isinstance(each, dict):
                self._stock_snapshot(each)
            else:
                self.refuse(BARS, NumberRefusedError("malformed", each, "a snapshot"))

    def _stock_snapshot(self, each: Mapping[str, object]) -> None:
        ticker = each.get("ticker")
        for name, told in each.items():
            if not isinstance(told, dict) or not any(told.values()):
                continue
            if name == "lastQuote":
                self.add(QUOTES, polygon_rows.quote, ticker, told, SHORT_QUOTE, ("t",))
            elif name == "lastTrade":
                self._trade_or_event(ticker, told, ("t",))
            elif name == "min":
                self.add(BARS, self._bar, ticker, told, "1m", Basis.AS_TRADED, self.until)
            elif name == "day":
                self.add(BARS, self._bar, ticker, {**told, "t": each.get("updated")}, "1d", Basis.AS_TRADED, self.until)
            else:
                self.skipped += 1  # prevDay names no day

    def snapshots(self, found: Mapping[str, object]) -> None:
        """Append `/v3/snapshot…`: chains of options, indices, and the universal snapshot."""
        for each in _entries(found):
            if not isinstance(each, dict):
                self.refuse(BARS, NumberRefusedError("malformed", each, "a snapshot"))
            elif "error" in each:
                self.skipped += 1  # NOT_FOUND or NOT_ENTITLED
            else:
                self._snapshot(each)

    def _snapshot(self, each: Mapping[str, object]) -> None:
        details, trade, day = each.get("details"), each.get("last_trade"), each.get("day")
        ticker = each.get("ticker") or (details.get("ticker") if isinstance(details, dict) else None)
        before = self.ordinal, self.skipped
        if isinstance(each.get("last_quote"), dict):
            self.add(QUOTES, polygon_rows.quote, ticker, each["last_quote"], CHAIN_QUOTE, ("last_updated",))
        if isinstance(trade, dict) and trade.get("id") is None:
            self.skipped += 1  # the last price of an option, told again at each poll: no execution report
        elif isinstance(trade, dict):
            self._trade_or_event(ticker, trade, ("sip_timestamp", "last_updated"))
        if isinstance(day, dict) and "last_updated" in day:
            self.add(BARS, self._bar, ticker, polygon_rows.chain_day(day), "1d", Basis.AS_TRADED, self.until)
        if any(name in each for name in ("greeks", "open_interest", "implied_volatility")):
            self.add(OPTION_OPEN_INTEREST, polygon_rows.option_measures, ticker, each, self.delivered)
        if "value" in each and "last_updated" in each:
            self.add(INDEX_LEVELS, polygon_rows.index_level, ticker, each, self.delivered)
        if (self.ordinal, self.skipped) == before:
            self.refuse(BARS, NumberRefusedError("missing_timestamp", each, "a price with its time"))

    def _trade_or_event(self, ticker: object, entry: object, clocks: tuple[str, ...]) -> None:
        """A report that takes another back is an event; a report that was taken back since is a trade and its event."""
        code = polygon_rows.correction_code(entry)
        if code not in (*CANCELS, CORRECTS):
            self.add(TRADES, polygon_rows.trade, ticker, entry, clocks)
        if code in (*CANCELLED, *CANCELS, CORRECTS):
            self.add(TRADE_EVENTS, polygon_rows.trade_event, ticker, entry, clocks, self.delivered)

    def _asked_symbol(self) -> str:
        found = _SYMBOL.search(self.path)
        if found is None:
            raise NumberRefusedError("missing_symbol", self.path, "a request of /v3/trades/TICKER or /v3/quotes/TICKER")
        return found[1].replace("%3A", ":")

    def _interval(self) -> str:
        found = _RANGE.search(self.path + "/")
        if found is None or int(found[1]) == 0 or found[2] == "second":
            raise NumberRefusedError(
                "unknown_interval", self.path, "a request of /v2/aggs/ticker/…/range/1/day/…, minutes or more"
            )
        count, span = int(found[1]), found[2]
        if span in _MINUTES:
            return f"{count * _MINUTES[span]}m"
        return f"{count * _MONTHS.get(span, 1)}{_UNITS[span]}"


def _entries(found: Mapping[str, object]) -> list[object]:
    told = found.get("results")
    return list(told) if isinstance(told, list) else [told]


_Found = Mapping[str, object]
_SHAPES: tuple[tuple[Callable[[_Found, _Found], bool], Callable[[_Reader, _Found], None]], ...] = (
    (lambda found, _: isinstance(found.get("last"), dict), _Reader.last_of_pair),
    (lambda found, _: isinstance(found.get("tickers"), list) or isinstance(found.get("ticker"), dict), _Reader.stock_snapshots),
    (lambda found, _: "from" in found and "open" in found, _Reader.day),
    (lambda found, first: isinstance(found.get("results"), dict) and "T" in first, _Reader.last),
    (lambda _, first: bool({"o", "h", "l", "c", "t"} & set(first)) and "price" not in first, _Reader.aggregates),
    (lambda _, first: "ask_price" in first or "bid_price" in first, _Reader.quotes),
    (lambda _, first: "price" in first and ("sip_timestamp" in first or "participant_timestamp" in first), _Reader.trades),
    (lambda _, first: bool({"last_quote", "greeks", "session", "market_status", "error"} & set(first)), _Reader.snapshots),
)
"""What an answer and its first entry look like -> how it is read; the first that fits."""
