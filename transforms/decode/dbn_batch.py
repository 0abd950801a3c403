"""Batches of DBN records as columns: where each record lies, whose it is by symbol and day, and fields as Arrow arrays."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from functools import cache, lru_cache
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from transforms.decode.dbn_layout import (
    UNDEF_PRICE,
    UNDEF_SIZE,
    UNDEF_STAMP,
    WORD,
    Bytes,
    Records,
    gathered,
    layout_of,
    record_starts,
)
from transforms.decode.dbn_publishers import Publisher, publisher
from transforms.decode.decoded import MESSAGES, Refusals
from transforms.numbers import PRICE_SCALE, SIZE_SCALE, Int64s, decimals

PLACES = 32
"""Ordinals a record can give: its number in the message times this, and the place of the fact in it."""

_STAMP = pa.timestamp("us", tz="UTC")
NS_PER_DAY, _NS_PER_MICRO = 86_400_000_000_000, 1_000
_FOREVER = 10**8
_MOST_KEPT = 1 << 16
"""Rows of a constant column that is kept for the next batch."""


@dataclass(frozen=True, slots=True)
class About:
    """What a message's request says of its records; `repeats`: records right before it with the sequence of its first."""

    dataset: str
    schema: str | None
    has_ts_out: bool
    repeats: int
    spells: tuple[tuple[int, int, int, str], ...]


@dataclass(frozen=True, slots=True)
class Group:
    """Records of one kind, layout and schema: message and number of each, and what their messages say of all of them."""

    kind: int
    schema: str | None
    records: Records
    message: Int64s
    number: Int64s
    abouts: Sequence[About | None]

    def of(self, mask: npt.NDArray[np.bool_]) -> Group:
        """Return the records where `mask` is True."""
        if mask.all():
            return self
        rows = np.flatnonzero(mask)
        whole = self.records.view(f"V{self.records.dtype.itemsize}")  # numpy copies records without fields in one piece
        some = whole.take(rows).view(self.records.dtype)
        return Group(self.kind, self.schema, some, self.message[rows], self.number[rows], self.abouts)

    @property
    def has_receipt(self) -> bool:
        """True where records carry Databento's receive time."""
        return "ts_recv" in (self.records.dtype.names or ())

    def index_ns(self) -> npt.NDArray[np.uint64]:
        """Return the time that places a record on a day: its receipt, else its event, as the vendor's client does."""
        event: npt.NDArray[np.uint64] = self.records["ts_event"]
        if not self.has_receipt:
            return event
        receipt: npt.NDArray[np.uint64] = self.records["ts_recv"]
        return np.where(receipt == UNDEF_STAMP, event, receipt)

    def place(self, slot: int = 0) -> dict[str, pa.Array]:
        """Return message_index and ordinal of a fact of each record."""
        return {"message_index": pa.array(self.message), "ordinal": pa.array((self.number * PLACES + slot).astype(np.int32))}


def groups(payloads: Sequence[bytes], abouts: Sequence[About | None], refused: Refusals) -> Iterator[Group]:
    """Yield the records of all messages by kind and layout; what is no whole record, or of no known kind, is refused."""
    data = np.frombuffer(b"".join(payloads), np.uint8)
    edges = np.cumsum([0, *(len(payload) for payload in payloads)])
    parts = [
        (message, _whole(message, data[edges[message] : edges[message + 1]], refused))
        for message, about in enumerate(abouts)
        if about is not None
    ]
    if not parts:
        return
    starts = np.concatenate([found + edges[message] for message, found in parts])
    of_message = np.repeat(np.array([message for message, _ in parts], np.int64), [len(found) for _, found in parts])
    number = np.concatenate([np.arange(len(found), dtype=np.int64) for _, found in parts])
    forms: dict[tuple[str | None, bool], int] = {}
    form = np.array([-1 if one is None else forms.setdefault((one.schema, one.has_ts_out), len(forms)) for one in abouts])
    codes = form[of_message] << 16 | data[starts].astype(np.int64) << 8 | data[starts + 1]
    for code in distinct(codes)[0].tolist():
        schema, has_ts_out = list(forms)[code >> 16]
        length, kind = (code >> 8 & 0xFF) * WORD, code & 0xFF
        here = codes == code
        rows = slice(None) if here.all() else np.flatnonzero(here)
        layout = layout_of(kind, length, has_ts_out)
        if layout is None:
            for message, at in zip(of_message[rows].tolist(), number[rows].tolist(), strict=True):
                refused.add(
                    message, at * PLACES, MESSAGES, "record_unknown", f"kind {kind}, {length} bytes", "a record of DBN 1 to 3"
                )
            continue
        yield Group(kind, schema, gathered(data, starts[rows], layout, length), of_message[rows], number[rows], abouts)


