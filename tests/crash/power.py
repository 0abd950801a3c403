"""Power cuts: what a worker did to the disk, recorded by strace, is done again up to a cut, without what was not synced.

A record begins with a copy of the lake at rest (durable by definition) and holds every call that changes a file or a folder.
Done again, a file has the bytes of its last fsync, and a folder the names of its own last fsync: POSIX promises no more. Of what
came later `nothing`, `some` (each page and each name by chance) or `all` survives, as disks do.
"""

from __future__ import annotations

import os
import random
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.crash.children import Child

PAGE = 4096
CALLS = (
    "openat,open,creat,close,write,pwrite64,writev,pwritev,pwritev2,ftruncate,truncate,fallocate,rename,renameat,renameat2,"
    "link,linkat,unlink,unlinkat,mkdir,mkdirat,rmdir,fsync,fdatasync,sync_file_range,dup,dup2,dup3,fcntl,lseek,mmap"
)
ACK = b"ack "


def can_trace() -> bool:
    """Whether strace is here and may attach to a process of ours."""
    if shutil.which("strace") is None:
        return False
    tried = subprocess.run(["strace", "-o", os.devnull, "true"], capture_output=True, check=False)
    return tried.returncode == 0


def attach(child: Child, record: Path) -> subprocess.Popen[bytes]:
    """Record the calls of a child that waits, and of its threads, from now on; it may go on when this returns."""
    told = ["-f", "-y", "-q", "-xx", "-s", str(1 << 26), "-e", f"trace={CALLS}", "-e", "signal=none"]
    tracer = subprocess.Popen(["strace", *told, "-o", str(record), "-p", str(child.pid)], stderr=subprocess.DEVNULL)
    status = Path(f"/proc/{child.pid}/status")
    while re.search(r"^TracerPid:\s*0$", status.read_text(), re.M):
        if tracer.poll() is not None:
            raise RuntimeError(f"strace ended with {tracer.returncode} before it was attached")
        child.live_on(0.01)
    return tracer


# --- reading a record


@dataclass(frozen=True, slots=True)
class Call:
    """One call that succeeded: its name, arguments as strace wrote them, and result."""

    name: str
    arguments: tuple[str, ...]
    result: str


_LINE = re.compile(r"(?P<pid>\d+)\s+(?P<rest>.*)")
_WHOLE = re.compile(r"(?P<name>\w+)\((?P<arguments>.*)\)\s+= (?P<result>-?\w+.*)")
_RESUMED = re.compile(r"<\.\.\. \w+ resumed>(.*)")
_HANDLE = re.compile(r"(-?\w+)(?:<(.*)>)?\Z", re.S)


def calls(record: Path) -> Iterator[Call]:
    """Yield the calls of a record that succeeded, in the order in which they ended; a close in that in which they began.

    From then on its number is free: another thread may open a file under it before the close is told to have ended.
    """
    begun: dict[str, str] = {}
    with record.open(encoding="latin-1") as lines:
        for line in lines:
            found = _LINE.match(line.rstrip("\n"))
            if found is None:
                continue
            pid, rest = found["pid"], found["rest"]
            if rest.endswith("<unfinished ...>"):
                begun[pid] = rest[: -len("<unfinished ...>")].rstrip()
                if begun[pid].startswith("close("):
                    yield Call("close", (begun.pop(pid).removeprefix("close("),), "0")
                continue
            if resumed := _RESUMED.match(rest):
                rest = begun.pop(pid, "") + resumed[1]
            whole = _WHOLE.match(rest)
            if whole is not None and not whole["result"].startswith("-1"):
                yield Call(whole["name"], tuple(_split(whole["arguments"])), whole["result"])


def _split(text: str) -> Iterator[str]:
    """Yield arguments: cut at commas outside of quotes and brackets. Contents are hexadecimal, so quotes are plain."""
    depth, start, position = 0, 0, 0
    while position < len(text):
        letter = text[position]
        if letter == '"':
            end = text.find('"', position + 1)
            position = len(text) if end < 0 else end
        elif letter in "[{<(":
            depth += 1
        elif letter in "]})>":
            depth -= 1
        elif letter == "," and depth == 0:
            yield text[start:position].strip()
            start = position + 1
        position += 1
    yield text[start:].strip()


def text_of(argument: str) -> str:
    """Return a quoted path."""
    return os.fsdecode(bytes_of(argument))


def bytes_of(argument: str) -> bytes:
    """Return a quoted buffer, or those of a vector one after the other."""
    return b"".join(bytes.fromhex(part.replace("\\x", "")) for part in re.findall(r'"((?:\\x[0-9a-f]{2})*)"', argument))


