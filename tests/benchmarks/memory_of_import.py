"""`python -m tests.benchmarks.memory_of_import [GIGABYTES] [FEED…]`: peak memory of importing a day file, and of landing it.

The file is made (`tests/ingest/day_files.py`: orders of ITCH, captures of TOPS, orders of Databento; all by default), 1 GB
where nothing else is told, in a temporary folder that must hold file, log and table. Each act is a process of its own.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from ingest.imports import import_paths
from ingest.landing import land
from lake.catalog import Lake
from lake.instants import system_clock
from lake.log.segments import SegmentLog
from lake.settings import load_settings
from tests.benchmarks.peak import peak_mb
from tests.ingest.day_files import DAYS, write_day


def main(arguments: list[str]) -> None:
    """Measure and print a line for each act; `--child ACT DAY FOLDER` does one."""
    if arguments[:1] == ["--child"]:
        child(arguments[1], arguments[2], Path(arguments[3]))
        return
    size = int(float(arguments[0]) * 1e9) if arguments else 10**9
    for day in arguments[1:] or DAYS:
        with tempfile.TemporaryDirectory(prefix="tickhouse-bench-") as folder:
            write_day(Path(folder) / DAYS[day][2], day, size)
            Lake.create(load_settings(home=Path(folder) / "home"), system_clock).close()
            for act in ("import", "land"):
                alone = [sys.executable, "-W", "ignore", "-m", "tests.benchmarks.memory_of_import", "--child", act, day, folder]
                told = subprocess.run(alone, stdout=subprocess.PIPE, text=True, check=True)
                print(told.stdout.strip(), flush=True)


def child(act: str, day: str, folder: Path) -> None:
    """Do one act and print what it did, its seconds and its megabytes at most."""
    provider, feed, name = DAYS[day]
    home, began = folder / "home", time.perf_counter()
    with (
        Lake.open(load_settings(home=home), system_clock) as lake,
        SegmentLog(home / "log", system_clock, min_free_bytes=1 << 30) as log,
    ):
        if act == "import":
            messages = import_paths(lake, log, provider, feed, [folder / name]).appended
        else:
            messages = land(lake, log).messages
    told = {
        "day": day,
        "act": act,
        "file_mb": (folder / name).stat().st_size // 10**6,
        "messages": messages,
        "seconds": round(time.perf_counter() - began),
        "peak_mb": round(peak_mb()),
    }
    print(json.dumps(told))


if __name__ == "__main__":
    main(sys.argv[1:])
