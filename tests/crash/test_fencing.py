"""A writer that was paused elsewhere and wakes after its lease was taken publishes nothing, although it cannot be killed."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pyiceberg.exceptions import CommitFailedException

from lake import iceberg_internals as internals
from lake.catalog import Lake
from lake.errors import CommitConflictError, CommitUnknownError
from lake.expiry import expire
from lake.fences import fence_off, fences_of, not_fenced_off
from lake.instants import system_clock
from lake.publish import publish, stage
from lake.settings import load_settings
from lake.state import State
from quality_checks.verify import verify
from tests.lake.made import trade_batch

ROOT = Path(__file__).parents[2]
TRADES = "normalized.trades"


def fenced(home: Path) -> dict[str, Any]:
    """What became of a zombie, in a lake of its own."""
    home.parent.mkdir()
    command = [sys.executable, "-W", "ignore", "-m", "tests.crash.fencing", str(home)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_a_zombie_elsewhere_publishes_nothing_once_its_lease_was_taken(tmp_path: Path) -> None:
    """One stopped while its heartbeat is in a transaction is killed (lake/locks.py): that one says nothing here."""
    for number in range(10):
        found = fenced(tmp_path / str(number) / "home")
        assert found["position"] == ["{}"]
        if found["code"] != -signal.SIGKILL:
            break
    assert found["impatient"] == ["refused CommitConflictError"], "a lease is not taken before it was silent for the expiry"
    assert found["taker"] == ["taken 1"]
    assert found["zombie"][0] == "staged"
    assert found["zombie"][1].startswith("refused CommitConflictError: lease normalized.trades was taken"), found
    assert (found["code"], found["position"]) == (0, ["{}"])


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    return Lake.create(load_settings(home=tmp_path_factory.mktemp("fenced") / "home"), system_clock)


def test_the_catalog_itself_refuses_a_commit_under_a_lost_lease(lake: Lake) -> None:
    for token in ("first", "second", "first"):
        fence_off(lambda: lake.table(TRADES), token)
    assert {*fences_of(lake.table(TRADES).metadata)} == {"fence-first", "fence-second"}
    for tokens, is_refused in ((["first"], True), (["mine", "second"], True), (["mine"], False), ([], False)):
        try:
            internals.commit(lake.table(TRADES), not_fenced_off(tokens), [internals.set_property("tried", str(tokens))])
            assert not is_refused, tokens
        except CommitFailedException:
            assert is_refused, tokens


def test_expiry_drops_the_fences_that_main_left_far_behind(lake: Lake) -> None:
    fence_off(lambda: lake.table(TRADES), "old")
    for number in range(3):
        publish(lake, stage(lake, trade_batch(number * 5, number * 5 + 4, provider="other")))
    fence_off(lambda: lake.table(TRADES), "new")
    assert expire(lake, TRADES, keep=2, slack=0) > 0
    assert {*fences_of(lake.table(TRADES).metadata)} == {"fence-new"}
    assert "no_audit_branch" not in [check.name for check in verify(lake).failed], "a fence is nothing that was left behind"


def test_who_holds_the_lease_commits_and_who_lost_it_does_not(lake: Lake) -> None:
    with lake.state.lease(TRADES) as token:
        publish(lake, stage(lake, trade_batch(0, 4)))
        staged = stage(lake, trade_batch(5, 9))
        lake.state.drop_lease(TRADES, token)
        with pytest.raises(CommitConflictError, match="was taken by another process"):
            publish(lake, staged)
    with lake.state.lease(TRADES):
        publish(lake, stage(lake, trade_batch(5, 9, run_id="again")))
    assert lake.head(TRADES).vector("binance") == {"0": 10}


class Refusing(State):
    """A state database that does not take a lease back while `is_full`."""

    is_full = False

    def drop_lease(self, name: str, token: str) -> None:
        if self.is_full:
            raise CommitUnknownError("state database: disk full")
        super().drop_lease(name, token)


def test_a_lease_that_could_not_be_given_back_is_not_waited_for_by_its_own_process(tmp_path: Path) -> None:
    slept: list[float] = []
    state = Refusing(load_settings(home=tmp_path).state_url, system_clock, 5.0, slept.append)
    state.create()
    with state.lease("pipeline"):
        state.is_full = True
    assert state.lease_holder("pipeline") is not None
    state.is_full = False
    with state.lease("pipeline"):
        assert slept == []
    assert state.lease_holder("pipeline") is None
    state.close()
