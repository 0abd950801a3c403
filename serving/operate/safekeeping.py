"""What looks after recovery while the system runs: backups, syncs of the replica and drills, each at its own interval."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from lake.backup import drills, replicas
from lake.backup.backing_up import LAST, back_up
from lake.backup.drills import Drill, drill
from lake.backup.stores import Store, open_store
from lake.catalog import Lake
from lake.errors import CommitConflictError, CommitUnknownError, CorruptedError, SettingsError, TickhouseError
from lake.instants import NANOS_PER_SECOND
from lake.log.log import Log
from lake.settings import Settings
from quality_checks.alerts import Alerts, Severity
from quality_checks.verify import verify
from serving.operate.logs import open_log

ALERT = "recovery"
"""Kind of the alerts about what could not be done; the subject is backup, replica or drill."""
_SYNCED = "replica:last"
"""Job document of the primary: the last sync it made."""

_UNDER_WAY = {"captured_is_landed", "everything_promoted"}
"""Checks that fail in every lake that is just being written."""


@dataclass(frozen=True, slots=True)
class Kept:
    """One thing to do at an interval: how long ago it was done, None when never, and how to do it; it returns its words."""

    name: str
    every_s: float
    age_s: float | None
    act: Callable[[], str]

    @property
    def is_due(self) -> bool:
        """Whether its time has come."""
        return self.age_s is None or self.age_s >= self.every_s


def store_of(settings: Settings, address: str | None = None) -> Store:
    """Return the store that was named, else the one of the settings. Raises SettingsError when there is none."""
    found = address or settings.backup_to
    if not found:
        raise SettingsError("no place for backups: name one, or set TICKHOUSE_BACKUP_TO")
    return open_store(found)


def replica_of(settings: Settings, folder: Path | None = None) -> Path:
    """Return the folder of the replica that was named, else the one of the settings. Raises SettingsError."""
    found = settings.replica_to if folder is None else folder
    if found == Path():
        raise SettingsError("no place for a replica: name one, or set TICKHOUSE_REPLICA_TO")
    return found


def own_log(settings: Settings) -> Log | None:
    """Return the embedded log, open; None where the log is on Kafka and keeps itself."""
    return None if settings.log_url else open_log(settings)


def failing_checks(lake: Lake) -> list[str]:
    """Return the checks of `verify` that do not hold in a restored lake, with their first fault."""
    report = verify(lake, own_log(lake.settings))
    return [f"{check.name}: {check.faults[0]}" for check in report.failed if check.name not in _UNDER_WAY]


def drilled(lake: Lake, store: Store) -> Drill:
    """Make a recovery drill with everything that `verify` asks."""
    return drill(lake, store, failing_checks)


def synced(lake: Lake, home: Path, log: Log | None) -> replicas.Synced:
    """Sync the replica and remember when."""
    done = replicas.sync(lake, home, log)
    lake.state.save_job(_SYNCED, {"at_ns": lake.clock(), "at": done.at, "to": str(home)})
    return done


def plan(lake: Lake, log: Log | None) -> Iterator[Kept]:
    """Yield what the settings ask to be done at intervals; nothing by default."""
    settings = lake.settings
    if settings.backup_every_s:
        yield Kept("backup", settings.backup_every_s, age_s(lake, LAST), lambda: _back_up(lake, log))
    if settings.replica_every_s:
        yield Kept("replica", settings.replica_every_s, age_s(lake, _SYNCED), lambda: _sync(lake, log))
    if settings.drill_every_s and lake.state.job(LAST):
        yield Kept("drill", settings.drill_every_s, age_s(lake, drills.LAST), lambda: _drill(lake))


def keep(kept: Kept, alerts: Alerts) -> str:
    """Do one thing and return its words; what it failed with is an alert that stands until it is done, and goes on to the caller.

    A warning when others came in the way, or nobody knows the outcome: the next try may mend that.
    """
    try:
        words = kept.act()
    except TickhouseError as error:
        may_pass = isinstance(error, (CommitConflictError, CommitUnknownError))
        alerts.raise_alert(ALERT, kept.name, Severity.WARNING if may_pass else Severity.ERROR, str(error))
        raise
    alerts.resolve(ALERT, kept.name, words)
    return words


def age_s(lake: Lake, job: str) -> float | None:
    """Return the age of a job document in seconds, or None when there is none."""
    found = lake.state.job(job)
    return None if found is None else (lake.clock() - int(found["at_ns"])) / NANOS_PER_SECOND


def words_of_ages(lake: Lake) -> list[tuple[str, str, str]]:
    """Return (name, what is found, advice) of the last backup, the last proof of one, and the replica."""
    proven, last = lake.state.job(drills.PROVEN), lake.state.job(drills.LAST)
    backup_age = age_s(lake, LAST)
    found = [
        ("backup", "none was made", "`tickhouse backup --to PLACE` makes one; TICKHOUSE_BACKUP_EVERY_S repeats it.")
        if backup_age is None
        else ("backup", f"last {_age(backup_age)} ago", "")
    ]
    if proven is None:
        found.append(("recovery", "no backup was ever proven to restore", "`tickhouse drill` proves the last one."))
    else:
        age = _age((lake.clock() - int(proven["at_ns"])) / NANOS_PER_SECOND)
        found.append(("recovery", f"backup of {proven['backup_at']} proven {age} ago", ""))
    if last is not None and not last["is_ok"]:
        found.append(
            ("recovery drill", f"failed: {'; '.join(last['faults'][:3])}", "The last backup does not restore: make another.")
        )
    replica_age = age_s(lake, _SYNCED)
    if replica_age is not None:
        found.append(("replica", f"last synced {_age(replica_age)} ago", ""))
    return found


def _age(seconds: float) -> str:
    for size, unit in ((86_400, "days"), (3_600, "hours"), (60, "minutes")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} seconds"


def _back_up(lake: Lake, log: Log | None) -> str:
    made = back_up(lake, store_of(lake.settings), log)
    return f"backup {made.id}: {made.new_objects} new objects, {made.new_bytes:,} bytes"


def _sync(lake: Lake, log: Log | None) -> str:
    done = synced(lake, replica_of(lake.settings), log)
    return f"replica at {done.at}: {done.new_files} new files, {done.new_bytes:,} bytes"


def _drill(lake: Lake) -> str:
    done = drilled(lake, store_of(lake.settings))
    if not done.is_ok:
        raise CorruptedError(f"the last backup does not restore: {'; '.join(done.faults[:3])}")
    return f"backup of {done.backup_at} restores"
