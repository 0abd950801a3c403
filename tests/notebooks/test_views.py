"""What the notebooks ask of splits, of instruments that have data, and how they write it down for a person."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import pyarrow as pa

from lake.catalog import Lake
from notebooks import charts, views
from tests.serving import small_lake

IDENTITY, EX_DATE = "listing:US/AAPL", date(2020, 8, 31)


def told(lake: Lake, status: str, known: datetime, ratio_new: int = 4) -> None:
    """Tell a revision of the split."""
    columns = {
        "instrument_id": [small_lake.AAPL], "ex_date": [EX_DATE], "kind": ["split"], "status": [status],
        "price_factor": [Decimal(1) / Decimal(ratio_new)], "volume_factor": [Decimal(ratio_new)], "ratio_old": [1],
        "ratio_new": [ratio_new], "method": ["split_ratio"], "inputs_hash": [status], "known_at": [known], "provider": ["ice"],
        "action_key": ["2103357"], "capture_id": [small_lake.CAPTURE], "message_seq": [0], "ordinal": [0], "run_id": [status],
    }  # fmt: skip
    small_lake.put(lake, "adjusted.factors", columns, status)


def test_a_split_is_what_was_known_of_it_last_and_gone_once_rescinded(tmp_path: Path) -> None:
    with small_lake.make(tmp_path / "home") as lake:
        assert views.splits(lake) == {"AAPL 4:1 on 2020-08-31": (IDENTITY, EX_DATE)}
        assert views.split_known(lake, IDENTITY, EX_DATE, "2020-07-26") is None
        assert views.split_known(lake, IDENTITY, EX_DATE, "2020-09-30") == "4:1, announced"

        told(lake, "confirmed", datetime(2020, 9, 2, 12, tzinfo=UTC), ratio_new=5)
        assert views.splits(lake) == {"AAPL 5:1 on 2020-08-31": (IDENTITY, EX_DATE)}
        told(lake, "rescinded", datetime(2020, 9, 4, 12, tzinfo=UTC))
        assert views.splits(lake) == {}
        days = ("2020-09-01", "2020-09-02", "2020-09-03", "2020-09-04")
        known = [views.split_known(lake, IDENTITY, EX_DATE, day) for day in days]
        assert known == ["4:1, announced", "5:1, confirmed", "5:1, confirmed", None]
        assert views.split_known(lake, IDENTITY, date(2020, 9, 1), "2020-09-30") is None
        assert views.split_known(lake, "listing:US/O'NEIL", EX_DATE, "2020-09-30") is None


def test_who_has_rows_is_named(lake: Lake) -> None:
    assert "**BTCUSDT** (spot, " in views.having(lake, "normalized.trades")
    assert views.having(lake, "normalized.book_events") == "No instrument has any yet."


def test_decimals_and_instants_are_written_for_a_person() -> None:
    found = pa.table(
        {"close": pa.array([Decimal("503.430000000"), None, Decimal("86476442")], pa.decimal128(18, 9)), "of": [1, 2, 3]}
    )
    written = views.written(found)
    assert list(written) == ["close"]
    assert [written["close"](value) for value in found["close"].to_pylist()] == ["503.43", "", "86476442"]
    assert views.minute(datetime(2020, 11, 6, 21, tzinfo=UTC)) == "2020-11-06 21:00 UTC"
    assert views.minute(None) == "–"


def test_dates_on_the_axis_are_sessions(lake: Lake) -> None:
    bars = views.bars(lake, "AAPL").table
    drawn = charts.bars(bars, is_daily=True, currency="USD").to_dict()
    marked = drawn["vconcat"][1]["encoding"]["x"]["axis"]["values"]
    assert [date(day["year"], day["month"], day["date"]) for day in marked] == bars["session_date"].to_pylist()


def test_a_row_of_many_tables_keeps_a_line_of_its_own() -> None:
    def drawn(tables: int) -> int:
        where = [f"bars · provider {number}" for number in range(tables)]
        audits = {"recorded_at": [datetime(2020, 9, 1, tzinfo=UTC)], "verdict": ["passed"], "row_count": [1]}
        runs = pa.table({"where": where, **{name: each * tables for name, each in audits.items()}})
        return charts.gate(runs).to_dict()["height"]

    assert (drawn(2), drawn(3)) == (drawn(1), drawn(1))
    assert drawn(40) - drawn(30) == 10 * (drawn(41) - drawn(40)) > 100
