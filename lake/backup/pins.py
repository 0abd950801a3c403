"""Pins: what a backup or a replica is reading just now, so that nothing of it is deleted meanwhile.

Both hold the lease `backup` while they read, under which the sweep deletes nothing; the pin, a document in state, says more
finely what: every file that the snapshots of the cut reach, held files too. A pin of a dead process is none.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

from lake.backup.cuts import Cut, TableCut, held_files, read_location
from lake.backup.trees import Document, File, relative, tree_of
from lake.catalog import Lake
from lake.errors import NotFoundError
from lake.leases import Holder

LEASE = "backup"
KIND = "pin"


@contextmanager
def pinned(lake: Lake, key: str, cut: Cut) -> Iterator[None]:
    """Keep what a cut reaches while the body runs. One pin a key: the next run replaces what a killed one left."""
    holder = Holder.of_this_process()
    document = {"holder": asdict(holder), "at_ns": cut.at_ns, "tables": {name: _pin(table) for name, table in cut.tables.items()}}
    lake.state.save_document(KIND, key, document)
    try:
        yield
    finally:
        lake.state.save_document(KIND, key, {"holder": asdict(holder), "at_ns": cut.at_ns, "tables": {}})


def pinned_files(lake: Lake) -> set[str]:
    """Return the location of every file that a living backup or replica sync may still read."""
    found: set[str] = set()
    state = None
    for document in lake.state.documents(KIND).values():
        if Holder(**document["holder"]).condition() == "dead":
            continue
        for name, pin in document["tables"].items():
            found.add(pin["metadata"])
            found |= _reached(lake, name, pin)
            if pin["holds"]:
                state = state or lake.state.dump()
                found |= {file.location for file in held_files(pin["location"], pin["holds"], state)}
    return found


def _pin(table: TableCut) -> dict[str, Any]:
    return {
        "location": table.location,
        "metadata": f"{table.location}/{table.metadata_path}",
        "lists": [one["manifest-list"] for one in table.main["snapshots"]],
        "holds": [{"id": hold["id"]} for hold in table.holds],
    }


def _reached(lake: Lake, name: str, pin: dict[str, Any]) -> set[str]:
    """Return the files that the pinned manifest lists reach; one that is gone reaches nothing any more."""
    io = lake.table(name).io
    seen: dict[str, tuple[File, ...]] = {}
    found: set[str] = set()
    for number, location in enumerate(pin["lists"]):
        main: Document = {"location": pin["location"], "snapshots": [{"snapshot-id": number, "manifest-list": location}]}
        places = {relative(pin["location"], location): location}

        def read(path: str, places: dict[str, str] = places) -> bytes:
            return read_location(io, places.get(path, f"{pin['location']}/{path}"))

        try:
            found |= {file.location for file in tree_of(main, read, seen).files.values()}
        except NotFoundError:
            continue
    return found
