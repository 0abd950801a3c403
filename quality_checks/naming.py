"""Who symbols mean, as this lake's reference tables say: now, or at a past moment. Updates take effect with the next batch."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

from lake.catalog import Lake
from lake.scan import PUBLISHED_AT, read
from lake.tables import table_named
from transforms.decode.decoded import INSTRUMENT_JOINS, SYMBOL_CHANGES
from transforms.revisions import effective
from transforms.symbol_eras import Change, Join, SymbolEras, symbol_eras

NAMED_AT = "named_at_us"
"""In the counts of a batch whose symbols were read by changes or joins: as of when, in microseconds; a rebuild reads the same."""


def eras_known(lake: Lake, as_of: datetime | None = None) -> SymbolEras:
    """Return the eras of all names by the newest versions of changes and joins, as of a moment. Built once per content."""
    changes = [
        Change(row["scope"], row["start_date"], row["old_symbol"], row["new_symbol"])
        for row in _newest(lake, SYMBOL_CHANGES, as_of)
        if row["end_date"] is None
    ]
    joins = [
        Join(row["identity"], row["start_date"] or date.min, row["end_date"], row["joined_identity"])
        for row in _newest(lake, INSTRUMENT_JOINS, as_of)
    ]
    return symbol_eras(frozenset(changes), frozenset(joins))


def _newest(lake: Lake, name: str, as_of: datetime | None) -> list[dict[str, Any]]:
    """Return the newest version of each fact of a reference table."""
    table = table_named(name)
    rows = read(lake, name, [*table.column_names, PUBLISHED_AT], as_of=as_of)
    if rows.num_rows == 0:
        return []
    ordered = effective(table, rows).sort_by([("known_at", "ascending")])
    chain = [key for key in table.key if key != "known_at"]
    return list({tuple(row[key] for key in chain): row for row in ordered.to_pylist()}.values())
