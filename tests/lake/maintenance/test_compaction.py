"""Compaction and archive: fewer files, the same answers; a rewrite that cannot be proven changes nothing."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lake import iceberg_internals as internals
from lake.catalog import Lake
from lake.commits import append
from lake.errors import CommitConflictError, CorruptedError, SettingsError
from lake.files import read_files
from lake.instants import system_clock, to_datetime
from lake.maintenance.choosing import partitions_of, to_compact
from lake.maintenance.engine import prove, sorted_batches, spilling
from lake.maintenance.maintaining import compacted_place, maintain
from lake.maintenance.manifests import LEAST
from lake.maintenance.rewriting import Place, rewrite
from lake.publish import hold, publish, replace_all, stage, stage_release
from lake.scan import read
from lake.settings import load_settings
from lake.tables import table_named
from lake.values import MessageRange
from tests.lake.made import messages, trade_batch, trades
from tests.lake.maintenance.answers import LINEAGE, TRADES, answers, data_files, on_disk, published

COMPACT = ("compact",)


def landed(lake: Lake, first: int, last: int) -> None:
    """Land messages first..last, whose offsets are their numbers."""
    before = {"0": first} if first else {}
    ranges = [MessageRange("c1", first, last)]
    append(lake, "raw.messages", messages(first, last), "raw", before, {"0": last + 1}, f"land-{first}", ranges)


def test_fewer_files_and_the_same_answers(lake: Lake) -> None:
    moments = published(lake, 5)
    held = hold(lake, stage(lake, trade_batch(50, 59)), {"failed": ["price_jump"]})
    before, old = answers(lake, moments), data_files(lake)
    (done,) = maintain(lake, [TRADES], COMPACT).tables
    assert answers(lake, moments) == before
    assert [(one.files_before, one.files_after, one.rows) for one in done.rewrites] == [(5, 1, 25), (5, 1, 25)]
    assert (done.before.files, done.after.files, done.after.rows, done.trouble) == (10, 2, 50, [])
    assert not set(old) & set(data_files(lake))
    assert set(old) <= on_disk(lake), "readers still have their plan"
    assert maintain(lake, [TRADES], COMPACT).tables[0].is_idle
    publish(lake, stage_release(lake, held))
    assert read(lake, TRADES).num_rows == 60, "the held batch was not touched"


def test_the_files_keep_order_and_encodings(lake: Lake) -> None:
    published(lake, 3)
    first = pq.ParquetFile(data_files(lake)[0])
    maintain(lake, [TRADES], COMPACT)
    table = table_named(TRADES)
    for path in data_files(lake):
        rows = pq.ParquetFile(path)
        keys = rows.read(columns=list(table.order))
        assert keys.equals(keys.sort_by([(name, "ascending") for name in table.order]))
        for number in range(len(table.columns)):
            one, other = (file.metadata.row_group(0).column(number) for file in (first, rows))
            assert (one.path_in_schema, one.encodings, one.physical_type) == (
                other.path_in_schema,
                other.encodings,
                other.physical_type,
            )
        assert rows.schema_arrow.field("price").metadata[b"PARQUET:field_id"] == b"13"


def test_a_partition_still_written_to_waits_until_it_has_many_files(lake: Lake) -> None:
    published(lake, 3)
    seen, table, place = lake.table(TRADES), table_named(TRADES), compacted_place(lake)
    assert to_compact(seen, table, place, system_clock(), 3600, 4) == []
    busy = to_compact(seen, table, place, system_clock(), 3600, 3)
    assert [(len(group.files), group.reason) for group in busy] == [(3, "many small files")] * 2
    assert to_compact(seen, table, Place("compact", None, 3, 100), system_clock(), 0, 2) == [], "none is small"


def test_a_small_target_gives_several_files_one_behind_the_other(lake: Lake) -> None:
    published(lake, 4)
    (partition, old), *_ = partitions_of(lake.table(TRADES)).items()
    table = table_named(TRADES)
    with spilling(lake.settings.home / "spill", 64 << 20) as connection:
        paths = [Path(file.file_path.removeprefix("file://")) for file in old]
        parts = list(sorted_batches(connection, table, paths, 7))
        assert [part.num_rows for part in parts] == [7, 7, 6]
        assert prove(connection, table, paths).rows == 20
    assert pa.concat_tables(parts).equals(read_files(table, paths).sort_by([(name, "ascending") for name in table.order]))
    done = rewrite(lake, TRADES, partition, old, Place("compact", None, 3, 1))
    assert (done.files_before, done.files_after) == (4, 1), "a file has a row group at least"
    assert not any((lake.settings.home / "spill").iterdir())


def test_a_landed_table_keeps_its_position_and_alarm(lake: Lake) -> None:
    for first in (0, 10, 20):
        landed(lake, first, first + 9)
    before_rows = read(lake, "raw.messages").sort_by("message_seq")
    (done,) = maintain(lake, ["raw.messages"], COMPACT).tables
    assert done.after.files == 2 < done.before.files
    assert lake.head("raw.messages").position == {"raw": {"0": 30}}
    assert read(lake, "raw.messages").sort_by("message_seq").equals(before_rows)
    landed(lake, 30, 39)
    assert read(lake, "raw.messages").num_rows == 40


def test_a_damaged_file_is_not_rewritten(lake: Lake) -> None:
    published(lake, 2)
    broken = data_files(lake)[0]
    rows = pq.ParquetFile(broken).read()
    broken.unlink()
    pq.write_table(rows.slice(1), broken)
    before, snapshot = on_disk(lake), lake.head(TRADES).snapshot_id
    with pytest.raises(CorruptedError, match="files to rewrite hold"):
        maintain(lake, [TRADES], COMPACT)
    broken.write_bytes(b"not Parquet")
    with pytest.raises(CorruptedError, match="cannot be read"):
        maintain(lake, [TRADES], COMPACT)
    assert {path for path in on_disk(lake) - before if path.suffix == ".parquet"} == set()
    assert lake.head(TRADES).snapshot_id == snapshot


def test_a_proof_sees_every_change(lake: Lake, tmp_path: Path) -> None:
    table, rows = table_named(TRADES), trades(0, 9)
    twice = pa.concat_tables([rows, rows.slice(3, 1)])
    other_lineage = rows.set_column(18, rows.schema.field(18), pa.array([1] * 10, pa.int32()))
    assert rows.schema.field(18).name == "ordinal", "a stamp that the business hash leaves out"
    proofs = []
    with spilling(tmp_path) as connection:
        for number, some in enumerate((rows, rows.take(list(range(9, -1, -1))), twice, other_lineage, rows.slice(1))):
            path = tmp_path / f"{number}.parquet"
            pq.write_table(some, path)
            proofs.append(prove(connection, table, [path]))
    assert proofs[0] == proofs[1]
    assert len({proof.content for proof in proofs}) == 4


def test_an_append_meanwhile_is_no_conflict_a_rebuild_is(lake: Lake) -> None:
    published(lake, 2)
    (partition, old), (other, others) = partitions_of(lake.table(TRADES)).items()
    publish(lake, stage(lake, trade_batch(20, 29)))
    rewrite(lake, TRADES, partition, old, compacted_place(lake))
    assert read(lake, TRADES).num_rows == 30
    assert lake.head(TRADES).position == {"binance": {"0": 30}}
    head = lake.head(TRADES)
    publish(lake, replace_all(lake, TRADES, read(lake, TRADES), "again", head.snapshot_id))
    before = on_disk(lake)
    with pytest.raises(CommitConflictError, match="not on main any more"):
        rewrite(lake, TRADES, other, others, compacted_place(lake))
    assert {path for path in on_disk(lake) - before if path.suffix == ".parquet"} == set(), "nothing is left behind"
    assert read(lake, TRADES).num_rows == 30


def test_closed_partitions_move_to_the_archive_and_are_read_there(tmp_path: Path) -> None:
    archive = tmp_path / "cold"
    settings = load_settings(
        home=tmp_path / "home", archive_location=str(archive), archive_tables=[TRADES], compact_quiet_s=0, keep_snapshots=1
    )
    with Lake.create(settings, system_clock) as lake:
        moments = published(lake, 3)
        before = answers(lake, moments)
        planned = maintain(lake, [TRADES], plan_only=True)
        assert len(planned.tables[0].planned) == 3 and not archive.exists()
        (done,) = maintain(lake, [TRADES], ("compact", "archive")).tables
        assert answers(lake, moments) == before
        assert all(path.is_relative_to(archive / TRADES) for path in data_files(lake))
        assert done.after.archived_bytes == done.after.bytes > 0
        assert maintain(lake, [TRADES], ("compact", "archive")).tables[0].is_idle
        publish(lake, stage(lake, trade_batch(30, 39)))
        (late,) = maintain(lake, [TRADES], ("archive",)).tables
        assert [one.files_before for one in late.rewrites] == [1, 1], "late rows follow"
        assert read(lake, TRADES).num_rows == 40
    wrong = load_settings(home=tmp_path / "home", archive_tables=["adjusted.bars_1d"])
    with Lake.open(wrong, system_clock) as lake, pytest.raises(SettingsError, match="cannot be archived by date"):
        maintain(lake, [TRADES], ("archive",))


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    home = tmp_path_factory.mktemp("layouts") / "home"
    with Lake.create(load_settings(home=home, compact_quiet_s=0), system_clock) as made:
        yield made


@settings(max_examples=4)
@given(cuts=st.lists(st.integers(1, 12), min_size=2, max_size=5), order=st.randoms(use_true_random=False))
def test_any_layout_gives_the_same_rows_and_the_same_past(shared: Lake, cuts: list[int], order: object) -> None:
    number = len(shared.head(TRADES).position)
    provider, first, moments = f"p{number}", 0, []
    for size in cuts:
        rows = trades(first, first + size - 1, capture=f"c{number}", provider=provider)
        shuffled = list(range(size))
        order.shuffle(shuffled)  # type: ignore[attr-defined]
        ranges = [MessageRange(f"c{number}", first, first + size - 1)]
        before = {"0": first} if first else {}
        append(shared, TRADES, rows.take(shuffled), provider, before, {"0": first + size}, f"{provider}-{first}", ranges)
        first += size
        moments.append(to_datetime(system_clock()))
    before = answers(shared, moments)
    report = maintain(shared, [TRADES], ("compact", "manifests", "expire"))
    assert answers(shared, moments) == before
    assert report.tables[0].after.rows == before[0].num_rows
    mine = [path for path in data_files(shared) if f"provider={provider}" in str(path)]
    assert read_files(table_named(TRADES), mine).sort_by(LINEAGE)["message_seq"].to_pylist() == list(range(first))
    assert len(mine) == (2 if first > 1 else 1)


def test_manifests_become_few_and_list_the_same_files(lake: Lake) -> None:
    for first in range(4):
        landed(lake, first, first)
    maintain(lake, ["raw.messages"], ("compact",))
    seen = lake.table("raw.messages")
    old = {file.file_path for file in internals.files_of(seen, seen.metadata.current_snapshot_id or 0)}
    (done,) = maintain(lake, ["raw.messages"], ("manifests",)).tables
    assert (done.before.manifests, done.after.manifests) == (LEAST, 1)
    seen = lake.table("raw.messages")
    assert {file.file_path for file in internals.files_of(seen, seen.metadata.current_snapshot_id or 0)} == old
    assert lake.head("raw.messages").position == {"raw": {"0": 4}}
    assert maintain(lake, ["raw.messages"], ("manifests",)).tables[0].is_idle
