"""Books of a session checked: crossed and locked states, executions that hit no known order or none at the best price.

What is found is kept as it is and becomes a finding, once for each time a book enters the state. A book that is locked or crossed
on one venue is real for moments; one that stays so lost events, as a gap in its numbers would tell.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import date, datetime

import pyarrow as pa
import pyarrow.compute as pc

from lake.catalog import Lake
from lake.conditions import Where
from lake.instants import to_datetime
from lake.scan import read
from quality_checks.records import record_findings
from quality_checks.rules import as_text, event_ids, finding_rows
from transforms import books

TABLE = "normalized.book_events"
_INSTRUMENTS_A_READ = 200


@dataclass(frozen=True, slots=True)
class BookReport:
    """What the books of a session show.

    executions    executions and fills of orders; `unknown` hit no order among the events, `off_top` one behind the best price
    crossed, locked   how often a book became so
    findings      rows of quality.findings that are new
    """

    books: int = 0
    events: int = 0
    executions: int = 0
    unknown: int = 0
    off_top: int = 0
    crossed: int = 0
    locked: int = 0
    findings: int = 0

    def plus(self, other: BookReport) -> BookReport:
        """Return the counts of both."""
        return BookReport(*(getattr(self, name) + getattr(other, name) for name in self.__slots__))

    def document(self) -> dict[str, int]:
        """Return the counts as JSON values."""
        return asdict(self)


def session_events(lake: Lake, provider: str, feed: str, session: date, symbol: str | None = None) -> Iterator[pa.Table]:
    """Yield the book events of a session, whole books at a time: memory is a few hundred instruments."""
    where = [Where("provider", "=", provider), Where("session_date", "=", session), Where("feed", "=", feed)]
    if symbol is not None:
        yield read(lake, TABLE, where=[*where, Where("symbol", "=", symbol)])
        return
    known = sorted(read(lake, TABLE, ["instrument_id"], where)["instrument_id"].unique().to_pylist())
    for first in range(0, len(known), _INSTRUMENTS_A_READ):
        chosen = known[first : first + _INSTRUMENTS_A_READ]
        yield read(lake, TABLE, where=[*where, Where("instrument_id", "in", chosen)])


def check_books(lake: Lake, provider: str, feed: str, session: date) -> BookReport:
    """Replay every book of a session and record what is odd; safe to repeat: a finding stands once."""
    run_id = f"books-{provider}-{feed}-{session.isoformat()}"
    recorded_at = to_datetime(lake.clock())
    report = BookReport()
    for events in session_events(lake, provider, feed, session):
        counts, found = findings_of(events, recorded_at, run_id)
        new = record_findings(lake, found, run_id) if found.num_rows else 0
        report = report.plus(counts).plus(BookReport(findings=new))
    return report


def findings_of(events: pa.Table, recorded_at: datetime, run_id: str) -> tuple[BookReport, pa.Table]:
    """Return the counts of whole books, and rows of quality.findings about them."""
    quotes, hits = books.best_quotes(events), books.executions(events)
    crossed = _entered(quotes, pc.greater(quotes["bid_price"], quotes["ask_price"]))
    locked = _entered(quotes, pc.equal(quotes["bid_price"], quotes["ask_price"]))
    unknown = hits.filter(pc.invert(hits["is_known"]))
    off_top = hits.filter(pc.fill_null(pc.invert(hits["is_at_top"]), False))
    found = [
        _rows(crossed, "crossed_book", "info", "bid_price", "ask_price", recorded_at, run_id),
        _rows(locked, "locked_book", "info", "bid_price", "ask_price", recorded_at, run_id),
        _rows(unknown, "execution_of_unknown_order", "warning", "order_id", "trade_id", recorded_at, run_id),
        _rows(off_top, "execution_behind_best", "info", "price", "best_price", recorded_at, run_id),
    ]
    names = events.select(list(books.BOOK)).group_by(list(books.BOOK)).aggregate([])
    report = BookReport(
        names.num_rows, events.num_rows, hits.num_rows, unknown.num_rows, off_top.num_rows, crossed.num_rows, locked.num_rows
    )
    return report, pa.concat_tables(found)


def _entered(quotes: pa.Table, state: pa.ChunkedArray) -> pa.Table:
    """Return the quotes with which a book enters a state: the one before was of another book, or not in it."""
    if not quotes.num_rows:
        return quotes
    is_in = pc.fill_null(state, False).combine_chunks()
    before = pa.concat_arrays([pa.array([False]), is_in.slice(0, len(is_in) - 1)])
    is_first = pc.or_(pc.invert(before), books.begins(quotes))
    return quotes.filter(pc.and_(is_in, is_first))


def _rows(found: pa.Table, kind: str, severity: str, one: str, other: str, recorded_at: datetime, run_id: str) -> pa.Table:
    told = [[f"{name} {text or 'none'}" for text in as_text(found[name]).to_pylist()] for name in (one, other)]
    detail = pa.array([", ".join(words) for words in zip(found["symbol"].to_pylist(), *told, strict=True)], pa.string())
    return finding_rows(
        event_ids(found), kind, severity, TABLE, detail, recorded_at, run_id,
        provider=found["provider"], instrument_id=found["instrument_id"],
    )  # fmt: skip
