"""Plans: which data files a snapshot has, and which of them a question can touch.

A plan is made once per snapshot and kept; only manifests not seen before are read. Paths, partition values and bounds
stand in arrays, so that pruning thousands of files takes microseconds. Bounds of texts are cut to 16 characters (the
lower one down, the upper one up): they can rule a file out, never in.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from pyiceberg.conversions import from_bytes
from pyiceberg.manifest import DataFile, ManifestContent
from pyiceberg.table import Table as IcebergTable
from pyiceberg.transforms import parse_transform
from pyiceberg.types import PrimitiveType

from lake.durable import place_of
from lake.errors import CommitUnknownError
from lake.tables import Table

Op = Literal["=", "in", ">=", "<", "<=", ">"]
Mask = np.ndarray[Any, np.dtype[np.bool_]]

PRUNED_TYPES = frozenset({"int", "long", "date", "timestamptz", "string"})
"""Types whose conditions bounds can decide."""
_LEAST, _MOST = np.iinfo(np.int64).min, np.iinfo(np.int64).max
_MOST_VALUES = 256
"""A longer list of values is pruned by its least and greatest only."""
_CUT = 16
"""Characters of a text that a bound keeps; the last one of an upper bound is raised."""
_SELECTIONS_KEPT, _SHORT_SELECTION = 1_024, 64
_PLANS_KEPT, _MANIFESTS_KEPT = 64, 4_096


@dataclass(frozen=True, slots=True)
class Condition:
    """What rows must satisfy, in the terms of bounds: ints for numbers, days for dates, microseconds for instants, texts.

    `values` has one value for every op but `in`. A condition on another type prunes nothing.
    """

    column: str
    op: Op
    values: tuple[int | str, ...]


@dataclass(slots=True)
class Plan:
    """The data files of one snapshot, in the order of its manifests."""

    table: Table
    snapshot_id: int
    files: tuple[DataFile, ...]
    paths: tuple[str, ...]
    _bounds: dict[str, tuple[Any, Any]] = field(default_factory=dict)
    _newest: frozenset[int] | None = None
    _selected: dict[tuple[Condition, ...], tuple[int, ...]] = field(default_factory=dict)

    def newest_session_files(self) -> frozenset[int]:
        """Return the numbers of the files of the last session_date; none where the table is not partitioned by it."""
        if self._newest is None:
            days = self.partition_values("session_date") or []
            last = max(days, default=None)
            self._newest = frozenset(number for number, day in enumerate(days) if day == last)
        return self._newest

    def select(self, conditions: Sequence[Condition]) -> list[int]:
        """Return the numbers of the files that may hold rows satisfying all of `conditions`."""
        asked = tuple(conditions)
        found = self._selected.get(asked)
        if found is None:
            mask: Mask = np.ones(len(self.files), dtype=np.bool_)
            for condition in asked:
                if len(self.files):
                    mask &= self._may_hold(condition)
            found = tuple(int(number) for number in np.flatnonzero(mask))
            if len(self._selected) >= _SELECTIONS_KEPT:
                self._selected.clear()
            if len(found) <= _SHORT_SELECTION and sum(len(one.values) for one in asked) <= _MOST_VALUES:
                self._selected[asked] = found
        return list(found)

    def partition_values(self, name: str) -> list[Any] | None:
        """Return each file's value of an identity-partitioned column as Iceberg stores it; None: not partitioned by it."""
        for number, (column, transform) in enumerate(self.table.partition):
            if column == name and transform == "identity":
                return [file.partition[number] for file in self.files]
        return None

    def misplaced(self) -> list[str]:
        """Return the paths of files that hold rows of another partition than the one they are listed in, by their bounds.

        Questions would miss these rows. Buckets are judged only where a file's lower and upper bound are the same.
        """
        found = []
        for number, (name, transform) in enumerate(self.table.partition):
            column = self.table.column(name)
            kind = column.iceberg_type
            assert isinstance(kind, PrimitiveType)
            apply = parse_transform(transform).transform(kind)
            for file, path in zip(self.files, self.paths, strict=True):
                low, high = (file.lower_bounds or {}).get(column.field_id), (file.upper_bounds or {}).get(column.field_id)
                if low is None or high is None or (transform.startswith("bucket") and low != high):
                    continue
                own = file.partition[number]
                bounds = {apply(from_bytes(kind, low)), apply(from_bytes(kind, high))}
                if not (_are_bounds_of(own, set(map(str, bounds))) if column.type == "string" else bounds == {own}):
                    found.append(path)
        return found

    def _may_hold(self, condition: Condition) -> Mask:
        column = self.table.column(condition.column)
        if column.type not in PRUNED_TYPES:
            return np.ones(len(self.files), dtype=np.bool_)
        lower, upper = self.bounds(condition.column)
        mask = may_hold(lower, upper, condition, is_cut=column.type == "string")
        return mask & self._bucket_holds(condition) if condition.op in ("=", "in") else mask

    def _bucket_holds(self, condition: Condition) -> Mask:
        mask: Mask = np.ones(len(self.files), dtype=np.bool_)
        if len(condition.values) > _MOST_VALUES:
            return mask
        for number, (column, transform) in enumerate(self.table.partition):
            if column == condition.column and transform.startswith("bucket"):
                apply = parse_transform(transform).transform(self.table.column(column).iceberg_type)
                wanted = {apply(value) for value in condition.values}
                mask &= np.fromiter((file.partition[number] in wanted for file in self.files), np.bool_, len(self.files))
        return mask

    def bounds(self, name: str) -> tuple[Any, Any]:
        """Return arrays (lower, upper) of a column, each file's values within them; unknown bounds are as wide as can be."""
        found = self._bounds.get(name)
        if found is None:
            found = self._bounds[name] = self._made_bounds(name)
        return found

    def _made_bounds(self, name: str) -> tuple[Any, Any]:
        column = self.table.column(name)
        partition = self.partition_values(name)
        kind = column.iceberg_type
        assert isinstance(kind, PrimitiveType)
        is_text = column.type == "string"
        lowest, highest = ("", _AboveAll()) if is_text else (_LEAST, _MOST)
        lower, upper = [], []
        for number, file in enumerate(self.files):
            if partition is not None and partition[number] is not None:
                lower.append(partition[number])
                upper.append(partition[number])
                continue
            low, high = (file.lower_bounds or {}).get(column.field_id), (file.upper_bounds or {}).get(column.field_id)
            lower.append(lowest if low is None else from_bytes(kind, low))
            upper.append(highest if high is None else from_bytes(kind, high))
        if is_text:
            return np.array(lower, dtype=object), np.array(upper, dtype=object)
        return np.array(lower, dtype=np.int64), np.array(upper, dtype=np.int64)


