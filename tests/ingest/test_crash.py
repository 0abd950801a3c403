"""Killed with SIGKILL at a boundary, then run again: nothing lost, nothing twice."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from ingest.landing import land, unlanded
from ingest.recorder import messages_in_log
from ingest.simulator.recorded import binance
from lake.catalog import Lake
from lake.instants import system_clock
from lake.log.segments import SegmentLog
from lake.scan import read
from lake.settings import load_settings
from tests.ingest.conftest import messages_of
from tests.ingest.crashing import EXCERPT, POLLED, main


def killed(root: Path, work: str, home: Path, kill_at: str) -> bool:
    """Do the work in a process of its own; True when it was killed on the way."""
    environment = {**os.environ, "TICKHOUSE_KILL_AT": kill_at}
    command = [sys.executable, "-m", "tests.ingest.crashing", work, str(home)]
    return subprocess.run(command, cwd=root, env=environment, timeout=300, check=False).returncode == -signal.SIGKILL


def opened(home: Path) -> tuple[Lake, SegmentLog]:
    return Lake.open(load_settings(home=home), system_clock), SegmentLog(home / "log", system_clock, min_free_bytes=1)


def keys(lake: Lake) -> Counter[tuple[str, int]]:
    rows = read(lake, "raw.messages", ["capture_id", "message_seq"]).to_pylist()
    return Counter((row["capture_id"], row["message_seq"]) for row in rows)


@pytest.mark.parametrize("kill_at", ["capture.appended:2", "capture.appended:6"])
def test_a_capture_killed_half_way_is_kept_and_done_again(root: Path, tmp_path: Path, kill_at: str) -> None:
    assert killed(root, "capture", tmp_path, kill_at)
    lake, log = opened(tmp_path)
    with lake, log:
        before = messages_of(log)
    assert before
    main("capture", tmp_path)
    lake, log = opened(tmp_path)
    with lake, log:
        after = messages_of(log)
        land(lake, log)
        assert keys(lake) == Counter((row["capture_id"], row["message_seq"]) for row in after)
        assert set(keys(lake).values()) == {1}
        whole = [job for key, job in lake.state.jobs("capture:").items()]
        gaps = read(lake, "quality.gaps", ["reason"]).to_pylist()
    assert [row for row in after if row in before] == before
    assert sorted(job["messages"] for job in whole) == [POLLED, EXCERPT]
    streamed = [
        row["payload"] for row in after if row["capture_id"] in {job["capture_id"] for job in whole} and row["status"] is None
    ]
    assert streamed == [frame.payload for frame in binance("spot", EXCERPT).frames]
    assert len(gaps) == (kill_at == "capture.appended:6")  # a stream that died is a gap, a poll is asked again


@pytest.mark.parametrize("kill_at", ["capture.appended:1", "capture.appended:30"])
def test_an_import_killed_half_way_goes_on_where_it_was(root: Path, tmp_path: Path, kill_at: str) -> None:
    assert killed(root, "import", tmp_path, kill_at)
    if kill_at.endswith(":1"):  # what is in the log lands meanwhile, or does not: the import finds it either way
        main("land", tmp_path)
    main("import", tmp_path)
    lake, log = opened(tmp_path)
    with lake, log:
        land(lake, log)
        found = keys(lake)
        (capture_id,) = {name for name, _ in found}
        assert found == Counter((capture_id, seq) for seq in range(binance("spot").messages))
        assert read(lake, "ops.captures").num_rows == 1
        assert messages_in_log(log, capture_id) == binance("spot").messages


@pytest.mark.parametrize("kill_at", ["land.files:1", "land.committed:1", "append.committed:1"])
def test_a_landing_killed_anywhere_lands_everything_once(root: Path, tmp_path: Path, kill_at: str) -> None:
    main("capture", tmp_path)
    assert killed(root, "land", tmp_path, kill_at)
    main("land", tmp_path)
    lake, log = opened(tmp_path)
    with lake, log:
        assert keys(lake) == Counter((row["capture_id"], row["message_seq"]) for row in messages_of(log))
        assert len(keys(lake)) == EXCERPT + POLLED
        assert read(lake, "ops.captures").num_rows == 2
        assert read(lake, "ops.provider_calls").num_rows == POLLED + 2
        assert unlanded(lake, log) == {"raw": 0, "history": 0}
