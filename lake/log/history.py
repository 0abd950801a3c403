"""History on its way into the log: rows of `ops.*` and `quality.*`, landed like data, never committed row by row."""

from __future__ import annotations

import pyarrow as pa

from lake.log.blocks import MAX_MESSAGES, encode_rows
from lake.log.log import HISTORY_TOPIC, Log

HISTORY_PARTITION = 0


def append_history(log: Log, table: str, new: pa.Table) -> None:
    """Append `new` rows of `table` to the history topic, durable on return; no rows append nothing."""
    blocks = [encode_rows(table, new.slice(start, MAX_MESSAGES)) for start in range(0, new.num_rows, MAX_MESSAGES)]
    if blocks:
        log.append(HISTORY_TOPIC, HISTORY_PARTITION, blocks)
