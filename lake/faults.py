"""Errors of the disk on demand: what the crash tests set `TICKHOUSE_FAIL_AT` for; in production a door lets everything pass.

The lake writes to a local disk by five doors (lake/durable.py, lake/files.py). `fsync:3:EIO` lets the third fsync fail,
`write:5-9:ENOSPC` every write from the fifth to the ninth, then the disk is well again; `SHORT` writes half of the bytes
before it fails, as a disk does that fills up meanwhile. `STOP` stops the process there (SIGSTOP), `KILL` kills it.
"""

from __future__ import annotations

import errno
import os
import re
import signal
from collections import Counter

from lake.errors import SettingsError

DOORS = ("write", "fsync", "folder", "link", "delete")
"""Bytes of a new file; a file put on the disk; names of a folder put on the disk; a link; a deletion."""
SHORT = "SHORT"
_ERRORS = {"EIO": errno.EIO, "ENOSPC": errno.ENOSPC, "EDQUOT": errno.EDQUOT, SHORT: errno.ENOSPC}
_SIGNALS = {"STOP": signal.SIGSTOP, "KILL": signal.SIGKILL}
_FORM = re.compile(r"(?P<door>[a-z]+):(?P<first>\d+)(?:-(?P<last>\d+))?:(?P<what>[A-Z]+)")


class Doors:
    """The doors of a healthy disk."""

    def enter(self, door: str, path: object = "") -> bool:
        """Pass a door on the way to `path`; True when only half of what is to be written will arrive. Raises OSError."""
        return False


class FailingDoors(Doors):
    """Doors that fail from their `first` to their `last` pass."""

    def __init__(self, door: str, first: int, last: int, what: str) -> None:
        self.door = door
        self.passes = range(first, last + 1)
        self.what = what
        self.seen: Counter[str] = Counter()

    def enter(self, door: str, path: object = "") -> bool:
        """Pass a door, or fail there as planned."""
        self.seen[door] += 1
        if door != self.door or self.seen[door] not in self.passes:
            return False
        if self.what == SHORT:
            return True
        if self.what in _SIGNALS:
            os.kill(os.getpid(), _SIGNALS[self.what])
            return False
        raise error_of(self.what, path)


def error_of(what: str, path: object) -> OSError:
    """Return the error that a disk answers with."""
    number = _ERRORS[what]
    return OSError(number, f"{os.strerror(number)} (TICKHOUSE_FAIL_AT)", str(path))


def doors_of(fail_at: str) -> Doors:
    """Return the doors for a setting such as `fsync:3:EIO`; an empty one gives healthy ones. Raises SettingsError."""
    if not fail_at:
        return Doors()
    found = _FORM.fullmatch(fail_at)
    if found is None or found["door"] not in DOORS or found["what"] not in {*_ERRORS, *_SIGNALS}:
        expected = f"DOOR:FIRST[-LAST]:WHAT, a door of {', '.join(DOORS)}, one of {', '.join([*_ERRORS, *_SIGNALS])}"
        raise SettingsError(f"TICKHOUSE_FAIL_AT is {fail_at!r}; expected {expected}")
    first = int(found["first"])
    return FailingDoors(found["door"], first, int(found["last"] or first), found["what"])


_standing = Doors()


def doors() -> Doors:
    """Return the doors of this process."""
    return _standing


def stand(fail_at: str) -> None:
    """Set up the doors of this process; they belong to the disk, so all lakes of the process share them."""
    global _standing
    _standing = doors_of(fail_at)
