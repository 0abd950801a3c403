"""The question "snapshot": the last of each kind, of several instruments."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import pyarrow as pa

from lake.catalog import Lake
from lake.errors import InvalidValueError
from lake.scan import Where
from serving.answers import Answered, newest, snapshots_of, told
from serving.bars import AGREED, in_force
from serving.instruments import Instrument, instrument_named
from serving.paged import newest_session
from serving.quotes import QUOTES
from serving.trades import TRADES

MAX_SYMBOLS = 100
"""A snapshot reads three tables an instrument."""
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
    snapshots = snapshots_of(lake, TRADES.table, QUOTES.table, AGREED)
    rows = []
    for symbol in symbols:
        instrument = instrument_named(lake, symbol, provider, as_of)
        trade = _last(newest_session(lake, TRADES.table, instrument, provider, as_of, known_as_of), TRADES.order)
        quote = _last(newest_session(lake, QUOTES.table, instrument, provider, as_of, known_as_of), QUOTES.order)
        bar = _last_bar(lake, instrument, as_of, known_as_of)
        rows.append(_row(instrument, trade, quote, bar))
    table = pa.Table.from_pylist(rows, _SNAPSHOT)
    fresh = [value for name in ("trade_at", "quote_at", "bar_known_at") if (value := newest(table, name)) is not None]
    metadata = told(lake, snapshots, max(fresh, default=None), "as_traded", as_of, known_as_of, provider=provider)
    return Answered(table, metadata)


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
