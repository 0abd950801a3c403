"""Fences: what keeps a writer out that was paused, lost its lease by force and wakes, also where it cannot be killed.

Who takes a lease by force puts a tag named after the token of the lost one on each table that its holder may still want to
commit to. Every commit asserts, in the catalog's own compare-and-set, that no tag of its process's tokens exists: an assertion
that every Iceberg catalog knows. So once the taker goes on, nothing of the last holder lands any more, whenever it wakes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from pyiceberg.exceptions import CommitFailedException
from pyiceberg.table import Table
from pyiceberg.table.metadata import TableMetadata
from pyiceberg.table.update import TableRequirement

from lake import iceberg_internals as internals
from lake.errors import CommitConflictError

PREFIX = "fence-"
"""Tags of a table: one for each lease that was taken by force."""
ATTEMPTS = 50


def not_fenced_off(tokens: Iterable[str]) -> list[TableRequirement]:
    """Return the assertions that none of the leases taken as `tokens` was lost by force."""
    return [internals.points_to(PREFIX + token, None) for token in tokens]


def fences_of(metadata: TableMetadata) -> dict[str, int]:
    """Return the fences of a table: tag -> snapshot that was main's head when it was put there."""
    return {name: ref.snapshot_id for name, ref in metadata.refs.items() if name.startswith(PREFIX)}


def fence_off(load: Callable[[], Table], token: str) -> None:
    """Put the tag of a lost lease on a table, whatever else is committed meanwhile. Raises CommitConflictError.

    A table without a snapshot is left: only what makes a lake commits to it.
    """
    name = PREFIX + token
    for _ in range(ATTEMPTS):
        table = load()
        head = table.metadata.current_snapshot_id
        if head is None or name in table.metadata.refs:
            return
        try:
            internals.commit(table, not_fenced_off([token]), [internals.tag(name, head)])
        except CommitFailedException:
            continue
        return
    raise CommitConflictError(f"{ATTEMPTS} attempts to fence off the lease {token} met somebody else's commit")
