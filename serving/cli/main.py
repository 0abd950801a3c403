"""`tickhouse VERB`: the entry point. What is slow to import is imported once there is something to do with it."""

from __future__ import annotations

import sys
import warnings
from typing import TextIO

from serving.processes import OwnProcess, leave_pandas_alone

_DECODING = {"demo", "up", "import", "promote", "rebuild"}
"""Verbs that a warning about slow kernels concerns."""
_WITH_PANDAS = {"notebooks"}
"""Verbs in whose process a person's own cells run, who may use it."""


def main() -> None:
    """Run one verb and leave the process with its exit code."""
    process, words = OwnProcess(), sys.argv[1:]
    warnings.showwarning = _tell
    from serving.cli.app import run

    if words and not {"-h", "--help"} & set(words) and words[0] not in _WITH_PANDAS:
        leave_pandas_alone()
    process.leave(run(words))


def _tell(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """Write a warning as one line for a person who decodes something; those of libraries are for their developers."""
    if not set(sys.argv[1:2]) & _DECODING:
        return
    if category.__module__.partition(".")[0] in ("lake", "transforms", "quality_checks", "ingest", "serving"):
        sys.stderr.write(f"note: {message}\n")


if __name__ == "__main__":
    main()
