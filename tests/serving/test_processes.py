"""How our processes begin and end: nothing is lost by ending early, and pandas is there for whoever asks."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from lake.catalog import Lake


def ran(root: Path, program: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-W", "ignore", "-c", program], cwd=root, capture_output=True, text=True, timeout=60)


def test_a_verb_answers_whole_and_never_imports_pandas(lake: Lake, root: Path) -> None:
    words = ["sql", "SELECT range AS n FROM range(20000)", "--format", "csv", "--home", str(lake.settings.home)]
    command = [sys.executable, "-W", "ignore", "-X", "importtime", "-m", "serving.cli.main", *words]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=60)
    imported = set(re.findall(r"\|\s+(\S+)$", done.stderr, re.M))
    assert done.returncode == 0
    assert done.stdout.splitlines() == ["n", *map(str, range(20_000))]
    assert {"pyarrow.dataset", "duckdb"} <= imported and "pandas.core" not in imported


def test_a_wrong_word_ends_with_the_exit_code_of_usage(root: Path) -> None:
    command = [sys.executable, "-m", "serving.cli.main", "gaps", "--limit", "many"]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert "--limit" in done.stderr


def test_threads_and_handlers_end_before_the_process(root: Path) -> None:
    done = ran(
        root,
        "import atexit, sys, threading\n"
        "from serving.processes import OwnProcess\n"
        "process = OwnProcess()\n"
        "atexit.register(print, 'handler')\n"
        "threading.Thread(target=lambda: (threading.main_thread().join(), print('thread'))).start()\n"
        "process.leave(7)\n",
    )
    assert (done.returncode, done.stdout.split(), done.stderr) == (7, ["thread", "handler"], "")


def test_a_defect_ends_as_python_does(root: Path) -> None:
    done = ran(root, "from serving.processes import OwnProcess\nOwnProcess()\nraise ValueError('a defect')\n")
    assert done.returncode == 1
    assert done.stderr.endswith("ValueError: a defect\n")


def test_pandas_is_there_for_whoever_asks(root: Path) -> None:
    done = ran(
        root,
        "import sys\n"
        "from serving.processes import leave_pandas_alone\n"
        "leave_pandas_alone()\n"
        "import pyarrow as pa\n"
        "rows = pa.table({'n': [1, None]})\n"
        "print('pandas' in sys.modules)\n"
        "print(rows.to_pandas()['n'].tolist())\n"
        "import pandas\n"
        "print(pa.array(pandas.Series([1.0, None])).null_count)\n",
    )
    imported, frame, nulls = done.stdout.splitlines()
    assert imported == "False"
    assert (frame, nulls) == ("[1.0, nan]", "1")
