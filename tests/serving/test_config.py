"""The configuration as users meet it: verbs and HTTP, one file below them, nobody's change lost, no key taken."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from ingest.configuration_text import merged
from lake.catalog import Lake
from lake.instants import system_clock
from lake.settings import load_settings
from serving.cli.app import run
from serving.keys import add_key
from serving.operate.configured import open_configured
from tests.serving.market_lake import served

CONFIG = "/api/v1/config"
Captured = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lake]:
    with Lake.create(load_settings(home=tmp_path_factory.mktemp("config") / "home"), system_clock) as made:
        yield made


@pytest.fixture(scope="module")
def client(lake: Lake) -> Iterator[httpx.Client]:
    with served(lake) as opened:
        yield opened


def verb(captured: Captured, lake: Lake, *words: str) -> tuple[int, dict[str, object]]:
    """Run `tickhouse config WORDS --json`; return exit code and the document."""
    code = run(["config", *words, "--home", str(lake.settings.home), "--json"])
    told = captured.readouterr()
    return code, json.loads(told.out or told.err)


def test_the_verbs_write_show_check_change_and_remember(lake: Lake, capsys: Captured, tmp_path: Path) -> None:
    assert verb(capsys, lake, "init")[1]["created"] is True
    assert verb(capsys, lake, "init")[1]["created"] is False
    assert verb(capsys, lake, "check") == (
        0,
        {"file": str(lake.settings.config), "is_right": True, "providers": 0, "universes": 0, "schedules": 0},
    )
    code, made = verb(capsys, lake, "set", "providers.alpaca.priority=7", 'universes.tech.symbols=["AAPL"]', "--reason", "try")
    assert code == 0 and made["configuration"]["providers"]["alpaca"]["priority"] == 7
    assert verb(capsys, lake, "set", "universes.tech", "--reason", "not yet")[1]["configuration"]["universes"] == {}
    code, refused = verb(capsys, lake, "set", "providers.alpaca.prio=7", "thresholds.stale_after_s=never", "--reason", "x")
    assert code == 2 and {each["where"] for each in refused["mistakes"]} == {"providers.alpaca.prio", "thresholds.stale_after_s"}
    assert verb(capsys, lake, "set", "no equals or key", "--reason", "x")[0] == 2
    wrong = tmp_path / "wrong.toml"
    wrong.write_text("[universes.a]\nsymbols = 3\n[thresholds]\nnothing = 1\n")
    code, told = verb(capsys, lake, "check", str(wrong))
    assert code == 2 and [each["line"] for each in told["mistakes"]] == [2, 4]
    assert verb(capsys, lake, "check", str(tmp_path / "none.toml"))[0] == 3
    versions = verb(capsys, lake, "history")[1]["versions"]
    assert [each["version"] for each in versions] == [3, 2, 1]
    assert {"where": "providers.alpaca.priority", "before": None, "after": 7} in versions[1]["changes"]
    assert "# --- schedules" in verb(capsys, lake, "show", "--text")[1]["text"]


def test_a_key_in_the_environment_must_not_stand_in_the_file(
    lake: Lake, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FINNHUB_API_KEY", "kept-secret-for-this-test")
    code, refused = verb(capsys, lake, "set", "providers.finnhub.plan=kept-secret-for-this-test", "--reason", "x")
    assert code == 2 and "holds a key itself" in refused["detail"]
    assert "kept-secret" not in json.dumps(refused)


def test_a_change_over_http_needs_the_version_it_was_made_upon(lake: Lake, client: httpx.Client) -> None:
    told = client.get(CONFIG)
    etag = told.headers["etag"]
    assert told.json()["etag"] == etag.strip('"')
    text = client.get(CONFIG, headers={"Accept": "application/toml"}).text
    patch = {"thresholds": {"stale_after_s": 5}}
    assert client.patch(CONFIG, json=patch).status_code == 428
    made = client.patch(CONFIG, json=patch, headers={"If-Match": etag, "Tickhouse-Reason": "faster"})
    assert made.status_code == 200 and made.json()["configuration"]["thresholds"]["stale_after_s"] == 5
    assert lake.settings.config.read_text() == merged(text, patch)
    late = client.put(CONFIG, content=text, headers={"If-Match": etag, "Content-Type": "application/toml"})
    assert late.status_code == 412 and late.headers["content-type"] == "application/problem+json"
    again = {"If-Match": made.headers["etag"]}
    wrong = client.put(CONFIG, json={"universes": {"u": {"symbols": []}}, "x": 1}, headers=again)
    assert wrong.status_code == 422 and {each["where"] for each in wrong.json()["mistakes"]} == {"universes.u.symbols", "x"}
    for body in (b"{", b"[]", b"1" * 10):
        assert client.patch(CONFIG, content=body, headers=again).status_code == 422
    assert client.put(CONFIG, content=text, headers={**again, "Content-Type": "application/toml"}).status_code == 200
    assert client.get(CONFIG, headers={"Accept": "application/toml"}).text == text
    newest = client.get(f"{CONFIG}/history").json()
    assert [each["reason"] for each in newest[:2]] == [f"PUT {CONFIG}", "faster"]
    assert open_configured(lake).now().text == text


def test_only_a_key_with_the_scope_admin_changes_it(tmp_path: Path) -> None:
    with Lake.create(load_settings(home=tmp_path / "home"), system_clock) as keyed:
        reader, admin = (add_key(keyed, scope, ["read", scope], "test")[1] for scope in ("operate", "admin"))
        with served(keyed) as client:
            etag = client.get(CONFIG, headers={"X-Api-Key": reader}).headers["etag"]
            bodies = {"json": {"thresholds": {"breaker_failures": 3}}}
            refused = client.patch(CONFIG, headers={"X-Api-Key": reader, "If-Match": etag}, **bodies)
            made = client.patch(CONFIG, headers={"X-Api-Key": admin, "If-Match": etag}, **bodies)
        assert (refused.status_code, made.status_code) == (403, 200)
        assert "(admin)" in str(keyed.state.audit_log()[-1]["who"])
