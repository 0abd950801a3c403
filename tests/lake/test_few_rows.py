"""Few rows past DuckDB, and the newest session in memory: always what a plain scan of the same snapshot gives."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lake import few_rows
from lake.catalog import Lake
from lake.commits import append
from lake.durable import local_path
from lake.encodings import parquet_options
from lake.hot_rows import HotRows
from lake.instants import system_clock, to_datetime
from lake.plans import PlanCache
from lake.pointers import Pointers
from lake.publish import publish, replace_all, stage
from lake.row_groups import Footers, read_groups
from lake.scan import PUBLISHED_AT, Where, keep_newest_session, read
from lake.settings import load_settings
from lake.tables import Column, rows, table_named
from lake.values import MessageRange
from tests.benchmarks import ticks
from tests.lake.made import MORNING, trade_batch, trades

TRADES = "normalized.trades"
TABLE = table_named(TRADES)


@pytest.fixture(scope="module")
def homes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Lake, Lake]]:
    """One lake opened twice: with the newest session in memory, and without any memory."""
    home = tmp_path_factory.mktemp("few")
    with (
        Lake.create(load_settings(home=home), system_clock) as hot,
        Lake.open(load_settings(home=home, hot_bytes=0), system_clock) as cold,
    ):
        for first in range(0, 60, 20):
            publish(hot, stage(hot, trade_batch(first, first + 19)))
        publish(hot, stage(hot, trade_batch(0, 9, provider="other")))
        assert keep_newest_session(hot, TRADES) > 0
        yield hot, cold


def plain(lake: Lake, where: list[Where]) -> list[str]:
    """Return the rows by PyIceberg's own scan, filtered in Python."""
    found = lake.table(TRADES).scan().to_arrow().cast(TABLE.arrow_schema()).to_pylist()
    return sorted(str(row) for row in found if all(holds(row, one) for one in where))


def holds(row: dict[str, Any], where: Where) -> bool:
    value, wanted = row[where.column], where.value
    match where.op:
        case "in":
            return value in wanted  # type: ignore[operator]
        case "=":
            return bool(value == wanted)
        case ">=":
            return value is not None and value >= wanted  # type: ignore[no-any-return]
        case "<":
            return value is not None and value < wanted  # type: ignore[no-any-return]
    raise AssertionError(where.op)


def texts(found: pa.Table) -> list[str]:
    return sorted(map(str, found.to_pylist()))


CONDITIONS = {
    "session_date": (("=", st.dates(date(2024, 3, 3), date(2024, 3, 6))),),
    "provider": (("=", st.sampled_from(["binance", "other", "nobody"])), ("in", st.lists(st.sampled_from(["other", "x"])))),
    "ts_event": tuple((op, st.integers(-5, 70).map(lambda n: MORNING + timedelta(seconds=n))) for op in (">=", "<", "=")),
    "sequence": ((">=", st.integers(-1, 60)), ("in", st.lists(st.integers(0, 60)))),
    "side": (("=", st.none()),),
    "symbol": (("=", st.sampled_from(["BTCUSDT", "ETHUSDT"])),),
}


@st.composite
def questions(draw: st.DrawFn) -> list[Where]:
    """Draw conditions that fix the instrument, and up to two more."""
    ids = st.integers(6, 10) | st.integers(-(2**63), 2**63 - 1)
    found = [draw(st.builds(Where, st.just("instrument_id"), st.just("="), ids))]
    if draw(st.booleans()):
        found = [Where("instrument_id", "in", draw(st.lists(ids, max_size=4)))]
    for column in draw(st.lists(st.sampled_from(sorted(CONDITIONS)), max_size=2)):
        op, values = draw(st.sampled_from(CONDITIONS[column]))
        found.append(Where(column, op, draw(values)))  # type: ignore[arg-type]
    return found


@given(questions())
@settings(max_examples=40, deadline=None)
def test_memory_files_and_a_plain_scan_answer_alike(homes: tuple[Lake, Lake], where: list[Where]) -> None:
    hot, cold = homes
    expected = plain(hot, where)
    assert texts(read(hot, TRADES, where=where)) == expected
    assert texts(read(cold, TRADES, where=where)) == expected
    # An expression for the identical instruments that does not fix the first column goes through DuckDB.
    spread = [one for one in where if one.column != "instrument_id"]
    through = read(cold, TRADES, where=[*spread, Where("instrument_id", ">=", -(2**63))])
    only = [one for one in where if one.column == "instrument_id"]
    assert sorted(str(row) for row in through.to_pylist() if all(holds(row, one) for one in only)) == expected


