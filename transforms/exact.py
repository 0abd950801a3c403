"""Decimal columns as exact integers, and the one rounding: half to even, once.

A decimal column is worked on as Python integers of its smallest unit (`unscaled`), multiplied by exact ratios, and put
back (`from_unscaled`). Only transforms/adjust.py and the as-traded step it shares this with multiply prices.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import pyarrow as pa

from lake.errors import InvalidValueError

_WORD = 64
_LOW, _HIGH = -(2**63), 2**63


def unscaled(column: pa.Array | pa.ChunkedArray) -> list[int | None]:
    """Return the values of a decimal128 column in units of its last decimal place; null stays None."""
    array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if isinstance(array, pa.ChunkedArray):
        array = pa.concat_arrays(array.chunks) if array.num_chunks else pa.array([], column.type)
    if len(array) == 0:
        return []
    words = np.frombuffer(array.buffers()[1], np.int64)[2 * array.offset : 2 * (array.offset + len(array))].reshape(-1, 2)
    low, high = words[:, 0], words[:, 1]
    if array.null_count:
        is_null = array.is_null().to_numpy(zero_copy_only=False)
        low, high = np.where(is_null, 0, low), np.where(is_null, 0, high)
    if bool((high == (low >> 63)).all()):
        values: list[int | None] = low.tolist()
    else:
        unsigned = low.view(np.uint64) if low.flags.c_contiguous else np.ascontiguousarray(low).view(np.uint64)
        values = [(top << _WORD) + bottom for top, bottom in zip(high.tolist(), unsigned.tolist(), strict=True)]
    if array.null_count:
        return [None if missing else value for value, missing in zip(values, is_null.tolist(), strict=True)]
    return values


def from_unscaled(values: Sequence[int | None], kind: pa.Decimal128Type) -> pa.Array:
    """Return a decimal column from units of its last place. Raises InvalidValueError when one does not fit `kind`."""
    limit = 10**kind.precision
    for value in values:
        if value is not None and not -limit < value < limit:
            raise InvalidValueError(f"{value} units of 1e-{kind.scale} do not fit {kind}")
    if limit <= _HIGH:
        low = np.array([0 if value is None else value for value in values], np.int64)
        words = np.stack([low, low >> 63], axis=1)
    else:
        words = np.array([(0, 0) if value is None else _words(value) for value in values] or np.empty((0, 2)), np.int64).reshape(
            -1, 2
        )
    is_valid = pa.array([value is not None for value in values], pa.bool_())
    return pa.Array.from_buffers(kind, len(values), [is_valid.buffers()[1], pa.py_buffer(np.ascontiguousarray(words))])


def fits(value: int, kind: pa.Decimal128Type) -> bool:
    """Return whether `value` units of the last place fit `kind`."""
    return abs(value) < int(10**kind.precision)


def times(values: Sequence[int | None], ratio: Fraction, shift: int = 0) -> list[int | None]:
    """Return value * ratio * 10**shift for each value, rounded once, half to even; None stays None."""
    numerator, denominator = ratio.numerator, ratio.denominator
    if shift >= 0:
        numerator *= 10**shift
    else:
        denominator *= 10**-shift
    if denominator == 1:
        return [None if value is None else value * numerator for value in values]
    return [None if value is None else half_even(value * numerator, denominator) for value in values]


def half_even(numerator: int, denominator: int) -> int:
    """Return numerator / denominator (> 0) rounded to an integer, ties to the even one."""
    quotient, rest = divmod(numerator, denominator)
    twice = 2 * rest
    return quotient + (twice > denominator or (twice == denominator and quotient & 1))


@dataclass(frozen=True, slots=True)
class Ratios:
    """Exact ratios (>= 0) prepared for `scaled`: as (numerator, denominator), not necessarily in lowest terms."""

    pairs: Sequence[tuple[int, int]]
    mantissa: np.ndarray
    """floor(ratio * 2**shift), below 2**63."""
    shift: np.ndarray
    is_exact: np.ndarray
    """Whether the mantissa is the ratio, not a little less."""
    numerator: np.ndarray
    denominator: np.ndarray
    most: np.ndarray
    """The greatest value whose product with the numerator fits 63 bits; 0 where the terms are too long."""


def prepared(pairs: Sequence[tuple[int, int]]) -> Ratios:
    """Return ratios ready for many products. Raises InvalidValueError for a negative one."""
    columns: list[tuple[int, int, bool, int, int, int]] = []
    for numerator, denominator in pairs:
        if numerator < 0 or denominator <= 0:
            raise InvalidValueError(f"ratio {numerator}/{denominator} is negative, or has no denominator")
        shift = 62 - (numerator.bit_length() - denominator.bit_length()) if numerator else 64
        top, bottom = (numerator << shift, denominator) if shift >= 0 else (numerator, denominator << -shift)
        mantissa, rest = divmod(top, bottom)
        fits_words = 0 < numerator < _HIGH and denominator < _HIGH >> 1
        small = (numerator, denominator, (_HIGH - 1) // numerator) if fits_words else (1, 1, 0)
        columns.append((mantissa, shift, rest == 0, *small))
    made = list(zip(*columns, strict=True)) if columns else [()] * 6
    words, shifts, exact, *terms = made
    return Ratios(
        pairs, np.array(words, np.uint64), np.array(shifts, np.int64), np.array(exact, bool),
        *(np.array(term, np.uint64) for term in terms),
    )  # fmt: skip


def scaled(
    column: pa.Array | pa.ChunkedArray, index: np.ndarray, ratios: Ratios, kind: pa.Decimal128Type, step: int = 1
) -> pa.Array:
    """Return value * ratio * step for each value of a decimal column, in units of `kind`, null for null.

    index     which of `ratios` belongs to each value
    step      each product is rounded, once and half to even, to a whole number, and then multiplied by this

    The same as `half_even` of each product, without a loop: short ratios are divided as 64-bit integers, long ones multiplied as
    126-bit fixed-point numbers with a bound on their error. Where that bound leaves the rounding open, and where 63 bits are
    too few, Python's integers decide. Raises InvalidValueError when a product does not fit `kind`.
    """
    array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    low, high, is_null = _two_words(array)
    magnitude = np.abs(low).view(np.uint64)
    is_open = (high != (low >> 63)) | (low == _LOW)
    is_short = magnitude <= ratios.most[index]
    quotient = np.zeros(len(low), np.uint64)
    short, long = np.flatnonzero(is_short), np.flatnonzero(~is_short)
    quotient[short] = _short_division(magnitude[short], ratios, index[short])
    quotient[long], unsure = _long_product(magnitude[long], ratios, index[long])
    is_open[long] |= unsure
    is_open |= quotient > np.uint64((_HIGH - 1) // step)
    is_open &= ~is_null
    whole = np.where(is_open | is_null, np.uint64(0), quotient).astype(np.int64) * np.int64(step)
    whole = np.where(low < 0, -whole, whole)
    if kind.precision < _DIGITS_OF_A_WORD and bool((np.abs(whole) >= 10**kind.precision).any()):
        raise InvalidValueError(f"{int(np.abs(whole).max())} units of 1e-{kind.scale} do not fit {kind}")
    words = np.stack([whole, whole >> 63], axis=1)
    rows = np.flatnonzero(is_open)
    if len(rows):
        values = unscaled(array.take(pa.array(rows)))
        for row, value in zip(rows.tolist(), values, strict=True):
            numerator, denominator = ratios.pairs[int(index[row])]
            product = half_even((value or 0) * numerator, denominator) * step
            if not fits(product, kind):
                raise InvalidValueError(f"{product} units of 1e-{kind.scale} do not fit {kind}")
            words[row] = _words(product)
    is_valid = pa.array(~is_null)
    return pa.Array.from_buffers(kind, len(array), [is_valid.buffers()[1], pa.py_buffer(np.ascontiguousarray(words))])


_DIGITS_OF_A_WORD = 19
_HALF_WORD = np.uint64(32)
_LOWER_HALF = np.uint64(2**32 - 1)
_TOP = np.uint64(2**63)
_ONE_WORD = np.uint64(1)


def _two_words(array: pa.Array) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return (low, high, is_null) of a decimal128 array as 64-bit integers; null values are 0."""
    if len(array) == 0:
        return np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, bool)
    words = np.frombuffer(array.buffers()[1], np.int64)[2 * array.offset : 2 * (array.offset + len(array))].reshape(-1, 2)
    is_null = array.is_null().to_numpy(zero_copy_only=False)
    return np.where(is_null, 0, words[:, 0]), np.where(is_null, 0, words[:, 1]), is_null


