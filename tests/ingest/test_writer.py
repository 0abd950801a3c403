"""Captures that share commits: every message once, whatever the log does."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from ingest.recorder import Recorder
from ingest.writer import Writer
from lake.errors import CommitUnknownError, InvalidValueError, LogFullError
from lake.instants import system_clock
from lake.log.blocks import partition_of
from lake.log.log import RAW_PARTITIONS
from lake.log.segments import SegmentLog
from lake.steps import Steps
from lake.values import Capture, CaptureKind, Message
from tests.ingest.conftest import Waits, messages_of
from tests.ingest.test_capture import Awkward

CAPTURE = Capture("binance-spot-test", "binance", "spot", CaptureKind.LIVE, 1, "1", "x")


@pytest.mark.parametrize(
    "failures",
    [
        [(LogFullError("full"), False)] * 3,
        [(CommitUnknownError("who knows"), True)],
        [(CommitUnknownError("who knows"), False), (LogFullError("full"), False), (CommitUnknownError("who knows"), True)],
    ],
)
def test_captures_that_share_commits_get_every_message_once(
    log: SegmentLog, waits: Waits, failures: list[tuple[Exception, bool]]
) -> None:
    captures = [Capture(f"binance-spot-{number}", "binance", "spot", CaptureKind.LIVE, 1, "1", "x") for number in range(6)]
    with Writer(Awkward(log, list(failures)), clock=system_clock, steps=Steps(), sleep=waits) as writer:
        recorders = [writer.recorder(capture, RAW_PARTITIONS) for capture in captures]
        for number in range(1_500):
            for recorder in recorders:
                recorder.record([Message(number, number, "text/plain", b"%d" % number)])
        for recorder in recorders:
            recorder.flush()
            assert recorder.durable == 1_500
    found: Mapping[str, list[object]] = {capture.capture_id: [] for capture in captures}
    for row in messages_of(log):
        found[str(row["capture_id"])].append(row["payload"])
    assert all(payloads == [b"%d" % number for number in range(1_500)] for payloads in found.values())
    assert len({partition_of(capture.capture_id, RAW_PARTITIONS) for capture in captures}) > 1


def test_a_log_that_stays_full_is_told_to_every_capture(log: SegmentLog, waits: Waits) -> None:
    full = Awkward(log, [(LogFullError("full"), False)] * 1_000)
    with Writer(full, clock=system_clock, steps=Steps(), sleep=waits, patience_s=60.0) as writer:
        recorders = [writer.recorder(CAPTURE, RAW_PARTITIONS) for _ in range(2)]
        for recorder in recorders:
            recorder.record([Message(0, 0, "text/plain", b"x")])
        for recorder in recorders:
            with pytest.raises(LogFullError):
                recorder.flush()
            with pytest.raises(LogFullError):
                recorder.record([Message(recorder.next_seq, 0, "text/plain", b"x")])
        assert writer.has_room  # so that listeners go on, and meet the error
    assert [recorder.durable for recorder in recorders] == [0, 0]


def test_a_hole_in_the_numbers_is_refused_there_too(log: SegmentLog, waits: Waits) -> None:
    with Writer(log, clock=system_clock, steps=Steps(), sleep=waits) as writer:
        recorder: Recorder = writer.recorder(CAPTURE, RAW_PARTITIONS)
        with pytest.raises(InvalidValueError, match="expected 0"):
            recorder.record([Message(1, 0, "text/plain", b"x")])
