"""When a bar ends, for deciding whether an answer saw it whole; and counts, which several providers write alike."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from transforms.decode.json_digits import exact
from transforms.numbers import NumberRefusedError

NEW_YORK = ZoneInfo("America/New_York")


def bar_end(opened: datetime, interval: str, zone: ZoneInfo) -> datetime:
    """Return when a bar ends; a day's at the zone's midnight, for late prints still change it after the close.

    Raises NumberRefusedError (unknown_interval) for an interval that ends after the year 2199.
    """
    count = int(interval.rstrip("dhkmow"))
    try:
        if interval.endswith("m"):
            return opened + timedelta(minutes=count)
        day = opened.astimezone(zone).date()
        if interval.endswith("mo"):
            months = day.year * 12 + day.month - 1 + count
            ended = date(months // 12, months % 12 + 1, 1)
        else:
            ended = day + timedelta(days=count * 7 if interval.endswith("wk") else count)
        return datetime.combine(ended, datetime.min.time(), zone)
    except (ValueError, OverflowError):
        raise NumberRefusedError("unknown_interval", interval, "an interval that ends before the year 2200") from None


def midnight(day: date, zone: ZoneInfo) -> datetime:
    """Return the first instant of a day in a zone."""
    return datetime.combine(day, datetime.min.time(), zone)


def count_of(value: object) -> int | None:
    """Return a whole JSON number, 5 or 5.0; None for null. Raises NumberRefusedError for any other."""
    return None if value is None else int(exact(value, 0))


def day_of(value: object, name: str) -> date | None:
    """Return a date like 2023-08-22, the first ten characters of `value`; None for null and "". Raises NumberRefusedError."""
    if value is None or value == "":
        return None
    try:
        found = date.fromisoformat(str(value)[:10])
    except ValueError:
        found = None
    if found is None or not 1900 <= found.year <= 2199:
        raise NumberRefusedError("date", f"{name}: {value}", "a date like 2023-08-22")
    return found
