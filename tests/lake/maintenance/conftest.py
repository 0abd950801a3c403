"""A lake whose partitions are always quiet and whose dead files die at the second look."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from lake.catalog import Lake
from lake.instants import system_clock
from lake.settings import load_settings


@pytest.fixture
def lake(tmp_path: Path) -> Iterator[Lake]:
    settings = load_settings(home=tmp_path / "home", compact_quiet_s=0, keep_snapshots=1, sweep_after_s=3600)
    with Lake.create(settings, system_clock) as made:
        yield made
