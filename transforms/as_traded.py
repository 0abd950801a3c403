"""As-traded values recovered from bars and dividends that a provider delivered split-adjusted.

A split-adjusting provider restates history in the shares of the day of *delivery*: every split with bar session < ex_date <=
delivery date is undone, by best knowledge of the splits (the payload need not name them). This is knowledge about the
delivery, not about the market: a split learned later changes the recovered value, not its known_at.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from fractions import Fraction
from functools import cached_property

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from lake.tables.normalized import BARS
from lake.values import Basis, NumberKind
from transforms import calendars
from transforms.actions import NO_SPLITS, SplitHistory, Version
from transforms.exact import fits, from_unscaled, half_even, times, unscaled
from transforms.feeds import FEEDS

DEFAULT_ZONE = calendars.NEW_YORK
"""Of instruments that no row gives a MIC for: splits and dividends without one come from US feeds."""

PRICES = ("open", "high", "low", "close")
_ONE = 10**9  # one unit of currency: whole digits are never dropped


@dataclass(frozen=True)
class AsTraded:
    """As-traded values of bars, column by column, in the order of the bars.

    columns        open, high, low, close and volume; null where it overflows
    undone         index into `ratios` of each bar: the product of the splits undone, new shares per old share
    is_overflow    True where an as-traded value does not fit its column: nothing usable
    """

    columns: dict[str, pa.Array]
    undone: np.ndarray
    ratios: list[Fraction]
    is_overflow: list[bool]

    @cached_property
    def values(self) -> dict[str, list[int | None]]:
        """The columns as integers: prices in units of 1e-9, volume of 1e-8."""
        return {name: unscaled(column) for name, column in self.columns.items()}


def usable(bars: pa.Table) -> pa.Array:
    """Return True for each bar that has as-traded values: as traded, or split-adjusted at a known delivery instant."""
    as_traded = pc.equal(bars["basis"], Basis.AS_TRADED.value)
    recoverable = pc.and_(pc.equal(bars["basis"], Basis.SPLIT_ADJUSTED.value), pc.is_valid(bars["delivered_at"]))
    return pc.or_(as_traded, recoverable)


def as_traded(bars: pa.Table, histories: Mapping[int, SplitHistory], zones: Mapping[int, str]) -> AsTraded:
    """Return the as-traded values of usable bars.

    bars        rows of normalized.bars for which `usable` is True, any order
    histories   splits by best knowledge, by instrument (`actions.split_histories`)
    zones       exchange zone by instrument, to know the date of delivery

    price * new / old, volume * old / new, exact and rounded once, half to even. The image of a 32-bit float is first read as
    the shortest decimal that, adjusted again, gives the same image: 333.33334 of a 3:1 split is 1000, not 1000.00002.
    """
    undone, ratios = _undone(bars, histories, zones)
    kinds = {name: BARS.column(name).arrow_type for name in (*PRICES, "volume")}
    columns = {name: pa.concat_arrays([pa.array([], kind), *bars[name].cast(kind).chunks]) for name, kind in kinds.items()}
    is_changed = np.array([ratio != 1 for ratio in ratios], bool)[undone]
    rows = np.flatnonzero(is_changed)
    is_overflow = np.zeros(bars.num_rows, bool)
    if len(rows):
        here = pa.array(rows)
        mine = [ratios[number] for number in undone[rows].tolist()]
        images = _float_images(bars.select(["provider", "feed"]).take(here))
        changed: dict[str, list[int | None]] = {}
        for name in PRICES:
            old = unscaled(columns[name].take(here))
            changed[name] = [_price(value, ratio, image) for value, ratio, image in zip(old, mine, images, strict=True)]
        volumes = unscaled(columns["volume"].take(here))
        changed["volume"] = [times([volume], 1 / ratio)[0] for volume, ratio in zip(volumes, mine, strict=True)]
        for name, values in changed.items():
            too_large = np.array([value is not None and not fits(value, kinds[name]) for value in values], bool)
            is_overflow[rows] |= too_large
            kept = from_unscaled([None if gone else value for value, gone in zip(values, too_large, strict=True)], kinds[name])
            columns[name] = pc.replace_with_mask(columns[name], pa.array(is_changed), kept)
    return AsTraded(columns, undone, ratios, is_overflow.tolist())


def dividend_as_paid(version: Version, splits: SplitHistory, zone: str) -> int | None:
    """Return a dividend's amount (units of 1e-9) per share as paid; None where it cannot be known.

    A split-adjusted amount is in the shares of its delivery: splits with its ex_date < ex_date <= delivery date are undone. A
    split on the same day comes first, so the amount is per share after it.
    """
    if version.amount_e9 is None or version.share_basis == "as_paid":
        return version.amount_e9
    if version.share_basis != "split_adjusted" or version.delivered_at is None:
        return None
    delivered = calendars.local_dates(pa.array([version.delivered_at], calendars.STAMP), zone)[0].as_py()
    return times([version.amount_e9], splits.between(version.ex_date, delivered))[0]


def exchange_zones(*tables: pa.Table) -> dict[int, str]:
    """Return the exchange zone of each instrument for which a row names a MIC (the smallest counts).

    tables   rows with instrument_id and mic
    """
    mics: dict[int, str] = {}
    for table in tables:
        pairs = pl.DataFrame({name: pl.from_arrow(table[name]) for name in ("instrument_id", "mic")}).unique().drop_nulls()
        for instrument_id, mic in pairs.iter_rows():
            mics[instrument_id] = min(mic, mics.get(instrument_id, mic))
    return {instrument_id: calendars.zone_of(mic) for instrument_id, mic in mics.items()}


def _undone(bars: pa.Table, histories: Mapping[int, SplitHistory], zones: Mapping[int, str]) -> tuple[np.ndarray, list[Fraction]]:
    """Return (index, ratios): ratios[index[i]] is the product of the splits undone in bar i."""
    ratios = [Fraction(1)]
    undone = np.zeros(bars.num_rows, np.int64)
    frame = pl.DataFrame({name: pl.from_arrow(bars[name]) for name in ("instrument_id", "delivered_at", "session_date", "basis")})
    frame = frame.with_row_index("row").filter(
        (pl.col("basis") == Basis.SPLIT_ADJUSTED.value) & pl.col("instrument_id").is_in(list(histories))
    )
    for (instrument_id, delivered_at), rows in frame.group_by("instrument_id", "delivered_at", maintain_order=True):
        zone = zones.get(int(str(instrument_id)), DEFAULT_ZONE)
        delivered: date = calendars.local_dates(pa.array([delivered_at], calendars.STAMP), zone)[0].as_py()
        history = histories.get(int(str(instrument_id)), NO_SPLITS)
        sessions = rows["session_date"].to_numpy().astype("datetime64[D]")
        index, here = history.ratios_until(sessions, delivered)
        undone[rows["row"].to_numpy()] = index + len(ratios)
        ratios += here
    return undone, ratios


def _float_images(bars: pa.Table) -> list[bool]:
    """Return whether each bar's feed delivers images of floats."""
    feeds = pl.DataFrame({name: pl.from_arrow(bars[name]) for name in ("provider", "feed")})
    known = {key for key, feed in FEEDS.items() if feed.number_kind is NumberKind.FLOAT_IMAGE}
    return [key in known for key in feeds.iter_rows()]


