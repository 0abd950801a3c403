from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.history import append_history, capture_row, finding_row
from ingest.landing import MAX_BATCH_BYTES, READER, LandReport, history_tables, land, message_ranges, unlanded
from ingest.recorder import Recorder
from lake.catalog import Lake
from lake.commits import append
from lake.errors import CorruptedError
from lake.instants import EPOCH, system_clock
from lake.log.blocks import partition_of, split_messages
from lake.log.log import HISTORY_TOPIC, RAW_TOPIC, Block
from lake.log.segments import SegmentLog
from lake.scan import read
from lake.settings import load_settings
from lake.steps import Steps
from lake.values import Capture, CaptureKind, Message, MessageRange


def capture(name: str) -> Capture:
    return Capture(name, "binance", "spot", CaptureKind.LIVE, 1_723_161_253_000_000_000, "1", "x")


def fill(log: SegmentLog, name: str, count: int, first: int = 0) -> None:
    at = 1_723_161_253_000_000_123
    messages = [
        Message(seq, at + seq, "application/json", b"%s %d" % (name.encode(), seq)) for seq in range(first, first + count)
    ]
    log.append(RAW_TOPIC, partition_of(name, 4), split_messages(capture(name), messages))


def landed(lake: Lake) -> list[tuple[str, int, bytes]]:
    rows = read(lake, "raw.messages", ["capture_id", "message_seq", "payload"]).to_pylist()
    return sorted((row["capture_id"], row["message_seq"], row["payload"]) for row in rows)


def expected(**captures: int) -> list[tuple[str, int, bytes]]:
    return sorted((name, seq, b"%s %d" % (name.encode(), seq)) for name, count in captures.items() for seq in range(count))


def test_what_is_in_the_log_lands_once(lake: Lake, log: SegmentLog) -> None:
    fill(log, "a", 1_500)
    fill(log, "b", 10)
    first = land(lake, log)
    assert (first.messages, first.commits, unlanded(lake, log)[RAW_TOPIC]) == (1_510, 1, 0)
    assert land(lake, log) == LandReport()
    fill(log, "a", 500, first=1_500)
    assert land(lake, log).messages == 500
    assert landed(lake) == expected(a=2_000, b=10)
    rows = read(lake, "raw.messages", ["ts_recv_nanos", "log_partition", "log_offset", "capture_id"]).to_pylist()
    assert {row["log_partition"] for row in rows} == {partition_of("a", 4), partition_of("b", 4)}
    assert {row["log_offset"] for row in rows if row["capture_id"] == "a"} == set(range(3)) | {
        offset + (partition_of("a", 4) == partition_of("b", 4)) for offset in range(3)
    }


def test_batches_are_bounded_and_positions_follow(lake: Lake, log: SegmentLog, tmp_path: Path) -> None:
    with Lake.create(load_settings(home=tmp_path / "other", landing_messages=1_000), system_clock) as small:
        for name in ("a", "b", "c", "d"):
            fill(log, name, 700)
        report = land(small, log)
        assert (report.messages, report.commits) == (2_800, 4)
        assert small.head("raw.messages").position["raw"] == {
            str(partition): bounds.next for partition, bounds in log.bounds(RAW_TOPIC).items()
        }
        assert landed(small) == expected(a=700, b=700, c=700, d=700)


def test_a_commit_is_bounded_by_bytes_in_memory_not_by_what_the_log_made_of_them(lake: Lake, log: SegmentLog) -> None:
    each = MAX_BATCH_BYTES // 8
    for seq in range(20):
        message = Message(seq, 1_723_161_253_000_000_123 + seq, "application/octet-stream", bytes(each))
        log.append(RAW_TOPIC, 0, split_messages(capture("zeros"), [message]))
    report = land(lake, log)
    assert (report.messages, report.commits) == (20, 3)
    assert sorted(read(lake, "raw.messages", ["message_seq"])["message_seq"].to_pylist()) == list(range(20))


