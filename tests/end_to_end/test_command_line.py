"""What `make demo` does, by real processes: the demo whole, the demo again, and a proof of every count."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

PATIENCE_S = 600


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("demo") / "lake"


@pytest.fixture(scope="module")
def first(root: Path, home: Path) -> dict[str, Any]:
    return tickhouse(root, home, "demo")


def tickhouse(root: Path, home: Path, verb: str) -> dict[str, Any]:
    """Run a verb as a user does, and return the document it prints. Its progress must stay off stdout."""
    done = subprocess.run(
        [sys.executable, "-m", "serving.cli.main", verb, "--home", str(home), "--json"],
        cwd=root,
        env={**os.environ, "NO_COLOR": "1"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()[-2_000:]
    return dict(json.loads(done.stdout))


def test_the_demo_counts_add_up(first: dict[str, Any]):
    assert first["is_new"]
    assert first["layers"]["adds_up"]
    assert [feed for feed in first["layers"]["feeds"] if feed["captured"] != feed["landed"]] == []
    assert first["held"]
    assert first["yahoo"]


def test_a_second_demo_finds_nothing_new_and_counts_the_same(root: Path, home: Path, first: dict[str, Any]):
    second = tickhouse(root, home, "demo")
    assert not second["is_new"]
    assert {name: second[name] for name in ("layers", "quarantine", "split")} == {
        name: first[name] for name in ("layers", "quarantine", "split")
    }


def test_verify_proves_it(root: Path, home: Path, first: dict[str, Any]):
    report = tickhouse(root, home, "verify")
    assert [check for check in report["checks"] if not check["is_ok"]] == []
    assert {"captured_is_landed", "facts_counted", "lineage_complete"} <= {check["name"] for check in report["checks"]}
