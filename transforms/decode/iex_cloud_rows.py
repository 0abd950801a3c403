"""Rows of what IEX Cloud and the IEX API v1 said of stocks: one function an entry, no state.

A day's bar is told up to three times in one entry: `uOpen` as traded, `open` adjusted for splits, `fOpen` fully adjusted; the
v1 of 2018 tells `open` alone, which is taken as split-adjusted (its page said "adjusted", nothing closer). A minute is told for
IEX and for the whole market (`marketOpen`): the market's is kept, IEX's where there is no other, with the MIC IEXG. IEX writes
-1, 0 or null where nothing traded. Dates of dividends may be 0000-00-00, amounts text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal

from lake.values import Basis
from transforms.decode.iex_cloud import hints
from transforms.decode.json_digits import Digits, exact, rounded, text_of
from transforms.decode.json_digits import instant as rfc_instant
from transforms.decode.measures import NUMBER_SCALE, lines, value_of
from transforms.decode.polygon_rows import instant
from transforms.decode.readers import Row
from transforms.decode.spans import NEW_YORK, bar_end, count_of, day_of, midnight
from transforms.numbers import MOST_VOLUME_DIGITS, PRICE_SCALE, VOLUME_SCALE, NumberRefusedError, lowest_terms

STATEMENTS = {
    "financials": "metric",
    "balancesheet": "balance",
    "income": "income",
    "cashflow": "cash_flow",
    "earnings": "earnings",
    "estimates": "estimate",
}
"""Key of the list in an answer -> our statement."""
_NAMES = ("open", "high", "low", "close", "volume")
_FORMS = (("u", Basis.AS_TRADED), ("", Basis.SPLIT_ADJUSTED), ("f", Basis.FULLY_ADJUSTED))
_NOT_ITEMS = frozenset({"symbol", "symbolId", "currency", "id", "key", "subkey", "updated", "date", "companyName"})
_PERIOD_ENDS = ("fiscalDate", "fiscalEndDate", "reportDate")
_TICKER = re.compile(r"[A-Z]{1,5}(?:[.\-][A-Z]{1,2})?\Z")
_MINUTE = re.compile(r"([01]\d|2[0-3]):([0-5]\d)\Z")
_DATE = re.compile(r"(\d{4})-?(\d\d)-?(\d\d)")
_NUMBER_TEXT = re.compile(r"-?\d{1,20}(\.\d{1,20})?\Z")


def iex_day(value: object, name: str) -> date | None:
    """Return a date written 2018-02-01, 20180201, or with a time behind; None for null, "", 0 and 0000-00-00."""
    if value is None or value in ("", 0, "0") or str(value).startswith("0000"):
        return None
    found = _DATE.match(str(value))
    return day_of("-".join(found.groups()) if found else value, name)


def needed_day(told: Mapping[str, object], *names: str) -> date:
    """Return the first date there. Raises NumberRefusedError (missing_date)."""
    for name in names:
        found = iex_day(told.get(name), name)
        if found is not None:
            return found
    raise NumberRefusedError("missing_date", told, " or ".join(names))


def day_bars(symbol: object, told: Mapping[str, object], delivered: datetime | None, until: datetime | None) -> Iterator[Row]:
    """Yield the bars of a day, one for each basis told."""
    who, day = hints(symbol), needed_day(told, "date")
    opened = midnight(day, NEW_YORK).astimezone(UTC)
    shared = who | {
        "interval": "1d",
        "session_date": day,
        "ts_open": opened,
        "price_type": "trade",
        "is_final": until is not None and bar_end(opened, "1d", NEW_YORK) <= until,
        "delivered_at": delivered,
    }
    for letter, basis in _FORMS:
        prices = {name: told.get(f"{letter}{name.capitalize()}" if letter else name) for name in _NAMES}
        if any(prices[name] is not None for name in _NAMES[:4]):
            vwap = told.get("vwap") if not letter else None
            row = shared | {"basis": basis.value, "vwap": None if vwap is None else rounded(vwap, PRICE_SCALE)}
            yield row | _prices(prices)


def minute_bar(symbol: object, told: Mapping[str, object], delivered: datetime | None, until: datetime | None) -> Row | None:
    """Return a minute's bar; None where nothing traded in it."""
    day, clock = needed_day(told, "date"), _MINUTE.match(str(told.get("minute")))
    if clock is None:
        raise NumberRefusedError("timestamp", told.get("minute"), "a minute like 09:30")
    opened = datetime.combine(day, time(int(clock[1]), int(clock[2])), NEW_YORK).astimezone(UTC)
    market = {name: _traded(told.get(f"market{name.capitalize()}")) for name in _NAMES}
    is_market = any(market[name] is not None for name in _NAMES[:4])
    prices = market if is_market else {name: _traded(told.get(name)) for name in _NAMES}
    if not any(prices[name] is not None for name in _NAMES[:4]):
        return None
    average = _traded(told.get("marketAverage" if is_market else "average"))
    return (
        hints(symbol)
        | _prices(prices)
        | {
            "mic": None if is_market else "IEXG",
            "interval": "1m",
            "ts_open": opened,
            "basis": Basis.AS_TRADED.value,
            "price_type": "trade",
            "is_final": until is not None and opened + timedelta(minutes=1) <= until,
            "delivered_at": delivered,
            "trade_count": count_of(told.get("marketNumberOfTrades" if is_market else "numberOfTrades")),
            "vwap": None if average is None else rounded(average, PRICE_SCALE),
        }
    )