def test_the_log_may_drop_what_has_landed_and_nothing_else(lake: Lake, tmp_path: Path) -> None:
    with SegmentLog(tmp_path / "tiny", system_clock, segment_bytes=1, min_free_bytes=1, min_age_s=0) as log:
        for first in range(0, 300, 100):
            fill(log, "a", 100, first)
        log.release(RAW_TOPIC, READER, {})
        log.release(RAW_TOPIC, "tail", {partition_of("a", 4): 3})
        assert log.bounds(RAW_TOPIC)[partition_of("a", 4)].first == 0
        land(lake, log)
        fill(log, "a", 1, 300)
        land(lake, log)
        assert log.bounds(RAW_TOPIC)[partition_of("a", 4)].first > 0
        assert landed(lake) == expected(a=301)


def test_somebody_elses_commit_is_met_by_reloading(lake: Lake, log: SegmentLog) -> None:
    """The other one lands between our look and our commit, through the same compare-and-set."""

    class Rival(Steps):
        done = False

        def reached(self, name: str) -> None:
            if name == "land.files" and not self.done:
                self.done = True
                with Lake.open(lake.settings, system_clock) as other:
                    part = partition_of("a", 4)
                    rows = read(other, "raw.messages").slice(0, 0)
                    append(other, "raw.messages", rows, "raw", {}, {str(part): 1}, "rival")

    fill(log, "a", 900)
    fill(log, "a", 5, first=900)
    with Lake.open(lake.settings, system_clock, Rival()) as ours:
        report = land(ours, log)
    # The rival moved past the first block (without its rows: it stands for one who has landed them).
    assert report.messages == 5
    assert [seq for _, seq, _ in landed(lake)] == [900, 901, 902, 903, 904]


def test_history_goes_to_its_tables_and_repeats_are_dropped(lake: Lake, log: SegmentLog) -> None:
    append_history(log, "ops.captures", capture_row(capture("a"), 5_000))
    append_history(log, "quality.findings", finding_row("x", "odd", "raw.messages", "words", EPOCH, "run"))
    append_history(log, "ops.captures", pa.concat_tables([capture_row(capture("a"), 6_000), capture_row(capture("b"), 7_000)]))
    report = land(lake, log)
    assert (report.history, report.repeated_history) == ({"ops.captures": 2, "quality.findings": 1}, 1)
    append_history(log, "ops.captures", capture_row(capture("b"), 9_000))
    assert land(lake, log).repeated_history == 1
    rows = read(lake, "ops.captures", ["capture_id", "recorded_at"]).to_pylist()
    assert sorted((row["capture_id"], row["recorded_at"].microsecond) for row in rows) == [("a", 5), ("b", 7)]
    assert unlanded(lake, log)[HISTORY_TOPIC] == 0


def test_idle_history_tables_are_moved_along_now_and_then(lake: Lake, log: SegmentLog) -> None:
    for number in range(70):
        append_history(log, "quality.findings", finding_row(str(number), "odd", "raw.messages", "words", EPOCH, "run"))
    land(lake, log)
    assert {lake.head(name).position["history"]["0"] for name in history_tables()} == {70}


def test_every_history_table_is_one_of_ours() -> None:
    assert set(history_tables()) >= {"ops.captures", "ops.provider_calls", "quality.gaps", "quality.quarantine", "ops.lineage"}


