"""Answers that are few rows: one instrument, or a handful, from memory or from the row groups that hold them.

The way past DuckDB of `lake.scan.read`; what it gives is the same. It is taken where a question fixes the first column
of a table's order (the instrument, nearly everywhere) and so few row groups can hold it that decoding them is cheaper
than starting a query.

Decided 2026-11-21: a query costs DuckDB milliseconds before it reads, more than one instrument's day takes. The price is
two ways to one answer, held together by a law in tests/lake/test_few_rows.py, and row groups of 16,384 rows, with which
files are 1.2 % larger than with 65,536.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lake.conditions import Where, mask_of, typed
from lake.hot_rows import HotRows
from lake.plans import Condition, Plan
from lake.row_groups import Footers, read_groups
from lake.tables import Table

_MOST_ROWS = 262_144
"""Rows of row groups beyond which DuckDB's parallel scan is the better way."""
_MOST_VALUES = 16
_MOST_FILES = 64
FOOTERS = Footers()
HOT = HotRows()


def few_rows(
    plan: Plan,
    numbers: Sequence[int],
    where: Sequence[Where],
    bounds: Sequence[Condition],
    columns: Sequence[str],
    hot_bytes: int,
) -> list[pa.Table] | None:
    """Return tables with `columns` and what `where` speaks of, all of the rows that satisfy it; None: not the way for it.

    numbers     files of the plan that may hold such rows
    hot_bytes   how much of the newest session may be kept in memory

    Raises FileNotFoundError when a file is gone, another OSError or pa.ArrowInvalid when it cannot be read.
    """
    table = plan.table
    keys = _keys(table, where)
    if keys is None or len(numbers) > _MOST_FILES:
        return None
    leading = table.order[0]
    rest = [one for one in where if one.column != leading and not is_proven(table, one)]
    names = tuple(dict.fromkeys([leading, *columns, *(one.column for one in rest)]))
    looked_at = [leading, *(one.column for one in rest)]
    newest = plan.newest_session_files() if hot_bytes else frozenset()
    found: list[pa.Table] = []
    cold = []
    for number in numbers:
        kept = HOT.kept(plan.paths[number]) if number in newest else None
        if kept is None:
            cold.append(number)
            continue
        for key in keys:
            rows = kept.slice(key, names)
            if rows is not None:
                found.append(satisfying(table, rows, rest))
    planned = []
    total = 0
    for number in cold:
        footer = FOOTERS.footer(plan.paths[number])
        groups = footer.groups(table, bounds)
        total += int(footer.rows[groups].sum())
        if total > _MOST_ROWS:
            return None
        planned.append((number, footer, groups))
    for number, footer, groups in planned:
        found.extend(read_groups(footer, table, groups, names, partial(_narrow, table, keys, rest), looked_at))
        if number in newest:
            HOT.note(table, footer, int(footer.rows[groups].sum()), hot_bytes)
    return found


def keep_newest(plan: Plan, hot_bytes: int) -> int:
    """Take the newest session's files into memory, as far as they fit; return the bytes they take."""
    total = 0
    for number in sorted(plan.newest_session_files()):
        if total < hot_bytes:
            total += HOT.keep(plan.table, FOOTERS.footer(plan.paths[number]), hot_bytes)
    return total


def _keys(table: Table, where: Sequence[Where]) -> list[int] | None:
    """Return the values that the leading column must have, or None when the question leaves it open."""
    if not table.order or table.column(table.order[0]).type not in ("int", "long"):
        return None
    column = table.column(table.order[0])
    sets = []
    for one in where:
        if one.column != column.name:
            continue
        if one.op == "=" and one.value is not None:
            sets.append({typed(column, one.value)})
        elif one.op == "in" and isinstance(one.value, (list, tuple, set, frozenset)):
            sets.append({typed(column, value) for value in one.value if value is not None})
        else:
            return None
    if not sets or min(map(len, sets)) > _MOST_VALUES:
        return None
    return sorted(set.intersection(*sets))


def is_proven(table: Table, where: Where) -> bool:
    """Return whether every file that a plan selects satisfies a condition as a whole: its partition is that value."""
    is_partition = (where.column, "identity") in table.partition and table.column(where.column).required
    return is_partition and where.op == "=" and where.value is not None


def _narrow(table: Table, keys: Sequence[int], rest: Sequence[Where], rows: pa.Table) -> pa.Table:
    """Return the rows of `keys` that satisfy the rest; a group whose leading column ascends is cut, not filtered."""
    leading = table.order[0]
    values = rows.column(leading).combine_chunks()
    if not values.null_count:
        numbers = values.to_numpy(zero_copy_only=False)
        if not np.any(numbers[1:] < numbers[:-1]):
            starts, ends = np.searchsorted(numbers, keys, "left"), np.searchsorted(numbers, keys, "right")
            parts = [rows.slice(start, end - start) for start, end in zip(starts.tolist(), ends.tolist(), strict=True)]
            rows = parts[0] if len(parts) == 1 else pa.concat_tables(parts) if parts else rows.slice(0, 0)
            return satisfying(table, rows, rest)
    return satisfying(table, rows, [Where(leading, "in", list(keys)), *rest])


def satisfying(table: Table, rows: pa.Table, where: Sequence[Where]) -> pa.Table:
    """Return the rows that satisfy all conditions."""
    for one in where:
        if rows.num_rows == 0:
            break
        mask = mask_of(table, one, rows)
        if mask.null_count or not pc.all(mask).as_py():
            rows = rows.filter(mask)
    return rows
