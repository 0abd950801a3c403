"""What single fields of FIX mean: instants, instruments, statuses."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache

from transforms.decode.fix_message import Fields
from transforms.numbers import NumberRefusedError

SYMBOL, SECURITY_ID, ID_SOURCE, SECURITY_DESC, EXCHANGE, CURRENCY = 55, 48, 22, 107, 207, 15
PRODUCT, SECURITY_TYPE, CFI_CODE = 460, 167, 461
SENDING_TIME, TRANSACT_TIME, ENTRY_DATE, ENTRY_TIME = 52, 60, 272, 273
_STAMP = re.compile(r"(\d{4})(\d\d)(\d\d)-?(\d\d):?(\d\d):?(\d\d)\.?(\d{0,12})(?:Z|\+00(?::?00)?)?\Z")
_CLOCK = re.compile(r"(\d\d):?(\d\d)(?::?(\d\d)\.?(\d{0,12}))?(?:Z|\+00(?::?00)?)?\Z")
_DATE = re.compile(r"(\d{4})(\d\d)(\d\d)\Z")
_MONTH = re.compile(r"\d{6}\Z")
_PAIR = re.compile(r"([A-Z]{3})/([A-Z]{3})\Z")
_MIC, _ISO_CURRENCY = re.compile(r"[A-Z][A-Z0-9]{3}\Z"), re.compile(r"[A-Z]{3}\Z")
_FIRST_YEAR, _LAST_YEAR = 1900, 2199
_EXCHANGE_SYMBOL = "8"
_NO_SYMBOL = frozenset({"[N/A]", "N/A", "NA"})
_BY_SECURITY_TYPE = {
    "CS": "equity", "PS": "equity", "ETF": "etf", "FUT": "future", "OPT": "option", "OOF": "option", "FXSPOT": "fx",
    "FXFWD": "fx", "FXSWAP": "fx", "FOR": "fx", "MF": "fund", "INDEX": "index", "MLEG": "other",
}  # fmt: skip
_BY_PRODUCT = {"4": "fx", "5": "equity", "7": "index"}
_BY_CFI = {"E": "equity", "O": "option", "F": "future"}
STATUSES: dict[str, tuple[str, bool | None]] = {
    "1": ("opening_delay", False), "2": ("halted", False), "3": ("trading", True), "4": ("no_open", False),
    "5": ("price_indication", None), "6": ("trading_range_indication", None), "7": ("market_imbalance_buy", None),
    "8": ("market_imbalance_sell", None), "9": ("market_on_close_imbalance_buy", None),
    "10": ("market_on_close_imbalance_sell", None), "12": ("no_market_imbalance", None),
    "13": ("no_market_on_close_imbalance", None), "14": ("its_pre_opening", None), "15": ("new_price_indication", None),
    "16": ("trade_dissemination_time", None), "17": ("trading", True), "18": ("not_available", False),
    "19": ("not_traded_here", False),
    "20": ("unknown", None), "21": ("pre_open", False), "22": ("opening_rotation", None), "23": ("fast_market", True),
    "24": ("pre_cross", None), "25": ("cross", None), "26": ("post_close", False), "27": ("no_cancel", None),
}  # fmt: skip
"""SecurityTradingStatus (326): what it means, and whether trades may happen after it."""
SESSION_STATUSES: dict[str, tuple[str, bool | None]] = {
    "1": ("halted", False), "2": ("open", True), "3": ("closed", False), "4": ("pre_open", False), "5": ("pre_close", None),
    "6": ("request_rejected", None),
}  # fmt: skip
"""TradSesStatus (340)."""


@lru_cache(maxsize=4_096)
def _day(year: str, month: str, day: str) -> date | None:
    try:
        found = date(int(year), int(month), int(day))
    except ValueError:
        return None
    return found if _FIRST_YEAR <= found.year <= _LAST_YEAR else None


def _at(day: date, hour: str, minute: str, second: str | None, fraction: str | None) -> tuple[datetime, int] | None:
    """Return (instant, nanoseconds beyond it); second 60 is the first of the next minute, what is below nanoseconds is cut."""
    if int(hour) > 23 or int(minute) > 59 or int(second or 0) > 60:
        return None
    nanos = int((fraction or "").ljust(9, "0")[:9])
    begun = datetime.combine(day, time(int(hour), int(minute)), UTC)
    return begun + timedelta(seconds=int(second or 0), microseconds=nanos // 1000), nanos % 1000


def stamp(fields: Fields, tag: int) -> tuple[datetime, int] | None:
    """Return a UTCTimestamp as (instant, nanoseconds beyond it); None where absent. Raises NumberRefusedError."""
    text = fields.text(tag)
    if text is None:
        return None
    found = _STAMP.match(text)
    day = None if found is None else _day(found[1], found[2], found[3])
    at = None if found is None or day is None else _at(day, found[4], found[5], found[6], found[7])
    if at is None:
        raise NumberRefusedError("timestamp", f"{tag}={text}", "UTC like 20200603-12:00:00.106")
    return at


def day(fields: Fields, tag: int) -> date | None:
    """Return a date; None where absent. Raises NumberRefusedError."""
    text = fields.text(tag)
    found = None if text is None else _DATE.match(text)
    told = None if found is None else _day(found[1], found[2], found[3])
    if text is not None and told is None:
        raise NumberRefusedError("malformed_date", f"{tag}={text}", "a date like 20200603")
    return told


def entry_instant(entry: Fields, sent: tuple[datetime, int] | None) -> tuple[datetime, int] | None:
    """Return when an entry happened: its own date and time; its time on the day that brings it nearest to when it was sent.

    A date without a time is no instant (it may be a settlement date): then, and where the entry tells nothing, `sent`.
    """
    text = entry.text(ENTRY_TIME)
    if text is None:
        return sent
    clock = _CLOCK.match(text)
    told = day(entry, ENTRY_DATE)
    base = told or (None if sent is None else sent[0].date())
    if clock is None or (at := _at(base or date(2000, 1, 1), clock[1], clock[2], clock[3], clock[4])) is None:
        raise NumberRefusedError("timestamp", f"273={text}", "a time like 06:30:00.000")
    if base is None:
        return None
    if told is None and sent is not None:
        nearest = min((-1, 0, 1), key=lambda days: abs(at[0] + timedelta(days=days) - sent[0]))
        return at[0] + timedelta(days=nearest), at[1]
    return at


def symbol_of(fields: Fields) -> str:
    """Return an instrument's name: its symbol, else its SecurityID; an exchange's own contract goes by SecurityDesc.

    Raises NumberRefusedError (unknown_symbol) where none is told.
    """
    named = fields.text(SECURITY_DESC)
    if named is not None and fields.text(ID_SOURCE) == _EXCHANGE_SYMBOL and " " not in named:
        return named
    found = fields.text(SYMBOL)
    if found is None or found in _NO_SYMBOL:
        found = fields.text(SECURITY_ID) or (named if named is not None and " " not in named else None)
    if found is None:
        raise NumberRefusedError("unknown_symbol", None, "55 Symbol or 48 SecurityID")
    return found


def asset_class_of(fields: Fields, symbol: str) -> str | None:
    """Return the asset class that the fields or a pair's form tell; None where nothing does."""
    for tag, words in ((SECURITY_TYPE, _BY_SECURITY_TYPE), (PRODUCT, _BY_PRODUCT)):
        found = words.get(fields.text(tag) or "")
        if found is not None:
            return found
    by_cfi = _BY_CFI.get((fields.text(CFI_CODE) or " ")[0])
    return by_cfi or ("fx" if _PAIR.match(symbol) else None)


