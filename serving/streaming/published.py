"""Reading what the ledger says was published: the newest rows for a snapshot, and the rows of one entry."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lake import as_of, scan
from lake.as_of import Settled
from lake.catalog import Lake
from lake.errors import InvalidValueError, NotFoundError
from lake.heads import Act
from lake.scan import PUBLISHED_AT, Where
from lake.tables import PublishedBy, table_named

KINDS = {
    "trades": "normalized.trades",
    "quotes": "normalized.quotes",
    "bars": "adjusted.agreed_bars",
    "corporate_actions": "normalized.corporate_actions",
}
"""What can be subscribed to, and the table whose publications tell it."""
MAX_CAUGHT_UP = 1_000
"""Entries between a position and now; a client further behind begins anew with a snapshot."""
_ORDER = {
    "trades": ("ts_event", "ts_event_nanos", "sequence", "message_seq", "ordinal"),
    "quotes": ("ts_recv", "sequence", "message_seq", "ordinal"),
    "bars": ("ts_open", "known_at"),
    "corporate_actions": ("ex_date", "known_at"),
}
_WITH_ROWS = (Act.APPEND, Act.PUBLISH, Act.RELEASE)
_FIRST = "start"


@dataclass(frozen=True, slots=True)
class Cut:
    """A place in a table's ledger.

    last      the newest entry, None before the first
    booked    snapshot ids of every entry up to here: an entry not among them is news
    """

    last: Settled | None
    booked: frozenset[int]

    @property
    def position(self) -> str:
        """The place as a client keeps it."""
        return position_of(self.last)


def position_of(entry: Settled | None) -> str:
    """Return the name of an entry: its snapshot, `start` before the first."""
    return _FIRST if entry is None else str(entry.snapshot_id)


def cut_now(lake: Lake, table: str) -> Cut:
    """Return the place after everything that is booked now."""
    entries = as_of.ledger(lake, table)
    return Cut(entries[-1] if entries else None, frozenset(entry.snapshot_id for entry in entries))


def entries_after(lake: Lake, table: str, position: str) -> tuple[list[Settled], Cut]:
    """Return the entries booked after a client's position, and the place after them.

    Raises NotFoundError for a position that is none of this table, InvalidValueError when too much was missed.
    """
    entries = as_of.ledger(lake, table)
    names = [_FIRST, *(position_of(entry) for entry in entries)]
    if position not in names:
        raise NotFoundError(f"position {position!r} is none of {table}; subscribe without one, for a snapshot")
    missed = entries[names.index(position) :]
    if len(missed) > MAX_CAUGHT_UP:
        raise InvalidValueError(
            f"{len(missed)} publications since {position}, at most {MAX_CAUGHT_UP} are sent again; take a snapshot"
        )
    return missed, Cut(entries[-1] if entries else None, frozenset(entry.snapshot_id for entry in entries))


def news(lake: Lake, table: str, since: datetime | None, booked: Collection[int]) -> list[Settled]:
    """Return entries published at `since` or later that are not `booked`, in order."""
    return [entry for entry in as_of.ledger(lake, table, since) if entry.snapshot_id not in booked]


def newest_rows(lake: Lake, kind: str, instrument_id: int, provider: str | None, cut: Cut, count: int) -> pa.Table:
    """Return the last `count` rows of an instrument that were published up to a place, in order of time.

    Of rows that tick (trades, quotes) those of the newest session date.
    """
    table = KINDS[kind]
    definition = table_named(table)
    if cut.last is None:
        return definition.arrow_schema().empty_table()
    where = _where(instrument_id, provider)
    if definition.published_by is PublishedBy.MESSAGE:
        dates = _until(scan.read(lake, table, ["session_date", PUBLISHED_AT], where), cut.last)
        if not dates.num_rows:
            return definition.arrow_schema().empty_table()
        where.append(Where("session_date", "=", pc.max(dates["session_date"]).as_py()))
    found = _until(scan.read(lake, table, [*definition.column_names, PUBLISHED_AT], where), cut.last)
    ordered = in_order(kind, found.select(list(definition.column_names)))
    return ordered.slice(max(ordered.num_rows - count, 0))


def rows_of(lake: Lake, table: str, entry: Settled, instrument_ids: Sequence[int]) -> pa.Table:
    """Return the rows that an entry published of some instruments; none for an entry without rows."""
    definition = table_named(table)
    empty = definition.arrow_schema().empty_table()
    if entry.act not in _WITH_ROWS:
        return empty
    where = [Where("instrument_id", "in", list(instrument_ids))]
    if definition.published_by is PublishedBy.RUN:
        return scan.read(lake, table, where=[*where, Where("run_id", "=", entry.run_id)])
    if not entry.ranges:
        return empty
    where += [
        Where("capture_id", "in", sorted({one.capture_id for one in entry.ranges})),
        Where("message_seq", ">=", min(one.first_seq for one in entry.ranges)),
        Where("message_seq", "<=", max(one.last_seq for one in entry.ranges)),
    ]
    found = scan.read(lake, table, where=where)
    captures = np.asarray(found["capture_id"].to_pylist(), dtype=object)
    numbers = found["message_seq"].to_numpy()
    mask = np.zeros(found.num_rows, dtype=np.bool_)
    for one in entry.ranges:
        mask |= (captures == one.capture_id) & (numbers >= one.first_seq) & (numbers <= one.last_seq)
    return found.filter(pa.array(mask))


def in_order(kind: str, rows: pa.Table) -> pa.Table:
    """Return rows of a kind in order of time."""
    return rows.sort_by([(name, "ascending") for name in _ORDER[kind]])


def _where(instrument_id: int, provider: str | None) -> list[Where]:
    where = [Where("instrument_id", "=", instrument_id)]
    return where if provider is None else [*where, Where("provider", "=", provider)]


def _until(rows: pa.Table, last: Settled) -> pa.Table:
    """Leave out what was published after an entry: it comes as an update."""
    limit = pa.scalar(last.published_at, pa.timestamp("us", "UTC"))
    return rows.filter(pc.fill_null(pc.less_equal(rows[PUBLISHED_AT], limit), False))
