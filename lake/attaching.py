"""What other engines are told of a table, so that they read the same files: Iceberg metadata, main only.

Audit branches are left out: a batch that the gate has not judged is nobody's to read.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from lake.catalog import MAIN, Lake
from lake.errors import NotFoundError
from lake.tables import TABLES


@dataclass(frozen=True, slots=True)
class Attached:
    """A table as an Iceberg REST catalog loads it.

    metadata_location   of the metadata file that `metadata` was read from; the file names audit branches too
    metadata            the same as JSON values, with main and its ancestors only
    """

    metadata_location: str
    metadata: dict[str, Any]


def namespaces() -> list[str]:
    """Return every namespace, by name."""
    return sorted({table.namespace for table in TABLES.values()})


def tables_in(namespace: str) -> list[str]:
    """Return the short names of a namespace's tables. Raises NotFoundError."""
    found = sorted(table.short_name for table in TABLES.values() if table.namespace == namespace)
    if not found:
        raise NotFoundError(f"no namespace {namespace!r}; there are {', '.join(namespaces())}")
    return found


def attached(lake: Lake, name: str, *, only_head: bool = False) -> Attached:
    """Return how a table is read from outside. Raises NotFoundError.

    only_head   without the snapshots before main's head
    """
    table = lake.table(name)
    metadata: dict[str, Any] = json.loads(table.metadata.model_dump_json())
    by_id = {snapshot["snapshot-id"]: snapshot for snapshot in metadata.get("snapshots", [])}
    head = metadata["refs"][MAIN]["snapshot-id"]
    kept: set[int] = set()
    walked = head
    while walked in by_id and walked not in kept:
        kept.add(walked)
        walked = None if only_head else by_id[walked].get("parent-snapshot-id")
    metadata["refs"] = {MAIN: metadata["refs"][MAIN]}
    metadata["snapshots"] = [snapshot for number, snapshot in by_id.items() if number in kept]
    metadata["snapshot-log"] = [entry for entry in metadata.get("snapshot-log", []) if entry["snapshot-id"] in kept]
    return Attached(table.metadata_location, metadata)
