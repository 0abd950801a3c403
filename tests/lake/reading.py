"""What the tests of reading share: the rows of a plain scan, a sandboxed connection, made bars, messages at offsets."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from lake.catalog import Lake
from lake.commits import append
from lake.durable import local_path
from lake.scan import Where, replaced_files
from lake.tables import rows, table_named
from lake.values import MessageRange, Vector
from tests.lake.made import MORNING

TRADES = "normalized.trades"
MESSAGES = "raw.messages"
LONG = "a-capture-whose-name-is-longer-than-sixteen-characters-"


def everything(lake: Lake, table: str = TRADES) -> list[dict[str, Any]]:
    return lake.table(table).scan().to_arrow().cast(table_named(table).arrow_schema()).to_pylist()  # type: ignore[no-any-return]


def same(found: pa.Table, expected: list[dict[str, Any]]) -> bool:
    return sorted(map(str, found.to_pylist())) == sorted(map(str, expected))


_EVERYTHING: dict[tuple[Path, str], list[dict[str, Any]]] = {}


def everything_of(lake: Lake, table: str = TRADES) -> list[dict[str, Any]]:
    """`everything`, read once a table of a lake that nobody changes."""
    at = (lake.settings.home, table)
    if at not in _EVERYTHING:
        _EVERYTHING[at] = everything(lake, table)
    return _EVERYTHING[at]


def paths_of(lake: Lake, where: list[Where], table: str = TRADES) -> set[str]:
    return {str(local_path(file.file_path)) for file in replaced_files(lake, table, where)}


def sandboxed(source: object, query: str) -> list[tuple[Any, ...]]:
    with duckdb.connect(":memory:", config={"enable_external_access": "false"}) as connection:
        connection.register("source", source)
        return connection.execute(query).fetchall()


def bars(instruments: list[int], run_id: str, provider: str, known_at: list[datetime] | None = None) -> pa.Table:
    count = len(instruments)
    return rows(
        table_named("normalized.bars"),
        {
            "instrument_id": instruments,
            "provider": [provider] * count,
            "feed": ["chart"] * count,
            "symbol": ["AAPL"] * count,
            "session_date": [date(2024, 3, 4)] * count,
            "interval": ["1d"] * count,
            "ts_open": [MORNING] * count,
            "close": [Decimal(1)] * count,
            "basis": ["as_traded"] * count,
            "price_type": ["trade"] * count,
            "is_final": [True] * count,
            "known_at": known_at or [MORNING] * count,
            "capture_id": ["c"] * count,
            "message_seq": list(range(count)),
            "ordinal": [0] * count,
            "run_id": [run_id] * count,
        },
    )


def land(lake: Lake, number: int, batch: pa.Table, position: Vector) -> None:
    before: Vector = dict(lake.head(MESSAGES).position.get("raw", {}))
    ranges = [MessageRange(capture, 0, 10_000) for capture in set(batch["capture_id"].to_pylist())]
    append(lake, MESSAGES, batch, "raw", before, position, f"land-{number}", ranges)


def placed(batch: pa.Table, partition: int, offsets: list[int]) -> pa.Table:
    batch = batch.set_column(12, batch.schema.field(12), pa.array([partition] * batch.num_rows, pa.int32()))
    return batch.set_column(13, batch.schema.field(13), pa.array(offsets, pa.int64()))
