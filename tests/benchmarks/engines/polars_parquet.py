"""Polars, lazily over the lake's Parquet files."""

from __future__ import annotations

from datetime import date, datetime

import polars as pl
import pyarrow as pa

from tests.benchmarks.engines import Given
from tests.benchmarks.engines import polars_questions as questions


class Polars:
    """Filters are pushed into the scan; nothing is kept between questions."""

    def __init__(self, given: Given) -> None:
        frame = pl.scan_parquet(list(given.paths), hive_partitioning=False)
        self.frame = frame.filter(pl.col("session_date") == date.fromisoformat(given.day))
        self.noon = datetime.fromisoformat(given.noon)

    def point(self, instrument: int) -> int:
        return len(self._of(instrument).collect().to_arrow())

    def bars(self, instrument: int) -> int:
        return questions.bars(self._of(instrument))

    def all_bars(self) -> int:
        return questions.bars(self.frame)

    def made_bars(self) -> pa.Table:
        return questions.bars_query(self.frame).sort("instrument_id", "ts_open").collect().to_arrow()

    def as_of(self, instrument: int, other: int) -> int:
        left, right = (self._of(one).select("ts_event", "price").collect() for one in (instrument, other))
        return questions.as_of(left, right)

    def snapshot(self) -> int:
        return questions.last(self.frame, self.noon)

    def _of(self, instrument: int) -> pl.LazyFrame:
        return self.frame.filter(pl.col("instrument_id") == instrument)
