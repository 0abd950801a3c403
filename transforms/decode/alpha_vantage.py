"""Alpha Vantage: time series of stocks, FX and digital currencies, quotes, actions, and every refusal that comes with HTTP 200.

Keys are matched on the name after the dot, never on the number (`volume` is 5 or 6). Numbers are texts, digit by digit.
Stamps are local to the zone of the metadata. Refusals (`Note`, `Information`, `Error Message`, the artificial sample of a
premium endpoint) are told by the absence of data, in CSV answers too, and are control. Daily prices are as traded; intraday
stock prices are adjusted for splits and dividends unless the request says adjusted=false. An exchange rate is a rate, and a quote
where bid or ask stand beside it. Kept in raw only: previous close, change, prices after hours, dollar prices and market
capitalization beside those in another currency (2017). Source: PROVIDERS.md section 1.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pyarrow as pa

from lake.values import Basis
from transforms.decode.alpha_vantage_actions import read_action, split_ratio
from transforms.decode.alpha_vantage_series import (
    QUOTE_CSV_HEAD,
    Series,
    csv_records,
    csv_series,
    is_csv,
    is_refusal,
    json_series,
    named,
    pair_class,
    stamp_of,
)
from transforms.decode.decoded import BARS, CORPORATE_ACTIONS, FX_RATES, QUOTES, Decoded
from transforms.decode.delivery import zone_named
from transforms.decode.exchange_symbols import hints
from transforms.decode.json_digits import document, text_of
from transforms.decode.readers import Object, Reader, Row, object_of, read_messages
from transforms.decode.spans import bar_end, midnight
from transforms.numbers import (
    MOST_VOLUME_DIGITS,
    PRICE_SCALE,
    VOLUME_SCALE,
    NumberRefusedError,
    exact_decimal,
)

__all__ = ["CURRENCY_TABLES", "decode_currencies", "decode_stocks", "split_ratio"]

CURRENCY_TABLES = (BARS, QUOTES, FX_RATES)
_RATE_SCALE, _RATE_DIGITS = 12, 28
_PRICES = ("open", "high", "low", "close")
_LABELS_TURNED = 2022
"""Until about then an intraday stamp named the end of its bar, since then the start; only for answers that do not show it."""


def decode_stocks(messages: pa.Table) -> Decoded:
    """Return bars, dividends and splits of stocks."""
    reader = _Reader((BARS, CORPORATE_ACTIONS), frozenset({"stock"}))
    return read_messages(reader, messages, reader.answer)


def decode_currencies(messages: pa.Table) -> Decoded:
    """Return bars, rates and quotes of currency pairs, digital currencies included."""
    reader = _Reader(CURRENCY_TABLES, frozenset({"fx", "crypto"}))
    return read_messages(reader, messages, reader.answer)


class _Reader(Reader):
    """Reads series, quotes and actions of some asset classes."""

    def __init__(self, tables: tuple[str, ...], classes: frozenset[str]) -> None:
        super().__init__(tables)
        self.classes = classes

    def answer(self, payload: bytes) -> None:
        """Append what a payload says. Raises NumberRefusedError when it is nothing of these asset classes."""
        body = payload.strip()
        if not body or body.startswith(b"<"):
            return
        if body.startswith(QUOTE_CSV_HEAD) and "stock" in self.classes:
            for quote in csv_records(body):
                self.add(BARS, self._day_so_far, quote)
            return
        found = csv_series(payload, self.params) if is_csv(body) else document(body)
        if not isinstance(found, Series):
            if is_refusal(found) or (isinstance(found, dict) and self._told(found)):
                return
            found = json_series(found)
        if found.asset_class not in self.classes:
            raise NumberRefusedError(
                "unsupported_answer", found.asset_class, f"an answer about {', '.join(sorted(self.classes))}"
            )
        if found.rows and f"price ({found.symbol.partition('/')[2]})" in found.rows[0][1] and FX_RATES in self.rows:
            for stamp, values in found.rows:
                self.add(FX_RATES, self._price, found, stamp, values)
        else:
            self._series(found)

    def _told(self, found: Object) -> bool:
        """Append an answer that is no series; False when it is one, or not this feed's."""
        quote, rate, entries = found.get("Global Quote"), found.get("Realtime Currency Exchange Rate"), found.get("data")
        if "stock" in self.classes and isinstance(quote, dict):
            if quote:
                self.add(BARS, self._day_so_far, named(quote))
        elif "fx" in self.classes and isinstance(rate, dict):
            told = named(rate)
            self.add(FX_RATES, self._rate, told)
            if any(told.get(name) not in (None, "", "-") for name in ("Bid Price", "Ask Price")):
                self.add(QUOTES, _quote, told)
        elif "stock" in self.classes and isinstance(entries, list) and "endpoint" in found:
            for entry in entries:
                self.add(BARS, self._bulk_quote, entry)
        elif "stock" in self.classes and isinstance(entries, list) and "symbol" in found and "name" not in found:
            for entry in entries:
                self.add(CORPORATE_ACTIONS, read_action, found["symbol"], entry, self.delivered)
        else:
            return False
        return True

    def _series(self, series: Series) -> None:
        """Append the bars of a series, newest first as they came, then the actions of its adjusted days."""
        until = self.until or series.refreshed
        is_end = series.interval.endswith("m") and series.asset_class == "stock" and _labels_end(series)
        for stamp, values in series.rows:
            self.add(BARS, self._timed_bar, series, stamp, values, is_end, until)
        if CORPORATE_ACTIONS not in self.rows:
            return
        for stamp, values in series.rows:
            for name, nothing, read in (("dividend amount", 0, self._dividend), ("split coefficient", 1, self._split)):
                told = values.get(name)
                if told not in (None, "") and not _is(told, nothing):
                    self.add(CORPORATE_ACTIONS, read, series, stamp, told)

    def _timed_bar(self, series: Series, stamp: str, values: Object, is_end: bool, until: datetime | None) -> Row:
        opened, ended = _span(series, stamp, is_end)
        return self._bar(series, values, opened) | {"is_final": until is not None and ended <= until}

    def _bar(self, series: Series, values: Object, opened: datetime) -> Row:
        market = series.symbol.partition("/")[2]
        prices = {name: values.get(name, values.get(f"{name} ({market})")) for name in _PRICES}
        missing = [name for name, price in prices.items() if price in (None, "")]
        if missing:
            raise NumberRefusedError("incomplete_bar", sorted(values), f"{', '.join(missing)}: a price")
        is_intraday, is_stock = series.interval.endswith("m"), series.asset_class == "stock"
        is_adjusted = is_intraday and is_stock and self.params.get("adjusted", "true").lower() != "false"
        volume, adjusted = values.get("volume"), values.get("adjusted close")
        return {
            **_hints(series),
            **{name: _number(price) for name, price in prices.items()},
            "session_date": None if is_intraday else opened.date(),
            "interval": series.interval,
            "ts_open": opened,
            "volume": None if volume is None else exact_decimal(_text(volume), VOLUME_SCALE, MOST_VOLUME_DIGITS),
            "provider_adjusted_close": None if adjusted is None else _number(adjusted),
            "basis": (Basis.FULLY_ADJUSTED if is_adjusted else Basis.AS_TRADED).value,
            "price_type": "mid" if series.asset_class == "fx" else "trade",
            "delivered_at": self.delivered,
        }

    def _action(self, series: Series, stamp: str, kind: str) -> Row:
        if series.interval != "1d":
            raise NumberRefusedError("no_ex_date", f"{series.symbol} {stamp} {series.interval}", "a day, not a week or month")
        ex_date = stamp_of(stamp, series.zone).date()
        return {
            **_hints(series),
            "action_key": f"{series.symbol}:{kind}:{ex_date}",
            "ex_date": ex_date,
            "status": "confirmed",
            "delivered_at": self.delivered,
        }

    def _dividend(self, series: Series, stamp: str, told: object) -> Row:
        known = {"kind": "cash_dividend", "amount": _number(told), "share_basis": "as_paid"}
        return self._action(series, stamp, "dividend") | known

    def _split(self, series: Series, stamp: str, told: object) -> Row:
        new, old = split_ratio(_text(told))
        return self._action(series, stamp, "split") | {"kind": "split", "ratio_new": new, "ratio_old": old}

    def _day_so_far(self, told: Object) -> Row:
        """GLOBAL_QUOTE: the latest trading day, its last price as close; whether the day is over is not told."""
        symbol = text_of(told.get("symbol"))
        if symbol is None:
            raise NumberRefusedError("missing_symbol", told, "symbol")
        zone = zone_named("America/New_York")
        if zone is None or "exchange" not in hints(symbol):
            raise NumberRefusedError("unknown_zone", symbol, "a US symbol: a quote does not tell its time zone")
        series = Series(symbol, "stock", "1d", zone, "America/New_York", None, ())
        opened = midnight(stamp_of(str(told.get("latest trading day")), zone).date(), zone)
        return self._bar(series, {**told, "close": told.get("price")}, opened) | {"is_final": False}

    def _bulk_quote(self, entry: object) -> Row:
        """REALTIME_BULK_QUOTES: the same of many symbols, stamped in the time of New York."""
        told = object_of(entry)
        return self._day_so_far({**told, "price": told.get("close"), "latest trading day": str(told.get("timestamp"))[:10]})

    def _rate(self, told: Object) -> Row:
        base, quote, at = _pair(told)
        rate = exact_decimal(_text(told.get("Exchange Rate")), _RATE_SCALE, _RATE_DIGITS)
        return _rate_row(base, quote, at, rate) | {"delivered_at": self.delivered}

    def _price(self, series: Series, stamp: str, values: Object) -> Row:
        """A digital currency's price at an instant, as the intraday series of 2017 told it."""
        base, _, quote = series.symbol.partition("/")
        price = exact_decimal(_text(values.get(f"price ({quote})")), _RATE_SCALE, _RATE_DIGITS)
        return _rate_row(base, quote, stamp_of(stamp, series.zone).astimezone(UTC), price) | {"delivered_at": self.delivered}


