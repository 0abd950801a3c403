"""AAPL's 4:1 split of 2020-08-31 as the market could know it: no trace, announced, applied."""

from __future__ import annotations

from decimal import Decimal

from lake.catalog import Lake
from lake.instants import parse_instant
from serving.bars import BarsQuestion, bars
from serving.sql import answer

BEFORE, ANNOUNCED, APPLIED = "2020-07-29", "2020-08-28", "2020-08-31"
AAPL = "symbol = 'AAPL'"
AAPL_ID = f"instrument_id IN (SELECT instrument_id FROM reference.listings WHERE {AAPL})"
LAST_BEFORE, FIRST_AFTER = "DATE '2020-08-28'", "DATE '2020-08-31'"
CENT_IMAGE = Decimal("0.005")


def ask(lake: Lake, query: str, known_as_of: str) -> list[dict[str, object]]:
    return answer(lake, query, known_as_of=parse_instant(known_as_of)).table.to_pylist()


def splits(lake: Lake, known_as_of: str) -> list[dict[str, object]]:
    return ask(lake, f"SELECT * FROM normalized.corporate_actions WHERE {AAPL} AND kind = 'split'", known_as_of)


def close_of(lake: Lake, session: str, known_as_of: str) -> tuple[object, object]:
    [row] = ask(lake, f"SELECT close, adj_close FROM adjusted.bars_1d WHERE {AAPL} AND session_date = {session}", known_as_of)
    return row["close"], row["adj_close"]


def test_the_day_before_the_announcement_shows_no_trace(finished: Lake):
    assert splits(finished, BEFORE) == []
    assert ask(finished, f"SELECT * FROM adjusted.factors WHERE {AAPL_ID}", BEFORE) == []
    assert ask(finished, f"SELECT * FROM adjusted.bars_1d WHERE {AAPL}", BEFORE) == []


def test_on_the_eve_it_is_announced_and_not_applied(finished: Lake):
    [split] = splits(finished, ANNOUNCED)
    assert (split["ratio_old"], split["ratio_new"], split["status"]) == (1, 4, "announced")
    assert str(split["ex_date"]) == "2020-08-31"
    assert close_of(finished, LAST_BEFORE, ANNOUNCED) == (Decimal("499.23"), Decimal("499.23"))


def test_on_the_ex_date_it_is_applied_to_sessions_before(finished: Lake):
    assert close_of(finished, LAST_BEFORE, APPLIED) == (Decimal("499.23"), Decimal("124.8075"))
    close, adjusted = close_of(finished, FIRST_AFTER, APPLIED)
    assert close == adjusted == Decimal("129.04")


def test_as_traded_bars_recovered_from_yahoo_equal_the_imported_ones(finished: Lake):
    """Yahoo's prices are split-adjusted as of delivery: undone, they are the imported ones within a cent's float image."""
    closes = [
        dict(zip(rows["session_date"].to_pylist(), rows["close"].to_pylist(), strict=True))
        for rows in (bars(finished, BarsQuestion("AAPL", provider=provider)).table for provider in ("yahoo", "csv"))
    ]
    shared = set(closes[0]) & set(closes[1])
    assert len(shared) >= 20
    assert [day for day in shared if abs(closes[0][day] - closes[1][day]) > CENT_IMAGE] == []
