"""What is said about how the kernels run: compiled, interpreted, or compiled from another source."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

import pytest

from transforms.kernels import BUILD_RECORD, kernel_state, notice, record_build

SUFFIX = EXTENSION_SUFFIXES[0]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "__init__.py").write_text("")
    (tmp_path / "count.py").write_text("a = 1\n")
    (tmp_path / "scan.py").write_text("b = 1\n")
    return tmp_path


def compile_all(folder: Path) -> None:
    for source in folder.glob("[a-z]*.py"):
        source.with_suffix(SUFFIX).write_bytes(b"")


def test_without_compiled_files_all_are_interpreted(folder):
    state = kernel_state(folder)
    assert state.interpreted == ("count", "scan")
    assert not state.is_compiled
    assert "count, scan" in notice(state)


def test_compiled_and_recorded_has_nothing_to_tell(folder):
    compile_all(folder)
    record_build(folder)
    assert kernel_state(folder).is_compiled
    assert notice(kernel_state(folder)) is None


def test_a_source_changed_after_compiling_is_stale_whatever_its_date(folder):
    compile_all(folder)
    record_build(folder)
    (folder / "scan.py").write_text("b = 2\n")
    os.utime(folder / "scan.py", (0, 0))
    state = kernel_state(folder)
    assert state.stale == ("scan",)
    assert "stale: scan" in notice(state)


def test_a_touched_source_is_not_stale(folder):
    compile_all(folder)
    record_build(folder)
    os.utime(folder / "scan.py", (2e9, 2e9))
    assert kernel_state(folder).stale == ()


def test_without_a_record_dates_decide(folder):
    compile_all(folder)
    os.utime(folder / "scan.py", (2e9, 2e9))
    assert not (folder / BUILD_RECORD).exists()
    assert kernel_state(folder).stale == ("scan",)


def test_one_process_warns_once_and_can_prefer_the_source(root):
    code = (
        "import warnings\n"
        "with warnings.catch_warnings(record=True) as told:\n"
        "    warnings.simplefilter('always')\n"
        "    import transforms.kernels as kernels\n"
        "    import transforms.kernels\n"
        "state = kernels.kernel_state()\n"
        "assert len(told) == (0 if state.is_compiled or not state.compiled + state.interpreted else 1), told\n"
        "kernels.prefer_source()\n"
        "assert kernels.kernel_state().compiled == ()\n"
        "name = next(iter(kernels.kernel_state().interpreted), None)\n"
        "if name:\n"
        "    module = __import__(f'transforms.kernels.{name}', fromlist=['x'])\n"
        "    assert module.__file__.endswith('.py'), module.__file__\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