def _are_bounds_of(text: object, bounds: set[str]) -> bool:
    """Return whether bounds are those of one text, which are cut to its first characters where it is long."""
    whole = str(text)
    return all(bound == whole or (len(bound) == _CUT <= len(whole) and bound[:-1] == whole[: _CUT - 1]) for bound in bounds)


class _AboveAll:
    """A text's upper bound that is not known: no text is above it."""

    def __ge__(self, other: object) -> bool:
        return True

    def __gt__(self, other: object) -> bool:
        return True


def may_hold(lower: Any, upper: Any, condition: Condition, *, is_cut: bool) -> Mask:
    """Return which of the ranges [lower, upper] may hold a value satisfying a condition.

    is_cut   bounds may be cut to their first characters, so that a value equal to one may lie beyond it
    """
    mask: Mask
    if condition.op == "in" and len(condition.values) > _MOST_VALUES:
        return np.asarray((lower <= max(condition.values)) & (upper >= min(condition.values)), dtype=np.bool_)
    if condition.op in ("=", "in"):
        mask = np.zeros(len(lower), dtype=np.bool_)
        for value in condition.values:
            mask |= (lower <= value) & (upper >= value)
        return mask
    (value,) = condition.values
    if condition.op in ("<", "<="):
        return np.asarray(lower <= value if condition.op == "<=" else lower < value, dtype=np.bool_)
    return np.asarray(upper > value if condition.op == ">" and not is_cut else upper >= value, dtype=np.bool_)


class PlanCache:
    """Plans by table and snapshot, and the entries of manifests; for every thread of the process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._plans: OrderedDict[tuple[str, int], Plan] = OrderedDict()
        self._manifests: OrderedDict[str, tuple[DataFile, ...]] = OrderedDict()
        self._located: OrderedDict[str, Plan] = OrderedDict()

    def plan_at(self, table: Table, location: str | None, load: Callable[[], IcebergTable]) -> Plan:
        """Return the plan of main's head where the catalog points to `location`, loading the table only when it is new.

        location   the table's metadata file, which never changes; None: not known, so the table is loaded
        """
        with self._lock:
            found = None if location is None else self._located.get(location)
        if found is None:
            iceberg = load()
            found = self.plan(table, iceberg)
            with self._lock:
                self._located[iceberg.metadata_location] = found
                while len(self._located) > _PLANS_KEPT:
                    self._located.popitem(last=False)
        return found

    def plan(self, table: Table, iceberg: IcebergTable) -> Plan:
        """Return the plan of main's head of `iceberg` as loaded.

        Raises CommitUnknownError when it has delete files: somebody else wrote them, and rows would come back.
        """
        snapshot = iceberg.current_snapshot()
        if snapshot is None:
            raise CommitUnknownError(f"main of {table.name} has no snapshot")
        key = (str(iceberg.metadata.table_uuid), snapshot.snapshot_id)
        with self._lock:
            found = self._plans.get(key)
            if found is None:
                files: list[DataFile] = []
                for manifest in snapshot.manifests(iceberg.io):
                    if manifest.content == ManifestContent.DELETES:
                        raise CommitUnknownError(
                            f"{table.name} has delete files in {manifest.manifest_path}: a foreign writer deleted rows;"
                            " rewrite the table without them (copy-on-write) before it is read"
                        )
                    files.extend(self._entries(iceberg, manifest))
                found = Plan(table, snapshot.snapshot_id, tuple(files), tuple(str(place_of(file.file_path)) for file in files))
                self._plans[key] = found
            self._plans.move_to_end(key)
            while len(self._plans) > _PLANS_KEPT:
                self._plans.popitem(last=False)
            return found

    def _entries(self, iceberg: IcebergTable, manifest: Any) -> tuple[DataFile, ...]:
        path = str(manifest.manifest_path)
        found = self._manifests.get(path)
        if found is None:
            entries = manifest.fetch_manifest_entry(iceberg.io, discard_deleted=True)
            found = self._manifests[path] = tuple(entry.data_file for entry in entries)
        self._manifests.move_to_end(path)
        while len(self._manifests) > _MANIFESTS_KEPT:
            self._manifests.popitem(last=False)
        return found

    def forget(self, plan: Plan) -> None:
        """Drop a plan whose files turned out to be gone."""
        with self._lock:
            for key in [key for key, kept in self._plans.items() if kept is plan]:
                del self._plans[key]
            for location in [location for location, kept in self._located.items() if kept is plan]:
                del self._located[location]
