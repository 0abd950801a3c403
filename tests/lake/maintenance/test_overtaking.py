"""A sweep that overtakes a writer: whatever it deletes is never committed afterwards, and the writer begins again."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from lake.catalog import Lake
from lake.epochs import TAG, Epoch
from lake.errors import CommitConflictError
from lake.maintenance.maintaining import maintain
from lake.maintenance.sweep import begin_epoch
from lake.publish import publish, replace_all, stage
from lake.scan import read
from tests.lake.made import trade_batch
from tests.lake.maintenance.answers import TRADES, data_files, later, on_disk, published
from tests.lake.maintenance.overtaking import NEXT
from tests.lake.maintenance.processes import BATCHES

ROOT = Path(__file__).parents[3]
BEGIN_AGAIN = 3
BEFORE = Counter([*range(BATCHES * 10), *range(10)])
HELD = [*range(BATCHES * 10, NEXT)]
WRITTEN = [*range(NEXT, NEXT + 10)]
OVERTAKEN = (
    ("land/commit.prepared:1/", "publish/commit.prepared:1/", "publish/publish.files:1/sweep.decided:1"),
    ("publish/commit.prepared:1/sweep.decided:1", "hold/commit.prepared:2/", "release/commit.prepared:1/sweep.epoch:1"),
)
"""What is written, where the writer stops, where the sweep does until the writer has ended; '': the sweep ends first."""


def run(*arguments: str) -> dict[str, Any]:
    command = [sys.executable, "-W", "ignore", "-m", "tests.lake.maintenance.overtaking", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout.splitlines()[-1]))


@pytest.mark.parametrize("cases", OVERTAKEN)
def test_what_a_sweep_deletes_is_never_committed(tmp_path: Path, cases: tuple[str, ...]) -> None:
    for case, found in run(str(tmp_path / "home"), *cases).items():
        words = f"{case}: {found}"
        write = case.partition("/")[0]
        assert (found["writer"], found["sweeper"], found["again"]) == (BEGIN_AGAIN, 0, 0), words
        assert found["swept"] > 0, words
        between, after = found["between"], found["after"]
        assert (Counter(between["rows"]), between["held"], between["landed"]) == (BEFORE, HELD, []), words
        now = {"publish": WRITTEN, "release": HELD}.get(write, [])
        assert Counter(after["rows"]) == BEFORE + Counter(now), words
        assert after["held"] == {"hold": [*HELD, *WRITTEN], "release": []}.get(write, HELD), words
        assert after["landed"] == (list(range(10)) if write == "land" else []), words
        assert after["unpublished"] == 0, words


def test_a_commit_within_one_epoch_goes_through_and_one_across_two_does_not(lake: Lake) -> None:
    begun = lake.table(TRADES)
    begin_epoch(lake, TRADES)
    Epoch.of(lake.table(TRADES)).check(lake.table(TRADES))
    with pytest.raises(CommitConflictError, match="begin again"):
        Epoch.of(begun).check(lake.table(TRADES))
    publish(lake, stage(lake, trade_batch(0, 9)))
    staged = stage(lake, trade_batch(10, 19))
    begin_epoch(lake, TRADES)
    publish(lake, staged)
    assert read(lake, TRADES).num_rows == 20, "what is on a branch is reached: a new epoch does not stop its publication"


def test_an_epoch_keeps_no_file_alive_and_is_the_only_one(lake: Lake) -> None:
    published(lake, 3)
    begin_epoch(lake, TRADES)
    old = data_files(lake)
    head = lake.head(TRADES)
    begin_epoch(lake, TRADES)
    assert lake.head(TRADES) == head, "main does not move"
    maintain(lake, [TRADES], ("compact", "expire"))
    maintain(lake, [TRADES], ("sweep",))
    with later(lake.settings, 7_300) as at_last:
        assert maintain(at_last, [TRADES], ("sweep",)).tables[0].swept.deleted_files >= len(old)
    assert not set(old) & on_disk(lake)
    metadata = lake.table(TRADES).metadata
    alone = [one for one in metadata.snapshots if one.parent_snapshot_id is None and one.snapshot_id != head.snapshot_id]
    assert metadata.refs[TAG].snapshot_id in {one.snapshot_id for one in alone}
    assert len([one for one in alone if one.summary and one.summary.additional_properties["tickhouse.act"] == "epoch"]) == 1


def test_a_lake_at_rest_comes_to_rest(lake: Lake) -> None:
    """An epoch leaves nothing that would want another one: upkeep of a lake where nothing happens makes no commits."""
    published(lake, 3)
    maintain(lake, [TRADES])
    locations = []
    for hour in range(2, 10, 2):
        with later(lake.settings, hour * 3_700) as then:
            maintain(then, [TRADES])
        locations.append(lake.table(TRADES).metadata_location)
    assert locations[-2] == locations[-1]
    publish(lake, replace_all(lake, TRADES, read(lake, TRADES), "again", lake.head(TRADES).snapshot_id))
    assert read(lake, TRADES).num_rows == 30
