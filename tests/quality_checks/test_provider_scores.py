"""What counts against a provider: rows that a rule refused, and increments that the gate did not pass."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from lake.catalog import Lake
from lake.conditions import Where
from lake.instants import system_clock
from lake.settings import load_settings
from lake.tables import rows, table_named
from quality_checks.provider_scores import provider_scores
from quality_checks.records import record, record_quarantine

NOW, BEFORE = datetime(2026, 11, 21, tzinfo=UTC), datetime(2026, 11, 1, tzinfo=UTC)


def test_the_share_of_rows_kept(tmp_path: Path) -> None:
    judged = [
        ("yahoo", "passed", 90, NOW),
        ("yahoo", "failed", 5, NOW),
        ("alpaca", "passed", 10, NOW),
        ("old", "failed", 9, BEFORE),
    ]
    runs = {
        "run_id": [f"run-{number}" for number in range(4)],
        "table_name": ["normalized.bars"] * 4,
        "provider": [one[0] for one in judged],
        "verdict": [one[1] for one in judged],
        "checks_expected": [1] * 4,
        "checks_evaluated": [1] * 4,
        "failed_checks": [None] * 4,
        "row_count": [one[2] for one in judged],
        "snapshot_id": [None] * 4,
        "detail": [None] * 4,
        "recorded_at": [one[3] for one in judged],
    }
    refused = {
        "event_id": [f"c:{number}:0" for number in range(5)],
        "table_name": ["normalized.bars"] * 5,
        "provider": ["yahoo"] * 5,
        "feed": ["chart"] * 5,
        "rule": ["positive"] * 5,
        "value": ["-1"] * 5,
        "expected": ["> 0"] * 5,
        "capture_id": ["c"] * 5,
        "message_seq": list(range(5)),
        "ordinal": [0] * 5,
        "recorded_at": [NOW] * 5,
        "run_id": ["run-0"] * 5,
    }
    with Lake.create(load_settings(home=tmp_path / "home"), system_clock) as lake:
        assert provider_scores(lake, BEFORE) == {}
        look = Where("provider", "in", ["yahoo", "alpaca", "old"])
        record(lake, "quality.gate_runs", rows(table_named("quality.gate_runs"), runs), "test", ("run_id",), look)
        record_quarantine(lake, rows(table_named("quality.quarantine"), refused), "test-2")
        assert provider_scores(lake, datetime(2026, 11, 20, tzinfo=UTC)) == {"yahoo": pytest.approx(0.9), "alpaca": 1.0}
        assert provider_scores(lake, BEFORE)["old"] == 0.0
