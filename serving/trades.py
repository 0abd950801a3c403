"""The question "trades": executions of one instrument in the order of the venue's clock."""

from __future__ import annotations

from lake.catalog import Lake
from serving.answers import Answered
from serving.paged import Kind, Paged, ask

TRADES = Kind(
    "normalized.trades",
    clock="ts_event",
    order=("ts_event", "ts_event_nanos", "sequence"),
    columns=(
        *("ts_event", "ts_event_nanos", "ts_recv", "session_date", "provider", "feed", "symbol", "mic", "currency", "sequence"),
        *("trade_id", "price", "size", "side", "conditions", "capture_id", "message_seq", "ordinal"),
    ),
)


def trades(lake: Lake, question: Paged) -> Answered:
    """Return a page of trades; see `serving.paged.ask`."""
    return ask(lake, TRADES, question)
