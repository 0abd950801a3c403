"""Reading: the same rows as a plain scan filtered by hand, whatever is pruned; and the laws of as_of and known_as_of."""

from __future__ import annotations

import operator
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyiceberg.manifest import ManifestContent
from pyiceberg.table import Table as IcebergTable

from lake import scan
from lake.catalog import Lake
from lake.commits import append
from lake.durable import local_path
from lake.errors import CommitUnknownError, CorruptedError, InvalidValueError, NotFoundError
from lake.instants import EPOCH, system_clock, to_datetime
from lake.plans import PlanCache
from lake.publish import Increment, advance, hold, publish, replace_all, stage, stage_release
from lake.questions import AS_PREDICATE
from lake.scan import Where, dataset, read, read_offsets, replaced_files
from lake.settings import load_settings
from lake.tables import rows, table_named
from lake.values import MessageRange, Vector
from tests.lake.made import MORNING, action_batch, messages, trade_batch, trades

TRADES = "normalized.trades"
MESSAGES = "raw.messages"
LONG = "a-capture-whose-name-is-longer-than-sixteen-characters-"


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lake]:
    """A lake with trades of three providers in some dozen files; nobody changes it."""
    with Lake.create(load_settings(home=tmp_path_factory.mktemp("full")), system_clock) as lake:
        for first in range(0, 60, 20):
            publish(lake, stage(lake, trade_batch(first, first + 19)))
        publish(lake, stage(lake, trade_batch(0, 9, provider="other")))
        for number in range(2):
            capture = f"{LONG}{number}"
            batch = trades(0, 9, capture, provider=LONG)
            ranges = (MessageRange(capture, 0, 9),)
            before: Vector = {"0": number} if number else {}
            publish(lake, stage(lake, Increment(TRADES, LONG, batch, before, {"0": number + 1}, f"long-{number}", ranges)))
        yield lake


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lake]:
    """A lake for tests that write to different tables or owners; making one costs a second. Nobody writes trades."""
    with Lake.create(load_settings(home=tmp_path_factory.mktemp("shared")), system_clock) as lake:
        yield lake


def everything(lake: Lake, table: str = TRADES) -> list[dict[str, Any]]:
    return lake.table(table).scan().to_arrow().cast(table_named(table).arrow_schema()).to_pylist()  # type: ignore[no-any-return]


def same(found: pa.Table, expected: list[dict[str, Any]]) -> bool:
    return sorted(map(str, found.to_pylist())) == sorted(map(str, expected))


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


_EVERYTHING: dict[Path, list[dict[str, Any]]] = {}


def everything_of(lake: Lake) -> list[dict[str, Any]]:
    """`everything`, read once a lake that nobody changes."""
    return _EVERYTHING.setdefault(lake.settings.home, everything(lake))


def paths_of(lake: Lake, where: list[Where], table: str = TRADES) -> set[str]:
    return {str(local_path(file.file_path)) for file in replaced_files(lake, table, where)}


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


# --- datasets, as a sandboxed connection scans them


def sandboxed(source: object, query: str) -> list[tuple[Any, ...]]:
    with duckdb.connect(":memory:", config={"enable_external_access": "false"}) as connection:
        connection.register("source", source)
        return connection.execute(query).fetchall()


def test_a_dataset_gives_the_same_rows_to_a_sandbox(full: Lake) -> None:
    source = dataset(full, TRADES)
    assert isinstance(source, ds.Dataset)
    assert source.schema.equals(table_named(TRADES).arrow_schema())
    assert same(source.to_table(), everything_of(full))
    query = "SELECT provider, count(*), sum(price) FROM source WHERE sequence >= 5 AND price < 600.5 GROUP BY provider ORDER BY 1"
    wanted = [row for row in everything_of(full) if row["sequence"] >= 5 and row["price"] < Decimal("600.5")]
    assert sandboxed(source, query) == [
        (name, len(prices), sum(prices))
        for name in sorted({row["provider"] for row in wanted})
        for prices in [[row["price"] for row in wanted if row["provider"] == name]]
    ]
    plan = str(sandboxed(source, "EXPLAIN SELECT price FROM source WHERE provider = 'other'"))
    assert str(full.settings.warehouse) not in plan and ".parquet" not in plan


def test_a_dataset_opens_no_file_of_another_partition(lake: Lake) -> None:
    publish(lake, stage(lake, trade_batch(0, 9)))
    publish(lake, stage(lake, trade_batch(0, 9, provider="other")))
    for path in paths_of(lake, [Where("provider", "=", "binance")]):
        Path(path).unlink()
    assert sandboxed(dataset(lake, TRADES), "SELECT count(*) FROM source WHERE provider = 'other'") == [(10,)]
    with pytest.raises(FileNotFoundError):
        dataset(lake, TRADES).to_table()


