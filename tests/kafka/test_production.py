"""`make up KAFKA=… CATALOG=… WAREHOUSE=…`: the whole system on a real Kafka and a real PostgreSQL."""

from __future__ import annotations

import json
import os
import queue
import shlex
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from ingest.landing import unlanded
from lake.catalog import Lake
from lake.instants import system_clock
from lake.log.kafka import KafkaLog
from lake.scan import read
from lake.settings import Settings, load_settings
from quality_checks.verify import verify
from serving.operate.planning import Plan, playing
from serving.operate.status import row_counts
from tests.postgres import PASSWORD, Server

PATIENCE_S = 180
"""For the next line: on a busy machine the parts take a minute to start."""


def environment_of_make(root: Path, **given: str) -> dict[str, str]:
    """Return the variables that `make up` sets for the operator's words."""
    words = [f"{name}={value}" for name, value in given.items()]
    told = subprocess.run(["make", "-n", "up", *words], cwd=root, capture_output=True, text=True, check=True).stdout
    (line,) = [line for line in told.splitlines() if line.endswith("/tickhouse up")]
    return dict(word.split("=", 1) for word in shlex.split(line)[:-2])


class Events:
    """What `tickhouse up --json` tells, as it comes."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self._lines: queue.Queue[str] = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self.said: list[str] = []

    def _read(self) -> None:
        assert self._process.stderr is not None
        for line in self._process.stderr:
            self._lines.put(line)
        self._lines.put("")

    def until(self, holds: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """Return the next event that `holds`."""
        while line := self._lines.get(timeout=PATIENCE_S):
            self.said.append(line)
            event = json.loads(line) if line.startswith("{") else {}
            if holds(event):
                return dict(event)
        raise AssertionError("it ended: " + "".join(self.said[-20:]))

    def stop(self) -> int:
        """Ask it to stop, as Ctrl-C does; return how it ended."""
        self._process.send_signal(signal.SIGINT)
        code = self._process.wait(PATIENCE_S)
        self._reader.join(PATIENCE_S)
        return code


@contextmanager
def up(root: Path, variables: dict[str, str]) -> Iterator[Events]:
    command = [sys.executable, "-W", "ignore", "-m", "serving.cli.main", "up", "--port", "0", "--json", "--no-notebooks"]
    with subprocess.Popen(
        [*command, "--excerpt", "40"],
        cwd=root,
        env={**os.environ, **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            yield Events(process)
        finally:
            process.kill()


@pytest.fixture
def operated(root: Path, kafka_broker: str, postgres: Server, tmp_path: Path) -> tuple[dict[str, str], Settings]:
    """What `make up` sets for a broker, a database and a folder, and the settings that it makes."""
    kafka, catalog = f"kafka://{kafka_broker}/{tmp_path.name[:40]}", postgres.database("production")
    variables = environment_of_make(root, KAFKA=kafka, CATALOG=catalog, WAREHOUSE=str(tmp_path / "tables"))
    settings = load_settings(home=tmp_path / "home", catalog_url=catalog, log_url=kafka, warehouse=tmp_path / "tables")
    assert variables == {
        "TICKHOUSE_LOG_URL": settings.log_url,
        "TICKHOUSE_CATALOG_URL": settings.catalog_url,
        "TICKHOUSE_WAREHOUSE": str(settings.warehouse),
    }
    return {**variables, "TICKHOUSE_HOME": str(tmp_path / "home")}, settings


def promoted(event: dict[str, Any]) -> bool:
    tables = event.get("tables", {}) if event.get("event") == "rows" else {}
    return bool(tables.get("normalized.trades") and tables.get("normalized.bars"))


def is_idle(event: dict[str, Any]) -> bool:
    return event.get("event") == "turn" and event["landed"] == event["published"] == 0


def test_up_on_kafka_and_postgresql_stops_and_goes_on(
    operated: tuple[dict[str, str], Settings], root: Path, tmp_path: Path
) -> None:
    variables, settings = operated
    with up(root, variables) as events:
        events.until(promoted)
        assert events.stop() == 0
    with up(root, variables) as events:
        waited_for = {child.name for child in playing(settings, Plan("", 0), {})} - {"gaps"}
        while waited_for:
            waited_for.discard(events.until(lambda event: event.get("event") == "done")["part"])
        for _ in range(2):  # the first turn may have begun before the last capture was done
            events.until(is_idle)
        assert any("captured before" in line for line in events.said)
        command = [sys.executable, "-W", "ignore", "-m", "serving.cli.main", "doctor", "--json"]
        doctor = subprocess.run(command, cwd=root, env={**os.environ, **variables}, capture_output=True, text=True, check=True)
        assert events.stop() == 0
    assert "postgresql://tickhouse:…@127.0.0.1" in doctor.stdout and settings.log_url in doctor.stdout
    assert PASSWORD not in doctor.stdout and "%2F" not in "".join([doctor.stdout, *events.said])

    with Lake.open(settings, system_clock) as lake, KafkaLog(settings.log_url, system_clock) as log:
        rows = read(lake, "raw.messages", ["capture_id", "message_seq"]).to_pylist()
        assert len(rows) == len({(row["capture_id"], row["message_seq"]) for row in rows}) > 40
        assert set(unlanded(lake, log).values()) == {0}
        report = verify(lake, log)
        assert report.is_ok, report.failed
        assert row_counts(lake)["raw.messages"] == len(rows)
        trades = read(lake, "normalized.trades", ["capture_id", "message_seq", "ordinal"])
    assert trades.num_rows == trades.group_by(trades.column_names).aggregate([]).num_rows > 0
    assert not (tmp_path / "home" / "catalog.db").exists() and not (tmp_path / "home" / "state.db").exists()
    assert not (tmp_path / "home" / "log").exists(), "nothing of the embedded profile was made"
