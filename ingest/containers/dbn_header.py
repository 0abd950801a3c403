"""The header of a DBN or DBZ file: what it is of, and which symbol each instrument number stood for on which days.

A number of an instrument is good for a day: publishers give it to another symbol later. The header maps symbols to numbers by
intervals of days, the first day included, the last not; a live capture tells them by records among the others.
Source: github.com/databento/dbn, rust/dbn/src/{metadata,decode/dbn/fsm,decode/dbz,symbol_map}.rs (Apache-2.0).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from lake.errors import ProtocolError

NEWEST_VERSION: Final = 3
PRELUDE_BYTES: Final = 8
LONGEST_HEADER_BYTES: Final = 512 * 1024 * 1024
"""A day of every option of the US has a header of 240 MB."""

_DATASET_BYTES, _NO_SCHEMA = 16, 0xFFFF
_OLD_SYMBOL_BYTES: Final = 22
_RESERVED_BYTES = {0: 39, 1: 47, 2: 53, 3: 53}
_INSTRUMENT_ID: Final = 0
_SCHEMAS: Final = (
    *("mbo", "mbp-1", "mbp-10", "tbbo", "trades", "ohlcv-1s", "ohlcv-1m", "ohlcv-1h", "ohlcv-1d", "definition", "statistics"),
    *("status", "imbalance", "ohlcv-eod", "cmbp-1", "cbbo-1s", "cbbo-1m", "tcbbo", "bbo-1s", "bbo-1m"),
)
FIRST_DAY, LAST_DAY = 0, 99_999_999

Spell = tuple[int, int, int, str]
"""Instrument number, first day (yyyymmdd), first day no longer, symbol."""


class Symbols:
    """Which symbol an instrument number stood for, by day; a later word about a number replaces what was told of it."""

    def __init__(self, spells: Iterable[Spell] = ()) -> None:
        told = sorted(spells, key=lambda spell: spell[:2])
        self._ids: npt.NDArray[np.uint32] = np.fromiter((spell[0] for spell in told), np.uint32, len(told))
        self._days = np.fromiter((spell[1:3] for spell in told), np.dtype((np.uint32, 2)), len(told))
        self._names = [spell[3] for spell in told]
        self._later: dict[int, str] = {}

    def tell(self, instrument: int, symbol: str) -> None:
        """Take a mapping from a live capture: it holds from here on."""
        self._later[instrument] = symbol

    def of(self, instruments: npt.NDArray[np.uint32]) -> list[Spell]:
        """Return what is known of distinct numbers, by number and first day."""
        found: list[Spell] = []
        first = np.searchsorted(self._ids, instruments, "left").tolist()
        last = np.searchsorted(self._ids, instruments, "right").tolist()
        for instrument, low, high in zip(instruments.tolist(), first, last, strict=True):
            later = self._later.get(instrument)
            if later is not None:
                found.append((instrument, FIRST_DAY, LAST_DAY, later))
                continue
            found += [(instrument, *self._days[place].tolist(), self._names[place]) for place in range(low, high)]
        return found


@dataclass(frozen=True, slots=True)
class Header:
    """What a file says of all its records. `version` is 0 for DBZ; `schema` is None in a live capture of several."""

    version: int
    dataset: str
    schema: str | None
    has_ts_out: bool
    symbols: Symbols


class _Reader:
    """Fields of a header, one after the other; whatever is beyond its end is a ProtocolError."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def take(self, length: int, what: str) -> bytes:
        """Return the next `length` bytes, which are `what`."""
        found = self.data[self.at : self.at + length]
        if len(found) < length:
            raise ProtocolError(f"DBN header ends within {what}, at byte {self.at} of {len(self.data)}")
        self.at += length
        return found

    def number(self, length: int, what: str) -> int:
        return int.from_bytes(self.take(length, what), "little")

    def text(self, length: int, what: str) -> str:
        """Return the next `length` bytes as a text without its closing zeros."""
        found = self.take(length, what)
        try:
            return found.rstrip(b"\0").decode("utf-8")
        except UnicodeDecodeError as error:
            raise ProtocolError(f"DBN header has a {what} that is no text: {found!r}") from error

    def texts(self, length: int, what: str) -> int:
        """Pass over a list of symbols; returns how many."""
        count = self.number(4, what)
        self.take(count * length, what)
        return count