def quote_bar(symbol: object, told: Mapping[str, object], delivered: datetime | None) -> Row:
    """Return the day so far of a quote: its close is the latest price, where that is of the same day.

    A latest price that is the close of a day before is stamped at that date's midnight in UTC; its volume is of another day.
    """
    opened, _ = instant(told.get("openTime"))
    latest, _ = instant(told.get("latestUpdate"))
    day = opened.astimezone(NEW_YORK).date()
    is_close = latest.time() == time()
    if (latest if is_close else latest.astimezone(NEW_YORK)).date() != day:
        raise NumberRefusedError("stale_quote", told.get("latestTime"), "an open and a latest price of one day")
    prices = {name: told.get(name) for name in ("open", "high", "low")}
    return (
        hints(symbol)
        | _prices(prices | {"close": told.get("latestPrice"), "volume": None if is_close else told.get("latestVolume")})
        | {
            "interval": "1d",
            "session_date": day,
            "ts_open": midnight(day, NEW_YORK).astimezone(UTC),
            "basis": Basis.AS_TRADED.value,
            "price_type": "trade",
            "is_final": False,
            "delivered_at": delivered or (None if is_close else latest),
        }
    )


def action(symbol: object, told: Mapping[str, object], delivered: datetime | None) -> Row:
    """Return a cash dividend (it has an `amount`) or a split (`toFactor` for `fromFactor`, in v1 `forFactor`)."""
    who, ex_date = hints(symbol), needed_day(told, "exDate")
    is_past = delivered is not None and ex_date <= delivered.astimezone(NEW_YORK).date()
    row = who | {
        "ex_date": ex_date,
        "record_date": iex_day(told.get("recordDate"), "recordDate"),
        "pay_date": iex_day(told.get("paymentDate"), "paymentDate"),
        "announcement_date": iex_day(told.get("declaredDate"), "declaredDate"),
        "status": "confirmed" if is_past else "announced",
        "delivered_at": delivered,
    }
    refid = told.get("refid")
    own = f"{who['symbol']}:{refid}" if isinstance(refid, int | str) and not isinstance(refid, bool) and refid else None
    if "toFactor" in told:
        if "lapsedPremium" in told or "hasWithdrawalRights" in told:
            raise NumberRefusedError("unsupported_action", told.get("notes") or told, "a split or a cash dividend")
        old = told["fromFactor"] if "fromFactor" in told else told.get("forFactor")
        new, old = lowest_terms(_number(told["toFactor"], PRICE_SCALE), _number(old, PRICE_SCALE))
        return row | {
            "kind": "split",
            "ratio_new": new,
            "ratio_old": old,
            "action_key": own or f"{who['symbol']}:split:{ex_date}",
        }
    amount = _number(told.get("amount"), PRICE_SCALE)
    return row | {
        "kind": "cash_dividend",
        "amount": amount,
        "share_basis": "as_paid",
        "currency": text_of(told.get("currency")) or "USD",
        "action_key": own or f"{who['symbol']}:dividend:{ex_date}:{amount.normalize():f}",
    }


