"""The log that belongs to a lake's settings."""

from __future__ import annotations

from lake.instants import system_clock
from lake.log import opening
from lake.log.log import Log
from lake.settings import Settings


def open_log(settings: Settings) -> Log:
    """Return the log of a lake, open. Raises as `lake.log.opening.open_log` does."""
    return opening.open_log(settings, system_clock)
