"""Which trading day an instant belongs to, and when a bar ends.

A `Venue` is a MIC with a calendar of exchange_calendars, or a zone alone, or one of the two markets without an exchange:
crypto (the UTC day) and FX (17:00 New York). Everything is vectorised over the distinct dates of a column.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from lake.errors import InvalidValueError
from transforms.calendar_amendments import amended_closes

Days = npt.NDArray[np.datetime64]
Micros = npt.NDArray[np.int64]

STAMP = pa.timestamp("us", tz="UTC")
US_MICS = frozenset(
    {"XNYS", "XNAS", "ARCX", "BATS", "XASE", "PINX", "OTCM", "OOTC", "IEXG", "EDGA", "EDGX", "BATY", "MEMX"}
    | {"XBOS", "XPSX", "XCHI", "XPHL", "XNCM", "XNGS", "XNMS"}
    | {"XCIS", "EPRL", "LTSE", "FINN", "FINC", "FINY"}
)
"""Every US stock venue: one calendar, one listing identity."""
_MIC_CALENDARS = {**dict.fromkeys(("GLBX", "XCME", "XCBT", "XNYM", "XCEC"), "CMES"), "IFUS": "IEPA", "XEEE": "XEUR"}
"""Venues whose days a calendar of another name counts."""

# Fixed, so that answers do not move with the day they are asked on; several, because some calendars are bounded.
_FIRSTS, _LASTS = (
    ("1970-01-01", "1991-01-01", "1998-01-01", "2010-01-01", "2021-01-01"),
    ("2035-12-31", "2029-12-31", "2026-12-31"),
)
NEW_YORK = "America/New_York"
_ZONE_CALENDARS = {
    NEW_YORK: "XNYS",
    "America/Toronto": "XTSE",
    "Europe/London": "XLON",
    "Europe/Berlin": "XETR",
    "Europe/Paris": "XPAR",
    "Europe/Amsterdam": "XAMS",
    "Europe/Oslo": "XOSL",
    "Europe/Zurich": "XSWX",
    "Asia/Tokyo": "XTKS",
    "Asia/Hong_Kong": "XHKG",
    "Australia/Sydney": "XASX",
}
_FX_HOUR = 17
_INTERVAL = re.compile(r"(\d+)(s|m|h|d|wk|mo)\Z")
_MICROS = {"s": 1_000_000, "m": 60_000_000, "h": 3_600_000_000}
_LISTED = frozenset({"equity", "etf", "index"})


class Market(StrEnum):
    """How a venue counts its days."""

    CALENDAR = "calendar"
    CRYPTO = "crypto"
    FX = "fx"
    ZONE = "zone"


@dataclass(frozen=True, slots=True)
class Venue:
    """Where an instrument's days are counted. `calendar` is empty unless `market` is CALENDAR."""

    market: Market
    zone: str
    calendar: str = ""


@dataclass(frozen=True)
class Sessions:
    """The sessions of one calendar: dates, and opens and closes in microseconds since the epoch.

    pauses, resumes   begin and end of the lunch break; both are the close where a session has none
    """

    days: Days
    opens: Micros
    closes: Micros
    zone: str
    is_overnight: bool
    pauses: Micros
    resumes: Micros

    def index(self, days: Days) -> npt.NDArray[np.int64]:
        """Return the number of the session of each date, -1 where the date is none."""
        found = np.searchsorted(self.days, days)
        found[found == len(self.days)] = 0
        return np.where(self.days[found] == days, found, -1)


def venue_of(mic: str | None, zone: str | None = None, asset_class: str | None = None) -> Venue:
    """Return the venue of an instrument.

    The calendar of the MIC counts; without one, a listed thing (equity, etf, index) takes the calendar of its exchange zone,
    and the rest the zone's own days. Raises InvalidValueError for an unknown zone, or when nothing names one.
    """
    if asset_class == "crypto":
        return Venue(Market.CRYPTO, "UTC")
    if asset_class == "fx":
        return Venue(Market.FX, _known_zone(zone or NEW_YORK))
    name = _calendar_name(mic)
    if name is None and mic is None and asset_class in _LISTED and zone is not None:
        name = _ZONE_CALENDARS.get(zone)
    if name is not None:
        try:
            return Venue(Market.CALENDAR, sessions_of(name).zone, name)
        except InvalidValueError:  # a calendar that its library cannot build (XTAE in 4.13): the zone's days, where told
            if zone is None:
                raise
    if zone is None:
        raise InvalidValueError(f"venue {mic!r} has no calendar and no time zone; expected an IANA zone like Europe/Oslo")
    return Venue(Market.ZONE, _known_zone(zone))


