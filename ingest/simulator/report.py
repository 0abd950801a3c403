"""What the simulator did wrong on purpose, in the order it did it."""

from __future__ import annotations

import threading
from typing import Any


class FaultReport:
    """A list of faults done; servers write it, callers read it, from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._done: list[dict[str, Any]] = []

    def did(self, fault: str, **where: object) -> None:
        """Write down one fault."""
        with self._lock:
            self._done.append({"fault": fault, **where})

    def done(self) -> list[dict[str, Any]]:
        """Return every fault done so far."""
        with self._lock:
            return [dict(each) for each in self._done]
