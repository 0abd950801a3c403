"""When a bar opens and ends: intervals laid on the sessions of a venue, half open.

Bars of a second to some hours stand on a grid that begins at the session's open and anew after its lunch break and at its close;
no bar reaches over one of these edges, so half days, breaks and overnight sessions need no rule of their own. Before the
open the grid runs backwards. Crypto counts from the UTC midnight, FX from 17:00 New York, a venue without a calendar from the
local midnight. A bar of a day opens with its session and ends with its trading day, hours after the close included; a week begins
on Monday, a month on its first; both open with the first session in them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date
from functools import lru_cache

import numpy as np
import pyarrow as pa

from lake.errors import InvalidValueError
from transforms.bar_runs import Flags, Int64s
from transforms.calendars import Days, Market, Sessions, Venue, midnights, parse_interval, session_opens, sessions_of, venue_of

DAY_US = 86_400_000_000
_UNITS_US = {"s": 1_000_000, "m": 60_000_000, "h": 3_600_000_000}
_SECONDS = re.compile(r"(\d+)s\Z")
_CRYPTO = re.compile(r"listing:[A-Z]+/[^/]+:\w+\Z")
_MIC = re.compile(r"listing:([A-Z0-9]{4})/")


@dataclass(frozen=True, slots=True)
class Interval:
    """A length of bars: `step_us` below a day, else 0 and a calendar unit `d`, `wk` or `mo`."""

    name: str
    step_us: int
    unit: str


@dataclass(frozen=True, slots=True)
class Spans:
    """The bar that each row belongs to.

    opens, ends   microseconds since the epoch, [open, end)
    days          session date of the bar, days since the epoch: for a week or month the first session in it
    is_outside    whether the bar lies before the open or after the close of its session; None where none does, or not asked for
    """

    opens: Int64s
    ends: Int64s
    days: Int64s
    is_outside: Flags | None = None


def interval_of(name: str) -> Interval:
    """Return what an interval means: `1s` to hours below a day, `1d`, `1wk`, `1mo`. Raises InvalidValueError."""
    found = _SECONDS.match(name)
    count, unit = (int(found[1]), "s") if found else parse_interval(name)
    step = count * _UNITS_US.get(unit, 0)
    if unit in _UNITS_US and 0 < step < DAY_US:
        return Interval(name, step, unit)
    if unit in _UNITS_US or count != 1:
        raise InvalidValueError(f"bars of {name} are not built; expected 1s or more below a day, 1d, 1wk or 1mo")
    return Interval(name, 0, unit)


def venue_of_instrument(identity: str, mic: str | None, asset_class: str | None) -> Venue:
    """Return where the days of an instrument are counted, by its identity key; UTC days where nothing tells.

    identity, mic, asset_class   as in reference.instruments
    """
    if identity.startswith(("listing:US/", "listing:OPRA/")):
        return venue_of("XNYS")
    if _CRYPTO.match(identity):
        return venue_of(None, None, "crypto")
    listed = _MIC.match(identity)
    return venue_of(listed[1] if listed else mic, None if asset_class == "fx" else "UTC", asset_class)


def spans(at: Int64s, days: Int64s, interval: Interval, venue: Venue, *, tells_outside: bool = False) -> Spans:
    """Return the bars of instants.

    at     microseconds since the epoch
    days   session date of each, days since the epoch
    """
    if len(at) == 0:
        return Spans(at, at, days)
    if interval.step_us == 0:
        return _whole_days(days, interval.unit, venue)
    first, last, step = int(days.min()), int(days.max()), interval.step_us
    edges = session_edges(first, last, venue)
    if first == last:
        index: Int64s | int = 0
    else:
        index = days - first
    is_outside = None
    if tells_outside and venue.market is Market.CALENDAR:
        is_outside = (at < edges[0][index]) | (at >= edges[3][index])
    phase = int(edges[0][0])
    if all(bool(((edge - phase) % step == 0).all()) for edge in edges):  # every edge lies on one grid: bars need no cutting
        start = (at - phase) // step * step + phase
        return Spans(start, start + step, days, is_outside)
    opens, pauses, resumes, closes, behind = (np.broadcast_to(edge[index], at.shape) for edge in edges)
    is_before, is_after, in_break = at < opens, at >= closes, (at >= pauses) & (at < resumes)
    anchor = np.where(is_after, closes, np.where(at >= resumes, resumes, np.where(in_break, pauses, opens)))
    limit = np.where(is_before, opens, np.where(at < pauses, pauses, np.where(in_break, resumes, closes)))
    start = anchor + (at - anchor) // step * step
    limit = np.where(is_after, np.where(start < behind, behind, start + step), limit)
    return Spans(start, np.minimum(start + step, limit), days, is_outside)


@lru_cache(maxsize=1_024)
def session_edges(first: int, last: int, venue: Venue) -> tuple[Int64s, Int64s, Int64s, Int64s, Int64s]:
    """Return open, pause, resume and close of each day's session, and the end of its trading day; all of them of a range."""
    whole = np.arange(first, last + 1, dtype=np.int64)
    days = whole.astype("datetime64[D]")
    opens, ends = _micros(session_opens(pa.array(days, pa.date32()), venue)), _day_ends(days, venue)
    if venue.market is not Market.CALENDAR:
        return opens, ends, ends, ends, ends
    sessions = sessions_of(venue.calendar)
    number = sessions.index(days)
    inside = np.clip(number, 0, None)
    known = number >= 0
    pauses, resumes, closes = (
        np.where(known, edge[inside], ends) for edge in (sessions.pauses, sessions.resumes, sessions.closes)
    )
    return opens, pauses, resumes, closes, ends


