"""The crash campaign in its small form: ten faults drawn by seeds, and the record of a power cut read right."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from pathlib import Path

from tests.crash.plan import KINDS, plan_of
from tests.crash.power import Call, Disk, calls

ROOT = Path(__file__).parents[2]
SEED, COUNT = 4, 10


def test_ten_seeds_lose_nothing_and_double_nothing() -> None:
    command = [sys.executable, "-W", "ignore", "-m", "tests.crash.campaign", str(SEED), str(COUNT), "short"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{'seeds':<44}{COUNT:>8}" in done.stdout, done.stdout


TALK = """
import os, sys
from pathlib import Path
from tests.crash.children import Child, end_all

folder = Path(sys.argv[1])
door = folder / "door"
os.mkfifo(door)

def waits(say, wait):
    door.read_bytes()
    say("last")

def talks(say, wait):
    for _ in range(100):
        say("x" * 4096)
    door.write_bytes(b".")

both = [Child.fork(act.__name__, act, folder / "words") for act in (waits, talks)]
print(end_all(both), [len(one.lines) for one in both])
"""


def test_a_child_that_says_more_than_a_pipe_holds_is_heard_while_another_is_awaited(tmp_path: Path) -> None:
    command = [sys.executable, "-W", "ignore", "-c", TALK, str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stdout == "[0, 0] [1, 100]\n", done.stderr


def test_a_plan_is_the_same_each_time_and_meets_every_kind_of_fault() -> None:
    assert str(plan_of(7)) == str(plan_of(7)) != str(plan_of(8))
    met = [episode.kind for seed in range(8) for episode in plan_of(seed).episodes]
    assert {kind: met.count(kind) for kind in KINDS} == dict.fromkeys(KINDS, 5)


def quoted(data: bytes) -> str:
    return '"' + "".join(f"\\x{byte:02x}" for byte in data) + '"'


def test_a_disk_keeps_what_was_synced_and_no_more(tmp_path: Path) -> None:
    image = tmp_path / "image"
    image.mkdir()
    (image / "old").write_bytes(b"before")
    root = tmp_path / "root"

    def path(name: str) -> str:
        return quoted(str(root / name).encode())

    here = "AT_FDCWD</>"
    calls = [
        Call("openat", (here, path("synced"), "O_WRONLY|O_CREAT|O_EXCL", "0666"), "3<x>"),
        Call("write", ("3", quoted(b"whole"), "5"), "5"),
        Call("fsync", ("3",), "0"),
        Call("write", ("3", quoted(b" and more"), "9"), "9"),
        Call("openat", (here, quoted(str(root).encode()), "O_RDONLY|O_DIRECTORY"), "4<y>"),
        Call("fsync", ("4",), "0"),
        Call("openat", (here, path("nameless"), "O_WRONLY|O_CREAT", "0666"), "5<z>"),
        Call("write", ("5", quoted(b"bytes"), "5"), "5"),
        Call("fsync", ("5",), "0"),
        Call("openat", (here, path("old"), "O_RDWR"), "6<w>"),
        Call("pwrite64", ("6", quoted(b"AFTER"), "5", "0"), "5"),
        Call("rename", (path("old"), path("new")), "0"),
        Call("write", ("7<pipe:[1]>", quoted(b'ack raw.messages/raw {"0": 3}\n'), "30"), "30"),
    ]
    disk = Disk(root, image)
    for call in calls:
        disk.do(call)
    found = {}
    for kept in ("nothing", "all"):
        disk.put(tmp_path / kept, random.Random(1), kept)
        found[kept] = {one.name: one.read_bytes() for one in (tmp_path / kept).iterdir()}
    assert found["nothing"] == {"old": b"before", "synced": b"whole"}
    assert found["all"] == {"new": b"AFTERe", "synced": b"whole and more", "nameless": b"bytes"}
    assert [json.loads(line.partition("raw ")[2]) for line in disk.acknowledged] == [{"0": 3}]


def test_a_number_closed_by_one_thread_and_opened_by_another_is_the_others(tmp_path: Path) -> None:
    image, record, root = tmp_path / "image", tmp_path / "record", tmp_path / "root"
    image.mkdir()
    old, new, folder = (quoted(str(path).encode()) for path in (root / "old", root / "new", root))
    lines = (
        f"1 openat(AT_FDCWD</>, {old}, O_WRONLY|O_CREAT, 0666) = 3<a>",
        f"2 openat(AT_FDCWD</>, {new}, O_WRONLY|O_CREAT, 0666 <unfinished ...>",
        "1 close(3<a> <unfinished ...>",
        "2 <... openat resumed>) = 3<b>",
        "1 <... close resumed>) = 0",
        f"2 write(3<b>, {quoted(b'whole')}, 5) = 5",
        "2 fsync(3<b>) = 0",
        f"2 openat(AT_FDCWD</>, {folder}, O_RDONLY|O_DIRECTORY) = 4<c>",
        "2 fsync(4<c>) = 0",
    )
    record.write_text("\n".join(lines), encoding="latin-1")
    disk = Disk(root, image)
    for call in calls(record):
        disk.do(call)
    disk.put(tmp_path / "kept", random.Random(1), "nothing")
    assert {one.name: one.read_bytes() for one in (tmp_path / "kept").iterdir()} == {"old": b"", "new": b"whole"}
