"""chDB (ClickHouse in process): one MergeTree in the order of the questions, a codec a column."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from chdb.session import Session

from tests.benchmarks.engines import Given, place_for
from tests.benchmarks.engines.sql_questions import SqlQuestions

_TIME = "DateTime64(6, 'UTC') CODEC(Delta, ZSTD(3))"
_TEXT = "LowCardinality(String) CODEC(ZSTD(3))"
_COLUMNS = {
    "instrument_id": "Int64 CODEC(Delta, ZSTD(3))",
    "provider": _TEXT,
    "feed": _TEXT,
    "symbol": _TEXT,
    "mic": _TEXT,
    "currency": _TEXT,
    "session_date": "Date32 CODEC(ZSTD(3))",
    "ts_event": _TIME,
    "ts_event_nanos": "Int32 CODEC(T64, ZSTD(3))",
    "ts_recv": _TIME,
    "sequence": "Int64 CODEC(Delta, ZSTD(3))",
    "trade_id": "String CODEC(ZSTD(3))",
    "price": "Decimal(18, 9) CODEC(Delta, ZSTD(3))",
    "size": "Decimal(18, 8) CODEC(T64, ZSTD(3))",
    "conditions": _TEXT,
    "capture_id": _TEXT,
    "message_seq": "Int64 CODEC(Delta, ZSTD(3))",
    "ordinal": "Int32 CODEC(T64, ZSTD(3))",
}


class Chdb(SqlQuestions):
    """Every session is loaded from the lake's Parquet once, and merged into one part."""

    minute_bars = (
        "SELECT instrument_id, toStartOfMinute(ts_event) AS ts_open, argMin(price, ts_event) AS o, max(price) AS h,"
        " min(price) AS l, argMax(price, ts_event) AS c, sum(size) AS v, count() AS n {rows} GROUP BY instrument_id, ts_open"
    )
    side = "1 AS one, ts_event, price"
    beside = "l.one = r.one AND l.ts_event >= r.ts_event"
    last = "argMax(price, ts_event) AS p, argMax(size, ts_event) AS s, max(ts_event) AS t"

    def __init__(self, given: Given) -> None:
        self.session = _session(place_for(given, "chDB"))
        self.day = f"FROM bench.trades WHERE session_date = toDate('{given.day}')"
        self.noon = f"toDateTime64('{datetime.fromisoformat(given.noon):%Y-%m-%d %H:%M:%S}', 6, 'UTC')"
        if not int(str(self.session.query("SELECT count() FROM bench.trades")).strip()):
            for path in given.paths:
                _insert(self.session, path)
            self.session.query("OPTIMIZE TABLE bench.trades FINAL")

    def count(self, query: str) -> int:
        with pa.ipc.open_file(pa.BufferReader(self.session.query(query, "Arrow").bytes())) as found:
            return int(found.read_all().num_rows)


def load(folder: Path, rows: pa.Table) -> Callable[[], int]:
    """Return what loads the rows from an uncompressed Parquet file, in parts that are on the disk."""
    given = folder / "given.parquet"
    pq.write_table(rows, given, store_decimal_as_integer=True, compression="none")
    session = _session(folder / "store", "SETTINGS fsync_after_insert = 1, fsync_part_directory = 1")

    def run() -> int:
        _insert(session, str(given))
        return rows.num_rows

    return run


def bytes_of(folder: Path, rows: pa.Table) -> int:
    """Return the bytes that the rows take once they are merged."""
    load(folder, rows)()
    session = _session(folder / "store")
    session.query("OPTIMIZE TABLE bench.trades FINAL")
    found = session.query("SELECT sum(bytes_on_disk) FROM system.parts WHERE database = 'bench' AND active")
    session.close()
    return int(str(found).strip())


def _session(folder: Path, settings: str = "") -> Session:
    session = Session(str(folder))
    session.query("CREATE DATABASE IF NOT EXISTS bench")
    columns = ", ".join(f"{name} {kind}" for name, kind in _COLUMNS.items())
    session.query(
        f"CREATE TABLE IF NOT EXISTS bench.trades ({columns}) ENGINE = MergeTree ORDER BY (instrument_id, ts_event) {settings}"
    )
    return session


def _insert(session: Session, path: str) -> None:
    session.query(
        f"INSERT INTO bench.trades SELECT {', '.join(_COLUMNS)} FROM file('{path}', 'Parquet')"
        " SETTINGS use_hive_partitioning = 0"  # names of folders are not values
    )
