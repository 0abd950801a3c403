"""Any name of an instrument at any date, and every name of an instrument: sorted arrays, searched by numpy.

A name is `scheme:text`: `symbol:AAPL` (whoever writes it), `yahoo:AAPL` (one provider), `isin:US0378331005`, or an identity key
such as `listing:US/AAPL`. Each names an instrument in [start, end); one name may name several at once, and then all are told.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from lake.values import instrument_id_of
from transforms.identifiers import SCHEMES
from transforms.instruments import us_symbol
from transforms.symbol_eras import Era, SymbolEras

INTERVALS = pa.schema(
    [
        pa.field("name", pa.string(), nullable=False),
        pa.field("instrument_id", pa.int64(), nullable=False),
        pa.field("start_date", pa.date32()),
        pa.field("end_date", pa.date32()),
    ]
)
"""A name and whom it means in [start_date, end_date); null: without a bound."""
BARE = ("symbol", *SCHEMES)
"""What a name without a scheme is tried as, in this order; the first scheme that knows it counts."""

Ints = npt.NDArray[np.int64]
_FIRST, _LAST = -(2**31), 2**31 - 1
_LISTING_US = "listing:US/"


@dataclass(frozen=True)
class Symbology:
    """Names over time. `number_of` (of `resolve`) counts the names asked for, `interval` the rows of `rows`.

    hashes    of the distinct names, ascending; texts: the names in that order; firsts: where the intervals of each begin
    buckets   where the hashes with certain leading bits begin: hash >> shift
    """

    rows: pa.Table
    hashes: npt.NDArray[np.uint64]
    texts: pa.Array
    firsts: Ints
    buckets: npt.NDArray[np.int32]
    shift: np.uint64
    starts: npt.NDArray[np.int32]
    ends: npt.NDArray[np.int32]
    ids: Ints
    by_id: Ints

    @property
    def memory_bytes(self) -> int:
        """Bytes that the arrays hold."""
        arrays = (self.hashes, self.firsts, self.buckets, self.starts, self.ends, self.ids, self.by_id)
        return int(sum(array.nbytes for array in arrays) + self.rows.nbytes + self.texts.nbytes)

    def find(self, names: pa.Array, days: Ints) -> tuple[Ints, Ints]:
        """Return (number of the name, interval) of every interval that a name has on its day (days since 1970)."""
        if len(self.hashes) == 0 or len(names) == 0:
            return np.empty(0, np.int64), np.empty(0, np.int64)
        hashes = _hashes(pl.Series("name", pl.from_arrow(names), pl.String))
        held = self._places(hashes)
        is_known = pc.equal(self.texts.take(pa.array(held)), names).to_numpy(zero_copy_only=False)
        for number in np.flatnonzero(~is_known & (self.hashes[held] == hashes)):
            is_known[number], held[number] = self._beside(names[number].as_py(), int(held[number]))
        low = np.where(is_known, self.firsts[held], 0)
        counts = np.where(is_known, self.firsts[held + 1] - low, 0)
        number_of = np.repeat(np.arange(len(names)), counts)
        interval = np.repeat(low - (np.cumsum(counts) - counts), counts) + np.arange(int(counts.sum()))
        day = days[number_of]
        inside = (self.starts[interval] <= day) & (day < self.ends[interval])
        return number_of[inside], interval[inside]

    def _places(self, hashes: npt.NDArray[np.uint64]) -> Ints:
        """Return where each hash stands, or the next one; the last where there is none. Few cache misses: by leading bits."""
        last = len(self.hashes) - 1
        place: Ints = np.minimum(self.buckets[hashes >> self.shift], last).astype(np.int64)
        open_ = np.flatnonzero(self.hashes[place] < hashes)
        while len(open_):
            open_ = open_[place[open_] < last]
            place[open_] += 1
            open_ = open_[self.hashes[place[open_]] < hashes[open_]]
        return place

    def _beside(self, name: str, place: int) -> tuple[bool, int]:
        """Return whether another name of the same hash is the one asked for, and where it stands."""
        for other in range(place + 1, len(self.hashes)):
            if self.hashes[other] != self.hashes[place]:
                break
            if self.texts[other].as_py() == name:
                return True, other
        return False, place

    def resolve(self, names: Sequence[str], days: Ints) -> tuple[Ints, Ints]:
        """Return (number of the name, interval), as `find`; a name without a scheme is tried as each of BARE.

        A name with a colon is taken as it stands first.
        """
        asked = pa.array(names, pa.string())
        left = np.arange(len(names))
        parts = [(np.empty(0, np.int64), np.empty(0, np.int64))]
        for prefix in ("", *(f"{scheme}:" for scheme in BARE)):
            tried = left if prefix else left[pc.match_substring(asked, ":").to_numpy(zero_copy_only=False)]
            if len(tried) == 0:
                continue
            candidates = pc.binary_join_element_wise(prefix, asked.take(pa.array(tried)), "")
            found, at = self.find(candidates, days[tried])
            parts.append((tried[found], at))
            is_left = np.ones(len(names), np.bool_)
            for done, _ in parts:
                is_left[done] = False
            left = left[is_left[left]]
        numbers = np.concatenate([part[0] for part in parts])
        order = np.argsort(numbers, kind="stable")
        return numbers[order], np.concatenate([part[1] for part in parts])[order]

    def names_of(self, ids: Ints) -> Ints:
        """Return the intervals of all names of some instruments: the reverse."""
        ordered = self.ids[self.by_id]
        low, high = np.searchsorted(ordered, ids, "left"), np.searchsorted(ordered, ids, "right")
        parts = [self.by_id[first:last] for first, last in zip(low, high, strict=True)]
        return np.sort(np.concatenate(parts)) if parts else np.empty(0, np.int64)


def symbology(rows: pa.Table) -> Symbology:
    """Return rows of INTERVALS, any order, as arrays to search."""
    frame = pl.DataFrame({name: pl.from_arrow(rows[name]) for name in INTERVALS.names}).unique()
    frame = frame.with_columns(hash=pl.Series("hash", _hashes(frame["name"]))).sort("hash", "name", "start_date", "instrument_id")
    is_first = (frame["name"] != frame["name"].shift(1)).fill_null(True).to_numpy()
    firsts = np.flatnonzero(is_first)
    ids, hashes = frame["instrument_id"].to_numpy(), frame["hash"].to_numpy()[firsts]
    bits = max(len(firsts), 2).bit_length()
    shift = np.uint64(64 - bits)
    return Symbology(
        rows=frame.select(INTERVALS.names).to_arrow().cast(INTERVALS),
        hashes=hashes,
        buckets=np.searchsorted(hashes >> shift, np.arange(2**bits, dtype=np.uint64)).astype(np.int32),
        shift=shift,
        texts=frame["name"].to_arrow().cast(pa.string()).take(pa.array(firsts)),
        firsts=np.append(firsts, len(frame)).astype(np.int64),
        starts=_days(frame["start_date"], _FIRST),
        ends=_days(frame["end_date"], _LAST),
        ids=ids,
        by_id=np.argsort(ids, kind="stable"),
    )


def _hashes(names: pl.Series) -> npt.NDArray[np.uint64]:
    return names.hash(7).to_numpy()


def _days(dates: pl.Series, missing: int) -> npt.NDArray[np.int32]:
    return dates.to_physical().fill_null(missing).to_numpy().astype(np.int32)


def day_numbers(day: date, count: int) -> Ints:
    """Return a day as days since 1970, `count` times."""
    return np.full(count, (day - date(1970, 1, 1)).days, np.int64)


def intervals(instruments: pa.Table, listings: pa.Table, identifiers: pa.Table, eras: SymbolEras) -> pa.Table:
    """Return every name of every instrument over time.

    instruments   instrument_id, identity
    listings      instrument_id, provider, symbol, start_date, end_date
    identifiers   instrument_id, scheme, identifier, start_date, end_date: the newest versions
    eras          names that changed their meaning: they bound what listings and identity keys say

    Returns rows of INTERVALS.
    """
    whole = pl.DataFrame({name: pl.from_arrow(instruments[name]) for name in ("instrument_id", "identity")})
    known = [_bounded(whole.filter(~pl.col("identity").is_in(list(eras.eras))), pl.col("identity"))]
    told = pl.DataFrame({name: pl.from_arrow(identifiers[name]) for name in (*_OF_IDENTIFIER, "start_date", "end_date")})
    known.append(told.select(pl.concat_str("scheme", pl.lit(":"), "identifier").alias("name"), *INTERVALS.names[1:]))
    listed = pl.DataFrame({name: pl.from_arrow(listings[name]) for name in (*_OF_LISTING, "start_date", "end_date")})
    listed = listed.join(whole, on="instrument_id", how="left")
    changed = {name.removeprefix(_LISTING_US) for name in eras.eras if name.startswith(_LISTING_US)}
    spelled = pl.Series("spelled", [us_symbol(symbol) for symbol in listed["symbol"]] if changed else listed["symbol"], pl.String)
    is_us = listed["identity"].str.starts_with(_LISTING_US).fill_null(False)
    listed = listed.with_columns((spelled.is_in(list(changed)) & is_us).alias("is_changed"))
    plain = listed.filter(~pl.col("is_changed"))
    for prefix in (pl.lit("symbol"), pl.col("provider")):
        known.append(plain.select(pl.concat_str(prefix, pl.lit(":"), "symbol").alias("name"), *INTERVALS.names[1:]))
    rows = [frame.to_arrow().cast(INTERVALS) for frame in known]
    rows.append(_of_eras(eras, listed.filter("is_changed")))
    return pa.concat_tables(rows)


_OF_IDENTIFIER = ("instrument_id", "scheme", "identifier")
_OF_LISTING = ("instrument_id", "provider", "symbol")


def _bounded(frame: pl.DataFrame, name: pl.Expr) -> pl.DataFrame:
    unbounded = [pl.lit(None, pl.Date).alias(bound) for bound in ("start_date", "end_date")]
    return frame.select(name.alias("name"), "instrument_id", *unbounded)


def _of_eras(eras: SymbolEras, listed: pl.DataFrame) -> pa.Table:
    """Return what names that changed their meaning mean: identity keys, symbols, and symbols of providers that wrote them."""
    writers: dict[str, set[tuple[str, str]]] = {}
    for provider, symbol in listed.select("provider", "symbol").iter_rows():
        writers.setdefault(f"{_LISTING_US}{us_symbol(symbol)}", set()).add((provider, symbol))
    found: dict[str, list[object]] = {name: [] for name in INTERVALS.names}
    for identity, spans in eras.eras.items():
        symbol = identity.rpartition("/")[2] or identity
        spellings = {identity, f"symbol:{symbol}"} | {
            name for provider, written in writers.get(identity, ()) for name in (f"{provider}:{written}", f"symbol:{written}")
        }
        for number, era in enumerate(spans):
            _add(found, sorted(spellings), era, spans[number + 1].start if number + 1 < len(spans) else None)
    return pa.Table.from_pydict(found, INTERVALS)


def _add(found: dict[str, list[object]], names: Sequence[str], era: Era, end: date | None) -> None:
    for name in names:
        found["name"].append(name)
        found["instrument_id"].append(instrument_id_of(era.identity))
        found["start_date"].append(None if era.start == date.min else era.start)
        found["end_date"].append(end)
