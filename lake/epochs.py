"""Sweep epochs: what makes it certain that no file which the sweep deletes is committed afterwards.

A writer reads the epoch of its table before it writes its first file, and its commit asserts, inside the catalog's own
compare-and-set, that this is still the epoch. A sweep lists files, begins the next epoch, looks what the table refers to, and
deletes only what it listed and the table does not reach. Whoever wrote such a file read its epoch before it was listed: its
commit either was made before the new epoch began, and the file is reached, or it fails. No clock and no lease is needed for that.

The epoch is the snapshot that a tag points to: an empty one without a parent, so that it keeps no file alive.
"""

from __future__ import annotations

from dataclasses import dataclass

from pyiceberg.table import Table
from pyiceberg.table.update import TableRequirement

from lake import iceberg_internals as internals
from lake.errors import CommitConflictError

TAG = "sweep-epoch"
"""Never taken off a table again: that no sweep was ever made must not be true twice."""


@dataclass(frozen=True, slots=True)
class Epoch:
    """The epoch of one table; `snapshot_id` is None until the first sweep that deletes."""

    snapshot_id: int | None

    @classmethod
    def of(cls, table: Table) -> Epoch:
        """Return the epoch of a table as loaded: load it before the first file is written."""
        ref = table.metadata.refs.get(TAG)
        return cls(None if ref is None else ref.snapshot_id)

    def lasts(self) -> TableRequirement:
        """Return the assertion of a commit that this is still the epoch."""
        return internals.points_to(TAG, self.snapshot_id)

    def check(self, table: Table) -> None:
        """Raise CommitConflictError when a table as loaded has come to another epoch: begin again, with new files."""
        if Epoch.of(table) != self:
            name = ".".join(table.name())
            raise CommitConflictError(f"{name}: a sweep came between the writing of new files and their commit; begin again")
