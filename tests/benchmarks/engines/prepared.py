"""What every engine is given: a lake of five sessions, and the newest session as an Arrow file."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import pyarrow as pa

from lake.catalog import Lake
from lake.commits import append
from lake.instants import system_clock
from lake.settings import load_settings
from tests.benchmarks import ticks
from tests.benchmarks.engines import Given
from tests.benchmarks.engines.tickhouse import TRADES

DAY = ticks.session_date(ticks.SESSIONS - 1)
NOON = datetime.fromisoformat(f"{DAY}T17:00:00+00:00")
"""In New York."""


def prepare(folder: Path, scale: float) -> Given:
    """Make the lake, a commit a session, and the file, unless they are there; return where they are."""
    home, session = folder / "home", folder / "session.arrow"
    if not (folder / "filled").exists():
        with Lake.create(load_settings(home=home), system_clock) as lake:
            for number, rows in ticks.sessions(scale):
                before = {"0": number} if number else {}
                append(lake, TRADES, rows, ticks.PROVIDER, before, {"0": number + 1}, f"bench-{number}", ticks.ranges(rows))
        write_rows(session, rows)
        (folder / "filled").write_text(str(scale), encoding="ascii")
    elif (folder / "filled").read_text(encoding="ascii") != str(scale):
        raise ValueError(f"{folder} was filled at another scale")
    with Lake.open(load_settings(home=home), system_clock) as lake:
        files = [one.file.file_path.removeprefix("file://") for one in lake.table(TRADES).scan().plan_files()]
    return Given(
        folder=str(folder),
        home=str(home),
        paths=tuple(files),
        session=str(session),
        day=str(DAY),
        noon=NOON.isoformat(),
        instruments=tuple(instruments().values()),
    )


def instruments() -> dict[str, int]:
    """Return instruments by how busy they are."""
    ids = [int(one) for one in ticks.instrument_ids()]
    return {"liquid": ids[0], "mid": ids[100], "tail": ids[2_000]}


def write_rows(path: Path, rows: pa.Table) -> None:
    """Write rows as an Arrow file of one batch."""
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, rows.schema) as sink:
        sink.write_table(rows)
