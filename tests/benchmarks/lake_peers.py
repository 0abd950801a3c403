"""Who is compared with the lake: the same session of ticks in each one's own way, and the same six questions to each.

Every engine answers with the same number of rows, or the run stops. DuckDB and Polars read the very Parquet files of the
lake; ArcticDB and chDB hold the newest session in stores of their own, laid out as their manuals advise.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from datetime import date, datetime, timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pyarrow as pa

from lake.catalog import Lake
from lake.commits import append
from lake.instants import system_clock
from lake.scan import Where, keep_newest_session, read
from lake.settings import load_settings
from tests.benchmarks import ticks
from transforms.time_bars import time_bars

TRADES = "normalized.trades"
BARS_OF = ["instrument_id", "ts_event", "price", "size"]
MINUTE = timedelta(minutes=1)
DAY = ticks.session_date(ticks.SESSIONS - 1)
NOON = datetime.fromisoformat(f"{DAY}T17:00:00+00:00")
HOT_BYTES = 4 << 30


def fill(home: Path, scale: float) -> None:
    """Make a lake of five sessions, one commit each, unless it is there."""
    if (home / "filled").exists():
        return
    with Lake.create(load_settings(home=home), system_clock) as lake:
        for number, rows in ticks.sessions(scale):
            before = {"0": number} if number else {}
            append(lake, TRADES, rows, ticks.PROVIDER, before, {"0": number + 1}, f"bench-{number}", ticks.ranges(rows))
    (home / "filled").touch()


class Ours:
    """The lake by `lake.scan.read`; bars by `transforms.time_bars`, and Polars for other arithmetic, as a user would."""

    def __init__(self, home: Path, hot: bool) -> None:
        self.lake = Lake.open(load_settings(home=home, hot_bytes=HOT_BYTES if hot else 0), system_clock)
        if hot:
            keep_newest_session(self.lake, TRADES)

    def point(self, instrument: int) -> int:
        return read(self.lake, TRADES, where=_where(instrument)).num_rows

    def bars(self, instrument: int) -> int:
        return time_bars(read(self.lake, TRADES, BARS_OF, _where(instrument)), MINUTE).num_rows

    def all_bars(self) -> int:
        return self.made_bars().num_rows

    def made_bars(self) -> pa.Table:
        return time_bars(read(self.lake, TRADES, BARS_OF, _where(None)), MINUTE)

    def as_of(self, instrument: int, other: int) -> int:
        left, right = (read(self.lake, TRADES, ["ts_event", "price"], _where(one)) for one in (instrument, other))
        return _as_of(_frame(left), _frame(right))

    def snapshot(self) -> int:
        until = [*_where(None), Where("ts_event", "<=", NOON)]
        return _last(_frame(read(self.lake, TRADES, ["instrument_id", "ts_event", "price", "size"], until)))

    @property
    def paths(self) -> list[str]:
        """The data files, for those who read them without us."""
        return [one.file.file_path.removeprefix("file://") for one in self.lake.table(TRADES).scan().plan_files()]


class Polars:
    """Polars, lazily over the lake's Parquet files."""

    def __init__(self, paths: Sequence[str]) -> None:
        self.frame = pl.scan_parquet(list(paths), hive_partitioning=False).filter(pl.col("session_date") == DAY)

    def point(self, instrument: int) -> int:
        return len(self.frame.filter(pl.col("instrument_id") == instrument).collect().to_arrow())

    def bars(self, instrument: int) -> int:
        return _bars(self.frame.filter(pl.col("instrument_id") == instrument))

    def all_bars(self) -> int:
        return _bars(self.frame)

    def made_bars(self) -> pa.Table:
        return _bars_query(self.frame).sort("instrument_id", "ts_open").collect().to_arrow()

    def as_of(self, instrument: int, other: int) -> int:
        left, right = (
            self.frame.filter(pl.col("instrument_id") == one).select("ts_event", "price").collect() for one in (instrument, other)
        )
        return _as_of(left, right)

    def snapshot(self) -> int:
        return _last(self.frame.filter(pl.col("ts_event") <= NOON))


