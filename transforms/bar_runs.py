"""Reductions along runs of rows, exact: the arithmetic under every bar.

Rows stand in order of what they are grouped by, so a group is a run: its edges are found once, and every column is reduced
along them by numpy's compiled `reduceat`. No hash of groups is made, which is what engines spend most of their time on here.
Decimals are integers of their last place; sums and products that need more than one word are made of limbs.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from lake.errors import InvalidValueError
from lake.tables.definition import arrow_type
from transforms.exact import half_even

Int64s = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

_WORD = 64
_DIGITS_OF_A_WORD = 18
_NONE = np.empty(0, np.int64)
_HALF = 32
_LIMB, _SHORT_LIMB = 21, 16
_MOST_OF_LIMBS = 1 << 20
"""Rows of a run whose products of two limbs of 21 bits add up within a word."""
_FLOAT_BITS = 50
_MOST_DIGITS = 1.0e38


@dataclass(frozen=True, slots=True)
class Runs:
    """Where each run begins and ends, half open."""

    first: Int64s
    behind: Int64s

    @property
    def longest(self) -> int:
        """Rows of the longest run."""
        return int((self.behind - self.first).max())


@dataclass(frozen=True, slots=True)
class Wide:
    """Integers of two words: high * 2**64 + low, where low counts as unsigned."""

    low: Int64s
    high: Int64s

    @classmethod
    def of(cls, values: Int64s) -> Wide:
        """Return values of one word."""
        return cls(values, values >> (_WORD - 1))

    def whole(self, at: Int64s) -> list[int]:
        """Return some of them as Python's integers."""
        words = zip(self.high[at].tolist(), self.low[at].tolist(), strict=True)
        return [(high << _WORD) + (low & (2**_WORD - 1)) for high, low in words]

    def floats(self) -> npt.NDArray[np.float64]:
        """Return the nearest floats, or their neighbours."""
        return np.asarray(self.high * 2.0**_WORD + self.low.view(np.uint64), np.float64)


def runs_of(*keys: Int64s) -> Runs:
    """Return the runs of rows that agree in every key; there is at least one row."""
    is_first = np.ones(len(keys[0]), dtype=np.bool_)
    np.not_equal(keys[0][1:], keys[0][:-1], out=is_first[1:])
    for key in keys[1:]:
        is_first[1:] |= key[1:] != key[:-1]
    first = np.flatnonzero(is_first)
    return Runs(first, np.append(first[1:], len(is_first)))


def in_order(*keys: Int64s) -> pa.Array | None:
    """Return the row numbers that put rows in order of the keys, ties as they come; None where they stand so."""
    undecided = np.ones(max(len(keys[0]) - 1, 0), dtype=np.bool_)
    for values in keys:
        if np.any(undecided & (values[1:] < values[:-1])):
            return pa.array(np.lexsort(keys[::-1]))
        undecided &= values[1:] == values[:-1]
    return None


def words(table: pa.Table, name: str) -> Int64s:
    """Return a column of integers, dates or instants as int64; null is 0."""
    values = table.column(name)
    if not pa.types.is_int64(values.type):
        values = (values.cast(pa.int32()) if pa.types.is_date32(values.type) else values).cast(pa.int64())
    return np.asarray((values.fill_null(0) if values.null_count else values).to_numpy())


def units(column: pa.ChunkedArray, kind: str) -> Int64s:
    """Return a decimal column of at most 18 digits in units of its last place; null is 0."""
    return wide_units(column, kind).low


def wide_units(column: pa.ChunkedArray, kind: str) -> Wide:
    """Return a decimal column in units of its last place; null is 0."""
    chunks = [one for one in column.cast(arrow_type(kind)).chunks if len(one)]
    if not chunks:
        return Wide.of(np.empty(0, np.int64))
    parts = [np.frombuffer(one.buffers()[1], np.int64)[2 * one.offset : 2 * (one.offset + len(one))] for one in chunks]
    both = parts[0] if len(parts) == 1 else np.concatenate(parts)
    low, high = np.ascontiguousarray(both[::2]), np.ascontiguousarray(both[1::2])
    if column.null_count:
        is_null = column.is_null().to_numpy()
        low, high = np.where(is_null, 0, low), np.where(is_null, 0, high)
    return Wide(low, high)


def decimals(values: Wide, kind: pa.Decimal128Type, is_null: Flags | None = None) -> pa.Array:
    """Return a decimal column from units of its last place. Raises InvalidValueError where one has too many digits.

    Prices are not looked at: of 18 digits, they come out of a column of that type, or lie between two that do.
    """
    if is_null is not None:
        values = Wide(np.where(is_null, 0, values.low), np.where(is_null, 0, values.high))
    limit = 10**kind.precision
    near = np.flatnonzero(np.abs(values.floats()) > 0.99 * limit) if kind.precision > _DIGITS_OF_A_WORD else _NONE
    for value in values.whole(near):
        if abs(value) >= limit:
            raise InvalidValueError(f"a bar's sum {value} is beyond {kind.precision} digits")
    both = np.empty((len(values.low), 2), dtype=np.int64)
    both[:, 0], both[:, 1] = values.low, values.high
    valid = None if is_null is None or not is_null.any() else pa.array(~is_null).buffers()[1]
    return pa.Array.from_buffers(kind, len(values.low), [valid, pa.py_buffer(both)])