def _day_ends(days: Days, venue: Venue) -> Int64s:
    """Return when no further trade can belong to each session: the next midnight, the next 17:00, an overnight close."""
    if venue.market is Market.FX:
        return _micros(session_opens(pa.array(days + 1, pa.date32()), venue))
    ends = _micros(midnights(pa.array(days + 1, pa.date32()), venue.zone))
    if venue.market is not Market.CALENDAR:
        return ends
    sessions = sessions_of(venue.calendar)
    if not sessions.is_overnight:
        return ends
    number = sessions.index(days)
    following = np.clip(number + 1, 0, len(sessions.opens) - 1)
    return np.where(number >= 0, sessions.opens[following], ends)


def _whole_days(days: Int64s, unit: str, venue: Venue) -> Spans:
    """Return the bars of whole sessions."""
    distinct, back = np.unique(days, return_inverse=True)
    starts, behind = _periods(distinct.astype("datetime64[D]"), unit)
    if venue.market is Market.CALENDAR:
        sessions = sessions_of(venue.calendar)
        first, last = _first_session(sessions, starts, behind), _last_session(sessions, starts, behind)
    elif venue.market is Market.FX:
        first, last = np.busday_offset(starts, 0, roll="forward"), np.busday_offset(behind - 1, 0, roll="backward")
    else:
        first, last = starts, behind - 1
    opens, ends = _micros(session_opens(pa.array(first, pa.date32()), venue)), _day_ends(last, venue)
    return Spans(opens[back], ends[back], first.astype("datetime64[D]").astype(np.int64)[back])


def _periods(days: Days, unit: str) -> tuple[Days, Days]:
    """Return the first date of the day, week or month of each date, and the first date behind it."""
    if unit == "d":
        return days, days + 1
    if unit == "wk":
        monday = days - (days.astype(np.int64) + 3) % 7  # the epoch was a Thursday
        return monday, monday + 7
    month = days.astype("datetime64[M]")
    return month.astype("datetime64[D]"), (month + 1).astype("datetime64[D]")


def _first_session(sessions: Sessions, starts: Days, behind: Days) -> Days:
    number = np.clip(np.searchsorted(sessions.days, starts), 0, len(sessions.days) - 1)
    found = sessions.days[number]
    return np.where((found >= starts) & (found < behind), found, starts)


def _last_session(sessions: Sessions, starts: Days, behind: Days) -> Days:
    number = np.clip(np.searchsorted(sessions.days, behind) - 1, 0, len(sessions.days) - 1)
    found = sessions.days[number]
    return np.where((found >= starts) & (found < behind), found, behind - 1)


def _micros(instants: pa.Array) -> Int64s:
    return np.asarray(instants.cast(pa.int64()).to_numpy(zero_copy_only=False)).astype(np.int64)


def day_number(day: date) -> int:
    """Return a date as days since the epoch."""
    return (day - date(1970, 1, 1)).days