def _short_division(magnitude: np.ndarray, ratios: Ratios, index: np.ndarray) -> np.ndarray:
    """Return magnitude * ratio rounded half to even; every product fits 63 bits."""
    denominator = ratios.denominator[index]
    quotient, rest = np.divmod(magnitude * ratios.numerator[index], denominator)
    twice = rest << _ONE_WORD
    is_up = (twice > denominator) | ((twice == denominator) & ((quotient & _ONE_WORD) == 1))
    return np.asarray(quotient + is_up.astype(np.uint64))


def _long_product(magnitude: np.ndarray, ratios: Ratios, index: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return (magnitude * ratio rounded half to even, whether that is open).

    The product with the mantissa is floor(value * ratio * 2**shift) or less, by less than `magnitude`. Its fraction, the last
    `shift` bits, is taken in units of 2**-64; what stands below is `sticky`.
    """
    high, low = _multiplied(magnitude, ratios.mantissa[index])
    shift = ratios.shift[index]
    is_usable = (shift > 0) & (shift < 127)
    wide = shift >= 64
    right = np.where(is_usable, np.where(wide, shift - 64, shift), 1).astype(np.uint64)  # 0..62, or 1..63
    left = np.uint64(64) - right  # 1..64: a shift by 64 is made of two
    up = left - _ONE_WORD
    over = (high << up) << _ONE_WORD
    quotient = np.where(wide, high >> right, over | (low >> right))
    fraction = np.where(wide, over | (low >> right), (low << up) << _ONE_WORD)
    sticky = wide & (((low << up) << _ONE_WORD) != 0)
    is_usable &= wide | ((high >> (right - _ONE_WORD)) == 0)  # else the quotient has more than 63 bits
    is_usable &= wide | (magnitude >> right < _ONE_WORD)
    error = np.where(wide, (magnitude >> right) + _ONE_WORD, (magnitude << up) << _ONE_WORD)
    error = np.where(ratios.is_exact[index], np.uint64(0), error)
    is_usable &= error < _TOP >> _ONE_WORD
    is_exact = ratios.is_exact[index]
    is_odd = (quotient & _ONE_WORD) == 1
    is_up = (fraction > _TOP) | ((fraction == _TOP) & (sticky | is_odd))
    unsure = ~is_exact & (fraction <= _TOP) & (fraction + error >= _TOP)
    return quotient + is_up.astype(np.uint64), unsure | ~is_usable


def _multiplied(one: np.ndarray, other: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return (high, low) words of the products of unsigned 64-bit integers."""
    upper, lower = one >> _HALF_WORD, one & _LOWER_HALF
    top, bottom = other >> _HALF_WORD, other & _LOWER_HALF
    least, left, right = lower * bottom, lower * top, upper * bottom
    middle = (least >> _HALF_WORD) + (left & _LOWER_HALF) + (right & _LOWER_HALF)
    low = (middle << _HALF_WORD) | (least & _LOWER_HALF)
    return upper * top + (left >> _HALF_WORD) + (right >> _HALF_WORD) + (middle >> _HALF_WORD), low


def _words(value: int) -> tuple[int, int]:
    low = value & (2**_WORD - 1)
    return low - 2**_WORD if low >= _HIGH else low, value >> _WORD