def test_an_empty_table_is_an_empty_answer(shared: Lake) -> None:
    assert read(shared, TRADES).equals(table_named(TRADES).arrow_schema().empty_table())
    assert sandboxed(dataset(shared, TRADES), "SELECT count(*), max(price) FROM source") == [(0, None)]
    assert read(shared, TRADES, ["published_at"], as_of=to_datetime(system_clock())).num_rows == 0


# --- files that are not as a plan says


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


# --- messages by offset


def land(lake: Lake, number: int, batch: pa.Table, position: Vector) -> None:
    before: Vector = dict(lake.head(MESSAGES).position.get("raw", {}))
    ranges = [MessageRange(capture, 0, 10_000) for capture in set(batch["capture_id"].to_pylist())]
    append(lake, MESSAGES, batch, "raw", before, position, f"land-{number}", ranges)


def placed(batch: pa.Table, partition: int, offsets: list[int]) -> pa.Table:
    batch = batch.set_column(12, batch.schema.field(12), pa.array([partition] * batch.num_rows, pa.int32()))
    return batch.set_column(13, batch.schema.field(13), pa.array(offsets, pa.int64()))


@pytest.fixture(scope="module")
def landed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lake]:
    """Messages of two providers in blocks of three, over two partitions and four commits."""
    with Lake.create(load_settings(home=tmp_path_factory.mktemp("landed")), system_clock) as lake:
        for number in range(4):
            seqs = range(number * 12, number * 12 + 12)
            offsets = [seq // 3 for seq in seqs]
            batch = pa.concat_tables(
                [
                    placed(messages(seqs[0], seqs[-1], "one"), 0, offsets),
                    placed(messages(seqs[0], seqs[-1], "two"), 3, offsets),
                    placed(messages(seqs[0], seqs[-1], "three", provider="yahoo"), 3, [offset + 100 for offset in offsets]),
                ]
            )
            land(lake, number, batch, {"0": (number + 1) * 4, "3": 100 + (number + 1) * 4})
        yield lake


@given(
    st.dictionaries(st.sampled_from(["0", "3"]), st.integers(0, 18)),
    st.dictionaries(st.sampled_from(["0", "3", "9"]), st.integers(0, 130)),
    st.sampled_from(["binance", "yahoo", "nobody"]),
    st.integers(0, 60),
)
@settings(max_examples=20)
def test_offsets_give_the_first_messages_in_order(landed: Lake, low: Vector, high: Vector, provider: str, count: int) -> None:
    def place(row: dict[str, Any]) -> tuple[int, int, int]:
        return row["log_partition"], row["log_offset"], row["message_seq"]

    wanted = [
        row
        for row in _EVERYTHING.setdefault(landed.settings.home, everything(landed, MESSAGES))
        if row["provider"] == provider
        and low.get(str(row["log_partition"]), 0) <= row["log_offset"] < high.get(str(row["log_partition"]), 0)
    ]
    found = read_offsets(landed, low, high, provider, count)
    assert found.to_pylist() == sorted(wanted, key=place)[:count]
    assert found.schema.equals(table_named(MESSAGES).arrow_schema(), check_metadata=True)


def test_offsets_open_only_files_that_bounds_allow(lake: Lake) -> None:
    for number in range(3):
        land(lake, number, messages(number * 10, number * 10 + 9), {"0": number * 10 + 10})
    for path in paths_of(lake, [Where("log_offset", "<", 10)], MESSAGES):
        Path(path).unlink()
    assert read_offsets(lake, {"0": 10}, {"0": 30}, "binance", 100).num_rows == 20
    assert read_offsets(lake, {"0": 10}, {"0": 30}, "binance", 4)["log_offset"].to_pylist() == [10, 11, 12, 13]
    for path in paths_of(lake, [Where("log_offset", ">=", 20)], MESSAGES):
        Path(path).unlink()
    assert read_offsets(lake, {"0": 10}, {"0": 20}, "binance", 10).num_rows == 10


# --- as_of


def sequences(lake: Lake, as_of: datetime | None) -> list[int]:
    found = sorted(read(lake, TRADES, ["sequence"], as_of=as_of)["sequence"].to_pylist())
    source = dataset(lake, TRADES, as_of=as_of)
    assert sorted(number for (number,) in sandboxed(source, "SELECT sequence FROM source")) == found
    return found


def test_as_of_is_the_same_before_and_after_what_comes_later(lake: Lake) -> None:
    start = to_datetime(system_clock())
    first = publish(lake, stage(lake, trade_batch(0, 9))).published_at
    held = hold(lake, stage(lake, trade_batch(10, 19)), {"failed": ["price_jump"]})
    third = publish(lake, stage(lake, trade_batch(20, 29))).published_at
    seen = {moment: sequences(lake, moment) for moment in (start, first, third)}
    assert list(seen.values()) == [[], [*range(10)], [*range(10), *range(20, 30)]]
    released = publish(lake, stage_release(lake, held)).published_at
    assert sequences(lake, released) == sequences(lake, None) == list(range(30))
    publish(lake, replace_all(lake, TRADES, read(lake, TRADES), "rebuild", lake.head(TRADES).snapshot_id))
    assert {moment: sequences(lake, moment) for moment in seen} == seen
    times = read(lake, TRADES, ["sequence", "published_at"])
    expected = {number: released if 10 <= number < 20 else first if number < 10 else third for number in range(30)}
    assert dict(zip(*(column.to_pylist() for column in times.columns), strict=True)) == expected


@pytest.mark.parametrize("count", [30, 130])
def test_as_of_by_any_number_of_message_ranges(lake: Lake, count: int) -> None:
    every = trades(0, 2 * count - 1)
    for parity, owner in ((0, "binance"), (1, "late")):
        batch = every.filter(pa.array([number % 2 == parity for number in range(2 * count)]))
        ranges = tuple(MessageRange("c1", number, number) for number in range(parity, 2 * count, 2))
        published = publish(lake, stage(lake, Increment(TRADES, owner, batch, {}, {"0": 1}, owner, ranges))).published_at
        if not parity:
            first = published
    assert sequences(lake, first) == list(range(0, 2 * count, 2))
    assert sequences(lake, published) == list(range(2 * count))
    late = read(lake, TRADES, ["message_seq", "published_at"], [Where("message_seq", "=", 1)])
    assert late["published_at"].to_pylist() == [published]
    some = read(lake, TRADES, ["message_seq"], [Where("message_seq", "<", 4)], as_of=first)
    assert sorted(some["message_seq"].to_pylist()) == [0, 2]


def test_as_of_by_run(lake: Lake) -> None:
    first = publish(lake, stage(lake, action_batch(0, 4))).published_at
    held = hold(lake, stage(lake, action_batch(5, 9)), {})
    released = publish(lake, stage_release(lake, held)).published_at

    def found(as_of: datetime | None) -> list[int]:
        one = read(lake, "normalized.corporate_actions", ["message_seq"], as_of=as_of)["message_seq"].to_pylist()
        other = dataset(lake, "normalized.corporate_actions", as_of=as_of).to_table()["message_seq"].to_pylist()
        assert sorted(one) == sorted(other)
        return sorted(one)

    assert [found(first - timedelta(seconds=1)), found(first), found(released)] == [[], [*range(5)], [*range(10)]]
    times = read(lake, "normalized.corporate_actions", ["published_at", "message_seq"])
    assert {row["message_seq"]: row["published_at"] for row in times.to_pylist()} == {
        number: first if number < 5 else released for number in range(10)
    }


def test_as_of_by_many_runs(lake: Lake) -> None:
    table = "normalized.corporate_actions"
    for number in range(AS_PREDICATE + 2):
        if number == AS_PREDICATE + 1:
            moment = to_datetime(system_clock())
            assert read(lake, table, ["message_seq"], as_of=moment).num_rows == number
        append(lake, table, action_batch(number, number).rows, "ice", before(number), {"0": number + 1}, f"run-ice-{number}")
    assert sorted(read(lake, table, ["message_seq"], as_of=moment)["message_seq"].to_pylist()) == [*range(AS_PREDICATE + 1)]
    assert read(lake, table, ["message_seq"], [Where("message_seq", ">=", AS_PREDICATE)], as_of=moment).num_rows == 1
    assert dataset(lake, table, as_of=moment).count_rows() == AS_PREDICATE + 1


def before(number: int) -> Vector:
    return {"0": number} if number else {}


def gap(gap_id: str, recorded_at: datetime) -> pa.Table:
    columns = {
        "gap_id": gap_id,
        "provider": "binance",
        "feed": "spot",
        "status": "open",
        "reason": "dropped",
        "recorded_at": recorded_at,
    }
    return rows(table_named("quality.gaps"), {name: [value] for name, value in columns.items()})


def test_history_was_there_when_it_was_recorded(shared: Lake) -> None:
    for number in range(3):
        before: Vector = {"0": number} if number else {}
        append(
            shared,
            "quality.gaps",
            gap(f"g{number}", MORNING + timedelta(hours=number)),
            "history",
            before,
            {"0": number + 1},
            "h",
        )
    questions: list[dict[str, Any]] = [{name: MORNING + timedelta(hours=1)} for name in ("as_of", "known_as_of")]
    for question in questions:
        assert sorted(read(shared, "quality.gaps", ["gap_id"], **question)["gap_id"].to_pylist()) == ["g0", "g1"]
        assert dataset(shared, "quality.gaps", **question).count_rows() == 2
    published = read(shared, "quality.gaps", ["published_at"], [Where("gap_id", "=", "g2")])
    assert published["published_at"].to_pylist() == [MORNING + timedelta(hours=2)]


def test_a_past_that_cannot_be_told_is_refused(full: Lake) -> None:
    for name in ("as_of", "known_as_of"):
        moment: dict[str, Any] = {name: EPOCH + timedelta(days=20_000)}
        with pytest.raises(InvalidValueError, match="rewritten"):
            read(full, "adjusted.bars_1d", **moment)
        with pytest.raises(InvalidValueError, match="time zone"):
            naive: dict[str, Any] = {name: MORNING.replace(tzinfo=None)}
            read(full, TRADES, **naive)
    with pytest.raises(InvalidValueError, match="future"):
        read(full, TRADES, as_of=datetime(2999, 1, 1, tzinfo=UTC))


# --- known_as_of


def test_known_bars(shared: Lake) -> None:
    known = [MORNING + timedelta(days=number) for number in range(4)]
    batch = bars([1] * 4, "csv-run", "csv", known)
    append(shared, "normalized.bars", batch, "csv", {}, {"0": 1}, "csv-run", [MessageRange("c", 0, 9)])
    where = [Where("provider", "=", "csv")]
    for number, moment in enumerate(known):
        assert read(shared, "normalized.bars", where=where, known_as_of=moment).num_rows == number + 1
        lazily = dataset(shared, "normalized.bars", known_as_of=moment)
        assert sandboxed(lazily, "SELECT count(*) FROM source WHERE provider = 'csv'") == [(number + 1,)]
    assert read(shared, "normalized.bars", where=where, known_as_of=MORNING - timedelta(microseconds=1)).num_rows == 0


def test_known_ticks_are_those_of_the_venue_else_of_their_receipt(shared: Lake) -> None:
    count = 4
    quotes = rows(
        table_named("normalized.quotes"),
        {
            "instrument_id": [1] * count,
            "provider": ["binance"] * count,
            "feed": ["spot"] * count,
            "symbol": ["BTCUSDT"] * count,
            "session_date": [date(2024, 3, 4)] * count,
            "ts_event": [MORNING, None, MORNING + timedelta(hours=2), None],
            "ts_recv": [MORNING + timedelta(hours=hour) for hour in (9, 1, 0, 3)],
            "capture_id": ["c"] * count,
            "message_seq": list(range(count)),
            "ordinal": [0] * count,
        },
    )
    append(shared, "normalized.quotes", quotes, "binance", {}, {"0": 1}, "run", [MessageRange("c", 0, 9)])
    for hours, expected in ((-1, []), (0, [0]), (1, [0, 1]), (2, [0, 1, 2]), (3, [0, 1, 2, 3])):
        moment = MORNING + timedelta(hours=hours)
        found = read(shared, "normalized.quotes", ["message_seq"], known_as_of=moment)["message_seq"].to_pylist()
        lazily = dataset(shared, "normalized.quotes", known_as_of=moment).to_table()["message_seq"].to_pylist()
        assert sorted(found) == sorted(lazily) == expected


def test_known_messages_are_those_received(landed: Lake) -> None:
    moment = MORNING + timedelta(seconds=10)
    wanted = sum(row["ts_recv"] <= moment for row in everything(landed, MESSAGES))
    assert read(landed, MESSAGES, ["message_seq"], known_as_of=moment).num_rows == wanted > 0


def test_both_pasts_stand_together(lake: Lake) -> None:
    first = publish(lake, stage(lake, trade_batch(0, 9))).published_at
    publish(lake, stage(lake, trade_batch(10, 19)))
    advance(lake, TRADES, "binance", {"0": 20}, {"0": 25}, "empty", {}, ())
    moment = MORNING + timedelta(seconds=4)
    assert sorted(read(lake, TRADES, ["sequence"], as_of=first, known_as_of=moment)["sequence"].to_pylist()) == [0, 1, 2, 3, 4]
    assert scan.dataset(lake, TRADES, as_of=first, known_as_of=moment).count_rows() == 5
