"""ArcticDB on LMDB: a symbol an instrument for single reads, and the whole day as one for the rest; doubles for prices.

It takes no protobuf as new as ours, so it runs in an interpreter of its own (`make bench-peers`): nothing of the lake is
imported here. Columns without a value are left out.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import arcticdb
import polars as pl
import pyarrow as pa

from tests.benchmarks.engines import Given, place_for
from tests.benchmarks.engines import polars_questions as questions

DAY = "day"
BARS_OF = ["instrument_id", "price", "size"]
BARS = {
    "open": ("price", "first"),
    "high": ("price", "max"),
    "low": ("price", "min"),
    "close": ("price", "last"),
    "volume": ("size", "sum"),
    "trade_count": ("price", "count"),
}


class Arctic:
    """Bars of one are made by ArcticDB itself (`resample`), those of everybody by Polars: it has no two keys to group by."""

    def __init__(self, given: Given) -> None:
        self.library = _library(place_for(given, "ArcticDB"))
        self.noon = datetime.fromisoformat(given.noon).replace(tzinfo=None)
        if not self.library.has_symbol(DAY):
            with pa.OSFile(given.session) as file:
                frame = _frame(pa.ipc.open_file(file).read_all())
            for one in given.instruments:
                self.library.write(str(one), frame[frame["instrument_id"] == one])
            self.library.write(DAY, frame)

    def point(self, instrument: int) -> int:
        return len(self.library.read(str(instrument)).data)

    def bars(self, instrument: int) -> int:
        made = arcticdb.QueryBuilder().resample("1min").agg(BARS)
        return len(self.library.read(str(instrument), query_builder=made).data)

    def all_bars(self) -> int:
        return questions.bars(self._rows(DAY, BARS_OF))

    def as_of(self, instrument: int, other: int) -> int:
        left, right = (self._rows(str(one), ["price"]) for one in (instrument, other))
        return questions.as_of(left, right)

    def snapshot(self) -> int:
        return questions.last(self._rows(DAY, BARS_OF, until=self.noon))

    def _rows(self, symbol: str, columns: list[str], until: datetime | None = None) -> pl.DataFrame:
        found = self.library.read(symbol, columns=columns, date_range=None if until is None else (None, until))
        return pl.from_pandas(found.data.reset_index())


def append(folder: Path, rows: pa.Table) -> Callable[[], int]:
    """Return what appends the rows, a day later each time, for it wants them in order of time."""
    library = _library(folder)
    numbers = count()

    def run() -> int:
        frame = _frame(rows)
        frame.index += timedelta(days=next(numbers))
        library.append(DAY, frame)
        return rows.num_rows

    return run


def _library(folder: Path) -> Any:
    return arcticdb.Arctic(f"lmdb://{folder}").get_library("ticks", create_if_missing=True)


def _frame(rows: pa.Table) -> Any:
    empty = [name for name in rows.column_names if rows[name].null_count == rows.num_rows]
    frame = pl.from_arrow(rows.drop_columns([*empty, "session_date"]))
    assert isinstance(frame, pl.DataFrame)
    plain = frame.with_columns(pl.col("price", "size").cast(pl.Float64), pl.col("ts_event", "ts_recv").dt.replace_time_zone(None))
    return plain.to_pandas().set_index("ts_event")
