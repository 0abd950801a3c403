"""A real lake and a real log in a temporary folder."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest

from ingest.transport.backoff import Backoff
from lake.catalog import Lake
from lake.instants import system_clock
from lake.log.blocks import decode_messages, decode_rows
from lake.log.log import HISTORY_TOPIC, RAW_TOPIC, Log
from lake.log.segments import SegmentLog
from lake.settings import load_settings
from tests.ingest.standing_state import clock, state

__all__ = ["clock", "state"]

FAST = Backoff(attempts=4, first_s=0.01, ceiling_s=0.05)


class Waits:
    """A sleep that notes what it was asked for and returns at once."""

    def __init__(self) -> None:
        self.asked: list[float] = []

    def __call__(self, seconds: float) -> None:
        self.asked.append(seconds)


@pytest.fixture
def lake(tmp_path: Path) -> Iterator[Lake]:
    with Lake.create(load_settings(home=tmp_path / "home"), system_clock) as lake:
        yield lake


@pytest.fixture(scope="module")
def shared_lake(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lake]:
    """One lake for all tests of a module that capture, and look into a log of their own."""
    with Lake.create(load_settings(home=tmp_path_factory.mktemp("shared")), system_clock) as lake:
        yield lake


@pytest.fixture
def log(tmp_path: Path) -> Iterator[SegmentLog]:
    with SegmentLog(tmp_path / "home" / "log", system_clock, min_free_bytes=1 << 20, min_age_s=0) as log:
        yield log


@pytest.fixture
def waits() -> Waits:
    return Waits()


@pytest.fixture
def rng() -> random.Random:
    return random.Random(1)


def messages_of(log: Log) -> list[dict[str, object]]:
    """Return every message in the raw topic, in capture and sequence order."""
    tables = []
    for partition, bounds in log.bounds(RAW_TOPIC).items():
        offset = bounds.first
        while offset < bounds.next:
            batch = log.read(RAW_TOPIC, partition, offset, 1 << 24, 0.0)
            tables += [decode_messages(block.payload) for _, block in batch.blocks]
            offset = batch.next_offset
    rows = pa.concat_tables(tables).to_pylist() if tables else []
    return sorted(rows, key=lambda row: (row["capture_id"], row["message_seq"]))


def history_of(log: Log, table: str) -> list[dict[str, object]]:
    """Return the rows of a table in the history topic, in order."""
    found: list[dict[str, object]] = []
    for partition, bounds in log.bounds(HISTORY_TOPIC).items():
        offset = bounds.first
        while offset < bounds.next:
            batch = log.read(HISTORY_TOPIC, partition, offset, 1 << 24, 0.0)
            for _, block in batch.blocks:
                name, rows = decode_rows(block.payload)
                if name == table:
                    found += rows.to_pylist()
            offset = batch.next_offset
    return found
