"""Reading: the same rows as a plain scan filtered by hand, whatever is pruned; files that are not as a plan says."""

from __future__ import annotations

import operator
import threading
from collections.abc import Callable
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyiceberg.manifest import ManifestContent
from pyiceberg.table import Table as IcebergTable

from lake.catalog import Lake
from lake.commits import append
from lake.errors import CommitUnknownError, CorruptedError, InvalidValueError, NotFoundError
from lake.instants import system_clock
from lake.plans import PlanCache
from lake.publish import publish, replace_all, stage
from lake.scan import Where, dataset, read
from lake.settings import load_settings
from lake.tables import table_named
from lake.values import MessageRange
from tests.lake.made import MORNING, trade_batch, trades
from tests.lake.reading import LONG, TRADES, bars, everything_of, paths_of, same

OPS: dict[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
}


def holds(row: dict[str, Any], where: Where) -> bool:
    value = row[where.column]
    if where.op == "in":
        assert isinstance(where.value, list)
        return value is not None and value in where.value
    if where.value is None:
        return value is None
    return value is not None and OPS[where.op](value, where.value)


VALUES: dict[str, st.SearchStrategy[Any]] = {
    "instrument_id": st.integers(5, 11) | st.integers(-(2**63), 2**63 - 1),
    "provider": st.sampled_from(["binance", "other", LONG, LONG[:16], "", "zzz", "it's"]),
    "session_date": st.dates(date(2024, 3, 3), date(2024, 3, 6)),
    "ts_event": st.integers(-5, 70).map(lambda seconds: MORNING + timedelta(seconds=seconds)),
    "sequence": st.integers(-5, 70),
    "trade_id": st.integers(0, 70).map(str),
    "price": st.integers(0, 70).map(lambda number: Decimal(60000 + number) / 100),
    "side": st.none(),
    "capture_id": st.sampled_from(["c-binance", "c-other", f"{LONG}0", f"{LONG}1", LONG[:16]]),
}


@st.composite
def wheres(draw: st.DrawFn) -> Where:
    column = draw(st.sampled_from(sorted(VALUES)))
    if column == "side":
        return Where(column, "=", None)
    if draw(st.booleans()):
        return Where(column, "in", draw(st.lists(VALUES[column], max_size=4)))
    return Where(column, draw(st.sampled_from(["=", ">=", "<", "<=", ">"])), draw(VALUES[column]))


@given(st.lists(wheres(), max_size=3))
@settings(max_examples=30)
def test_a_read_is_a_plain_scan_filtered(full: Lake, where: list[Where]) -> None:
    expected = [row for row in everything_of(full) if all(holds(row, one) for one in where)]
    found = read(full, TRADES, where=where)
    assert same(found, expected)
    assert found.schema.equals(table_named(TRADES).arrow_schema(), check_metadata=True)


def test_partitions_and_bounds_rule_files_out(full: Lake) -> None:
    every = paths_of(full, [])
    assert len(every) == 12
    assert len(paths_of(full, [Where("provider", "=", "other")])) == 2
    assert len(paths_of(full, [Where("provider", "=", LONG[:16])])) == 0
    assert len(paths_of(full, [Where("session_date", "=", date(2024, 3, 4))])) == 6
    assert len(paths_of(full, [Where("provider", "=", "binance"), Where("ts_event", ">=", MORNING + timedelta(seconds=40))])) == 2
    assert len(paths_of(full, [Where("sequence", ">", 59)])) == 0
    assert len(paths_of(full, [Where("sequence", "in", [0, 59])])) == 5
    assert len(paths_of(full, [Where("sequence", "in", list(range(500, 1000)))])) == 0
    # Bounds of texts are cut to 16 characters: they cannot tell these two apart, and must not.
    assert len(paths_of(full, [Where("capture_id", "=", f"{LONG}0")])) == 4
    assert read(full, TRADES, where=[Where("capture_id", "=", f"{LONG}0")]).num_rows == 10


def test_buckets_rule_files_out(shared: Lake) -> None:
    numbers = list(range(1, 40))
    append(shared, "normalized.bars", bars(numbers, "run", "yahoo"), "yahoo", {}, {"0": 1}, "run", [MessageRange("c", 0, 99)])
    assert 10 < len(paths_of(shared, [Where("provider", "=", "yahoo")], "normalized.bars")) <= 16
    for number in (1, 17, 39):
        where = [Where("instrument_id", "=", number), Where("provider", "=", "yahoo")]
        assert len(paths_of(shared, where, "normalized.bars")) == 1
        assert read(shared, "normalized.bars", ["instrument_id"], where)["instrument_id"].to_pylist() == [number]
    several = [Where("instrument_id", "in", [1, 2, 3, 99]), Where("provider", "=", "yahoo")]
    assert sorted(read(shared, "normalized.bars", ["instrument_id"], several)["instrument_id"].to_pylist()) == [1, 2, 3]


def test_columns_come_as_asked(full: Lake) -> None:
    found = read(full, TRADES, ["price", "instrument_id"], [Where("sequence", "=", 5), Where("provider", "=", "other")])
    assert found.to_pylist() == [{"price": Decimal("600.05"), "instrument_id": 9}]
    assert found.schema.field("price").type == pa.decimal128(18, 9)
    nothing = read(full, TRADES, ["price"], [Where("sequence", "in", [])])
    assert nothing.num_rows == 0 and nothing.schema.names == ["price"]


