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

    def summary(self) -> list[dict[str, Any]]:
        """Return how often each fault was done, per path or market, in the order first done."""
        found: dict[tuple[str, str], dict[str, Any]] = {}
        for each in self.done():
            where = str(each.get("path") or each.get("market"))
            entry = found.setdefault((each["fault"], where), {"fault": each["fault"], "where": where, "times": 0})
            entry["times"] += 1
            if "status" in each:
                entry["status"] = each["status"]
        return list(found.values())

    def done(self) -> list[dict[str, Any]]:
        """Return every fault done so far."""
        with self._lock:
            return [dict(each) for each in self._done]
