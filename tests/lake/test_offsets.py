"""Messages by offset: the first of them in order, from files that bounds allow."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from lake.catalog import Lake
from lake.scan import Where, read_offsets
from lake.tables import table_named
from lake.values import Vector
from tests.lake.made import messages
from tests.lake.reading import MESSAGES, everything_of, land, paths_of


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
        for row in everything_of(landed, MESSAGES)
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
