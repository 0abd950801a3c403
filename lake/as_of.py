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
from typing import Any, cast

import pyarrow as pa
import sqlalchemy as sa

from lake.catalog import Lake
from lake.errors import InvalidValueError
from lake.heads import ACT, COUNTS, HELD_RUN, INTERVAL, RANGES, REBUILD, RUN, Act, compact, ranges_of
from lake.instants import EPOCH, to_datetime, to_ns
from lake.state import ANSWERED, PUBLICATIONS
from lake.state import RANGES as LEDGER_RANGES
from lake.tables import TABLES, PublishedBy, table_named
from lake.values import MessageRange, Vector

_MAKES_ROWS = (Act.APPEND.value, Act.PUBLISH.value, Act.RELEASE.value)
_NANOS_PER_MS = 1_000_000
_SAME_SNAPSHOT = sa.and_(
    PUBLICATIONS.c.table_name == LEDGER_RANGES.c.table_name, PUBLICATIONS.c.snapshot_id == LEDGER_RANGES.c.snapshot_id
)
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
    with lake.state.reading() as connection:
        query = sa.select(PUBLICATIONS.c.snapshot_id).where(PUBLICATIONS.c.table_name == table)
        booked = set(connection.scalars(query.where(PUBLICATIONS.c.snapshot_id.in_(list(logged)))))
    count = 0
    for snapshot_id, logged_at_ms in logged.items():
        snapshot = metadata.snapshot_by_id(snapshot_id)
        if snapshot_id in booked or snapshot is None or snapshot.summary is None:
            continue
        summary = snapshot.summary.additional_properties
        if summary.get(ACT, Act.CREATE) in (Act.CREATE, Act.HOLD, Act.REBUILD) or summary.get(REBUILD) == "true":
            continue
        _book(lake, table, snapshot_id, logged_at_ms, summary)
        count += 1
    return count


def _book(lake: Lake, table: str, snapshot_id: int, logged_at_ms: int, summary: dict[str, str]) -> None:
    interval = compact_object(summary[INTERVAL])
    with lake.state.writing() as connection:
        same = (PUBLICATIONS.c.table_name == table, PUBLICATIONS.c.snapshot_id == snapshot_id)
        if connection.scalar(sa.select(PUBLICATIONS.c.snapshot_id).where(*same)) is not None:
            return
        answered_ms = connection.scalar(sa.select(ANSWERED.c.as_of_ms).where(ANSWERED.c.table_name == table))
        connection.execute(
            sa.insert(PUBLICATIONS).values(
                table_name=table,
                snapshot_id=snapshot_id,
                act=summary[ACT],
                owner=interval["owner"],
                run_id=summary.get(HELD_RUN, summary[RUN]),
                published_at_ms=logged_at_ms if answered_ms is None else max(logged_at_ms, answered_ms + 1),
                before=compact(interval["before"]),
                after=compact(interval["after"]),
                counts=summary.get(COUNTS, "{}"),
            )
        )
        ranges = {(one.capture_id, one.first_seq): one for one in ranges_of(summary.get(RANGES, "[]"))}
        if ranges:
            rows = [
                {
                    "table_name": table,
                    "snapshot_id": snapshot_id,
                    "capture_id": one.capture_id,
                    "first_seq": one.first_seq,
                    "last_seq": one.last_seq,
                }
                for one in ranges.values()
            ]
            connection.execute(sa.insert(LEDGER_RANGES), rows)


def compact_object(text: str) -> dict[str, Any]:
    """Return a JSON object of a summary."""
    return cast("dict[str, Any]", json.loads(text))


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
    as_of_ms = as_of_ns // _NANOS_PER_MS
    with lake.state.reading() as connection:
        answered_ms = connection.scalar(sa.select(ANSWERED.c.as_of_ms).where(ANSWERED.c.table_name == table))
        if answered_ms is not None and answered_ms >= as_of_ms:
            return _visible(connection, table, as_of, as_of_ms, definition.published_by)
    # The mark and the answer are one transaction: whatever is booked later lies after the mark.
    with lake.state.writing() as connection:
        connection.execute(sa.delete(ANSWERED).where(ANSWERED.c.table_name == table, ANSWERED.c.as_of_ms < as_of_ms))
        if connection.scalar(sa.select(ANSWERED.c.as_of_ms).where(ANSWERED.c.table_name == table)) is None:
            connection.execute(sa.insert(ANSWERED).values(table_name=table, as_of_ms=as_of_ms))
        return _visible(connection, table, as_of, as_of_ms, definition.published_by)


