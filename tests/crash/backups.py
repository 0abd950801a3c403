"""Backups as acts of a worker: made beside the lake, restored into an empty place, and proven there."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from lake.backup import backing_up, restoring
from lake.backup.documents import backup_ids
from lake.backup.stores import open_store
from lake.catalog import Lake
from lake.settings import load_settings

if TYPE_CHECKING:
    from tests.crash.acts import Worker


def back_up(worker: Worker) -> None:
    """Make a backup beside the lake."""
    backing_up.back_up(worker.lake, open_store(backups_of(worker.lake)), None, patience_s=1.0)


def restore(worker: Worker) -> None:
    """Restore the newest backup, if there is one, into an empty place; it holds exactly what its own positions say."""
    store = open_store(backups_of(worker.lake))
    if not backup_ids(store):
        return
    home = worker.lake.settings.home.with_name("restored")
    shutil.rmtree(home, ignore_errors=True)
    settings = load_settings(home=home)
    restoring.restore(store, settings, worker.lake.clock)
    with Lake.open(settings, worker.lake.clock) as restored:
        worker.proved(restored)
    shutil.rmtree(home)


def backups_of(lake: Lake) -> Path:
    """Return where the backups of a lake are."""
    return lake.settings.home.with_name("backups")