def zone_of(mic: str) -> str:
    """Return the time zone of a MIC's calendar; UTC where it has none."""
    return venue_of(mic, "UTC").zone


def session_dates(instants: pa.Array, venue: Venue) -> pa.Array:
    """Return the trading day (date32) of each instant at `venue`; null stays null.

    A day without a session counts to the next session, as the weekend does for FX; outside the calendar's range the local
    day stands. Sessions that open on the evening before (futures) run from open to open, but for the days without one: what
    is said on a Sunday before the open is of Monday.
    """
    stamps = pl.Series("ts", pl.from_arrow(instants.cast(STAMP)))
    if venue.market is Market.CRYPTO:
        return stamps.dt.date().to_arrow().cast(pa.date32())
    if venue.market is Market.FX:
        shifted = stamps.dt.convert_time_zone(NEW_YORK).dt.replace_time_zone(None) + timedelta(hours=24 - _FX_HOUR)
        return _mapped(shifted.dt.date(), _after_weekend)
    local = stamps.dt.convert_time_zone(venue.zone).dt.date()
    if venue.market is Market.ZONE:
        return local.to_arrow().cast(pa.date32())
    sessions = sessions_of(venue.calendar)
    if not sessions.is_overnight:
        return _mapped(local, lambda days: _next_sessions(sessions, days))
    whole = stamps.dt.epoch("us").fill_null(0).to_numpy()
    number = np.searchsorted(sessions.opens, whole, side="right") - 1
    number += local.fill_null(date(1970, 1, 1)).to_numpy() > sessions.days[np.clip(number, 0, None)]
    inside = (number >= 0) & (number < len(sessions.days) - 1)
    last = len(sessions.days) - 1  # beyond the calendar, where the local day stands
    days = np.where(inside, sessions.days[np.clip(number, 0, last)], local.fill_null(date(1970, 1, 1)).to_numpy())
    return pa.array(days.astype("datetime64[D]"), pa.date32(), mask=stamps.is_null().to_numpy())


def local_dates(instants: pa.Array, zone: str) -> pa.Array:
    """Return the local date (date32) of each instant in `zone`; null stays null. Raises InvalidValueError."""
    stamps = pl.Series("ts", pl.from_arrow(instants.cast(STAMP)))
    return stamps.dt.convert_time_zone(_known_zone(zone)).dt.date().to_arrow().cast(pa.date32())


def midnights(days: pa.Array, zone: str, hour: int = 0) -> pa.Array:
    """Return the instant at which the clock of `zone` shows `hour` (its day begins) on each day; null stays null."""
    known = _known_zone(zone)
    whole = days.cast(pa.date32()).to_pylist()
    starts = {day: local_instant(day, known, hour) for day in set(whole) if day is not None}
    return pa.array([None if day is None else starts[day] for day in whole], STAMP)


@lru_cache(maxsize=65_536)
def local_instant(day: date, zone: str, hour: int = 0) -> datetime:
    """Return the UTC instant at which the clock of `zone` shows `hour` on `day`."""
    return datetime(day.year, day.month, day.day, hour, tzinfo=ZoneInfo(zone)).astimezone(UTC)


def session_opens(days: pa.Array, venue: Venue) -> pa.Array:
    """Return the instant each session opens: by the calendar, else the local midnight."""
    return _edges(days, venue, is_close=False)


