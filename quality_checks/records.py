"""Rows of our own history that promotion writes at once: quarantine, findings, gate runs, lineage.

Each is written before the publish it belongs to, so that a crash between the two leaves a record too many, never one too
few; the repetition finds the record by its key and writes nothing. No gate, no audit branch: these tables judge, they are
not judged.
"""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl
import pyarrow as pa

from lake.catalog import Lake
from lake.commits import append
from lake.conditions import Where
from lake.errors import CommitConflictError
from lake.scan import read

OWNER = "promotion"
"""Who owns these rows in the tables' positions; the vector counts the appends."""
_APPENDS = "appends"
_ATTEMPTS = 20
_MOST_NAMED = 500
"""Beyond so many event ids a query that names each is slower than one that reads all findings of the kinds."""


def record(lake: Lake, table: str, rows: pa.Table, run_id: str, key: Sequence[str], look: Where) -> int:
    """Append the rows whose `key` is not in `table` yet; returns how many.

    look   where rows of the same key would be found, like the captures or the run

    Safe to repeat, and beside other writers: a conflict is met by looking again. Raises CommitConflictError when
    somebody else was first 20 times in a row.
    """
    for _ in range(_ATTEMPTS):
        head = lake.head(table)
        new = without_known(rows, read(lake, table, list(key), [look]), key) if rows.num_rows else rows
        if new.num_rows == 0:
            return 0
        before = head.vector(OWNER)
        after = {_APPENDS: before.get(_APPENDS, 0) + 1}
        try:
            append(lake, table, new, OWNER, before, after, run_id, counts={"rows": new.num_rows})
        except CommitConflictError:
            continue  # somebody appended since the look; what they wrote may be ours
        return int(new.num_rows)
    raise CommitConflictError(f"{table}: {_ATTEMPTS} appends of run {run_id} met somebody else's commit")


def record_quarantine(lake: Lake, rows: pa.Table, run_id: str) -> int:
    """Append rows of quality.quarantine whose (event_id, rule) is not there yet; returns how many."""
    captures = rows["capture_id"].unique().to_pylist()
    return record(lake, "quality.quarantine", rows, run_id, ("event_id", "rule"), Where("capture_id", "in", captures))


def record_findings(lake: Lake, rows: pa.Table, run_id: str) -> int:
    """Append rows of quality.findings whose (event_id, kind) is not there yet; returns how many."""
    events = rows["event_id"].unique().to_pylist()
    look = Where("event_id", "in", events)
    if len(events) > _MOST_NAMED:
        look = Where("kind", "in", rows["kind"].unique().to_pylist())
    return record(lake, "quality.findings", rows, run_id, ("event_id", "kind"), look)


def without_known(rows: pa.Table, known: pa.Table, key: Sequence[str]) -> pa.Table:
    """Return the rows whose key is neither in `known` nor stands earlier in `rows`; order kept."""
    numbered = pl.DataFrame({name: pl.from_arrow(rows[name]) for name in key}).with_row_index("row")
    fresh = numbered.unique(subset=list(key), keep="first", maintain_order=True)
    if known.num_rows:
        seen = pl.DataFrame({name: pl.from_arrow(known[name]) for name in key})
        fresh = fresh.join(seen, on=list(key), how="anti", nulls_equal=True, maintain_order="left")
    return rows.take(fresh["row"].to_arrow())
