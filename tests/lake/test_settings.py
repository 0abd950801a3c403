from __future__ import annotations

from pathlib import Path

import pytest

from lake.backup.stores import open_store
from lake.errors import SettingsError
from lake.profiles import profile_of
from lake.settings import load_settings, without_password
from lake.steps import BOUNDARIES, MAINTENANCE, KillAt, Steps, steps_of
from serving.operate.doctor import settings_in_force
from serving.operate.passing import environment


def test_places_default_to_the_home(tmp_path: Path) -> None:
    settings = load_settings(home=tmp_path)
    assert settings.warehouse == tmp_path / "warehouse"
    assert settings.log_path == tmp_path / "log"
    assert settings.state_url == f"sqlite:///{tmp_path / 'state.db'}"


def test_the_environment_is_read_and_overrides_win(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TICKHOUSE_HOME", str(tmp_path / "a"))
    monkeypatch.setenv("TICKHOUSE_PROVIDER_PRIORITY", '["yahoo"]')
    assert load_settings().home == tmp_path / "a"
    assert load_settings(home=tmp_path / "b").home == tmp_path / "b"
    assert load_settings().provider_priority == ("yahoo",)


@pytest.mark.parametrize(
    ("overrides", "named"),
    [({"api_port": "x"}, "TICKHOUSE_API_PORT"), ({"no_such": 1}, "TICKHOUSE_NO_SUCH"), ({"warehouse": "/tmp/a#b"}, "warehouse")],
)
def test_a_wrong_setting_is_named(overrides: dict[str, object], named: str) -> None:
    with pytest.raises(SettingsError, match=named):
        load_settings(**overrides)


def test_unreadable_json_in_the_environment_is_a_settings_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TICKHOUSE_PROVIDER_PRIORITY", "yahoo")
    with pytest.raises(SettingsError, match="provider_priority"):
        load_settings()


def test_the_configuration_hash_is_moved_by_choices_not_by_places(tmp_path: Path) -> None:
    one = load_settings(home=tmp_path / "a", api_port=1)
    assert one.configuration_hash() == load_settings(home=tmp_path / "b", api_port=2).configuration_hash()
    assert one.configuration_hash() != load_settings(home=tmp_path / "a", provider_priority=("x",)).configuration_hash()


PRODUCTION = {
    "catalog_url": "postgresql://ann:p%40ss@db:5432/lake?sslmode=verify-full",
    "warehouse": "s3://bucket/ticks/",
    "log_url": "kafka://bob:p4ss@k:9092",
    "s3_access_key_id": "key",
    "s3_secret_access_key": "hidden",
    "catalog_token": "hidden",
    "backup_to": "s3://key:hidden@bucket/backups?region=us-east-1",
}


def test_state_is_in_the_catalogs_own_database_and_a_warehouse_may_be_a_bucket(tmp_path: Path) -> None:
    settings = load_settings(home=tmp_path, **PRODUCTION)
    assert settings.state_url == settings.catalog_url
    assert settings.warehouse == "s3://bucket/ticks"
    assert load_settings(home=tmp_path, catalog_url="rest+http://h/x").state_url == f"sqlite:///{tmp_path / 'state.db'}"
    assert profile_of(settings).name == "production"
    assert profile_of(load_settings(home=tmp_path)).name == "embedded"
    assert profile_of(load_settings(home=tmp_path, warehouse="s3://b")).name == "mixed"
    for wrong in ("s3://", "s3://user@bucket/x", "gs://bucket/x", "s3://bucket/a#b"):
        with pytest.raises(SettingsError, match="warehouse"):
            load_settings(home=tmp_path, warehouse=wrong)


def test_no_secret_is_shown_or_hashed(tmp_path: Path) -> None:
    settings = load_settings(home=tmp_path, **PRODUCTION)
    shown = (
        f"{settings!r} {settings.model_dump(mode='json', exclude={'catalog_url', 'state_url', 'log_url', 'backup_to'})}"
        f" {profile_of(settings)} {open_store(settings.backup_to).address}"
    )
    shown += str(settings_in_force(settings, home_given=True))
    assert "hidden" not in shown and "p%40ss" not in shown and "p4ss" not in shown
    assert "postgresql://ann:…@db:5432/lake?sslmode=verify-full" in shown and "s3://key:…@bucket/backups" in shown
    assert settings.configuration_hash() == load_settings(home=tmp_path).configuration_hash()
    assert environment(settings)["TICKHOUSE_S3_SECRET_ACCESS_KEY"] == "hidden", "another process of ours is told"
    with pytest.raises(SettingsError) as refused:
        load_settings(home=tmp_path, s3_secret_access_key=["hidden"], catalog_url=3)
    assert "TICKHOUSE_S3_SECRET_ACCESS_KEY" in str(refused.value) and "hidden" not in str(refused.value)
    assert without_password("postgresql://h/d?user=a&password=b") == "postgresql://h/d?user=a&password=…"


def test_step_boundaries_are_named() -> None:
    assert type(steps_of("")) is Steps
    killer = steps_of("publish.staged:3")
    assert isinstance(killer, KillAt)
    assert (killer.name, killer.count) == ("publish.staged", 3)
    for boundary in (*BOUNDARIES, *MAINTENANCE):
        assert isinstance(steps_of(boundary), KillAt)
    for wrong in ("publish", "publish.staged:0", "publish.staged:x"):
        with pytest.raises(SettingsError):
            steps_of(wrong)
