"""Rows of Polygon's entries: trades, quotes, aggregates, what chains tell of options. One function an entry, no state.

Numbers are exact digits of JSON; `vw` and what Polygon computed (greeks) are rounded. Stamps count seconds, milliseconds,
microseconds or nanoseconds since 1970 by endpoint, and are told apart by their size. A trade's id counts within exchange and day.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

from lake.values import Basis
from transforms.decode.json_digits import exact, joined, rounded, text_of
from transforms.decode.readers import Row, object_of, trade_number, two_sides
from transforms.decode.spans import NEW_YORK, bar_end, count_of, day_of, midnight
from transforms.numbers import MOST_VOLUME_DIGITS, PRICE_SCALE, SIZE_SCALE, VOLUME_SCALE, NumberRefusedError

LONG_QUOTE = {name: name for name in ("bid_price", "bid_size", "ask_price", "ask_size")}
SHORT_QUOTE = {"bid_price": "p", "bid_size": "s", "ask_price": "P", "ask_size": "S"}
STREAM_QUOTE = {"bid_price": "bp", "bid_size": "bs", "ask_price": "ap", "ask_size": "as"}
CHAIN_QUOTE = {"bid_price": "bid", "bid_size": "bid_size", "ask_price": "ask", "ask_size": "ask_size"}
CANCELLED, CANCELS, CORRECTS = (7, 8), (10, 11), 12
"""Correction codes: a trade taken back since; the report that takes it back; the report that restates it."""

_ASSETS = {"O": "option", "X": "crypto", "C": "fx", "I": "index"}
_DAILY = {"o": "open", "h": "high", "l": "low", "c": "close", "v": "volume"}
_GREEK_SCALE, _GREEK_DIGITS, _NUMBER_SCALE, _NUMBER_DIGITS = 18, 28, 12, 38
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def hints(ticker: object) -> Row:
    """Return symbol, asset_class, currency and exchange that a ticker tells. Raises NumberRefusedError (missing_symbol)."""
    name = text_of(ticker)
    if name is None:
        raise NumberRefusedError("missing_symbol", ticker, "a ticker")
    prefix, colon, rest = name.partition(":")
    asset = _ASSETS.get(prefix) if colon and rest else None
    if asset == "option":
        return {"symbol": rest, "asset_class": asset, "currency": "USD", "exchange": "US"}
    if asset in ("crypto", "fx"):
        return {"symbol": name, "asset_class": asset, "currency": rest[-3:] if len(rest) >= 6 else None}
    if asset == "index":
        return {"symbol": name, "asset_class": asset, "exchange_zone": "America/New_York"}
    return {"symbol": name, "asset_class": None, "currency": "USD", "exchange": "US"}


def instant(value: object) -> tuple[datetime, int]:
    """Return (UTC instant, nanoseconds beyond its microsecond) of a stamp in s, ms, us or ns. Raises NumberRefusedError."""
    if isinstance(value, int) and not isinstance(value, bool) and 0 < value < 1 << 62:
        nanos = value
        for _ in range(3):
            if nanos < 10**17:  # 1973 in nanoseconds; no smaller unit reaches it before the year 5138
                nanos *= 1000
        found = _EPOCH + timedelta(microseconds=nanos // 1000)
        if 1973 <= found.year <= 2199:
            return found, nanos % 1000
    raise NumberRefusedError("timestamp", value, "seconds, milliseconds or nanoseconds since 1970")


def trade(ticker: object, entry: object, clocks: tuple[str, ...]) -> Row:
    """Return a row of normalized.trades; `clocks` are the names of its stamps, the first one there counts."""
    told = object_of(entry)
    at, nanos = _first_instant(told, clocks)
    number, venue = trade_number(_either(told, "id", "i")), _either(told, "exchange", "x")
    day = at.astimezone(NEW_YORK).date()
    return hints(ticker) | {
        "ts_event": at,
        "ts_event_nanos": nanos,
        "sequence": _sequence(told),
        "price": exact(_either(told, "price", "p"), PRICE_SCALE),
        "size": exact(_either(told, "size", "s"), SIZE_SCALE),
        "trade_id": None if number is None else f"{day}:{'' if venue is None else venue}:{number}",
        "conditions": joined(_either(told, "conditions", "c")),
    }


def correction_code(entry: object) -> object:
    """Return the correction code of a trade; None where it has none."""
    return entry.get("correction", entry.get("e")) if isinstance(entry, dict) else None


def trade_event(ticker: object, entry: object, clocks: tuple[str, ...], delivered: datetime | None) -> Row:
    """Return a row of normalized.trade_events of a trade whose code cancels or corrects."""
    row = trade(ticker, entry, clocks)
    if correction_code(entry) == CORRECTS:
        row |= {"kind": "correction", "new_price": row.pop("price"), "new_size": row.pop("size")}
    else:
        row["kind"] = "cancel"
    return row | {"delivered_at": delivered}


def quote(ticker: object, entry: object, names: Mapping[str, str], clocks: tuple[str, ...]) -> Row:
    """Return a row of normalized.quotes.

    The sequence is not kept: it starts anew each day, and a quote's number must be its own for good.
    """
    told = object_of(entry)
    at, nanos = _first_instant(told, clocks)
    row = hints(ticker) | {"ts_event": at, "ts_event_nanos": nanos, "conditions": joined(_either(told, "conditions", "c"))}
    return row | two_sides(told, names)


def streamed_quote(event: Mapping[str, object]) -> Mapping[str, object]:
    """Return a quote of the stream, whose one condition stands alone, as REST lists its conditions."""
    code = event.get("c")
    return {**event, "c": [code]} if type(code) is int else event


def aggregate(
    ticker: object, entry: object, interval: str, basis: Basis, delivered: datetime | None, until: datetime | None
) -> Row:
    """Return a row of normalized.bars; `until` is an instant up to which the answer surely knows the market.

    A day is stamped at the midnight of New York in a range, but at the close in /prev and in grouped answers: its session is
    the date of the stamp in New York (crypto and currencies: UTC), and ts_open that date's midnight.
    """
    told = object_of(entry)
    stamp, _ = instant(told.get("t"))
    who = hints(ticker or told.get("T"))
    zone = ZoneInfo("UTC") if who["asset_class"] in ("crypto", "fx") else NEW_YORK
    is_day = not interval.endswith("m")
    day = stamp.astimezone(zone).date()
    opened = midnight(day, zone).astimezone(UTC) if is_day else stamp
    row = who | {
        "interval": interval,
        "ts_open": opened,
        "session_date": day if is_day else None,
        "basis": basis.value,
        "price_type": "index" if who["asset_class"] == "index" else "trade",
        "is_final": until is not None and bar_end(opened, interval, zone) <= until,
        "delivered_at": delivered,
        "volume": None if told.get("v") is None else exact(told["v"], VOLUME_SCALE, MOST_VOLUME_DIGITS),
        "trade_count": count_of(told.get("n")),
        "vwap": None if told.get("vw") is None else rounded(told["vw"], PRICE_SCALE),
    }
    return row | {name: exact(told.get(name[0]), PRICE_SCALE) for name in ("open", "high", "low", "close")}


def open_close(found: Mapping[str, object]) -> Row:
    """Return `/v1/open-close` in the short names of an aggregate: the day is the answer's `from`."""
    day = day_of(found.get("from"), "from")
    if day is None:
        raise NumberRefusedError("missing_date", found.get("from"), "from: a date like 2021-04-01")
    return {short: found.get(name) for short, name in _DAILY.items()} | {"t": int(midnight(day, NEW_YORK).timestamp()) * 1000}


