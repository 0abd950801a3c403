"""What every implementation of the log must do. A test class over one inherits LogContract and names it."""

from __future__ import annotations

import random
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import ClassVar

import pytest

from lake.errors import InvalidValueError, NotFoundError
from lake.instants import NANOS_PER_SECOND
from lake.log.log import Block, Bounds, Log
from tests.lake.log.child import GROUP, TOPIC, group, read_all
from tests.lake.log.implementations import IMPLEMENTATIONS

EVERYTHING = 1 << 30


class Watch:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.now_ns = 1_600_000_000 * NANOS_PER_SECOND

    def __call__(self) -> int:
        return self.now_ns

    def advance(self, seconds: float) -> None:
        self.now_ns += int(seconds * NANOS_PER_SECOND)


def blocks(*payloads: bytes) -> list[Block]:
    return [Block("key", payload, 1) for payload in payloads]


def payloads(log: Log, partition: int = 0) -> list[bytes]:
    return [block.payload for _, block in read_all(log, partition)]


def refuse_torn(found: list[tuple[int, Block]]) -> Counter[tuple[str, int]]:
    """Assert that offsets are dense and every group stands whole, in order, side by side; returns how often each stands."""
    assert [offset for offset, _ in found] == list(range(found[0][0], found[0][0] + len(found))) if found else True
    assert len(found) % GROUP == 0
    seen: Counter[tuple[str, int]] = Counter()
    for start in range(0, len(found), GROUP):
        _, first = found[start]
        writer, number = first.payload.decode().split("/")[:2]
        assert [block for _, block in found[start : start + GROUP]] == group(writer, int(number))
        seen[writer, int(number)] += 1
    return seen


