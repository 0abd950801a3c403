"""Calendars of exchange_calendars as lists of sessions, to be imported like any other list: open, close, break, in UTC."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path

import numpy as np
import polars as pl

from transforms.calendars import Market, sessions_of, venue_of

_STAMP = "%Y-%m-%dT%H:%M:%SZ"


def write_calendars(mics: Iterable[str], folder: Path) -> list[Path]:
    """Write the sessions of each MIC's calendar to `folder`, named after MIC and library, and return the files.

    The same library writes the same bytes, so importing them again lands nothing. Raises InvalidValueError for a MIC
    without a calendar.
    """
    found = []
    for mic in mics:
        path = folder / f"{mic.lower()}.exchange_calendars-{version('exchange_calendars')}.csv"
        path.write_text(sessions_csv(mic.upper()))
        found.append(path)
    return found


def sessions_csv(mic: str) -> str:
    """Return every session of a MIC's calendar as CSV, in the layout of exchange_calendars' own lists.

    Raises InvalidValueError for a MIC without a calendar.
    """
    venue = venue_of(mic)
    assert venue.market is Market.CALENDAR  # a MIC without a calendar and a zone was refused
    sessions = sessions_of(venue.calendar)
    has_break = sessions.pauses < sessions.closes
    columns = {
        "session": sessions.days.astype("datetime64[us]").astype(np.int64),
        "open": sessions.opens,
        "close": sessions.closes,
        "break_start": np.where(has_break, sessions.pauses, -1),
        "break_end": np.where(has_break, sessions.resumes, -1),
    }
    stamps = pl.DataFrame(columns).select(pl.when(pl.all() != -1).then(pl.all()).cast(pl.Datetime("us")).dt.to_string(_STAMP))
    return stamps.write_csv()
