"""A state of its own and a clock that is set, for what is decided by both: fixtures `state` and `clock`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ingest.asks import Request
from ingest.transport.http import Call
from ingest.verdicts import Reading, Verdict
from lake.instants import NANOS_PER_SECOND
from lake.settings import load_settings
from lake.state import State

START_NS = 1_800_000_000 * NANOS_PER_SECOND
QUOTE = Request("GET", "/api/v1/quote", endpoint="quote")


class Clock:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.now_ns = START_NS

    def __call__(self) -> int:
        return self.now_ns

    def move(self, seconds: float) -> None:
        """Let time pass."""
        self.now_ns += int(seconds * NANOS_PER_SECOND)


@pytest.fixture
def clock() -> Clock:
    """Give a clock that stands."""
    return Clock()


@pytest.fixture
def state(tmp_path: Path, clock: Clock) -> Iterator[State]:
    """Give an empty state in a folder."""
    made = State(load_settings(home=tmp_path).state_url, clock)
    made.create()
    yield made
    made.close()


def call(verdict: Verdict, took_s: float = 0.1, detail: str = "", retry_after_s: float | None = None) -> Call:
    """Return a call that ended with a verdict."""
    end_ns = START_NS + int(took_s * NANOS_PER_SECOND)
    return Call("GET", "http://provider/quote", 1, START_NS, end_ns, Reading(verdict, detail, retry_after_s))