def _hints(series: Series) -> Row:
    if series.asset_class == "stock":
        told = hints(series.symbol)
    else:
        told = {"asset_class": series.asset_class, "currency": series.symbol.partition("/")[2] or None}
    return told | {"symbol": series.symbol, "exchange_zone": series.zone_name}


def _span(series: Series, stamp: str, is_end: bool) -> tuple[datetime, datetime]:
    """Return the start and end of the bar that `stamp` labels; weeks and months are labelled with their last day."""
    told = stamp_of(stamp, series.zone)
    if series.interval.endswith("m"):
        length = timedelta(minutes=int(series.interval[:-1]))
        start = told.astimezone(UTC) - (length if is_end else timedelta())
        return start.astimezone(series.zone), start + length
    day = told.date()
    if series.interval != "1d":
        day = day - timedelta(days=day.weekday()) if series.interval == "1wk" else day.replace(day=1)
    opened = midnight(day, series.zone)
    return opened, bar_end(opened, series.interval, series.zone)


def _labels_end(series: Series) -> bool:
    """Whether intraday stamps name the end of their bars: the hours traded are 04:00 to 20:00, and only one edge is labelled."""
    hours = {stamp[11:] for stamp, _ in series.rows}
    if "20:00:00" in hours or "04:00:00" in hours:
        return "20:00:00" in hours
    newest = max((stamp[:4] for stamp, _ in series.rows), default="")
    return newest < str(_LABELS_TURNED)


