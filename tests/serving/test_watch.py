"""The verb that watches a folder."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from serving.cli.app import run


def test_what_is_in_a_folder_is_imported_once(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    home, folder, mapping = tmp_path / "home", tmp_path / "in", tmp_path / "bars.toml"
    folder.mkdir()
    (folder / "a.csv").write_text("t,o\n1000,1.5\n")
    columns = 'time = "t"\nopen = "o"\nhigh = "o"\nlow = "o"\nclose = "o"\n'
    mapping.write_text(f'kind = "bars"\nsymbol = "X"\ntime_format = "epoch_s"\n[columns]\n{columns}')
    assert run(["init", "--home", str(home)]) == 0
    words = ["watch", "csv", "bars", str(folder), "--home", str(home), "--mapping", str(mapping), "--settle", "0.1", "--once"]
    capfd.readouterr()
    assert run([*words, "--json"]) == 0
    (told,) = json.loads(capfd.readouterr().out)["files"]
    assert (Path(told["path"]).name, told["status"], told["messages"]) == ("a.csv", "imported", 1)
    assert run([*words, "--json"]) == 0
    assert json.loads(capfd.readouterr().out) == {"files": []}
    assert run(["watch", "csv", "bars", str(tmp_path / "nowhere"), "--home", str(home)]) == 3
