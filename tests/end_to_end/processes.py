"""Runs the small job (`job.py`) in processes of its own that can be killed.

The processes are forked from one that has only imported the modules: starting Python 20 times would cost a minute.
"""

from __future__ import annotations

import json
import multiprocessing
import signal
from pathlib import Path
from typing import Any

from tests.end_to_end import job

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["tests.end_to_end.job"])
_PATIENCE_S = 600.0
KILLED = -signal.SIGKILL


def run_job(home: Path, kill_at: str = "", log_url: str = "") -> tuple[int, dict[str, Any]]:
    """Return (exit code, document) of one run of the job; a killed run has an empty document."""
    answer = home.with_suffix(".json")
    answer.unlink(missing_ok=True)
    process = _CONTEXT.Process(target=job.main, args=(str(home), kill_at, str(answer), log_url))
    process.start()
    process.join(_PATIENCE_S)
    if process.is_alive():
        process.kill()
        process.join()
        raise TimeoutError(f"the job at {home} was not done after {_PATIENCE_S} s")
    code = process.exitcode
    process.close()
    return code if code is not None else 0, json.loads(answer.read_text(encoding="utf-8")) if answer.exists() else {}
