"""Every table, by name."""

from __future__ import annotations

from lake.errors import NotFoundError
from lake.tables import adjusted, normalized, ops, quality, raw, reference, reference_facts, status, subjects
from lake.tables.definition import Column, Encoding, PublishedBy, Quantity, Table, rows

TABLES: dict[str, Table] = {
    table.name: table
    for module in (raw, normalized, status, subjects, reference, reference_facts, adjusted, quality, ops)
    for table in module.TABLES
}

__all__ = ["TABLES", "Column", "Encoding", "PublishedBy", "Quantity", "Table", "rows", "table_named"]


def table_named(name: str) -> Table:
    """Return the table called `name`. Raises NotFoundError that lists what exists."""
    found = TABLES.get(name)
    if found is None:
        raise NotFoundError(f"no table {name!r}; there are {', '.join(sorted(TABLES))}")
    return found