def path_of(argument: str) -> str:
    """Return the path that strace tells of a handle, hexadecimal too."""
    found = _HANDLE.match(argument)
    told = found[2] if found and found[2] else ""
    return os.fsdecode(bytes.fromhex(told.replace("\\x", ""))) if told.startswith("\\x") else told


def number_of(argument: str) -> int:
    """Return the number of a handle or a size."""
    return int(re.match(r"-?\d+", argument)[0])  # type: ignore[index]


# --- the disk


@dataclass(slots=True)
class File:
    """Bytes now, and as of the last fsync."""

    now: bytearray = field(default_factory=bytearray)
    synced: bytes = b""

    def write(self, at: int, data: bytes) -> None:
        """Write bytes; a gap before them is zeros."""
        if len(self.now) < at:
            self.now.extend(bytes(at - len(self.now)))
        self.now[at : at + len(data)] = data

    def resize(self, size: int) -> None:
        """Cut or fill with zeros."""
        del self.now[size:]
        self.now.extend(bytes(size - len(self.now)))


@dataclass(slots=True)
class Folder:
    """Names now, and as of the last fsync of the folder."""

    now: dict[str, File | Folder] = field(default_factory=dict)
    synced: dict[str, File | Folder] = field(default_factory=dict)


class Disk:
    """The lake's folder as calls change it; calls on other paths are passed over."""

    def __init__(self, root: Path, image: Path) -> None:
        self.root = str(root)
        self.top = _loaded(image)
        self._handles: dict[int, File | Folder] = {}
        self._at: dict[int, int] = {}
        self._appends: set[int] = set()
        self.acknowledged: list[str] = []

    def do(self, call: Call) -> None:
        """Do one call."""
        act = getattr(self, f"_{call.name}", None)
        if act is not None:
            act(*call.arguments, result=call.result)

    # names

    def _inside(self, path: str) -> list[str] | None:
        if path == self.root:
            return []
        return path[len(self.root) + 1 :].split("/") if path.startswith(self.root + "/") else None

    def _parent(self, path: str) -> tuple[Folder, str] | None:
        parts = self._inside(os.path.normpath(path))
        if not parts:
            return None
        folder = self.top
        for part in parts[:-1]:
            found = folder.now.get(part)
            if not isinstance(found, Folder):
                return None
            folder = found
        return folder, parts[-1]

    def _node(self, path: str) -> File | Folder | None:
        parts = self._inside(os.path.normpath(path))
        if parts is None:
            return None
        node: File | Folder | None = self.top
        for part in parts:
            node = node.now.get(part) if isinstance(node, Folder) else None
        return node

    def _openat(self, folder: str, path: str, flags: str, *_: str, result: str) -> None:
        name = os.path.join(path_of(folder), text_of(path))
        handle = number_of(result)
        self._forget(handle)
        node = self._node(name)
        if node is None and "O_CREAT" in flags and (parent := self._parent(name)) is not None:
            node = parent[0].now[parent[1]] = File()
        if node is None:
            return
        if isinstance(node, File) and "O_TRUNC" in flags:
            node.resize(0)
        self._handles[handle], self._at[handle] = node, 0
        if "O_APPEND" in flags:
            self._appends.add(handle)

    def _open(self, path: str, flags: str, *_: str, result: str) -> None:
        self._openat("AT_FDCWD", path, flags, result=result)

    def _forget(self, handle: int) -> None:
        self._handles.pop(handle, None)
        self._appends.discard(handle)

    def _close(self, handle: str, *, result: str) -> None:
        self._forget(number_of(handle))

    def _mkdirat(self, folder: str, path: str, *_: str, result: str) -> None:
        parent = self._parent(os.path.join(path_of(folder), text_of(path)))
        if parent is not None:
            parent[0].now[parent[1]] = Folder()

    def _mkdir(self, path: str, *_: str, result: str) -> None:
        self._mkdirat("AT_FDCWD", path, result=result)

    def _unlinkat(self, folder: str, path: str, *_: str, result: str) -> None:
        parent = self._parent(os.path.join(path_of(folder), text_of(path)))
        if parent is not None:
            parent[0].now.pop(parent[1], None)

    def _unlink(self, path: str, *, result: str) -> None:
        self._unlinkat("AT_FDCWD", path, result=result)

    _rmdir = _unlink

    def _linkat(self, folder: str, path: str, folder2: str, path2: str, *_: str, result: str) -> None:
        node = self._node(os.path.join(path_of(folder), text_of(path)))
        parent = self._parent(os.path.join(path_of(folder2), text_of(path2)))
        if node is not None and parent is not None:
            parent[0].now[parent[1]] = node

    def _link(self, path: str, path2: str, *, result: str) -> None:
        self._linkat("AT_FDCWD", path, "AT_FDCWD", path2, result=result)

    def _renameat2(self, folder: str, path: str, folder2: str, path2: str, *_: str, result: str) -> None:
        self._linkat(folder, path, folder2, path2, result=result)
        self._unlinkat(folder, path, result=result)

    _renameat = _renameat2

    def _rename(self, path: str, path2: str, *, result: str) -> None:
        self._renameat2("AT_FDCWD", path, "AT_FDCWD", path2, result=result)

    # bytes

    def _write(self, handle: str, data: str, *_: str, result: str) -> None:
        number = number_of(handle)
        content = bytes_of(data)[: number_of(result)]
        node = self._handles.get(number)
        if isinstance(node, File):
            at = len(node.now) if number in self._appends else self._at[number]
            node.write(at, content)
            self._at[number] = at + len(content)
        elif "pipe:" in path_of(handle):
            self.acknowledged += [line.decode() for line in content.splitlines() if line.startswith(ACK)]

    _writev = _write

    def _pwrite64(self, handle: str, data: str, _size: str, at: str, *_: str, result: str) -> None:
        node = self._handles.get(number_of(handle))
        if isinstance(node, File):
            node.write(number_of(at), bytes_of(data)[: number_of(result)])

    _pwritev = _pwritev2 = _pwrite64

    def _lseek(self, handle: str, *_: str, result: str) -> None:
        if number_of(handle) in self._handles:
            self._at[number_of(handle)] = number_of(result)

    def _ftruncate(self, handle: str, size: str, *, result: str) -> None:
        node = self._handles.get(number_of(handle))
        if isinstance(node, File):
            node.resize(number_of(size))

    def _fallocate(self, handle: str, _mode: str, at: str, size: str, *, result: str) -> None:
        node = self._handles.get(number_of(handle))
        if isinstance(node, File):
            node.resize(max(len(node.now), number_of(at) + number_of(size)))

    def _fsync(self, handle: str, *, result: str) -> None:
        node = self._handles.get(number_of(handle))
        if isinstance(node, File):
            node.synced = bytes(node.now)
        elif isinstance(node, Folder):
            node.synced = dict(node.now)

    _fdatasync = _fsync

    def _dup(self, handle: str, *_: str, result: str) -> None:
        number, copy = number_of(handle), number_of(result)
        if number in self._handles:
            self._handles[copy], self._at[copy] = self._handles[number], self._at[number]

    _dup2 = _dup3 = _dup

    def _fcntl(self, handle: str, command: str, *_: str, result: str) -> None:
        if command.startswith("F_DUPFD"):
            self._dup(handle, result=result)

    # after the cut

    def put(self, place: Path, chance: random.Random, kept: str) -> None:
        """Write what survives a cut now to an empty folder; kept: nothing, some or all of what was not synced."""
        _put(self.top, place, chance, kept)


