"""Runners: work that outgrows one process is a list of tasks; workers return what they made, one committer commits.

A *step* is a pure function of a module, `step(lake, task) -> value`: it reads what its task names, writes and fsyncs files
under names of its own, and returns their `DataFile` metadata or another small value. It never commits, takes no lease and
moves no position. So a step may run twice, or die in the middle, and nothing is doubled: files that no commit names are swept
(`sweep`), or, when the committer died too, removed with every other unreachable file by maintenance.

    local      in this process, one task at a time: bounded memory; a death is ours, a hang is not bounded
    process    worker processes on this machine, each with the lake opened once
    ray        Ray tasks over the same functions (`pip install tickhouse[ray]`), see lake/ray_runner.py

What a step raises on purpose (a TickhouseError) is raised as it is. A worker that died, hung longer than
`runner_timeout_s`, or failed otherwise is given up and its task tried once more, by another; the second time is a WorkerError.
"""

from __future__ import annotations

import multiprocessing
import signal
import tempfile
import time
import traceback
import uuid
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.reduction import ForkingPickler
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol

from pyiceberg.manifest import DataFile

from lake import files
from lake.catalog import Lake
from lake.errors import TickhouseError, WorkerError
from lake.instants import Clock
from lake.settings import Settings
from lake.values import RunnerKind

TRIES = 2
_IN_PIPE = 32 << 10
"""Longer answers go through a file: whoever is stopped in the middle of a pipe would stop its reader too."""
_NOTHING: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Task:
    """One unit of work.

    partition   what it is about, for people and logs
    inputs      the files it reads
    arguments   plain values and Arrow tables that the step needs beside
    job         stands at the start of the name of every file it writes (`lake.files.write_files`)
    """

    partition: str
    inputs: tuple[str, ...] = ()
    arguments: Mapping[str, Any] = field(default_factory=dict)
    job: str = ""


Step = Callable[[Lake, Task], Any]


class Runner(Protocol):
    """Does tasks somewhere. Not for several threads at once."""

    @property
    def kind(self) -> RunnerKind:
        """Its name."""
        ...

    def run(self, step: Step, tasks: Sequence[Task]) -> Iterator[tuple[Task, Any]]:
        """Yield (task, what `step` returned) as tasks end, in any order. Raises what a step raises on purpose, or WorkerError.

        A caller that stops listening, or meets an error, leaves no worker busy.
        """
        ...

    def close(self) -> None:
        """End the workers."""
        ...


def new_job() -> str:
    """Return a name for one list of tasks, never given before."""
    return uuid.uuid4().hex[:16]


def sweep(lake: Lake, table: str, job: str, keep: Iterable[DataFile] = ()) -> int:
    """Delete the data files that tries of a job left and nobody names; return how many.

    keep    the files that the tasks returned, which a commit may name by now
    """
    kept = {path.name for path in files.paths_of(keep)}
    left = [path for path in files.files_of_job(lake.table(table), job) if path.name not in kept]
    files.delete_paths(left)
    return len(left)


@contextmanager
def open_runner(lake: Lake, kind: RunnerKind | None = None) -> Iterator[Runner]:
    """Open the runner of a kind (default: the settings'), and close it. Raises SettingsError when Ray is not installed."""
    settings = lake.settings
    found: Runner
    match kind or settings.runner:
        case RunnerKind.LOCAL:
            found = LocalRunner(lake)
        case RunnerKind.PROCESS:
            found = ProcessRunner(settings, lake.clock)
        case RunnerKind.RAY:
            from lake.ray_runner import RayRunner

            found = RayRunner(settings, lake.clock)
    try:
        yield found
    finally:
        found.close()


class Tries:
    """Counts the tries of each task of one list; a task that failed too often ends the list."""

    def __init__(self) -> None:
        self._failed: dict[int, list[str]] = {}

    def failed(self, number: int, task: Task, why: str) -> None:
        """Note a failure of a task. Raises WorkerError when it was the last try."""
        told = self._failed.setdefault(number, [])
        told.append(why)
        if len(told) >= TRIES:
            raise WorkerError(f"{task.partition}: {len(told)} tries failed: {'; then '.join(told)}. Nothing was committed")


# --- answers: what goes from a worker to the committer


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of one try: a value, an error raised on purpose, or (`failure`) anything else."""

    value: Any = None
    error: TickhouseError | None = None
    failure: str | None = None


def answer(step: Step, lake: Lake, task: Task) -> Answer:
    """Return what became of a step."""
    try:
        return Answer(value=step(lake, task))
    except TickhouseError as error:
        return Answer(error=error)
    except Exception as error:  # the worker is given up, and the text told by the committer
        last = traceback.extract_tb(error.__traceback__)[-1]
        return Answer(failure=f"{type(error).__name__}: {error} (at {Path(last.filename).name}:{last.lineno})")


# --- local


class LocalRunner:
    """One task at a time in this process, over the caller's own lake."""

    kind = RunnerKind.LOCAL

    def __init__(self, lake: Lake) -> None:
        self._lake = lake

    def run(self, step: Step, tasks: Sequence[Task]) -> Iterator[tuple[Task, Any]]:
        """Yield (task, value) in the order of the tasks."""
        tries = Tries()
        for number, task in enumerate(tasks):
            found = answer(step, self._lake, task)
            while found.failure is not None:
                tries.failed(number, task, found.failure)
                found = answer(step, self._lake, task)
            if found.error is not None:
                raise found.error
            yield task, found.value

    def close(self) -> None:
        """End nothing: no worker was started."""
        del self._lake


