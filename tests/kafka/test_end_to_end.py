"""The whole job over a real Kafka: killed and stopped in the worst places, nothing lost, nothing twice."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from ingest.landing import land, unlanded
from ingest.recorder import Recorder
from lake.catalog import Lake
from lake.instants import system_clock
from lake.log.kafka import KafkaLog
from lake.log.log import RAW_TOPIC
from lake.scan import read
from lake.settings import load_settings
from lake.steps import Steps
from lake.values import Capture, CaptureKind, Message
from tests.end_to_end.processes import KILLED, run_job

KILLS = ("capture.appended:8", "land.files:1", "publish.staged:3")


def test_capture_and_pipeline_killed_on_the_way_through_kafka(kafka_broker: str, tmp_path: Path) -> None:
    home, log_url = tmp_path / "lake", f"kafka://{kafka_broker}/{tmp_path.name[:40]}"
    reached = [run_job(home, kill_at, log_url)[0] == KILLED for kill_at in KILLS]
    assert all(reached)
    code, document = run_job(home, log_url=log_url)
    assert code == 0
    assert document["verify_failed"] == []
    assert document["captured"] == document["landed"] > 500
    assert set(document["unlanded"].values()) == {0}
    assert document["holds"] == []
    with Lake.open(load_settings(home=home, log_url=log_url), system_clock) as lake, KafkaLog(log_url, system_clock) as log:
        ends = {str(partition): bound.next for partition, bound in log.bounds(RAW_TOPIC).items()}
        assert lake.head("raw.messages").position["raw"] == ends
        assert not (home / "log").exists()
        for provider in ("binance", "yahoo"):
            assert lake.head("normalized.bars" if provider == "yahoo" else "normalized.trades").vector(provider)


@pytest.fixture
def recorded(kafka_broker: str, tmp_path: Path) -> Iterator[tuple[Lake, KafkaLog, str]]:
    log_url = f"kafka://{kafka_broker}/{tmp_path.name[:40]}"
    settings = load_settings(home=tmp_path / "lake", log_url=log_url)
    with Lake.create(settings, system_clock) as lake, KafkaLog(log_url, system_clock) as log:
        capture = Capture("made-1", "made", "feed", CaptureKind.LIVE, system_clock(), "1", "x")
        recorder = Recorder(log, capture, clock=system_clock, steps=Steps(), sleep=lambda seconds: None)
        recorder.begin()
        recorder.record([Message(number, number, "text/plain", b"%d" % number) for number in range(3_500)])
        recorder.flush()
        yield lake, log, log_url


@pytest.mark.parametrize("has_own_state", [False, True], ids=["of this host", "of another host"])
def test_a_zombie_between_file_and_commit_lands_nothing_twice(
    recorded: tuple[Lake, KafkaLog, str], root: Path, tmp_path: Path, has_own_state: bool
) -> None:
    """On this host the zombie is killed by whoever takes its lease; elsewhere it wakes up and its commit is refused."""
    lake, log, log_url = recorded
    state = f"sqlite:///{tmp_path / 'other.db'}" if has_own_state else ""
    command = [sys.executable, "-m", "tests.kafka.landing", str(lake.settings.home), state, log_url]
    with subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, text=True) as zombie:
        _, status = os.waitpid(zombie.pid, os.WUNTRACED)
        assert os.WIFSTOPPED(status)
        assert land(lake, log).messages == 3_500
        if has_own_state:
            zombie.send_signal(signal.SIGCONT)
        said = zombie.communicate()[0]
    assert (zombie.returncode, said) == ((0, "0\n") if has_own_state else (-signal.SIGKILL, ""))
    rows = read(lake, "raw.messages", ["capture_id", "message_seq"]).to_pylist()
    assert Counter(row["message_seq"] for row in rows) == Counter(range(3_500))
    assert lake.head("raw.messages").position["raw"] == {str(at): bound.next for at, bound in log.bounds(RAW_TOPIC).items()}
    assert unlanded(lake, log) == {"raw": 0, "history": 0}
