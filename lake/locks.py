"""Whom a SQLite database waits for: a process stopped in the middle of a transaction locks every other writer out.

Most such processes are found by their lease (lake/leases.py). One that was stopped while it took its first lease, or marked
an answer, has none: Linux tells in /proc/locks who holds the lock of the write-ahead log. Elsewhere nothing is found.
"""

from __future__ import annotations

from pathlib import Path

from lake.leases import Holder

_WRITE_LOCKS = range(120, 123)
"""Bytes of the -shm file that SQLite locks: to write, to checkpoint, to recover (wal.c, `SQLITE_SHM_NLOCK`)."""


def kill_stopped_writer(database: Path) -> int | None:
    """Kill the process that holds the write lock of a SQLite database in WAL mode, if it is stopped; return its pid.

    SQLite rolls its transaction back. A running process, and one of another host or container, is let be.
    """
    shared = database.with_name(f"{database.name}-shm").resolve()
    for pid in _writers(shared):
        holder = Holder.of_process(pid)
        if holder is not None and holder.condition() == "stopped" and _has_open(pid, shared):
            holder.kill()
            return pid
    return None


def _writers(shared: Path) -> list[int]:
    """Return the processes with a write lock on a file of this inode: `1: POSIX ADVISORY WRITE pid device:inode first last`."""
    try:
        inode = str(shared.stat().st_ino)
        lines = Path("/proc/locks").read_text(encoding="ascii").splitlines()
    except OSError:
        return []
    fields = [line.split() for line in lines if " POSIX " in line and "->" not in line]
    return [
        int(one[4])
        for one in fields
        if one[3] == "WRITE" and one[5].rpartition(":")[2] == inode and int(one[6]) in _WRITE_LOCKS and int(one[4]) > 0
    ]


def _has_open(pid: int, path: Path) -> bool:
    """Return whether a process has a file open: inodes of two file systems may share a number."""
    try:
        return any(one.readlink() == path for one in Path(f"/proc/{pid}/fd").iterdir())
    except OSError:
        return False
