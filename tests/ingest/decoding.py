"""Reading what a capture brought by the feed's own decoder, without landing and gates."""

from __future__ import annotations

import pyarrow as pa

from lake.log.log import Log
from tests.ingest.conftest import messages_of
from transforms.decode.decoded import Decoded
from transforms.feeds import feed_named


def decoded_of(log: Log, provider: str, feed: str) -> Decoded:
    """Return what the messages of a feed in the raw topic say."""
    mine = [row for row in messages_of(log) if str(row["capture_id"]).startswith(f"{provider}-{feed}-")]
    names = ("payload", "request", "status", "headers")
    return feed_named(provider, feed).decode(pa.table({name: [row[name] for row in mine] for name in names}))


def row_counts(log: Log, *feeds: tuple[str, str]) -> dict[tuple[str, str, str], int]:
    """Return (provider, feed, table) -> rows, where there are any."""
    return {
        (provider, feed, name.partition(".")[2]): table.num_rows
        for provider, feed in feeds
        for name, table in decoded_of(log, provider, feed).tables.items()
        if table.num_rows
    }
