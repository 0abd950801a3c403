"""Fences: what keeps a writer out that was paused, lost its lease by force and wakes, also where it cannot be killed.

Who takes a lease by force writes the token of the lost one into a property of each table that its holder may still want to commit
to. Every commit asserts, in the catalog's own compare-and-set, that no token of its process stands there. So once the taker goes
on, nothing of the last holder lands any more, whenever it wakes.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable

from pyiceberg.exceptions import CommitFailedException
from pyiceberg.table import Table
from pyiceberg.table.metadata import TableMetadata
from pyiceberg.table.update import ValidatableTableRequirement

from lake import iceberg_internals as internals
from lake.errors import CommitConflictError

FENCES = "tickhouse.fences"
"""Property of a table: tokens of lost leases, JSON, the newest last."""
KEPT = 50
ATTEMPTS = 50


class NotFencedOff(ValidatableTableRequirement):
    """An assertion of ours, which the SQL catalog checks with the others: none of these leases was taken by force."""

    type: str = "assert-not-fenced-off"
    tokens: tuple[str, ...]

    def validate(self, base_metadata: TableMetadata | None) -> None:  # type: ignore[override]  # as PyIceberg's own do
        """Raise CommitFailedException when a token stands in the table's property."""
        lost = sorted(set(self.tokens) & set(lost_tokens(base_metadata))) if base_metadata is not None else []
        if lost:
            raise CommitFailedException(f"lease {', '.join(lost)} was taken by force; what its holder commits now is stale")


def not_fenced_off(tokens: Iterable[str]) -> NotFencedOff:
    """Return the assertion that none of the leases taken as `tokens` was lost by force."""
    return NotFencedOff(tokens=tuple(tokens))


def lost_tokens(metadata: TableMetadata) -> list[str]:
    """Return the tokens of lost leases, as a table tells."""
    return list(json.loads(metadata.properties.get(FENCES, "[]")))


def fence_off(load: Callable[[], Table], token: str) -> None:
    """Write the token of a lost lease into a table, whatever else is committed meanwhile. Raises CommitConflictError."""
    for _ in range(ATTEMPTS):
        table = load()
        lost = lost_tokens(table.metadata)
        if token in lost:
            return
        try:
            internals.commit(table, [], [internals.set_property(FENCES, json.dumps([*lost, token][-KEPT:]))])
        except CommitFailedException:
            continue
        return
    raise CommitConflictError(f"{ATTEMPTS} attempts to fence off the lease {token} met somebody else's commit")
