"""Tiingo's REST answers: end-of-day prices with dividends and splits, IEX intraday, crypto and currencies with top of book.

Frames of its streams: `tiingo_stream.py`.

A stock's symbol stands in the request only (`/tiingo/daily/GOOGL/prices`), the length of a bar in `resampleFreq`. End-of-day
prices are as traded; `adjClose` is kept beside them, the other adj* in raw only. `divCash` and `splitFactor` stand at their
ex-date; in weeks, months and years that date is not told, and they are refused. A week's date is its last day: ts_open is its
Monday. Crypto is Tiingo's own average over exchanges, in floats, rounded; its exchanges are `btcusd:BINANCE`. Kept in raw only:
descriptions of tickers, notional volumes, last prices without a trade's id. Source: hydrosquall/tiingo-python, recorded answers.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import pyarrow as pa

from transforms.decode.alpha_vantage_actions import split_ratio
from transforms.decode.decoded import ALTERNATIVE, BARS, CORPORATE_ACTIONS, QUOTES, TRADES, Decoded
from transforms.decode.json_digits import Digits, document, exact, instant, rounded, text_of
from transforms.decode.readers import CAMEL_QUOTE, Reader, Row, object_of, read_messages, two_sides
from transforms.decode.spans import NEW_YORK, bar_end, count_of, day_of, midnight
from transforms.decode.tiingo_stream import FRAME, read_frame
from transforms.numbers import MOST_VOLUME_DIGITS, PRICE_SCALE, VOLUME_SCALE, NumberRefusedError

DAILY_TABLES, IEX_TABLES = (BARS, CORPORATE_ACTIONS), (BARS, QUOTES, TRADES, ALTERNATIVE)
CRYPTO_TABLES, FX_TABLES = (BARS, QUOTES, TRADES), (BARS, QUOTES)
_DAILY_PATH, _IEX_PATH = re.compile(r"/tiingo/daily/([^/]+)/prices"), re.compile(r"/iex/([^/]+)/prices")
_LENGTHS = {"daily": "1d", "weekly": "1wk", "monthly": "1mo", "annually": "12mo"}
_FREQUENCY = re.compile(r"(\d{1,4})(min|hour|day)\Z")
_UNITS = {"min": ("m", 1), "hour": ("m", 60), "day": ("d", 1)}
_NUMBER = re.compile(r"-?\d{1,40}(\.\d{1,40})?([eE][+-]?\d{1,3})?\Z")
_UTC = ZoneInfo("UTC")


def decode_daily(messages: pa.Table) -> Decoded:
    """Return bars, dividends and splits of `/tiingo/daily/…/prices`, in JSON or CSV."""
    return _decode(messages, DAILY_TABLES, _Reader.daily)


def decode_iex(messages: pa.Table) -> Decoded:
    """Return bars of `/iex/…/prices`, quotes of `/iex` and what its stream tells: one exchange of many."""
    return _decode(messages, IEX_TABLES, _Reader.iex, ("iex", _stock))


def decode_crypto(messages: pa.Table) -> Decoded:
    """Return bars of `/tiingo/crypto/prices`, quotes of `/tiingo/crypto/top` and of the stream, overall and by exchange."""
    return _decode(messages, CRYPTO_TABLES, _Reader.crypto, ("crypto_data", _crypto))


def decode_fx(messages: pa.Table) -> Decoded:
    """Return bars of `/tiingo/fx/…/prices`, of mid prices, and quotes of `/tiingo/fx/top` and of the stream."""
    return _decode(messages, FX_TABLES, _Reader.fx, ("fx", _currencies))


def _decode(
    messages: pa.Table,
    tables: tuple[str, ...],
    read: Callable[[_Reader, list[object]], None],
    stream: tuple[str, Callable[[str], Row]] | None = None,
) -> Decoded:
    """Read answers by `read`; frames are of `stream`: its service, and what a ticker of it tells."""
    reader = _Reader(tables)

    def answer(payload: bytes) -> None:
        entries = _entries(payload)
        if isinstance(entries, dict) and stream is not None:
            read_frame(reader, entries, *stream)
        elif isinstance(entries, list) and entries:
            read(reader, entries)
        elif isinstance(entries, dict):
            raise NumberRefusedError("unsupported_answer", sorted(entries)[:6], "a list of prices")

    return read_messages(reader, messages, answer)


def _entries(payload: bytes) -> list[object] | dict[str, object]:
    """Return the objects of an answer, or a frame of a stream; none where it is an error or says nothing.

    Raises NumberRefusedError.
    """
    body = payload.strip()
    if not body or body.startswith((b"<", b"Error", b'"Error', b'["Error')):
        return []
    if body.startswith(b"date,"):
        return _records(body)
    found = document(payload)
    if isinstance(found, dict) and isinstance(found.get("detail"), str):
        return []
    if isinstance(found, dict) and "ticker" in found:
        raise NumberRefusedError("raw_only", sorted(found)[:6], "prices: descriptions of tickers are kept in raw only")
    if isinstance(found, dict) and FRAME in found:
        return found
    if not isinstance(found, list):
        raise NumberRefusedError("unsupported_answer", payload[:200], "a list of prices")
    return found


def _records(body: bytes) -> list[object]:
    try:
        rows = list(csv.reader(io.StringIO(body.decode())))
    except (UnicodeDecodeError, csv.Error) as error:
        raise NumberRefusedError("malformed", body[:200], f"CSV ({error})") from error
    names = rows[0]
    return [
        {name: _value(text) for name, text in zip(names, row, strict=True)} if len(row) == len(names) else ",".join(row)
        for row in rows[1:]
        if row
    ]


def _value(text: str) -> object:
    if not text:
        return None
    return Digits(text) if _NUMBER.match(text) else text


class _Reader(Reader):
    """Reads the entries of answers."""

    def daily(self, entries: list[object]) -> None:
        """Append days (or weeks, months, years) of one stock, and the actions that stand at its days."""
        who = _stock(self._symbol(_DAILY_PATH))
        told = self.params.get("resampleFreq", "daily").lower()
        interval = _LENGTHS.get(told)
        if interval is None:
            raise NumberRefusedError("unknown_interval", told, "daily, weekly, monthly or annually")
        newest = _newest(entries)
        for entry in entries:
            self.add(BARS, self._day, who, entry, interval, newest)
            if isinstance(entry, dict):
                self._actions(who, entry, interval)

    def _day(self, who: Row, entry: object, interval: str, newest: datetime | None) -> Row:
        told = object_of(entry)
        opened = _first_day(_needed_day(told), interval)
        adjusted = told.get("adjClose")
        row = self._bar(who, told, interval, midnight(opened, NEW_YORK).astimezone(UTC), NEW_YORK, newest, exact)
        if adjusted is not None:
            row["provider_adjusted_close"] = rounded(adjusted, PRICE_SCALE)
        return row | {"session_date": opened}

    def _actions(self, who: Row, told: Mapping[str, object], interval: str) -> None:
        for name, nothing, read in (("divCash", 0, self._dividend), ("splitFactor", 1, self._split)):
            value = told.get(name)
            try:
                if value is None or rounded(value, PRICE_SCALE) == nothing:
                    continue
            except NumberRefusedError as error:
                self.refuse(CORPORATE_ACTIONS, error)
                continue
            self.add(CORPORATE_ACTIONS, read, who, told, interval)

    def _dividend(self, who: Row, told: Mapping[str, object], interval: str) -> Row:
        amount = exact(told["divCash"], PRICE_SCALE)
        return self._action(who, told, interval, "cash_dividend") | {"amount": amount, "share_basis": "as_paid"}

    def _split(self, who: Row, told: Mapping[str, object], interval: str) -> Row:
        new, old = split_ratio(f"{rounded(told['splitFactor'], PRICE_SCALE).normalize():f}")
        return self._action(who, told, interval, "split") | {"ratio_new": new, "ratio_old": old}

    def _action(self, who: Row, told: Mapping[str, object], interval: str, kind: str) -> Row:
        if interval != "1d":
            raise NumberRefusedError("unknown_ex_date", told, "days: a longer bar does not tell when its actions fell")
        ex_date = _needed_day(told)
        key = f"{who['symbol']}:{kind}:{ex_date}"
        shared = {"action_key": key, "kind": kind, "ex_date": ex_date, "status": "confirmed", "delivered_at": self.delivered}
        return who | shared

    def iex(self, entries: list[object]) -> None:
        """Append bars, whose symbol stands in the request, or the newest quote of each stock."""
        first = entries[0]
        if isinstance(first, dict) and "ticker" in first:
            for entry in entries:
                self.add(QUOTES, self._stock_quote, entry)
            return
        who, interval, newest = _stock(self._symbol(_IEX_PATH)), self._interval(), _newest(entries)
        for entry in entries:
            self.add(BARS, self._timed_bar, who, entry, interval, NEW_YORK, newest, exact)

    def _stock_quote(self, entry: object) -> Row:
        told = object_of(entry)
        return self._quote(_stock(_needed_symbol(told)), told, ("quoteTimestamp", "timestamp"), exact)

    def crypto(self, entries: list[object]) -> None:
        """Append bars or quotes of each pair: Tiingo's own, then each exchange's."""
        for entry in entries:
            if not isinstance(entry, dict):
                self.refuse(BARS, NumberRefusedError("malformed", entry, "a pair"))
            elif "priceData" in entry:
                self._pair(entry, "priceData", self._pair_bars)
            elif "topOfBookData" in entry:
                self._pair(entry, "topOfBookData", self._pair_quotes)
            else:
                self.refuse(BARS, NumberRefusedError("raw_only", sorted(entry)[:6], "prices or top of book"))

    def fx(self, entries: list[object]) -> None:
        """Append bars or quotes of currencies: each entry names its pair."""
        newest = _newest(entries)
        for entry in entries:
            if isinstance(entry, dict) and "quoteTimestamp" in entry:
                self.add(QUOTES, self._fx_quote, entry)
            else:
                self.add(BARS, self._fx_bar, entry, newest)

    def _fx_bar(self, entry: object, newest: datetime | None) -> Row:
        told = object_of(entry)
        row = self._timed_bar(_currencies(_needed_symbol(told)), entry, self._interval(), _UTC, newest, rounded)
        return row | {"price_type": "mid"}

    def _fx_quote(self, entry: object) -> Row:
        told = object_of(entry)
        return self._quote(_currencies(_needed_symbol(told)), told, ("quoteTimestamp",), rounded)

    def _pair(self, entry: Mapping[str, object], name: str, read: Callable[[Row, list[object]], None]) -> None:
        try:
            ticker = _needed_symbol(entry)
        except NumberRefusedError as error:
            return self.refuse(BARS, error)
        currency = text_of(entry.get("quoteCurrency"))
        who: Row = {"asset_class": "crypto", "currency": None if currency is None else currency.upper()}
        by_exchange = entry.get("exchangeData")
        parts = {"": entry[name]} | (by_exchange if isinstance(by_exchange, dict) else {})
        for exchange, told in parts.items():
            symbol = f"{ticker}:{exchange}" if exchange else ticker
            if isinstance(told, list):
                read(who | {"symbol": symbol}, told)
            else:
                self.refuse(BARS, NumberRefusedError("malformed", told, f"{name}: a list"))

    def _pair_bars(self, who: Row, entries: list[object]) -> None:
        newest = _newest(entries)
        for entry in entries:
            self.add(BARS, self._timed_bar, who, entry, self._interval(), _UTC, newest, rounded)

    def _pair_quotes(self, who: Row, entries: list[object]) -> None:
        for entry in entries:
            if isinstance(entry, dict) and entry.get("lastPrice") is not None:
                self.skipped += 1  # the last price, told again at each poll: no execution report
            self.add(QUOTES, self._quote, who, entry, ("quoteTimestamp", "quoteTimestampStr"), rounded)

    def _quote(self, who: Row, entry: object, clocks: tuple[str, ...], number: Callable[..., Decimal]) -> Row:
        told = object_of(entry)
        at, nanos = instant(next((told[name] for name in clocks if told.get(name) is not None), None))
        return who | {"ts_event": at, "ts_event_nanos": nanos} | two_sides(told, CAMEL_QUOTE, number)

    def _timed_bar(
        self, who: Row, entry: object, interval: str, zone: ZoneInfo, newest: datetime | None, number: Callable[..., Decimal]
    ) -> Row:
        told = object_of(entry)
        opened, _ = instant(told.get("date"))
        row = self._bar(who, told, interval, opened, zone, newest, number)
        return row | {"session_date": opened.date()} if interval.endswith("d") else row

    def _bar(
        self,
        who: Row,
        told: Mapping[str, object],
        interval: str,
        opened: datetime,
        zone: ZoneInfo,
        newest: datetime | None,
        number: Callable[..., Decimal],
    ) -> Row:
        is_possible = self.delivered is None or self.delivered >= opened  # a delivery before the bar began is none
        until = self.until if self.until is not None and is_possible else newest
        volume = told.get("volume")
        row = who | {
            "interval": interval,
            "ts_open": opened,
            "basis": "as_traded",
            "price_type": "trade",
            "is_final": until is not None and bar_end(opened, interval, zone) <= until,
            "delivered_at": self.delivered if is_possible else None,
            "volume": None if volume is None else number(volume, VOLUME_SCALE, MOST_VOLUME_DIGITS),
            "trade_count": count_of(told.get("tradesDone")),
        }
        return row | {name: number(told.get(name), PRICE_SCALE) for name in ("open", "high", "low", "close")}

    def _symbol(self, path: re.Pattern[str]) -> str:
        found = path.search(self.path)
        if found is None:
            raise NumberRefusedError("missing_symbol", self.path, f"a request of {path.pattern}")
        return found[1]

    def _interval(self) -> str:
        told = self.params.get("resampleFreq", "")
        found = _FREQUENCY.match(told.lower())
        if found is None or int(found[1]) == 0:
            raise NumberRefusedError("unknown_interval", told, "resampleFreq of the request, like 30Min or 1day")
        unit, size = _UNITS[found[2]]
        return f"{int(found[1]) * size}{unit}"


def _stock(symbol: str) -> Row:
    """Return what a ticker tells: of the US, or six digits of a Chinese exchange that Tiingo does not name."""
    if symbol.isdigit():
        return {"symbol": symbol, "exchange_zone": "Asia/Shanghai", "asset_class": "equity"}
    return {"symbol": symbol.upper(), "currency": "USD", "exchange": "US"}


def _currencies(ticker: str) -> Row:
    """Return what the ticker of two currencies tells; the second is what prices are in."""
    return {"symbol": ticker, "asset_class": "fx", "currency": ticker[-3:].upper() if len(ticker) == 6 else None}


def _crypto(symbol: str) -> Row:
    """Return what `btcusd:BINANCE` tells; of a pair of other than six letters nobody says where its second currency begins."""
    ticker = symbol.partition(":")[0]
    return {"symbol": symbol, "asset_class": "crypto", "currency": ticker[-3:].upper() if len(ticker) == 6 else None}


def _needed_symbol(told: Mapping[str, object]) -> str:
    found = text_of(told.get("ticker"))
    if found is None:
        raise NumberRefusedError("missing_symbol", told.get("ticker"), "ticker")
    return found


def _needed_day(told: Mapping[str, object]) -> date:
    found = day_of(told.get("date"), "date")
    if found is None:
        raise NumberRefusedError("missing_date", told, "date")
    return found


def _first_day(last: date, interval: str) -> date:
    """Return the first day of the period that a bar's date ends."""
    if interval == "1wk":
        return last - timedelta(days=last.weekday())
    if interval == "1mo":
        return last.replace(day=1)
    return last.replace(month=1, day=1) if interval == "12mo" else last


def _newest(entries: Iterable[object]) -> datetime | None:
    """Return the latest instant named: a bar before it is over."""
    found = []
    for entry in entries:
        told = text_of(entry.get("date")) if isinstance(entry, dict) else None
        try:
            found.append(instant(told if told is None or "T" in told else f"{told}T00:00:00Z")[0])
        except NumberRefusedError:
            continue  # refused below, with its row
    return max(found, default=None)
