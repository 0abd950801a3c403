"""Alerts and health as people and programs ask for them: by verb, over HTTP, by a command that is told."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from ingest.breaker import Breakers
from ingest.health import Health
from ingest.landing import land
from ingest.verdicts import Verdict
from lake.catalog import Lake
from lake.errors import InvalidValueError, ProviderUnavailableError
from lake.instants import system_clock
from lake.log.segments import SegmentLog
from lake.settings import load_settings
from quality_checks.alerts import Alerts, Severity
from serving.alerting import tell_by
from serving.cli.app import run
from serving.topics.publisher import publish
from tests.ingest.standing_state import call
from tests.serving.market_lake import served

Captured = pytest.CaptureFixture[str]
HEALTH = "market.system_health.v1"
KEEPING = "import sys, pathlib; pathlib.Path(sys.argv[1]).open('ab').write(sys.stdin.buffer.read() + b'\\n')"


@dataclass
class Broken:
    """A lake of which one provider failed five times in a row."""

    lake: Lake
    home: Path


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broken]:
    home = tmp_path_factory.mktemp("alerting") / "home"
    settings = load_settings(home=home)
    with Lake.create(settings, system_clock) as lake, SegmentLog(settings.log_path, system_clock, min_free_bytes=1) as log:
        breakers = Breakers(lake.state, lake.clock, told=Health(lake.state, lake.clock, log))
        for _ in range(5):
            breakers.answered("yahoo", "chart", call(Verdict.UPSTREAM_5XX, detail="HTTP 502"), "me")
        land(lake, log)
        yield Broken(lake, home)


@pytest.fixture(scope="module")
def client(broken: Broken) -> Iterator[httpx.Client]:
    with served(broken.lake) as opened:
        yield opened


def answer(client: httpx.Client, path: str, **params: object) -> dict[str, object]:
    response = client.get(f"/api/v1/{path}", params=params)
    assert response.status_code == 200, response.text
    return dict(response.json())


def verb(broken: Broken, capsys: Captured, *words: str) -> dict[str, object]:
    assert run(["alerts", "--home", str(broken.home), "--json", *words]) == 0
    return dict(json.loads(capsys.readouterr().out))


def test_http_tells_alerts_health_and_its_events(client: httpx.Client) -> None:
    found = answer(client, "alerts")
    alerts = found["alerts"]
    assert isinstance(alerts, list)
    assert {(one["name"], one["severity"]) for one in alerts} == {
        ("breaker_open/yahoo/chart", "warning"),
        ("provider_down/yahoo", "error"),
    }
    health = answer(client, "health")
    assert health["providers"]["yahoo"]["standing"] == "down"  # type: ignore[index]
    assert len(health["alerts"]) == 2  # type: ignore[arg-type]
    columns = answer(client, "health/events")["columns"]
    assert sorted(columns["kind"]) == ["breaker_opened", "provider_down"]  # type: ignore[index]
    opened = answer(client, "health/events", kind="breaker_opened", provider="yahoo")["columns"]
    assert opened["detail"] == ["UPSTREAM_5XX: HTTP 502"]  # type: ignore[index]
    assert answer(client, "health/events", provider="nobody")["row_count"] == 0
    assert client.get("/api/v1/health/events", params={"kind": "gossip"}).status_code == 422


def test_the_topic_of_health_tells_each_event_once(broken: Broken, tmp_path: Path) -> None:
    with SegmentLog(tmp_path / "topics", system_clock, min_free_bytes=0) as log:
        assert [publish(broken.lake, log, "t", [HEALTH])[0].rows for _ in range(2)] == [2, 0]
        found = [json.loads(block.payload) for _, block in log.read(HEALTH, 0, 0, 1 << 20, 0.0).blocks]
    assert {(one["event_type"], one["health_data"]["kind"]) for one in found} == {
        ("SystemHealth", "breaker_opened"),
        ("SystemHealth", "provider_down"),
    }
    assert {one["status"] for one in found} == {"confirmed"}


def test_a_command_is_told_each_alert_once(broken: Broken, tmp_path: Path) -> None:
    alerts, heard = Alerts(broken.lake.state, broken.lake.clock), tmp_path / "heard"
    for command in ("", "no-such-command-anywhere", "'"):
        with pytest.raises(InvalidValueError):
            tell_by(command, alerts)
    with pytest.raises(ProviderUnavailableError, match="ended with 3"):
        tell_by(f'{sys.executable} -c "raise SystemExit(3)"', alerts)
    keep = f'{sys.executable} -c "{KEEPING}" {heard}'
    assert (tell_by(keep, alerts), tell_by(keep, alerts)) == (2, 0)
    told = [json.loads(line) for line in heard.read_bytes().splitlines()]
    assert {one["name"] for one in told} == {"breaker_open/yahoo/chart", "provider_down/yahoo"}


def test_the_verb_lists_acknowledges_and_silences_with_a_reason(broken: Broken, capsys: Captured) -> None:
    assert verb(broken, capsys)["open_count"] == 2
    assert run(["alerts", "--home", str(broken.home), "--acknowledge", "provider_down/yahoo"]) == 2
    capsys.readouterr()
    found = verb(
        broken, capsys, "--acknowledge", "provider_down/yahoo", "--silence", "breaker_open/*", "--for", "60", "--reason", "theirs"
    )
    shown = {one["name"]: (one["status"], one["is_silenced"]) for one in found["alerts"]}  # type: ignore[attr-defined]
    assert shown == {"provider_down/yahoo": ("acknowledged", False), "breaker_open/yahoo/chart": ("raised", True)}
    assert run(["alerts", "--home", str(broken.home)]) == 0
    assert "breaker_open/yahoo/chart" in capsys.readouterr().out
    assert run(["alerts", "--home", str(broken.home), "--acknowledge", "nothing/here", "--reason", "x"]) == 3
    assert "tickhouse alerts" in capsys.readouterr().err


def test_the_part_of_up_tells_what_is_raised(broken: Broken, root: Path, tmp_path: Path) -> None:
    Alerts(broken.lake.state, broken.lake.clock).raise_alert("configuration_refused", "file", Severity.WARNING, "line 3")
    heard = tmp_path / "heard"
    settings = {"TICKHOUSE_HOME": str(broken.home), "TICKHOUSE_ALERT_COMMAND": f'{sys.executable} -c "{KEEPING}" {heard}'}
    words = [sys.executable, "-W", "ignore", "-m", "serving.operate.parts", "alerts"]
    with subprocess.Popen(
        words, cwd=root, env={**os.environ, **settings}, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as part:
        assert part.stdout is not None
        events = [json.loads(line) for _, line in zip(range(2), part.stdout, strict=False)]
        part.communicate(timeout=60)  # closes its stdin, at which it stops
    assert [one["event"] for one in events] == ["waiting", "alerts"]
    assert json.loads(heard.read_bytes().splitlines()[-1])["name"] == "configuration_refused/file"
    assert part.returncode == 0
