"""A million instruments with symbol histories: 1,000 symbols resolved at a date, against a dict, Polars and DuckDB.

Every instrument is listed by one provider; each tenth had another symbol before, each hundredth ticker was used by two. Ours is
what the API asks (`transforms/symbology.py`); the dict holds sorted intervals a name and bisects; Polars joins and filters;
DuckDB joins over the same Arrow rows. The name of our case tells p99 over 200 rounds, by wall and by CPU, and the memory.
"""

from __future__ import annotations

import time
from bisect import bisect_right
from collections.abc import Callable
from datetime import date, timedelta

import duckdb
import numpy as np
import polars as pl
import pyarrow as pa

from tests.benchmarks.cases import Case, Skipped
from transforms.symbology import INTERVALS, Symbology, day_numbers, symbology

GROUP = "resolve 1,000 symbols of 1,000,000 instruments at a date"
INSTRUMENTS, ASKED, ROUNDS = 1_000_000, 1_000, 200
CHANGED, DAY = date(2015, 6, 1), date(2024, 1, 2)


def cases() -> list[Case | Skipped]:
    """Return ours and the peers over the same names and dates."""
    rows = made_rows()
    known = symbology(rows)
    chance = np.random.default_rng(7)
    names = [f"S{number}" for number in chance.integers(0, INSTRUMENTS, ASKED)]
    days = day_numbers(DAY, ASKED)
    answer = by_array(known, names, days)
    peers = {
        "dict and bisect": by_dict(rows, names),
        "polars join": by_polars(rows, names),
        "duckdb join": by_duckdb(rows, names),
    }
    for name, peer in peers.items():
        if peer() != answer():
            raise AssertionError(f"{name} resolves {peer()} names, ours {answer()}")
    told = f"tickhouse ({percentiles(answer)}, {known.memory_bytes / 1e6:.0f} MB)"
    return [
        Case(GROUP, told, "names", answer, is_ours=True),
        *(Case(GROUP, name, "names", peer) for name, peer in peers.items()),
    ]


def made_rows() -> pa.Table:
    """Return the names of all instruments: INTERVALS."""
    numbers = np.arange(INSTRUMENTS)
    renamed, reused = numbers[numbers % 10 == 0], numbers[numbers % 100 == 1]
    symbols = [f"symbol:S{number}" for number in numbers]
    starts = np.where(
        numbers % 10 == 0, np.datetime64(CHANGED), np.where(numbers % 100 == 1, np.datetime64(CHANGED), np.datetime64("NaT"))
    )
    frames = [
        (symbols, numbers + 1, starts.astype("datetime64[D]"), None),
        ([f"symbol:OLD{number}" for number in renamed], renamed + 1, None, CHANGED),
        ([f"symbol:S{number}" for number in reused], reused + 1 + INSTRUMENTS, None, CHANGED - timedelta(days=30)),
    ]
    parts = []
    for texts, ids, start, end in frames:
        count = len(texts)
        begins = pa.nulls(count, pa.date32()) if start is None else pa.array(start, pa.date32())
        ends = pa.nulls(count, pa.date32()) if end is None else pa.repeat(pa.scalar(end), count)
        parts.append(pa.Table.from_arrays([pa.array(texts), pa.array(ids, pa.int64()), begins, ends], schema=INTERVALS))
    return pa.concat_tables(parts)


def by_array(known: Symbology, names: list[str], days: np.ndarray) -> Callable[[], int]:
    """Return our resolution; it counts the names found."""
    return lambda: len(known.resolve(names, days)[0])


def percentiles(run: Callable[[], int]) -> str:
    """Return the 99th percentile of one call, by wall and by CPU."""
    walls, cpus = [], []
    for _ in range(ROUNDS):
        wall, cpu = time.perf_counter(), time.process_time()
        run()
        walls.append(time.perf_counter() - wall)
        cpus.append(time.process_time() - cpu)
    return f"p99 {np.percentile(walls, 99) * 1e3:.1f} ms, {np.percentile(cpus, 99) * 1e3:.1f} ms of CPU"


def by_dict(rows: pa.Table, names: list[str]) -> Callable[[], int]:
    """Return the way of a dict of interval lists."""
    held: dict[str, list[tuple[date, date, int]]] = {}
    for name, one, start, end in zip(*(column.to_pylist() for column in rows.columns), strict=True):
        held.setdefault(name, []).append((start or date.min, end or date.max, one))
    for spans in held.values():
        spans.sort()

    def run() -> int:
        count = 0
        for name in names:
            spans = held.get(f"symbol:{name}", [])
            place = bisect_right(spans, (DAY, date.max, 0)) - 1
            count += place >= 0 and spans[place][1] > DAY
        return count

    return run


def by_polars(rows: pa.Table, names: list[str]) -> Callable[[], int]:
    """Return the way of a join and a filter in Polars."""
    frame = pl.from_arrow(rows)
    assert isinstance(frame, pl.DataFrame)

    def run() -> int:
        asked = pl.DataFrame({"name": [f"symbol:{name}" for name in names]})
        inside = (pl.col("start_date").is_null() | (pl.col("start_date") <= DAY)) & (
            pl.col("end_date").is_null() | (pl.col("end_date") > DAY)
        )
        return asked.join(frame, on="name").filter(inside).height

    return run


def by_duckdb(rows: pa.Table, names: list[str]) -> Callable[[], int]:
    """Return the way of a join in DuckDB over a table of its own."""
    connection = duckdb.connect()
    connection.register("given", rows)
    connection.execute("CREATE TABLE names AS SELECT * FROM given")

    def run() -> int:
        connection.register("asked", pa.table({"name": [f"symbol:{name}" for name in names]}))
        found = connection.execute(
            "SELECT count(*) FROM asked JOIN names USING (name)"
            " WHERE coalesce(start_date <= ?, true) AND coalesce(end_date > ?, true)",
            [DAY, DAY],
        ).fetchall()
        return int(found[0][0])

    return run
