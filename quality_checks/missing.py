"""Missing bars: those that a calendar expects and the lake does not have, as gaps. Holidays, pauses and halts are none."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
import pyarrow as pa

from lake.catalog import Lake
from lake.conditions import Where
from lake.errors import InvalidValueError, NotFoundError
from lake.instants import EPOCH, to_datetime
from lake.scan import read
from quality_checks.gaps import GapLedger, GapStatus, KnownGap, newest_gaps
from transforms.calendars import (
    Days,
    Market,
    Micros,
    Venue,
    is_daily_or_coarser,
    midnights,
    parse_interval,
    session_opens,
    sessions_of,
    venue_of,
)

BARS = "normalized.bars"
SETTLED = timedelta(minutes=15)
"""A bar that ended this long ago should have come; of a day: a whole day ago, for providers publish it overnight."""
_LOOKING = "gaps:look"
_UNITS = {"s": 1_000_000, "m": 60_000_000, "h": 3_600_000_000}
_DAY = 86_400_000_000
_US = "XNYS"


@dataclass(frozen=True, slots=True)
class Series:
    """Bars of one instrument and length as one feed gives them, and where its days are counted."""

    provider: str
    feed: str
    symbol: str
    interval: str
    instrument_id: int
    venue: Venue


@dataclass(frozen=True, slots=True)
class Expected:
    """Bars that a calendar expects, in order: microseconds since the epoch, `[starts, ends)`.

    names   what a bar is told by: its start, or for a daily one its day, as days since the epoch
    """

    starts: Micros
    ends: Micros
    names: Micros

    def only(self, kept: np.ndarray) -> Expected:
        """Return those that `kept` marks."""
        return Expected(self.starts[kept], self.ends[kept], self.names[kept])


def series_of(lake: Lake, provider: str, symbol: str, interval: str) -> list[Series]:
    """Return the series of a provider's symbol that the lake has bars of, one a feed. Raises NotFoundError when it has none."""
    where = [Where("provider", "=", provider), Where("symbol", "=", symbol), Where("interval", "=", interval)]
    rows = read(lake, BARS, ["feed", "instrument_id", "mic"], where)
    found = sorted({(row["feed"], row["instrument_id"]) for row in rows.to_pylist()})
    if not found:
        raise NotFoundError(f"no bars of {provider} {symbol} {interval} in the lake yet: backfill a range of them first")
    mics = {row["instrument_id"]: row["mic"] for row in rows.to_pylist() if row["mic"]}
    venues = _venues(lake, provider, {instrument_id: mics.get(instrument_id) for _, instrument_id in found})
    return [Series(provider, feed, symbol, interval, each, venues[each]) for feed, each in found if each in venues]


def is_closed(lake: Lake, gap: KnownGap) -> bool:
    """Return whether no session of a gap's instrument lies on any day of its window: holidays and weekends, by the calendar."""
    assert gap.gap_start is not None and gap.gap_end is not None  # bounded
    where = [Where("provider", "=", gap.provider), Where("symbol", "=", gap.symbol)]
    rows = read(lake, "reference.listings", ["instrument_id", "mic"], where).to_pylist()
    venues = _venues(lake, gap.provider, {row["instrument_id"]: row["mic"] for row in rows})
    days = [_sessions(venue, gap.gap_start, gap.gap_end) for venue in venues.values() if venue.market is not Market.CRYPTO]
    first, last = (np.datetime64(at.date(), "D") for at in (gap.gap_start, gap.gap_end))
    return bool(days) and not any(((each >= first) & (each <= last)).any() for each in days)


def _venues(lake: Lake, provider: str, mics: Mapping[int, str | None]) -> dict[int, Venue]:
    """Return where the days of instruments are counted, of those that a calendar counts; `mics` as a provider tells them."""
    names = ["instrument_id", "mic", "asset_class"]
    told = read(lake, "reference.instruments", names, [Where("instrument_id", "in", list(mics))]).to_pylist()
    by_id = {row["instrument_id"]: row for row in told}
    found = {}
    for instrument_id, mic in mics.items():
        known = by_id.get(instrument_id, {"mic": None, "asset_class": None})
        venue = _venue(mic or known["mic"], known["asset_class"], provider)
        if venue is not None:
            found[instrument_id] = venue
    return found