def chain_day(told: Mapping[str, object]) -> Row:
    """Return the `day` of a chain's snapshot in the short names of an aggregate."""
    return {short: told.get(name) for short, name in _DAILY.items()} | {"vw": told.get("vwap"), "t": told.get("last_updated")}


def option_measures(ticker: object, each: Mapping[str, object], delivered: datetime | None) -> Row:
    """Return a row of normalized.option_open_interest.

    Open interest and greeks carry no time of their own: the newest of the quote's, the trade's and the day's counts.
    """
    parts = [part for name in ("last_quote", "day", "last_trade") if isinstance(part := each.get(name), dict)]
    clocks = [part[name] for part in parts for name in ("last_updated", "sip_timestamp") if name in part]
    at = max((instant(clock)[0] for clock in clocks), default=None)
    if at is None:
        raise NumberRefusedError("missing_timestamp", ticker, "last_updated of the quote or the day")
    greeks, underlying = each.get("greeks"), each.get("underlying_asset")
    day = next((part for name in ("day", "session") if isinstance(part := each.get(name), dict)), {})
    told = greeks if isinstance(greeks, dict) else {}
    row = hints(ticker) | {
        "ts_event": at,
        "delivered_at": delivered,
        "underlying": text_of(underlying.get("ticker")) if isinstance(underlying, dict) else None,
        "open_interest": count_of(each.get("open_interest")),
        "day_volume": count_of(day.get("volume")),
        "implied_volatility": greek(each.get("implied_volatility")),
    }
    return row | {name: greek(told.get(name)) for name in ("delta", "gamma", "theta", "vega", "rho")}


def index_level(ticker: object, each: Mapping[str, object], delivered: datetime | None) -> Row:
    """Return a row of normalized.index_levels from the snapshot of an index that tells its time."""
    at, _ = instant(each.get("last_updated"))
    name = text_of(ticker) or ""
    value = exact(each.get("value"), _NUMBER_SCALE, _NUMBER_DIGITS)
    who = hints(name if name.startswith("I:") else f"I:{name}")
    return who | {"ts_event": at, "delivered_at": delivered, "measure": "level", "value": value, "unit": "points"}


def greek(value: object) -> Decimal | None:
    """Return a number that a provider computed by a model, rounded to 18 places; None for null. Raises NumberRefusedError."""
    return None if value is None else rounded(value, _GREEK_SCALE, _GREEK_DIGITS)


def _either(told: Mapping[str, object], long: str, short: str) -> object:
    return told[long] if long in told else told.get(short)


def _sequence(told: Mapping[str, object]) -> int | None:
    found = count_of(_either(told, "sequence_number", "q"))
    if found is not None and not 0 <= found < 1 << 62:
        raise NumberRefusedError("overflow", found, "a sequence number of 64 bits")
    return found


def _first_instant(told: Mapping[str, object], clocks: tuple[str, ...]) -> tuple[datetime, int]:
    for name in clocks:
        if told.get(name) is not None:
            return instant(told[name])
    raise NumberRefusedError("missing_timestamp", told, " or ".join(clocks))
