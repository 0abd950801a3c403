"""What this lake answered at a moment, it answers for ever; and everything derived can be made again from raw."""

from __future__ import annotations

from datetime import datetime

import pyarrow as pa

from ingest.imports import import_paths
from lake.catalog import Lake
from lake.scan import PUBLISHED_AT, read
from lake.tables import TABLES
from quality_checks.rebuild import rebuild
from tests.end_to_end import job
from tests.end_to_end.conftest import Undisturbed

DERIVED = [name for name in job.HASHED if TABLES[name].namespace in ("normalized", "adjusted")]


def published(lake: Lake, name: str) -> pa.Table:
    """The rows of a table with their publication, in an order of their own."""
    rows = read(lake, name, [*TABLES[name].column_names, PUBLISHED_AT])
    return rows.sort_by([(column, "ascending") for column in rows.column_names])


def test_the_past_is_unmoved_by_releases_replays_rebuilds_and_late_actions(undisturbed: Undisturbed, finished: Lake):
    at = datetime.fromisoformat(undisturbed.document["as_of"]["at"])
    then = undisturbed.document["as_of"]["hashes"]
    assert then != undisturbed.document["hashes"], "the release must have changed something"
    assert job.hashes(finished, at) == then, "after the release and the rejection"

    log = job.open_log(finished)
    now = job.hashes(finished)
    job.imported(finished, log, undisturbed.home)
    job.promoted(finished, log)
    assert (job.hashes(finished), job.hashes(finished, at)) == (now, then), "after importing the same files again"

    before = {name: published(finished, name) for name in DERIVED}
    for name in DERIVED:
        report = rebuild(finished, name)
        assert report.is_same, report.document()
        assert report.is_replaced
        assert published(finished, name) == before[name], f"{name}: rows or their published_at"
    assert (job.hashes(finished), job.hashes(finished, at)) == (now, then), "after rebuilding every table"

    import_paths(finished, log, "ice", "reorg", [job.FILES / job.LATE_REORG], job.DELIVERED)
    job.promoted(finished, log)
    assert job.hashes(finished) != now, "the late announcement must have changed something"
    assert job.hashes(finished, at) == then, "after a late announcement"
