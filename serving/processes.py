"""How a verb's process begins and ends: what Python does for each of them counts.

A third of what a verb cost was no work of its own: looking for garbage among half a million objects that importing makes and that
stay, importing pandas because pyarrow asks whether it is there, and taking everything apart at the end.
"""

from __future__ import annotations

import atexit
import gc
import os
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import NoReturn

COLLECT_AFTER = 50_000
"""New objects between two looks for garbage (Python's own: 700); a process may keep so many dead ones, some ten megabytes."""
_PANDAS = "pandas"


class OwnProcess:
    """This process, when nothing but an entry point of ours runs in it; to be made before anything slow is imported."""

    def __init__(self) -> None:
        self._exit_code: int | None = None
        gc.set_threshold(COLLECT_AFTER, *gc.get_threshold()[1:])
        atexit.register(self._end)  # first in, so last of all: threads have ended by then, and every other handler has run

    def leave(self, exit_code: int) -> NoReturn:
        """End with an exit code, without taking apart what the operating system takes back anyway."""
        self._exit_code = exit_code
        sys.exit(exit_code)

    def _end(self) -> None:
        if self._exit_code is None:
            return  # something else ends it, a defect perhaps: as Python does
        try:
            sys.stdout.flush()
            sys.stderr.flush()
        except (OSError, ValueError):
            return  # nobody reads any more: Python says so in its own way
        os._exit(self._exit_code)


class _Absent(MetaPathFinder):
    """Says of pandas that it is not there."""

    def find_spec(self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        """Raise ImportError for pandas; know nothing of anything else."""
        if fullname == _PANDAS:
            raise ModuleNotFoundError(f"{fullname} is left alone until somebody asks for it", name=fullname)
        return None


def leave_pandas_alone() -> None:
    """Answer pyarrow's one question whether pandas is there with no, unless it is imported already.

    At its first array pyarrow imports pandas (0.5 s, 40 MB) only to recognize what comes from it, and nothing of ours does.
    Whoever imports pandas gets it, and `to_pandas` asks anew.
    """
    if _PANDAS in sys.modules:
        return
    import pyarrow as pa  # slow, and `--help` has no use for it

    absent = _Absent()
    sys.meta_path.insert(0, absent)
    try:
        pa.scalar(0)
    finally:
        sys.meta_path.remove(absent)
