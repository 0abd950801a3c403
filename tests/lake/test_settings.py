from __future__ import annotations

from pathlib import Path

import pytest

from lake.errors import SettingsError
from lake.settings import load_settings
from lake.steps import BOUNDARIES, MAINTENANCE, KillAt, Steps, steps_of


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