def test_columns_come_as_asked_from_memory_too(homes: tuple[Lake, Lake]) -> None:
    where = [Where("instrument_id", "=", 7), Where("session_date", "=", date(2024, 3, 5)), Where("sequence", "<", 30)]
    for lake in homes:
        found = read(lake, TRADES, ["price", "provider", PUBLISHED_AT], where)
        assert found.column_names == ["price", "provider", PUBLISHED_AT]
        assert found.num_rows == len(plain(lake, where)) and found[PUBLISHED_AT].null_count == 0
        assert read(lake, TRADES, ["side"], where).schema == pa.schema([TABLE.arrow_schema().field("side")])


def test_memory_follows_every_commit_and_keeps_the_past(lake: Lake) -> None:
    """Append, append to the same session, a new session, a rewrite: the answer is that of the files, at once."""
    seven = [Where("instrument_id", "=", 7)]
    moments: list[tuple[datetime, list[str]]] = []
    for first in range(0, 30, 10):
        publish(lake, stage(lake, trade_batch(first, first + 9)))
        keep_newest_session(lake, TRADES)
        assert texts(read(lake, TRADES, where=seven)) == plain(lake, seven)
        now = to_datetime(system_clock())
        moments.append((now, texts(read(lake, TRADES, where=seven, as_of=now))))
        known = MORNING + timedelta(seconds=first)
        by_hand = [row for row in read(lake, TRADES).to_pylist() if row["instrument_id"] == 7 and row["ts_event"] <= known]
        assert texts(read(lake, TRADES, where=seven, known_as_of=known)) == sorted(map(str, by_hand))
    whole = read(lake, TRADES)
    later = whole.set_column(6, whole.schema.field(6), pa.array([date(2024, 3, 9)] * whole.num_rows, pa.date32()))
    staged = replace_all(lake, TRADES, later, "rebuild", lake.head(TRADES).snapshot_id)
    assert texts(read(lake, TRADES, where=seven)) == moments[-1][1], "staged is not published"
    publish(lake, staged)
    assert set(read(lake, TRADES, where=seven)["session_date"].to_pylist()) == {date(2024, 3, 9)}
    assert [len(read(lake, TRADES, where=seven, as_of=at)) for at, _ in moments] == [len(rows) for _, rows in moments]


def test_files_asked_often_are_kept_within_the_budget(lake: Lake) -> None:
    publish(lake, stage(lake, trade_batch(0, 39)))
    newest = [Where("instrument_id", "=", 7), Where("session_date", "=", date(2024, 3, 5))]
    (path,) = [str(local_path(file.file.file_path)) for file in lake.table(TRADES).scan("session_date='2024-03-05'").plan_files()]
    assert few_rows.HOT.kept(path) is None
    for _ in range(3):
        assert texts(read(lake, TRADES, where=newest)) == plain(lake, newest)
    kept = few_rows.HOT.kept(path)
    assert kept is not None and 0 < kept.size <= lake.settings.hot_bytes

    footers, memory = Footers(), HotRows()
    assert memory.keep(TABLE, footers.footer(path), budget=kept.size - 1) == 0 and memory.size() == 0
    older = [str(local_path(f.file.file_path)) for f in lake.table(TRADES).scan("session_date='2024-03-04'").plan_files()]
    for one in [path, *older]:
        memory.keep(TABLE, footers.footer(one), budget=kept.size + 10)
    assert memory.size() <= kept.size + 10 and memory.kept(path) is None, "the least recently asked leaves"


def test_a_file_of_several_row_groups_is_in_memory_as_it_is(tmp_path: Path) -> None:
    made = ticks.session(0, 2_000).sort_by([(name, "ascending") for name in TABLE.order])
    currencies = pa.array(["USD"] * 1_500 + ["EUR"] * 500)
    day = made.set_column(made.column_names.index("currency"), made.schema.field("currency"), currencies)
    path = str(tmp_path / "day.parquet")
    pq.write_table(day, path, row_group_size=500, **parquet_options(TABLE))
    memory = HotRows()
    assert memory.keep(TABLE, Footers().footer(path), budget=1 << 30) > 0
    kept = memory.kept(path)
    assert kept is not None and "side" in kept.constant and "currency" not in kept.constant
    parts = [kept.slice(value, tuple(TABLE.column_names)) for value in kept.runs]
    assert pa.concat_tables(part for part in parts if part is not None).equals(day)


