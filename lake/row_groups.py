"""Few rows out of big files: the row groups that a question can touch, read past DuckDB, columns found by field id.

DuckDB plans a query, opens the file and starts its tasks anew each time: 2 to 7 ms for one instrument's day, more than
reading its rows takes. Here footers are kept (a data file never changes), row groups are pruned by their bounds, and a
column whose bounds are equal in a group is not read at all but repeated. Texts are read as dictionaries and spelled
out for the rows that are wanted only.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from lake.conditions import as_bound
from lake.durable import place_of, readable
from lake.plans import PRUNED_TYPES, Condition, Mask, may_hold
from lake.settings import OBJECT_STORE
from lake.tables import Column, Encoding, Table

_FILES_KEPT = 512
_LOWEST, _HIGHEST = np.iinfo(np.int64).min, np.iinfo(np.int64).max
Narrow = Callable[[pa.Table], pa.Table]


@dataclass(slots=True)
class Footer:
    """What is known of one data file without reading its rows."""

    path: str
    metadata: pq.FileMetaData
    places: dict[int, tuple[int, str, pa.DataType]]
    """Field id → (number of the column, its name in the file, its type there)."""
    rows: np.ndarray[Any, np.dtype[np.int64]]
    _fits: Table | None = None
    _bounds: dict[int, tuple[Any, Any] | None] = field(default_factory=dict)
    _constants: dict[tuple[int, int], pa.Scalar | None] = field(default_factory=dict)

    def groups(self, table: Table, conditions: Sequence[Condition]) -> list[int]:
        """Return the row groups that may hold rows satisfying all of `conditions`."""
        mask: Mask = np.ones(len(self.rows), dtype=np.bool_)
        for condition in conditions:
            column = table.column(condition.column)
            bounds = self._bounds_of(column) if column.type in PRUNED_TYPES and column.type != "string" else None
            if bounds is not None:
                mask &= may_hold(*bounds, condition, is_cut=False)
        return [int(number) for number in np.flatnonzero(mask)]

    def is_as_defined(self, table: Table) -> bool:
        """Return whether each column has the name and type in the file that the table gives it now."""
        if self._fits is not table:
            found = [self.places.get(one.field_id, (0, "", None))[1:] for one in table.columns]
            if found != [(one.name, one.arrow_type) for one in table.columns]:
                return False
            self._fits = table
        return True

    def constant(self, column: Column, group: int) -> pa.Scalar | None:
        """Return the one value (or null) that a column has in all rows of a group; None when it may have several."""
        key = (column.field_id, group)
        if key not in self._constants:
            self._constants[key] = self._constant(column, group)
        return self._constants[key]

    def _constant(self, column: Column, group: int) -> pa.Scalar | None:
        place = self.places.get(column.field_id)
        if place is None:
            return pa.scalar(None, column.arrow_type)
        statistics = self.metadata.row_group(group).column(place[0]).statistics
        if statistics is None or not statistics.has_null_count:
            return None
        if statistics.null_count == self.rows[group]:
            return pa.scalar(None, column.arrow_type)
        # Bounds that were cut short differ: the upper one is cut upwards.
        is_one = not statistics.null_count and statistics.has_min_max and statistics.min == statistics.max
        return pa.scalar(statistics.min, place[2]).cast(column.arrow_type) if is_one and column.type != "double" else None

    def _bounds_of(self, column: Column) -> tuple[Any, Any] | None:
        """Return arrays (lower, upper) over the row groups; None when the file does not tell."""
        if column.field_id not in self._bounds:
            place = self.places.get(column.field_id)
            self._bounds[column.field_id] = None if place is None else self._read_bounds(place[0])
        return self._bounds[column.field_id]

    def _read_bounds(self, number: int) -> tuple[Any, Any]:
        lower = np.full(len(self.rows), _LOWEST, dtype=np.int64)
        upper = np.full(len(self.rows), _HIGHEST, dtype=np.int64)
        for group in range(len(self.rows)):
            statistics = self.metadata.row_group(group).column(number).statistics
            if statistics is not None and statistics.has_min_max and isinstance(statistics.min, (int, date, datetime)):
                lower[group], upper[group] = as_bound(statistics.min), as_bound(statistics.max)
        return lower, upper


class Footers:
    """Footers of data files, by path, `most` of them; for every thread of the process."""

    most = _FILES_KEPT

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._footers: OrderedDict[str, Footer] = OrderedDict()

    def footer(self, path: str) -> Footer:
        """Return what is known of a data file. Raises FileNotFoundError, or another OSError when it is no Parquet."""
        with self._lock:
            found = self._footers.get(path)
            if found is not None:
                self._footers.move_to_end(path)
                return found
        made = read_footer(path)
        with self._lock:
            self._footers[path] = made
            while len(self._footers) > self.most:
                self._footers.popitem(last=False)
        return made


@contextmanager
def opened(path: str, **options: Any) -> Iterator[pq.ParquetFile]:
    """Open a data file of a folder or an object store."""
    if path.startswith(OBJECT_STORE):
        with pq.ParquetFile(**readable(place_of(path)), **options) as file:
            yield file
        return
    with pa.memory_map(path) as source, pq.ParquetFile(source, **options) as file:
        yield file


def read_footer(path: str) -> Footer:
    """Return what is known of a data file, read anew."""
    with opened(path) as file:
        metadata, schema = file.metadata, file.schema_arrow
    places = {
        int(one.metadata[b"PARQUET:field_id"]): (number, one.name, one.type)
        for number, one in enumerate(schema)
        if one.metadata and b"PARQUET:field_id" in one.metadata
    }
    rows = np.array([metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)], dtype=np.int64)
    return Footer(path, metadata, places, rows)


def read_groups(
    footer: Footer,
    table: Table,
    groups: Sequence[int],
    columns: Sequence[str],
    narrow: Narrow | None = None,
    looked_at: Sequence[str] = (),
) -> list[pa.Table]:
    """Return the rows of row groups that `narrow` keeps, one table a group, columns and types as the table defines them.

    narrow      takes a group's rows, and returns some of them; None keeps all
    looked_at   which of `columns` it looks at; others that are the same in the whole group are added behind it
    """
    wanted = [table.column(name) for name in columns]
    texts = [
        footer.places[one.field_id][1]
        for one in wanted
        if one.type == "string" and one.encoding is Encoding.DICTIONARY and one.field_id in footer.places
    ]
    found = []
    with opened(footer.path, metadata=footer.metadata, pre_buffer=False, read_dictionary=texts or None) as file:
        for group in groups:
            constants = {one.name: footer.constant(one, group) for one in wanted}
            names = [footer.places[one.field_id][1] for one in wanted if constants[one.name] is None]
            rows = file.read_row_group(group, columns=names, use_threads=len(names) > 1)
            count = int(footer.rows[group])
            if narrow is not None:
                seen = [one for one in wanted if constants[one.name] is None or one.name in looked_at]
                if not seen:
                    raise ValueError(f"{table.name}: nothing for `narrow` to look at among {list(columns)}")
                rows = narrow(_whole(footer, rows, seen, constants, count))
                found.append(_spelled(rows, wanted, constants))
            else:
                found.append(_whole(footer, rows, wanted, constants, count, spelled=True))
    return found


def _whole(
    footer: Footer,
    read: pa.Table,
    wanted: Sequence[Column],
    constants: dict[str, pa.Scalar | None],
    count: int,
    *,
    spelled: bool = False,
) -> pa.Table:
    """Return the columns read and those that are constant, under the table's names; `spelled`: in its types too."""
    arrays = []
    for column in wanted:
        constant = constants[column.name]
        if constant is None:
            values = read.column(footer.places[column.field_id][1])
            arrays.append(in_type(values, column.arrow_type) if spelled else values)
        elif not spelled and column.type in ("string", "binary"):
            arrays.append(pa.DictionaryArray.from_arrays(np.zeros(count, dtype=np.int32), pa.array([constant])))
        else:
            arrays.append(pa.repeat(constant, count))
    return pa.table(arrays, names=[column.name for column in wanted])


def _spelled(rows: pa.Table, wanted: Sequence[Column], constants: dict[str, pa.Scalar | None]) -> pa.Table:
    """Return narrowed rows in the types of the table, with the columns that were left out for being constant."""
    arrays = []
    for column in wanted:
        constant = constants[column.name]
        arrays.append(
            in_type(rows.column(column.name), column.arrow_type) if constant is None else pa.repeat(constant, rows.num_rows)
        )
    return pa.table(arrays, names=[column.name for column in wanted])


def in_type(values: pa.ChunkedArray, kind: pa.DataType) -> pa.ChunkedArray:
    """Return values in a type, as they are where they have it."""
    return values if values.type == kind else values.cast(kind)
