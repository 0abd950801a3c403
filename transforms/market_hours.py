"""Whether a market is open at an instant, and until when it stays so."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import numpy as np

from lake.errors import InvalidValueError
from lake.instants import EPOCH
from transforms.calendars import NEW_YORK, Market, sessions_of, venue_of

_FX_EDGE = time(17)
_FRIDAY, _SATURDAY, _SUNDAY = 4, 5, 6


@dataclass(frozen=True, slots=True)
class Hours:
    """How a market stands; `changes_at` is None where it never changes, or nobody knows."""

    is_open: bool
    changes_at: datetime | None


ALWAYS_OPEN = Hours(True, None)


def hours_at(now: datetime, mic: str | None, asset_class: str | None, zone: str | None = None) -> Hours:
    """Return how the market of an instrument stands at an aware instant.

    Crypto is always open; FX from Sunday to Friday, 17:00 New York; an exchange by the regular sessions of its calendar, open
    included, close excluded, closed in its lunch break. A market without a calendar counts as open: nothing says otherwise.
    """
    try:
        venue = venue_of(mic, zone, asset_class)
    except InvalidValueError:
        return ALWAYS_OPEN
    if venue.market is Market.FX:
        return _fx(now)
    return _exchange(now, venue.calendar) if venue.market is Market.CALENDAR else ALWAYS_OPEN


def _fx(now: datetime) -> Hours:
    local = now.astimezone(ZoneInfo(NEW_YORK))
    day, is_late = local.weekday(), local.time() >= _FX_EDGE
    is_open = not (day == _SATURDAY or (day == _FRIDAY and is_late) or (day == _SUNDAY and not is_late))
    days = (_FRIDAY - day) % 7 if is_open else (_SUNDAY - day) % 7
    edge = datetime.combine(local.date() + timedelta(days=days), _FX_EDGE, ZoneInfo(NEW_YORK))
    return Hours(is_open, edge.astimezone(UTC))


def _exchange(now: datetime, calendar: str) -> Hours:
    sessions = sessions_of(calendar)
    now_us = (now - EPOCH) // timedelta(microseconds=1)
    number = int(np.searchsorted(sessions.opens, now_us, side="right")) - 1
    if number >= 0 and now_us < sessions.closes[number]:
        pause, resume, close = (int(edge[number]) for edge in (sessions.pauses, sessions.resumes, sessions.closes))
        if now_us < pause:
            return Hours(True, _instant(pause))
        return Hours(False, _instant(resume)) if now_us < resume else Hours(True, _instant(close))
    following = number + 1
    return Hours(False, _instant(int(sessions.opens[following])) if following < len(sessions.opens) else None)


def _instant(us: int) -> datetime:
    return EPOCH + timedelta(microseconds=us)
