"""kill -9 at the boundaries between two durable acts, then again: the same tables, nothing lost, nothing twice.

One lake goes through it all: its job dies at each boundary in turn, in the order in which the job meets them, and is begun
again each time by a new process. Then it may finish, and must be what the undisturbed lake is.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lake.steps import BOUNDARIES
from tests.end_to_end.conftest import Undisturbed
from tests.end_to_end.processes import KILLED, run_job

KILLS = {
    "in the middle of a poll": "capture.appended:4",
    "in the middle of a stream": "capture.appended:8",
    "between log and landing: files without a commit": "land.files:1",
    "landed, the log not yet told": "land.committed:1",
    "history written, not committed": "append.files:2",
    "history committed, the log not yet told": "append.committed:3",
    "refused rows written, their batch not": "promote.quarantined:1",
    "a snapshot written, its table not yet moved to it": "commit.prepared:2",
    "files written, not staged": "publish.files:2",
    "between branch and publish": "publish.staged:3",
    "files of a hold linked": "hold.linked:1",
    "a hold described, not on main": "hold.described:1",
    "held, the next table not begun": "hold.committed:1",
    "published, its ledger not yet written": "publish.published:2",
    "adjusted bars staged, not published": "adjust.staged:1",
    "files of a release linked": "release.linked:1",
    "a release staged, not published": "release.staged:1",
    "released, its ledger not yet written": "release.published:1",
    "rejected rows in quarantine, still held": "reject.quarantined:1",
    "rejected, its ledger not yet written": "reject.committed:1",
}
"""What the kill leaves behind: where."""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("killed") / "lake"


EVERY_STAGE = {
    *("normalized.trades", "normalized.quotes", "normalized.book_events", "normalized.bars", "normalized.corporate_actions"),
    *("adjusted.agreed_bars", "adjusted.factors", "adjusted.bars_1d"),
}
"""What the job of the demo fills; other tables are filled by providers that it does not ask."""


def assert_sound(document: dict[str, Any]) -> None:
    """What is true of every run: all that was captured has landed, every count adds up, nothing is held any more."""
    assert document["verify_failed"] == []
    assert document["verified"] > 10
    assert document["captured"] == document["landed"] > 0
    assert set(document["unlanded"].values()) <= {0}
    assert document["holds"] == []


def test_the_undisturbed_run_is_sound_and_goes_through_every_stage(undisturbed: Undisturbed):
    assert_sound(undisturbed.document)
    filled = {name for name, count in undisturbed.document["rows"].items() if count}
    assert filled >= EVERY_STAGE, f"nothing reached {sorted(EVERY_STAGE - filled)}"
    assert {"malformed", "held_price_jump", "held_rejected"} <= set(undisturbed.document["quarantined"])


def test_no_boundary_is_left_out():
    assert {place.partition(":")[0] for place in KILLS.values()} == set(BOUNDARIES)


@pytest.mark.parametrize("kill_at", KILLS.values(), ids=KILLS)
def test_the_job_dies(home: Path, kill_at: str):
    code, _ = run_job(home, kill_at)
    assert code == KILLED, f"the boundary {kill_at} was not reached"


def test_begun_once_more_it_ends_like_the_undisturbed_one(home: Path, undisturbed: Undisturbed):
    code, document = run_job(home)
    assert code == 0
    assert_sound(document)
    assert document["rows"] == undisturbed.document["rows"]
    assert document["hashes"] == undisturbed.document["hashes"]


def test_a_finished_job_finds_nothing_to_do(home: Path, undisturbed: Undisturbed):
    code, document = run_job(home)
    assert code == 0
    assert_sound(document)
    assert document["hashes"] == undisturbed.document["hashes"]
