"""`python -m tests.benchmarks.memory_of_rebuild [MESSAGES]`: peak memory of a rebuild, and of one of ten times the raw.

Each rebuild is a process of its own, one batch and one part at a time (runner `local`). What counts is the growth beyond an
open lake: the batch stays the same, so ten times the raw should take no more.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

from lake.catalog import Lake
from lake.instants import system_clock
from lake.settings import load_settings
from quality_checks.promotion import promote
from quality_checks.rebuild import rebuild
from tests.benchmarks.peak import peak_mb
from tests.quality_checks import raw

TABLE = "normalized.trades"
BATCH = 5_000
START = datetime(2024, 1, 1, tzinfo=UTC)


def main(arguments: list[str]) -> None:
    """Measure and print; `--child HOME` rebuilds one lake and tells its memory."""
    if arguments[:1] == ["--child"]:
        child(Path(arguments[1]))
        return
    messages = int(arguments[0]) if arguments else 20_000
    with tempfile.TemporaryDirectory(prefix="tickhouse-bench-") as folder:
        for factor in (1, 10):
            home = Path(folder) / str(factor)
            make(home, messages * factor)
            told = subprocess.run(
                [sys.executable, "-W", "ignore", "-m", "tests.benchmarks.memory_of_rebuild", "--child", str(home)],
                capture_output=True, text=True, check=True,
            )  # fmt: skip
            print(told.stdout.strip(), flush=True)


def make(home: Path, messages: int) -> None:
    """Make a lake with so many trades, promoted in batches of 5,000, 20,000 a session."""
    with Lake.create(load_settings(home=home, batch_messages=BATCH), system_clock) as lake:
        for number, first in enumerate(range(0, messages, BATCH)):
            at = START + timedelta(days=first // 20_000)
            offset_ms = int((at - raw.START).total_seconds() * 1000)
            payloads = [
                (int(at.timestamp() * 1e9) + n * 1_000_000, raw.trade(n, 60_000, at_ms=offset_ms - first))
                for n in range(first, first + BATCH)
            ]
            raw.land(lake, f"cap{number}", payloads, block=1_000)
        promote(lake, "binance")


def child(home: Path) -> None:
    """Rebuild and print rows and megabytes."""
    with Lake.open(load_settings(home=home), system_clock) as lake:
        lake.head(TABLE)
        before = peak_mb()
        report = rebuild(lake, TABLE)
        after = peak_mb()
    told = {
        "rows": report.rows,
        "is_same": report.is_same,
        "open_mb": round(before),
        "peak_mb": round(after),
        "grown_mb": round(after - before),
    }
    print(json.dumps(told))


if __name__ == "__main__":
    main(sys.argv[1:])
