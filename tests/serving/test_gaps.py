"""Gaps and backfill by verb, over HTTP and in `up`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from ingest.landing import land
from ingest.simulator import Simulator
from lake.catalog import Lake
from lake.instants import NANOS_PER_SECOND, system_clock
from lake.settings import load_settings
from quality_checks.gaps import GapLedger, GapStatus, KnownGap
from serving.cli.app import run
from serving.operate.logs import open_log
from tests.ingest.filling import announced
from tests.serving.market_lake import served

RANGE = ("backfill", "bars", "-s", "AAPL", "--start", "2020-08-31", "--end", "2020-11-07", "--json")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("gaps") / "lake"
    Lake.create(load_settings(home=found), system_clock).close()
    return found


def told(capsys: pytest.CaptureFixture[str], home: Path, *words: str) -> tuple[int, dict[str, Any]]:
    code = run([*words, "--home", str(home)])
    return code, json.loads(capsys.readouterr().out)


def test_a_range_is_asked_once_proved_and_shown(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, first = told(capsys, home, *RANGE)
    assert (code, first["questions"], first["filled"], first["waiting"]) == (0, 1, 1, 0)
    code, again = told(capsys, home, *RANGE)
    assert (code, again["questions"], again["filled"]) == (0, 0, 0)
    code, listed = told(capsys, home, "gaps", "--json")
    (gap,) = listed["gaps"]
    assert (gap["status"], gap["found_count"], gap["interval"], listed["open_count"]) == ("filled", 49, "1d", 0)
    assert told(capsys, home, "gaps", "--open", "--json")[1]["gaps"] == []
    with Lake.open(load_settings(home=home), system_clock) as lake, served(lake) as client:

        def shown(**asked: str) -> list[str]:
            answer = client.get("/api/v1/gaps", params=asked)
            assert answer.status_code == 200, answer.text
            return list(answer.json()["columns"]["status"])

        assert shown() == shown(symbol="AAPL", table="normalized.bars", start="2020-09-01", end="2020-09-02") == ["filled"]
        for nothing in ({"status": "open"}, {"feed": "spot"}, {"start": "2020-11-08"}, {"end": "2020-08-01"}, {"symbol": "MSFT"}):
            assert shown(**nothing) == []


@pytest.mark.parametrize(
    "words",
    [
        ("backfill",),
        ("backfill", "books", "-s", "X", "--start", "2020-01-01", "--end", "2020-01-02"),
        ("backfill", "bars", "-s", "X"),
    ],
)
def test_what_is_no_range_is_refused(home: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...]) -> None:
    assert run([*words, "--home", str(home)]) == 2
    assert "a range wants KIND" in capsys.readouterr().err


def test_what_was_listened_to_is_reconciled_by_its_verb(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Two dead captures of yesterday: of Binance's trades numbers tell, and of IEX's trades Tiingo keeps no history."""
    yesterday_ns = system_clock() - 86_400 * NANOS_PER_SECOND
    with Lake.open(load_settings(home=home), lambda: yesterday_ns) as lake:
        log = open_log(lake.settings)
        announced(lake, log, "tiingo", "iex", {"trades": ["AAPL"]})
        announced(lake, log, "binance", "spot", {"btcusdt@trade": ["BTCUSDT"]})
        land(lake, log)
    code, first = told(capsys, home, "backfill", "reconcile", "--json")
    assert (code, first["opened"], first["questions"], first["not_whole_yet"]) == (0, [], 0, 0)
    assert [words.partition(":")[0] for words in first["unreconcilable"]] == ["tiingo/iex/trades cannot be reconciled"]
    assert run(["backfill", "reconcile", "--home", str(home)]) == 0
    assert "tiingo/iex/trades cannot be reconciled: nobody offers its history" in capsys.readouterr().out
    (alert,) = told(capsys, home, "alerts", "--json")[1]["alerts"]
    assert alert["name"] == "unreconcilable/tiingo/iex/trades"
    assert run(["alerts", "--resolve", alert["name"], "--home", str(home)]) == 2, "a reason is wanted"
    capsys.readouterr()
    assert told(capsys, home, "alerts", "--resolve", alert["name"], "--reason", "known", "--json")[1]["alerts"] == []


def test_nobody_offers_it(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = (
        "backfill",
        "bars",
        "-s",
        "X",
        "--start",
        "2020-01-01",
        "--end",
        "2020-01-02",
        "--interval",
        "7m",
        "--home",
        str(home),
    )
    assert run(words) == 3
    assert "nobody who can be asked offers bars of 7m" in capsys.readouterr().err


def test_the_part_of_up_asks_for_what_is_open(home: Path, root: Path) -> None:
    """The part asks, and leaves the rest to the pipeline, which does not run here."""
    start, end = (datetime(2021, 3, day, tzinfo=UTC) for day in (1, 6))
    with Lake.open(load_settings(home=home), system_clock) as lake, Simulator(markets=()) as sim:
        gap = KnownGap(
            "g-part", "yahoo", "chart", "MSFT", GapStatus.OPEN, "wanted", start, table_name="normalized.bars", interval="1d",
            gap_start=start, gap_end=end,
        )  # fmt: skip
        assert GapLedger(lake, open_log(lake.settings), "test").open(gap)
        words = [sys.executable, "-m", "serving.operate.parts", "gaps", "--simulator", json.dumps(sim.addresses())]
        own = {**os.environ, "TICKHOUSE_HOME": str(home)}
        part = subprocess.Popen(words, cwd=root, env=own, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert part.stdin is not None and part.stdout is not None
        try:
            events = [json.loads(part.stdout.readline()) for _ in range(2)]
        finally:
            part.stdin.close()
            code = part.wait(60)
            part.stdout.close()
        assert ([event["event"] for event in events], code) == (["waiting", "gaps"], 0)
        assert "1 attempts, 1 questions, 1 messages" in events[1]["words"]
        (known,) = [one for one in GapLedger(lake, open_log(lake.settings), "test").under_way() if one.gap_id == "g-part"]
        assert (known.status, [fill.verdict for fill in known.fills]) == (GapStatus.FILLING, ["OK"])
