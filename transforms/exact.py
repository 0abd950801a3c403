"""Decimal columns as exact integers, and the one rounding: half to even, once.

A decimal column is worked on as Python integers of its smallest unit (`unscaled`), multiplied by exact ratios, and put
back (`from_unscaled`). Only transforms/adjust.py and the as-traded step it shares this with multiply prices.
"""

from __future__ import annotations

from collections.abc import Sequence
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


def _words(value: int) -> tuple[int, int]:
    low = value & (2**_WORD - 1)
    return low - 2**_WORD if low >= _HIGH else low, value >> _WORD