def _loaded(image: Path) -> Folder:
    folder = Folder()
    for path in sorted(image.iterdir()):
        if path.is_dir():
            folder.now[path.name] = _loaded(path)
        else:
            data = path.read_bytes()
            folder.now[path.name] = File(bytearray(data), data)
    folder.synced = dict(folder.now)
    return folder


def _put(folder: Folder, place: Path, chance: random.Random, kept: str) -> None:
    place.mkdir(parents=True, exist_ok=True)
    names = dict(folder.synced if kept != "all" else folder.now)
    if kept == "some":
        for name in sorted({*folder.now, *folder.synced}):
            if folder.now.get(name) is not folder.synced.get(name) and chance.random() < 0.5:
                names.pop(name, None)
                if name in folder.now:
                    names[name] = folder.now[name]
    for name, node in names.items():
        if isinstance(node, Folder):
            _put(node, place / name, chance, kept)
        else:
            (place / name).write_bytes(_surviving(node, chance, kept))


def _surviving(file: File, chance: random.Random, kept: str) -> bytes:
    if kept == "nothing" or bytes(file.now) == file.synced:
        return file.synced
    if kept == "all":
        return bytes(file.now)
    size = chance.choice((len(file.now), len(file.synced)))
    data = bytearray(file.synced[:size]) + bytes(max(0, size - len(file.synced)))
    for at in range(0, size, PAGE):
        if chance.random() < 0.5:
            page = file.now[at : min(at + PAGE, size)]
            data[at : at + len(page)] = page
    return bytes(data)
