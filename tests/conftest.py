"""What every test shares: optional parts of the machine, example counts, a clean environment."""

from __future__ import annotations

import importlib.util
import os
import shutil
from pathlib import Path

import hypothesis
import pytest

import transforms.kernels
from tests.crash.power import can_trace
from tests.kafka.broker import kafka_broker, kafka_node
from tests.object_store import object_store
from tests.optional_parts import WITH_INTERPRETED_KERNELS, WITH_RAY, go_without, tell_workers
from tests.postgres import postgres
from tests.rest_catalog.server import rest_catalog

__all__ = ["kafka_broker", "kafka_node", "object_store", "postgres", "rest_catalog"]

ROOT = Path(__file__).parents[1]

OPTIONAL_PARTS = {
    "cc": lambda: shutil.which("cc") is not None,
    "chromium": lambda: shutil.which("chromium") is not None and shutil.which("chromedriver") is not None,
    "compiled": lambda: transforms.kernels.kernel_state().is_compiled,
    "ray": lambda: importlib.util.find_spec("ray") is not None and WITH_RAY,
    "strace": can_trace,
    "moto": lambda: importlib.util.find_spec("moto") is not None,
    "spark": lambda: importlib.util.find_spec("pyspark") is not None and shutil.which("java") is not None,
}
"""Parts that a test may need, by the name given to `@pytest.mark.needs(...)`, and how to find them."""

OPT_IN = {"ray", "spark"}
"""Parts so heavy that TICKHOUSE_REQUIRE=all does not ask for them: `pip install tickhouse[spark]` (467 MB) and a Java do;
`pip install tickhouse[ray]` (80 MB, a small cluster a test) and TICKHOUSE_RAY=1 do."""

if WITH_INTERPRETED_KERNELS:
    transforms.kernels.prefer_source()

# The suite is the same on every run; `make fuzz` looks further, with a printed seed. Time is never judged: machines differ.
hypothesis.settings.register_profile("suite", max_examples=50, deadline=None, derandomize=True, database=None)
hypothesis.settings.register_profile("fuzz", max_examples=2_000, deadline=None, print_blob=True)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "suite"))


def pytest_configure(config: pytest.Config) -> None:
    """Settings of the person who runs the tests must not reach them, but for what they require."""
    tell_workers()
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # else each of hundreds of processes compiles all our modules anew
    for name in [name for name in os.environ if name.startswith("TICKHOUSE_")]:
        del os.environ[name]


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip a test whose optional part is absent, with the reason; under TICKHOUSE_REQUIRE=all fail it."""
    for mark in item.iter_markers("needs"):
        for part in mark.args:
            if OPTIONAL_PARTS[part]():
                continue
            go_without(f"{part} was not found on this machine", is_opt_in=part in OPT_IN)


@pytest.fixture(scope="session")
def root() -> Path:
    """The project's own folder."""
    return ROOT
