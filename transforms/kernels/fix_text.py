"""Numbers and instants of FIX's text, digit by digit; bytes in, scaled integers out."""

from __future__ import annotations

from typing import Final

from mypy_extensions import i64

NOTHING: Final = -(1 << 62)
"""What is no number, or no instant."""

_ZERO: Final = 48
_NINE: Final = 57
_LIMIT: Final = 100_000_000_000_000_000
_DAY_US: Final = 86_400_000_000


def number(data: bytes, i: i64, end: i64, scale: i64) -> i64:
    """Return the number at [i, end) x 10^scale; NOTHING for what is none, more than 18 digits, or digits beyond the scale."""
    is_negative = False
    if i < end and (data[i] == 45 or data[i] == 43):
        is_negative = data[i] == 45
        i += 1
    value: i64 = 0
    places: i64 = -1
    first = i
    while i < end:
        digit: i64 = data[i]
        if digit == 46 and places < 0 and i > first and i + 1 < end:
            places = 0
        elif digit < _ZERO or digit > _NINE:
            return NOTHING
        elif places == scale:
            if digit != _ZERO:
                return NOTHING
        else:
            if value >= _LIMIT:
                return NOTHING
            value = value * 10 + (digit - _ZERO)
            if places >= 0:
                places += 1
        i += 1
    if i == first:
        return NOTHING
    missing: i64 = scale - (places if places > 0 else 0)
    while missing > 0:
        if value >= _LIMIT:
            return NOTHING
        value *= 10
        missing -= 1
    return -value if is_negative else value


def time_of_day(data: bytes, i: i64, end: i64) -> tuple[i64, i64]:
    """Return (microseconds since midnight, nanoseconds beyond) of HH:MM:SS, with a fraction or not; else (NOTHING, 0)."""
    if end - i < 8 or data[i + 2] != 58 or data[i + 5] != 58:
        return NOTHING, 0
    hour = number(data, i, i + 2, 0)
    minute = number(data, i + 3, i + 5, 0)
    second = number(data, i + 6, i + 8, 0)
    if hour < 0 or minute < 0 or second < 0 or hour > 23 or minute > 59 or second > 59:
        return NOTHING, 0
    nanos: i64 = 0
    if end > i + 8:
        if data[i + 8] != 46 or end - i > 18 or end == i + 9:
            return NOTHING, 0
        nanos = number(data, i + 9, end, 0)
        if nanos < 0:
            return NOTHING, 0
        missing: i64 = 18 - (end - i)
        while missing > 0:
            nanos *= 10
            missing -= 1
    return ((hour * 60 + minute) * 60 + second) * 1_000_000 + nanos // 1000, nanos % 1000


def stamp(data: bytes, i: i64, end: i64) -> tuple[i64, i64]:
    """Return (microseconds since 1970, nanoseconds beyond) of YYYYMMDD-HH:MM:SS, with a fraction or not; else (NOTHING, 0)."""
    if end - i < 17 or data[i + 8] != 45:
        return NOTHING, 0
    year = number(data, i, i + 4, 0)
    month = number(data, i + 4, i + 6, 0)
    day = number(data, i + 6, i + 8, 0)
    clock, nanos = time_of_day(data, i + 9, end)
    if clock == NOTHING or year < 1900 or year > 2199 or month < 1 or month > 12 or day < 1 or day > _days_in(year, month):
        return NOTHING, 0
    shifted: i64 = year - 1 if month <= 2 else year
    era = shifted // 400
    of_era = shifted - era * 400
    turned: i64 = month - 3 if month > 2 else month + 9
    of_year = (153 * turned + 2) // 5 + day - 1
    days = era * 146_097 + of_era * 365 + of_era // 4 - of_era // 100 + of_year - 719_468
    return days * _DAY_US + clock, nanos


def _days_in(year: i64, month: i64) -> i64:
    if month == 2:
        return 29 if year % 4 == 0 and (year % 100 != 0 or year % 400 == 0) else 28
    return 30 if month in (4, 6, 9, 11) else 31
