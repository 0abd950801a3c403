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
from lake.tables import table_named
from quality_checks.building import venues_of
from serving.answers import Answered, newest, page, range_of, snapshots_of, told
from serving.instruments import Instrument, ids_of, instrument_named, own_rows
from transforms.belonging import NAMED_BY
from transforms.derived import derived_columns

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
    """Return at most `limit` events after skipping `offset`, in order, with what follows from each (`derived` in the metadata
    names those columns; transforms/derived.py), and metadata that says whether more follow.

    Raises NotFoundError when no instrument has the symbol or nothing happened to it, InvalidValueError for a wrong range.
    """
    if not 1 <= question.limit <= MAX_LIMIT or question.offset < 0:
        raise InvalidValueError(f"limit {question.limit}, offset {question.offset}: expected 1 to {MAX_LIMIT}, and 0 or more")
    instrument = instrument_named(lake, question.symbol, question.provider, question.as_of)
    snapshots = snapshots_of(lake, kind.table)
    if question.start is None and question.end is None:
        found = newest_session(lake, kind.table, instrument, question.provider, question.as_of, question.known_as_of)
        if not found.num_rows:
            raise NotFoundError(f"no {kind.name} of {question.symbol!r} ({instrument.identity}) here, or none known by then")
    else:
        filed = rows_of(lake, instrument, question.provider, question.as_of)
        where = [*filed, *range_of(question.start, question.end, kind.clock)]
        found = scan.read(
            lake, kind.table, where=where, as_of=question.as_of, known_as_of=question.known_as_of, tells_dropped=True
        )
        found = own_rows(lake, found, instrument, question.as_of)
    order = [(name, "ascending") for name in (*kind.order, "capture_id", "message_seq", "ordinal")]
    rows, more = page(found.sort_by(order), question.limit, question.offset)
    fresh = newest(found, "ts_recv")
    metadata = told(lake, snapshots, fresh, "as_traded", question.as_of, question.known_as_of)
    derived = derived_columns(kind.table, rows, venues_of(lake, [instrument.instrument_id])[instrument.instrument_id])
    answer = rows.select(list(kind.columns))
    for name, values in derived.items():
        answer = answer.append_column(name, values)
    return Answered(answer, {**metadata, "instrument": instrument.document(), "derived": sorted(derived), **more})


def rows_of(lake: Lake, instrument: Instrument, provider: str | None, as_of: datetime | None) -> list[Where]:
    """Return the conditions of the rows that may be one instrument's, of one provider where it is named; see `own_rows`."""
    ids = ids_of(lake, instrument, as_of)
    where = [Where("instrument_id", "=", ids[0]) if len(ids) == 1 else Where("instrument_id", "in", ids)]
    return where if provider is None else [*where, Where("provider", "=", provider)]


def newest_session(
    lake: Lake,
    table: str,
    instrument: Instrument,
    provider: str | None = None,
    as_of: datetime | None = None,
    known_as_of: datetime | None = None,
) -> pa.Table:
    """Return an instrument's rows of its newest session date, of one provider where it is named: the date is looked up alone."""
    where = rows_of(lake, instrument, provider, as_of)
    is_filed_once = where[0].op == "="
    names = [name for name in table_named(table).column_names if name in NAMED_BY]
    columns = ["session_date"] if is_filed_once else ["session_date", *names]
    dates = scan.read(lake, table, columns, where, as_of=as_of, known_as_of=known_as_of)
    if not is_filed_once:
        dates = own_rows(lake, dates, instrument, as_of)
    last = [pc.max(dates["session_date"]).as_py()] if dates.num_rows else []
    found = scan.read(lake, table, where=[*where, Where("session_date", "in", last)], as_of=as_of, known_as_of=known_as_of)
    return own_rows(lake, found, instrument, as_of)
