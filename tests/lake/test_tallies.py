"""Counts and versions in the state, on both databases: everybody's are added, nobody's are lost, one version follows another."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from lake import configurations, tallies
from lake.configurations import Version
from lake.errors import CommitConflictError, StorageError
from lake.instants import system_clock
from lake.state import State
from lake.tallies import Key
from tests.postgres import Server

CALLS, LAST = Key("calls", "yahoo", "chart", "OK"), Key("last", "yahoo", "chart")


@pytest.fixture(params=["sqlite", "postgresql"])
def state(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[State]:
    url = f"sqlite:///{tmp_path / 'state.db'}"
    if request.param == "postgresql":
        server: Server = request.getfixturevalue("postgres")
        url = server.database("tallies")
    made = State(url, system_clock)
    made.create()
    yield made
    made.close()


def test_counts_add_up_whoever_adds_and_marks_only_rise(state: State) -> None:
    def work(number: int) -> None:
        for step in range(10):
            tallies.add(state, {CALLS: 2, Key("bytes", "yahoo"): number}, {LAST: number * 100 + step})

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))
    tallies.add(state, {CALLS: 0}, {})
    assert tallies.read(state) == {CALLS: 80, Key("bytes", "yahoo"): 60, LAST: 309}
    dumped = state.dump()
    state.load(dumped)
    assert tallies.read(state)[CALLS] == 80


def test_a_version_follows_the_one_that_its_author_saw(state: State) -> None:
    def put(etag: str, before: str | None, written: list[str]) -> Version:
        new = Version(0, etag, 1, "ann", "why", f"text of {etag}")
        return configurations.put(state, new, before, {"changes": []}, lambda: written.append(etag))

    written: list[str] = []
    assert configurations.latest(state) is None
    assert put("a", None, written).version == 1
    assert put("b", "a", written).version == 2
    for before in (None, "a"):
        with pytest.raises(CommitConflictError):
            put("c", before, written)

    def fail() -> None:
        raise StorageError("no room for the file")

    with pytest.raises(StorageError):
        configurations.put(state, Version(0, "d", 1, "ann", "", "text"), "b", {}, fail)
    assert [each.etag for each in configurations.versions(state)] == ["a", "b"] == written
    assert [act["detail"]["after"] for act in state.audit_log()] == ["a", "b"]
