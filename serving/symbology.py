"""Names of instruments at any date, and the reverse, as this lake's reference tables say."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from functools import lru_cache

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lake import scan
from lake.catalog import Lake
from lake.errors import InvalidValueError
from lake.instants import to_datetime
from lake.tables import table_named
from serving.answers import Answered, snapshots_of, told
from serving.instruments import MAX_NAME, instrument_named
from serving.reference import fresh_of
from transforms.decode.decoded import IDENTIFIERS, INSTRUMENT_JOINS, SYMBOL_CHANGES
from transforms.occ import occ_terms
from transforms.revisions import effective
from transforms.symbology import Symbology, day_numbers, intervals, symbology

TABLES = ("reference.instruments", "reference.listings", IDENTIFIERS, SYMBOL_CHANGES, INSTRUMENT_JOINS)
MAX_NAMES = 100_000
_KEPT = 4
_OPRA = "listing:OPRA/"


def resolve(
    lake: Lake,
    names: Sequence[str],
    on: date | None = None,
    as_of: datetime | None = None,
    known_as_of: datetime | None = None,
) -> Answered:
    """Return for each name whom it means on a day (today without one): a row each meaning, one with nulls for none.

    names         `symbol:AAPL`, `yahoo:AAPL`, `isin:…`, an identity key; without a scheme it is tried as symbol, then identifiers
    known_as_of   by the changes of symbols, joins and identifiers that were known by then

    Raises InvalidValueError for no names, too many, or one that no name can be.
    """
    _check(names)
    day = on or to_datetime(lake.clock()).date()
    snapshots = snapshots_of(lake, *TABLES)
    known = symbology_of(lake, as_of, known_as_of)
    number_of, interval = known.resolve(names, day_numbers(day, len(names)))
    missing = np.setdiff1d(np.arange(len(names)), number_of)
    counts = np.bincount(number_of, minlength=len(names))
    order = np.argsort(np.concatenate([number_of, missing]), kind="stable")
    met = known.rows.take(pa.array(interval))
    found = pa.concat_tables([met, _nobody(met.schema, len(missing))], promote_options="permissive")
    asked = np.concatenate([number_of, missing])
    table = pa.table(
        {
            "asked": pa.array([names[number] for number in asked], pa.string()),
            "status": pa.array(["not_found" if not counts[n] else "found" if counts[n] == 1 else "ambiguous" for n in asked]),
            "instrument_id": found["instrument_id"].cast(pa.string()),
            "identity": _identities(lake, found["instrument_id"], as_of),
            "name": found["name"],
            "start_date": found["start_date"],
            "end_date": found["end_date"],
        }
    ).take(pa.array(order))
    metadata = told(
        lake,
        snapshots,
        fresh_of(lake, *TABLES),
        as_of=as_of,
        known_as_of=known_as_of,
        on=day,
        found=int((counts > 0).sum()),
        not_found=len(missing),
        ambiguous=int((counts > 1).sum()),
    )
    return Answered(table, metadata)


def names_of(lake: Lake, text: str, as_of: datetime | None = None) -> Answered:
    """Return every name of one instrument with its dates: what `text` (a symbol, identity key or id) names, reversed.

    Raises NotFoundError and InvalidValueError as `instrument_named` does.
    """
    instrument = instrument_named(lake, text, as_of=as_of)
    known = symbology_of(lake, as_of)
    rows = known.rows.take(pa.array(known.names_of(np.array([instrument.instrument_id]))))
    table = rows.set_column(1, "instrument_id", rows["instrument_id"].cast(pa.string())).sort_by("name")
    snapshots = snapshots_of(lake, *TABLES)
    return Answered(table, told(lake, snapshots, fresh_of(lake, *TABLES), as_of=as_of, instrument=instrument.document()))


def symbology_rows(lake: Lake, as_of: datetime | None, known_as_of: datetime | None) -> pa.Table:
    """One name of one instrument in [start_date, end_date): symbols of each provider, identifiers, identity keys."""
    return symbology_of(lake, as_of, known_as_of).rows


def option_rows(lake: Lake, as_of: datetime | None, known_as_of: datetime | None) -> pa.Table:
    """One US option met: what its OCC symbol says; terms that a list tells beyond it stand in reference.option_contracts."""
    met = scan.read(lake, "reference.instruments", ["instrument_id", "identity"], as_of=as_of)
    met = met.filter(pc.starts_with(met["identity"], _OPRA))
    symbols = pc.utf8_slice_codeunits(met["identity"], len(_OPRA)).combine_chunks()
    terms = occ_terms(symbols)
    columns = [met["instrument_id"], symbols, *terms.columns]
    return pa.table(columns, names=["instrument_id", "symbol", *terms.column_names])


def symbology_of(lake: Lake, as_of: datetime | None = None, known_as_of: datetime | None = None) -> Symbology:
    """Return the names of all instruments; kept until one of the reference tables changes.

    known_as_of   by the changes, joins and identifiers known by then; instruments and listings are those met so far, for they
                  tell that a name was met here, not since when it was known
    """
    if as_of is not None or known_as_of is not None:
        return _read(lake, as_of, known_as_of)
    return _kept(_Of(lake, tuple(str(lake.head(name).snapshot_id) for name in TABLES)))


class _Of:
    """A lake at certain snapshots: equal where both are."""

    def __init__(self, lake: Lake, snapshots: tuple[str, ...]) -> None:
        self.lake = lake
        self._key = (str(lake.settings.home), *snapshots)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Of) and self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)


@lru_cache(maxsize=_KEPT)
def _kept(of: _Of) -> Symbology:
    return _read(of.lake, None, None)


def _read(lake: Lake, as_of: datetime | None, known_as_of: datetime | None) -> Symbology:
    instruments = scan.read(lake, "reference.instruments", ["instrument_id", "identity"], as_of=as_of)
    names = ["instrument_id", "provider", "symbol", "start_date", "end_date"]
    listings = scan.read(lake, "reference.listings", names, as_of=as_of)
    table = table_named(IDENTIFIERS)
    told_ids = scan.read(lake, IDENTIFIERS, [*table.column_names, scan.PUBLISHED_AT], as_of=as_of, known_as_of=known_as_of)
    from quality_checks.naming import eras_known  # only who asks for names waits for it

    return symbology(intervals(instruments, listings, effective(table, told_ids), eras_known(lake, as_of, known_as_of)))


def _identities(lake: Lake, ids: pa.ChunkedArray, as_of: datetime | None) -> pa.Array:
    found = scan.read(lake, "reference.instruments", ["instrument_id", "identity"], as_of=as_of)
    known = dict(zip(*(column.to_pylist() for column in found.columns), strict=True))
    return pa.array([known.get(one) for one in ids.to_pylist()], pa.string())


def _nobody(schema: pa.Schema, count: int) -> pa.Table:
    """Return `count` rows of nulls."""
    return pa.table({field.name: pa.nulls(count, field.type) for field in schema})


def _check(names: Sequence[str]) -> None:
    if not 0 < len(names) <= MAX_NAMES:
        raise InvalidValueError(f"{len(names)} names; ask for 1 to {MAX_NAMES}")
    for name in names:
        if not name or len(name) > MAX_NAME or not name.isprintable():
            raise InvalidValueError(f"name {name[:MAX_NAME]!r} is no name; expected 1 to {MAX_NAME} printable characters")