def test_readers_of_memory_beside_a_writer_see_whole_batches(lake: Lake) -> None:
    seen: list[int] = []
    done = threading.Event()

    def ask() -> None:
        while not done.is_set():
            seen.append(read(lake, TRADES, where=[Where("instrument_id", "in", [7, 8, 9])]).num_rows)

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        for first in range(0, 100, 10):
            publish(lake, stage(lake, trade_batch(first, first + 9)))
            assert read(lake, TRADES, where=[Where("instrument_id", "in", [7, 8, 9])]).num_rows == first + 10, "read your write"
    finally:
        done.set()
        asking.join()
    assert seen == sorted(seen) and {count % 10 for count in seen} <= {0}


def test_a_pointer_is_never_older_than_the_question(lake: Lake) -> None:
    pointers = Pointers(Path(lake.settings.home) / "catalog.db", "tickhouse")
    assert pointers.location("normalized.nothing") is None
    for number in range(3):
        assert pointers.location(TRADES) == lake.table(TRADES).metadata_location
        append(
            lake,
            TRADES,
            trades(number, number),
            "x",
            {"0": number} if number else {},
            {"0": number + 1},
            f"r{number}",
            [MessageRange("c1", number, number)],
        )
    with Lake.open(lake.settings, system_clock) as other:
        publish(other, stage(other, trade_batch(0, 3)))
        assert pointers.location(TRADES) == other.table(TRADES).metadata_location == lake.table(TRADES).metadata_location
    pointers.close()
    assert pointers.location(TRADES) == lake.table(TRADES).metadata_location


def test_columns_are_found_by_field_id_and_old_types_are_widened(lake: Lake) -> None:
    """A definition whose column was renamed, widened or added reads older files right, constant columns among them."""
    publish(lake, stage(lake, trade_batch(0, 9)))
    plan = PlanCache().plan(TABLE, lake.table(TRADES))
    changed = tuple(
        Column(
            one.field_id,
            {"symbol": "ticker"}.get(one.name, one.name),
            {"ordinal": "long"}.get(one.name, one.type),
            one.doc,
            one.required,
            one.encoding,
            one.is_stamp,
        )
        for one in TABLE.columns
        if one.name != "feed"
    )
    added = Column(99, "colour", "string", "-", False, TABLE.column("mic").encoding, False)
    later = type(TABLE)(TABLE.name, "-", (*changed, added), TABLE.partition, TABLE.order, (), TABLE.published_by)
    footers = Footers()
    for path in plan.paths:
        footer = footers.footer(path)
        (found,) = read_groups(footer, later, range(len(footer.rows)), later.column_names, lambda group: group)
        assert set(found["ticker"].to_pylist()) == {"BTCUSDT"} and found["colour"].null_count == found.num_rows
        assert found["ordinal"].type == pa.int64() and "feed" not in found.column_names


def test_a_column_of_one_value_is_told_from_one_of_several(tmp_path: Path) -> None:
    made = rows(
        TABLE,
        {
            "instrument_id": [1, 1, 1],
            "provider": ["p"] * 3,
            "feed": ["f"] * 3,
            "symbol": ["A", "A", "B"],
            "mic": ["X", None, "X"],
            "session_date": [date(2026, 1, 1)] * 3,
            "ts_event": [datetime(2026, 1, 1, 0, 0, n, tzinfo=UTC) for n in range(3)],
            "ts_event_nanos": [0, 0, 0],
            "ts_recv": [datetime(2026, 1, 1, tzinfo=UTC)] * 3,
            "price": [1, 1, 1],
            "size": [1, 2, 1],
            "capture_id": ["c" * 40] * 3,
            "message_seq": [1, 2, 3],
            "ordinal": [0, 0, 0],
        },
    )
    path = tmp_path / "one.parquet"
    pq.write_table(made, path, **parquet_options(TABLE))
    footer = Footers().footer(str(path))
    constant = {one.name: footer.constant(one, 0) for one in TABLE.columns}
    assert constant["capture_id"] == pa.scalar("c" * 40) and constant["side"] == pa.scalar(None, pa.string())
    assert [name for name, value in constant.items() if value is None] == ["symbol", "mic", "ts_event", "size", "message_seq"]
    (found,) = read_groups(footer, TABLE, [0], TABLE.column_names, lambda group: group)
    assert found.cast(made.schema).equals(made)
