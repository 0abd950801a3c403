"""Everything not fsynced is gone: the log keeps every block that was acknowledged, a lake half made can be made whole."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from lake.catalog import Lake
from lake.instants import system_clock
from lake.settings import load_settings

ROOT = Path(__file__).parents[2]


def cut(what: str, folder: Path, count: int) -> list[dict[str, Any]]:
    command = [sys.executable, "-W", "ignore", "-m", "tests.crash.cutting", what, str(folder), str(count)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return list(json.loads(done.stdout))


@pytest.mark.needs("strace")
def test_the_log_keeps_every_acknowledged_block(tmp_path: Path) -> None:
    found = cut("log", tmp_path / "log", 12)
    for one in found:
        assert one["code"] == 0, one
        assert int(one["told"][0]) >= len(one["acknowledged"]), one
    assert len(found[-1]["acknowledged"]) == 24, "the last cut is at the end"


@pytest.mark.needs("strace")
def test_a_lake_whose_making_was_cut_is_opened_or_made(tmp_path: Path) -> None:
    found = cut("lake", tmp_path / "lake", 3)
    assert [one["code"] for one in found] == [0, 0, 0], found
    assert found[-1]["acknowledged"] == ["ack made"]
    assert found[-1]["told"] == ["open"], "what was acknowledged is there"


def test_every_database_connection_of_a_lake_writes_through(tmp_path: Path) -> None:
    with Lake.create(load_settings(home=tmp_path / "home"), system_clock) as lake:
        for engine in (lake.state._engine, lake._catalog.engine):
            with engine.connect() as connection:
                synchronous = connection.exec_driver_sql("PRAGMA synchronous").scalar()
                journal = connection.exec_driver_sql("PRAGMA journal_mode").scalar()
            assert (synchronous, journal) == (2, "wal")
