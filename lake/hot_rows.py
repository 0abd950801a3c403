"""The newest session in memory: whole data files as Arrow columns, with an index from instrument to its rows.

What is kept is the content of a *file*, and files never change. Which files an answer is made of is decided by the plan
of main's head, as for any answer; so a kept row can be too many or too old never, and a commit needs no invalidation:
the next plan has other files, and only the new ones are read. A file is taken into memory once questions decoded as
many of its rows as it has, so keeping costs at most as much again as not keeping did.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from lake.row_groups import Footer, read_groups
from lake.tables import Table

_SLICES_KEPT = 1_024
"""A file; each takes some 6 kB of its own, whatever its rows."""
_ROW_BYTES = 150
"""What a row of a few dozen columns takes, for deciding before it is read."""


@dataclass(frozen=True, slots=True)
class HotFile:
    """The rows of one data file, in its order.

    schema      of the table
    columns     whole columns; one that is the same in all rows is only as long as the longest run
    runs        value of the order's first column → (first row, behind the last)
    """

    schema: pa.Schema
    columns: Mapping[str, pa.Array]
    runs: Mapping[int, tuple[int, int]]
    constant: frozenset[str]
    size: int
    _sliced: dict[tuple[int, tuple[str, ...]], pa.Table] = field(default_factory=dict, compare=False, repr=False)

    def slice(self, value: int, names: tuple[str, ...]) -> pa.Table | None:
        """Return the rows of one value of the leading column, without copying; None when there are none.

        What was sliced is kept: twenty slices are views of the same memory, but making them takes longer than all else.
        """
        found = self._sliced.get((value, names))
        if found is not None:
            return found
        run = self.runs.get(value)
        if run is None:
            return None
        first, length = run[0], run[1] - run[0]
        columns, constant = self.columns, self.constant
        arrays = [columns[name].slice(0 if name in constant else first, length) for name in names]
        made = pa.Table.from_arrays(arrays, schema=pa.schema([self.schema.field(name) for name in names]))
        if len(self._sliced) >= _SLICES_KEPT:
            self._sliced.clear()
        self._sliced[value, names] = made
        return made


class HotRows:
    """Files in memory, the least recently asked leaves first; for every thread of the process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, HotFile] = OrderedDict()
        self._decoded: dict[str, int] = {}
        self._loading: set[str] = set()
        self._size = 0

    def kept(self, path: str) -> HotFile | None:
        """Return a file's rows, if they are in memory."""
        with self._lock:
            found = self._kept.get(path)
            if found is not None:
                self._kept.move_to_end(path)
            return found

    def note(self, table: Table, footer: Footer, decoded: int, budget: int) -> None:
        """Count rows decoded for a question, and take the file into memory when that was worth as much already."""
        count = int(footer.rows.sum())
        with self._lock:
            self._decoded[footer.path] = self._decoded.get(footer.path, 0) + decoded
            is_due = self._decoded[footer.path] >= count and footer.path not in self._loading
            if not is_due or count * _ROW_BYTES > budget or footer.path in self._kept:
                return
            self._loading.add(footer.path)
        try:
            self.keep(table, footer, budget)
        finally:
            with self._lock:
                self._loading.discard(footer.path)
                self._decoded.pop(footer.path, None)

    def keep(self, table: Table, footer: Footer, budget: int) -> int:
        """Read a whole file into memory; return its size in bytes, 0 when it is not kept (not in order, or too large)."""
        made = _load(table, footer)
        if made is None or made.size > budget:
            return 0
        with self._lock:
            before = self._kept.pop(footer.path, None)
            self._size += made.size - (before.size if before else 0)
            self._kept[footer.path] = made
            while self._size > budget:
                _, gone = self._kept.popitem(last=False)
                self._size -= gone.size
        return made.size

    def size(self) -> int:
        """Return the bytes held."""
        return self._size


def _load(table: Table, footer: Footer) -> HotFile | None:
    if not footer.rows.sum():
        return None
    leading = _whole(table, footer, table.order[0])
    if leading.null_count or not pa.types.is_integer(leading.type):
        return None
    values = leading.to_numpy()
    if np.any(values[1:] < values[:-1]):
        return None
    starts = np.flatnonzero(np.diff(values, prepend=values[0] - 1))
    ends = np.append(starts[1:], len(values))
    longest = int((ends - starts).max())
    columns, constant = {}, set()
    for column in table.columns:
        kinds = {footer.constant(column, group) for group in range(len(footer.rows))}
        if len(kinds) == 1 and None not in kinds:
            constant.add(column.name)
            columns[column.name] = pa.repeat(kinds.pop(), longest)
        else:
            columns[column.name] = leading if column.name == table.order[0] else _whole(table, footer, column.name)
    runs = dict(zip(values[starts].tolist(), zip(starts.tolist(), ends.tolist(), strict=True), strict=True))
    size = sum(one.nbytes for one in columns.values()) + 200 * len(runs)
    return HotFile(table.arrow_schema(), columns, runs, frozenset(constant), size)


def _whole(table: Table, footer: Footer, name: str) -> pa.Array:
    """Return a whole column; one at a time, for row groups and their whole are in memory together meanwhile."""
    parts = read_groups(footer, table, range(len(footer.rows)), [name])
    return pa.concat_arrays([chunk for part in parts for chunk in part.column(name).chunks])