def _price(value: int | None, ratio: Fraction, is_image: bool) -> int | None:
    """Return value * ratio in the same units (1e-9); of a float image, the shortest decimal that it may stand for."""
    if value is None:
        return None
    exact = half_even(value * ratio.numerator, ratio.denominator)
    if not is_image or _shortest(value, Fraction(1)) != value:  # more digits than a 32-bit float has: take them as they are
        return exact
    return _shortest(value, ratio) or exact


def _shortest(value: int, ratio: Fraction) -> int | None:
    """Return the shortest decimal d (units of 1e-9) for which d / ratio has the 32-bit float image of `value`; None: none."""
    image = np.float32(value / _ONE)
    top, bottom = float(image).as_integer_ratio()
    half_top, half_bottom = (float(np.spacing(abs(image))) / 2).as_integer_ratio()
    scale = max(bottom, half_bottom)  # both are powers of two
    centre = top * (scale // bottom) * _ONE * ratio.numerator
    half = half_top * (scale // half_bottom) * _ONE * ratio.numerator
    scale *= ratio.denominator
    best, unit = None, 1
    while unit <= _ONE and unit * scale <= 2 * (abs(centre) + half):
        candidate = half_even(centre, scale * unit) * unit
        if abs(candidate * scale - centre) >= half:
            break
        best, unit = candidate, unit * 10
    return best
