"""Keys: made and shown once, kept as hashes, scoped, revoked; without one nothing but health answers."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from lake.catalog import Lake
from lake.errors import InvalidValueError, NotFoundError
from lake.instants import NANOS_PER_SECOND, system_clock
from lake.settings import load_settings
from serving.cli.app import make_app
from serving.keys import Keyring, Scope, add_key, list_keys, revoke_key
from serving.web.access import Policy, key_text, needed_scope
from tests.serving.market_lake import served

AGAIN = "/api/v1/quality"
SELECT = {"query": "SELECT 1 AS one"}


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lake]:
    with Lake.create(load_settings(home=tmp_path_factory.mktemp("keys") / "home"), system_clock) as lake:
        yield lake


def bearer(text: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {text}"}


def test_the_first_key_closes_the_door_to_everybody_else(empty: Lake) -> None:
    with served(empty) as client:
        assert client.get(AGAIN).status_code == 200
        assert "tables" in client.get("/api/v1/health").json()
    _, text = add_key(empty, "ann", ["read", "sql"], "test")
    with served(empty) as client:
        for path in (AGAIN, "/api/v1/openapi.json", "/api/v1/nothing", "/iceberg/v1/config", "/graphql"):
            refused = client.get(path)
            assert refused.status_code == 401, path
            assert refused.headers["www-authenticate"].startswith("Bearer")
        assert client.post("/api/v1/sql", json=SELECT).status_code == 401
        assert client.get(AGAIN).headers["content-type"] == "application/problem+json"
        assert client.get("/iceberg/v1/config").json()["error"]["type"] == "NotAuthorizedException"
        for path in ("/health", "/api/v1/health"):
            assert set(client.get(path).json()) == {"status", "version"}
        assert "tables" in client.get("/api/v1/health", headers=bearer(text)).json()
        basic = base64.b64encode(f"anybody:{text}".encode()).decode()
        for headers in (bearer(text), {"X-Api-Key": text}, {"Authorization": f"Basic {basic}"}):
            assert client.get(AGAIN, headers=headers).status_code == 200
        for wrong in (text[:-1], text + "0", text.upper(), "é"):
            assert client.get(AGAIN, headers=[(b"Authorization", b"Bearer " + wrong.encode())]).status_code == 401, wrong


def test_a_key_opens_what_its_scopes_say(empty: Lake) -> None:
    keys = {scope: add_key(empty, f"only {scope}", [scope], "test")[1] for scope in Scope}
    with served(empty) as client:
        statuses = {
            scope: (
                client.get(AGAIN, headers=bearer(text)).status_code,
                client.post("/api/v1/sql", json=SELECT, headers=bearer(text)).status_code,
                client.post("/api/v1/integration/process", json={}, headers=bearer(text)).status_code == 403,
                client.get("/iceberg/v1/namespaces", headers=bearer(text)).status_code,
            )
            for scope, text in keys.items()
        }
    assert statuses == {
        Scope.READ: (200, 403, True, 200),
        Scope.SQL: (403, 200, True, 403),
        Scope.OPERATE: (403, 403, False, 403),
        Scope.ADMIN: (403, 403, True, 403),
    }


def test_a_revoked_key_is_worth_nothing_and_the_last_one_does_not_open_the_door(tmp_path: Path) -> None:
    now = [system_clock()]
    with Lake.create(load_settings(home=tmp_path / "home"), lambda: now[0]) as lake:
        ring = Keyring(lake)
        assert not Policy().needs_key(ring)
        now[0] += NANOS_PER_SECOND
        key, text = add_key(lake, "bob", ["read"], "carl")
        assert ring.find(text) == key
        revoke_key(lake, key.key_id, "carl", "left us")
        now[0] += NANOS_PER_SECOND
        assert ring.find(text) is None
        assert Policy().needs_key(ring)
        assert revoke_key(lake, key.key_id, "carl", "again") == list_keys(lake)[0]
        acts = [(row["who"], row["what"], row["reason"]) for row in lake.state.audit_log()]
    assert acts == [("carl", "keys.add", "bob"), ("carl", "keys.revoke", "left us")]
    stored = b"".join(path.read_bytes() for path in (tmp_path / "home").glob("state.db*"))
    assert key.digest.encode() in stored
    assert text.rpartition("_")[2].encode() not in stored


def test_when_a_key_is_needed(empty: Lake) -> None:
    ring = Keyring(empty)
    assert Policy("keys", True).needs_key(ring)
    assert not Policy("none", False).needs_key(ring)
    assert Policy("auto", False).needs_key(ring)


def test_a_foreign_page_does_not_get_in_through_the_users_browser(lake: Lake) -> None:
    with served(lake) as client:
        assert client.get(AGAIN, headers={"Host": "evil.example"}).status_code == 403
        assert client.get(AGAIN, headers={"Host": f"localhost:{client.base_url.port}"}).status_code == 200
        plain = client.post("/api/v1/sql", content=b'{"query":"SELECT 1"}', headers={"Content-Type": "text/plain"})
        assert plain.status_code == 422


@pytest.mark.parametrize(
    ("name", "scopes"), [("", ["read"]), ("a\n", ["read"]), ("a" * 101, ["read"]), ("a", []), ("a", ["root"])]
)
def test_a_key_needs_a_name_and_scopes(empty: Lake, name: str, scopes: list[str]) -> None:
    with pytest.raises(InvalidValueError):
        add_key(empty, name, scopes, "test")
    with pytest.raises(NotFoundError):
        revoke_key(empty, "nope", "test", "why")


@given(st.text(max_size=60))
def test_no_header_breaks_the_gate(text: str) -> None:
    assert key_text({"authorization": text}) != ""
    assert needed_scope("DELETE", text) in Scope


def test_the_verbs_show_a_key_once(empty: Lake) -> None:
    home = ["--home", str(empty.settings.home)]
    runner = CliRunner()
    made = runner.invoke(make_app(), ["keys", "add", "dora", "--scope", "read", *home])
    assert made.exit_code == 0, made.output
    text = made.stdout.strip()
    assert text.startswith("th_")
    listed = runner.invoke(make_app(), ["keys", "list", "--json", *home])
    assert "dora" in listed.stdout
    assert text not in listed.stdout
    key_id = text.split("_")[1]
    revoked = runner.invoke(make_app(), ["keys", "revoke", key_id, "--reason", "done", *home])
    assert revoked.exit_code == 0, revoked.output
    assert Keyring(empty).find(text) is None


def test_a_client_that_sends_nothing_is_told_how(empty: Lake) -> None:
    with served(empty) as client:
        assert "tickhouse keys add" in client.get(AGAIN).json()["detail"]
        assert isinstance(client, httpx.Client)
