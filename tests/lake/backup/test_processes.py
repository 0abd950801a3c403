"""Kills at every boundary of backup, restore, replica and drill; a full target; a backup beside a promoting process."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from lake.steps import BACKUP
from tests.lake.backup.making import RAW, TRADES

ROOT = Path(__file__).parents[3]
FENCED = "may not be written any more: generation 1"
KILLS = {
    "backup": ("store", ["backup.pinned", "backup.objects:9", "backup.listed"]),
    "restore": ("there", ["restore.files", "restore.state", "restore.log", "restore.opened"]),
    "sync": ("replica", ["replica.copied", "replica.state", "replica.listed"]),
    "promote": ("replica", ["replica.seeded", "replica.promoted"]),
    "drill": ("home", ["drill.restored"]),
}
Found = dict[str, Any]


@dataclass(frozen=True)
class Place:
    """Where the tests of this module work, and what the lake there holds at first."""

    folder: Path
    first: Found


def run(*arguments: str) -> Found:
    command = [sys.executable, "-W", "ignore", "-m", "tests.lake.backup.processes", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout.splitlines()[-1]))


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """A lake with a backup and a replica, made once; each test puts it back at the same place, for tables name their files."""
    folder = tmp_path_factory.mktemp("recovery") / "all"
    return Place(folder, run("whole", str(folder)))


def killed(place: Place, verb: str) -> dict[str, Found]:
    """Return what was found at each boundary that the verb was killed at."""
    looked_at, boundaries = KILLS[verb]
    found = run("kill", str(place.folder), verb, looked_at, *boundaries)
    for boundary, one in found.items():
        again = 1 if boundary == "restore.opened" else 0  # the place is not empty any more
        assert (one["killed"], one["finished"]) == (-signal.SIGKILL, again), f"{boundary}: {one}"
    return found


def test_every_boundary_has_a_kill() -> None:
    assert {name.partition(":")[0] for _, names in KILLS.values() for name in names} == set(BACKUP)


def test_a_backup_killed_anywhere_is_whole_or_not_there(place: Place) -> None:
    found = killed(place, "backup")
    for boundary, one in found.items():
        assert one["between"]["backups"] == (boundary == "backup.listed"), one
        assert one["after"]["backups"] == 1 + (boundary == "backup.listed"), one
        assert one["between"]["faults"] == one["after"]["faults"] == [], one
        assert one["between"]["pinned"] == one["after"]["pinned"] == 0, "the pin of a dead process is none"


def test_a_restore_killed_anywhere_is_no_lake_until_it_is_finished(place: Place) -> None:
    first, found = place.first, killed(place, "restore")
    for boundary, one in found.items():
        assert boundary == "restore.opened" or "did not end" in one["between"]["refused"], one
        for name in (RAW, TRADES, "ledger", "log"):
            assert one["after"][name] == first[name], f"{boundary}: {name}"


def test_a_sync_killed_anywhere_leaves_a_replica_that_the_next_one_completes(place: Place) -> None:
    first, found = place.first, killed(place, "sync")
    for boundary, one in found.items():
        assert ("refused" in one["between"]) == (boundary != "replica.listed"), one
        for name in (RAW, TRADES, "ledger"):
            assert one["after"][name] == first[name], f"{boundary}: {name}"


def test_a_promotion_killed_anywhere_is_completed_by_the_next(place: Place) -> None:
    first, found = place.first, killed(place, "promote")
    for boundary, one in found.items():
        assert one["between"]["epoch"] == (boundary == "replica.promoted"), one
        assert one["after"]["epoch"] == 1
        for name in (RAW, TRADES, "ledger", "log"):
            assert one["after"][name] == first[name], f"{boundary}: {name}"


def test_a_replica_takes_over_from_a_primary_killed_in_the_middle_of_a_commit(place: Place) -> None:
    """Whatever the primary had of its last batch, the replica goes on where it stands, and the old one is written no more."""
    found = run("overtaken", str(place.folder), "commit.prepared", "land.committed", "publish.staged", "publish.published")
    for boundary, one in found.items():
        assert (one["killed"], one["promoted"]) == (-signal.SIGKILL, 0), f"{boundary}: {one}"
        expected = FENCED if boundary == "commit.prepared" else f"{FENCED}|reload and rebuild"  # it had begun with this batch
        assert re.search(expected, one["old"]["refused"]), boundary
        assert one["new"]["epoch"] == 1 and one["new"]["log"] == place.first["log"], boundary
        assert (one["new"]["ledger"], one["new"][TRADES]) == (2, found["commit.prepared"]["new"][TRADES]), boundary


def test_a_drill_killed_leaves_a_folder_that_the_next_one_removes(place: Place) -> None:
    found = killed(place, "drill")
    (one,) = found.values()
    assert (one["between"]["beside"], one["after"]["beside"]) == (True, False)


def test_a_full_target_is_said_and_nothing_is_listed(place: Place) -> None:
    found = run("full", str(place.folder))
    assert "no room is left" in found["refused"] and "objects/" in found["refused"]
    assert "backups" not in found["left"]
    assert found["after"] == {"backups": 1, "faults": [], "pinned": 0}


def test_a_backup_beside_a_promoting_process_is_of_one_moment(place: Place) -> None:
    found = run("beside", str(place.folder))
    assert found["codes"] == [0, 0]
    positions, raw, trades = (found["found"][name] for name in ("positions", "raw", "trades"))
    assert found["found"]["faults"] == []
    assert raw == list(range(positions[RAW])) and trades == list(range(positions[TRADES]))
    assert positions[RAW] - positions[TRADES] in (0, 10), "never more published than landed"
