"""Maintenance killed at every boundary, racing with promotions, stopped and woken: nothing lost, nothing twice, nothing left."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from lake.steps import MAINTENANCE
from tests.lake.maintenance.processes import BATCHES, RACED

ROOT = Path(__file__).parents[3]
KEPT = list(range(BATCHES * 10))
HELD = list(range(BATCHES * 10, BATCHES * 10 + 10))
KILLS = (
    ["compact.files", "compact.proved:2", "compact.committed"],
    ["archive.files:2", "archive.proved", "archive.committed"],
    ["retain.committed", "manifests.written", "manifests.committed"],
    ["expire.committed", "sweep.listed", "sweep.epoch"],
    ["sweep.decided", "sweep.deleted"],
)


def run(*arguments: str) -> dict[str, Any]:
    command = [sys.executable, "-W", "ignore", "-m", "tests.lake.maintenance.processes", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return {"stderr": done.stderr, **json.loads(done.stdout.splitlines()[-1])}


def test_every_boundary_is_killed_at() -> None:
    assert {kill.partition(":")[0] for kills in KILLS for kill in kills} == set(MAINTENANCE)


@pytest.mark.parametrize("boundaries", KILLS)
def test_killed_at_any_boundary_and_begun_again(tmp_path: Path, boundaries: list[str]) -> None:
    found = run("crash", str(tmp_path / "home"), *boundaries)
    for boundary in boundaries:
        told = found[boundary]
        words = f"{boundary}: {told} {found['stderr']}"
        assert (told["killed"], told["finished"]) == (-signal.SIGKILL, 0), words
        assert told["between"] in (KEPT, sorted([*KEPT, *range(10)])), words  # alpaca's batch, before retention or after
        assert told["rows"] == KEPT, words
        assert told["position"] == {"binance": {"0": BATCHES * 10 + 10}, "alpaca": {"0": 10}}, words
        assert (told["holds"], told["unpublished"], told["missing"], told["left"]) == (1, 0, 0, 0), words
        assert told["files"] == 2, words


def test_maintenance_beside_promotions_in_another_process(tmp_path: Path) -> None:
    found = run("race", str(tmp_path / "home"))
    last = (BATCHES + 1 + RACED) * 10
    assert found["codes"] == [0, 0], found["stderr"]
    assert found["rows"] == list(range(last)), "the released batch too"
    assert found["position"] == {"binance": {"0": last}, "alpaca": {"0": 10}}
    assert (found["holds"], found["unpublished"], found["missing"]) == (0, 0, 0)


@pytest.mark.parametrize(("host", "ends"), [("", -signal.SIGKILL), ("elsewhere", 0)])
def test_a_sweep_stopped_behind_its_list_deletes_nothing_later(tmp_path: Path, host: str, ends: int) -> None:
    found = run("zombie", str(tmp_path / "home"), host)
    assert found["codes"] == [0], found["stderr"]
    assert found["woken"] == ends, "of this host it is killed; elsewhere it finds its lease gone"
    assert found["rows"] == sorted([*KEPT, *HELD, *range(10)])
    assert (found["holds"], found["missing"]) == (0, 0)
    stopped = tmp_path / "stopped"
    assert not stopped.exists() or stopped.read_text() == "0"
