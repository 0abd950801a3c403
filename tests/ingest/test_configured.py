"""The configuration in force: watched, versioned, audited; a wrong file changes nothing, two writers do not lose each other."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ingest.configuration_text import merged
from ingest.configured import BY_FILE, Configured, write_default
from lake.errors import CommitUnknownError, DemandError, StorageError, WrongConfigurationError
from lake.instants import NANOS_PER_SECOND
from lake.state import State
from quality_checks.alerts import Alerts

FIRST = "[providers.alpaca]\npriority = 1\n"
SECOND = "[providers.alpaca]\npriority = 2\n"
WRONG = "[providers.alpaca]\npriority = -2\nplann = 1\n"


class Ticking:
    """A clock that its owner moves."""

    def __init__(self) -> None:
        self.ns = 1_700_000_000 * NANOS_PER_SECOND

    def __call__(self) -> int:
        return self.ns

    def pass_s(self, seconds: float) -> None:
        self.ns += int(seconds * NANOS_PER_SECOND)


@pytest.fixture
def clock() -> Ticking:
    return Ticking()


@pytest.fixture
def state(tmp_path: Path, clock: Ticking) -> Iterator[State]:
    made = State(f"sqlite:///{tmp_path / 'state.db'}", clock)
    made.create()
    yield made
    made.close()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "tickhouse.toml"


def priority(configured: Configured) -> int:
    return configured.in_force().provider("alpaca").priority


def looks(configured: Configured, clock: Ticking, count: int = 2) -> int:
    """Let a process look so many times, a second apart; return what it then has."""
    for _ in range(count):
        clock.pass_s(1.1)
        priority(configured)
    return priority(configured)


def test_a_changed_file_is_taken_up_once_it_has_settled_and_is_audited(state: State, file: Path, clock: Ticking) -> None:
    configured = Configured(state, file, clock)
    assert priority(configured) == 100 and configured.versions() == []
    file.write_text(FIRST)
    assert looks(configured, clock, 1) == 100
    file.write_text(FIRST + "# more\n")
    assert looks(configured, clock, 1) == 100
    assert looks(configured, clock, 1) == 1
    other = Configured(state, file, clock)
    assert priority(other) == 1 and looks(other, clock) == 1
    assert [(each.version, each.who) for each in configured.versions()] == [(1, BY_FILE)]
    (audited,) = state.audit_log()
    assert audited["what"] == "config.set"
    assert audited["detail"]["changes"] == [{"where": "providers.alpaca.priority", "before": None, "after": 1}]


def test_a_wrong_file_keeps_the_last_good_one_also_for_who_comes_later(state: State, file: Path, clock: Ticking) -> None:
    file.write_text(FIRST)
    configured = Configured(state, file, clock)
    assert priority(configured) == 1
    file.write_text(WRONG)
    assert looks(configured, clock) == 1
    assert priority(Configured(state, file, clock)) == 1
    assert [each["line"] for each in configured.refusal()] == [2, 3]
    (alert,) = Alerts(state, clock).listed()
    assert "did you mean plan?" in alert.detail
    file.unlink()
    assert looks(configured, clock) == 1
    assert configured.refusal()[0]["what"].endswith("is gone")
    file.write_text(SECOND)
    assert looks(configured, clock) == 2
    assert configured.refusal() == [] and Alerts(state, clock).listed() == []


def test_a_change_is_written_whole_and_wants_what_its_author_saw(state: State, file: Path, clock: Ticking) -> None:
    write_default(file)
    assert not write_default(file)
    configured, other = Configured(state, file, clock), Configured(state, file, clock)
    seen = configured.now().etag
    made = configured.change(lambda text: merged(text, {"providers": {"alpaca": {"priority": 3}}}), "anna", "cheaper", seen)
    assert file.read_text() == made.text and "# --- universes" in made.text and made.version == 2
    with pytest.raises(DemandError):
        other.change(lambda _: SECOND, "ben", "mine", seen)
    assert looks(other, clock, 1) == 3
    with pytest.raises(WrongConfigurationError):
        other.change(lambda _: WRONG, "ben", "mine")
    assert other.change(lambda text: text, "ben", "nothing new").version == 2
    file.write_text(SECOND)
    with pytest.raises(DemandError):
        other.change(lambda _: FIRST, "ben", "the hand was quicker", made.etag)
    assert priority(other) == 2
    assert [(each.who, each.reason) for each in configured.versions()][1:] == [
        ("anna", "cheaper"),
        (BY_FILE, "tickhouse.toml was changed"),
    ]


def test_a_file_that_cannot_be_written_changes_nothing(state: State, tmp_path: Path, clock: Ticking) -> None:
    (tmp_path / "taken").write_text("no folder")
    configured = Configured(state, tmp_path / "taken" / "tickhouse.toml", clock)
    with pytest.raises(StorageError):
        configured.change(lambda _: FIRST, "anna", "try")
    assert configured.versions() == [] and priority(configured) == 100


def test_writers_at_the_same_time_all_count(state: State, file: Path, clock: Ticking) -> None:
    def add(number: int) -> int:
        mine, tries = Configured(state, file, clock), 0
        while True:
            seen, tries = mine.now().etag, tries + 1
            try:
                mine.change(
                    lambda text: merged(text, {"universes": {f"u{number}": {"symbols": [f"S{number}"]}}}), f"w{number}", "", seen
                )
                return tries
            except DemandError:
                clock.pass_s(2)

    with ThreadPoolExecutor(4) as pool:
        tries = list(pool.map(add, range(12)))
    made = Configured(state, file, clock).in_force()
    assert sorted(made.universes) == sorted(f"u{number}" for number in range(12))
    assert len(Configured(state, file, clock).versions()) == 12 <= sum(tries)


WRITER = """
import sys
from pathlib import Path
from ingest.configured import write_file
for number in range(100_000):
    write_file(Path(sys.argv[1]), f"[providers.alpaca]\\npriority = {number % 100}\\n" + "# filling\\n" * 2_000)
    print(number, flush=True)
"""


def test_a_writer_killed_in_the_middle_leaves_a_whole_file(file: Path, state: State, clock: Ticking) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen([sys.executable, "-c", WRITER, str(file)], stdout=subprocess.PIPE, env=environment) as writer:
        assert writer.stdout is not None
        for _ in range(20):
            writer.stdout.readline()
        writer.kill()
    assert file.read_text().count("# filling") == 2_000
    assert 0 <= priority(Configured(state, file, clock)) < 100


def test_a_state_that_cannot_be_asked_changes_nothing_for_who_runs(tmp_path: Path, file: Path, clock: Ticking) -> None:
    (tmp_path / "elsewhere").mkdir()
    broken = State(f"sqlite:///{tmp_path / 'elsewhere' / 'state.db'}", clock)
    broken.create()
    file.write_text(FIRST)
    configured = Configured(broken, file, clock)
    assert priority(configured) == 1
    broken.close()
    shutil.rmtree(tmp_path / "elsewhere")
    file.write_text(SECOND)
    assert looks(configured, clock) == 1
    with pytest.raises(CommitUnknownError):
        Configured(broken, file, clock).in_force()
    broken.close()
