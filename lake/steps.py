"""Step boundaries: the named moments between two durable acts, where a crash must do no harm.

Code that writes calls `lake.steps.reached(name)` at each boundary. Normally nothing happens. The crash tests set
`TICKHOUSE_KILL_AT=publish.staged:2`, and the process kills itself with SIGKILL the second time it gets there.
"""

from __future__ import annotations

import os
import signal
from collections import Counter

from lake.errors import SettingsError

BOUNDARIES = (
    "capture.appended",
    "land.files",
    "land.committed",
    "append.files",
    "append.committed",
    "promote.quarantined",
    "publish.files",
    "publish.staged",
    "publish.published",
    "hold.linked",
    "hold.described",
    "hold.committed",
    "release.linked",
    "release.staged",
    "release.published",
    "reject.quarantined",
    "reject.committed",
    "adjust.staged",
)
"""Every boundary. `land` is said of raw.messages, `append` of other tables written without a gate."""


class Steps:
    """Counts the boundaries that this process reached; what production runs with."""

    def __init__(self) -> None:
        self.seen: Counter[str] = Counter()

    def reached(self, name: str) -> None:
        """Count the boundary `name`."""
        self.seen[name] += 1


class KillAt(Steps):
    """Kills this process, as `kill -9` does, the `count`-th time it reaches the boundary `name`."""

    def __init__(self, name: str, count: int) -> None:
        super().__init__()
        self.name = name
        self.count = count

    def reached(self, name: str) -> None:
        """Count the boundary; does not return when its turn has come."""
        super().reached(name)
        if name == self.name and self.seen[name] == self.count:
            os.kill(os.getpid(), signal.SIGKILL)


def steps_of(kill_at: str) -> Steps:
    """Return the hook for a setting such as `publish.staged:2`; an empty one gives `Steps`. Raises SettingsError."""
    if not kill_at:
        return Steps()
    name, _, count = kill_at.partition(":")
    if name not in BOUNDARIES or not (count or "1").isdigit() or int(count or "1") < 1:
        raise SettingsError(f"TICKHOUSE_KILL_AT is {kill_at!r}; expected NAME or NAME:COUNT, a name of {', '.join(BOUNDARIES)}")
    return KillAt(name, int(count or "1"))
