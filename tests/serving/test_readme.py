"""The commands that the README gives a newcomer, run against a server of the small lake."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import httpx

from lake.catalog import Lake
from serving.operate.notebooks import NOTEBOOKS
from serving.operate.passing import environment
from serving.operate.supervisor import WebServer
from tests.serving import small_lake
from tests.serving.browser import served

ASKED = {"curl": "125.01", "python": "125.01", "tickhouse sql": "124.8075"}
"""Commands that ask, and what stands in an answer."""
DONE = ("tickhouse topics publish", "tickhouse keys add", "tickhouse notebooks")


def lines_of(root: Path, tool: str = "") -> list[str]:
    """Return the commands of a tool that the page gives for a running system, without what it says about them."""
    page = (root / "README.md").read_text(encoding="utf-8")
    block = re.search(r"## Ask a running system\n.*?```bash\n(.*?)```", page, re.S)[1]
    return [line.partition("   #")[0].strip() for line in block.splitlines() if line.startswith(tool)]


def command(line: str) -> list[str]:
    """Return a line of the page as the words of a process."""
    words = shlex.split(line)
    here = {"python": [sys.executable], "tickhouse": [sys.executable, "-m", "serving.cli.main"], "curl": ["curl", "-sS", "-f"]}
    return [*here[words[0]], *words[1:]]


def surroundings(lake: Lake, root: Path) -> dict[str, str]:
    return {**os.environ, **environment(lake.settings), "PYTHONPATH": str(root), "PYTHONWARNINGS": "ignore"}


def run(lake: Lake, root: Path, line: str) -> str:
    """Return what a command of the page prints."""
    done = subprocess.run(command(line), cwd=root, env=surroundings(lake, root), capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_command_of_the_page_is_run_here(root: Path) -> None:
    lines = lines_of(root)
    assert len(lines) >= 9
    assert all(line.startswith((*ASKED, *DONE)) for line in lines)
    assert all(lines_of(root, tool) for tool in (*ASKED, *DONE))


def test_a_command_that_asks_is_answered(lake: Lake, root: Path) -> None:
    server = WebServer(lake, "127.0.0.1", 0)
    stop = served(server)
    try:
        for tool, words in ASKED.items():
            told = [run(lake, root, line.replace("http://127.0.0.1:8000", server.address)) for line in lines_of(root, tool)]
            assert words in " ".join(told)
    finally:
        stop()


def test_topics_are_told_and_a_key_closes_the_door(root: Path, tmp_path: Path) -> None:
    with small_lake.make(tmp_path / "home") as lake:
        (told,) = (run(lake, root, line) for line in lines_of(root, "tickhouse topics publish"))
        assert "market.analysis_ready.1d.v1: 3 records" in told
        (key,) = (run(lake, root, line).strip() for line in lines_of(root, "tickhouse keys add"))
        server = WebServer(lake, "127.0.0.1", 0)
        stop = served(server)
        try:
            with httpx.Client(base_url=f"{server.address}/api/v1", timeout=60) as client:
                with_key = {"Authorization": f"Bearer {key}"}
                answers = [client.get("/health"), client.get("/bars/AAPL"), client.get("/bars/AAPL", headers=with_key)]
        finally:
            stop()
    assert [answer.status_code for answer in answers] == [200, 401, 200]


def test_the_notebooks_start_and_answer(lake: Lake, root: Path) -> None:
    (line,) = lines_of(root, "tickhouse notebooks")
    words = [*command(line), "--port", "0", "--json"]
    with subprocess.Popen(words, cwd=root, env=surroundings(lake, root), stdout=subprocess.PIPE, text=True) as process:
        try:
            text = ""
            while "\n}" not in text:
                text += process.stdout.readline()
            told = json.loads(text)
            for name in NOTEBOOKS:
                assert f"tickhouse · {name}" in httpx.get(told["pages"][name], timeout=60).text
            process.send_signal(signal.SIGINT)
            assert process.wait(timeout=60) in (0, 130)
        finally:
            process.kill()
