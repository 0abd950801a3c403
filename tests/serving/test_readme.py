"""The commands that the README gives a newcomer, run against a server of the small lake."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from lake.catalog import Lake
from serving.operate.passing import environment
from serving.operate.supervisor import WebServer
from tests.serving.browser import served


@pytest.mark.parametrize(("tool", "words"), [("curl", "125.01"), ("python", "125.01"), ("tickhouse sql", "124.8075")])
def test_a_command_of_the_page_answers(lake: Lake, root: Path, tool: str, words: str) -> None:
    page = (root / "README.md").read_text(encoding="utf-8")
    section = re.search(r"## Ask a running system\n(.*?)\n## ", page, re.S)[1]
    lines = [line for line in section.splitlines() if line.startswith(f"{tool} ")]
    assert lines
    server = WebServer(lake, "127.0.0.1", 0)
    stop = served(server)
    try:
        told = []
        for line in lines:
            command = shlex.split(line.replace("http://127.0.0.1:8000", server.address))
            run = {
                "python": [sys.executable],
                "tickhouse": [sys.executable, "-m", "serving.cli.main"],
                "curl": ["curl", "-sS", "-f"],
            }
            settings = {**os.environ, **environment(lake.settings), "PYTHONPATH": str(root), "PYTHONWARNINGS": "ignore"}
            done = subprocess.run(
                [*run[command[0]], *command[1:]], cwd=root, env=settings, capture_output=True, text=True, timeout=60
            )
            assert done.returncode == 0, done.stderr
            told.append(done.stdout)
    finally:
        stop()
    assert words in " ".join(told)
