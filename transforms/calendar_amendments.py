"""What exchange_calendars 4.13 does not know yet of a calendar, with its source.

CMES: since 2022 the session of Juneteenth ends at 12:00 Chicago time. Source: exchange_calendars at 5308ce205784,
tests/resources/cmes.csv (Apache-2.0), later than its newest release.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt

_CHICAGO = ZoneInfo("America/Chicago")
_FIRST_YEAR = 2022


def amended_closes(calendar: str, days: npt.NDArray[np.datetime64], closes: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return the closes (microseconds since the epoch) of sessions `days`, those amended that a later source knows better."""
    if calendar != "CMES" or len(days) == 0:
        return closes
    found = closes.copy()
    last = int(days[-1].astype("datetime64[Y]").astype(int)) + 1970
    for year in range(_FIRST_YEAR, last + 1):
        day = _observed(date(year, 6, 19))
        place = int(np.searchsorted(days, np.datetime64(day, "D")))
        if place < len(days) and days[place] == np.datetime64(day, "D"):
            noon = datetime(day.year, day.month, day.day, 12, tzinfo=_CHICAGO).astimezone(UTC)
            found[place] = min(int(found[place]), int(noon.timestamp()) * 1_000_000)
    return found


def _observed(day: date) -> date:
    """Return the weekday on which a holiday is observed: Friday for a Saturday, Monday for a Sunday."""
    return day + timedelta(days={5: -1, 6: 1}.get(day.weekday(), 0))