def _venue(mic: str | None, asset_class: str | None, provider: str) -> Venue | None:
    """Return where an instrument's days are counted, or None when nothing counts them: then nothing can be called missing."""
    if mic is None and asset_class in ("equity", "etf") and provider == "alpaca":
        mic = _US
    try:
        venue = venue_of(mic, None, asset_class)
    except InvalidValueError:
        return None
    return None if venue.market is Market.ZONE else venue


def expected_bars(venue: Venue, interval: str, start: datetime, end: datetime) -> Expected:
    """Return the bars that lie in `[start, end)` whole, by the venue's sessions: of its regular hours, without lunch breaks.

    Raises InvalidValueError for an interval other than one day or less: no calendar counts weeks as providers cut them.
    """
    count, unit = parse_interval(interval)
    first, last = _micros(start), _micros(end)
    days = _sessions(venue, start, end)
    opens, closes = _hours(venue, days)
    if unit not in _UNITS:
        if interval != "1d":
            raise InvalidValueError(f"interval {interval!r}: bars of days (1d) and of less are expected by a calendar")
        found = Expected(opens, closes, days.astype(np.int64))
    else:
        found = _within(venue, days, opens, closes, count * _UNITS[unit])
    return found.only((found.starts >= first) & (found.ends <= last))


def _sessions(venue: Venue, start: datetime, end: datetime) -> Days:
    first, last = (np.datetime64(at.date(), "D") for at in (start, end))
    if venue.market is Market.CALENDAR:
        days = sessions_of(venue.calendar).days
        return days[(days >= first - 1) & (days <= last + 1)]
    days = np.arange(first - 1, last + 2)
    return days[np.is_busday(days)] if venue.market is Market.FX else days


def _hours(venue: Venue, days: Days) -> tuple[Micros, Micros]:
    """Return open and close of each session; the close of a market without a calendar is a day after its open."""
    if venue.market is Market.CALENDAR:
        sessions = sessions_of(venue.calendar)
        number = sessions.index(days)
        return sessions.opens[number], sessions.closes[number]
    opens = np.asarray(session_opens(pa.array(days, pa.date32()), venue).cast(pa.int64()).to_numpy(zero_copy_only=False))
    return opens, opens + _DAY


def _within(venue: Venue, days: Days, opens: Micros, closes: Micros, step: int) -> Expected:
    """Return the bars of `step` microseconds of each session, but for those that begin in its lunch break."""
    starts = [np.arange(opened, closed, step) for opened, closed in zip(opens, closes, strict=True)]
    ends = [np.minimum(each + step, closed) for each, closed in zip(starts, closes, strict=True)]
    none = np.zeros(0, np.int64)
    found = Expected(np.concatenate([none, *starts]), np.concatenate([none, *ends]), np.concatenate([none, *starts]))
    if venue.market is not Market.CALENDAR:
        return found
    sessions = sessions_of(venue.calendar)
    number = sessions.index(days)
    pauses, resumes = (
        np.concatenate([none, *(np.full(len(each), at) for each, at in zip(starts, edge, strict=True))])
        for edge in (sessions.pauses[number], sessions.resumes[number])
    )
    return found.only((found.starts < pauses) | (found.starts >= resumes))


def missing_bars(lake: Lake, series: Series, start: datetime, end: datetime) -> Expected:
    """Return the bars of a series that are expected in `[start, end)` and are not in the lake, halts left out."""
    expected = expected_bars(series.venue, series.interval, start, end)
    if len(expected.starts) == 0:
        return expected
    is_daily = is_daily_or_coarser(series.interval)
    column = "session_date" if is_daily else "ts_open"
    where = [
        Where("provider", "=", series.provider), Where("feed", "=", series.feed), Where("interval", "=", series.interval),
        Where("instrument_id", "=", series.instrument_id),
        Where("session_date", ">=", (start - timedelta(days=2)).date()),
        Where("session_date", "<=", (end + timedelta(days=2)).date()),
    ]  # fmt: skip
    held = read(lake, BARS, [column], where)[column]
    kind = pa.int32() if is_daily else pa.int64()
    present = np.asarray(held.cast(kind).to_numpy(), np.int64)
    missing = expected.only(~np.isin(expected.names, present))
    return missing.only(~_halted(lake, series, missing)) if len(missing.starts) else missing


