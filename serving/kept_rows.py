"""Rows read for one explanation, each group of them once: a value with fifty factors must not cost a thousand reads."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from lake import scan
from lake.catalog import Lake
from lake.scan import Where
from lake.tables import Table, table_named
from serving.bars import versions
from transforms.steps import derived_ids

REVISED = frozenset({"adjusted.agreed_bars", "adjusted.factors", "adjusted.built_bars"})
"""Derived tables that are appended to: of several rows with one key the one published last counts."""


class KeptRows:
    """Rows of one lake, kept once read."""

    def __init__(self, lake: Lake) -> None:
        self._lake = lake
        self._facts: dict[tuple[str, str, int], pa.Table] = {}
        self._derived: dict[tuple[str, object], pa.Table] = {}
        self._places: dict[tuple[str, object], dict[str, int]] = {}
        self._lineage: dict[str, list[dict[str, Any]]] = {}

    def matching(self, table: str, key: Mapping[str, object]) -> pa.Table:
        """Return the rows of a table with these values; not kept."""
        return scan.read(self._lake, table, where=[Where(name, "=", value) for name, value in key.items()])

    def fact(self, table: str, capture_id: str, message_seq: int, ordinal: int) -> pa.Table:
        """Return the row of one fact, or no row; all facts of its message are kept."""
        key = (table, capture_id, message_seq)
        if key not in self._facts:
            self._facts[key] = self.matching(table, {"capture_id": capture_id, "message_seq": message_seq})
        found = self._facts[key]
        return found.filter(pc.equal(found["ordinal"], ordinal))

    def of_instrument(self, table: str, instrument_id: object) -> pa.Table:
        """Return every row in force of one instrument in a derived table."""
        key = (table, instrument_id)
        if key not in self._derived:
            where = [Where("instrument_id", "=", instrument_id)]
            is_revised = table in REVISED
            rows = versions(self._lake, table, where, None, None) if is_revised else scan.read(self._lake, table, where=where)
            self._derived[key] = rows
            self._places[key] = {name: place for place, name in enumerate(derived_ids(table_named(table), rows).to_pylist())}
        return self._derived[key]

    def derived(self, table: Table, key: Mapping[str, object]) -> pa.Table:
        """Return the row in force with this key, or no row."""
        if "instrument_id" not in table.key:
            return self.matching(table.name, key).slice(0, 1)
        rows = self.of_instrument(table.name, key["instrument_id"])
        place = self._places[table.name, key["instrument_id"]].get(name_of(table, key))
        return rows.slice(0, 0) if place is None else rows.slice(place, 1)

    def lineage(self, name: str, run_id: object) -> list[dict[str, Any]]:
        """Return the inputs of one derived row, by the run that made it where that run said them."""
        self.keep_lineage([name])
        found = self._lineage[name]
        return [row for row in found if row["run_id"] == run_id] or found

    def keep_lineage(self, names: Collection[str]) -> None:
        """Read the inputs of several derived rows at once."""
        new = sorted(set(names) - set(self._lineage))
        if not new:
            return
        self._lineage.update({name: [] for name in new})
        for row in scan.read(self._lake, "ops.lineage", where=[Where("output_event_id", "in", new)]).to_pylist():
            self._lineage[row["output_event_id"]].append(row)


def name_of(table: Table, row: Mapping[str, object]) -> str:
    """Return the event id of a derived row from its key values."""
    columns = {name: pa.array([row[name]], table.column(name).arrow_type) for name in table.key}
    (name,) = derived_ids(table, pa.table(columns)).to_pylist()
    return str(name)
