"""The publication ledger, and what a moment in the past could see.

A row was published when main first had it: the time of main's snapshot log. The ledger in the state database is
reconciled from that log and the summaries, one transaction a snapshot, after each publish, before each question and
before each expiry (which deletes log entries).

An answer about T must be the same for ever. A commit takes its time a few milliseconds before it lands, so one that was
still under way when T was asked about could carry an earlier time; such a publication is booked at T + 1 ms.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

import pyarrow as pa

from lake.catalog import Lake
from lake.errors import InvalidValueError
from lake.heads import ACT, COUNTS, HELD_RUN, INTERVAL, RANGES, REBUILD, RUN, UNBOOKED, Act, compact, ranges_of
from lake.instants import EPOCH, to_datetime, to_ns
from lake.tables import TABLES, PublishedBy, table_named
from lake.values import MessageRange, Vector

_MAKES_ROWS = (Act.APPEND.value, Act.PUBLISH.value, Act.RELEASE.value)
_NANOS_PER_MS = 1_000_000
LEDGER_SCHEMA = pa.schema(
    [
        ("table_name", pa.string()),
        ("owner", pa.string()),
        ("run_id", pa.string()),
        ("snapshot_id", pa.int64()),
        ("published_at", pa.timestamp("us", tz="UTC")),
        ("capture_id", pa.string()),
        ("first_seq", pa.int64()),
        ("last_seq", pa.int64()),
    ]
)


@dataclass(frozen=True, slots=True)
class Visibility:
    """What a table had published at a moment, in the terms its rows carry (`Table.published_by`).

    runs       RUN: rows of these run ids
    ranges     MESSAGE: rows of these messages; adjacent and overlapping ranges of a capture joined, in order
    as_of      RECORDED: rows with recorded_at <= this
    """

    table: str
    as_of: datetime
    published_by: PublishedBy
    runs: frozenset[str] = frozenset()
    ranges: tuple[MessageRange, ...] = ()


@dataclass(frozen=True, slots=True)
class Settled:
    """One entry of the ledger: a snapshot of main that settled an interval of an owner's offsets.

    act       append, publish, advance (an empty batch), release or reject; rebuilds and holds are not in the ledger
    run_id    the run named in the rows (of a release: the run that was held)
    """

    table: str
    snapshot_id: int
    act: Act
    owner: str
    run_id: str
    published_at: datetime
    before: Vector
    after: Vector
    counts: dict[str, int]
    ranges: tuple[MessageRange, ...]


def reconcile(lake: Lake, table: str) -> int:
    """Book every snapshot of main's log that the ledger does not have; return how many. Safe to repeat at any time."""
    metadata = lake.table(table).metadata
    logged = {entry.snapshot_id: entry.timestamp_ms for entry in metadata.snapshot_log}
    booked = lake.state.booked(table, list(logged))
    count = 0
    for snapshot_id, logged_at_ms in logged.items():
        snapshot = metadata.snapshot_by_id(snapshot_id)
        if snapshot_id in booked or snapshot is None or snapshot.summary is None:
            continue
        summary = snapshot.summary.additional_properties
        if summary.get(ACT, Act.CREATE) in UNBOOKED or summary.get(REBUILD) == "true":
            continue
        interval = json.loads(summary[INTERVAL])
        entry = {
            "table_name": table,
            "snapshot_id": snapshot_id,
            "act": summary[ACT],
            "owner": interval["owner"],
            "run_id": summary.get(HELD_RUN, summary[RUN]),
            "published_at_ms": logged_at_ms,
            "before": compact(interval["before"]),
            "after": compact(interval["after"]),
            "counts": summary.get(COUNTS, "{}"),
        }
        ranges = coalesced(ranges_of(summary.get(RANGES, "[]")))
        count += lake.state.book(entry, [(one.capture_id, one.first_seq, one.last_seq) for one in ranges])
    return count


