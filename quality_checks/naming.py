"""Who symbols mean, as this lake's reference tables say: now, or at a past moment. Updates take effect with the next batch.

What was filed before a join or change was told belongs elsewhere since (transforms/belonging.py): positions of derived tables
name when both tables were last published, so that what is derived can be made again from what was known then.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, datetime
from functools import lru_cache
from typing import Any

import pyarrow as pa

from lake.catalog import Lake
from lake.scan import PUBLISHED_AT, read
from lake.tables import table_named
from lake.values import CaptureKind, Vector
from quality_checks.batches import kinds_of
from quality_checks.inputs import last_published, milliseconds, moment_of, published_between
from transforms.belonging import NOBODY_MOVED, Belonging, belonging
from transforms.decode.decoded import INSTRUMENT_JOINS, SYMBOL_CHANGES
from transforms.revisions import effective
from transforms.symbol_eras import Change, Join, SymbolEras, symbol_eras

NAMES = (SYMBOL_CHANGES, INSTRUMENT_JOINS)
"""What a name means is told by these."""
_KEPT = 8
_LISTINGS = "reference.listings"

NAMED_AT = "named_at_us"
"""In the counts of a batch whose symbols were read by changes or joins: as of when, in microseconds; a rebuild reads the same."""


class _Of:
    """A lake at certain publications or snapshots: equal where both are."""

    def __init__(self, lake: Lake, at: tuple[object, ...]) -> None:
        self.lake = lake
        self._key = (str(lake.settings.home), *at)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Of) and self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)


def eras_known(lake: Lake, as_of: datetime | None = None, known_as_of: datetime | None = None) -> SymbolEras:
    """Return the eras of all names by the newest versions of changes and joins, as of a moment. Built once per content.

    known_as_of   only versions known by then
    """
    told = ((name, _versions(lake, name, as_of)) for name in NAMES)
    return _eras(
        *(_newest([row for row in rows if known_as_of is None or row["known_at"] <= known_as_of], name) for name, rows in told)
    )


def joined_identity(lake: Lake, identity: str, as_of: datetime | None = None) -> str:
    """Return the identity key of the instrument that an instrument was joined to; its own where it was joined to none."""
    return _eras((), _newest(_versions(lake, INSTRUMENT_JOINS, as_of), INSTRUMENT_JOINS)).at(identity, None)


def belonging_at(lake: Lake, position: Vector) -> Belonging:
    """Return where filed rows belong by the changes and joins published at a position; kept until more is published."""
    told = tuple((name, position[name]) for name in NAMES if name in position)
    if not told:
        return NOBODY_MOVED
    return _belonging(_Of(lake, (_place_of(lake, _LISTINGS),)), told)


def belonging_now(lake: Lake, as_of: datetime | None = None) -> Belonging:
    """Return where filed rows belong by what is known now, or was known as of a moment."""
    if as_of is None:
        return _belonging_of(_Of(lake, tuple(_place_of(lake, name) for name in (*NAMES, _LISTINGS))))
    position = last_published(lake, NAMES)
    booked = ((name, published_between(lake, name, {}, position)) for name in NAMES)
    until = {name: [milliseconds(one.published_at) for one in found if one.published_at <= as_of] for name, found in booked}
    return belonging_at(lake, {name: max(found) for name, found in until.items() if found})


def _place_of(lake: Lake, table: str) -> str:
    """Return what differs once anything is committed to a table, asked as cheaply as can be."""
    return lake.pointer(table) or str(lake.head(table).snapshot_id)


@lru_cache(maxsize=_KEPT)
def _belonging_of(of: _Of) -> Belonging:
    """Return where filed rows belong by the newest snapshots, which the key names."""
    return belonging_at(of.lake, last_published(of.lake, NAMES))


def owned(lake: Lake, rows: pa.Table, whose: Belonging) -> pa.Table:
    """Return normalized rows under the instruments they belong to."""
    if not whose.names or not rows.num_rows:
        return rows
    imports: set[str] = set()
    if "delivered_at" not in rows.column_names:
        for provider in rows["provider"].unique().to_pylist():
            imports |= {name for name, kind in kinds_of(lake, provider).items() if kind is CaptureKind.IMPORT}
    at = rows.schema.get_field_index("instrument_id")
    return rows.set_column(at, rows.schema.field(at), whose.owners(rows, frozenset(imports)))


def renamed_between(lake: Lake, before: Vector, after: Vector) -> set[int]:
    """Return the instruments whose rows changes and joins published between two positions may have moved."""
    if all(before.get(name) == after.get(name) for name in NAMES):
        return set()
    now = belonging_at(lake, after)
    then = belonging_at(lake, before)
    moved = {filed[0] for filed in now.differing(then)}
    return now.holders(moved) | then.holders(moved)


@lru_cache(maxsize=_KEPT)
def _belonging(of: _Of, position: tuple[tuple[str, int], ...]) -> Belonging:
    told = dict(position)
    versions = {name: _versions(of.lake, name, moment_of(told[name])) if name in told else [] for name in NAMES}
    eras = _eras(*(_newest(versions[name], name) for name in NAMES))
    changes = [{**row, "end_date": None} for row in versions[SYMBOL_CHANGES]]
    ever = [_eras(changes, joins) for joins in _turns(versions[INSTRUMENT_JOINS])]
    listings = read(of.lake, _LISTINGS, ["instrument_id", "provider", "symbol", "mic"])
    known = read(of.lake, "reference.instruments", ["instrument_id", "identity"])
    return belonging(listings.join(known, "instrument_id", join_type="left outer"), eras, ever)


def _eras(changes: Iterable[dict[str, Any]], joins: Iterable[dict[str, Any]]) -> SymbolEras:
    """Return the eras that follow from rows of both tables; a change that ended is withdrawn."""
    told = [
        Change(row["scope"], row["start_date"], row["old_symbol"], row["new_symbol"])
        for row in changes
        if row["end_date"] is None
    ]
    found = [Join(row["identity"], row["start_date"] or date.min, row["end_date"], row["joined_identity"]) for row in joins]
    return symbol_eras(frozenset(told), frozenset(found))


def _versions(lake: Lake, name: str, as_of: datetime | None) -> list[dict[str, Any]]:
    """Return every version in force of each fact of a reference table, by known_at."""
    table = table_named(name)
    rows = read(lake, name, [*table.column_names, PUBLISHED_AT], as_of=as_of)
    return effective(table, rows).sort_by([("known_at", "ascending")]).to_pylist() if rows.num_rows else []


def _turns(joins: Iterable[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    """Return joins as they were told first, as told next, and so on: each version stands in one of the lists."""
    told: dict[object, list[dict[str, Any]]] = {}
    for row in joins:
        told.setdefault((row["provider"], row["feed"], row["identity"], row["start_date"]), []).append(row)
    count = max((len(versions) for versions in told.values()), default=1)
    return [[versions[min(number, len(versions) - 1)] for versions in told.values()] for number in range(count)]


def _newest(versions: Iterable[dict[str, Any]], name: str) -> list[dict[str, Any]]:
    """Return the newest version of each fact."""
    chain = [key for key in table_named(name).key if key != "known_at"]
    return list({tuple(row[key] for key in chain): row for row in versions}.values())
