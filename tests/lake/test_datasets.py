"""Datasets, as a sandboxed connection scans them: the same rows, and no file of another partition."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pyarrow.dataset as ds
import pytest

from lake.catalog import Lake
from lake.instants import system_clock, to_datetime
from lake.publish import publish, stage
from lake.scan import Where, dataset, read
from lake.tables import table_named
from tests.lake.made import trade_batch
from tests.lake.reading import TRADES, everything_of, paths_of, same, sandboxed


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
