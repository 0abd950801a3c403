"""What upkeep saved, in bytes and in money: an archive is worth its own price."""

from __future__ import annotations

from pathlib import Path

import pytest

from lake.catalog import Lake
from lake.instants import system_clock
from lake.maintenance.maintaining import maintain
from lake.maintenance.measuring import Prices, Size
from lake.settings import load_settings
from tests.lake.maintenance.answers import TRADES, published


def test_a_table_costs_what_its_bytes_cost_where_they_are() -> None:
    size = Size(files=3, bytes=3_000_000_000, rows=1, snapshots=1, manifests=1, archived_bytes=1_000_000_000)
    assert Prices(0.023, 0.001).of_table(size) == pytest.approx(2 * 0.023 + 0.001)
    assert Prices.of(load_settings(price_gb_month=0.02)) == Prices(0.02, 0.02), "an archive without a price costs the same"
    assert Prices.of(load_settings(archive_price_gb_month=0.0)) == Prices(0.023, 0.0)


def test_what_moves_to_a_cheaper_place_saves_money_whatever_its_bytes(tmp_path: Path) -> None:
    settings = load_settings(
        home=tmp_path / "home",
        archive_location=str(tmp_path / "cold"),
        archive_tables=[TRADES],
        price_gb_month=1e6,
        archive_price_gb_month=2e5,
    )
    with Lake.create(settings, system_clock) as lake:
        published(lake, 1)
        told = maintain(lake, [TRADES], ("archive",)).document()
        tables = told["tables"]
        assert isinstance(tables, list)
        (done,) = tables
        before, after = done["before"]["bytes"], done["after"]["bytes"]
        assert done["after"]["archived_bytes"] == after > 0
        assert told["saved_bytes"] == before - after
        assert told["saved_a_month"] == pytest.approx(before / 1e3 - after * 0.2 / 1e3)
        assert told["costs_a_month"] == pytest.approx(after * 0.2 / 1e3), "nothing was looked at that waits to be deleted"
