"""Paged questions: what happened to one instrument, event by event, a page at a time. Trades and quotes ask so."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime

import pyarrow as pa
import pyarrow.compute as pc

from lake import scan
from lake.catalog import Lake
from lake.errors import InvalidValueError, NotFoundError
from lake.scan import Where
from serving.answers import Answered, newest, page, range_of, snapshots_of, told
from serving.instruments import Instrument, instrument_named

MAX_LIMIT = 100_000


@dataclass(frozen=True, slots=True)
class Paged:
    """What is asked: `[start, end)` by the clock of the kind (a date: by session date); without both, the newest session."""

    symbol: str
    start: date | datetime | None = None
    end: date | datetime | None = None
    provider: str | None = None
    as_of: datetime | None = None
    known_as_of: datetime | None = None
    limit: int = 1_000
    offset: int = 0


@dataclass(frozen=True, slots=True)
class Kind:
    """What can be asked for so.

    table     where the events are
    clock     the instant that a range binds
    order     what they are ordered by, before (capture_id, message_seq, ordinal)
    columns   those of the answer
    """

    table: str
    clock: str
    order: Sequence[str]
    columns: Sequence[str]

    @property
    def name(self) -> str:
        """What its events are called."""
        return self.table.partition(".")[2]


def ask(lake: Lake, kind: Kind, question: Paged) -> Answered:
    """Return at most `limit` events after skipping `offset`, in order, and metadata that says whether more follow.

    Raises NotFoundError when no instrument has the symbol or nothing happened to it, InvalidValueError for a wrong range.
    """
    if not 1 <= question.limit <= MAX_LIMIT or question.offset < 0:
        raise InvalidValueError(f"limit {question.limit}, offset {question.offset}: expected 1 to {MAX_LIMIT}, and 0 or more")
    instrument = instrument_named(lake, question.symbol, question.provider, question.as_of)
    snapshots = snapshots_of(lake, kind.table)
    where = [*rows_of(instrument, question.provider), *range_of(question.start, question.end, kind.clock)]
    if question.start is None and question.end is None:
        found = newest_session(lake, kind.table, where, question.as_of, question.known_as_of)
        if not found.num_rows:
            raise NotFoundError(f"no {kind.name} of {question.symbol!r} ({instrument.identity}) here, or none known by then")
    else:
        found = scan.read(
            lake, kind.table, where=where, as_of=question.as_of, known_as_of=question.known_as_of, tells_dropped=True
        )
    order = [(name, "ascending") for name in (*kind.order, "capture_id", "message_seq", "ordinal")]
    rows, more = page(found.sort_by(order), question.limit, question.offset)
    fresh = newest(found, "ts_recv")
    metadata = told(lake, snapshots, fresh, "as_traded", question.as_of, question.known_as_of)
    return Answered(rows.select(list(kind.columns)), {**metadata, "instrument": instrument.document(), **more})


def rows_of(instrument: Instrument, provider: str | None) -> list[Where]:
    """Return the conditions of one instrument's rows, of one provider where it is named."""
    where = [Where("instrument_id", "=", instrument.instrument_id)]
    return where if provider is None else [*where, Where("provider", "=", provider)]


def newest_session(
    lake: Lake, table: str, where: Sequence[Where], as_of: datetime | None = None, known_as_of: datetime | None = None
) -> pa.Table:
    """Return the rows of the newest session date that satisfy `where`: the date is looked up first, alone."""
    dates = scan.read(lake, table, ["session_date"], where, as_of=as_of, known_as_of=known_as_of)
    if not dates.num_rows:
        return scan.read(lake, table, where=[*where, Where("session_date", "in", [])])
    last = Where("session_date", "=", pc.max(dates["session_date"]).as_py())
    return scan.read(lake, table, where=[*where, last], as_of=as_of, known_as_of=known_as_of)