def about(fields: Fields, symbol: str, asset_class: str | None = None) -> dict[str, object]:
    """Return symbol and hints. The currency of a pair is its second: field 15 says which one the size is counted in."""
    kind = asset_class or asset_class_of(fields, symbol)
    pair = _PAIR.match(symbol)
    market, currency = fields.text(EXCHANGE), fields.text(CURRENCY)
    told = currency if currency is not None and _ISO_CURRENCY.match(currency) else None
    return {
        "symbol": symbol,
        "mic": market if market is not None and _MIC.match(market) else None,
        "asset_class": kind,
        "exchange_zone": None if kind == "fx" else "UTC",
        "currency": pair[2] if kind == "fx" and pair is not None else told,
    }


def expiry_of(fields: Fields, maturity: int, month: int, month_day: int | None = None) -> date | None:
    """Return the day of maturity; a month alone names none. Raises NumberRefusedError for what is no date."""
    told = fields.text(month)
    if fields.text(maturity) is not None:
        return day(fields, maturity)
    if told is None or not _MONTH.match(told) or month_day is None:
        return None if told is None or _MONTH.match(told) else _whole_day(told)
    number = fields.text(month_day)
    return None if number is None else _whole_day(told + number.rjust(2, "0"))


def _whole_day(text: str) -> date | None:
    found = _DATE.match(text)
    return None if found is None else _day(found[1], found[2], found[3])
