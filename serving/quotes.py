"""The questions "quotes" (best bid and offer of one instrument) and "snapshot" (the last of each kind, of several)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from lake import scan
from lake.catalog import Lake
from lake.errors import InvalidValueError, NotFoundError
from lake.scan import Where
from serving.answers import Answered, newest, page, range_of, snapshots_of, told
from serving.bars import AGREED, in_force
from serving.instruments import Instrument, instrument_named
from serving.trades import MAX_LIMIT

QUOTES, TRADES = "normalized.quotes", "normalized.trades"
COLUMNS = [
    *("ts_event", "ts_event_nanos", "ts_recv", "session_date", "provider", "feed", "symbol", "mic", "currency", "sequence"),
    *("bid_price", "bid_size", "ask_price", "ask_size", "conditions", "capture_id", "message_seq", "ordinal"),
]
MAX_SYMBOLS = 100
"""A snapshot reads three tables an instrument."""
_IN_ORDER = [(name, "ascending") for name in ("ts_recv", "sequence", "capture_id", "message_seq", "ordinal")]
_SNAPSHOT = pa.schema(
    [
        ("instrument_id", pa.string()),
        ("identity", pa.string()),
        ("symbol", pa.string()),
        ("currency", pa.string()),
        ("trade_at", pa.timestamp("us", "UTC")),
        ("trade_provider", pa.string()),
        ("trade_price", pa.decimal128(18, 9)),
        ("trade_size", pa.decimal128(18, 8)),
        ("quote_at", pa.timestamp("us", "UTC")),
        ("quote_provider", pa.string()),
        ("bid_price", pa.decimal128(18, 9)),
        ("bid_size", pa.decimal128(18, 8)),
        ("ask_price", pa.decimal128(18, 9)),
        ("ask_size", pa.decimal128(18, 8)),
        ("bar_interval", pa.string()),
        ("bar_session_date", pa.date32()),
        ("bar_close", pa.decimal128(18, 9)),
        ("bar_known_at", pa.timestamp("us", "UTC")),
    ]
)


@dataclass(frozen=True, slots=True)
class QuotesQuestion:
    """What is asked: `[start, end)` by `ts_recv`, for not every quote has a venue clock (a date: by session date);
    without both, the newest session."""

    symbol: str
    start: date | datetime | None = None
    end: date | datetime | None = None
    provider: str | None = None
    as_of: datetime | None = None
    known_as_of: datetime | None = None
    limit: int = 1_000
    offset: int = 0


def quotes(lake: Lake, question: QuotesQuestion) -> Answered:
    """Return at most `limit` quotes in the order received, and metadata that says whether more follow.

    Raises NotFoundError when no instrument has the symbol or it has no quotes, InvalidValueError for a wrong range.
    """
    if not 1 <= question.limit <= MAX_LIMIT or question.offset < 0:
        raise InvalidValueError(f"limit {question.limit}, offset {question.offset}: expected 1 to {MAX_LIMIT}, and 0 or more")
    instrument = instrument_named(lake, question.symbol, question.provider, question.as_of)
    snapshots = snapshots_of(lake, QUOTES)
    where = [*_of(instrument, question.provider), *range_of(question.start, question.end, "ts_recv")]
    if question.start is None and question.end is None:
        found = newest_session(lake, QUOTES, where, question.as_of, question.known_as_of)
        if not found.num_rows:
            raise NotFoundError(f"no quotes of {question.symbol!r} ({instrument.identity}) here, or none known by then")
    else:
        found = scan.read(lake, QUOTES, where=where, as_of=question.as_of, known_as_of=question.known_as_of, tells_dropped=True)
    rows, more = page(found.sort_by(_IN_ORDER), question.limit, question.offset)
    metadata = told(
        lake,
        snapshots,
        newest(found, "ts_recv"),
        "as_traded",
        question.as_of,
        question.known_as_of,
        instrument=instrument.document(),
        **more,
    )
    return Answered(rows.select(COLUMNS), metadata)


def newest_session(
    lake: Lake, table: str, where: Sequence[Where], as_of: datetime | None = None, known_as_of: datetime | None = None
) -> pa.Table:
    """Return the rows of the newest session date that satisfy `where`: the date is looked up first, alone."""
    dates = scan.read(lake, table, ["session_date"], where, as_of=as_of, known_as_of=known_as_of)
    if not dates.num_rows:
        return scan.read(lake, table, where=[*where, Where("session_date", "in", [])])
    last = Where("session_date", "=", pc.max(dates["session_date"]).as_py())
    return scan.read(lake, table, where=[*where, last], as_of=as_of, known_as_of=known_as_of)


def snapshot(
    lake: Lake,
    symbols: Sequence[str],
    provider: str | None = None,
    as_of: datetime | None = None,
    known_as_of: datetime | None = None,
) -> Answered:
    """Return one row an instrument: its last trade, last quote and last agreed daily bar, each with its own instant.

    Raises NotFoundError for an unknown symbol, InvalidValueError for none, too many, or an ambiguous one.
    """
    if not 1 <= len(symbols) <= MAX_SYMBOLS:
        raise InvalidValueError(f"{len(symbols)} symbols; expected 1 to {MAX_SYMBOLS}")
    snapshots = snapshots_of(lake, TRADES, QUOTES, AGREED)
    rows = []
    for symbol in symbols:
        instrument = instrument_named(lake, symbol, provider, as_of)
        where = _of(instrument, provider)
        trade = _last(newest_session(lake, TRADES, where, as_of, known_as_of), ("ts_event", "ts_event_nanos", "sequence"))
        quote = _last(newest_session(lake, QUOTES, where, as_of, known_as_of), ("ts_recv", "sequence"))
        bar = _last_bar(lake, instrument, as_of, known_as_of)
        rows.append(_row(instrument, trade, quote, bar))
    table = pa.Table.from_pylist(rows, _SNAPSHOT)
    fresh = [value for name in ("trade_at", "quote_at", "bar_known_at") if (value := newest(table, name)) is not None]
    metadata = told(lake, snapshots, max(fresh, default=None), "as_traded", as_of, known_as_of, provider=provider)
    return Answered(table, metadata)


def _of(instrument: Instrument, provider: str | None) -> list[Where]:
    where = [Where("instrument_id", "=", instrument.instrument_id)]
    return where if provider is None else [*where, Where("provider", "=", provider)]


def _last(rows: pa.Table, order: Sequence[str]) -> dict[str, Any]:
    if not rows.num_rows:
        return {}
    ordered = rows.sort_by([(name, "ascending") for name in (*order, "message_seq", "ordinal")])
    found: dict[str, Any] = ordered.slice(ordered.num_rows - 1).to_pylist()[0]
    return found


def _last_bar(lake: Lake, instrument: Instrument, as_of: datetime | None, known_as_of: datetime | None) -> dict[str, Any]:
    where = [Where("instrument_id", "=", instrument.instrument_id), Where("interval", "=", "1d")]
    rows = in_force(lake, AGREED, where, as_of, known_as_of)
    if not rows.num_rows:
        return {}
    ordered = rows.sort_by([("session_date", "ascending"), ("known_at", "ascending")])
    found: dict[str, Any] = ordered.slice(ordered.num_rows - 1).to_pylist()[0]
    return found


def _row(instrument: Instrument, trade: dict[str, Any], quote: dict[str, Any], bar: dict[str, Any]) -> dict[str, Any]:
    return {
        "instrument_id": str(instrument.instrument_id),
        "identity": instrument.identity,
        "symbol": instrument.symbol,
        "currency": instrument.currency or bar.get("currency"),
        "trade_at": trade.get("ts_event"),
        "trade_provider": trade.get("provider"),
        "trade_price": trade.get("price"),
        "trade_size": trade.get("size"),
        "quote_at": quote.get("ts_event") or quote.get("ts_recv"),
        "quote_provider": quote.get("provider"),
        **{name: quote.get(name) for name in ("bid_price", "bid_size", "ask_price", "ask_size")},
        "bar_interval": bar.get("interval"),
        "bar_session_date": bar.get("session_date"),
        "bar_close": bar.get("close"),
        "bar_known_at": bar.get("known_at"),
    }
