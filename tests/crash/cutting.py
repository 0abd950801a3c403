"""Power cuts of the log and of the making of a lake: `python -m tests.crash.cutting log|lake FOLDER CUTS` prints JSON.

What the process did is recorded once and done again up to cuts spread over the record; after each the place is opened anew.
"""

from __future__ import annotations

import json
import random
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from lake.catalog import Lake
from lake.errors import TickhouseError
from lake.instants import system_clock
from lake.log.log import Block
from lake.log.segments import SegmentLog
from lake.settings import load_settings
from tests.crash.children import Child, Say
from tests.crash.power import Call, Disk, attach, calls

TOPIC, BLOCKS, BYTES = "raw", 24, 3_000
KEPT = ("nothing", "some", "all")


def block(number: int) -> Block:
    """Return the block of an offset."""
    return Block(f"k{number}", random.Random(number).randbytes(BYTES), 1)


def open_log(root: Path) -> SegmentLog:
    """Return the log at `root`, with segments of a few blocks."""
    return SegmentLog(root / "log", system_clock, segment_bytes=5 * BYTES, min_free_bytes=0)


def append(root: Path, say: Say) -> None:
    """Append blocks one by one, telling each offset once it is durable."""
    with open_log(root) as log:
        for number in range(BLOCKS):
            say(f"ack {log.append(TOPIC, 0, [block(number)])}")


def read(root: Path, say: Say) -> None:
    """Append one more, then read everything; tell how many blocks are there, each as it was appended."""
    with open_log(root) as log:
        bounds = log.bounds(TOPIC).get(0)
        count = 0 if bounds is None else bounds.next
        log.append(TOPIC, 0, [block(count)])
        offset = 0
        while offset <= count:
            batch = log.read(TOPIC, 0, offset, 1 << 20, 0.0)
            for found, one in batch.blocks:
                assert one == block(found), f"block {found} is not what was appended"
            assert batch.next_offset > offset, f"the log ends at {offset}, it says {count + 1}"
            offset = batch.next_offset
        say(str(count))


def make(root: Path, say: Say) -> None:
    """Make a lake."""
    Lake.create(load_settings(home=root / "home"), system_clock).close()
    say("ack made")


def open_lake(root: Path, say: Say) -> None:
    """Open the lake, or finish making it where the cut left it unmade; tell which."""
    settings = load_settings(home=root / "home")
    try:
        Lake.open(settings, system_clock).close()
        how = "open"
    except TickhouseError as error:
        how = type(error).__name__
    with Lake.create(settings, system_clock) as lake:
        assert lake.head("raw.messages").position == {}
    say(how)


WORK: dict[str, tuple[Callable[[Path, Say], None], Callable[[Path, Say], None]]] = {
    "log": (append, read),
    "lake": (make, open_lake),
}


def recorded(root: Path, folder: Path, act: Callable[[Path, Say], None]) -> list[Call]:
    """Return the calls of `act` on an empty root."""
    root.mkdir()

    def work(say: Say, wait: Callable[[], None]) -> None:
        wait()
        act(root, say)

    worker = Child.fork("worker", work, folder / "last words")
    tracer = attach(worker, folder / "record")
    worker.tell()
    assert worker.end() == 0, (folder / "last words").read_text()
    tracer.wait()
    return list(calls(folder / "record"))


def cut(what: str, folder: Path, count: int) -> Iterator[dict[str, object]]:
    """Yield what each cut came to: where, what was acknowledged before it, how the reopened place ended and what it told."""
    folder.mkdir(parents=True)
    root, image = folder / "root", folder / "image"
    image.mkdir()
    act, look = WORK[what]
    done = recorded(root, folder, act)
    chance = random.Random(len(done))
    for number in range(1, count + 1):
        at, kept = len(done) * number // count, KEPT[number % len(KEPT)]
        disk = Disk(root, image)
        for call in done[:at]:
            disk.do(call)
        shutil.rmtree(root)
        disk.put(root, chance, kept)
        after = Child.fork("after", lambda say, wait: look(root, say), folder / "last words")
        code = after.end()
        told = after.lines[-1:] if code == 0 else [(folder / "last words").read_text()]
        yield {"at": at, "of": len(done), "kept": kept, "acknowledged": disk.acknowledged, "code": code, "told": told}


if __name__ == "__main__":
    print(json.dumps(list(cut(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])))))
