"""The questions "bars" and "trades": views of the past do not move, factors apply when their day has come."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from lake.catalog import Lake
from lake.errors import InvalidValueError, NotFoundError
from lake.instants import parse_instant, to_datetime
from serving.bars import Adjustment, BarsQuestion, bars
from serving.cli.app import run
from serving.paged import Paged
from serving.sql import answer
from serving.trades import trades
from tests.serving import small_lake
from tests.serving.small_lake import AAPL, CAPTURE, put

SPOT = "listing:BINANCE/BTCUSDT:spot"


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Lake]:
    """A small lake that a test may write to."""
    with small_lake.make(tmp_path / "lake") as made:
        yield made


def closes(lake: Lake, **asked: object) -> dict[date, Decimal]:
    question = BarsQuestion("AAPL", **{"adjustment": Adjustment.ALL, **asked})  # type: ignore[arg-type]
    table = bars(lake, question).table
    return dict(zip(table["session_date"].to_pylist(), table["close"].to_pylist(), strict=True))


def put_factor(lake: Lake, run: str, ex_date: date, known_at: datetime, old: int, new: int, status: str = "confirmed") -> None:
    ratio = Decimal(old) / Decimal(new) if status != "rescinded" else Decimal(1)
    put(
        lake,
        "adjusted.factors",
        {
            "instrument_id": [AAPL],
            "ex_date": [ex_date],
            "kind": ["split"],
            "status": [status],
            "price_factor": [ratio],
            "volume_factor": [1 / ratio],
            "ratio_old": [old],
            "ratio_new": [new],
            "method": ["split_ratio"],
            "inputs_hash": ["00"],
            "known_at": [known_at],
            "provider": ["ice"],
            "action_key": ["late"],
            "capture_id": [CAPTURE],
            "message_seq": [0],
            "ordinal": [7],
            "run_id": [run],
        },
        run,
    )


def test_a_late_action_moves_no_view_as_of_the_past(own: Lake) -> None:
    past = to_datetime(own.clock())
    before = closes(own, as_of=past)
    put_factor(own, "late-1", date(2020, 8, 28), datetime(2020, 8, 1, tzinfo=UTC), 1, 2)
    assert closes(own, as_of=past) == before == closes(own, as_of=past)
    assert answer(own, "FROM adjusted.bars_1d", as_of=past).table.num_rows == 3
    now = closes(own)
    assert now[date(2020, 8, 27)] == before[date(2020, 8, 27)] / 2
    assert now[date(2020, 8, 28)] == before[date(2020, 8, 28)]


def test_a_rescinded_factor_stops_to_apply_when_that_is_known(own: Lake) -> None:
    put_factor(own, "late-1", date(2020, 8, 31), datetime(2020, 8, 31, 23, tzinfo=UTC), 1, 4, "rescinded")
    assert closes(own)[date(2020, 8, 28)] == Decimal("499.23")
    assert closes(own, known_as_of=datetime(2020, 8, 31, 22, tzinfo=UTC))[date(2020, 8, 28)] == Decimal("124.8075")


def test_of_several_rows_with_one_key_the_one_published_last_counts(own: Lake) -> None:
    put_factor(own, "late-1", date(2020, 8, 31), small_lake.KNOWN_SPLIT, 1, 5)
    assert closes(own)[date(2020, 8, 28)] == Decimal("99.846")


def test_a_restated_bar_is_seen_from_when_it_was_known(own: Lake) -> None:
    day = small_lake.SESSIONS[1]
    put(
        own,
        "adjusted.agreed_bars",
        {
            "instrument_id": [AAPL],
            "interval": ["1d"],
            "session_date": [day],
            "ts_open": [small_lake.opens(day)],
            "close": [Decimal(400)],
            "provider": ["csv"],
            "feed": ["bars"],
            "symbol": ["AAPL"],
            "undone_ratio_old": [1],
            "undone_ratio_new": [1],
            "is_final": [True],
            "known_at": [datetime(2020, 9, 5, tzinfo=UTC)],
            "capture_id": [CAPTURE],
            "message_seq": [0],
            "ordinal": [9],
            "run_id": ["restated"],
        },
        "restated",
    )
    assert closes(own, adjustment=Adjustment.NONE)[day] == Decimal(400)
    assert closes(own, adjustment=Adjustment.NONE, known_as_of=parse_instant("2020-09-04"))[day] == Decimal("499.23")


def test_volume_follows_splits_and_dollar_volume_stays(lake: Lake) -> None:
    traded = bars(lake, BarsQuestion("AAPL")).table.to_pylist()
    adjusted = bars(lake, BarsQuestion("AAPL", adjustment=Adjustment.SPLITS)).table.to_pylist()
    assert [row["volume"] for row in adjusted] == [4000, 8000, 3000]
    for one, other in zip(traded, adjusted, strict=True):
        assert one["close"] * one["volume"] == other["close"] * other["volume"]


def test_what_is_not_there_is_told_with_what_is(lake: Lake) -> None:
    with pytest.raises(NotFoundError, match=r"no 1m bars of AAPL .*; there are 1d"):
        bars(lake, BarsQuestion("AAPL", interval="1m"))
    with pytest.raises(NotFoundError, match="known as of 2019"):
        bars(lake, BarsQuestion("AAPL", known_as_of=parse_instant("2019-01-01")))
    with pytest.raises(InvalidValueError, match=r"end .* is before start"):
        bars(lake, BarsQuestion("AAPL", start=date(2020, 9, 1), end=date(2020, 8, 1)))


def test_trades_come_in_order_and_by_knowledge(lake: Lake) -> None:
    found = trades(lake, Paged(SPOT))
    assert found.table["sequence"].to_pylist() == [0, 1, 2, 3, 4]
    known = trades(lake, Paged(SPOT, known_as_of=datetime(2024, 8, 8, 0, 0, 2, tzinfo=UTC)))
    assert known.table["sequence"].to_pylist() == [0, 1, 2]
    with pytest.raises(NotFoundError, match="no trades"):
        trades(lake, Paged("AAPL"))


def test_the_command_line_tells_the_same_bars(lake: Lake, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    asked = ["bars", "AAPL", "--start", "2020-08-28", "--end", "2020-09-01", "--home", str(lake.settings.home)]
    assert run([*asked, "--adjustment", "splits", "--json"]) == 0
    told = json.loads(capfdbinary.readouterr().out)
    whole = bars(lake, BarsQuestion("AAPL", start=date(2020, 8, 28), end=date(2020, 9, 1), adjustment=Adjustment.SPLITS))
    assert told["metadata"]["basis"] == "split_adjusted" and len(told["columns"]["close"]) == whole.table.num_rows > 0
    assert [Decimal(price) for price in told["columns"]["close"]] == whole.table["close"].to_pylist()
    assert run(asked) == 0 and b"2020-08-28" in capfdbinary.readouterr().out
    assert [run([*asked, *wrong]) for wrong in (["--adjustment", "half"], ["--interval", "7x"], ["--end", "never"])] == [2, 2, 2]
    assert run([*asked, "--source", "built", "--adjustment", "all"]) == 2
    assert run(["bars", "NOBODY", *asked[6:]]) == 3
