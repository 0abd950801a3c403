"""What a person asked for, and what a machine lacks, is told in each worker of a parallel run, too."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from transforms.kernels import kernel_state

FORM = """
from transforms.kernels import binance, kernel_state

def test_form():
    assert (len(kernel_state().compiled), binance.__file__.endswith(".py")) == {form}
"""


def said_by_a_worker(root: Path, folder: Path, *what: str, **told: str) -> str:
    """Return what a run in one worker says."""
    command = [sys.executable, "-m", "pytest", "-n", "1", "-v", "-p", "no:cacheprovider", "--basetemp", str(folder / "base")]
    outer = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "TESTS_"))}
    done = subprocess.run([*command, *what], cwd=root, env={**outer, **told}, capture_output=True, text=True, check=False)
    return done.stdout + done.stderr


@pytest.mark.parametrize("required", ["all", ""])
def test_a_worker_of_a_parallel_run_knows_what_is_required(root: Path, tmp_path: Path, required: str) -> None:
    one = "tests/serving/test_browser.py::test_a_refusal_is_told_in_words"
    said = said_by_a_worker(root, tmp_path, one, PATH=str(tmp_path), TICKHOUSE_REQUIRE=required)
    outcome = "TICKHOUSE_REQUIRE=all, but chromium was not found" if required else "1 skipped"
    assert outcome in said, said


@pytest.mark.parametrize("asked", ["interpreted", ""])
def test_a_worker_of_a_parallel_run_takes_the_kernels_that_were_asked_for(root: Path, tmp_path: Path, asked: str) -> None:
    compiled = 0 if asked else len(kernel_state(root / "transforms" / "kernels").compiled)
    (tmp_path / "test_form.py").write_text(FORM.format(form=(compiled, not compiled)))
    ours = ("-p", "tests.conftest", f"--rootdir={root}", "-c", str(root / "pyproject.toml"))
    said = said_by_a_worker(root, tmp_path, *ours, str(tmp_path / "test_form.py"), TICKHOUSE_KERNELS=asked)
    assert "1 passed" in said, said
