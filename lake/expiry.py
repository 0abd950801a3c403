"""Expiry: forgetting old snapshots, so that commits stay as quick as the first ones.

By a commit of our own that asserts every branch it saw: PyIceberg's `expire_snapshots` asserts nothing and once emptied
a table. Only metadata is forgotten; files are for the sweep, which waits until no reader can still plan them.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection

from pyiceberg.table.snapshots import ancestors_of

from lake import as_of
from lake import iceberg_internals as internals
from lake.catalog import Lake
from lake.commits import commit
from lake.errors import CommitConflictError
from lake.fences import fences_of

SLACK = 20
"""Snapshots beyond `keep` before it is worth a commit."""


def expire(lake: Lake, table: str, keep: int = 30, slack: int = SLACK, also: Collection[int] = ()) -> int:
    """Forget all but the newest `keep` snapshots of main, the heads of branches and `also`; return how many went.

    Does nothing below keep + slack snapshots, or when somebody commits meanwhile (the next call does it). The ledger is
    reconciled first, because forgetting a snapshot also deletes its entry in main's log.
    """
    seen = lake.table(table)
    metadata = seen.metadata
    if len(metadata.snapshots) <= keep + slack:
        return 0
    head = lake.head_of(table, seen)
    # After loading, so that all that may be forgotten is booked.
    as_of.reconcile(lake, table)
    recent = {one.snapshot_id for one in itertools.islice(ancestors_of(seen.current_snapshot(), metadata), keep)}
    # Main is far past these: what their writers once read as its head fails by that alone.
    stale = [name for name, snapshot_id in fences_of(metadata).items() if snapshot_id not in recent]
    refs = {ref.snapshot_id for name, ref in metadata.refs.items() if name not in stale}
    kept = recent | set(also) | refs | {head.snapshot_id}
    gone = [one.snapshot_id for one in metadata.snapshots if one.snapshot_id not in kept]
    if not gone:
        return 0
    try:
        commit(
            lake,
            table,
            seen,
            [internals.points_to(name, ref.snapshot_id) for name, ref in metadata.refs.items()],
            [*(internals.drop(name) for name in stale), internals.forget(gone)],
            lambda now: not any(now.snapshot_by_id(snapshot_id) for snapshot_id in gone),
        )
    except CommitConflictError:
        return 0
    lake.steps.reached("expire.committed")
    return len(gone)