@pytest.mark.parametrize("topic", [RAW_TOPIC, HISTORY_TOPIC])
def test_a_block_that_is_none_stops_its_partition_until_a_person_decides(lake: Lake, log: SegmentLog, topic: str) -> None:
    part = partition_of("a", 4) if topic == RAW_TOPIC else 0
    fill(log, "a", 3)
    append_history(log, "ops.captures", capture_row(capture("a"), 1))
    at = log.append(topic, part, [Block("a", b"no block at all", 1)])
    fill(log, "a", 4, first=3)
    fill(log, "b", 2)
    append_history(log, "ops.captures", capture_row(capture("b"), 1))
    for _ in range(2):
        with pytest.raises(CorruptedError, match=f"{topic}/{part}/{at}"):
            land(lake, log)
    if topic == RAW_TOPIC:
        assert landed(lake) == expected(a=3, b=2 if partition_of("b", 4) != part else 0)
        assert [row["kind"] for row in read(lake, "quality.findings", ["kind"]).to_pylist()] == ["corrupt_block"]
    report = land(lake, log, accept_lost=[(topic, part, at)])
    assert report.skipped == [(topic, part, at)]
    assert landed(lake) == expected(a=7, b=2)
    assert read(lake, "ops.captures").num_rows == 2
    assert [row["event_id"] for row in read(lake, "quality.findings", ["event_id"]).to_pylist()] == [f"log/{topic}/{part}/{at}"]
    assert land(lake, log).messages == 0


def test_a_block_that_the_log_finds_damaged_is_told(lake: Lake, log: SegmentLog) -> None:
    part = partition_of("a", 4)
    for first in range(0, 30, 10):
        fill(log, "a", 10, first)
    (segment,) = (log.path / RAW_TOPIC / str(part)).glob("*.db")
    with sqlite3.connect(segment) as connection:
        connection.execute("UPDATE blocks SET payload = zeroblob(10) WHERE offset = 1")
    connection.close()
    with pytest.raises(CorruptedError, match=f"raw/{part}/1"):
        land(lake, log)
    assert landed(lake) == expected(a=10)
    land(lake, log, accept_lost=[(RAW_TOPIC, part, 1)])
    assert [seq for _, seq, _ in landed(lake)] == [*range(10), *range(20, 30)]


def test_a_recorder_and_landing_agree(lake: Lake, log: SegmentLog) -> None:
    recorder = Recorder(log, capture("a"), clock=system_clock, steps=lake.steps, sleep=lambda seconds: None)
    recorder.begin()
    recorder.record([Message(seq, seq, "text/plain", b"a %d" % seq) for seq in range(1_001)])
    recorder.flush()
    assert land(lake, log).messages == recorder.durable
    assert landed(lake) == expected(a=1_001)


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 30)), max_size=60))
def test_ranges_name_exactly_the_messages(pairs: Sequence[tuple[str, int]]) -> None:
    rows = pa.table(
        {
            "capture_id": pa.array([name for name, _ in pairs], pa.string()),
            "message_seq": pa.array([seq for _, seq in pairs], pa.int64()),
        }
    )
    ranges = message_ranges(rows)
    named = [(each.capture_id, seq) for each in ranges for seq in range(each.first_seq, each.last_seq + 1)]
    assert sorted(named) == sorted(set(pairs))
    assert all(MessageRange(each.capture_id, each.last_seq + 1, each.last_seq + 1) not in ranges for each in ranges)


def test_a_message_that_stands_twice_in_the_log_lands_once(lake: Lake, log: SegmentLog) -> None:
    """An append repeated after an unknown outcome, whose first try came after all: beside it, and in a later landing."""
    fill(log, "a", 1_500)
    fill(log, "a", 1_500)
    fill(log, "a", 10, first=1_500)
    first = land(lake, log)
    assert (first.messages, first.repeated) == (1_510, 1_500)
    fill(log, "a", 100, first=1_450)
    fill(log, "a", 10, first=1_500)
    fill(log, "b", 5)
    second = land(lake, log)
    assert (second.messages, second.repeated) == (45, 70)
    assert landed(lake) == expected(a=1_550, b=5)
    assert unlanded(lake, log)[RAW_TOPIC] == 0
    fill(log, "b", 5)
    assert (land(lake, log).repeated, landed(lake)) == (5, expected(a=1_550, b=5))


def test_messages_out_of_order_are_no_repetition(lake: Lake, log: SegmentLog) -> None:
    fill(log, "a", 20, first=20)
    assert land(lake, log).messages == 20
    fill(log, "a", 20)
    third = land(lake, log)
    assert (third.messages, third.repeated, landed(lake)) == (20, 0, expected(a=40))