def _pair(told: Object) -> tuple[str, str, datetime]:
    base, quote = text_of(told.get("From_Currency Code")), text_of(told.get("To_Currency Code"))
    zone = zone_named(told.get("Time Zone"))
    if base is None or quote is None or zone is None:
        raise NumberRefusedError("malformed", told, "two currency codes and a time zone")
    return base, quote, stamp_of(str(told.get("Last Refreshed")), zone).astimezone(UTC)


def _rate_row(base: str, quote: str, at: datetime, rate: Decimal) -> Row:
    if rate <= 0:
        raise NumberRefusedError("price_not_positive", rate, "a rate above 0")
    return {
        "symbol": f"{base}/{quote}",
        "asset_class": pair_class(base, quote),
        "currency": quote,
        "base_currency": base,
        "quote_currency": quote,
        "rate": rate,
        "rate_kind": "spot",
        "ts_event": at,
    }


def _quote(told: Object) -> Row:
    base, quote, at = _pair(told)
    prices = {side: told.get(f"{word} Price") for side, word in (("bid_price", "Bid"), ("ask_price", "Ask"))}
    return {side: _number(price) for side, price in prices.items() if price not in (None, "", "-")} | {
        "symbol": f"{base}/{quote}",
        "asset_class": pair_class(base, quote),
        "currency": quote,
        "ts_event": at,
        "ts_event_nanos": 0,
    }


def _is(told: object, nothing: int) -> bool:
    """Return whether a text is this number; one that is no number is not."""
    try:
        return _number(told) == nothing
    except NumberRefusedError:
        return False


def _number(value: object) -> Decimal:
    return exact_decimal(_text(value), PRICE_SCALE)


def _text(value: object) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int) or (isinstance(value, int) and abs(value) >= 10**40):
        raise NumberRefusedError("malformed_number", value, "digits")
    return str(value)
