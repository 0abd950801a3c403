"""Full disks: a real one, by a small tmpfs that a ballast fills, or a limit on the size of files where none can be mounted."""

from __future__ import annotations

import errno
import os
import resource
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SIZE_MIB = 128
"""Of the disk that a lake lies on."""
_UNLIMITED = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)


def mount(folder: Path, size_mib: int = SIZE_MIB) -> bool:
    """Mount an empty small disk at `folder`; False when this machine does not let us."""
    folder.mkdir(parents=True, exist_ok=True)
    if os.geteuid() != 0 or shutil.which("mount") is None:
        return False
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size_mib}m", "tmpfs", str(folder)], capture_output=True, check=False
    )
    return done.returncode == 0


def unmount(folder: Path) -> None:
    """Unmount the disk at `folder`, if there is one."""
    if os.path.ismount(folder):
        subprocess.run(["umount", "-l", str(folder)], capture_output=True, check=True)


@contextmanager
def filled(folder: Path, free: int) -> Iterator[bool]:
    """Fill the disk at `folder` up to `free` bytes; False, and nothing done, when no disk of our own is mounted there."""
    if not os.path.ismount(folder):
        yield False
        return
    ballast = folder / "ballast"
    try:
        with ballast.open("wb") as file:
            _fill(file.fileno())
            os.ftruncate(file.fileno(), max(os.fstat(file.fileno()).st_size - free, 0))
        yield True
    finally:
        ballast.unlink()


def _fill(handle: int) -> None:
    """Write until the disk is full."""
    for size in (1 << 20, 1 << 12):
        while True:
            try:
                os.write(handle, bytes(size))
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise
                break


@contextmanager
def limited(size: int | None) -> Iterator[None]:
    """Let no file of this process grow beyond `size` bytes: writing more is an error, as on a full disk."""
    if size is not None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
    try:
        yield
    finally:
        unlimited()


def unlimited() -> None:
    """Let files grow again."""
    resource.setrlimit(resource.RLIMIT_FSIZE, _UNLIMITED)
