"""Digits of text into exact scaled integers and decimals, and float images back into the decimals they are images of.

An *exact* feed writes its numbers as text: every digit counts, and one that does not fit the column is refused. A *float
image* is a number that went through a binary float before it was printed: Yahoo's 129.0399932861328 is the float32 of
129.04. Images are restored by one rule, named in `restored`, and may be rounded; exact digits never are.
"""

from __future__ import annotations

import math
import re
from decimal import ROUND_HALF_EVEN, Context, Decimal
from fractions import Fraction

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from lake.errors import ProtocolError

PRICE_SCALE, SIZE_SCALE, VOLUME_SCALE = 9, 8, 8
MOST_DIGITS, MOST_VOLUME_DIGITS = 18, 28

Int64s = npt.NDArray[np.int64]

_PLAIN = re.compile(r"[+-]?[0-9]+(?:\.[0-9]+)?\Z")
_LONGEST_NUMBER = 64
_WIDE = Context(prec=80, rounding=ROUND_HALF_EVEN)
_INT64_MOST = 2**63 - 1
_FLOAT32_MOST = float(np.finfo(np.float32).max)


class NumberRefusedError(ProtocolError):
    """A number that cannot be kept exactly: `rule` names why, `value` what stood there, `expected` what should have."""

    def __init__(self, rule: str, value: object, expected: str) -> None:
        super().__init__(f"{rule}: {value!r}, expected {expected}")
        self.rule, self.value, self.expected = rule, value, expected


def scaled_digits(text: object, scale: int, digits: int = MOST_DIGITS) -> int:
    """Return `text` x 10^scale, digit by digit.

    `text` is digits with at most one point and a sign. Raises NumberRefusedError with rule malformed_number, excess_digits (a
    digit other than 0 beyond the scale) or overflow (more than `digits` digits).
    """
    if not isinstance(text, str) or len(text) > _LONGEST_NUMBER or not _PLAIN.match(text):
        raise NumberRefusedError("malformed_number", text, "digits as text, at most one point")
    head, _, tail = text.partition(".")
    if len(tail) > scale:
        if tail[scale:].strip("0"):
            raise NumberRefusedError("excess_digits", text, f"at most {scale} digits after the point")
        tail = tail[:scale]
    value: int = int(head + tail) * 10 ** (scale - len(tail))
    if abs(value) >= 10**digits:
        raise NumberRefusedError("overflow", text, f"less than 10^{digits - scale}")
    return value


def exact_decimal(text: object, scale: int, digits: int = MOST_DIGITS) -> Decimal:
    """Return `text` as a decimal of exactly `scale` places; refuses like `scaled_digits`."""
    return Decimal(scaled_digits(text, scale, digits)).scaleb(-scale, _WIDE)


def decimals(scaled: Int64s, precision: int, scale: int) -> pa.Array:
    """Return integers scaled by 10^scale as decimal128(precision, scale), without looking at them one by one."""
    wide = np.empty((len(scaled), 2), np.int64)
    wide[:, 0] = scaled
    wide[:, 1] = scaled >> 63
    return pa.Array.from_buffers(pa.decimal128(precision, scale), len(scaled), [None, pa.py_buffer(wide)])


def low_words(column: pa.ChunkedArray | pa.Array) -> Int64s:
    """Return a decimal128 column of at most 18 digits as its scaled integers; what stands at a null is any number."""
    chunks = column.chunks if isinstance(column, pa.ChunkedArray) else [column]
    parts = [
        np.frombuffer(one.buffers()[1], np.int64)[2 * one.offset : 2 * (one.offset + len(one)) : 2] for one in chunks if len(one)
    ]
    return np.concatenate(parts) if parts else np.zeros(0, np.int64)


def restored(value: object, scale: int, digits: int = MOST_DIGITS) -> Decimal:
    """Return the decimal that a float image stands for, rounded half to even to `scale` places.

    The rule: a value that a float32 holds exactly becomes the shortest decimal with that float32; any other the shortest
    with that float64; whole numbers stay. Raises NumberRefusedError: malformed_number for what is no number, overflow for
    what is infinite or does not fit `digits` digits.
    """
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise NumberRefusedError("malformed_number", value, "a number")
    limit = Decimal(10) ** (digits - scale)
    image = Decimal(_shortest(value))
    if image.is_finite() and abs(image) < limit:
        rounded = image.quantize(Decimal(1).scaleb(-scale), context=_WIDE)
        if abs(rounded) < limit:
            return rounded
    raise NumberRefusedError("overflow", value, f"less than 10^{digits - scale}")


def _shortest(value: float | int) -> str:
    if isinstance(value, int):
        return str(value) if abs(value) < 10**_LONGEST_NUMBER else "Infinity"
    if not math.isfinite(value):
        return "Infinity"
    if abs(value) <= _FLOAT32_MOST:
        single = np.float32(value)
        if float(single) == value:
            return str(np.format_float_scientific(single, unique=True))
    return repr(value)


def lowest_terms(new: Decimal | int, old: Decimal | int) -> tuple[int, int]:
    """Return (new, old) as whole numbers in lowest terms.

    Raises NumberRefusedError (impossible_ratio) unless both are positive and fit int64.
    """
    if new <= 0 or old <= 0:
        raise NumberRefusedError("impossible_ratio", f"{new}:{old}", "two positive numbers")
    ratio = Fraction(new) / Fraction(old)
    if max(ratio.numerator, ratio.denominator) > _INT64_MOST:
        raise NumberRefusedError("impossible_ratio", f"{new}:{old}", "a ratio of two int64")
    return ratio.numerator, ratio.denominator
