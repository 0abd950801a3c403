"""Rows are cut into partitions wherever they come from: each file holds the rows of its own, all of them, in order."""

from __future__ import annotations

import random
from collections import Counter
from datetime import UTC, date, datetime
from itertools import pairwise

import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import given
from hypothesis import strategies as st
from pyiceberg.transforms import parse_transform

from lake.catalog import Lake
from lake.commits import append, commit_to_main, moving_plan
from lake.durable import location_of, size_of
from lake.epochs import Epoch
from lake.files import paths_of, write_files
from lake.heads import Act
from lake.iceberg_internals import data_file
from lake.ordering import partitions
from lake.scan import misplaced_files
from lake.tables import TABLES, Table, table_named
from lake.values import MessageRange
from quality_checks.verify import verify
from tests.lake.made import messages
from tests.lake.test_files import any_rows

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def in_chunks(rows: pa.Table, chance: random.Random) -> pa.Table:
    """Return the rows in another order, as blocks of a log bring them: many short chunks."""
    order = list(range(rows.num_rows))
    chance.shuffle(order)
    cuts = sorted(chance.sample(order, min(12, len(order))))
    parts = [order[start:end] for start, end in zip([0, *cuts], [*cuts, len(order)], strict=True)]
    return pa.concat_tables([rows.take(pa.array(part, pa.int64())) for part in parts])


def partition_of(table: Table, row: dict[str, object]) -> tuple[object, ...]:
    """Return the partition of one row as Iceberg's own transforms tell it."""
    found = []
    for name, transform in table.partition:
        value = row[name]
        if isinstance(value, datetime):
            value = (value - _EPOCH) // (datetime.resolution)
        elif isinstance(value, date):
            value = (value - _EPOCH.date()).days
        found.append(parse_transform(transform).transform(table.column(name).iceberg_type)(value))
    return tuple(found)


@given(st.integers(0, 2**32), st.integers(1, 150))
def test_each_partition_holds_its_own_rows_all_of_them_in_order(seed: int, count: int) -> None:
    chance = random.Random(seed)
    table = chance.choice([one for one in TABLES.values() if one.partition])
    rows = in_chunks(any_rows(table, count), chance)
    found = partitions(table, rows)
    assert len({values for values, _ in found}) == len(found)
    for values, part in found:
        own = part.to_pylist()
        assert {partition_of(table, row) for row in own} == {values}
        keys = [tuple((row[name] is None, row[name]) for name in table.order) for row in own]
        assert all(before <= after for before, after in pairwise(keys))
    assert Counter(map(str, rows.to_pylist())) == Counter(str(row) for _, part in found for row in part.to_pylist())


def test_messages_of_five_providers_on_one_day_stay_apart() -> None:
    """Arrow's group_by gives groups in no promised order: slices cut by its counts mixed providers in a third of these."""
    table = table_named("raw.messages")
    for seed in range(40):
        chance = random.Random(seed)
        counts = {name: chance.choice([1, 2, 9, 22, 81]) for name in ("alpaca", "alpha_vantage", "binance", "finnhub", "yahoo")}
        names = [name for name, count in counts.items() for _ in range(count)]
        rows = messages(0, 2 * len(names) - 1).take(pa.array(range(0, 2 * len(names), 2)))
        place = rows.schema.get_field_index("provider")
        rows = in_chunks(rows.set_column(place, rows.schema.field(place), [names]), chance)
        found = partitions(table, rows)
        held = Counter((values[1], name) for values, part in found for name in part["provider"].to_pylist())
        assert held == {(name, name): count for name, count in counts.items()}


def test_a_file_in_the_wrong_partition_is_told(lake: Lake) -> None:
    table = table_named("raw.messages")
    append(lake, table.name, messages(0, 9), "raw", {}, {"0": 10}, "land", [MessageRange("c1", 0, 9)])
    assert misplaced_files(lake, table.name) == []
    iceberg = lake.table(table.name)
    (right,) = write_files(iceberg, table, messages(10, 10))
    (path,) = paths_of([right])
    wrong = data_file(iceberg, location_of(path), size_of(path), [right.partition[0], "yahoo"], pq.read_metadata(str(path)))
    plan = moving_plan(Act.APPEND, "raw", {"0": 10}, {"0": 11}, "land", [MessageRange("c1", 10, 10)], {})
    commit_to_main(lake, table.name, [wrong], plan, Epoch.of(iceberg))
    assert misplaced_files(lake, table.name) == [str(path)]
    told = next(check for check in verify(lake).checks if check.name == "files_in_their_partition")
    assert not told.is_ok and str(path) in told.faults[0]
