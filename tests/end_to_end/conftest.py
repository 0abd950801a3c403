"""One lake that the whole job was done on without disturbance: what crashes and other orders are compared with."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from lake.catalog import Lake
from lake.instants import system_clock
from lake.log.log import HISTORY_TOPIC, RAW_TOPIC, Block, Log
from lake.settings import load_settings
from tests.end_to_end import job
from tests.end_to_end.processes import run_job


@dataclass(frozen=True)
class Undisturbed:
    """A finished job: its home, its document, and the blocks of its log by topic."""

    home: Path
    document: dict[str, Any]
    blocks: dict[str, list[Block]]


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    home = tmp_path_factory.mktemp("undisturbed") / "lake"
    code, document = run_job(home)
    assert code == 0
    with Lake.open(load_settings(home=home), system_clock) as lake:
        log = job.open_log(lake)
        return Undisturbed(home, document, {topic: _blocks(log, topic) for topic in (RAW_TOPIC, HISTORY_TOPIC)})


def _blocks(log: Log, topic: str) -> list[Block]:
    found: list[Block] = []
    for partition, bounds in sorted(log.bounds(topic).items()):
        offset = bounds.first
        while offset < bounds.next:
            batch = log.read(topic, partition, offset, 1 << 24, 0.0)
            found.extend(block for _, block in batch.blocks)
            offset = batch.next_offset
    return found


@pytest.fixture
def finished(undisturbed: Undisturbed) -> Iterator[Lake]:
    """The undisturbed lake, open; a test may add to it, the document stays what it was."""
    with Lake.open(load_settings(home=undisturbed.home), system_clock) as lake:
        yield lake
