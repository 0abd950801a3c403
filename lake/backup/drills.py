"""The recovery drill: the last backup restored into a folder of its own, proved, recorded, and removed again."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass, field

from lake.backup.checking import check_backup
from lake.backup.documents import Backup, newest_backup
from lake.backup.replicas import at_home
from lake.backup.restoring import Restored, restore
from lake.backup.stores import Store
from lake.catalog import Lake
from lake.errors import TickhouseError
from lake.instants import NANOS_PER_SECOND, to_datetime
from lake.scan import read
from lake.tables import TABLES

LAST, PROVEN = "drill:last", "drill:proven"
"""Job documents: the last drill, and the last one that proved its backup."""
LEASE = "drill"
_FOLDER = "drill"
Verify = Callable[[Lake], list[str]]
"""What a caller proves of a restored lake beyond the backup's own figures: names of what does not hold."""


@dataclass(slots=True)
class Drill:
    """What a drill found: `faults` mean that the backup does not restore, `notes` what `verify` says of the lake in it."""

    backup: str = ""
    backup_at: str = ""
    at: str = ""
    at_ns: int = 0
    is_ok: bool = False
    rows: int = 0
    files: int = 0
    bytes: int = 0
    seconds: float = 0.0
    faults: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def document(self) -> dict[str, object]:
        """Return the drill as JSON values."""
        return asdict(self)


def drill(lake: Lake, store: Store, verify: Verify = lambda restored: []) -> Drill:
    """Restore the last backup beside the lake, prove it against its own figures, record the outcome and clean up.

    verify   asks more of the restored lake; what fails is a note: the lake was so when it was backed up

    What is wrong with the backup is recorded, not raised.
    """
    started_ns = lake.clock()
    done = Drill(at=to_datetime(started_ns).isoformat(), at_ns=started_ns)
    home = lake.settings.home / _FOLDER
    with lake.state.lease(LEASE):
        shutil.rmtree(home, ignore_errors=True)  # of a drill that was killed
        try:
            backup = newest_backup(store)
            done.backup, done.backup_at = backup.id, backup.at
            done.faults += check_backup(store, backup)
            settings = at_home(lake.settings, home)
            restored = restore(store, settings, lake.clock, backup.at_ns)
            lake.steps.reached("drill.restored")
            done.files, done.bytes, done.rows = restored.files, restored.bytes, sum(restored.rows.values())
            with Lake.open(settings, lake.clock) as opened:
                done.faults += _compared(opened, backup, restored)
                done.notes += [f"verify: {words}" for words in verify(opened)]
        except TickhouseError as error:
            done.faults.append(f"{type(error).__name__}: {error}")
        finally:
            shutil.rmtree(home, ignore_errors=True)
        done.is_ok = not done.faults
        done.seconds = (lake.clock() - started_ns) / NANOS_PER_SECOND
        _record(lake, done)
    return done


def _compared(opened: Lake, backup: Backup, restored: Restored) -> list[str]:
    """Return where the restored lake is not what the backup says: rows as read, content of the head's files."""
    faults = []
    for name, table in backup.tables.items():
        found = read(opened, name, [TABLES[name].column_names[0]]).num_rows
        if found != table.rows:
            faults.append(f"{name}: {found} rows restored, the backup says {table.rows}")
        if restored.contents[name] != table.content:
            faults.append(f"{name}: content {restored.contents[name]} restored, the backup says {table.content}")
    return faults


def _record(lake: Lake, done: Drill) -> None:
    lake.state.save_job(LAST, done.document())
    if done.is_ok:
        lake.state.save_job(PROVEN, done.document())
    reason = f"backup {done.backup} restores" if done.is_ok else f"backup {done.backup} does not restore: {done.faults[:3]}"
    lake.state.audit("drill", "drill", reason, done.document())
