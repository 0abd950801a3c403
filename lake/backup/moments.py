"""Moments: which backup can give the lake as it was at T, and the heads and state rows of that time.

A backup holds every snapshot that main had lately, so a backup made after T may still know T: each table's head is then the
last entry of main's own log up to T. The one made soonest after T is asked first, for its state rows are nearest. When none
reaches back to T, the newest backup made before T is what can be had.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from lake.backup.cuts import Rows, held_files
from lake.backup.documents import Backup, Listing, backup_ids, get_object, listing_of, load_backup, unpacked
from lake.backup.stores import Store
from lake.backup.trees import Document, main_only, summary_of
from lake.errors import NotFoundError
from lake.heads import HOLDS, POSITION
from lake.instants import to_datetime
from lake.log.log import RAW_TOPIC

_NANOS_PER_MS = 1_000_000
_OF_PROCESSES = {"pin", "place", "dead"}
"""Documents that say something of the place they were written in, not of the lake."""
_DONE_BY_THEN = {"job", "topic"}
"""Documents that say what was done: later ones would let work be skipped whose rows are not there at T."""


@dataclass(frozen=True, slots=True)
class Moment:
    """What will be restored.

    at_ns      the moment that it really is
    is_own     it is the backup's own moment, whose log and state rows were kept with it
    mains      the metadata document of each table, main only, up to the moment
    listings   the files of each table
    """

    backup: Backup
    at_ns: int
    is_own: bool
    mains: dict[str, Document]
    listings: dict[str, Listing]
    state: Rows

    @property
    def positions(self) -> dict[str, dict[str, dict[str, int]]]:
        """Table -> owner -> vector, at the moment."""
        return {name: json.loads(summary_of(main)[POSITION]) for name, main in self.mains.items()}

    def holds(self, name: str) -> list[dict[str, Any]]:
        """Open holds of a table, at the moment."""
        return list(json.loads(summary_of(self.mains[name]).get(HOLDS, "[]")))


def moment_of(store: Store, at_ns: int | None) -> Moment:
    """Return what can be restored of T, by the newest backup when T is None. Raises NotFoundError when there is nothing."""
    ids = backup_ids(store)
    if not ids:
        raise NotFoundError(f"{store.address} holds no backup; make one with `tickhouse backup`")
    if at_ns is None:
        return _own(store, load_backup(store, ids[-1]))
    asked = f"{to_datetime(at_ns):%Y%m%dT%H%M%S.%fZ}"
    earlier = [backup_id for backup_id in ids if backup_id <= asked]
    before = load_backup(store, earlier[-1]) if earlier else None
    if before is not None and before.id == asked:
        return _own(store, before)
    for backup_id in ids[len(earlier) :]:
        found = _between(store, load_backup(store, backup_id), at_ns, before)
        if found is not None:
            return found
    if before is None:
        raise NotFoundError(
            f"{store.address} does not reach back to {to_datetime(at_ns).isoformat()}; its first backup is {ids[0]}"
        )
    return _own(store, before)


def _own(store: Store, backup: Backup) -> Moment:
    """Return a backup's own moment."""
    listings = {name: listing_of(store, table) for name, table in backup.tables.items()}
    mains = {}
    for name, table in backup.tables.items():
        main = main_only(json.loads(get_object(store, listings[name][table.metadata][0])))
        assert main is not None
        mains[name] = main
    return Moment(backup, backup.at_ns, True, mains, listings, _of_the_lake(state_of(store, backup)))


def _between(store: Store, backup: Backup, at_ns: int, before: Backup | None) -> Moment | None:
    """Return T by a later backup, or None when it does not reach back so far."""
    own = _own(store, backup)
    at_ms = at_ns // _NANOS_PER_MS
    mains = {}
    for name, later in own.mains.items():
        main = main_only(later, at_ms)
        if main is None:
            return None
        mains[name] = main
    found = Moment(backup, at_ns, False, mains, own.listings, _state_at(own, mains, at_ns, store, before))
    for name, main in mains.items():
        held = held_files(main["location"], found.holds(name), own.state)
        is_whole = len({file.path.split("/")[1] for file in held}) == len(found.holds(name))
        if not is_whole or any(file.path not in own.listings[name] for file in held):
            return None  # a batch that was held at T was decided since, and its files are in this backup under other names
    return found


def state_of(store: Store, backup: Backup) -> Rows:
    """Return the state rows of a backup."""
    rows: Rows = unpacked(get_object(store, backup.state))
    return rows


def _of_the_lake(rows: Rows) -> Rows:
    documents = [row for row in rows["documents"] if row["kind"] not in _OF_PROCESSES]
    return {**rows, "documents": documents}


def _state_at(own: Moment, mains: dict[str, Document], at_ns: int, store: Store, before: Backup | None) -> Rows:
    """Return the state rows as they were at T, as far as later ones tell."""
    at_ms = at_ns // _NANOS_PER_MS
    logged = {name: {entry["snapshot-id"] for entry in main["snapshot-log"]} for name, main in own.mains.items()}
    kept = {name: {entry["snapshot-id"] for entry in main["snapshot-log"]} for name, main in mains.items()}

    def was_published(row: dict[str, Any]) -> bool:
        name, snapshot_id = row["table_name"], row["snapshot_id"]
        if snapshot_id in logged.get(name, ()):
            return snapshot_id in kept[name]
        return bool(row["published_at_ms"] <= at_ms)

    booked = [row for row in own.state["publications"] if was_published(row)]
    known = {(row["table_name"], row["snapshot_id"]) for row in booked}
    earlier = [] if before is None else state_of(store, before)["documents"]
    return {
        **own.state,
        "publications": booked,
        "publication_ranges": [
            row for row in own.state["publication_ranges"] if (row["table_name"], row["snapshot_id"]) in known
        ],
        "audit_log": [row for row in own.state["audit_log"] if row["at_ns"] <= at_ns],
        "documents": [
            *(row for row in own.state["documents"] if row["kind"] not in _DONE_BY_THEN),
            *(row for row in earlier if row["kind"] in _DONE_BY_THEN),
        ],
    }


def landed(moment: Moment, topic: str, partition: int) -> list[int]:
    """Return how far the tables that a topic fills had come, those that had come anywhere."""
    spaces, owner = (("raw.",), "raw") if topic == RAW_TOPIC else (("ops.", "quality."), "history")
    vectors = [owners.get(owner, {}) for name, owners in moment.positions.items() if name.startswith(spaces)]
    return [vector[str(partition)] for vector in vectors if str(partition) in vector]