def _whole(message: int, data: Bytes, refused: Refusals) -> Int64s:
    starts = record_starts(data)
    end = int(starts[-1]) + int(data[starts[-1]]) * WORD if len(starts) else 0
    if end < len(data):
        cut = f"{len(data) - end} bytes after record {len(starts)}"
        refused.add(message, len(starts) * PLACES, MESSAGES, "record_cut_short", cut, "a whole record")
    return starts


class _Told(msgspec.Struct):
    """What the importer notes in a request beside the records: `ingest/containers/dbn.py`."""

    dataset: str
    schema: str | None
    ts_out: bool
    symbols: list[tuple[int, int, int, str]]
    repeats: int = 0


class _Request(msgspec.Struct):
    dbn: _Told


_REQUEST = msgspec.json.Decoder(_Request)


def about_of(request: str | None) -> About | None:
    """Return what a message's request says of its records; None where it does not say it whole."""
    try:
        told = _REQUEST.decode(request or "null").dbn
    except (msgspec.DecodeError, UnicodeEncodeError):
        return None
    if not all(0 <= number < 1 << 32 for number, *_ in told.symbols):
        return None
    return About(told.dataset, told.schema, told.ts_out, told.repeats, tuple(told.symbols))


# --- whose record it is


@dataclass(slots=True)
class Names:
    """Symbols of instrument numbers by message and day."""

    keys: list[int] = field(default_factory=list)
    days: list[tuple[int, int]] = field(default_factory=list)
    codes: list[int] = field(default_factory=list)
    seen: dict[tuple[str, str], int] = field(default_factory=dict)

    def code(self, dataset: str, symbol: str) -> int:
        """Return the number of a symbol in a dataset."""
        return self.seen.setdefault((dataset, symbol), len(self.seen))


def names_of(abouts: Sequence[About | None]) -> Names:
    """Return the symbols that the requests of all messages tell."""
    names = Names()
    for message, about in enumerate(abouts):
        if about is None:
            continue
        names.keys += [message << 32 | instrument for instrument, *_ in about.spells]
        names.days += [(_day(first, -_FOREVER), _day(last, _FOREVER)) for _, first, last, _ in about.spells]
        names.codes += [names.code(about.dataset, symbol) for *_, symbol in about.spells]
    return names