class LogContract:
    """The suite; `implementation` is a key of IMPLEMENTATIONS."""

    implementation: ClassVar[str]
    kills: ClassVar[int] = 12
    """How often a process is killed in mid-append, and half as often in mid-release."""

    @pytest.fixture
    def watch(self) -> Watch:
        return Watch()

    @pytest.fixture
    def place(self, tmp_path: Path) -> Path:
        return tmp_path / "log"

    @pytest.fixture
    def open_log(self, place: Path, watch: Watch) -> Callable[[], Log]:
        return lambda: IMPLEMENTATIONS[self.implementation](place, watch)

    @pytest.fixture
    def log(self, open_log: Callable[[], Log]) -> Iterator[Log]:
        with closing(open_log()) as log:  # type: ignore[type-var]  # every implementation closes; the protocol need not
            yield log

    def child(self, place: Path, *arguments: object) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "tests.lake.log.child", self.implementation, str(place), *map(str, arguments)]
        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[3])

    def test_what_was_appended_is_read_in_order_with_dense_offsets(self, log: Log) -> None:
        assert log.append(TOPIC, 0, blocks(b"a", b"b")) == 0
        assert log.append(TOPIC, 0, [Block("other", b"", 1_000)]) == 2
        assert log.append(TOPIC, 1, blocks(b"elsewhere")) == 0
        batch = log.read(TOPIC, 0, 0, EVERYTHING, 0)
        assert list(batch.blocks) == [
            (0, Block("key", b"a", 1)),
            (1, Block("key", b"b", 1)),
            (2, Block("other", b"", 1_000)),
        ]
        assert batch.next_offset == 3
        assert log.bounds(TOPIC) == {0: Bounds(0, 3), 1: Bounds(0, 1)}

    def test_topics_and_partitions_do_not_mix(self, log: Log) -> None:
        log.append("raw", 0, blocks(b"raw 0"))
        log.append("raw", 1, blocks(b"raw 1"))
        log.append("history", 0, blocks(b"history"))
        assert [payloads(log, 0), payloads(log, 1)] == [[b"raw 0"], [b"raw 1"]]
        assert [block.payload for _, block in read_all(log, 0, "history")] == [b"history"]

    def test_reading_begins_at_any_offset(self, log: Log) -> None:
        for number in range(30):
            log.append(TOPIC, 0, blocks(b"%d" % number * 300))
        for offset in range(30):
            batch = log.read(TOPIC, 0, offset, 1, 0)
            assert [(at, block.payload) for at, block in batch.blocks] == [(offset, b"%d" % offset * 300)]
            assert batch.next_offset == offset + 1

    def test_a_batch_keeps_to_its_bytes_but_holds_one_block_at_least(self, log: Log) -> None:
        log.append(TOPIC, 0, blocks(b"x" * 100, b"y" * 100, b"z" * 5_000, b"w"))
        sizes = []
        offset = 0
        while offset < 4:
            batch = log.read(TOPIC, 0, offset, 200, 0)
            sizes.append([len(block.payload) for _, block in batch.blocks])
            offset = batch.next_offset
        assert sizes == [[100, 100], [5_000], [1]]

    def test_nothing_is_there_yet(self, log: Log) -> None:
        assert log.bounds(TOPIC) == {}
        assert log.read(TOPIC, 3, 0, EVERYTHING, 0).blocks == ()
        assert log.append(TOPIC, 0, []) == 0
        log.append(TOPIC, 0, blocks(b"a"))
        assert log.append(TOPIC, 0, []) == 1
        batch = log.read(TOPIC, 0, 1, EVERYTHING, 0.05)
        assert (list(batch.blocks), batch.next_offset) == ([], 1)

    @pytest.mark.parametrize("offset", [-1, 2, 10**12])
    def test_an_offset_outside_is_refused(self, log: Log, offset: int) -> None:
        log.append(TOPIC, 0, blocks(b"a"))
        with pytest.raises((InvalidValueError, NotFoundError), match=str(offset)):
            log.read(TOPIC, 0, offset, EVERYTHING, 0)

    def test_a_name_that_is_no_topic_is_refused(self, log: Log) -> None:
        for topic, partition in [("", 0), ("../raw", 0), ("a/b", 0), ("raw", -1)]:
            with pytest.raises(InvalidValueError):
                log.append(topic, partition, blocks(b"a"))

    def test_a_reader_waits_for_another_process(self, log: Log, place: Path) -> None:
        with self.child(place, "append", "late", 0, 1) as child:
            batch = log.read(TOPIC, 0, 0, EVERYTHING, 15)
            assert [block for _, block in batch.blocks] == group("late", 0)
            child.communicate()
        assert child.returncode == 0

    def test_a_reopened_log_goes_on(self, open_log: Callable[[], Log]) -> None:
        for number in range(5):
            with closing(open_log()) as log:  # type: ignore[type-var]
                assert log.append(TOPIC, 0, blocks(b"x" * 3_000)) == number
                assert len(read_all(log)) == number + 1

    def test_several_processes_append_at_once(self, log: Log, place: Path) -> None:
        writers = ["one", "two", "three"]
        children = [self.child(place, "append", writer, 0, 40) for writer in writers]
        acknowledged = {writer: child.communicate()[0] for writer, child in zip(writers, children, strict=True)}
        assert [child.returncode for child in children] == [0, 0, 0]
        found = read_all(log)
        assert refuse_torn(found) == Counter({(writer, number): 1 for writer in writers for number in range(40)})
        for writer in writers:
            for line in acknowledged[writer].splitlines():
                number, offset = map(int, line.split())
                assert found[offset] == (offset, group(writer, number)[0])

    def test_kill_in_mid_append_tears_nothing_and_loses_nothing(self, log: Log, place: Path) -> None:
        chance = random.Random(20260801)
        acknowledged: dict[int, int] = {}
        first = kills = 0
        with self.child(place, "append", "steady", 0, 150) as steady:
            while kills < self.kills:
                with self.child(place, "append", "killed", first, 10_000) as child:
                    assert child.stdout is not None
                    for _ in range(chance.randrange(1, 12)):
                        number, offset = map(int, child.stdout.readline().split())
                        acknowledged[number] = offset
                    child.kill()
                    for line in child.stdout.read().splitlines(keepends=True):
                        if line.endswith("\n"):
                            number, offset = map(int, line.split())
                            acknowledged[number] = offset
                kills += 1
                first = max(acknowledged) + 2  # the one in flight may be in the log
            steady.communicate()
        assert steady.returncode == 0
        found = read_all(log)
        seen = refuse_torn(found)
        assert set(seen.values()) == {1}
        assert {number for writer, number in seen if writer == "steady"} == set(range(150))
        killed = {number for writer, number in seen if writer == "killed"}
        assert set(acknowledged) <= killed
        assert len(killed) <= len(acknowledged) + kills
        for number, offset in acknowledged.items():
            assert found[offset] == (offset, group("killed", number)[0])

    def test_kill_in_mid_release_loses_nothing_that_a_reader_wants(self, log: Log, place: Path) -> None:
        chance = random.Random(7)
        log.release(TOPIC, "slow", {})
        log.append(TOPIC, 0, group("before", 0))
        with self.child(place, "append", "steady", 0, 150) as steady:
            for _ in range(self.kills // 2):
                with self.child(place, "release", "fast", 10_000) as child:
                    assert child.stdout is not None
                    for _ in range(chance.randrange(1, 6)):
                        assert child.stdout.readline().startswith("0 ")
                    child.kill()
            steady.communicate()
        assert steady.returncode == 0
        assert refuse_torn(read_all(log)) == Counter({("before", 0): 1, **{("steady", n): 1 for n in range(150)}})

    def test_retention_waits_for_the_slow_reader(self, log: Log, watch: Watch) -> None:
        log.release(TOPIC, "slow", {})
        for number in range(20):
            log.append(TOPIC, 0, blocks(b"%d" % number * 1_000))
        watch.advance(100)
        log.release(TOPIC, "fast", {0: 20})
        assert log.bounds(TOPIC)[0] == Bounds(0, 20)
        log.release(TOPIC, "slow", {0: 11})
        first = log.bounds(TOPIC)[0].first
        assert 0 < first <= 11
        assert log.read(TOPIC, 0, 11, 1, 0).blocks[0][1].payload == b"11" * 1_000
        with pytest.raises(NotFoundError, match="dropped"):
            log.read(TOPIC, 0, 0, EVERYTHING, 0)
        log.release(TOPIC, "slow", {0: 3})  # never back
        log.release(TOPIC, "slow", {0: 20})
        assert first < log.bounds(TOPIC)[0].first

    def test_what_is_young_stays(self, log: Log, watch: Watch) -> None:
        for _ in range(20):
            log.append(TOPIC, 0, blocks(b"x" * 1_000))
        log.release(TOPIC, "reader", {0: 20})
        assert log.bounds(TOPIC)[0].first == 0
        watch.advance(100)
        log.release(TOPIC, "reader", {0: 20})
        assert log.bounds(TOPIC)[0].first > 0

    def test_offsets_go_on_when_everything_was_dropped(self, open_log: Callable[[], Log], watch: Watch) -> None:
        following = 0
        for _ in range(4):
            with closing(open_log()) as log:  # type: ignore[type-var]
                for _ in range(7):
                    assert log.append(TOPIC, 0, blocks(b"x" * 1_000)) == following
                    following += 1
                watch.advance(4_000)
                log.release(TOPIC, "reader", {0: following})
                assert log.bounds(TOPIC)[0] == Bounds(following, following)
                assert log.read(TOPIC, 0, following, EVERYTHING, 0).blocks == []

    def test_a_release_beyond_the_end_is_refused(self, log: Log) -> None:
        log.append(TOPIC, 0, blocks(b"a"))
        for positions in ({0: 2}, {0: -1}, {1: 1}):
            with pytest.raises(InvalidValueError, match="reader"):
                log.release(TOPIC, "reader", positions)
        assert log.bounds(TOPIC) == {0: Bounds(0, 1)}