def _visible(connection: sa.Connection, table: str, as_of: datetime, as_of_ms: int, published_by: PublishedBy) -> Visibility:
    known = (
        PUBLICATIONS.c.table_name == table,
        PUBLICATIONS.c.published_at_ms <= as_of_ms,
        PUBLICATIONS.c.act.in_(_MAKES_ROWS),
    )
    if published_by is PublishedBy.RUN:
        runs = connection.scalars(sa.select(PUBLICATIONS.c.run_id).where(*known))
        return Visibility(table, as_of, published_by, runs=frozenset(runs))
    query = sa.select(LEDGER_RANGES.c.capture_id, LEDGER_RANGES.c.first_seq, LEDGER_RANGES.c.last_seq).join(
        PUBLICATIONS, _SAME_SNAPSHOT
    )
    ranges = (MessageRange(*row) for row in connection.execute(query.where(*known)))
    return Visibility(table, as_of, published_by, ranges=coalesced(ranges))


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
    query = (
        sa.select(
            PUBLICATIONS.c.table_name,
            PUBLICATIONS.c.owner,
            PUBLICATIONS.c.run_id,
            PUBLICATIONS.c.snapshot_id,
            PUBLICATIONS.c.published_at_ms,
            LEDGER_RANGES.c.capture_id,
            LEDGER_RANGES.c.first_seq,
            LEDGER_RANGES.c.last_seq,
        )
        .select_from(PUBLICATIONS.outerjoin(LEDGER_RANGES, _SAME_SNAPSHOT))
        .where(PUBLICATIONS.c.act.in_(_MAKES_ROWS))
        .order_by(PUBLICATIONS.c.published_at_ms, PUBLICATIONS.c.table_name, PUBLICATIONS.c.snapshot_id)
        .order_by(LEDGER_RANGES.c.capture_id, LEDGER_RANGES.c.first_seq)
    )
    with lake.state.reading() as connection:
        rows = connection.execute(query).mappings().all()
    told = [{**row, "published_at": _of_ms(row["published_at_ms"])} for row in rows]
    return pa.Table.from_pylist(told, schema=LEDGER_SCHEMA)


def ledger(lake: Lake, table: str) -> list[Settled]:
    """Return every ledger entry of a table in order of time, empty batches and rejects included: what `verify` adds up."""
    reconcile(lake, table)
    entries = sa.select(PUBLICATIONS).where(PUBLICATIONS.c.table_name == table)
    found: dict[int, list[MessageRange]] = {}
    with lake.state.reading() as connection:
        for row in connection.execute(sa.select(LEDGER_RANGES).where(LEDGER_RANGES.c.table_name == table)):
            found.setdefault(row.snapshot_id, []).append(MessageRange(row.capture_id, row.first_seq, row.last_seq))
        rows = connection.execute(entries.order_by(PUBLICATIONS.c.published_at_ms, PUBLICATIONS.c.snapshot_id)).all()
    return [
        Settled(
            table=table,
            snapshot_id=row.snapshot_id,
            act=Act(row.act),
            owner=row.owner,
            run_id=row.run_id,
            published_at=_of_ms(row.published_at_ms),
            before=compact_object(row.before),
            after=compact_object(row.after),
            counts=compact_object(row.counts),
            ranges=tuple(found.get(row.snapshot_id, ())),
        )
        for row in rows
    ]


def has_published(lake: Lake, table: str, run_id: str) -> bool:
    """Return whether rows of a run are, or were, on main of a table."""
    reconcile(lake, table)
    query = sa.select(PUBLICATIONS.c.snapshot_id).where(
        PUBLICATIONS.c.table_name == table, PUBLICATIONS.c.run_id == run_id, PUBLICATIONS.c.act.in_(_MAKES_ROWS)
    )
    with lake.state.reading() as connection:
        return connection.scalar(query.limit(1)) is not None


def published_at(lake: Lake, table: str, snapshot_id: int) -> datetime | None:
    """Return when the ledger says a snapshot was published, or None when it is not in the ledger."""
    query = sa.select(PUBLICATIONS.c.published_at_ms).where(
        PUBLICATIONS.c.table_name == table, PUBLICATIONS.c.snapshot_id == snapshot_id
    )
    with lake.state.reading() as connection:
        found = connection.scalar(query)
    return None if found is None else _of_ms(found)


def _of_ms(instant_ms: int) -> datetime:
    return EPOCH + timedelta(milliseconds=instant_ms)
