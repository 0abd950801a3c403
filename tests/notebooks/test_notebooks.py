"""Each notebook as a module, as a script and behind its server; its answers are those of HTTP."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from datetime import date
from pathlib import Path

import httpx
import pytest

from lake.catalog import Lake
from lake.settings import load_settings
from notebooks import explorer, tour, views
from serving.formats import Format, columns, encode
from serving.operate.notebooks import NOTEBOOKS, NotebookServer
from serving.operate.passing import environment
from serving.operate.supervisor import WebServer


def test_a_notebook_function_answers_as_http_does(lake: Lake) -> None:
    asked = {"start": "2020-08-27", "end": "2020-09-01", "adjustment": "splits", "known_as_of": "2020-08-31"}
    server = WebServer(lake, "127.0.0.1", 0)
    running = threading.Thread(target=server.run)
    running.start()
    told = httpx.get(f"{server.address}/api/v1/bars/AAPL", params=asked, timeout=30).json()
    server.stop()
    running.join()
    mine = views.bars(lake, "AAPL", "1d", date(2020, 8, 27), date(2020, 9, 1), "splits", "2020-08-31")
    assert columns(mine.table) == told["columns"]
    assert told["columns"]["close"] == ["125.01", "124.8075", "129.04"]
    assert mine.metadata["snapshots"] == told["metadata"]["snapshots"]
    assert b"125.01" in encode(mine.table, Format.JSON)


def test_the_explorer_shows_the_instrument_on_the_basis_chosen(lake: Lake) -> None:
    _, found = explorer.app.run(defs={"settings": lake.settings})
    assert found["instrument"].value == "listing:US/AAPL"
    closes = found["answer"].table["close"].to_pylist()
    assert [f"{close.normalize():f}" for close in closes] == ["125.01", "124.8075", "129.04"]
    assert found["result"].table.num_rows == 3


def test_the_tour_tells_the_split_and_where_every_fact_went(lake: Lake) -> None:
    _, found = tour.app.run(defs={"settings": lake.settings})
    assert found["way"].messages == 2
    assert found["way"].adds_up
    assert str(found["which"].value[1]) == "2020-08-31"
    assert found["adjusted"].num_rows == 3


@pytest.mark.parametrize("app", [tour.app, explorer.app])
def test_without_a_lake_a_notebook_says_what_to_do(app: object, tmp_path: Path) -> None:
    outputs, found = app.run(defs={"settings": load_settings(home=tmp_path / "none")})  # type: ignore[attr-defined]
    assert any("tickhouse demo" in str(getattr(output, "text", "")) for output in outputs)
    assert "way" not in found and "answer" not in found


@pytest.mark.parametrize(("name", "words"), [("tour", "adds_up: True"), ("explorer", "listing:US/AAPL: 3 bars")])
def test_a_notebook_is_a_script(lake: Lake, root: Path, name: str, words: str) -> None:
    told = {**os.environ, **environment(lake.settings), "PYTHONPATH": str(root), "PYTHONWARNINGS": "ignore"}
    done = subprocess.run(
        [sys.executable, str(root / "notebooks" / f"{name}.py")], env=told, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert words in done.stdout


def test_the_server_shows_each_notebook(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in environment(lake.settings).items():
        monkeypatch.setenv(name, value)  # the server sets them; taken back at the end of the test
    server = NotebookServer(lake.settings, 0)
    running = threading.Thread(target=server.run)
    running.start()
    with httpx.Client(base_url=server.address, timeout=30, follow_redirects=True) as client:
        assert client.get("/").url.path == f"/{NOTEBOOKS[0]}/"
        for name in NOTEBOOKS:
            page = client.get(f"/{name}/")
            assert page.status_code == 200
            assert f"tickhouse · {name}" in page.text
    server.stop()
    running.join()
