"""Fields derived of one row of trades or quotes, as expressions of SQL; each is said to be derived, and null where an input is.

The views `derived.trades` and `derived.quotes` show every column of the table and these beside them; `derived_columns` gives the
same of rows in hand. Market hours follow from the session of the row: HOURS says when the venue of an instrument trades on a
date, by the calendars of `calendars.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from transforms import exact
from transforms.bar_spans import day_number, session_edges
from transforms.calendars import STAMP, Market, Venue, sessions_of

VENUES, HOURS = "instrument_venues", "venue_hours"
"""Tables that a view reads beside its own: venue by instrument_id, and session by venue and session_date."""
FIRST_HOURS, LAST_HOURS = date(1990, 1, 1), date(2035, 12, 31)
_IS_OPEN = (
    "CASE WHEN venue = 'crypto' THEN true "
    "ELSE ({at} >= opens_at AND {at} < pauses_at) OR ({at} >= resumes_at AND {at} < closes_at) END"
)


@dataclass(frozen=True, slots=True)
class Derived:
    """One view: every column of `table`, and expressions by name with what they mean."""

    table: str
    doc: str
    columns: Mapping[str, tuple[str, str]]

    def select(self, handle: str, venues: str, hours: str) -> str:
        """Return the query of the view over the named relations."""
        told = ", ".join(f"{expression} AS {name}" for name, (expression, _) in self.columns.items())
        return (
            f"SELECT {handle}.*, {told} FROM {handle} LEFT JOIN {venues} USING (instrument_id) "
            f"LEFT JOIN {hours} USING (venue, session_date)"
        )


_HOURS_DOC = "Whether the venue's regular session is open at the instant, lunch break left out; null where its hours are unknown."
DERIVED: Mapping[str, Derived] = {
    "derived.trades": Derived(
        "normalized.trades",
        "normalized.trades with derived fields: dollar_volume, age_us, is_market_hours.",
        {
            "dollar_volume": ("price::DECIMAL(19, 9) * size::DECIMAL(19, 8)", "Price times size, exact."),
            "age_us": ("epoch_us(ts_recv) - epoch_us(ts_event)", "How old the trade was when it came, in microseconds."),
            "is_market_hours": (_IS_OPEN.format(at="ts_event"), _HOURS_DOC),
        },
    ),
    "derived.quotes": Derived(
        "normalized.quotes",
        "normalized.quotes with derived fields: spread, mid, age_us, is_market_hours.",
        {
            "spread": ("ask_price - bid_price", "Best offer less best bid; below zero where they cross."),
            "mid": ("(bid_price + ask_price)::DECIMAL(20, 9) * 0.5::DECIMAL(2, 1)", "Half of bid and offer together, exact."),
            "age_us": ("epoch_us(ts_recv) - epoch_us(ts_event)", "How old the quote was when it came, in microseconds."),
            "is_market_hours": (_IS_OPEN.format(at="coalesce(ts_event, ts_recv)"), _HOURS_DOC),
        },
    ),
}


def derived_columns(table: str, rows: pa.Table, venue: Venue) -> dict[str, pa.ChunkedArray]:
    """Return what the view of `table` derives, of rows of one instrument in hand, by name."""
    at = rows["ts_event"] if table == "normalized.trades" else pc.coalesce(rows["ts_event"], rows["ts_recv"])
    micros = pa.int64()
    age = pc.subtract(rows["ts_recv"].cast(micros), rows["ts_event"].cast(micros))
    found: dict[str, pa.ChunkedArray] = {"age_us": age, "is_market_hours": _are_market_hours(rows["session_date"], at, venue)}
    if table == "normalized.trades":
        both = zip(exact.unscaled(rows["price"]), exact.unscaled(rows["size"]), strict=True)
        value = [None if price is None or size is None else price * size for price, size in both]
        return {"dollar_volume": pa.chunked_array([exact.from_unscaled(value, pa.decimal128(38, 17))]), **found}
    spread, total = (by(rows["ask_price"], rows["bid_price"]) for by in (pc.subtract, pc.add))
    halves = [None if one is None else one * 5 for one in exact.unscaled(total)]
    return {"spread": spread, "mid": pa.chunked_array([exact.from_unscaled(halves, pa.decimal128(21, 10))]), **found}


def _are_market_hours(days: pa.ChunkedArray, at: pa.ChunkedArray, venue: Venue) -> pa.ChunkedArray:
    """Return whether the venue's session of a day is open at an instant; null where the venue or the day has no hours."""
    if venue.market is Market.CRYPTO:
        return pa.chunked_array([pa.repeat(True, len(days))])
    if not len(days):
        return pa.chunked_array([], pa.bool_())
    bounds = pc.min_max(days).as_py()
    hours = pl.from_arrow(venue_hours({0: venue}, bounds["min"], bounds["max"]))
    assert isinstance(hours, pl.DataFrame)
    rows = pl.DataFrame({"session_date": pl.from_arrow(days), "at": pl.from_arrow(at)})
    met = rows.join(hours, on="session_date", how="left", maintain_order="left")
    before_break = (pl.col("at") >= pl.col("opens_at")) & (pl.col("at") < pl.col("pauses_at"))
    after_break = (pl.col("at") >= pl.col("resumes_at")) & (pl.col("at") < pl.col("closes_at"))
    return pa.chunked_array([met.select(before_break | after_break)[:, 0].to_arrow()])


def instrument_venues(venues: Mapping[int, Venue]) -> pa.Table:
    """Return the venue of each instrument by name; one that only has a time zone has no hours."""
    names = [_name(venue) for venue in venues.values()]
    return pa.table({"instrument_id": pa.array(list(venues), pa.int64()), "venue": pa.array(names, pa.string())})


def venue_hours(venues: Mapping[int, Venue], first_day: date = FIRST_HOURS, last_day: date = LAST_HOURS) -> pa.Table:
    """Return the sessions of every venue that has a calendar, and of FX: [opens_at, pauses_at) and [resumes_at, closes_at).

    first_day, last_day   of FX, which has no calendar of its own; both included
    """
    found = [_hours("", np.empty(0, "datetime64[D]"), np.empty((4, 0), np.int64))]
    for venue in set(venues.values()):
        if venue.market is Market.CALENDAR:
            sessions = sessions_of(venue.calendar)
            edges = np.stack([sessions.opens, sessions.pauses, sessions.resumes, sessions.closes])
            found.append(_hours(venue.calendar, sessions.days, edges))
        elif venue.market is Market.FX:
            first, last = day_number(first_day), day_number(last_day)
            opens, _, _, _, ends = session_edges(first, last, venue)
            days = np.arange(first, last + 1).astype("datetime64[D]")
            week = np.is_busday(days)
            found.append(_hours("fx", days[week], np.stack([opens, ends, ends, ends])[:, week]))
    return pa.concat_tables(found)


def _name(venue: Venue) -> str | None:
    if venue.market is Market.CALENDAR:
        return venue.calendar
    return None if venue.market is Market.ZONE else venue.market.value


def _hours(name: str, days: np.ndarray, edges: np.ndarray) -> pa.Table:
    columns = {"venue": pa.repeat(name, len(days)), "session_date": pa.array(days, pa.date32())}
    told = zip(("opens_at", "pauses_at", "resumes_at", "closes_at"), edges, strict=True)
    return pa.table(columns | {column: pa.array(values).cast(STAMP) for column, values in told})
