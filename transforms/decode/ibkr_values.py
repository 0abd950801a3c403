"""What Interactive Brokers' words mean: numbers, instants, contracts, sizes of bars. Both feeds read them the same way."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta, tzinfo
from decimal import Decimal
from itertools import pairwise

from transforms.decode.delivery import zone_named
from transforms.decode.json_digits import Digits, exact, rounded
from transforms.numbers import MOST_DIGITS, NumberRefusedError

_UNSET = frozenset({"", "1.7976931348623157E308", "2147483647", "9223372036854775807", "-9223372036854775808", "Infinity", "NaN"})
"""How TWS writes that it has no value."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LAST_SECOND = 7_258_118_400
_DAY = re.compile(r"(\d{4})-?(\d\d)-?(\d\d)\Z")
_STAMP = re.compile(
    r"(\d{4})-?(\d\d)-?(\d\d)[-T ]{1,2}(\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?(?: ?(Z|[+-]\d\d:?\d\d)| ([A-Za-z_/]{2,40}))?\Z"
)
_ZONES = {"EST": "America/New_York", "EDT": "America/New_York", "CST": "America/Chicago", "CDT": "America/Chicago", "GMT": "UTC"}
MICS = {
    "ISLAND": "XNAS", "NASDAQ": "XNAS", "NYSE": "XNYS", "ARCA": "ARCX", "AMEX": "XASE", "BATS": "BATS", "BYX": "BATY",
    "EDGEA": "EDGA", "DRCTEDGE": "EDGX", "IEX": "IEXG", "PSX": "XPSX", "BEX": "XBOS", "CHX": "XCHI", "MEMX": "MEMX",
}  # fmt: skip
"""IB's names of US exchanges -> MIC; SMART is none."""
SECURITY_TYPES = {
    "STK": "equity", "OPT": "option", "FOP": "option", "FUT": "future", "CONTFUT": "future", "CASH": "fx", "IND": "index",
    "CRYPTO": "crypto", "FUND": "fund", "CFD": "other", "BOND": "other", "CMDTY": "other", "WAR": "other", "BAG": "other",
}  # fmt: skip
"""IB's security types -> asset class."""
BAR_SIZES = {
    "1 secs": "1s", "1 sec": "1s", "5 secs": "5s", "10 secs": "10s", "15 secs": "15s", "30 secs": "30s", "1 min": "1m",
    "2 mins": "2m", "3 mins": "3m", "5 mins": "5m", "10 mins": "10m", "15 mins": "15m", "20 mins": "20m", "30 mins": "30m",
    "1 hour": "60m", "2 hours": "120m", "3 hours": "180m", "4 hours": "240m", "8 hours": "480m", "1 day": "1d", "1 week": "1wk",
    "1 month": "1mo",
}  # fmt: skip
"""IB's bar sizes -> intervals."""
PRICE_TYPES = {"TRADES": "trade", "ADJUSTED_LAST": "trade", "MIDPOINT": "mid", "BID": "bid", "ASK": "ask"}
_WHOLE_DAYS = ((27, "1mo"), (6, "1wk"), (1, "1d"))


def number(value: object, scale: int, digits: int = MOST_DIGITS) -> Decimal | None:
    """Return a number digit by digit, one with more digits than any price (an average) rounded half to even; None where unset.

    Raises NumberRefusedError.
    """
    if value is None or (isinstance(value, str) and value in _UNSET):
        return None
    told = Digits(value) if isinstance(value, str) else value
    try:
        return exact(told, scale, digits)
    except NumberRefusedError as error:
        if error.rule != "excess_digits":
            raise
        return rounded(told, scale, digits)
    except ArithmeticError as error:
        raise NumberRefusedError("malformed_number", value, "a number") from error