def sums(values: Int64s, runs: Runs) -> Wide:
    """Return the exact sum of each run."""
    most = max(int(values.max()), -int(values.min())) * runs.longest
    if most < 2**63:
        return Wide.of(np.add.reduceat(values, runs.first))
    return _from_limbs([np.add.reduceat(one, runs.first) for one in (values & (2**_HALF - 1), values >> _HALF)], _HALF)


def wide_sums(values: Wide, runs: Runs) -> Wide:
    """Return the exact sum of each run of two-word integers."""
    if bool((values.high == values.low >> (_WORD - 1)).all()):
        return sums(values.low, runs)
    low = values.low.view(np.uint64)
    parts = ((low & (2**_HALF - 1)).view(np.int64), (low >> np.uint64(_HALF)).view(np.int64), values.high & (2**_HALF - 1))
    return _from_limbs([np.add.reduceat(one, runs.first) for one in (*parts, values.high >> _HALF)], _HALF)


def product_sums(left: Int64s, right: Int64s, runs: Runs) -> Wide:
    """Return the exact sum of left * right of each run. Raises InvalidValueError for one of more than 38 digits."""
    most_left, most_right = (max(int(one.max()), -int(one.min())) for one in (left, right))
    most = most_left * most_right * runs.longest
    if most < 2**63:
        return Wide.of(np.add.reduceat(left * right, runs.first))
    if most >= 2**126 and bool((np.abs(np.add.reduceat(left * 1.0 * right, runs.first)) > _MOST_DIGITS).any()):
        raise InvalidValueError("a bar's price times size is beyond 38 digits")
    bits = _LIMB if runs.longest <= _MOST_OF_LIMBS else _SHORT_LIMB
    lefts, rights = _limbs(left, most_left, bits), _limbs(right, most_right, bits)
    mask = (1 << bits) - 1
    found = [np.zeros(len(runs.first), np.int64) for _ in range(len(lefts) + len(rights))]
    for i, one in enumerate(lefts):
        for j, other in enumerate(rights):
            total = np.add.reduceat(one * other, runs.first)
            found[i + j] += total & mask
            found[i + j + 1] += total >> bits
    return _from_limbs(found, bits)


def quotients(top: Wide, bottom: Wide) -> tuple[Int64s, Flags]:
    """Return top / bottom rounded once, half to even, and where there is none because bottom is not above 0.

    A float tells the quotient within a few units; the remainder then tells it exactly. Where a word cannot hold that
    remainder, Python's integers decide.
    """
    is_none = (bottom.high < 0) | ((bottom.high == 0) & (bottom.low == 0))
    divisor = np.where(is_none, 1, bottom.low)
    is_long = ~is_none & (bottom.high != bottom.low >> (_WORD - 1))
    guess = np.floor(top.floats() / np.where(is_none, 1.0, bottom.floats()))
    room = (np.abs(guess) * 2.0**-_FLOAT_BITS + 2) * np.abs(divisor)
    is_open = is_long | (~is_none & ((room > 2.0**61) | (np.abs(guess) > 2.0**61)))
    safe = np.where(is_open | is_none, 0.0, guess).astype(np.int64)
    divisor = np.where(is_open, 1, divisor)
    rest = top.low - safe * divisor
    whole = safe + rest // divisor
    rest = rest % divisor
    over = divisor - rest
    whole += (rest > over) | ((rest == over) & (whole & 1 == 1))
    at = np.flatnonzero(is_open)
    whole[at] = [half_even(one, other) for one, other in zip(top.whole(at), bottom.whole(at), strict=True)]
    return np.where(is_none, 0, whole), is_none


def _limbs(values: Int64s, most: int, bits: int) -> list[Int64s]:
    """Return values as limbs of so many bits, the lowest first; the last carries the sign."""
    count = max(-(-(most.bit_length() + 1) // bits), 1)
    mask = (1 << bits) - 1
    parts = [(values >> (bits * n)) & mask for n in range(count - 1)]
    return [*parts, values >> min(bits * (count - 1), _WORD - 1)]


def _from_limbs(limbs: list[Int64s], bits: int) -> Wide:
    """Return the sum of limbs[n] * 2**(bits * n); limbs may be of either sign and longer than `bits`."""
    low = np.zeros(len(limbs[0]), np.uint64)
    high = np.zeros(len(limbs[0]), np.int64)
    carry = np.zeros(len(limbs[0]), np.int64)
    mask = (1 << bits) - 1
    for n, limb in enumerate(limbs):
        whole = limb + carry
        _place(low, high, whole & mask, bits * n)
        carry = whole >> bits
    _place(low, high, carry, bits * len(limbs))
    return Wide(low.view(np.int64), high)


def _place(low: npt.NDArray[np.uint64], high: Int64s, part: Int64s, shift: int) -> None:
    """Set the bits of `part` at `shift`, its sign to the end."""
    if shift >= _WORD:
        high |= part << (shift - _WORD)
        return
    low |= part.view(np.uint64) << np.uint64(shift)
    if shift:
        high |= part >> (_WORD - shift)
    else:
        high |= part >> (_WORD - 1)
