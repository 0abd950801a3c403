"""The whole job's lake: backed up, restored elsewhere, verified, asked the same, and gone on with; and its replica."""

from __future__ import annotations

from pathlib import Path

from lake.backup.backing_up import back_up
from lake.backup.restoring import restore
from lake.backup.stores import LocalStore
from lake.catalog import Lake
from lake.instants import system_clock
from lake.settings import load_settings
from quality_checks.verify import verify
from serving.lineage import explain
from serving.operate import pipeline
from tests.end_to_end import job


def test_a_restored_lake_verifies_answers_the_same_and_goes_on(finished: Lake, tmp_path: Path) -> None:
    store, settings = LocalStore(tmp_path / "store"), load_settings(home=tmp_path / "there")
    log = job.open_log(finished)
    back_up(finished, store, log)
    done = restore(store, settings, system_clock)
    assert done.is_between
    with Lake.open(settings, system_clock) as restored:
        log_there = job.open_log(restored)
        report = verify(restored, log_there)
        assert report.failed == [] and report.rows == verify(finished, log).rows
        assert job.hashes(restored) == job.hashes(finished)
        assert (
            explain(restored, "adjusted.bars_1d/AAPL/2020-08-28").document()
            == explain(finished, "adjusted.bars_1d/AAPL/2020-08-28").document()
        )
        assert pipeline.turn(restored, log_there).is_idle, "nothing is landed or promoted twice"
