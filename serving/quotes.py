"""The question "quotes": best bid and offer of one instrument in the order received."""

from __future__ import annotations

from lake.catalog import Lake
from serving.answers import Answered
from serving.paged import Kind, Paged, ask

QUOTES = Kind(
    "normalized.quotes",
    clock="ts_recv",  # not every quote has a venue clock
    order=("ts_recv", "sequence"),
    columns=(
        *("ts_event", "ts_event_nanos", "ts_recv", "session_date", "provider", "feed", "symbol", "mic", "currency", "sequence"),
        *("bid_price", "bid_size", "ask_price", "ask_size", "conditions", "capture_id", "message_seq", "ordinal"),
    ),
)


def quotes(lake: Lake, question: Paged) -> Answered:
    """Return a page of quotes; see `serving.paged.ask`."""
    return ask(lake, QUOTES, question)
