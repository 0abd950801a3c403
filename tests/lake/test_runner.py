"""Runners: one contract over all three. The same rows, whatever dies; one snapshot; no file that nobody names."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest

from lake.catalog import Lake
from lake.commits import commit_to_main, moving_plan
from lake.content import content_hash
from lake.epochs import Epoch
from lake.errors import InvalidValueError, QualityError, SettingsError, WorkerError
from lake.files import files_of_job
from lake.heads import Act
from lake.instants import system_clock
from lake.ray_runner import RayRunner
from lake.runner import LocalRunner, ProcessRunner, Runner, Task, new_job, open_runner, sweep
from lake.scan import read
from lake.settings import load_settings
from lake.tables import table_named
from lake.values import MessageRange, RunnerKind
from tests.lake import working
from tests.lake.made import trades

TRADES = working.TRADES
PARTS, EACH = 6, 10
KINDS = [
    pytest.param(RunnerKind.LOCAL, id="local"),
    pytest.param(RunnerKind.PROCESS, id="process"),
    pytest.param(RunnerKind.RAY, id="ray", marks=pytest.mark.needs("ray")),
]
ELSEWHERE = KINDS[1:]


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    made = tmp_path_factory.mktemp("lake") / "home"
    Lake.create(load_settings(home=made), system_clock).close()
    return made


@pytest.fixture(scope="module", params=KINDS)
def opened(request, home) -> Iterator[tuple[Lake, Runner]]:
    """One lake and one runner of each kind for the tests that leave the lake as it was.

    A test of what only other processes can suffer names ELSEWHERE in its place.
    """
    settings = load_settings(home=home, runner=request.param, runner_workers=2, runner_timeout_s=60)
    with Lake.open(settings, system_clock) as lake, open_runner(lake) as runner:
        yield lake, runner


def tasks(job: str, folder: Path, how: str | None = None, *, always: bool = False) -> list[Task]:
    """Return tasks that write 60 trades by tens; the third fails as told."""
    return [
        Task(
            f"part {number}",
            job=job,
            arguments={
                "first": number * EACH, "last": number * EACH + EACH - 1, "folder": str(folder),
                "how": how if number == 2 else None, "always": always,
            },
        )
        for number in range(PARTS)
    ]  # fmt: skip


def work(lake: Lake, runner: Runner, folder: Path, how: str | None = None) -> str:
    """Do the tasks, commit what they made as one snapshot, sweep; return the hash of the table."""
    job, begun_in = new_job(), Epoch.of(lake.table(TRADES))
    made = [file for _, files in runner.run(working.write_and_fail_once, tasks(job, folder, how)) for file in files]
    ranges = [MessageRange("c1", 0, PARTS * EACH - 1)]
    before = len(lake.table(TRADES).metadata.snapshots)
    plan = moving_plan(Act.APPEND, "binance", {}, {"0": PARTS * EACH}, "run-1", ranges, {})
    commit_to_main(lake, TRADES, made, plan, begun_in)
    assert len(lake.table(TRADES).metadata.snapshots) == before + 1
    left = sweep(lake, TRADES, job, made)
    assert (left > 0) == (how is not None)
    assert {str(path) for path in files_of_job(lake.table(TRADES), job)} == {
        file.file_path.removeprefix("file://") for file in made
    }
    rows = read(lake, TRADES)
    assert sorted(rows["message_seq"].to_pylist()) == list(range(PARTS * EACH))
    return content_hash(table_named(TRADES), rows)


def expected() -> str:
    return content_hash(table_named(TRADES), trades(0, PARTS * EACH - 1))


@pytest.mark.parametrize("kind", KINDS)
def test_every_runner_makes_the_same_rows_in_one_snapshot(tmp_path, kind):
    settings = load_settings(home=tmp_path / "home", runner=kind, runner_workers=2)
    with Lake.create(settings, system_clock) as lake, open_runner(lake) as runner:
        assert runner.kind is kind
        assert work(lake, runner, tmp_path, "raises") == expected()


@pytest.mark.parametrize("how", ["killed", "hung", "asleep"])
@pytest.mark.parametrize("kind", ELSEWHERE)
def test_a_worker_that_dies_or_hangs_is_replaced_and_nothing_is_doubled(tmp_path, kind, how):
    patience_s = 60 if how == "killed" or kind is RunnerKind.RAY else 20
    settings = load_settings(home=tmp_path / "home", runner=kind, runner_workers=2, runner_timeout_s=patience_s)
    with Lake.create(settings, system_clock) as lake, open_runner(lake) as runner:
        assert work(lake, runner, tmp_path, how) == expected()


def test_a_task_that_fails_twice_is_a_clear_error_and_leaves_nothing(opened, tmp_path):
    lake, runner = opened
    job, head = new_job(), lake.head(TRADES)
    with pytest.raises(WorkerError, match=r"part 2: 2 tries failed: OSError: disk of part 2 is gone \(at working.py:\d+\); then"):
        list(runner.run(working.write_and_fail_once, tasks(job, tmp_path, "raises", always=True)))
    assert sweep(lake, TRADES, job) >= 2
    assert files_of_job(lake.table(TRADES), job) == [] and lake.head(TRADES) == head
    assert [value for _, (_, value) in runner.run(working.echo, [Task("next", arguments={"value": 1})])] == [1]


@pytest.mark.parametrize("opened", ELSEWHERE, indirect=True)
def test_a_worker_killed_twice_is_a_clear_error(opened, tmp_path):
    lake, runner = opened
    job = new_job()
    with pytest.raises(WorkerError, match="part 2: 2 tries failed: the worker died"):
        list(runner.run(working.write_and_fail_once, tasks(job, tmp_path, "killed", always=True)))
    sweep(lake, TRADES, job)
    assert len(list(runner.run(working.echo, [Task("next")]))) == 1


def test_what_a_step_raises_on_purpose_is_raised_as_it_is(opened):
    _, runner = opened
    with pytest.raises(InvalidValueError, match="part 1 is wrong"):
        list(runner.run(working.refuse, [Task("part 1")]))
    with pytest.raises(QualityError) as caught:
        list(runner.run(working.refuse, [Task("part 1", arguments={"report": {"failed": 3}})]))
    assert caught.value.report == {"failed": 3}


def test_arguments_and_answers_of_any_size_pass(opened):
    _, runner = opened
    table = pa.table({"n": pa.array(range(100_000))})
    given = [Task(str(size), arguments={"value": table.slice(0, size)}) for size in (0, 10, 100_000)]
    found = {task.partition: value for task, (_, value) in runner.run(working.echo, given)}
    assert {name: rows.num_rows for name, rows in found.items()} == {"0": 0, "10": 10, "100000": 100_000}
    assert found["100000"].equals(table)


def test_a_caller_that_stops_listening_leaves_a_runner_that_works(opened):
    _, runner = opened
    several = [Task(str(number), arguments={"value": number}) for number in range(8)]
    running = runner.run(working.echo, several)
    next(running)
    running.close()
    assert sorted(value for _, (_, value) in runner.run(working.echo, several)) == list(range(8))
    assert list(runner.run(working.echo, [])) == []


def test_processes_are_kept_from_task_to_task_and_are_not_ours(home):
    with (
        Lake.open(load_settings(home=home, runner_workers=1), system_clock) as lake,
        open_runner(lake, RunnerKind.PROCESS) as runner,
    ):
        assert isinstance(runner, ProcessRunner)
        ids = {pid for _, (pid, _) in runner.run(working.echo, [Task("a"), Task("b")])}
        ids |= {pid for _, (pid, _) in runner.run(working.echo, [Task("c")])}
        assert len(ids) == 1 and os.getpid() not in ids
    with Lake.open(load_settings(home=home), system_clock) as lake, open_runner(lake) as runner:
        assert isinstance(runner, LocalRunner)
        assert [pid for _, (pid, _) in runner.run(working.echo, [Task("a")])] == [os.getpid()]


def test_ray_that_is_not_installed_is_a_setting_to_mend(home, tmp_path):
    import subprocess
    import sys

    code = (
        "import sys; sys.modules['ray'] = None\n"
        "from lake.errors import SettingsError\n"
        "from lake.ray_runner import RayRunner\n"
        "from lake.settings import load_settings\n"
        "try:\n    RayRunner(load_settings(home='x'), int)\n"
        "except SettingsError as error:\n    print(error)\n"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert "pip install tickhouse[ray]" in told.stdout
    assert issubclass(SettingsError, Exception) and RayRunner.kind is RunnerKind.RAY
