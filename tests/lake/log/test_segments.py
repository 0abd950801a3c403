"""The embedded log: the contract, and what only files can suffer."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from lake.errors import CorruptedError, LogFullError, SettingsError
from lake.instants import system_clock
from lake.log.log import Block, Log
from lake.log.segment_file import PAGE_BYTES
from lake.log.segments import SegmentLog
from tests.crash import disks
from tests.lake.log.child import TOPIC, group, read_all
from tests.lake.log.contract import EVERYTHING, LogContract, Watch, blocks, payloads, refuse_torn
from tests.lake.log.implementations import open_dropping


def segment_files(place: Path) -> list[Path]:
    return sorted((place / TOPIC / "0").glob("*.db"))


@contextmanager
def nearly_full(disk: Path, room: int) -> Iterator[None]:
    """Leave `room` bytes on a small disk of our own; on any other let no file grow beyond 64 KiB."""
    with disks.filled(disk, room) as is_filled, disks.limited(None if is_filled else 1 << 16):
        yield


class TestSegmentLog(LogContract):
    implementation = "segments"

    def test_a_segment_is_cut_by_size_and_dropped_whole(self, log: Log, place: Path, watch: Watch) -> None:
        for _ in range(12):
            log.append(TOPIC, 0, blocks(b"x" * 1_000))
        assert [path.stem.lstrip("0") for path in segment_files(place)] == ["", "4", "8"]
        watch.advance(100)
        log.release(TOPIC, "reader", {0: 9})
        assert {path.name.partition(".")[0].lstrip("0") for path in (place / TOPIC / "0").iterdir()} == {"8", "12"}

    def test_a_segment_is_cut_by_age(self, log: Log, place: Path, watch: Watch) -> None:
        log.append(TOPIC, 0, blocks(b"a"))
        watch.advance(3_601)
        log.append(TOPIC, 0, blocks(b"b"))
        assert len(segment_files(place)) == 2
        assert payloads(log) == [b"a", b"b"]

    def test_another_process_sees_rolled_and_dropped_segments(self, open_log: Callable[[], Log], watch: Watch) -> None:
        one, other = open_log(), open_log()
        assert isinstance(one, SegmentLog) and isinstance(other, SegmentLog)
        with one, other:
            one.append(TOPIC, 0, blocks(b"0" * 1_000))
            for number in range(1, 40):
                writer, reader = (one, other) if number % 3 else (other, one)
                assert writer.append(TOPIC, 0, blocks(b"%d" % number * 500)) == number
                assert reader.read(TOPIC, 0, number, 1, 0).blocks[0][1].payload == b"%d" % number * 500
                watch.advance(100)
                reader.release(TOPIC, "reader", {0: number})
            assert one.bounds(TOPIC) == other.bounds(TOPIC)

    def test_kill_while_segments_are_dropped_loses_nothing(self, place: Path) -> None:
        command = [sys.executable, "-m", "tests.lake.log.child", "dropping", str(place)]
        options: dict[str, Any] = {"stdout": subprocess.PIPE, "text": True, "cwd": Path(__file__).parents[3]}
        chance = random.Random(11)
        seen: dict[int, str] = {}
        with open_dropping(place, system_clock) as log:
            log.release(TOPIC, "reader", {})
            log.append(TOPIC, 0, group("first", 0))
            with subprocess.Popen([*command, "append", "steady", "0", "200"], **options) as steady:
                for round_ in range(12):
                    with subprocess.Popen([*command, "consume", "reader"], **options) as child:
                        assert child.stdout is not None
                        lines = list(iter(child.stdout.readline, "released\n"))
                        lines += [child.stdout.readline() for _ in range(chance.randrange(30))]
                        child.kill()
                        lines += child.stdout.read().splitlines(keepends=True)
                    told = [line for line in lines if line.endswith("\n") and line != "released\n"]
                    seen |= {int(line.split()[0]): line.split()[1] for line in told}
                    log.append(TOPIC, 0, group("between", round_))
                steady.communicate()
            assert log.bounds(TOPIC)[0].first > 0
            for offset, block in read_all(log):
                seen[offset] = block.payload.decode()
            following = log.bounds(TOPIC)[0].next
            log.release(TOPIC, "reader", {0: following})
        assert sorted(seen) == list(range(following))
        texts = [seen[offset] for offset in range(following)]
        assert [text for text in texts if text.startswith("steady/")] == [
            block.payload.decode() for number in range(200) for block in group("steady", number)
        ]
        left = {path.name.partition(".")[0] for path in (place / TOPIC / "0").iterdir()}
        assert len(left) <= 2, "only the active segment and what was sealed last"

    def test_threads_share_one_log(self, log: Log) -> None:
        def work(writer: str) -> None:
            for number in range(25):
                log.append(TOPIC, 0, group(writer, number))
                log.bounds(TOPIC)
                log.read(TOPIC, 0, 0, 1, 0)

        threads = [threading.Thread(target=work, args=(f"w{number}",)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(refuse_torn(read_all(log))) == 100

    def test_less_room_than_must_be_left_is_full(self, place: Path, watch: Watch) -> None:
        free = os.statvfs(place.parent)
        with SegmentLog(place, watch, min_free_bytes=free.f_blocks * free.f_frsize) as log:
            with pytest.raises(LogFullError, match="bytes free"):
                log.append(TOPIC, 0, blocks(b"a"))
            assert log.bounds(TOPIC) == {}

    @pytest.mark.parametrize("limit", [90_000, 300_000])
    def test_a_limit_on_file_sizes_is_full_and_passes(self, log: Log, place: Path, limit: int) -> None:
        with self.child(place, "fill", limit) as child:
            said = [line.split() for line in child.communicate()[0].splitlines()]
        assert child.returncode == 0
        assert [word for word, *_ in said] in (["full", "still", "after"], ["full", "after"])
        for _, appends, found in said:
            assert int(found) == 3 * int(appends)
        assert [block for _, block in read_all(log)[-3:]] == group("after", 0)

    @pytest.fixture
    def small_disk(self, tmp_path: Path) -> Iterator[Path]:
        """A disk of 3 MiB; a plain folder where nobody may mount one."""
        disk = tmp_path / "disk"
        disks.mount(disk, size_mib=3)
        yield disk
        disks.unmount(disk)

    @pytest.mark.parametrize("size", [10, 3_000, 100_000])
    def test_a_full_disk_tears_nothing_and_passes(self, small_disk: Path, watch: Watch, size: int) -> None:
        room = 200_000 if size == 10 else 1_500_000
        count = 0
        with SegmentLog(small_disk / "log", watch, segment_bytes=100_000, min_free_bytes=0, min_age_s=0) as log:
            log.release(TOPIC, "reader", {})
            with nearly_full(small_disk, room):
                with pytest.raises(LogFullError):
                    while True:
                        log.append(TOPIC, 0, [Block("k", bytes(size), 1), Block("k", count.to_bytes(8, "big"), 1)])
                        count += 1
                assert [int.from_bytes(payload, "big") for payload in payloads(log)[1::2]] == list(range(count))
            assert log.append(TOPIC, 0, blocks(b"goes on")) == 2 * count
            assert payloads(log)[-1] == b"goes on"
            log.release(TOPIC, "reader", {0: 2 * count})
        with SegmentLog(small_disk / "log", watch, min_free_bytes=0) as log:
            assert payloads(log)[-1] == b"goes on"

    def test_damaged_bytes_are_an_error_and_never_another_content(self, open_log: Callable[[], SegmentLog], place: Path) -> None:
        with open_log() as log:
            for number in range(4):
                log.append(TOPIC, 0, [Block("key", bytes([number]) * 900, number + 1)])
            right = read_all(log)
        (path,) = segment_files(place)
        sound = path.read_bytes()
        chance = random.Random(5)
        errors = 0
        for at in [*range(100, len(sound), len(sound) // 60), *(chance.randrange(len(sound)) for _ in range(60))]:
            path.write_bytes(sound[:at] + bytes([sound[at] ^ 0xFF]) + sound[at + 1 :])
            with open_log() as log:
                try:
                    assert read_all(log) == right
                except CorruptedError as error:
                    assert path.name in str(error)
                    errors += 1
        assert errors > 20

    def test_a_cut_or_missing_segment_is_an_error(self, open_log: Callable[[], SegmentLog], place: Path) -> None:
        with open_log() as log:
            log.append(TOPIC, 0, blocks(b"a" * 3_000, b"b" * 3_000))
        (path,) = segment_files(place)
        sound = path.read_bytes()
        for size in (0, 10, *range(1_024, len(sound), 1_024)):
            path.write_bytes(sound[:size])
            with open_log() as log, pytest.raises(CorruptedError, match=path.name):
                log.read(TOPIC, 0, 0, EVERYTHING, 0)
        for size in (0, 10, *range(PAGE_BYTES, len(sound), PAGE_BYTES)):
            path.write_bytes(sound[:size])
            with open_log() as log, pytest.raises(CorruptedError, match=path.name):
                log.append(TOPIC, 0, blocks(b"c"))
        path.unlink()
        with open_log() as log, pytest.raises(CorruptedError, match=path.name):
            log.read(TOPIC, 0, 0, EVERYTHING, 0)

    def test_a_log_that_forgot_what_a_reader_has_read_takes_nothing(
        self, open_log: Callable[[], SegmentLog], place: Path, watch: Watch
    ) -> None:
        with open_log() as log:
            log.append(TOPIC, 0, blocks(b"a"))
            (path,) = segment_files(place)
            log.close()
        sound = path.read_bytes()
        with open_log() as log:
            log.append(TOPIC, 0, blocks(b"b"))
            log.release(TOPIC, "landing", {0: 2})
        path.write_bytes(sound)
        with open_log() as log, pytest.raises(CorruptedError, match="landing has read up to 2"):
            log.append(TOPIC, 0, blocks(b"other"))

    def test_an_index_is_never_made_beside_segments(self, open_log: Callable[[], SegmentLog], place: Path) -> None:
        with open_log() as log:
            log.append(TOPIC, 0, blocks(b"a"))
        for path in place.glob("index.db*"):
            path.unlink()
        with pytest.raises(CorruptedError, match="offsets would be given twice"):
            open_log()

    def test_a_folder_that_cannot_be_used_is_a_setting_to_mend(self, tmp_path: Path, watch: Watch) -> None:
        (tmp_path / "file").write_text("not a folder")
        with pytest.raises(SettingsError, match="log_path"):
            SegmentLog(tmp_path / "file", watch)
