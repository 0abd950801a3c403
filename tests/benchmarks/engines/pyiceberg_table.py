"""PyIceberg's own append, as its manual shows it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.table import Table

from lake.tables import table_named
from tests.benchmarks.engines import ORDER


def as_it_came(folder: Path, rows: pa.Table) -> Callable[[], int]:
    """Return what appends the rows in their order of arrival."""
    table = _table(folder)

    def run() -> int:
        table.append(rows)
        return rows.num_rows

    return run


def sorted_first(folder: Path, rows: pa.Table) -> Callable[[], int]:
    """Return what sorts the rows and appends them."""
    table = _table(folder)

    def run() -> int:
        table.append(rows.take(pc.sort_indices(rows, sort_keys=[(name, "ascending") for name in ORDER])))
        return rows.num_rows

    return run


def _table(folder: Path) -> Table:
    catalog = SqlCatalog("bench", uri=f"sqlite:///{folder}/catalog.db", warehouse=f"file://{folder}/warehouse")
    catalog.create_namespace("bench")
    return catalog.create_table("bench.trades", table_named("normalized.trades").iceberg_schema())
