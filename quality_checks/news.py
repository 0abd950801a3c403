"""What in a batch is new: compared with main (or with what a rebuild has replayed so far) by the keys of the facts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

import pyarrow as pa
import pyarrow.compute as pc

from lake.catalog import Lake
from lake.conditions import Where
from lake.scan import read
from lake.tables import table_named
from quality_checks.rules import event_ids, finding_rows, quarantine_rows
from transforms.feeds import FEEDS
from transforms.revisions import distinct_facts, effective, resolve_revisions

CONFLICT = "conflicting_duplicate"
UNORDERED = "unordered_version"
_WHOLE = frozenset({"normalized.corporate_actions", "normalized.news"})
"""Few rows, and a revision may come under another instrument: compared with all of the provider's."""
_STATE_FEEDS = frozenset(key for key, feed in FEEDS.items() if feed.tells_state)
_UNITS = {key: feed.coarse_ns for key, feed in FEEDS.items() if feed.coarse_ns > 1}

Existing = Callable[[str, pa.Table], pa.Table]
"""(table, new rows) -> effective rows already there that may share a key with them; more do no harm."""


@dataclass(frozen=True, slots=True)
class News:
    """(rows - moved) + repeated + refused = the rows given. `findings` tell of restatements.

    moved   rows of `rows` published before, which a late arrival places anew on the timeline of knowledge
    """

    rows: pa.Table
    repeated: int
    moved: int
    refused: pa.Table
    findings: pa.Table


def existing_on_main(lake: Lake) -> Existing:
    """Return a reader of main's rows that may share a key with new ones: touched partitions, instruments and sequences."""

    def existing(table: str, new: pa.Table) -> pa.Table:
        definition = table_named(table)
        columns = list(definition.column_names)
        if not definition.is_revised:
            return read(lake, table, columns, touched(table, new))
        return effective(definition, read(lake, table, [*columns, "published_at"], touched(table, new)))

    return existing


def touched(table: str, new: pa.Table) -> list[Where]:
    """Return where main's rows stand that may share a key with `new`."""
    where = [Where("provider", "in", new["provider"].unique().to_pylist())]
    if table in _WHOLE:
        return where
    if table_named(table).namespace == "reference":
        return [*where, Where("feed", "in", new["feed"].unique().to_pylist())]
    if new["instrument_id"].null_count == 0:
        where.append(Where("instrument_id", "in", new["instrument_id"].unique().to_pylist()))
    if "interval" in new.column_names:
        where.append(Where("interval", "in", new["interval"].unique().to_pylist()))
    if table_named(table).is_revised:
        return where  # a chain is compared over all its time
    where.append(Where("session_date", "in", new["session_date"].unique().to_pylist()))
    bounds = pc.min_max(new["sequence"]).as_py()
    if bounds["min"] is not None and new["sequence"].null_count == 0:
        where += [Where("sequence", ">=", bounds["min"]), Where("sequence", "<=", bounds["max"])]
    return where


def news_of(table: str, rows: pa.Table, existing: Existing, recorded_at: datetime, run_id: str) -> News:
    """Return what of `rows` (kept by the row rules) is to be published beside the existing rows, as run `run_id`."""
    no_findings = table_named("quality.findings").arrow_schema().empty_table()
    if rows.num_rows == 0:
        return News(rows, 0, 0, table_named("quality.quarantine").arrow_schema().empty_table(), no_findings)
    definition = table_named(table)
    known = existing(table, rows)
    if not definition.is_revised:
        distinct = distinct_facts(rows, known, definition, _STATE_FEEDS, _UNITS)
        told = "the content that its key has already"
        refused = _refused(table, distinct.conflicting, CONFLICT, told, recorded_at, run_id)
        return News(distinct.rows, distinct.repeated, 0, refused, no_findings)
    found = resolve_revisions(rows, known, definition)
    refused = _refused(table, found.refused, UNORDERED, "a delivery instant after the version before", recorded_at, run_id)
    findings = _restatements(table, found.restated, recorded_at, run_id)
    return News(stamped(table, found.rows, run_id), found.repeated, found.moved, refused, findings)


def stamped(table: str, rows: pa.Table, run_id: str) -> pa.Table:
    """Return rows with `run_id` in the column of that name, where the table has it."""
    if "run_id" not in rows.column_names:
        return rows
    at = rows.schema.get_field_index("run_id")
    return rows.set_column(at, table_named(table).arrow_schema().field("run_id"), pa.repeat(run_id, rows.num_rows))


def _refused(table: str, rows: pa.Table, rule: str, expected: str, recorded_at: datetime, run_id: str) -> pa.Table:
    values = pc.cast(rows["ts_recv" if "ts_recv" in rows.column_names else "known_at"], pa.string()).combine_chunks()
    return quarantine_rows(table, rows, rule, values, expected, recorded_at, run_id)


def _restatements(table: str, restated: pa.Table, recorded_at: datetime, run_id: str) -> pa.Table:
    detail = pc.binary_join_element_wise(
        restated["provider"], restated["feed"], pc.fill_null(restated["symbol"], "-"), " "
    ).combine_chunks()
    return finding_rows(
        event_ids(restated), "restatement", "warning", table, detail, recorded_at, run_id,
        provider=restated["provider"], instrument_id=restated["instrument_id"],
    )  # fmt: skip
