"""Crashes, races and leases, with real processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from lake.errors import CommitConflictError
from lake.instants import system_clock
from lake.leases import Holder
from lake.locks import kill_stopped_writer
from lake.settings import load_settings
from lake.state import State
from tests.lake.processes import BATCH, LAST, RAW, TRADES

ROOT = Path(__file__).parents[2]
INTERVALS = [[first, first + BATCH] for first in range(0, LAST, BATCH)]


def run(*arguments: str) -> dict[str, Any]:
    command = [sys.executable, "-W", "ignore", "-m", "tests.lake.processes", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout.splitlines()[-1]))


@pytest.mark.parametrize(
    "boundaries",
    [
        ["land.files:2", "land.committed:2"],
        ["publish.files:2", "publish.staged:3", "publish.published:2"],
        ["hold.linked", "hold.described", "hold.committed"],
        ["release.linked", "release.staged", "release.published"],
    ],
)
def test_killed_at_any_boundary_nothing_is_lost_and_nothing_twice(tmp_path: Path, boundaries: list[str]) -> None:
    for boundary, found in run("crash", str(tmp_path / "home"), *boundaries).items():
        told = f"{boundary}: {found}"
        assert (found["killed"], found["finished"]) == (-signal.SIGKILL, 0), told
        for table, owner in ((RAW, "raw"), (TRADES, "binance")):
            assert found[table] == list(range(LAST)), told
            assert found[f"{table} position"] == {owner: {"0": LAST}}, told
            assert found[f"{table} settled"] == INTERVALS, told
        assert (found["branches"], found["holds"]) == (1, 0), told
        assert found["visible"] == [[0, LAST - 1]], told


def test_processes_that_make_one_lake_and_land_the_same_offsets_land_them_once(tmp_path: Path) -> None:
    found = run("race", str(tmp_path / "home"), "3")
    assert (found["made"], found["codes"]) == ([0, 0, 0], [0, 0, 0])
    assert found[RAW] == list(range(LAST))
    assert found[f"{RAW} settled"] == [[first, first + 5] for first in range(0, LAST, 5)]


@contextmanager
def lease_kept(home: Path, how: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-W", "ignore", "-m", "tests.lake.processes", "lease", str(home), "pipeline", how]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "taken\n"
        try:
            yield process
        finally:
            process.kill()


def stop(process: subprocess.Popen[str]) -> None:
    """Wait until the process has stopped itself."""
    assert os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WNOWAIT) is not None


def state_of(home: Path, slept: list[float]) -> State:
    state = State(load_settings(home=home).state_url, system_clock, lease_timeout_s=0.2, sleep=slept.append)
    state.create()
    return state


def test_a_lease_is_given_back_and_taken_again(tmp_path: Path) -> None:
    state = state_of(tmp_path, [])
    with state.lease("pipeline"):
        assert state.lease_holder("pipeline") == Holder.of_this_process()
    assert state.lease_holder("pipeline") is None
    with state.lease("pipeline"), pytest.raises(CommitConflictError, match="lease pipeline is held"), state.lease("pipeline"):
        pass
    state.close()


def test_the_lease_of_a_running_process_is_waited_for_then_refused(tmp_path: Path) -> None:
    slept: list[float] = []
    with lease_kept(tmp_path, "running") as process:
        state = state_of(tmp_path, slept)
        with pytest.raises(CommitConflictError, match=f"pid={process.pid}"), state.lease("pipeline"):
            pass
        assert sum(slept) == pytest.approx(0.2)
        assert process.poll() is None, "left alone"
        process.kill()
        process.wait()
        with state.lease("pipeline"):
            assert state.lease_holder("pipeline") == Holder.of_this_process()
        state.close()


@pytest.mark.parametrize("how", ["stopped", "locked"])
def test_a_stopped_holder_is_killed_first(tmp_path: Path, how: str) -> None:
    with lease_kept(tmp_path, how) as process:
        stop(process)
        state = State(load_settings(home=tmp_path).state_url, system_clock)
        with state.lease("pipeline"):
            assert state.lease_holder("pipeline") == Holder.of_this_process()
        assert process.wait() == -signal.SIGKILL
        state.close()


def test_a_process_stopped_in_a_transaction_is_killed_by_the_next_writer(tmp_path: Path) -> None:
    """Also one that has no lease to be found by: it may have been stopped while it took its first."""
    with lease_kept(tmp_path, "locked without a lease") as process:
        stop(process)
        state = State(load_settings(home=tmp_path).state_url, system_clock)
        assert state.lease_holder("pipeline") is None
        state.save_job("next", {"n": 1})
        assert state.job("next") == {"n": 1} and state.job("of the stopped one") is None
        assert process.wait() == -signal.SIGKILL
        state.close()


def test_a_stopped_process_that_locks_nothing_is_let_be(tmp_path: Path) -> None:
    with lease_kept(tmp_path, "stopped") as process:
        stop(process)
        path = Path(load_settings(home=tmp_path).state_url.removeprefix("sqlite:///"))
        assert kill_stopped_writer(path) is None
        state = State(load_settings(home=tmp_path).state_url, system_clock)
        state.save_job("next", {"n": 1})
        assert process.poll() is None
        with state.writing():
            assert kill_stopped_writer(path) is None, "a running writer is waited for"
        state.close()


def test_a_pid_used_again_is_not_taken_for_the_holder() -> None:
    mine = Holder.of_this_process()
    assert mine.condition() == "running"
    assert Holder(mine.host, mine.boot, mine.pid_space, mine.pid, mine.started + 1).condition() == "dead"
    assert Holder(mine.host, "another boot", mine.pid_space, mine.pid, mine.started).condition() == "dead"
    assert Holder("another host", mine.boot, mine.pid_space, mine.pid, mine.started).condition() == "elsewhere"
    mine.kill()  # running: let be
