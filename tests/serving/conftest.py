"""A small lake that the tests of this folder read."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from lake.catalog import Lake
from tests.serving import market_lake as market
from tests.serving import small_lake


@pytest.fixture(scope="session")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lake]:
    """The small lake; nobody writes to it after it is made."""
    made = small_lake.make(tmp_path_factory.mktemp("lake") / "home")
    yield made
    made.close()


@pytest.fixture(scope="session")
def market_lake(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lake]:
    """The small lake with quotes, actions and quality history; nobody writes tables to it after it is made."""
    made = market.make(tmp_path_factory.mktemp("market") / "home")
    yield made
    made.close()
