"""The report of `make verify-data`, on a small data folder of our own."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from ingest.simulator.recorded import FOLDER
from tests.verify_data.__main__ import print_report, print_unexplained
from tests.verify_data.folders import LINES, Line
from tests.verify_data.verifying import Report, data_files, fresh_lake, verify_data

SCALED = "Date,Open,High,Low,Close,Volume\n1/2/2020,1,2,1,2,9\n1/3/2020,1,2,1,2,9\n1/6/2020,1000,2000,1000,2000,9\n"
"""Three days, the last in another scale."""


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Report:
    data = tmp_path_factory.mktemp("data")
    shutil.copytree(FOLDER / "ice_reorg", data / "adjustment" / "ice_reorg")
    (data / "adjustment" / "README.md").write_text("about")
    (data / "notes").mkdir()
    (data / "notes" / "strange.bin").write_bytes(b"\0\1")
    (data / "scaled").mkdir()
    (data / "scaled" / "X_Hist.csv").write_text(SCALED)
    lines = (Line("adjustment/ice_reorg/reorg.*", "ice", "reorg"), Line("scaled/*.csv", "csv", "bars", "us_days"))
    lake, log = fresh_lake(tmp_path_factory.mktemp("home"))
    with lake, log:
        return verify_data(lake, log, data, lines)


def test_a_file_that_no_feed_takes_is_unexplained(report: Report, capsys: pytest.CaptureFixture[str]) -> None:
    told = {line.split(":")[0] for line in report.unexplained}
    assert told == {"adjustment/ice_reorg/aapl_raw.csv", "adjustment/ice_reorg/aapl_raw.toml"} | {
        "adjustment/ice_reorg/ORIGIN.md",
        "notes/strange.bin",
    }
    assert print_unexplained(report) == 1
    assert "notes/strange.bin: no feed takes it" in capsys.readouterr().out
    assert print_unexplained(Report([])) == 0


def test_rows_and_refusals_are_counted_by_file(report: Report, capsys: pytest.CaptureFixture[str]) -> None:
    taken = [file for file in report.files if file.captures and file.path.startswith("adjustment")]
    assert [file.messages for file in taken] == [1] * 4
    assert sum(file.rows["normalized.corporate_actions"] + file.refused.total() for file in taken) >= 4
    print_report(report)
    assert "adjustment: 7 files, 4 messages" in capsys.readouterr().out


def test_lines_name_feeds_and_folders_apart() -> None:
    assert all("/" in line.files and not line.files.startswith("/") for line in LINES)
    assert len(set(LINES)) == len(LINES)


def test_a_batch_that_the_gate_holds_is_told_and_released_without_what_failed(report: Report) -> None:
    assert report.holds == ["scaled: 3 rows of normalized.bars held for price_jump; released without 1 that failed"]
    (file,) = [file for file in report.files if file.path == "scaled/X_Hist.csv"]
    assert (file.rows["normalized.bars"], file.refused.total(), file.problem) == (2, 1, None)


def test_only_folders_named_are_read(tmp_path: Path) -> None:
    for name in ("a/one.csv", "b/two.csv", "README.md", "b/README.md"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert data_files(tmp_path) == ["a/one.csv", "b/two.csv"]
    assert data_files(tmp_path, ["b"]) == ["b/two.csv"]
