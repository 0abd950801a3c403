"""What a verb imports before it answers: nothing that it does not use. Seconds depend on the machine, modules do not."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from lake.catalog import Lake

SLOW = {
    "altair", "duckdb", "exchange_calendars", "fastapi", "httpx", "marimo", "numpy", "pandas", "polars", "pyarrow", "pyiceberg",
    "soda_core", "sqlalchemy", "starlette", "uvicorn", "websockets",
}  # fmt: skip
SQL_WORKS_WITH = {"duckdb", "numpy", "pandas", "polars", "pyarrow", "pyiceberg", "sqlalchemy"}
"""pandas comes with pyarrow.dataset, wherever it is installed."""


def imported(root: Path, *runs: list[str]) -> set[str]:
    """Return the names of the packages and of our own modules that some verbs have imported at their end."""
    program = (
        "import json, sys\n"
        "from serving.cli.app import run\n"
        f"codes = [run(arguments) for arguments in {runs!r}]\n"
        "names = {name.partition('.')[0] for name in sys.modules} | set(sys.modules)\n"
        "sys.stderr.write(json.dumps([codes, sorted(names)]))\n"
    )
    command = [sys.executable, "-W", "ignore", "-c", program]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=60)
    codes, names = json.loads(done.stderr.splitlines()[-1])
    assert not any(codes), done.stderr
    return set(names)


def test_help_imports_nothing_slow(root: Path) -> None:
    verbs = ["", "sql", "capture", "import", "up", "keys add", "topics publish"]
    names = imported(root, *([*verb.split(), "--help"] for verb in verbs))
    assert not names & SLOW
    assert not names & {"lake.catalog", "lake.settings", "quality_checks", "transforms"}


def test_sql_imports_what_sql_needs(lake: Lake, root: Path) -> None:
    names = imported(root, ["sql", "SELECT 1", "--format", "csv", "--home", str(lake.settings.home)])
    assert not names & (SLOW - SQL_WORKS_WITH)
    assert not names & {"quality_checks", "ingest.simulator", "ingest.capture", "serving.web", "serving.operate.supervisor"}


def test_holds_imports_no_server_and_no_provider(lake: Lake, root: Path) -> None:
    names = imported(root, ["holds", "--home", str(lake.settings.home)])
    assert not names & {"soda_core", "marimo", "exchange_calendars", "fastapi", "uvicorn", "httpx", "websockets"}
    assert not names & {"ingest.capture", "ingest.simulator", "serving.web"}
