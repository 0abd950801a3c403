"""The verb maintain: a plan, the work, its report."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lake.catalog import Lake
from lake.instants import system_clock
from lake.scan import read
from lake.settings import load_settings
from serving.cli.app import run
from tests.lake.maintenance.answers import TRADES, published


def test_maintain_says_what_is_due_does_it_and_reports(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TICKHOUSE_COMPACT_QUIET_S", "0")
    monkeypatch.setenv("TICKHOUSE_KEEP_SNAPSHOTS", "1")
    monkeypatch.setenv("TICKHOUSE_SWEEP_AFTER_S", "0")
    home = ["--home", str(tmp_path / "home")]
    with Lake.create(load_settings(home=tmp_path / "home"), system_clock) as lake:
        published(lake, 3)
    assert run(["maintain", TRADES, "--plan", "--json", *home]) == 0
    (planned,) = json.loads(capsys.readouterr().out)["tables"]
    assert [line.split(" ")[0] for line in planned["planned"]] == ["compact", "compact", "expire:"]
    assert run(["maintain", TRADES, "--json", *home]) == 0
    told = json.loads(capsys.readouterr().out)
    (done,) = told["tables"]
    assert (done["before"]["files"], done["after"]["files"], done["after"]["rows"]) == (6, 2, 30)
    assert done["swept"]["deleted_files"] > 6 and done["swept"]["foreign"] == []
    assert told["freed_bytes"] > told["saved_bytes"] > 0 and told["price_gb_month"] == 0.023
    assert run(["maintain", TRADES, *home]) == 0
    assert TRADES in capsys.readouterr().out
    assert run(["maintain", TRADES, "--only", "polish", *home]) == 2
    assert "expected some of retain, compact" in capsys.readouterr().err
    with Lake.open(load_settings(home=tmp_path / "home"), system_clock) as lake:
        assert read(lake, TRADES).num_rows == 30