def read_header(prelude: bytes, body: bytes) -> Header:
    """Return the header of a DBN file: `prelude` is its first 8 bytes, `body` what they say follows. Raises ProtocolError."""
    version = prelude[3]
    if prelude[:3] != b"DBN" or not 1 <= version <= NEWEST_VERSION:
        raise ProtocolError(f"DBN file of version {version}; expected 1 to {NEWEST_VERSION}")
    reader = _Reader(body)
    dataset = reader.text(_DATASET_BYTES, "dataset")
    schema = _schema(reader.number(2, "schema"))
    reader.take(8 * (4 if version == 1 else 3), "start, end and limit")
    stype_in, stype_out = reader.number(1, "stype_in"), reader.number(1, "stype_out")
    has_ts_out = reader.number(1, "ts_out") != 0
    width = _OLD_SYMBOL_BYTES if version == 1 else reader.number(2, "symbol length")
    reader.take(_RESERVED_BYTES[version], "reserved bytes")
    return Header(version, dataset, schema, has_ts_out, Symbols(_spells(reader, width, stype_in, stype_out)))


def read_old_header(body: bytes, unpacked: Callable[[bytes], bytes]) -> Header:
    """Return the header of a DBZ file from the body of its skippable frame. Raises ProtocolError.

    unpacked   decompresses the zstd frame that holds the symbols
    """
    reader = _Reader(body)
    if reader.take(4, "magic") != b"DBZ\x01":
        raise ProtocolError(f"DBZ header begins with {body[:4]!r}; expected DBZ and version 1")
    dataset = reader.text(_DATASET_BYTES, "dataset")
    schema = _schema(reader.number(2, "schema"))
    reader.take(8 * 4 + 1, "start, end, limit, count and compression")
    stype_in, stype_out = reader.number(1, "stype_in"), reader.number(1, "stype_out")
    reader.take(_RESERVED_BYTES[0], "reserved bytes")
    symbols = _Reader(unpacked(body[reader.at :]))
    return Header(0, dataset, schema, False, Symbols(_spells(symbols, _OLD_SYMBOL_BYTES, stype_in, stype_out)))


def _schema(code: int) -> str | None:
    if code == _NO_SCHEMA:
        return None
    if code >= len(_SCHEMAS):
        raise ProtocolError(f"DBN schema {code} is unknown; expected 0 to {len(_SCHEMAS) - 1}")
    return _SCHEMAS[code]


def _spells(reader: _Reader, width: int, stype_in: int, stype_out: int) -> Iterable[Spell]:
    """Yield the mappings at the end of a header, whichever way round it tells them."""
    if width == 0:
        raise ProtocolError("DBN header says that symbols have no length")
    if reader.number(4, "schema definition") != 0:
        raise ProtocolError("DBN header holds a schema definition, which no version has")
    for what in ("symbols", "partial symbols", "symbols not found"):
        reader.texts(width, what)
    for _ in range(reader.number(4, "symbol mappings")):
        asked = reader.text(width, "symbol")
        for _ in range(reader.number(4, "intervals")):
            first, last = reader.number(4, "first day"), reader.number(4, "last day")
            found = reader.text(width, "symbol of an interval")
            number, symbol = (asked, found) if stype_in == _INSTRUMENT_ID else (found, asked)
            if number.isdecimal() and symbol and int(number) < 1 << 32 and _INSTRUMENT_ID in (stype_in, stype_out):
                yield int(number), first, last, symbol
