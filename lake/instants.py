"""Instants: the one place where the clock is read, and the conversions between the forms an instant takes.

An instant inside tickhouse is an int of nanoseconds since the epoch (`*_ns`), or an aware UTC `datetime` of microseconds
where a table column needs it. Naive datetimes are refused.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from lake.errors import InvalidValueError

Clock = Callable[[], int]
"""A source of nanoseconds since the epoch; passed in wherever time matters."""

NANOS_PER_MICRO = 1_000
NANOS_PER_SECOND = 1_000_000_000
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}\Z")


def system_clock() -> int:
    """Return the machine's wall clock in nanoseconds since the epoch."""
    return time.time_ns()


@dataclass(frozen=True, slots=True)
class Pace:
    """A clock that starts anywhere and runs `rate` times as fast as the machine's, the same in every process of the machine.

    origin_ns    the instant it tells at its start
    started_ns   the machine's monotonic clock then (`Pace.begin` reads it)
    """

    origin_ns: int
    started_ns: int
    rate: float

    @classmethod
    def begin(cls, origin_ns: int, rate: float) -> Pace:
        """Return a clock that tells `origin_ns` now."""
        return cls(origin_ns, time.monotonic_ns(), rate)

    def clock(self) -> int:
        """Return its time in nanoseconds since the epoch."""
        return self.origin_ns + int((time.monotonic_ns() - self.started_ns) * self.rate)

    def sleep(self, seconds: float) -> None:
        """Sleep so many of its seconds."""
        time.sleep(seconds / self.rate)


def to_datetime(instant_ns: int) -> datetime:
    """Return the UTC datetime of `instant_ns`, nanoseconds below a microsecond cut off."""
    return EPOCH + timedelta(microseconds=instant_ns // NANOS_PER_MICRO)


def to_ns(instant: datetime) -> int:
    """Return nanoseconds since the epoch of an aware datetime. Raises InvalidValueError for a naive one."""
    if instant.tzinfo is None:
        raise InvalidValueError(f"instant {instant.isoformat()} has no time zone; expected an aware datetime")
    return (instant - EPOCH) // timedelta(microseconds=1) * NANOS_PER_MICRO


def check_window(start: datetime, end: datetime) -> None:
    """Raise InvalidValueError for a window `[start, end)` that is empty or whose ends have no time zone."""
    if start.tzinfo is None or end.tzinfo is None or start >= end:
        raise InvalidValueError(f"window [{start.isoformat()}, {end.isoformat()}) is empty or has no time zone")


def parse_instant(text: str, clock: Clock = system_clock) -> datetime:
    """Return the instant that a user wrote, in UTC.

    A date alone (`2020-08-31`) means everything known by the end of that UTC day: the last microsecond before the next
    midnight; of today, by now. A time without a zone is UTC. Raises InvalidValueError.
    """
    try:
        if _DATE.match(text):
            start = datetime.combine(date.fromisoformat(text), datetime.min.time(), UTC)
            end = start + timedelta(days=1) - timedelta(microseconds=1)
            now = to_datetime(clock())
            return now if start <= now < end else end
        instant = datetime.fromisoformat(text)
        return instant.replace(tzinfo=UTC) if instant.tzinfo is None else instant.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise InvalidValueError(f"instant {text!r} is not ISO 8601, like 2020-08-31 or 2020-08-31T20:00:00Z") from error