def moment(text: str, zone: tzinfo = UTC) -> tuple[datetime, int, date | None]:
    """Return (instant, nanoseconds beyond it, the day where only one is told) of seconds since 1970, a stamp or a day.

    A stamp without a zone is of `zone`. Raises NumberRefusedError.
    """
    day = _DAY.match(text)
    if day is not None:
        found = _date(text, day)
        return datetime.combine(found, datetime.min.time(), zone).astimezone(UTC), 0, found
    if text.isdecimal() and text.isascii() and len(text) <= 10 and int(text) < _LAST_SECOND:
        return _EPOCH + timedelta(seconds=int(text)), 0, None
    stamp = _STAMP.match(text)
    if stamp is None or int(stamp[4]) > 23 or int(stamp[5]) > 59 or int(stamp[6]) > 59:
        raise _not_a_time(text)
    nanos = int((stamp[7] or "").ljust(9, "0"))
    told = _zone(text, stamp[8], stamp[9], zone)
    whole = datetime.combine(_date(text, stamp), datetime.min.time(), told).replace(
        hour=int(stamp[4]), minute=int(stamp[5]), second=int(stamp[6]), microsecond=nanos // 1000
    )
    return whole.astimezone(UTC), nanos % 1000, None


def _zone(text: str, offset: str | None, name: str | None, zone: tzinfo) -> tzinfo:
    if offset is not None:
        return datetime.fromisoformat(f"2000-01-01T00:00:00{offset}").tzinfo or UTC
    found = zone if name is None else zone_named(_ZONES.get(name, name))
    if found is None:
        raise NumberRefusedError("unknown_zone", text, "a time zone")
    return found


def _date(text: str, found: re.Match[str]) -> date:
    try:
        day = date(int(found[1]), int(found[2]), int(found[3]))
    except ValueError as error:
        raise _not_a_time(text) from error
    if not 1900 <= day.year <= 2199:
        raise _not_a_time(text)
    return day


def _not_a_time(text: str) -> NumberRefusedError:
    return NumberRefusedError("timestamp", text, "seconds since 1970, yyyymmdd, or yyyymmdd hh:mm:ss")


def interval_of(instants: list[tuple[datetime, date | None]]) -> str | None:
    """Return the interval that successive bars show: the smallest step between two; of one bar, a day where it tells a day."""
    steps = [int((b[0] - a[0]).total_seconds()) for a, b in pairwise(instants)]
    least = min((step for step in steps if step > 0), default=None)
    if instants and all(day is not None for _, day in instants):
        days = 1 if least is None else round(least / 86_400)
        return next(name for most, name in _WHOLE_DAYS if days >= most or name == "1d")
    if least is None or least >= 86_400:
        return None
    return f"{least // 60}m" if least % 60 == 0 else f"{least}s"


def end_of(interval: str, begun: datetime) -> datetime | None:
    """Return when a bar of seconds was known: at its end; None for others, whose end the calendar knows."""
    return begun + timedelta(seconds=int(interval[:-1])) if interval.endswith("s") else None


def about(contract: Mapping[str, object], otherwise: str) -> dict[str, object]:
    """Return symbol and hints of a contract; without one, of a provisional instrument named `otherwise`."""
    told = {name: str(value) for name, value in contract.items() if isinstance(value, str | int) and value != ""}
    symbol = told.get("localSymbol") or told.get("symbol")
    if symbol is None:
        return {"symbol": otherwise, "exchange_zone": "UTC"}
    kind = SECURITY_TYPES.get(told.get("secType", ""))
    currency = told.get("currency")
    mic = MICS.get(told.get("primaryExchange", "")) or MICS.get(told.get("exchange", ""))
    is_us = kind in ("equity", "option", "etf") and currency == "USD"
    if kind == "option":
        symbol = symbol.replace(" ", "")
    return {
        "symbol": symbol,
        "mic": mic if kind == "equity" else None,
        "exchange": "US" if is_us else None,
        "exchange_zone": None if is_us or kind == "fx" else "UTC",
        "asset_class": kind,
        "currency": currency,
    }


def codes(text: str) -> str | None:
    """Return special conditions joined by commas; IB parts them by blanks."""
    return ",".join(text.split()) or None
