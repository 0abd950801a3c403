"""kill -9 at a boundary between two durable acts, then again from the start: the same tables, nothing lost, nothing twice."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lake.steps import BOUNDARIES
from tests.end_to_end.processes import KILLED, run_job

KILLS = {
    "in the middle of a capture": "capture.appended:8",
    "between log and landing: files without a commit": "land.files:1",
    "landed, the log not yet told": "land.committed:1",
    "refused rows written, their batch not": "promote.quarantined:1",
    "between branch and publish": "publish.staged:3",
    "published, its ledger not yet written": "publish.published:2",
    "files of a hold linked, the hold not written": "hold.linked:1",
    "held, the next table not begun": "hold.committed:1",
    "a release staged, not published": "release.staged:1",
    "released, its ledger not yet written": "release.published:1",
    "rejected rows in quarantine, still held": "reject.quarantined:1",
    "adjusted bars staged, not published": "adjust.staged:1",
}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    code, document = run_job(tmp_path_factory.mktemp("undisturbed") / "lake")
    assert code == 0
    assert_sound(document)
    return document


def assert_sound(document: dict[str, Any]) -> None:
    """What is true of every run: all that was captured is landed, every count adds up, nothing is held any more."""
    assert document["verify_ok"], document["verify"]
    assert document["captured"] == document["landed"] > 0
    assert set(document["unlanded"].values()) <= {0}
    assert document["holds"] == []


def test_the_undisturbed_run_goes_through_every_stage(undisturbed):
    empty = [name for name, count in undisturbed["rows"].items() if count == 0]
    assert empty == []
    assert {"malformed", "held_price_jump", "held_rejected"} <= set(undisturbed["quarantined"])


@pytest.mark.parametrize("kill_at", KILLS.values(), ids=KILLS)
def test_a_killed_run_ends_like_an_undisturbed_one(undisturbed, tmp_path: Path, kill_at: str):
    home = tmp_path / "lake"
    code, _ = run_job(home, kill_at)
    assert code == KILLED, f"the boundary {kill_at} was not reached"
    code, document = run_job(home)
    assert code == 0
    assert_sound(document)
    assert document["hashes"] == undisturbed["hashes"]
    assert document["rows"] == undisturbed["rows"]


def test_killed_at_every_boundary_in_turn(undisturbed, tmp_path: Path):
    """One lake, whose job dies at each boundary once before it may finish."""
    home = tmp_path / "lake"
    reached = {name: run_job(home, f"{name}:1")[0] == KILLED for name in BOUNDARIES}
    assert reached["capture.appended"]
    assert reached["publish.staged"]
    code, document = run_job(home)
    assert code == 0
    assert_sound(document)
    assert document["hashes"] == undisturbed["hashes"]