def bar_ends(opens: pa.Array, days: pa.Array, interval: str, venue: Venue) -> pa.Array:
    """Return the instant (exclusive) at which each bar ends; null where its open or its day is.

    opens      ts_open of each bar
    days       its session_date
    interval   `1s`, `1m`, `60m`, `1h`, `1d`, `1wk`, `1mo`: one for all rows

    A bar of a day or more ends with the last session in it, where the venue has a calendar; else at the local midnight after
    it (FX by New York: 17:00). A shorter bar ends after its length, or at the session's close when that comes first.
    Raises InvalidValueError for an unknown interval.
    """
    count, unit = parse_interval(interval)
    starts = pl.Series("ts", pl.from_arrow(opens.cast(STAMP))).dt.epoch("us")
    missing = (starts.is_null() | pl.Series("d", pl.from_arrow(days)).is_null()).to_numpy()
    days = days.fill_null(date(1970, 1, 1))
    first = starts.fill_null(0).to_numpy()
    if unit in _MICROS:
        end = first + count * _MICROS[unit]
        end = _capped(first, end, days, venue)
    else:
        closes = pl.Series("c", pl.from_arrow(_closes(days, count, unit, venue))).dt.epoch("us").fill_null(0).to_numpy()
        end = np.where(closes > first, closes, first + 86_400_000_000)
    return pa.Array.from_pandas(end, mask=missing, type=pa.int64()).cast(pa.timestamp("us")).cast(STAMP)


def parse_interval(interval: str) -> tuple[int, str]:
    """Return (count, unit) of an interval; units are s, m, h, d, wk, mo. Raises InvalidValueError."""
    found = _INTERVAL.match(interval)
    if found is None:
        raise InvalidValueError(f"interval {interval!r} is unknown; expected a number and s, m, h, d, wk or mo, like 1d")
    return int(found[1]), found[2]


def is_daily_or_coarser(interval: str) -> bool:
    """Return whether a bar of `interval` covers whole sessions. Raises InvalidValueError."""
    return parse_interval(interval)[1] in ("d", "wk", "mo")


def sessions_between(first: date, last: date, venue: Venue) -> int:
    """Return how many sessions lie in [first, last): by the calendar, else days (FX and unknown venues: weekdays)."""
    if venue.market is Market.CRYPTO:
        return max((last - first).days, 0)
    if venue.market is Market.CALENDAR:
        days = sessions_of(venue.calendar).days
        if days[0] <= np.datetime64(first, "D") and np.datetime64(last, "D") <= days[-1]:
            low, high = np.searchsorted(days, np.array([first, last], "datetime64[D]"))
            return max(int(high) - int(low), 0)
    return max(int(np.busday_count(first, last)), 0)


@lru_cache(maxsize=128)
def sessions_of(calendar: str) -> Sessions:
    """Return every session of an exchange_calendars calendar, 1970-2035 as far as defined. Raises InvalidValueError."""
    import exchange_calendars  # 0.6 s with pandas, and many commands never ask for a session

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # its own use of pandas, not ours
        found = _widest(exchange_calendars.get_calendar, calendar)
        days = found.sessions.to_numpy().astype("datetime64[D]")
        opens, closes = (
            edge.dt.tz_convert(None).to_numpy().astype("datetime64[us]").astype(np.int64) for edge in (found.opens, found.closes)
        )
        pauses, resumes = (
            edge.dt.tz_convert(None).fillna(found.closes.dt.tz_convert(None)).to_numpy().astype("datetime64[us]").astype(np.int64)
            for edge in (found.break_starts, found.break_ends)
        )
    closes = amended_closes(calendar, days, closes)
    pauses, resumes = np.minimum(pauses, closes), np.minimum(resumes, closes)
    zone = str(found.tz)
    evening = pl.Series(opens[-260:]).cast(pl.Datetime("us", "UTC")).dt.convert_time_zone(zone).dt.date().to_numpy()
    return Sessions(days, opens, closes, zone, bool((evening < days[-260:]).any()), pauses, resumes)


def _widest(get: Callable[..., Any], calendar: str) -> Any:
    """Return the calendar over the widest of our ranges that it is defined for. Raises InvalidValueError."""
    for end in _LASTS:
        for start in _FIRSTS:
            try:
                return get(calendar, start=start, end=end)
            except ValueError:  # out of its bounds: the next narrower range
                continue
    raise InvalidValueError(f"calendar {calendar} has no sessions between {_FIRSTS[-1]} and {_LASTS[-1]}")


