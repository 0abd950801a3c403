"""Manifests: many small ones into few, by a commit that changes no data file."""

from __future__ import annotations

from collections.abc import Sequence

from pyiceberg.manifest import DataFile
from pyiceberg.table import Table as IcebergTable
from pyiceberg.table.snapshots import Snapshot

from lake import iceberg_internals as internals
from lake.catalog import Lake
from lake.commits import Summary, commit_to_main
from lake.errors import CorruptedError
from lake.heads import Act
from lake.maintenance.rewriting import keeping_plan, writers_lease

TARGET_BYTES = 1 << 20
LEAST = 4
"""Below this many manifests a plan is quick."""


def manifest_sizes(iceberg: IcebergTable) -> list[int]:
    """Return the bytes of each manifest of main as loaded."""
    snapshot = iceberg.current_snapshot()
    return [] if snapshot is None else [manifest.manifest_length for manifest in snapshot.manifests(iceberg.io)]


def is_worth_it(sizes: Sequence[int]) -> bool:
    """Return whether a rewrite would leave at most half of the manifests."""
    return len(sizes) >= LEAST and 2 * (sum(sizes) // TARGET_BYTES + 1) <= len(sizes)


def rewrite_manifests(lake: Lake, name: str) -> int | None:
    """Put main's data files into few manifests and return the snapshot's id; None when it is not worth a commit.

    The files listed before and after are compared first. Raises as `lake.commits.append` does.
    """
    if not is_worth_it(manifest_sizes(lake.table(name))):
        return None

    def produce(seen: IcebergTable, _: Sequence[DataFile], __: Sequence[DataFile], summary: Summary) -> internals.Produced:
        produced = internals.produce_merged(seen, summary, TARGET_BYTES)
        before = seen.current_snapshot()
        assert before is not None
        if _listed(seen, internals.snapshot_in(produced)) != _listed(seen, before):
            produced.clean()
            raise CorruptedError(f"{name}: manifests written anew do not list the same files; main stays")
        lake.steps.reached("manifests.written")
        return produced

    with lake.state.lease(writers_lease(name)):
        snapshot_id = commit_to_main(lake, name, (), keeping_plan(Act.MANIFESTS), None, produce=produce)
    lake.steps.reached("manifests.committed")
    return snapshot_id


def _listed(seen: IcebergTable, snapshot: Snapshot) -> dict[str, int]:
    return {file.file_path: file.record_count for file in internals.data_files_of(seen, snapshot)}
