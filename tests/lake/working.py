"""Steps for the tests of the runners: as workers do them, and as workers fail."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path

from pyiceberg.manifest import DataFile

from lake import files
from lake.catalog import Lake
from lake.errors import InvalidValueError, QualityError
from lake.runner import Task
from lake.tables import table_named
from tests.lake.made import trades

TRADES = "normalized.trades"


def write(lake: Lake, task: Task) -> list[DataFile]:
    """Write the trades that the task numbers."""
    table = table_named(TRADES)
    first, last = task.arguments["first"], task.arguments["last"]
    return files.write_files(lake.table(TRADES), table, files.conform(table, trades(first, last)), task.job)


def write_and_fail_once(lake: Lake, task: Task) -> list[DataFile]:
    """Write the trades; of the task that says how, fail in that way after writing, once or always."""
    made = write(lake, task)
    mark = Path(task.arguments["folder"]) / f"failed-{task.partition}"
    how = task.arguments.get("how")
    if how is None or (mark.exists() and not task.arguments.get("always")):
        return made
    mark.touch()
    if how == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if how == "hung":
        os.kill(os.getpid(), signal.SIGSTOP)
    if how == "asleep":
        threading.Event().wait()
    raise OSError(f"disk of {task.partition} is gone")


def refuse(lake: Lake, task: Task) -> None:
    """Raise on purpose, as a step does that will not work elsewhere either."""
    if task.arguments.get("report") is not None:
        raise QualityError(f"{task.partition} is refused", task.arguments["report"])
    raise InvalidValueError(f"{task.partition} is wrong")


def echo(lake: Lake, task: Task) -> tuple[int, object]:
    """Return the process and what came along."""
    return os.getpid(), task.arguments.get("value")