def _calendar_name(mic: str | None) -> str | None:
    """Return the calendar that counts a MIC's days, or None."""
    if mic is None:
        return None
    if mic in US_MICS:
        return "XNYS"
    return mic if mic in _calendar_names() else _MIC_CALENDARS.get(mic)


@lru_cache(maxsize=1)
def _calendar_names() -> frozenset[str]:
    import exchange_calendars  # see sessions_of

    return frozenset(exchange_calendars.get_calendar_names(include_aliases=True))


@lru_cache(maxsize=512)
def _known_zone(zone: str) -> str:
    try:
        ZoneInfo(zone)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise InvalidValueError(f"time zone {zone!r} is unknown; expected an IANA zone like America/New_York") from error
    return zone


def _mapped(days: pl.Series, rule: Callable[[Days], Days]) -> pa.Array:
    """Return `rule` applied to the distinct dates of a column, spread back over its rows."""
    distinct = days.drop_nulls().unique().sort()
    mapped = rule(distinct.to_numpy().astype("datetime64[D]"))
    lookup = pl.DataFrame({"day": distinct, "to": pl.Series(mapped.astype("datetime64[D]")).cast(pl.Date)})
    joined = pl.DataFrame({"day": days}).join(lookup, on="day", how="left", maintain_order="left")
    return joined["to"].to_arrow().cast(pa.date32())


def _after_weekend(days: Days) -> Days:
    return np.busday_offset(days, 0, roll="forward")


def _next_sessions(sessions: Sessions, days: Days) -> Days:
    number = np.searchsorted(sessions.days, days)
    inside = (days >= sessions.days[0]) & (number < len(sessions.days))
    return np.where(inside, sessions.days[np.clip(number, 0, len(sessions.days) - 1)], days)


def _capped(first: Micros, end: Micros, days: pa.Array, venue: Venue) -> Micros:
    """Return bar ends cut at the close of the bar's session, where it opens before that close."""
    if venue.market is not Market.CALENDAR:
        return end
    sessions = sessions_of(venue.calendar)
    number = sessions.index(_as_days(days))
    close = np.where(number >= 0, sessions.closes[np.clip(number, 0, None)], end)
    return np.where((first < close) & (close < end), close, end)


def _closes(days: pa.Array, count: int, unit: str, venue: Venue) -> pa.Array:
    """Return the end of bars of whole days that begin with the session `days`."""
    start = _as_days(days)
    if unit == "mo":
        after = (start.astype("datetime64[M]") + count).astype("datetime64[D]")
        after = after + (start - start.astype("datetime64[M]").astype("datetime64[D]"))
    else:
        after = start + count * (7 if unit == "wk" else 1)
    last = after - 1
    if venue.market is Market.CALENDAR:
        sessions = sessions_of(venue.calendar)
        number = np.searchsorted(sessions.days, last, side="right") - 1
        held = (number >= 0) & (last <= sessions.days[-1])
        number = np.clip(number, 0, None)
        last = np.where(held & (sessions.days[number] >= start), sessions.days[number], last)
    return _edges(pa.array(last, pa.date32()), venue, is_close=True)


def _edges(days: pa.Array, venue: Venue, *, is_close: bool) -> pa.Array:
    """Return the open or close of each session; where the calendar has none: local midnight, 17:00 New York for FX."""
    whole = _as_days(days)
    if venue.market is Market.FX and venue.zone == NEW_YORK:
        return midnights(pa.array(whole if is_close else whole - 1, pa.date32()), NEW_YORK, _FX_HOUR)
    fallback = midnights(pa.array(whole + 1 if is_close else whole, pa.date32()), venue.zone)
    if venue.market is not Market.CALENDAR:
        return fallback
    sessions = sessions_of(venue.calendar)
    number = sessions.index(whole)
    edge = (sessions.closes if is_close else sessions.opens)[np.clip(number, 0, None)]
    plain = pl.Series("ts", pl.from_arrow(fallback)).dt.epoch("us").to_numpy()
    return pa.array(np.where(number >= 0, edge, plain), pa.int64()).cast(pa.timestamp("us")).cast(STAMP)


def _as_days(days: pa.Array) -> Days:
    return np.asarray(pl.Series("d", pl.from_arrow(days.cast(pa.date32()))).to_numpy()).astype("datetime64[D]")
