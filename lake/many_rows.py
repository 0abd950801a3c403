"""Answers that are many rows: whole files, or what a condition leaves of them, straight from Parquet into Arrow.

The other way past DuckDB of `lake.scan.read`; what it gives is the same. Nothing is computed on the way, so an engine
only adds a conversion of every value: read so, four columns of a day take a third of the time.

Many small files are read by Polars, which begins a file ten times faster than Arrow does, where no column was renamed.
With conditions, the columns they speak of are read first, and the others only of the row groups that hold a row.

Decided 2026-11-21: DuckDB keeps the questions that compute (a past, joins to the ledger), conditions on numbers and
decimals, and objects in a store. The price is a third way to one answer, held to the others by a law in
tests/lake/test_many_rows.py.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial, reduce

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from lake.conditions import Where, mask_of
from lake.few_rows import FOOTERS, is_proven
from lake.plans import Condition, Plan
from lake.row_groups import Footer, in_type, opened
from lake.settings import OBJECT_STORE
from lake.tables import Table

_FEW_FILES, _SMALL_FILE = 4, 32_768
"""More files than these, of fewer rows than these on average, are not for Arrow: it takes 0.1 ms to begin a column."""
_GROUPS_AT_ONCE = 64
"""A million rows: what is looked at in one piece before most of it may be thrown away."""
_LOOKED_AT = frozenset({"string", "date", "timestamptz"})
"""Types whose conditions Arrow decides as DuckDB does, whatever the value."""


def many_rows(
    plan: Plan, numbers: Sequence[int], where: Sequence[Where], bounds: Sequence[Condition], columns: Sequence[str]
) -> list[pa.Table] | None:
    """Return tables with `columns`, all of the rows that satisfy `where`; None: not the way for it.

    numbers   files of the plan that may hold such rows

    Raises FileNotFoundError when a file is gone, another OSError or pa.ArrowException when it cannot be read.
    """
    table = plan.table
    rest = [one for one in where if not is_proven(table, one)]
    if not all(table.column(one.column).type in _LOOKED_AT for one in rest):
        return None
    paths = [plan.paths[number] for number in numbers]
    if any(path.startswith(OBJECT_STORE) for path in paths):
        return None
    if len(numbers) > _FEW_FILES and sum(plan.files[number].record_count for number in numbers) < len(numbers) * _SMALL_FILE:
        return None if rest else _small_files(table, paths, columns)
    read = partial(_read, table, rest, bounds, columns)
    workers = min(os.cpu_count() or 1, len(paths))
    if workers < 2:
        return [one for path in paths for one in read(path, spread=True)]
    with ThreadPoolExecutor(workers) as pool:
        return [one for parts in pool.map(partial(read, spread=False), paths) for one in parts]


def _small_files(table: Table, paths: Sequence[str], columns: Sequence[str]) -> list[pa.Table] | None:
    """Return the rows of many small files by Polars; None unless their columns are named and typed as the table's are now."""
    if len(paths) > FOOTERS.most or not all(FOOTERS.footer(path).is_as_defined(table) for path in paths):
        return None
    try:
        found = pl.read_parquet(list(paths), columns=list(columns), hive_partitioning=False, glob=False).to_arrow()
    except pl.exceptions.PolarsError as error:
        raise OSError(str(error)) from error
    return [pa.table([in_type(found.column(name), table.column(name).arrow_type) for name in columns], names=list(columns))]


def _read(
    table: Table, rest: Sequence[Where], bounds: Sequence[Condition], columns: Sequence[str], path: str, *, spread: bool
) -> list[pa.Table]:
    """Return the rows of one file; `spread` decodes its columns by several threads."""
    footer = FOOTERS.footer(path)
    groups = footer.groups(table, bounds)
    if not groups:
        return []
    with opened(path, metadata=footer.metadata, pre_buffer=False) as file:
        if not rest:
            return [_columns(file, footer, table, groups, columns, spread)]
        parts = [groups[first : first + _GROUPS_AT_ONCE] for first in range(0, len(groups), _GROUPS_AT_ONCE)]
        return [_satisfying(file, footer, table, part, columns, rest, spread) for part in parts]


def _satisfying(
    file: pq.ParquetFile,
    footer: Footer,
    table: Table,
    groups: Sequence[int],
    columns: Sequence[str],
    rest: Sequence[Where],
    spread: bool,
) -> pa.Table:
    """Return the rows of row groups that satisfy all conditions."""
    asked = tuple(dict.fromkeys(one.column for one in rest))
    looked = _columns(file, footer, table, groups, asked, spread)
    mask = pc.fill_null(reduce(pc.and_, [mask_of(table, one, looked) for one in rest]), False)
    if isinstance(mask, pa.ChunkedArray):
        mask = mask.combine_chunks()
    is_wanted = mask.to_numpy(zero_copy_only=False)
    starts = np.concatenate(([0], np.cumsum(footer.rows[list(groups)])))
    holding = [number for number in range(len(groups)) if is_wanted[starts[number] : starts[number + 1]].any()]
    others = [name for name in columns if name not in asked]
    kept = looked.filter(mask)
    found = {name: kept.column(name) for name in asked if name in columns}
    if others:
        rows = _columns(file, footer, table, [groups[number] for number in holding], others, spread)
        inside = np.concatenate([is_wanted[starts[number] : starts[number + 1]] for number in holding] or [is_wanted[:0]])
        rows = rows if inside.all() else rows.filter(pa.array(inside))
        found |= {name: rows.column(name) for name in others}
    return pa.table([found[name] for name in columns], names=list(columns))


def _columns(
    file: pq.ParquetFile, footer: Footer, table: Table, groups: Sequence[int], columns: Sequence[str], spread: bool
) -> pa.Table:
    """Return whole row groups, columns and types as the table defines them; a column of one value is not read."""
    count = int(footer.rows[list(groups)].sum())
    wanted = [table.column(name) for name in columns]
    constants = {}
    for one in wanted:
        kinds = {footer.constant(one, group) for group in groups}
        if len(kinds) == 1 and None not in kinds:
            constants[one.name] = kinds.pop()
    names = [footer.places[one.field_id][1] for one in wanted if one.name not in constants and one.field_id in footer.places]
    read = file.read_row_groups(list(groups), columns=names, use_threads=spread) if names and groups else None
    arrays = []
    for one in wanted:
        if one.name in constants:
            arrays.append(pa.repeat(constants[one.name], count))
        elif read is None:
            arrays.append(pa.array([], one.arrow_type))
        else:
            arrays.append(in_type(read.column(footer.places[one.field_id][1]), one.arrow_type))
    return pa.table(arrays, names=list(columns))
