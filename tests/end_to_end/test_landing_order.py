"""Another landing order of the same blocks, in other partitions and other batches, ends in the same tables."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from lake.catalog import Lake
from lake.instants import system_clock
from lake.log.log import HISTORY_TOPIC, RAW_TOPIC
from lake.scan import Where, read
from lake.settings import load_settings
from tests.end_to_end import job
from tests.end_to_end.conftest import Undisturbed


def wrong_scale_capture(lake: Lake) -> str:
    """The capture that is rejected: it must stay in a batch of its own, for a rejection takes the batch whole."""
    captures = read(lake, "ops.captures", ["capture_id", "detail"], [Where("provider", "=", "csv")]).to_pylist()
    [found] = [row["capture_id"] for row in captures if job.WRONG_SCALE_FILE in row["detail"]]
    return str(found)


@pytest.mark.parametrize("seed", [20200831])
def test_the_order_of_landing_does_not_matter(undisturbed: Undisturbed, finished: Lake, tmp_path: Path, seed: int):
    rng = random.Random(seed)
    last = wrong_scale_capture(finished)
    raw = undisturbed.blocks[RAW_TOPIC]
    mixed = rng.sample([block for block in raw if block.key != last], len(raw) - 1)
    with Lake.create(load_settings(home=tmp_path / "lake"), system_clock) as lake:
        log = job.open_log(lake)
        log.append(HISTORY_TOPIC, 0, undisturbed.blocks[HISTORY_TOPIC])
        for block in mixed:
            log.append(RAW_TOPIC, rng.randrange(4), [block])
        job.promoted(lake, log)
        log.append(RAW_TOPIC, 0, [block for block in raw if block.key == last])
        job.promoted(lake, log)
        job.decided(lake)
        assert job.hashes(lake) == undisturbed.document["hashes"]
