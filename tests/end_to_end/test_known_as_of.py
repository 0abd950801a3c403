"""AAPL's 4:1 split of 2020-08-31 as the market could know it: no trace, announced, applied."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from ingest.imports import import_paths
from lake.catalog import Lake
from lake.instants import parse_instant, system_clock
from lake.settings import load_settings
from serving.sql import answer
from tests.end_to_end import job

BEFORE, ANNOUNCED, APPLIED = "2020-07-29", "2020-08-28", "2020-08-31"
SYMBOL = "symbol = 'AAPL'"
INSTRUMENT = "instrument_id = (SELECT instrument_id FROM reference.listings WHERE symbol = 'AAPL' LIMIT 1)"
LAST_BEFORE, FIRST_AFTER = "DATE '2020-08-28'", "DATE '2020-08-31'"


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lake]:
    with Lake.create(load_settings(home=tmp_path_factory.mktemp("split") / "lake"), system_clock) as lake:
        log = job.open_log(lake)
        import_paths(lake, log, "csv", "bars", [job.FILES / "aapl_raw.csv"], job.DELIVERED, job.AAPL_BARS)
        import_paths(lake, log, "ice", "reorg", [job.FILES / name for name in job.REORG], job.DELIVERED)
        job.promoted(lake, log)
        yield lake


def ask(lake: Lake, query: str, known_as_of: str) -> list[dict[str, object]]:
    return answer(lake, query, known_as_of=parse_instant(known_as_of)).table.to_pylist()


def splits(lake: Lake, known_as_of: str) -> list[dict[str, object]]:
    query = f"SELECT * FROM normalized.corporate_actions WHERE {SYMBOL} AND kind = 'split'"
    return ask(lake, query, known_as_of)


def close_of(lake: Lake, session: str, known_as_of: str) -> tuple[object, object]:
    [row] = ask(lake, f"SELECT close, adj_close FROM adjusted.bars_1d WHERE {SYMBOL} AND session_date = {session}", known_as_of)
    return row["close"], row["adj_close"]


def test_the_day_before_the_announcement_shows_no_trace(lake):
    assert splits(lake, BEFORE) == []
    assert ask(lake, f"SELECT * FROM adjusted.factors WHERE {INSTRUMENT}", BEFORE) == []
    assert ask(lake, f"SELECT * FROM adjusted.bars_1d WHERE {SYMBOL}", BEFORE) == []


def test_on_the_eve_it_is_announced_and_not_applied(lake):
    [split] = splits(lake, ANNOUNCED)
    assert (split["ratio_old"], split["ratio_new"], split["status"]) == (1, 4, "announced")
    assert str(split["ex_date"]) == "2020-08-31"
    assert close_of(lake, LAST_BEFORE, ANNOUNCED) == (Decimal("499.23"), Decimal("499.23"))


def test_on_the_ex_date_it_is_applied_to_sessions_before(lake):
    assert close_of(lake, LAST_BEFORE, APPLIED) == (Decimal("499.23"), Decimal("124.8075"))
    close, adjusted = close_of(lake, FIRST_AFTER, APPLIED)
    assert close == adjusted


def test_now_is_the_last_of_what_was_known(lake):
    query = f"SELECT * FROM adjusted.bars_1d WHERE {SYMBOL} ORDER BY session_date"
    assert answer(lake, query).table.drop(["run_id"]) == answer(lake, query, known_as_of=parse_instant("2020-10-02")).table.drop(
        ["run_id"]
    )


def test_recovered_bars_equal_the_imported_ones(lake, tmp_path: Path):
    """Yahoo's prices are split-adjusted as of delivery: undone, they are the imported ones within a cent's float image."""
    with Lake.create(load_settings(home=tmp_path / "lake"), system_clock) as other:
        log = job.open_log(other)
        job.captured(other, log)
        job.promoted(other, log)
        query = f"SELECT session_date, close FROM adjusted.agreed_bars WHERE {SYMBOL} AND interval = '1d'"
        recovered = {row["session_date"]: row["close"] for row in answer(other, query).table.to_pylist()}
    imported = {row["session_date"]: row["close"] for row in answer(lake, query).table.to_pylist()}
    shared = set(recovered) & set(imported)
    assert len(shared) >= 20
    assert all(abs(recovered[day] - imported[day]) <= Decimal("0.005") for day in shared)
