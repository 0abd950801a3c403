"""Ray tasks over the same steps: the runner for work beyond one machine. Optional: `pip install tickhouse[ray]`.

Workers open the lake once each, by the settings: catalog, state and files must be reachable from where they run. Without a
cluster one is started on loopback for as long as the runner lives, without dashboard and usage statistics.
"""

from __future__ import annotations

import importlib
import inspect
import os
import socket
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from functools import lru_cache
from typing import Any

from lake.catalog import Lake
from lake.errors import SettingsError, WorkerError
from lake.instants import Clock
from lake.runner import Answer, Step, Task, Tries, answer
from lake.settings import Settings
from lake.values import RunnerKind

_STARTS = 3
_OBJECT_STORE_BYTES = 256 << 20
"""Of a cluster started here: tasks and answers are small, and what is larger goes to the disk."""
_PORTS = ("metrics_agent_port", "metrics_export_port", "dashboard_agent_listen_port", "runtime_env_agent_port")
"""What the agents of a node listen to, by the names under which they write it down."""


class RayRunner:
    """Tasks of a Ray cluster; each is tried by Ray once, so that tries are counted in one place."""

    kind = RunnerKind.RAY

    def __init__(self, settings: Settings, clock: Clock) -> None:
        os.environ["RAY_USAGE_STATS_ENABLED"] = "0"  # read by Ray while it is imported and started
        try:
            self._ray: Any = importlib.import_module("ray")
        except ImportError as error:
            raise SettingsError("TICKHOUSE_RUNNER is ray, which is not installed: pip install tickhouse[ray]") from error
        self._settings = settings.model_copy(update={"kill_at": ""})
        self._clock = clock
        if settings.ray_address:
            self._init(address=settings.ray_address)
        else:
            self._init_on_loopback(settings.runner_workers)
        self._remote = self._ray.remote(num_cpus=1, max_retries=0)(_work)

    def _init(self, **options: object) -> None:
        self._ray.init(
            configure_logging=False,
            log_to_driver=False,
            runtime_env={"env_vars": {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}},
            **options,
        )

    def _init_on_loopback(self, workers: int) -> None:
        """Start a cluster that listens on 127.0.0.1 only: by itself Ray puts the machine's own address in its place."""
        services: Any = importlib.import_module("ray._private.services")
        resolved, start_raylet = services.resolve_ip_for_localhost, services.start_raylet
        services.resolve_ip_for_localhost, services.start_raylet = _as_given, _with_ports_told(start_raylet)
        try:
            failures: list[str] = []
            while not self._ray.is_initialized():
                try:
                    self._init(
                        address="local",
                        num_cpus=workers,
                        include_dashboard=False,
                        object_store_memory=_OBJECT_STORE_BYTES,
                        _node_ip_address="127.0.0.1",
                    )
                except Exception as error:  # Ray raises a bare one
                    failures.append(str(error))
                    self._ray.shutdown()
                    if len(failures) >= _STARTS:
                        raise WorkerError(f"Ray did not start, {_STARTS} times: {failures[-1]}") from error
        finally:
            services.resolve_ip_for_localhost, services.start_raylet = resolved, start_raylet

    def run(self, step: Step, tasks: Sequence[Task]) -> Iterator[tuple[Task, Any]]:
        """Yield (task, value) as they end."""
        tries = Tries()
        waiting = deque(range(len(tasks)))
        busy: dict[Any, tuple[int, float]] = {}
        try:
            while waiting or busy:
                while waiting and len(busy) < self._settings.runner_workers:
                    number = waiting.popleft()
                    asked = self._remote.remote(step, self._settings, self._clock, tasks[number])
                    busy[asked] = (number, time.monotonic() + self._settings.runner_timeout_s)
                for asked, found in self._answers(busy):
                    number, _ = busy.pop(asked)
                    if found.failure is not None:
                        tries.failed(number, tasks[number], found.failure)
                        waiting.append(number)
                        continue
                    if found.error is not None:
                        raise found.error
                    yield tasks[number], found.value
        finally:
            for asked in busy:
                self._ray.cancel(asked, force=True)

    def _answers(self, busy: dict[Any, tuple[int, float]]) -> list[tuple[Any, Answer]]:
        """Return the answers there are, waiting for one; a task beyond its time has failed and is killed."""
        nearest = min(deadline for _, deadline in busy.values())
        ready, _ = self._ray.wait(list(busy), num_returns=1, timeout=max(0.0, nearest - time.monotonic()))
        found = [(asked, self._told(asked)) for asked in ready]
        now = time.monotonic()
        late = Answer(failure=f"no answer within {self._settings.runner_timeout_s:g} s (runner_timeout_s)")
        for asked, (_, deadline) in busy.items():
            if asked not in ready and deadline <= now:
                self._ray.cancel(asked, force=True)
                found.append((asked, late))
        return found

    def _told(self, asked: Any) -> Answer:
        try:
            found = self._ray.get(asked)
        except self._ray.exceptions.RayError as error:  # the worker died, or its machine
            return Answer(failure=f"the worker died ({type(error).__name__})")
        assert isinstance(found, Answer)
        return found

    def close(self) -> None:
        """Leave the cluster; one that was started here ends."""
        self._ray.shutdown()


def _as_given(host: str) -> str:
    return host


def _with_ports_told(start: Callable[..., Any]) -> Callable[..., Any]:
    """Return Ray's start of a node with its agents' ports chosen, and written down where it looks for them, beforehand.

    By itself a node gives up when its agents, two Python programs, have not written them down within 15 s; Ray 2.60 lets nobody
    change that, and on a machine with eight programs to a core they took 37 s. Whoever calls an agent tries until it answers.
    """
    signature = inspect.signature(start)

    def started(*given: Any, **named: Any) -> Any:
        ports = dict(zip(_PORTS, _free_ports(len(_PORTS)), strict=True))
        told = signature.bind(*given, **{**named, **ports}).arguments
        persist_port: Any = importlib.import_module("ray._raylet").persist_port
        for name, port in ports.items():
            persist_port(told["session_dir"], told["node_id"], name, port)
        return start(*given, **{**named, **ports})

    return started


def _free_ports(count: int) -> list[int]:
    """Return different ports of 127.0.0.1 to which nobody listens."""
    with ExitStack() as stack:
        held = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in held:
            one.bind(("127.0.0.1", 0))
        return [int(one.getsockname()[1]) for one in held]


def _work(step: Step, settings: Settings, clock: Clock, task: Task) -> Answer:
    """Answer one task in a worker."""
    return answer(step, _lake(settings.model_dump_json(), clock), task)


@lru_cache(maxsize=1)
def _lake(settings: str, clock: Clock) -> Lake:
    """Return the worker's lake, opened once."""
    return Lake.open(Settings.model_validate_json(settings), clock)