class DuckDB:
    """DuckDB over the lake's Parquet files."""

    def __init__(self, paths: Sequence[str]) -> None:
        self.connection = duckdb.connect()
        self.connection.execute("SET parquet_metadata_cache = true; SET TimeZone = 'UTC'")
        self.files = f"read_parquet({list(paths)!r}, hive_partitioning = false)"
        self.day = f"FROM {self.files} WHERE session_date = DATE '{DAY}'"

    def _count(self, query: str) -> int:
        return int(self.connection.sql(query).to_arrow_table().num_rows)

    def point(self, instrument: int) -> int:
        return self._count(f"SELECT * {self.day} AND instrument_id = {instrument}")

    def bars(self, instrument: int) -> int:
        return self._count(_sql_bars(f"{self.day} AND instrument_id = {instrument}"))

    def all_bars(self) -> int:
        return self._count(_sql_bars(self.day))

    def as_of(self, instrument: int, other: int) -> int:
        sides = [f"(SELECT ts_event, price {self.day} AND instrument_id = {one})" for one in (instrument, other)]
        return self._count(
            f"SELECT l.ts_event, l.price, r.price AS other FROM {sides[0]} l ASOF LEFT JOIN {sides[1]} r"
            " ON l.ts_event >= r.ts_event"
        )

    def snapshot(self) -> int:
        last = "arg_max(price, ts_event) AS price, arg_max(size, ts_event) AS size, max(ts_event) AS ts_event"
        return self._count(f"SELECT instrument_id, {last} {self.day} AND ts_event <= TIMESTAMPTZ '{NOON}' GROUP BY instrument_id")


class Arctic:
    """ArcticDB on LMDB: a symbol an instrument for single reads, and the whole day as one for the rest; doubles for prices."""

    def __init__(self, folder: Path, session: pa.Table, instruments: Sequence[int]) -> None:
        import arcticdb

        self.library = arcticdb.Arctic(f"lmdb://{folder}").get_library("ticks", create_if_missing=True)
        columns = ["ts_event", "instrument_id", "price", "size", "symbol", "mic", "ts_recv", "sequence", "trade_id", "conditions"]
        frame = pl.from_arrow(session.select(columns)).with_columns(pl.col("price", "size").cast(pl.Float64))
        assert isinstance(frame, pl.DataFrame)
        for one in instruments:
            self._write(str(one), frame.filter(pl.col("instrument_id") == one))
        self._write("day", frame)

    def _write(self, name: str, frame: pl.DataFrame) -> None:
        pandas = frame.with_columns(pl.col("ts_event", "ts_recv").dt.replace_time_zone(None)).to_pandas()
        self.library.write(name, pandas.set_index("ts_event"))

    def _read(self, name: str, columns: list[str] | None = None) -> Any:
        return self.library.read(name, columns=columns).data

    def point(self, instrument: int) -> int:
        return len(self._read(str(instrument)))

    def bars(self, instrument: int) -> int:
        return _bars(_of_pandas(self._read(str(instrument), ["instrument_id", "price", "size"])))

    def all_bars(self) -> int:
        return _bars(_of_pandas(self._read("day", ["instrument_id", "price", "size"])))

    def as_of(self, instrument: int, other: int) -> int:
        left, right = (_of_pandas(self._read(str(one), ["price"])) for one in (instrument, other))
        return _as_of(left, right)

    def snapshot(self) -> int:
        frame = _of_pandas(self._read("day", ["instrument_id", "price", "size"]))
        return _last(frame.filter(pl.col("ts_event") <= NOON.replace(tzinfo=None)))


class Chdb:
    """chDB (ClickHouse in process): one MergeTree in the order of the questions, a codec a column."""

    def __init__(self, folder: Path, paths: Sequence[str]) -> None:
        from chdb.session import Session

        self.session = Session(str(folder))
        self.session.query("CREATE DATABASE IF NOT EXISTS bench")
        self.session.query(
            f"CREATE TABLE IF NOT EXISTS bench.trades ({CLICKHOUSE_COLUMNS})"
            " ENGINE = MergeTree ORDER BY (instrument_id, ts_event)"
        )
        if not int(str(self.session.query("SELECT count() FROM bench.trades")).strip()):
            for path in paths:
                self.session.query(
                    f"INSERT INTO bench.trades SELECT {CLICKHOUSE_NAMES} FROM file('{path}', 'Parquet')"
                    " SETTINGS use_hive_partitioning = 0"  # names of folders are not values
                )
            self.session.query("OPTIMIZE TABLE bench.trades FINAL")

    def _count(self, query: str) -> int:
        with pa.ipc.open_file(pa.BufferReader(self.session.query(query, "Arrow").bytes())) as found:
            return int(found.read_all().num_rows)

    @property
    def day(self) -> str:
        return f"FROM bench.trades WHERE session_date = toDate('{DAY}')"

    def point(self, instrument: int) -> int:
        return self._count(f"SELECT * {self.day} AND instrument_id = {instrument}")

    def bars(self, instrument: int) -> int:
        return self._count(_clickhouse_bars(f"{self.day} AND instrument_id = {instrument}"))

    def all_bars(self) -> int:
        return self._count(_clickhouse_bars(self.day))

    def as_of(self, instrument: int, other: int) -> int:
        sides = [f"(SELECT 1 AS one, ts_event, price {self.day} AND instrument_id = {one})" for one in (instrument, other)]
        return self._count(
            f"SELECT l.ts_event, l.price, r.price AS other FROM {sides[0]} l ASOF LEFT JOIN {sides[1]} r"
            " ON l.one = r.one AND l.ts_event >= r.ts_event"
        )

    def snapshot(self) -> int:
        last = "argMax(price, ts_event) AS p, argMax(size, ts_event) AS s, max(ts_event) AS t"
        until = f"ts_event <= toDateTime64('{NOON:%Y-%m-%d %H:%M:%S}', 6, 'UTC')"
        return self._count(f"SELECT instrument_id, {last} {self.day} AND {until} GROUP BY instrument_id")


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
CLICKHOUSE_COLUMNS = ", ".join(f"{name} {kind}" for name, kind in _COLUMNS.items())
CLICKHOUSE_NAMES = ", ".join(_COLUMNS)


