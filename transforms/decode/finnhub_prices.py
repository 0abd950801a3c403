"""Finnhub's candles (stocks, forex, crypto), best bid and offer, forex rates, dividends and splits.

Columns of one length; the symbol of candles stands in the request, the length of a bar in `resolution`. A daily candle of a stock
and longer is split-adjusted as of delivery, stamped at 00:00 UTC of its day; intraday is as traded. Rates are of the request's
`date`, else of their delivery. A dividend's `amount` is as paid. Kept in raw only: adjustedAmount, freq, venues of a quote.
Source: PROVIDERS.md section 2, Finnhub's documentation; bodies made by hand in its form.
"""

from __future__ import annotations

from collections import Counter
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pyarrow as pa

from lake.instants import EPOCH
from lake.values import Basis
from transforms.decode.decoded import BARS, CORPORATE_ACTIONS, FX_RATES, QUOTES, Decoded
from transforms.decode.exchange_symbols import hints
from transforms.decode.finnhub import answer_of, rows_of, stamp_of, zone_name_of
from transforms.decode.json_digits import exact, joined, text_of
from transforms.decode.readers import Object, Reader, Row, object_of, read_messages, two_sides
from transforms.decode.spans import NEW_YORK, bar_end, day_of, midnight
from transforms.numbers import MOST_VOLUME_DIGITS, PRICE_SCALE, VOLUME_SCALE, NumberRefusedError, lowest_terms

_RESOLUTIONS = {"1": "1m", "5": "5m", "15": "15m", "30": "30m", "60": "60m", "D": "1d", "W": "1wk", "M": "1mo"}
_PRICES = {"open": "o", "high": "h", "low": "l", "close": "c"}
_SIDES = {"bid_price": "b", "bid_size": "bv", "ask_price": "a", "ask_size": "av"}
_RATE_SCALE, _RATE_DIGITS = 12, 28


def decode_candles(messages: pa.Table) -> Decoded:
    """Return bars of /stock/candle, /forex/candle, /crypto/candle."""
    reader = _Candles((BARS,))
    return read_messages(reader, messages, reader.answer)


def decode_bbo(messages: pa.Table) -> Decoded:
    """Return quotes of /stock/bbo."""
    reader = Reader((QUOTES,))

    def read(payload: bytes) -> None:
        found = answer_of(payload)
        if found is None:
            return
        told = object_of(found)
        who = _stock(told.get("s"))
        for entry in rows_of(told, ("a", "av", "b", "bv", "t"), ("c",)):
            reader.add(QUOTES, _quote, who, entry)

    return read_messages(reader, messages, read)


def decode_rates(messages: pa.Table) -> Decoded:
    """Return rates of /forex/rates: units of each currency for one of the base."""
    reader = Reader((FX_RATES,))

    def read(payload: bytes) -> None:
        found = answer_of(payload)
        if found is None:
            return
        told = object_of(found)
        base, rates = text_of(told.get("base")), told.get("quote")
        if base is None or not isinstance(rates, dict):
            raise NumberRefusedError("unsupported_answer", payload[:200], "base, and rates by currency")
        day = day_of(reader.params.get("date"), "date")
        if day is None and reader.until is None:
            raise NumberRefusedError("missing_date", payload[:200], "a date in the request, or a delivery date")
        for quote, rate in rates.items():
            if quote != base:
                reader.add(FX_RATES, _rate, base, quote, rate, day, reader.until, reader.delivered)

    return read_messages(reader, messages, read)


def decode_actions(messages: pa.Table) -> Decoded:
    """Return splits and cash dividends of /stock/split, /stock/dividend and /stock/dividend2."""
    reader = Reader((CORPORATE_ACTIONS,))

    def read(payload: bytes) -> None:
        found = answer_of(payload)
        if found is None:
            return
        basic = found.get("data") if isinstance(found, dict) else None
        entries = basic if isinstance(basic, list) else found
        if not isinstance(entries, list):
            raise NumberRefusedError("unsupported_answer", payload[:200], "a list of splits or dividends")
        symbol = found.get("symbol") if isinstance(found, dict) else None
        keys: Counter[str] = Counter()
        for entry in entries:
            reader.add(CORPORATE_ACTIONS, _action, entry, symbol, reader.delivered, keys)

    return read_messages(reader, messages, read)


