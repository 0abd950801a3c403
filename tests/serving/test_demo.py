"""The demo on a part of its recordings: it adds up, it tells the same twice, and it goes on where it was killed."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from lake.catalog import Lake
from lake.instants import system_clock
from lake.settings import load_settings
from quality_checks.holds import list_holds
from quality_checks.verify import verify
from serving.demo import pages, tour
from serving.demo.acts import Size
from serving.demo.plot import plot
from serving.operate.logs import open_log
from tests.end_to_end import job

SMALL = Size(excerpt=2_000, symbols=("AAPL", "MSFT"))


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("demo") / "lake"


@pytest.fixture(scope="module")
def told(home: Path) -> dict[str, Any]:
    return tour.run(load_settings(home=home), size=SMALL)


@pytest.fixture(scope="module")
def lake(home: Path, told: dict[str, Any]) -> Iterator[Lake]:
    with Lake.open(load_settings(home=home), system_clock) as opened:
        yield opened


def test_what_was_captured_landed_and_every_fact_is_accounted_for(told: dict[str, Any]) -> None:
    layers = told["layers"]
    assert layers["adds_up"]
    assert {(feed["provider"], feed["feed"]) for feed in layers["feeds"]} == {
        *(("binance", "spot"), ("binance", "usdm"), ("csv", "bars"), ("ice", "reorg"), ("yahoo", "chart"))
    }
    for feed in layers["feeds"]:
        assert feed["captured"] == feed["landed"] > 0
    for table in layers["tables"]:
        out = table["rows"] + table["repeated"] + table["quarantined"] + table.get("held", 0) - table["moved"]
        assert table["decoded"] == out, table


def test_misbehaviour_is_told(told: dict[str, Any]) -> None:
    asked = told["asked"]
    assert {call["verdict"] for call in asked["not_answered_well"]} == {"THROTTLED", "UPSTREAM_5XX"}
    assert [report["drops"] for report in asked["captures"] if report["provider"] == "binance"] == [1, 1]
    assert {row["rule"] for row in told["quarantine"]} >= {"malformed", "held_price_jump"}


def test_the_poisoned_trades_were_held_and_the_rest_released(told: dict[str, Any], lake: Lake) -> None:
    stories = told["held"]
    assert stories
    for story in stories:
        assert "price_jump" in story["refusal"]
        assert story["decision"]["outcome"] == "released"
        assert story["rows_after"] == story["rows_before"] + story["released"]
        assert story["released"] + story["to_quarantine"] + story["decision"]["repeated"] == story["row_count"]
        assert [run["verdict"] for run in story["gate_runs"]] == ["failed", "failed", "passed"]
    assert sum(story["to_quarantine"] for story in stories) == 40
    assert list_holds(lake) == []


def test_the_split_is_adjusted_and_known_when_it_was(told: dict[str, Any]) -> None:
    closes = {row["session_date"]: (row["close"], row["adjusted_close"]) for row in told["split"]["sessions"]}
    assert closes["2020-08-28"] == ("499.23", "124.8075")
    assert closes["2020-08-31"] == ("129.04", "129.04")
    before, eve, day = told["known_as_of"]
    assert (before["split"], before["sessions"]) == (None, 0)
    assert (eve["split"], eve["last"]["close"]) == ("4:1, ex 2020-08-31", "499.23")
    assert (day["first"]["session_date"], Decimal(day["first"]["close"])) == ("2020-08-03", Decimal("108.9375"))


def test_one_value_is_explained_to_proved_bytes(told: dict[str, Any]) -> None:
    def messages(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
        if "message" in node:
            yield node["message"]
        for child in node["inputs"]:
            yield from messages(child)

    found = list(messages(told["explained"]))
    assert {message["provider"] for message in found} == {"csv", "ice", "yahoo"}
    assert all(message["is_sha256_proved"] for message in found)
    assert told["explained"]["gate"]["verdict"] == "passed"


def test_the_chain_of_revisions_is_whole(told: dict[str, Any]) -> None:
    chain = told["revisions"]["chain"]
    assert [row["ex_date"] for row in chain] == ["2020-07-27", "2020-07-24", "2020-09-18"]
    assert len({row["action_key"] for row in chain}) == 1


def test_our_adjusted_closes_are_those_of_yahoo(told: dict[str, Any]) -> None:
    assert told["yahoo"]["sessions"] == 252
    assert told["yahoo"]["largest_difference"] < 1e-6


def test_the_lake_verifies(lake: Lake) -> None:
    report = verify(lake, open_log(lake.settings))
    assert report.is_ok, report.failed


def test_a_second_run_finds_nothing_new_and_tells_the_same(told: dict[str, Any], home: Path) -> None:
    again = tour.run(load_settings(home=home), size=SMALL)
    assert told["is_new"]
    assert not again["is_new"]
    assert {**again, "is_new": True} == told


def test_the_pages_are_plain_without_a_terminal(told: dict[str, Any]) -> None:
    sink = io.StringIO()
    pages.show(Console(file=sink, width=160, highlight=False), told)
    text = sink.getvalue()
    assert "\x1b" not in text
    for words in (
        "THROTTLED",
        "DROPPED",
        "Everything adds up.",
        "--without-failed",
        "4:1, ex 2020-08-31",
        "proved again now",
        "The lake is at",
    ):
        assert words in text
    home = told["home"]
    assert max(len(line) for line in text.splitlines() if home not in line) <= 160


@pytest.mark.parametrize("boundary", ["capture.appended:6"])
def test_a_killed_demo_ends_with_the_same_content(boundary: str, tmp_path: Path, lake: Lake) -> None:
    home = tmp_path / "lake"
    code = (
        "from pathlib import Path\nfrom lake.settings import load_settings\nfrom serving.demo import tour\n"
        "from serving.demo.acts import Size\nimport sys\n"
        "tour.run(load_settings(home=Path(sys.argv[1])), size=Size(excerpt=2_000, symbols=('AAPL', 'MSFT')))"
    )
    command = [sys.executable, "-W", "ignore", "-c", code, str(home)]
    killed = subprocess.run(command, env={**os.environ, "TICKHOUSE_KILL_AT": boundary}, capture_output=True, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    told = tour.run(load_settings(home=home), size=SMALL)
    assert told["layers"]["adds_up"]
    with Lake.open(load_settings(home=home), system_clock) as other:
        assert verify(other, open_log(other.settings)).is_ok
        assert job.hashes(other) == job.hashes(lake)


def test_a_plot_has_its_marks_and_labels() -> None:
    text = plot({"one": [1.0, 2.0, 3.0], "two": [3.0, None, 1.0]}, ["2020-01-01", "2020-01-02", "2020-01-03"], height=3).plain
    assert text.count("●") == 4
    assert text.count("○") == 3
    assert "2020-01-01" in text
    assert "2020-01-03" in text
    with pytest.raises(ValueError, match="nothing to plot"):
        plot({"none": [None]}, ["x"])
