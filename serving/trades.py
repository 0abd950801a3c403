"""The question "trades": executions of one instrument in the order of the venue's clock."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime

import pyarrow.compute as pc

from lake import scan
from lake.catalog import Lake
from lake.errors import InvalidValueError, NotFoundError
from lake.scan import Where
from serving.answers import Answered, newest, range_of
from serving.instruments import instrument_named

MAX_LIMIT = 100_000
COLUMNS = [
    "ts_event",
    "ts_event_nanos",
    "ts_recv",
    "session_date",
    "provider",
    "feed",
    "symbol",
    "mic",
    "currency",
    "sequence",
    "trade_id",
    "price",
    "size",
    "side",
    "conditions",
    "capture_id",
    "message_seq",
    "ordinal",
]


@dataclass(frozen=True, slots=True)
class TradesQuestion:
    """What is asked: `[start, end)` by `ts_event` (a date: by session date); without both, the newest session."""

    symbol: str
    start: date | datetime | None = None
    end: date | datetime | None = None
    provider: str | None = None
    as_of: datetime | None = None
    known_as_of: datetime | None = None
    limit: int = 1_000
    offset: int = 0


def trades(lake: Lake, question: TradesQuestion) -> Answered:
    """Return at most `limit` trades after skipping `offset`, and metadata that says whether more follow.

    Raises NotFoundError when no instrument has the symbol or it has no trades, InvalidValueError for a wrong range.
    """
    if not 1 <= question.limit <= MAX_LIMIT or question.offset < 0:
        raise InvalidValueError(f"limit {question.limit}, offset {question.offset}: expected 1 to {MAX_LIMIT}, and 0 or more")
    instrument = instrument_named(lake, question.symbol, question.provider, question.as_of)
    where = [Where("instrument_id", "=", instrument.instrument_id), *range_of(question.start, question.end, "ts_event")]
    if question.provider is not None:
        where.append(Where("provider", "=", question.provider))
    snapshot = lake.head("normalized.trades").snapshot_id
    found = scan.read(
        lake, "normalized.trades", where=where, as_of=question.as_of, known_as_of=question.known_as_of, tells_dropped=True
    )
    if question.start is None and question.end is None and found.num_rows:
        last = pc.max(found["session_date"])
        found = found.filter(pc.equal(found["session_date"], last))
    if not found.num_rows and question.start is None and question.end is None:
        raise NotFoundError(f"no trades of {question.symbol!r} ({instrument.identity}) here, or none known by then")
    ordered = found.sort_by(
        [(name, "ascending") for name in ("ts_event", "ts_event_nanos", "sequence", "capture_id", "message_seq", "ordinal")]
    )
    page = ordered.slice(question.offset, question.limit).select(COLUMNS)
    metadata: dict[str, object] = {
        "instrument": instrument.document(),
        "snapshots": {"normalized.trades": str(snapshot)},
        "basis": "as_traded",
        "fresh": newest(found, "ts_recv"),
        "completeness": None,
        "quality_score": None,
        "source": "lake",
        "status": "confirmed",
        "as_of": question.as_of,
        "known_as_of": question.known_as_of,
        "total_count": found.num_rows,
        "offset": question.offset,
        "has_more": question.offset + page.num_rows < found.num_rows,
    }
    return Answered(page, metadata)