def _halted(lake: Lake, series: Series, bars: Expected) -> np.ndarray:
    """Return which bars lie whole in a halt of their instrument, as venues told it."""
    where = [
        Where("instrument_id", "=", series.instrument_id),
        Where("kind", "in", ["trading_status", "operational_halt"]),
        Where("session_date", ">=", (to_datetime(int(bars.starts[0]) * 1_000) - timedelta(days=1)).date()),
    ]
    rows = read(lake, "normalized.status_events", ["ts_event", "ts_recv", "is_trading"], where).to_pylist()
    told = sorted(
        (_micros(row["ts_event"] or row["ts_recv"]), row["is_trading"]) for row in rows if row["is_trading"] is not None
    )
    halted = np.zeros(len(bars.starts), bool)
    since: int | None = None
    for at, is_trading in [*told, (int(bars.ends[-1]) + 1, True)]:
        if is_trading and since is not None:
            halted |= (bars.starts >= since) & (bars.ends <= at)
            since = None
        elif not is_trading and since is None:
            since = at
    return halted


def look(lake: Lake, ledger: GapLedger, series: Iterable[Series], start: datetime, end: datetime) -> list[KnownGap]:
    """Open a gap for each stretch of missing bars in `[start, end)` that is not in the ledger; returns those opened now.

    One looks at a time; what a gap that is open or given up covers is not opened again under another.
    """
    opened = []
    with lake.state.lease(_LOOKING):
        ledger.refresh()
        under_way = ledger.under_way()
        for one in series:
            settled = to_datetime(lake.clock()) - (timedelta(days=1) if is_daily_or_coarser(one.interval) else SETTLED)
            missing = missing_bars(lake, one, start, min(end, settled))
            known = [gap for gap in [*under_way, *_told(lake, one)] if _covers(gap, one)]
            for gap in _stretches(one, expected_bars(one.venue, one.interval, start, end), missing, known):
                if ledger.open(gap):
                    opened.append(gap)
    return opened


def _told(lake: Lake, series: Series) -> list[KnownGap]:
    where = [Where(name, "=", getattr(series, name)) for name in ("provider", "feed", "symbol", "interval")]
    return newest_gaps(lake, where)


def _covers(gap: KnownGap, series: Series) -> bool:
    names = ("provider", "feed", "symbol", "interval")
    return all(getattr(gap, name) == getattr(series, name) for name in names) and gap.status is not GapStatus.FILLED


def _stretches(series: Series, expected: Expected, missing: Expected, known: Sequence[KnownGap]) -> list[KnownGap]:
    """Return one gap for each run of missing bars that follow each other, without what known gaps cover."""
    is_new = np.ones(len(missing.starts), bool)
    for gap in known:
        if gap.gap_start is not None and gap.gap_end is not None:
            is_new &= ~((missing.starts >= _micros(gap.gap_start)) & (missing.ends <= _micros(gap.gap_end)))
    missing = missing.only(is_new)
    places = np.searchsorted(expected.starts, missing.starts)
    runs = np.split(np.arange(len(places)), np.flatnonzero(np.diff(places) != 1) + 1) if len(places) else []
    return [_gap(series, missing.only(run)) for run in runs]


def _gap(series: Series, missing: Expected) -> KnownGap:
    start, end = (to_datetime(int(at) * 1_000) for at in (missing.starts[0], missing.ends[-1]))
    if is_daily_or_coarser(series.interval):  # providers stamp a day by its open or by its midnight: ask for whole days
        days = [EPOCH.date() + timedelta(days=int(name)) for name in (missing.names[0], missing.names[-1] + 1)]
        first, last = midnights(pa.array(days, pa.date32()), series.venue.zone).to_pylist()
        start, end = min(start, first), max(end, last)
    count = len(missing.starts)
    return KnownGap(
        gap_id=f"{series.provider}-{series.feed}-{series.symbol}-{series.interval}-{start:%Y%m%dT%H%M%S}-{end:%Y%m%dT%H%M%S}",
        provider=series.provider,
        feed=series.feed,
        symbol=series.symbol,
        status=GapStatus.OPEN,
        reason=f"missing interval: {count} of the bars that the calendar expects",
        recorded_at=start,
        table_name=BARS,
        interval=series.interval,
        gap_start=start,
        gap_end=end,
        missing_count=count,
    )


def _micros(at: datetime) -> int:
    return (at - EPOCH) // timedelta(microseconds=1)
