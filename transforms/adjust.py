"""Prices restated in the shares of the last session: the one place where bars meet factors.

Products are exact rationals, formed once a step between two ex-dates, and rounded once at the end, half to even.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from fractions import Fraction

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from lake.errors import InvalidValueError
from lake.tables.adjusted import BARS_1D
from transforms.actions import CASH_DIVIDEND, RESCINDED, SPLIT
from transforms.exact import from_unscaled, half_even, prepared, scaled, unscaled

PRICES = ("open", "high", "low", "close")
_ADJUSTED_PRICE = BARS_1D.column("adj_close").arrow_type
_VOLUME = BARS_1D.column("adj_volume").arrow_type
_FACTOR = BARS_1D.column("split_factor").arrow_type
_PRICE_SHIFT = 1  # from decimal(18,9) to decimal(28,10)
_WHOLE = 10**8  # one unit of volume, in units of decimal(28,8)


Ratio = tuple[int, int]


class Adjustment(StrEnum):
    """Which actions a view applies."""

    NONE = "none"
    SPLITS = "splits"
    ALL = "all"

    @property
    def kinds(self) -> frozenset[str]:
        """The kinds of factors applied."""
        return {Adjustment.NONE: frozenset[str](), Adjustment.SPLITS: frozenset({SPLIT})}.get(
            self, frozenset({SPLIT, CASH_DIVIDEND})
        )


@dataclass(frozen=True, slots=True)
class Action:
    """The exact effect of one row of adjusted.factors on the sessions before its ex_date."""

    ex_date: date
    kind: str
    price: Fraction
    volume: Fraction


@dataclass(frozen=True, slots=True)
class _Product:
    """The products that apply to a run of sessions: (numerator, denominator), not reduced: most of the time went into that."""

    split: Ratio
    every: Ratio
    volume: Ratio


_ONE = _Product((1, 1), (1, 1), (1, 1))


def back_adjust(
    agreed: pa.Table,
    factors: pa.Table,
    adjustment: Adjustment = Adjustment.ALL,
    last_sessions: Mapping[int, date] | None = None,
) -> pa.Table:
    """Return the same rows, in the same order, with products of factors and adjusted prices.

    agreed          rows of adjusted.agreed_bars, any interval (at least instrument_id, session_date, prices, volume)
    factors         effective rows of adjusted.factors known in the view; of several versions the newest known counts
    adjustment      what adj_* apply; the factor columns are of all kinds whatever is asked
    last_sessions   last known session of each instrument in the view, where `agreed` does not reach to it; default: the
                    last session in `agreed`

    Added columns: split_factor, all_factor, volume_factor (decimal(38,18)), adj_open, adj_high, adj_low, adj_close
    (decimal(28,10)), adj_volume (decimal(28,8), whole units wherever a split applies). A factor applies to sessions before its
    ex_date, and only if that is not after the last known session: a split announced changes nothing until it happens.
    Raises InvalidValueError when an adjusted value does not fit its column. Source: CORPORATE_ACTIONS.md section 2.
    """
    index, products = _products(agreed, factors, last_sessions or {})
    order = pa.array(index)
    result = agreed
    for name in ("split", "every", "volume"):
        column = from_unscaled([half_even_factor(*getattr(product, name)) for product in products], _FACTOR)
        result = result.append_column("all_factor" if name == "every" else f"{name}_factor", column.take(order))
    applied = [_applied(product, adjustment) for product in products]
    prices = prepared([(top * 10**_PRICE_SHIFT, bottom) for (top, bottom), _ in applied])
    for name in PRICES:
        result = result.append_column(f"adj_{name}", scaled(agreed[name], index, prices, _ADJUSTED_PRICE))
    volumes = [volume for _, volume in applied]
    whole = scaled(agreed["volume"], index, prepared([(top, bottom * _WHOLE) for top, bottom in volumes]), _VOLUME, _WHOLE)
    is_as_delivered = np.array([top == bottom for top, bottom in volumes], bool)[index]
    return result.append_column("adj_volume", pc.if_else(pa.array(is_as_delivered), agreed["volume"].cast(_VOLUME), whole))


def bars_1d(agreed: pa.Table, factors: pa.Table, *, run_id: str, blocked: Collection[int] = ()) -> pa.Table:
    """Return rows of adjusted.bars_1d: the newest answer for every session, ordered by instrument and session.

    agreed    effective rows of adjusted.agreed_bars: the whole history of the instruments, every version
    factors   effective rows of adjusted.factors of the same instruments, every version
    blocked   instruments left out: an impossible factor waits for a person
    """
    daily = agreed.filter(pc.equal(agreed["interval"], "1d"))
    daily = daily.filter(pc.invert(pc.is_in(daily["instrument_id"], pa.array(list(blocked), pa.int64()))))
    view = back_adjust(newest_versions(daily, by=("instrument_id", "session_date")), factors)
    run_ids = pa.array([run_id] * view.num_rows, pa.string())
    return pa.Table.from_arrays(
        [
            run_ids if column.name == "run_id" else view[column.name].combine_chunks().cast(column.arrow_type)
            for column in BARS_1D.columns
        ],
        schema=BARS_1D.arrow_schema(),
    )


def newest_versions(agreed: pa.Table, by: tuple[str, ...] = ("instrument_id", "interval", "ts_open")) -> pa.Table:
    """Return of each bar the version known last, ordered by `by`; for a view, of the rows known in it."""
    frame = pl.DataFrame({name: pl.from_arrow(agreed[name]) for name in dict.fromkeys([*by, "known_at", "ts_open"])})
    order = frame.with_columns(row=pl.int_range(pl.len())).sort(*by, "known_at", "ts_open")
    return agreed.take(order.filter(pl.struct(by).rle_id() != pl.struct(by).rle_id().shift(-1, fill_value=-1))["row"].to_arrow())


def actions_in(factors: pa.Table) -> dict[int, list[Action]]:
    """Return the exact effects in force of each instrument, by ex_date: of each (ex_date, kind) the version known last."""
    columns = ("instrument_id", "ex_date", "kind", "known_at", "status", "ratio_old", "ratio_new")
    lists = [factors[name].to_pylist() for name in columns]
    decimals = [unscaled(factors[name]) for name in ("amount", "ref_close", "price_factor", "volume_factor")]
    newest: dict[tuple[int, date, str], tuple[object, Action]] = {}
    for instrument_id, ex_date, kind, known_at, status, old, new, amount, close, price, volume in zip(
        *lists, *decimals, strict=True
    ):
        key = (instrument_id, ex_date, kind)
        if key in newest and not newest[key][0] < known_at:
            continue
        newest[key] = (known_at, Action(ex_date, kind, *_exact(kind, status, old, new, amount, close, price, volume)))
    found: dict[int, list[Action]] = {}
    for (instrument_id, _, _), (_, action) in sorted(newest.items(), key=lambda item: item[0]):
        found.setdefault(instrument_id, []).append(action)
    return found


def half_even_factor(numerator: int, denominator: int) -> int:
    """Return a factor in units of 1e-18, rounded half to even."""
    return half_even(numerator * 10**_FACTOR.scale, denominator)


def _exact(
    kind: str,
    status: str,
    old: int | None,
    new: int | None,
    amount: int | None,
    close: int | None,
    price: int | None,
    volume: int | None,
) -> tuple[Fraction, Fraction]:
    """Return the exact (price, volume) factor of a row: from its ratio or amount; the rounded columns where it has neither."""
    if status == RESCINDED:
        return Fraction(1), Fraction(1)
    ratio = None if old is None or new is None else Fraction(new, old)
    if kind == SPLIT and ratio is not None:
        return 1 / ratio, ratio
    if kind == CASH_DIVIDEND and amount is not None and close is not None:
        return 1 - Fraction(amount, close) * (ratio or 1), Fraction(1)
    if price is None or volume is None:
        raise InvalidValueError(f"factor of kind {kind!r} has no price_factor or volume_factor")
    return Fraction(price, 10**_FACTOR.scale), Fraction(volume, 10**_FACTOR.scale)


def _products(agreed: pa.Table, factors: pa.Table, last_sessions: Mapping[int, date]) -> tuple[np.ndarray, list[_Product]]:
    """Return (index, products): products[index[i]] applies to row i."""
    actions = actions_in(factors)
    frame = pl.DataFrame({name: pl.from_arrow(agreed[name]) for name in ("instrument_id", "session_date")})
    reached = (
        frame.filter(pl.col("instrument_id").is_in(list(actions))).group_by("instrument_id").agg(pl.col("session_date").max())
    )
    products = [_ONE]
    edges: dict[str, list[object]] = {"instrument_id": [], "session_date": [], "product": []}
    for instrument_id, until in reached.iter_rows():
        last = last_sessions.get(instrument_id, until)
        applied = [action for action in actions[instrument_id] if action.ex_date <= last]
        dates = sorted({action.ex_date for action in applied})
        for begin, product in zip([date.min, *dates], _suffixes(applied, dates), strict=True):
            edges["instrument_id"].append(instrument_id)
            edges["session_date"].append(begin)
            edges["product"].append(len(products))
            products.append(product)
    starts = pl.DataFrame(edges, schema={"instrument_id": pl.Int64, "session_date": pl.Date, "product": pl.Int64})
    found = (
        frame.with_row_index("row")
        .sort("session_date")
        .join_asof(starts.sort("session_date"), on="session_date", by="instrument_id", check_sortedness=False)
        .sort("row")
    )
    return found["product"].fill_null(0).to_numpy(), products


def _suffixes(actions: list[Action], edges: list[date]) -> list[_Product]:
    """Return the products for sessions before each of `edges` in turn, and for those after the last: 1."""
    by_date: dict[date, list[Action]] = {}
    for action in actions:
        by_date.setdefault(action.ex_date, []).append(action)
    found = [_ONE]
    for edge in reversed(edges):
        split, every, volume = found[-1].split, found[-1].every, found[-1].volume
        for action in by_date[edge]:
            every = _times(every, action.price)
            volume = _times(volume, action.volume)
            split = _times(split, action.price) if action.kind == SPLIT else split
        found.append(_Product(split, every, volume))
    return found[::-1]


def _times(product: Ratio, factor: Fraction) -> Ratio:
    return product[0] * factor.numerator, product[1] * factor.denominator


def _applied(product: _Product, adjustment: Adjustment) -> tuple[Ratio, Ratio]:
    """Return the (price, volume) factors that a view applies."""
    if adjustment is Adjustment.NONE:
        return (1, 1), (1, 1)
    return (product.split if adjustment is Adjustment.SPLITS else product.every), product.volume
