"""Day files of exchanges: memory does not grow with the file, and an import killed at random goes on, each message once."""

from __future__ import annotations

import random
import tracemalloc
from pathlib import Path

import pytest

from ingest.containers.registry import container_named
from ingest.containers.runs import RUN_BYTES
from ingest.containers.source import Source, Told
from ingest.landing import land
from lake.scan import read
from tests.ingest.crashing import main
from tests.ingest.day_files import DAYS, write_day
from tests.ingest.test_crash import killed, opened

SIZE = 2_000_000
MOST_RUNS_HELD = 12
BLOCKS = 3 * SIZE // (2 * RUN_BYTES)
"""About so many appends to the log do all three files take."""


@pytest.mark.parametrize("day", DAYS)
def test_memory_is_some_runs_whatever_the_file(tmp_path: Path, day: str) -> None:
    provider, feed, name = DAYS[day]
    path = tmp_path / name
    write_day(path, day, SIZE)
    tracemalloc.start()
    size = sum(len(piece.payload) for piece in container_named(provider, feed).split(Source(path), Told(name)))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert size >= path.stat().st_size >= SIZE
    assert peak < MOST_RUNS_HELD * RUN_BYTES


@pytest.mark.parametrize("seed", [7])
def test_an_import_killed_at_random_goes_on_and_has_each_message_once(root: Path, tmp_path: Path, seed: int) -> None:
    for day, (_, _, name) in DAYS.items():
        write_day(tmp_path / name, day, SIZE)
    rng = random.Random(seed)
    kills = [killed(root, "import-days", tmp_path / "home", f"capture.appended:{rng.randint(1, BLOCKS // 4)}") for _ in range(2)]
    assert kills == [True] * 2
    main("import-days", tmp_path / "home")
    lake, log = opened(tmp_path / "home")
    with lake, log:
        land(lake, log)
        landed = read(lake, "raw.messages", ["provider", "message_seq", "payload", "content_type"])
        assert lake.state.jobs("import:").keys() == {f"import:{capture}" for capture in _captures(lake)}
    for provider, feed, name in DAYS.values():
        pieces = list(container_named(provider, feed).split(Source(tmp_path / name), Told(name)))
        rows = sorted(
            (row["message_seq"], row["payload"], row["content_type"]) for row in landed.to_pylist() if row["provider"] == provider
        )
        assert rows == [(number, piece.payload, piece.content_type) for number, piece in enumerate(pieces)]


def _captures(lake) -> set[str]:
    return set(read(lake, "ops.captures", ["capture_id"])["capture_id"].to_pylist())
