"""What a lake answers about trades, so that it can be compared before and after maintenance."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

import pyarrow as pa

from lake import files
from lake import iceberg_internals as internals
from lake.catalog import Lake
from lake.content import content_hash
from lake.durable import Place, listed, place_of
from lake.instants import NANOS_PER_SECOND, system_clock, to_datetime
from lake.publish import publish, stage
from lake.scan import read
from lake.settings import Settings
from lake.tables import table_named
from tests.lake.made import MORNING, trade_batch

TRADES = "normalized.trades"
LINEAGE = [("capture_id", "ascending"), ("message_seq", "ascending"), ("ordinal", "ascending")]
Answer = tuple[pa.Table, str, list[pa.Table], object, object]


def published(lake: Lake, batches: int, size: int = 10, provider: str = "binance") -> list[datetime]:
    """Publish batches of trades one after the other; return the moments after each."""
    moments = []
    for number in range(batches):
        publish(lake, stage(lake, trade_batch(number * size, (number + 1) * size - 1, provider=provider)))
        moments.append(to_datetime(system_clock()))
    return moments


def answers(lake: Lake, moments: Sequence[datetime]) -> Answer:
    """Return rows with their publication, content hash, the past at each moment, position and holds."""
    rows = read(lake, TRADES, [*table_named(TRADES).column_names, "published_at"]).sort_by(LINEAGE)
    past = [read(lake, TRADES, as_of=moment).sort_by(LINEAGE) for moment in moments]
    past += [read(lake, TRADES, known_as_of=MORNING + timedelta(seconds=second)).sort_by(LINEAGE) for second in (0, 7, 10_000)]
    head = lake.head(TRADES)
    return rows, content_hash(table_named(TRADES), rows), past, head.position, head.listed_holds


def data_files(lake: Lake, name: str = TRADES) -> list[Place]:
    """Return the data files of main."""
    seen = lake.table(name)
    return sorted(files.paths_of(internals.files_of(seen, seen.metadata.current_snapshot_id or 0)), key=str)


def on_disk(lake: Lake, name: str = TRADES) -> set[Place]:
    """Return every file in the folders of a table."""
    return {place for place, _, _ in listed(place_of(lake.table(name).location()))}


def later(settings: Settings, seconds: float) -> Lake:
    """Return the same lake as a process sees it whose clock is ahead."""
    return Lake.open(settings, lambda: system_clock() + int(seconds * NANOS_PER_SECOND))