# --- processes


class _Worker:
    """One process that answers one task after another until its pipe is closed."""

    def __init__(self, settings: Settings, clock: Clock, folder: str) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, settings, clock, folder), daemon=True)
        self._process.start()
        theirs.close()

    def ask(self, step: Step, task: Task) -> None:
        """Give it a task. Raises OSError when it is dead."""
        self.connection.send((step, task))

    def told(self) -> Answer:
        """Return its answer; blocks only while a small one arrives."""
        try:
            body = self.connection.recv_bytes()
        except (EOFError, OSError):
            self._process.join()
            return Answer(failure=f"the worker died (exit code {self._process.exitcode})")
        if body[:1] == b"f":
            path = Path(body[1:].decode())
            body = b"p" + path.read_bytes()
            path.unlink()
        found = ForkingPickler.loads(body[1:])
        assert isinstance(found, Answer)
        return found

    def end(self, *, at_once: bool) -> None:
        """Close its pipe, upon which it ends; `at_once`: kill it, also when it is stopped."""
        if at_once:
            self._process.kill()
        self.connection.close()
        self._process.join()
        self._process.close()


class ProcessRunner:
    """Worker processes of this machine, started as they are needed, kept until `close`."""

    kind = RunnerKind.PROCESS

    def __init__(self, settings: Settings, clock: Clock) -> None:
        self._settings = settings.model_copy(update={"kill_at": ""})
        self._clock = clock
        self._folder = tempfile.TemporaryDirectory(prefix="tickhouse-runner-")
        self._idle: list[_Worker] = []

    def run(self, step: Step, tasks: Sequence[Task]) -> Iterator[tuple[Task, Any]]:
        """Yield (task, value) as they end."""
        tries = Tries()
        waiting = deque(range(len(tasks)))
        busy: dict[Connection, tuple[_Worker, int, float]] = {}
        try:
            while waiting or busy:
                while waiting and len(busy) < self._settings.runner_workers:
                    worker, number = self._worker(), waiting.popleft()
                    busy[worker.connection] = (worker, number, time.monotonic() + self._settings.runner_timeout_s)
                    self._ask(worker, step, tasks[number])
                for connection, found in self._answers(busy):
                    worker, number, _ = busy.pop(connection)
                    if found.failure is not None:
                        worker.end(at_once=True)
                        tries.failed(number, tasks[number], found.failure)
                        waiting.append(number)
                        continue
                    self._idle.append(worker)
                    if found.error is not None:
                        raise found.error
                    yield tasks[number], found.value
        finally:
            for worker, _, _ in busy.values():
                worker.end(at_once=True)

    def _worker(self) -> _Worker:
        return self._idle.pop() if self._idle else _Worker(self._settings, self._clock, self._folder.name)

    @staticmethod
    def _ask(worker: _Worker, step: Step, task: Task) -> None:
        try:
            worker.ask(step, task)
        except OSError:
            return  # it died while it was idle: its end shows as its answer

    def _answers(self, busy: Mapping[Connection, tuple[_Worker, int, float]]) -> list[tuple[Connection, Answer]]:
        """Return the answers there are, waiting for one; a worker beyond its time has failed."""
        nearest = min(deadline for _, _, deadline in busy.values())
        ready = wait(list(busy), timeout=max(0.0, nearest - time.monotonic()))
        found = [(connection, worker.told()) for connection, (worker, _, _) in busy.items() if connection in ready]
        now = time.monotonic()
        late = Answer(failure=f"no answer within {self._settings.runner_timeout_s:g} s (runner_timeout_s)")
        return found + [(one, late) for one, (_, _, deadline) in busy.items() if one not in ready and deadline <= now]

    def close(self) -> None:
        """End the workers and remove their answers."""
        while self._idle:
            self._idle.pop().end(at_once=False)
        self._folder.cleanup()


def _serve(connection: Connection, settings: Settings, clock: Clock, folder: str) -> None:
    """Answer tasks until the pipe is closed: a worker outlives its committer by one task at most."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the committer, which ends its workers
    lake: Lake | None = None
    while True:
        try:
            step, task = connection.recv()
        except EOFError:
            break
        if lake is None:
            lake = Lake.open(settings, clock)
        body = bytes(ForkingPickler.dumps(answer(step, lake, task)))
        if len(body) <= _IN_PIPE:
            connection.send_bytes(b"p" + body)
        else:
            path = Path(folder) / uuid.uuid4().hex
            path.write_bytes(body)
            connection.send_bytes(b"f" + str(path).encode())
    if lake is not None:
        lake.close()
