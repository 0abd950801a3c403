"""Parts that a machine may lack: the one door by which a test goes without, told why, and never under TICKHOUSE_REQUIRE=all."""

from __future__ import annotations

import os
from typing import NoReturn

import pytest

_NAMES = ("REQUIRE", "RAY", "KERNELS")
_TOLD = {name: os.environ.get(f"TICKHOUSE_{name}") or os.environ.get(f"TESTS_{name}", "") for name in _NAMES}
_MUST_HAVE_ALL = _TOLD["REQUIRE"] == "all"
WITH_RAY = _TOLD["RAY"] == "1"
WITH_INTERPRETED_KERNELS = _TOLD["KERNELS"] == "interpreted"


def tell_workers() -> None:
    """Hand on what the person who runs the tests asked for: no worker of a parallel run sees a TICKHOUSE_ variable."""
    os.environ.update({f"TESTS_{name}": value for name, value in _TOLD.items() if value})


def go_without(why: str, *, is_opt_in: bool = False) -> NoReturn:
    """Skip the test that asks, saying `why`; under TICKHOUSE_REQUIRE=all fail it, unless the part is one to be opted in."""
    if _MUST_HAVE_ALL and not is_opt_in:
        pytest.fail(f"TICKHOUSE_REQUIRE=all, but {why}")
    pytest.skip(why)