@cache
def _day(number: int, otherwise: int) -> int:
    """Return the days since 1970 of a day written as yyyymmdd, or `otherwise` where it is none."""
    try:
        return date(number // 10_000, number // 100 % 100, number % 100).toordinal() - date(1970, 1, 1).toordinal()
    except ValueError:
        return otherwise


def _symbol_codes(group: Group, names: Names) -> Int64s:
    """Return the number of each record's symbol; an instrument without one on its day is named by dataset and number."""
    keys, index = distinct(group.message << 32 | group.records["instrument_id"].astype(np.int64))
    order = np.lexsort((np.array(names.days, np.int64).reshape(-1, 2)[:, 0], np.array(names.keys, np.int64)))
    told = np.array(names.keys, np.int64)[order]
    days = np.array(names.days, np.int64).reshape(-1, 2)[order]
    codes = np.array(names.codes, np.int64)[order]
    last = np.searchsorted(told, keys, "right") - 1
    spells = last - np.searchsorted(told, keys, "left") + 1
    day = (group.index_ns() // np.uint64(NS_PER_DAY)).astype(np.int64)
    is_one_day = bool(len(day)) and day.min() == day.max()
    of = np.arange(len(keys)) if is_one_day else index  # on one day a number means one thing, whichever record it is of
    day = day[:1] if is_one_day else day
    found = np.full(len(of), -1, np.int64)
    for back in range(int(spells.max(initial=0))):
        place = np.where(spells > back, last - back, 0)[of]
        holds = (found < 0) & (spells > back)[of] & (days[place, 0] <= day) & (day < days[place, 1])
        found = np.where(holds, codes[place], found)
    found = found[index] if is_one_day else found
    if (found < 0).any():
        found = found.copy()
        for at in np.unique(index[found < 0]).tolist():
            message, instrument = int(keys[at]) >> 32, int(keys[at]) & 0xFFFF_FFFF
            about = group.abouts[message]
            dataset = about.dataset if about is not None else ""
            found[(found < 0) & (index == at)] = names.code(dataset, f"{dataset}:{instrument}")
    return found


@dataclass(frozen=True, slots=True)
class Who:
    """The symbol and publisher of each record: `places[codes[i]]` is of record i."""

    codes: Int64s
    places: tuple[tuple[str, Publisher], ...]

    def columns(self) -> dict[str, pa.Array]:
        """Return symbol and hints."""
        publishers = [publisher for _, publisher in self.places]
        told: Mapping[str, Sequence[str | None]] = {
            "symbol": [symbol for symbol, _ in self.places],
            "mic": [publisher.mic for publisher in publishers],
            "exchange": [publisher.exchange for publisher in publishers],
            "exchange_zone": [publisher.zone for publisher in publishers],
            "asset_class": [publisher.asset_class for publisher in publishers],
        }
        return {name: taken(self.codes, values) for name, values in told.items()}

    def texts(self, words: Sequence[str | None]) -> pa.Array:
        """Return a word for each record, by its place."""
        return taken(self.codes, words)


def who_of(group: Group, names: Names) -> Who:
    """Return whose each record is."""
    codes, publishers = _symbol_codes(group, names), group.records["publisher_id"].astype(np.int64)
    if len(codes) and (publishers == publishers[0]).all():
        present = np.flatnonzero(np.bincount(codes))
        keys, index = present << 16 | publishers[0], np.searchsorted(present, np.arange(len(names.seen)))[codes]
    else:
        keys, index = distinct(codes << 16 | publishers)
    symbols = list(names.seen)
    places = []
    for key in keys.tolist():
        dataset, symbol = symbols[key >> 16]
        places.append((symbol, publisher(key & 0xFFFF, dataset)))
    return Who(index, tuple(places))


# --- fields as Arrow arrays


def distinct(values: Int64s) -> tuple[Int64s, Int64s]:
    """Return the distinct values, and of each row which one it has."""
    if len(values) and (values == values[0]).all():
        return values[:1], np.zeros(len(values), np.int64)
    encoded = pa.array(values).dictionary_encode()
    return encoded.dictionary.to_numpy(), encoded.indices.to_numpy().astype(np.int64)


def taken(codes: Int64s, words: Sequence[str | None]) -> pa.Array:
    """Return words[codes] as text."""
    if len(set(words)) == 1:
        return repeated(words[0], len(codes))
    return pc.take(pa.array(words, pa.string()), pa.array(codes.astype(np.int32)), boundscheck=False)


def repeated(word: str | None, count: int) -> pa.Array:
    """Return a text, or null, for each of `count` records: a part of one that was made before."""
    if count > _MOST_KEPT:
        return pa.repeat(pa.scalar(word, pa.string()), count)
    return _repeated(word, 1 << count.bit_length()).slice(0, count)


@lru_cache(maxsize=32)
def _repeated(word: str | None, count: int) -> pa.Array:
    return pa.repeat(pa.scalar(word, pa.string()), count)


def chosen(codes: npt.NDArray[Any], words: Mapping[int, str]) -> pa.Array:
    """Return the word of each code of one byte; null for a code without one."""
    return of_bytes(pa.array([words.get(code) for code in range(256)], pa.string()), codes)


def of_bytes(words: pa.Array, codes: npt.NDArray[np.uint8]) -> pa.Array:
    """Return the word of each code of one byte, by a table of 256."""
    return pc.take(words, pa.array(np.ascontiguousarray(codes, np.uint8)), boundscheck=False)


def prices(values: npt.NDArray[np.int64]) -> pa.Array:
    """Return prices in units of 1e-9 as decimals; the undefined price is null."""
    return _unless(values == UNDEF_PRICE, decimals(values.astype(np.int64), 18, PRICE_SCALE))


def sizes(values: npt.NDArray[np.uint32]) -> pa.Array:
    """Return sizes as decimals; the undefined size is null."""
    return _unless(values == UNDEF_SIZE, decimals(values.astype(np.int64) * 10**SIZE_SCALE, 18, SIZE_SCALE))


def stamps(ns: npt.NDArray[np.uint64]) -> pa.Array:
    """Return instants in microseconds; the undefined one is null."""
    return _unless(ns == UNDEF_STAMP, pa.array((ns // np.uint64(_NS_PER_MICRO)).astype(np.int64)).view(_STAMP))


def event_times(ns: npt.NDArray[np.uint64]) -> dict[str, pa.Array]:
    """Return ts_event and ts_event_nanos."""
    whole = ns // np.uint64(_NS_PER_MICRO)
    rest = (ns - whole * np.uint64(_NS_PER_MICRO)).astype(np.int32)
    is_missing = ns == UNDEF_STAMP
    told = {"ts_event": pa.array(whole.astype(np.int64)).view(_STAMP), "ts_event_nanos": pa.array(rest)}
    return {name: _unless(is_missing, values) for name, values in told.items()}


def _unless(is_missing: npt.NDArray[np.bool_], values: pa.Array) -> pa.Array:
    if not is_missing.any():
        return values
    return pc.if_else(pa.array(~is_missing), values, pa.scalar(None, values.type))
