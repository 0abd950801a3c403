"""A lake of its own for each test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from lake.catalog import Lake
from lake.instants import system_clock
from lake.settings import load_settings
from tests.ingest.standing_state import clock, state

__all__ = ["clock", "state"]


@pytest.fixture
def lake(tmp_path: Path) -> Iterator[Lake]:
    """An empty lake under the test's own folder."""
    with Lake.create(load_settings(home=tmp_path / "home"), system_clock) as made:
        yield made
