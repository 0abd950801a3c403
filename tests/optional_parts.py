"""Parts that a machine may lack: the one door by which a test goes without, told why, and never under TICKHOUSE_REQUIRE=all."""

from __future__ import annotations

import os
from typing import NoReturn

import pytest

_MUST_HAVE_ALL = os.environ.get("TICKHOUSE_REQUIRE", "") == "all"


def go_without(why: str, *, is_opt_in: bool = False) -> NoReturn:
    """Skip the test that asks, saying `why`; under TICKHOUSE_REQUIRE=all fail it, unless the part is one to be opted in."""
    if _MUST_HAVE_ALL and not is_opt_in:
        pytest.fail(f"TICKHOUSE_REQUIRE=all, but {why}")
    pytest.skip(why)