class _Candles(Reader):
    """Reads candles."""

    def answer(self, payload: bytes) -> None:
        """Append the bars of an answer; one with no_data is control."""
        found = answer_of(payload)
        if found is None:
            return
        told = object_of(found)
        if told.get("s") == "no_data":
            return
        if told.get("s") != "ok":
            raise NumberRefusedError("unsupported_answer", payload[:200], "candles: s, o, h, l, c, t")
        who = _stock(self.params.get("symbol"))
        interval = _RESOLUTIONS.get(self.params.get("resolution", ""))
        if interval is None:
            raise NumberRefusedError("unknown_interval", self.params.get("resolution"), "resolution of the request")
        zone = ZoneInfo(zone_name_of(who))
        rows = rows_of(told, ("o", "h", "l", "c", "t"), ("v",))
        newest = max((each["t"] for each in rows if type(each["t"]) is int), default=None)
        until = self.until
        if until is None and newest is not None:
            until = _opened(newest, interval, zone)  # a later bar proves that the ones before it are over
        for row in rows:
            self.add(BARS, self._bar, who, row, interval, zone, until)

    def _bar(self, who: Row, told: Object, interval: str, zone: ZoneInfo, until: datetime | None) -> Row:
        opened = _opened(told["t"], interval, zone)
        is_day = not interval.endswith("m")
        is_stock = who.get("asset_class") not in ("fx", "crypto")
        volume = told.get("v")
        return who | {
            **{name: exact(told[letter], PRICE_SCALE) for name, letter in _PRICES.items()},
            "interval": interval,
            "session_date": opened.date() if is_day else None,
            "ts_open": opened.astimezone(UTC),
            "volume": None if volume is None else exact(volume, VOLUME_SCALE, MOST_VOLUME_DIGITS),
            "basis": (Basis.SPLIT_ADJUSTED if is_day and is_stock else Basis.AS_TRADED).value,
            "price_type": "mid" if who.get("asset_class") == "fx" else "trade",
            "is_final": until is not None and bar_end(opened, interval, zone) <= until,
            "delivered_at": self.delivered,
        }


def _opened(stamp: object, interval: str, zone: ZoneInfo) -> datetime:
    """Return the start of a bar: its stamp, or the midnight of the market where the stamp is a day's in UTC."""
    at = EPOCH + timedelta(seconds=stamp_of(stamp, 1))
    if interval.endswith("m"):
        return at
    day = at.date()
    if interval != "1d":
        day = day - timedelta(days=day.weekday()) if interval == "1wk" else day.replace(day=1)
    return midnight(day, zone)


def _stock(symbol: object) -> Row:
    name = text_of(symbol)
    if name is None:
        raise NumberRefusedError("missing_symbol", symbol, "a symbol in the answer or its request")
    return hints(name) | {"symbol": name}


def _quote(who: Row, told: Object) -> Row:
    at = EPOCH + timedelta(milliseconds=stamp_of(told["t"], 1_000))
    return who | {"ts_event": at, "ts_event_nanos": 0, "conditions": joined(told.get("c"))} | two_sides(told, _SIDES)


def _rate(base: str, quote: str, rate: object, day: date | None, until: datetime | None, delivered: datetime | None) -> Row:
    value = exact(rate, _RATE_SCALE, _RATE_DIGITS)
    if value <= 0:
        raise NumberRefusedError("price_not_positive", rate, "a rate above 0")
    return {
        "symbol": f"{base}/{quote}",
        "asset_class": "fx",
        "currency": quote,
        "base_currency": base,
        "quote_currency": quote,
        "rate": value,
        "rate_kind": "spot" if day is None else "end_of_day",
        "session_date": day,
        "ts_event": until if day is None else midnight(day + timedelta(days=1), ZoneInfo("UTC")),
        "delivered_at": delivered,
    }


def _action(entry: object, symbol: object, delivered: datetime | None, keys: Counter[str]) -> Row:
    told = object_of(entry, "a split or a dividend")
    who = _stock(told.get("symbol", symbol))
    ex_date = day_of(told.get("date", told.get("exDate")), "date")
    if ex_date is None:
        raise NumberRefusedError("missing_date", told, "date or exDate")
    kind = "split" if "toFactor" in told else "dividend"
    key = f"{who['symbol']}:{kind}:{ex_date}"
    keys[key] += 1
    is_past = delivered is not None and ex_date <= delivered.astimezone(NEW_YORK).date()
    row = who | {
        "action_key": key if keys[key] == 1 else f"{key}:{keys[key]}",
        "ex_date": ex_date,
        "status": "confirmed" if is_past else "announced",
        "delivered_at": delivered,
    }
    if kind == "split":
        new, old = lowest_terms(exact(told["toFactor"], PRICE_SCALE), exact(told.get("fromFactor"), PRICE_SCALE))
        return row | {"kind": "split", "ratio_new": new, "ratio_old": old}
    currency = text_of(told.get("currency"))
    return row | {
        "kind": "cash_dividend",
        "amount": exact(told.get("amount"), PRICE_SCALE),
        "share_basis": "as_paid",
        "currency": currency or who.get("currency"),
        "announcement_date": day_of(told.get("declarationDate"), "declarationDate"),
        "record_date": day_of(told.get("recordDate"), "recordDate"),
        "pay_date": day_of(told.get("payDate"), "payDate"),
    }
