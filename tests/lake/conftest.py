"""A lake of its own for each test, and those that tests of reading share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest

from lake.catalog import Lake
from lake.instants import system_clock
from lake.publish import Increment, publish, stage
from lake.settings import load_settings
from lake.values import MessageRange, Vector
from tests.lake.made import messages, trade_batch, trades
from tests.lake.reading import LONG, TRADES, land, placed


@pytest.fixture
def lake(tmp_path: Path) -> Iterator[Lake]:
    """An empty lake under the test's own folder."""
    with Lake.create(load_settings(home=tmp_path / "home"), system_clock) as made:
        yield made


@pytest.fixture(scope="session")
def full(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lake]:
    """A lake with trades of three providers in some dozen files; nobody changes it."""
    with Lake.create(load_settings(home=tmp_path_factory.mktemp("full")), system_clock) as lake:
        for first in range(0, 60, 20):
            publish(lake, stage(lake, trade_batch(first, first + 19)))
        publish(lake, stage(lake, trade_batch(0, 9, provider="other")))
        for number in range(2):
            capture = f"{LONG}{number}"
            batch = trades(0, 9, capture, provider=LONG)
            ranges = (MessageRange(capture, 0, 9),)
            before: Vector = {"0": number} if number else {}
            publish(lake, stage(lake, Increment(TRADES, LONG, batch, before, {"0": number + 1}, f"long-{number}", ranges)))
        yield lake


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lake]:
    """A lake for tests that write to different tables or owners; making one costs a second. Nobody writes trades."""
    with Lake.create(load_settings(home=tmp_path_factory.mktemp("shared")), system_clock) as lake:
        yield lake


@pytest.fixture(scope="session")
def landed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lake]:
    """Messages of two providers in blocks of three, over two partitions and four commits."""
    with Lake.create(load_settings(home=tmp_path_factory.mktemp("landed")), system_clock) as lake:
        for number in range(4):
            seqs = range(number * 12, number * 12 + 12)
            offsets = [seq // 3 for seq in seqs]
            batch = pa.concat_tables(
                [
                    placed(messages(seqs[0], seqs[-1], "one"), 0, offsets),
                    placed(messages(seqs[0], seqs[-1], "two"), 3, offsets),
                    placed(messages(seqs[0], seqs[-1], "three", provider="yahoo"), 3, [offset + 100 for offset in offsets]),
                ]
            )
            land(lake, number, batch, {"0": (number + 1) * 4, "3": 100 + (number + 1) * 4})
        yield lake
