"""The job on the operator's parts: PostgreSQL for catalog and state, an object store for files; through the real gate."""

from __future__ import annotations

from pathlib import Path

from ingest.imports import import_paths
from ingest.landing import land
from lake.catalog import Lake
from lake.instants import system_clock, to_datetime
from lake.settings import load_settings
from quality_checks.holds import list_holds, release
from quality_checks.promotion import promote
from serving.lineage import explain
from serving.sql import answer
from tests.end_to_end import job
from tests.object_store import Store
from tests.postgres import Server

BARS = "SELECT symbol, count(*) AS bars FROM normalized.bars GROUP BY ALL ORDER BY symbol"
ONE = "SELECT capture_id, message_seq, ordinal FROM normalized.bars WHERE symbol = 'MADE' ORDER BY ALL LIMIT 1"
MADE = [{"symbol": "MADE", "bars": 1}]


def test_bars_are_imported_refused_by_the_gate_released_and_asked(postgres: Server, object_store: Store, tmp_path: Path) -> None:
    wrong = tmp_path / job.WRONG_SCALE_FILE
    wrong.write_text(job.WRONG_SCALE, encoding="utf-8")
    settings = load_settings(home=tmp_path / "home", catalog_url=postgres.database("job"), **object_store.settings("job"))
    with Lake.create(settings, system_clock) as lake:
        log = job.open_log(lake)
        import_paths(lake, log, "csv", "bars", [wrong], job.DELIVERED, job.WRONG_SCALE_BARS)
        land(lake, log)
        promote(lake, "csv")
        assert answer(lake, BARS).table.to_pylist() == [], "what the gate refused is read by nobody"
        then = to_datetime(lake.clock())
        (held,) = list_holds(lake)
        done = release(lake, held.hold_id, "the second bar is in hundredths", without_failed=True)
        assert (done.outcome, done.rows, done.quarantined) == ("released", 1, 1)
        assert answer(lake, BARS).table.to_pylist() == MADE
        assert answer(lake, BARS, as_of=then).table.to_pylist() == []
        (fact,) = answer(lake, ONE).table.to_pylist()
        told = explain(lake, ":".join(str(value) for value in fact.values()))
        assert told.message is not None and told.message["is_sha256_proved"] is True
        assert not (settings.home / "warehouse").exists(), "no table is kept on this machine"
