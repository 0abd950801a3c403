"""What a machine lacks is told in each worker of a parallel run, too: skipped, or failed where all is required."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize("required", ["all", ""])
def test_a_worker_of_a_parallel_run_knows_what_is_required(root: Path, tmp_path: Path, required: str) -> None:
    one = "tests/serving/test_browser.py::test_a_refusal_is_told_in_words"
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-n",
        "1",
        "-v",
        "-p",
        "no:cacheprovider",
        "--basetemp",
        str(tmp_path / "base"),
        one,
    ]
    outer = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    told = {**outer, "PATH": str(tmp_path), "TICKHOUSE_REQUIRE": required, "TESTS_REQUIRE": ""}
    done = subprocess.run(command, cwd=root, env=told, capture_output=True, text=True, check=False)
    outcome = "TICKHOUSE_REQUIRE=all, but chromium was not found" if required else "1 skipped"
    assert outcome in done.stdout, done.stdout + done.stderr
