"""Backups and drills at their intervals, by the process of `up` that makes them; what fails is an alert until it is done."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from lake.backup import replicas
from lake.backup.backing_up import back_up
from lake.backup.documents import listing_of
from lake.backup.stores import LocalStore
from lake.catalog import Lake
from lake.errors import CorruptedError, SettingsError
from lake.instants import system_clock
from lake.settings import load_settings
from quality_checks.alerts import Alerts, Severity
from serving.operate.safekeeping import keep, plan
from tests.lake.backup.making import TRADES, embedded_log, grow, object_path


def told(lake: Lake) -> list[tuple[str, Severity]]:
    """Return the alerts that stand and that nobody was told of yet."""
    return [(one.name, one.severity) for one in Alerts(lake.state, lake.clock).due() if one.is_open]


def part(root: Path, home: Path, store: Path) -> dict[str, object]:
    """Run the process of `up` that keeps the lake safe until it has told one thing; return that."""
    asked = {"TICKHOUSE_HOME": str(home), "TICKHOUSE_BACKUP_TO": str(store), "TICKHOUSE_DRILL_EVERY_S": "0.001"}
    words = [sys.executable, "-W", "ignore", "-m", "serving.operate.parts", "recovery"]
    with subprocess.Popen(
        words, cwd=root, env={**os.environ, **asked}, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as running:
        assert running.stdout is not None
        event = dict(json.loads(running.stdout.readline()))
        running.communicate(timeout=60)  # closes its stdin, at which it stops
    assert running.returncode == 0
    return event


def test_a_drill_that_fails_is_an_alert_until_a_backup_restores_again(tmp_path: Path, root: Path) -> None:
    home, store = tmp_path / "home", LocalStore(tmp_path / "store")
    with Lake.create(load_settings(home=home), system_clock) as lake:
        grow(lake, 0, 9)
        made = back_up(lake, store, embedded_log(lake))
        listing = listing_of(store, made.tables[TRADES])
        damaged = object_path(store, next(digest for path, (digest, _) in listing.items() if path.startswith("data/")))
        kept = damaged.read_bytes()
        damaged.write_bytes(kept[:-1] + b"?")
        event = part(root, home, store.root)
        assert event["event"] == "trouble" and f"{damaged.name} is damaged" in str(event["words"])
        assert told(lake) == [("recovery/drill", Severity.ERROR)]
        damaged.write_bytes(kept)
        assert part(root, home, store.root)["event"] == "drill"
        assert told(lake) == [] and not Alerts(lake.state, lake.clock).is_open("recovery", "drill")


def test_a_backup_that_cannot_be_made_is_an_alert_until_one_is(tmp_path: Path) -> None:
    wanted: dict[str, object] = {"home": tmp_path / "home", "backup_every_s": 60.0}
    with Lake.create(load_settings(**wanted, backup_to="nowhere://bucket"), system_clock) as lake:
        alerts = Alerts(lake.state, lake.clock)
        (due,) = plan(lake, None)
        with pytest.raises(SettingsError, match="nowhere"):
            keep(due, alerts)
        assert due.is_due and told(lake) == [("recovery/backup", Severity.ERROR)]
    with Lake.open(load_settings(**wanted, backup_to=str(tmp_path / "store")), system_clock) as lake:
        alerts = Alerts(lake.state, lake.clock)
        (due,) = plan(lake, None)
        assert due.is_due and keep(due, alerts).startswith("backup ")
        assert told(lake) == [] and not next(plan(lake, None)).is_due


def test_a_primary_that_was_replaced_says_so(tmp_path: Path) -> None:
    """Its next sync meets the promoted replica; the alert is what tells its operator."""
    there = tmp_path / "there"
    with Lake.create(load_settings(home=tmp_path / "home", replica_to=there, replica_every_s=60.0), system_clock) as lake:
        alerts = Alerts(lake.state, lake.clock)
        keep(next(plan(lake, None)), alerts)
        replicas.promote(load_settings(home=there), system_clock)
        with pytest.raises(SettingsError, match="generation 1"):
            keep(next(plan(lake, None)), alerts)
        (stands,) = alerts.listed()
        assert stands.name == "recovery/replica" and "generation 1" in stands.detail


def test_what_a_drill_found_is_what_the_alert_tells(tmp_path: Path) -> None:
    with Lake.create(
        load_settings(home=tmp_path / "home", backup_to=str(tmp_path / "store"), drill_every_s=60.0), system_clock
    ) as lake:
        made = back_up(lake, LocalStore(tmp_path / "store"), embedded_log(lake))
        object_path(LocalStore(tmp_path / "store"), made.state).unlink()
        alerts = Alerts(lake.state, lake.clock)
        with pytest.raises(CorruptedError, match="does not restore"):
            keep(next(plan(lake, None)), alerts)
        (stands,) = alerts.listed()
        assert made.state in stands.detail and stands.severity is Severity.ERROR
