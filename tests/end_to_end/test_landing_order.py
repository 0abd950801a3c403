"""Another landing order of the same blocks, in other partitions and other batches, ends in the same tables."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from ingest.landing import land
from lake.catalog import Lake
from lake.instants import system_clock
from lake.log.log import HISTORY_TOPIC, RAW_TOPIC, Block, Log
from lake.settings import load_settings
from tests.end_to_end import job


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, list[Block]], dict[str, str]]:
    """The blocks of every topic of a whole job, and the hashes it ended with."""
    home = tmp_path_factory.mktemp("source") / "lake"
    with Lake.create(load_settings(home=home), system_clock) as lake:
        log = job.open_log(lake)
        job.captured(lake, log)
        job.imported(lake, log, home)
        job.promoted(lake, log)
        job.decided(lake, may_reject=False)
        land(lake, log)
        return {topic: blocks_of(log, topic) for topic in (RAW_TOPIC, HISTORY_TOPIC)}, job.hashes(lake)


def blocks_of(log: Log, topic: str) -> list[Block]:
    found: list[Block] = []
    for partition, bounds in sorted(log.bounds(topic).items()):
        offset = bounds.first
        while offset < bounds.next:
            batch = log.read(topic, partition, offset, 1 << 24, 0.0)
            found.extend(block for _, block in batch.blocks)
            offset = batch.next_offset
    return found


@pytest.mark.parametrize("seed", [1, 2])
def test_the_order_of_landing_does_not_matter(source, tmp_path: Path, seed: int):
    blocks, hashes = source
    rng = random.Random(seed)
    raw = rng.sample(blocks[RAW_TOPIC], len(blocks[RAW_TOPIC]))
    with Lake.create(load_settings(home=tmp_path / "lake"), system_clock) as lake:
        log = job.open_log(lake)
        for topic in (RAW_TOPIC, HISTORY_TOPIC):
            log.release(topic, "landing", {})
        log.append(HISTORY_TOPIC, 0, blocks[HISTORY_TOPIC])
        for block in raw:
            log.append(RAW_TOPIC, rng.randrange(4), [block])
        job.promoted(lake, log)
        job.decided(lake, may_reject=False)
        assert job.hashes(lake) == hashes
