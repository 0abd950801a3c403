"""What decoders of binary messages share: payloads in one run of bytes, records gathered by their layout, columns of them.

A record is a fixed layout that begins at an offset; all records of a kind are gathered at once into a structured array, whose
fields become columns. What a field holds that no column can is told by a mask, for the caller to refuse.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from transforms.decode.binance_json import FIRST_ERROR_STATUS
from transforms.numbers import PRICE_SCALE, SIZE_SCALE, Int64s, decimals

Mask = npt.NDArray[np.bool_]
Records = npt.NDArray[np.void]

MOST_STAMP_NS = 4_102_444_800_000_000_000
"""A clock that says 2100 or later, or a time before 1970, is wrong."""
_UTC_MICROS = pa.timestamp("us", tz="UTC")
_MOST_PRICE_E4, _MOST_SIZE = 10**13, 10**10


def flat_payloads(messages: pa.Table) -> tuple[bytes, Int64s]:
    """Return all payloads in one run of bytes, and where each begins and the last ends; an error's payload is empty."""
    column = messages["payload"].cast(pa.large_binary()).combine_chunks()
    if "status" in messages.column_names and messages["status"].null_count < len(column):
        is_error = pc.fill_null(pc.greater_equal(messages["status"], FIRST_ERROR_STATUS), False).combine_chunks()
        column = pc.if_else(is_error, pa.scalar(b"", pa.large_binary()), column)  # no scanner may find a fact in an error
    if isinstance(column, pa.ChunkedArray):
        column = pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], pa.large_binary())
    if column.null_count:
        column = column.fill_null(b"")
    if not len(column):
        return b"", np.zeros(1, np.int64)
    _, places, data = column.buffers()
    offsets = np.frombuffer(places, np.int64)[column.offset : column.offset + len(column) + 1]
    first, last = int(offsets[0]), int(offsets[-1])
    return (b"" if data is None else data.slice(first, last - first).to_pybytes()), offsets - first


def ints(column: bytes) -> Int64s:
    """Return a kernel's column as numbers."""
    return np.frombuffer(column, np.int64)


def gather(data: npt.NDArray[np.uint8], starts: Int64s, layout: np.dtype[Any]) -> Records:
    """Return the records of one layout that begin at `starts`."""
    if not len(starts):
        return np.empty(0, layout)
    wide = np.lib.stride_tricks.sliding_window_view(data, layout.itemsize)[starts]
    return np.ascontiguousarray(wide).view(layout).reshape(len(starts))


def is_instant(stamps_ns: Int64s) -> Mask:
    """Return where nanoseconds since 1970 are a time that a column can hold."""
    return (stamps_ns >= 0) & (stamps_ns < MOST_STAMP_NS)


def micros(stamps_ns: Int64s) -> pa.Array:
    """Return nanoseconds as instants in whole microseconds."""
    return pa.array(stamps_ns // 1_000).view(_UTC_MICROS)


def nanos(stamps_ns: Int64s) -> pa.Array:
    """Return the nanoseconds beyond the microsecond."""
    return pa.array((stamps_ns % 1_000).astype(np.int32))


def is_price(e4: npt.NDArray[Any]) -> Mask:
    """Return where a price in ten-thousandths fits its column and is not below zero."""
    return (e4 >= 0) & (e4 < _MOST_PRICE_E4)


def prices_e4(e4: npt.NDArray[Any], told: Mask | None = None) -> pa.Array:
    """Return prices in ten-thousandths as decimals; null where not `told`."""
    return _scaled(e4, 10 ** (PRICE_SCALE - 4), PRICE_SCALE, told)


def is_size(units: npt.NDArray[Any]) -> Mask:
    """Return where a number of units fits its column."""
    return units < _MOST_SIZE


def sizes(units: npt.NDArray[Any], told: Mask | None = None) -> pa.Array:
    """Return whole units as decimals; null where not `told`."""
    return _scaled(units, 10**SIZE_SCALE, SIZE_SCALE, told)


def _scaled(values: npt.NDArray[Any], factor: int, scale: int, told: Mask | None) -> pa.Array:
    given = np.asarray(values).astype(np.int64)
    if told is not None:
        given = np.where(told, given, 0)
    found = decimals(given * factor, 18, scale)
    return found if told is None else pc.if_else(pa.array(told), found, pa.scalar(None, found.type))


def texts_of(fields: npt.NDArray[Any]) -> pa.Array:
    """Return fixed-width texts without the blanks around them, as Latin-1: any byte is a character."""
    distinct, codes = np.unique(fields, return_inverse=True)
    names = [bytes(name).decode("latin-1").strip(" \x00") for name in distinct]
    return pa.array(names, pa.string()).take(pa.array(codes.reshape(-1)))


def worded(codes: npt.NDArray[Any], words: dict[int, Any], kind: pa.DataType | None = None) -> pa.Array:
    """Return the word of each one-byte code; null for a code without one."""
    table = [words.get(code) for code in range(256)]
    return pa.array(table, kind or pa.string()).take(pa.array(codes.astype(np.int64)))


def letters(codes: npt.NDArray[Any]) -> pa.Array:
    """Return one-byte codes as the characters they are; null for a blank or a zero."""
    return worded(codes, {code: chr(code) for code in range(256) if code not in (0, 32)})


def flagged(flags: npt.NDArray[Any], words: Sequence[tuple[int, str]]) -> pa.Array:
    """Return the words of the bits set in one-byte flags, joined by commas; null where none is set."""
    named = {value: ",".join(word for bit, word in words if value & bit) or None for value in range(256)}
    return worded(flags, named)


def repeated(value: object, count: int, kind: pa.DataType | None = None) -> pa.Array:
    """Return a constant column."""
    return pa.repeat(pa.scalar(value, kind or pa.string()), count)