def statement_rows(
    symbol: object, statement: str, period: str, told: Mapping[str, object], delivered: datetime | None
) -> Iterator[Row]:
    """Yield the lines of one period of a statement; null lines and lists give none.

    ts_event: when it was announced, where that is told; else the midnight after the period, the first moment it can be true.
    """
    ended = needed_day(told, *_PERIOD_ENDS)
    announced = iex_day(told.get("EPSReportDate"), "EPSReportDate")
    if announced is None and ("fiscalDate" in told or "fiscalEndDate" in told):
        announced = iex_day(told.get("reportDate"), "reportDate")
    known = announced if announced is not None and announced >= ended else ended + timedelta(days=1)
    shared = hints(symbol) | {
        "period_end": ended,
        "period": period,
        "statement": statement,
        "announcement_date": announced,
        "ts_event": midnight(known, NEW_YORK).astimezone(UTC),
        "known_at": delivered,
        "delivered_at": delivered,
    }
    currency = text_of(told.get("currency"))
    for name, value in told.items():
        if name not in _NOT_ITEMS and name not in _PERIOD_ENDS and (found := value_of(value)):
            is_money = not name.startswith("numberOf") and not name.endswith("Percent")
            yield shared | found | {"item": name, "unit": currency if is_money else None}


def overview_rows(symbol: object, told: Mapping[str, object], delivered: datetime | None) -> Iterator[Row]:
    """Yield the lines of a profile (key stats), which is of the day of its delivery. Raises NumberRefusedError without one."""
    if delivered is None:
        raise NumberRefusedError("missing_date", symbol, "a delivery date: a profile tells none")
    day = delivered.astimezone(NEW_YORK).date()
    shared = hints(symbol) | {
        "session_date": day,
        "period_end": day,
        "period": "point",
        "statement": "overview",
        "ts_event": delivered,
        "known_at": delivered,
        "delivered_at": delivered,
    }
    yield from lines(shared, "item", told, (name for name in told if name not in _NOT_ITEMS))


def alternative_rows(symbol: object, told: Mapping[str, object], day: date, delivered: datetime | None) -> Iterator[Row]:
    """Yield the numbers of an entry of a day as measures: short interest, price targets, recommendations."""
    shared = hints(symbol) | {
        "ts_event": _after(day),
        "session_date": day,
        "known_at": delivered,
        "delivered_at": delivered,
    }
    for name, value in told.items():
        if name not in _NOT_ITEMS and isinstance(value, int | Digits) and not isinstance(value, bool) and "Date" not in name:
            yield shared | {"measure": name} | value_of(value)