@pytest.mark.parametrize(
    "where",
    [
        Where("nothing", "=", 1),
        Where("price", "!=", 1),  # type: ignore[arg-type]
        Where("instrument_id", "=", "AAPL"),
        Where("instrument_id", "=", 1.5),
        Where("instrument_id", "=", True),
        Where("instrument_id", ">", None),
        Where("provider", "in", "binance"),
        Where("provider", "=", 1),
        Where("provider", "=", "a\0b"),
        Where("session_date", "=", "yesterday"),
        Where("session_date", "=", MORNING),
        Where("ts_event", "=", MORNING.replace(tzinfo=None)),
        Where("ts_event", "=", "2024-03-04"),
        Where("price", "=", "NaN"),
    ],
)
def test_a_condition_that_means_nothing_is_refused(full: Lake, where: Where) -> None:
    with pytest.raises(InvalidValueError):
        read(full, TRADES, where=[where])


def test_texts_of_values_are_understood(full: Lake) -> None:
    for where in (
        Where("instrument_id", "=", "8"),
        Where("session_date", "=", "2024-03-05"),
        Where("ts_event", "=", "2024-03-04T09:30:01Z"),
        Where("ts_event", "=", "2024-03-04 10:30:01+01:00"),
        Where("price", "=", "600.01"),
    ):
        assert 1 in read(full, TRADES, ["sequence"], [where])["sequence"].to_pylist()


def test_unknown_names_are_refused(full: Lake) -> None:
    with pytest.raises(NotFoundError):
        read(full, "normalized.nothing")
    for columns in (["nothing"], [], ["price", "price"]):
        with pytest.raises(InvalidValueError):
            read(full, TRADES, columns)


def test_columns_are_found_by_field_id(lake: Lake) -> None:
    publish(lake, stage(lake, trade_batch(0, 9)))
    for path in paths_of(lake, []):  # as if written before `price` got its name and `mic` its place
        old = pq.ParquetFile(path).read().drop_columns(["mic"])
        pq.write_table(old.rename_columns(["px" if name == "price" else name for name in old.column_names]), path)
    expected = trades(0, 9, "c-binance").to_pylist()
    assert same(read(lake, TRADES), expected)
    assert read(lake, TRADES, ["sequence"], [Where("price", "=", Decimal("600.03"))])["sequence"].to_pylist() == [3]
    with lake.table(TRADES).update_schema() as change:
        change.update_column("conditions", doc="Told otherwise since.")
    found = dataset(lake, TRADES)
    assert isinstance(found, pa.Table) and same(found, expected), "Arrow would look for columns by name"


class Stale(Lake):
    """A lake whose maintenance is quick: the first look at a table shows what was there before it."""

    before: IcebergTable | None = None

    def table(self, name: str) -> IcebergTable:
        seen, self.before = self.before, None
        return seen or super().table(name)


def test_a_file_that_maintenance_deleted_is_replanned_once(tmp_path: Path) -> None:
    with Stale.create(load_settings(home=tmp_path), system_clock) as lake:
        publish(lake, stage(lake, trade_batch(0, 9)))
        before, old = lake.table(TRADES), paths_of(lake, [])
        publish(lake, replace_all(lake, TRADES, read(lake, TRADES), "again", lake.head(TRADES).snapshot_id))
        for path in old:
            Path(path).unlink()
        lake.before = before
        assert read(lake, TRADES).num_rows == 10
        assert lake.before is None, "the plan that was gone had been made"


def test_a_file_that_is_missing_or_damaged_for_good_is_an_error(lake: Lake) -> None:
    publish(lake, stage(lake, trade_batch(0, 0)))
    (path,) = [Path(path) for path in paths_of(lake, [])]
    sound = path.read_bytes()
    for damage in (b"junk", sound[: len(sound) // 2], sound[:-8] + b"\xff" * 8):
        path.write_bytes(damage)
        with pytest.raises(CorruptedError):
            read(lake, TRADES)
    path.unlink()
    with pytest.raises(CorruptedError, match=r"normalized\.trades"):
        read(lake, TRADES)


class Manifest:
    content = ManifestContent.DELETES
    manifest_path = "deletes.avro"


class Snapshot:
    snapshot_id = 1

    def manifests(self, io: object) -> list[Manifest]:
        return [Manifest()]


class Foreign:
    """A table that another engine deleted rows from, merge-on-read."""

    io = None

    class metadata:
        table_uuid = "foreign"

    def current_snapshot(self) -> Snapshot:
        return Snapshot()


def test_delete_files_are_refused() -> None:
    with pytest.raises(CommitUnknownError, match=r"delete files in deletes\.avro"):
        PlanCache().plan(table_named(TRADES), Foreign())  # type: ignore[arg-type]


def test_readers_beside_a_writer_see_whole_batches(lake: Lake) -> None:
    counts: list[list[int]] = [[], []]

    def count(into: list[int]) -> None:
        while not into or into[-1] < 80:
            into.append(read(lake, TRADES, ["sequence"]).num_rows)

    readers = [threading.Thread(target=count, args=(into,)) for into in counts]
    for reader in readers:
        reader.start()
    for first in range(0, 80, 10):
        publish(lake, stage(lake, trade_batch(first, first + 9)))
    for reader in readers:
        reader.join()
    for seen in counts:
        assert seen == sorted(seen) and all(number % 10 == 0 for number in seen)