def visible(lake: Lake, table: str, as_of: datetime) -> Visibility:
    """Return what `table` had published at `as_of`; asked again at any later time, the answer is the same.

    Raises InvalidValueError for a moment in the future: it cannot be answered for good yet.
    """
    definition = table_named(table)
    as_of_ns = to_ns(as_of)
    if as_of_ns > lake.clock():
        raise InvalidValueError(f"as_of {as_of.isoformat()} is in the future; now is {to_datetime(lake.clock()).isoformat()}")
    if definition.published_by is PublishedBy.RECORDED:
        return Visibility(table, as_of, definition.published_by)
    reconcile(lake, table)
    runs, ranges = lake.state.answer(table, as_of_ns // _NANOS_PER_MS, _MAKES_ROWS)
    if definition.published_by is PublishedBy.RUN:
        return Visibility(table, as_of, definition.published_by, runs=frozenset(runs))
    return Visibility(table, as_of, definition.published_by, ranges=coalesced(MessageRange(*one) for one in ranges))


def coalesced(ranges: Iterable[MessageRange]) -> tuple[MessageRange, ...]:
    """Return the same messages in the fewest ranges, by capture and number."""
    joined: list[MessageRange] = []
    for one in sorted(ranges, key=lambda item: (item.capture_id, item.first_seq, item.last_seq)):
        last = joined[-1] if joined else None
        if last is not None and last.capture_id == one.capture_id and one.first_seq <= last.last_seq + 1:
            joined[-1] = MessageRange(one.capture_id, last.first_seq, max(last.last_seq, one.last_seq))
        else:
            joined.append(one)
    return tuple(joined)


def publications(lake: Lake) -> pa.Table:
    """Return `ops.publications`: one row a publication and message range, of every table, in order of time.

    A publication without message ranges (derived rows) has one row whose capture_id is null.
    """
    for table in TABLES:
        reconcile(lake, table)
    rows = [{**row, "published_at": _of_ms(row["published_at_ms"])} for row in lake.state.published_ranges(_MAKES_ROWS)]
    return pa.Table.from_pylist(rows, schema=LEDGER_SCHEMA)


def ledger(lake: Lake, table: str, since: datetime | None = None) -> list[Settled]:
    """Return every ledger entry of a table in order of time, empty batches and rejects included: what `verify` adds up.

    since   only entries published then or later
    """
    reconcile(lake, table)
    entries, ranges = lake.state.ledger(table, 0 if since is None else to_ns(since) // _NANOS_PER_MS)
    return [
        Settled(
            table=table,
            snapshot_id=entry["snapshot_id"],
            act=Act(entry["act"]),
            owner=entry["owner"],
            run_id=entry["run_id"],
            published_at=_of_ms(entry["published_at_ms"]),
            before=json.loads(entry["before"]),
            after=json.loads(entry["after"]),
            counts=json.loads(entry["counts"]),
            ranges=tuple(MessageRange(*one) for one in ranges.get(entry["snapshot_id"], ())),
        )
        for entry in entries
    ]


def published_messages(lake: Lake, table: str, capture_id: str, from_seq: int) -> list[tuple[int, int]]:
    """Return (first, last) of message ranges of a capture that are on main of a table and reach to `from_seq` or beyond."""
    reconcile(lake, table)
    return lake.state.ranges_of_capture(table, capture_id, from_seq)


def has_published(lake: Lake, table: str, run_id: str) -> bool:
    """Return whether rows of a run are, or were, on main of a table."""
    reconcile(lake, table)
    return lake.state.has_run(table, run_id, _MAKES_ROWS)


def published_at(lake: Lake, table: str, snapshot_id: int) -> datetime | None:
    """Return when the ledger says a snapshot was published, or None when it is not in the ledger."""
    found = lake.state.published_at_ms(table, snapshot_id)
    return None if found is None else _of_ms(found)


def _of_ms(instant_ms: int) -> datetime:
    return EPOCH + timedelta(milliseconds=instant_ms)