def news_rows(symbol: object, told: Mapping[str, object], delivered: datetime | None) -> Iterator[Row]:
    """Yield an article once for each symbol it names; tags among `related` that are no symbols stay in the raw message."""
    headline, stamp = text_of(told.get("headline")), told.get("datetime")
    if headline is None:
        raise NumberRefusedError("missing_headline", told, "headline")
    at, _ = rfc_instant(stamp) if isinstance(stamp, str) else instant(stamp)
    related = [word.strip() for word in (text_of(told.get("related")) or "").split(",")]
    asked = text_of(symbol)
    names = dict.fromkeys([*([asked.upper()] if asked else []), *(word for word in related if _TICKER.match(word))])
    article = {
        "news_id": text_of(told.get("url")) or f"{at.isoformat()}:{headline}",
        "headline": headline,
        "summary": text_of(told.get("summary")),
        "source": text_of(told.get("source")),
        "url": text_of(told.get("url")),
        "ts_event": at,
        "known_at": delivered,
        "delivered_at": delivered,
    }
    for name in names or [None]:
        yield article | (hints(name) | {"currency": None} if name else {})


def option_row(told: Mapping[str, object], delivered: datetime | None) -> Row:
    """Return open interest and volume of a contract, named by its OCC symbol, of the day of its last update."""
    who = hints(told.get("symbol"))
    expires, day = needed_day(told, "expirationDate"), needed_day(told, "lastUpdated")
    strike = _number(told.get("strikePrice"), 3)
    side = {"call": "C", "put": "P"}.get(str(told.get("side")))
    if side is None or not 0 < strike < 100_000:
        raise NumberRefusedError("malformed", told, "side call or put, and a strike below 100,000")
    return who | {
        "symbol": f"{who['symbol']}{expires:%y%m%d}{side}{int(strike * 1000):08d}",
        "asset_class": "option",
        "underlying": who["symbol"],
        "session_date": day,
        "ts_event": _after(day),
        "known_at": delivered,
        "delivered_at": delivered,
        "open_interest": count_of(told.get("openInterest")),
        "day_volume": count_of(told.get("volume")),
    }


def rate_row(told: Mapping[str, object], delivered: datetime | None) -> Row:
    """Return a rate of two currencies: of an instant (`timestamp`), or of a day."""
    pair = text_of(told.get("symbol")) or f"{told.get('fromCurrency')}{told.get('toCurrency')}"
    if not re.fullmatch(r"[A-Za-z]{6}", pair):
        raise NumberRefusedError("missing_symbol", told, "a pair like USDGBP")
    day = iex_day(told.get("date"), "date")
    stamp = told.get("timestamp")
    if stamp is not None:
        at, _ = instant(stamp)
    elif day is not None:
        at = datetime.combine(day + timedelta(days=1), time(), UTC)
    else:
        raise NumberRefusedError("missing_timestamp", told, "timestamp or date")
    return {
        "symbol": pair.upper(),
        "asset_class": "fx",
        "currency": pair[3:].upper(),
        "base_currency": pair[:3].upper(),
        "quote_currency": pair[3:].upper(),
        "rate": exact(told.get("rate"), NUMBER_SCALE, 28),
        "rate_kind": "spot" if day is None else "end_of_day",
        "session_date": day,
        "ts_event": at,
        "known_at": delivered,
        "delivered_at": delivered,
    }


def _after(day: date) -> datetime:
    """Return the midnight after a day, the first moment at which what is told of the whole day can be true."""
    return midnight(day + timedelta(days=1), NEW_YORK).astimezone(UTC)


def _prices(told: Mapping[str, object]) -> Row:
    row: Row = {name: None if value is None else exact(value, PRICE_SCALE) for name, value in told.items() if name != "volume"}
    volume = told.get("volume")
    return row | {"volume": None if volume is None else exact(volume, VOLUME_SCALE, MOST_VOLUME_DIGITS)}


def _traded(value: object) -> object:
    """Return a number above 0; None where nothing traded."""
    if value is None:
        return None
    return value if exact(value, PRICE_SCALE, 36) > 0 else None


def _number(value: object, scale: int) -> Decimal:
    """Return a JSON number, or its text as the v1 sometimes writes it."""
    is_text = isinstance(value, str) and not isinstance(value, Digits) and _NUMBER_TEXT.match(value)
    return exact(Digits(value) if is_text else value, scale)
