"""The verb that fetches files: a range of Databento, a day of IEX, and what a range would cost."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from serving.cli.app import run


def test_files_are_fetched_and_imported_once(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    home = ["--home", str(tmp_path / "home")]
    assert run(["init", *home]) == 0
    window = ["--start", "2024-01-03", "--end", "2024-01-04"]
    databento = ["fetch", "databento", "XNAS.ITCH", "-s", "NVDA", *window, *home, "--json"]

    def told(words: list[str]) -> dict[str, object]:
        capfd.readouterr()
        assert run(words) == 0
        return json.loads(capfd.readouterr().out)  # type: ignore[no-any-return]

    def statuses(words: list[str]) -> list[str]:
        return [file["status"] for file in told(words)["files"]]  # type: ignore[attr-defined]

    assert told([*databento, "--cost"]) == {"verdict": "OK", "detail": "0.000173 USD", "files": []}
    assert [statuses(databento), statuses(databento)] == [["imported"], ["already"]]
    assert statuses(["fetch", "iex", "tops", "--start", "2018-01-27", *home, "--json"]) == ["imported"]
    assert told(["fetch", "iex", "deep", "--start", "2018-01-28", *home, "--json"])["verdict"] == "EMPTY_VALID"
    days = ["--start", "2020-12-28", "--end", "2020-12-29"]
    asked = ["fetch", "databento", "XNAS.ITCH", "-s", "NVDA", "--symbology", *days, *home, "--json"]
    assert told(asked) == {"verdict": "OK", "detail": "1 mappings", "files": []}
    assert sorted(path.suffix for path in (tmp_path / "home" / "downloads").iterdir()) == [".gz", ".zst"]
    assert run(["fetch", "iex", "tops", "--symbology", *days, *home]) == 3
    assert run(["fetch", "nasdaq", "itch", *window, *home]) == 3
    assert run(["fetch", "databento", "XNAS.ITCH", "-s", "ZZZZ", *window, *home]) == 5
    assert run(["fetch", "databento", "XNAS.ITCH", "-s", "NVDA", "--start", "2024-01-03", *home]) == 2
