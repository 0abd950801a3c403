"""Step boundaries: the named moments between two durable acts, where a crash must do no harm.

Code that writes calls `lake.steps.reached(name)` at each boundary. Normally nothing happens. The crash tests set
`TICKHOUSE_KILL_AT=publish.staged:2`, and the process kills itself with SIGKILL the second time it gets there;
`publish.staged:2:STOP` stops it there instead, which makes a zombie that somebody may wake later.
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
    "commit.prepared",
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
"""Every boundary of the job. `land` is said of raw.messages, `append` of other tables written without a gate."""
MAINTENANCE = (
    "compact.files",
    "compact.proved",
    "compact.committed",
    "archive.files",
    "archive.proved",
    "archive.committed",
    "retain.committed",
    "manifests.written",
    "manifests.committed",
    "expire.committed",
    "sweep.listed",
    "sweep.epoch",
    "sweep.decided",
    "sweep.deleted",
)
"""Every boundary of maintenance."""
BACKUP = (
    "backup.pinned",
    "backup.objects",
    "backup.listed",
    "restore.files",
    "restore.state",
    "restore.log",
    "restore.opened",
    "replica.copied",
    "replica.state",
    "replica.listed",
    "replica.seeded",
    "replica.promoted",
    "drill.restored",
)
"""Every boundary of backup, restore, replica and drill."""
FILLING = ("gap.stepped", "gap.told", "backfill.asked")
"""Every boundary of a gap's way from open to closed."""


class Steps:
    """Counts the boundaries that this process reached; what production runs with."""

    def __init__(self) -> None:
        self.seen: Counter[str] = Counter()

    def reached(self, name: str) -> None:
        """Count the boundary `name`."""
        self.seen[name] += 1


class KillAt(Steps):
    """Kills this process, as `kill -9` does, the `count`-th time it reaches the boundary `name`; or stops it there."""

    def __init__(self, name: str, count: int, sent: signal.Signals = signal.SIGKILL) -> None:
        super().__init__()
        self.name = name
        self.count = count
        self.sent = sent

    def reached(self, name: str) -> None:
        """Count the boundary; when its turn has come, does not return, or only once somebody wakes the process."""
        super().reached(name)
        if name == self.name and self.seen[name] == self.count:
            os.kill(os.getpid(), self.sent)


def steps_of(kill_at: str) -> Steps:
    """Return the hook for a setting such as `publish.staged:2` or `publish.staged:2:STOP`; an empty one gives `Steps`.

    Raises SettingsError.
    """
    if not kill_at:
        return Steps()
    name, _, rest = kill_at.partition(":")
    count, _, sent = rest.partition(":")
    known = (*BOUNDARIES, *MAINTENANCE, *BACKUP, *FILLING)
    if name not in known or not (count or "1").isdigit() or int(count or "1") < 1 or sent not in ("", "KILL", "STOP"):
        expected = f"NAME, NAME:COUNT or NAME:COUNT:STOP, a name of {', '.join(known)}"
        raise SettingsError(f"TICKHOUSE_KILL_AT is {kill_at!r}; expected {expected}")
    return KillAt(name, int(count or "1"), signal.SIGSTOP if sent == "STOP" else signal.SIGKILL)
