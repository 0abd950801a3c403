"""Whom rows belong to that were filed when less was known: a join or a change of symbols may be told after its rows came.

Normalized rows keep the instrument they were published under. What is derived from them asks here under which one they would
be filed by what is known now: the same name, read on the same day by today's eras (transforms/symbol_eras.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from lake.values import instrument_id_of
from transforms.instruments import LISTED_WITH_SUFFIX
from transforms.revisions import ENTRY_DATED_FEEDS
from transforms.symbol_eras import NO_CHANGES, SymbolEras, listing_identity, naming_days

Filed = tuple[int, str, str]
"""Under which instrument id, provider and symbol rows are filed."""
_FILED = ("instrument_id", "provider", "symbol")
_DAYS = ("ts_event", "ts_open", "ex_date", "ts_recv")
"""What of a normalized row names its day where no delivery does, as `naming_days` orders it."""
NAMED_BY = frozenset({*_FILED, "feed", "capture_id", "delivered_at", "known_at", *_DAYS})
"""Columns of normalized tables that decide whom a row belongs to."""


@dataclass(frozen=True)
class Belonging:
    """Where filed rows belong.

    eras    what names mean by what is known
    names   the name that rows were filed by, where it means or has meant several instruments
    ever    every instrument that such a name was ever said to mean, the one that it names itself included
    """

    eras: SymbolEras = NO_CHANGES
    names: Mapping[Filed, str] = field(default_factory=dict)
    ever: Mapping[str, frozenset[int]] = field(default_factory=dict)

    def sources(self, instruments: Iterable[int]) -> set[int]:
        """Return the ids whose rows may belong to some of `instruments`: these, and others that share a name with them."""
        wanted = set(instruments)
        return wanted | {filed[0] for filed, name in self.names.items() if self.ever[name] & wanted}

    def holders(self, instruments: Iterable[int]) -> set[int]:
        """Return the instruments that rows filed under `instruments` may belong to."""
        wanted = set(instruments)
        return wanted.union(*(self.ever[name] for filed, name in self.names.items() if filed[0] in wanted))

    def differing(self, before: Belonging) -> set[Filed]:
        """Return what was filed by names that mean something else here than `before`."""
        return {
            filed
            for filed, name in {**before.names, **self.names}.items()
            if self.eras.eras.get(name, ()) != before.eras.eras.get(name, ())
        }

    def owners(self, rows: pa.Table, imports: frozenset[str] = frozenset()) -> pa.Array:
        """Return the instrument id under which each row would be filed today.

        rows      of a normalized table whose rows are of instruments
        imports   captures that were brought in, not received: their rows are dated by what they say
        """
        ids = rows["instrument_id"].combine_chunks()
        if not self.names or not rows.num_rows:
            return ids
        frame = pl.DataFrame({name: pl.from_arrow(rows[name]) for name in (*_FILED, "feed")})
        groups = frame.with_row_index("row").group_by(*_FILED, "feed", maintain_order=True).agg("row")
        found = ids.to_numpy(zero_copy_only=False).copy()
        for instrument_id, provider, symbol, _, numbers in groups.iter_rows():
            name = self.names.get((instrument_id, provider, symbol))
            if name is None:
                continue
            mine = np.asarray(numbers, np.int64)
            if name not in self.eras:
                found[mine] = instrument_id_of(name)
                continue
            meant = np.array([instrument_id_of(era.identity) for era in self.eras.eras[name]], np.int64)
            found[mine] = meant[self.eras.numbers(name, _days(rows.take(pa.array(mine)), imports))]
        return pa.array(found, pa.int64())


NOBODY_MOVED = Belonging()


def _days(rows: pa.Table, imports: frozenset[str]) -> npt.NDArray[np.datetime64]:
    """Return the day as of which the symbol of each row, all of one feed, is read: as when it was normalized."""
    is_entry_dated = (rows["provider"][0].as_py(), rows["feed"][0].as_py()) in ENTRY_DATED_FEEDS
    names = (*_DAYS, "known_at") if is_entry_dated else _DAYS  # elsewhere known_at follows from the others
    columns = {name: rows[name].combine_chunks() for name in names if name in rows.column_names}
    if "delivered_at" in rows.column_names:
        arrival = rows["delivered_at"].combine_chunks()
    else:
        is_import = pc.is_in(rows["capture_id"], value_set=pa.array(sorted(imports), pa.string())).combine_chunks()
        received = rows["ts_recv"].combine_chunks()
        arrival = pc.if_else(is_import, pa.scalar(None, received.type), received)
    return naming_days(columns, arrival, is_entry_dated=is_entry_dated)


def belonging(listings: pa.Table, eras: SymbolEras, ever: Sequence[SymbolEras]) -> Belonging:
    """Return where rows belong that were filed under `listings`.

    listings   instrument_id, provider, symbol, mic of reference.listings, and the instrument's identity
    eras       what names mean now
    ever       what they meant by other versions of changes and joins, withdrawn ones included
    """
    told: dict[str, set[int]] = {}
    for one in (eras, *ever):
        for name, spans in one.eras.items():
            told.setdefault(name, {instrument_id_of(name)}).update(instrument_id_of(era.identity) for era in spans)
    meant = {name: frozenset(ids) for name, ids in told.items()}
    everybody = pa.array(sorted(set().union(*meant.values())), pa.int64())
    rows = listings.filter(pc.is_in(listings["instrument_id"], value_set=everybody))
    names: dict[Filed, str] = {}
    for row in rows.to_pylist():
        for name in _candidates(row["provider"], row["symbol"], row["mic"], row["identity"]):
            if row["instrument_id"] in meant.get(name, ()):
                names[row["instrument_id"], row["provider"], row["symbol"]] = name
                break
    return Belonging(eras, names, {name: meant[name] for name in set(names.values())})


def _candidates(provider: str, symbol: str, mic: str | None, identity: str | None) -> tuple[str, ...]:
    """Return the names that a listing's rows may have been read by, the likeliest first."""
    stem = symbol.rpartition(".")[0] if provider in LISTED_WITH_SUFFIX and "." in symbol else symbol
    of_venue = () if mic is None else (listing_identity(mic, stem), listing_identity(mic, symbol))
    told = () if identity is None else (identity, identity.partition("@")[0])
    return (*of_venue, listing_identity("US", symbol), f"provider:{provider}/{symbol}", *told)