def missing(package: str) -> str | None:
    """Return why a peer cannot run here, or None."""
    if find_spec(package) is None:
        where = "in an environment of its own (README)" if package == "arcticdb" else "by the extra `bench`"
        return f"{package} is not installed; it comes {where}"
    try:
        importlib.import_module(package)
    except (ImportError, NotImplementedError) as error:  # arcticdb takes no protobuf beyond 4, and says so in this way
        return f"{package} does not import: {error}"
    return None


def instruments() -> dict[str, int]:
    """Return instruments by how busy they are."""
    ids = [int(one) for one in ticks.instrument_ids()]
    return {"liquid": ids[0], "mid": ids[100], "tail": ids[2_000]}


def _where(instrument: int | None, day: date = DAY) -> list[Where]:
    found = [Where("session_date", "=", day)]
    return found if instrument is None else [Where("instrument_id", "=", instrument), *found]


def _frame(rows: pa.Table) -> pl.DataFrame:
    found = pl.from_arrow(rows)
    assert isinstance(found, pl.DataFrame)
    return found


def _of_pandas(frame: Any) -> pl.DataFrame:
    return pl.from_pandas(frame.reset_index())


def check_bars(ours: Ours, others: Polars) -> None:
    """Refuse to compare times where the bars differ in a value."""
    made = ours.made_bars()
    if not others.made_bars().cast(made.schema).equals(made):
        raise ValueError("ours and Polars make other bars of the same day")


def _bars(rows: pl.DataFrame | pl.LazyFrame) -> int:
    return len(_bars_query(rows).collect().to_arrow())


def _bars_query(rows: pl.DataFrame | pl.LazyFrame) -> pl.LazyFrame:
    price, size = pl.col("price"), pl.col("size")
    return (
        rows.lazy()
        .group_by("instrument_id", pl.col("ts_event").dt.truncate("1m").alias("ts_open"))
        .agg(
            open=price.first(),
            high=price.max(),
            low=price.min(),
            close=price.last(),
            volume=size.sum(),
            trade_count=pl.len(),
        )
    )


def _as_of(left: pl.DataFrame, right: pl.DataFrame) -> int:
    ordered = left.sort("ts_event"), right.sort("ts_event")
    return len(ordered[0].join_asof(ordered[1], on="ts_event", suffix="_other").to_arrow())


def _last(rows: pl.DataFrame | pl.LazyFrame) -> int:
    found = rows.lazy().group_by("instrument_id").agg(pl.col("ts_event", "price", "size").last())
    return len(found.collect().to_arrow())


def _sql_bars(rows: str) -> str:
    return (
        "SELECT instrument_id, time_bucket(INTERVAL 1 minute, ts_event) AS ts_open, first(price) AS open, max(price) AS high,"
        f" min(price) AS low, last(price) AS close, sum(size) AS volume, count(*) AS trade_count {rows} GROUP BY ALL"
    )


def _clickhouse_bars(rows: str) -> str:
    return (
        "SELECT instrument_id, toStartOfMinute(ts_event) AS ts_open, argMin(price, ts_event) AS o, max(price) AS h,"
        f" min(price) AS l, argMax(price, ts_event) AS c, sum(size) AS v, count() AS n {rows} GROUP BY instrument_id, ts_open"
    )
