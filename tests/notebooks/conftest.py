"""The small lake, filled a little further: what the notebooks show."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from lake.catalog import Lake
from tests.serving import small_lake


@pytest.fixture(scope="session")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lake]:
    """The small lake; nobody writes to it after it is made."""
    made = small_lake.make(tmp_path_factory.mktemp("notebooks") / "home")
    yield made
    made.close()
