"""The lake: reading by `lake.scan.read`, bars by `transforms.time_bars`, other arithmetic by Polars, as a user would."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime, timedelta
from itertools import count
from pathlib import Path

import polars as pl
import pyarrow as pa

from lake.catalog import Lake
from lake.commits import append
from lake.expiry import expire
from lake.instants import system_clock
from lake.log.blocks import encode_rows
from lake.log.segments import SegmentLog
from lake.scan import Where, keep_newest_session, read
from lake.settings import load_settings
from lake.values import MessageRange
from tests.benchmarks.engines import Given
from tests.benchmarks.engines import polars_questions as questions
from transforms.time_bars import time_bars

TRADES = "normalized.trades"
BARS_OF = ["instrument_id", "ts_event", "price", "size"]
MINUTE = timedelta(minutes=1)
HOT_BYTES = 4 << 30
EXPIRE_EACH = 25


class Files:
    """Reads files."""

    hot_bytes = 0

    def __init__(self, given: Given) -> None:
        self.lake = Lake.open(load_settings(home=Path(given.home), hot_bytes=self.hot_bytes), system_clock)
        self.day = Where("session_date", "=", date.fromisoformat(given.day))
        self.noon = Where("ts_event", "<=", datetime.fromisoformat(given.noon))

    def point(self, instrument: int) -> int:
        return read(self.lake, TRADES, where=self._of(instrument)).num_rows

    def bars(self, instrument: int) -> int:
        return time_bars(read(self.lake, TRADES, BARS_OF, self._of(instrument)), MINUTE).num_rows

    def all_bars(self) -> int:
        return self.made_bars().num_rows

    def made_bars(self) -> pa.Table:
        return time_bars(read(self.lake, TRADES, BARS_OF, [self.day]), MINUTE)

    def as_of(self, instrument: int, other: int) -> int:
        left, right = (read(self.lake, TRADES, ["ts_event", "price"], self._of(one)) for one in (instrument, other))
        return questions.as_of(_frame(left), _frame(right))

    def snapshot(self) -> int:
        return questions.last(_frame(read(self.lake, TRADES, BARS_OF, [self.day, self.noon])))

    def _of(self, instrument: int) -> list[Where]:
        return [Where("instrument_id", "=", instrument), self.day]


class Hot(Files):
    """Holds the newest session in memory."""

    hot_bytes = HOT_BYTES

    def __init__(self, given: Given) -> None:
        super().__init__(given)
        keep_newest_session(self.lake, TRADES)


def to_log(folder: Path, rows: pa.Table) -> Callable[[], int]:
    """Return what appends the rows to the embedded log as one block: readers of the tail have them from there."""
    log = SegmentLog(folder / "log", system_clock)

    def run() -> int:
        log.append("bench", 0, [encode_rows(TRADES, rows)])
        return rows.num_rows

    return run


def to_main(folder: Path, rows: pa.Table) -> Callable[[], int]:
    """Return what commits the rows to main, and expires old snapshots now and then."""
    lake = Lake.create(load_settings(home=folder / "home"), system_clock)
    numbers = count()
    ranges = [MessageRange(rows["capture_id"][0].as_py(), 0, rows["message_seq"][-1].as_py())]

    def run() -> int:
        number = next(numbers)
        append(lake, TRADES, rows, "bench", {"0": number} if number else {}, {"0": number + 1}, f"bench-{number}", ranges)
        if number % EXPIRE_EACH == EXPIRE_EACH - 1:
            expire(lake, TRADES)
        return rows.num_rows

    return run


def _frame(rows: pa.Table) -> pl.DataFrame:
    found = pl.from_arrow(rows)
    assert isinstance(found, pl.DataFrame)
    return found
