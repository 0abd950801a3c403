"""What the configuration schedules, captured from providers themselves: polls when due, streams as long as wanted.

Both follow the configuration while they run. When a poll was begun stands in the state: a restart does not ask again too soon.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import Protocol

from ingest.capture import CaptureReport
from ingest.configured import Configured
from ingest.reach import themselves
from lake.catalog import Lake
from lake.errors import TickhouseError
from lake.instants import NANOS_PER_SECOND, to_datetime
from serving.operate import asking
from serving.operate.asking import Wanted
from serving.operate.configured import open_configured
from serving.operate.logs import open_log
from serving.operate.rights import live_permits
from serving.operate.scheduled import KIND, Planned, begun, due, planned

LOOK_S = 1.0
AGAIN_S = 30.0
"""Pause of a stream that ended while it is still wanted."""
Tell = Callable[..., None]


class Capture(Protocol):
    """How something is captured, until `is_stopped`."""

    def __call__(self, wanted: Wanted, is_stopped: Callable[[], bool]) -> list[CaptureReport]:
        """Capture it; raises TickhouseError."""
        ...


class Schedules:
    """The schedules of one process; `turn` is called again and again by one thread."""

    def __init__(self, lake: Lake, configured: Configured, capture: Capture, tell: Tell, stopping: threading.Event) -> None:
        self._lake, self._configured, self._capture, self._tell = lake, configured, capture, tell
        self._stopping = stopping
        self._streams: dict[str, tuple[Planned, threading.Thread]] = {}

    def turn(self) -> None:
        """Begin the streams that are wanted, and make the polls that are due, one after the other."""
        plans = planned(self._configured.in_force())
        for name, (_, thread) in list(self._streams.items()):
            if not thread.is_alive():
                del self._streams[name]
        now = to_datetime(self._lake.clock())
        for name, plan in plans.items():
            if plan.is_stream and name not in self._streams and plan.is_time(now):
                thread = threading.Thread(target=self._listen, args=(plan,), name=f"schedule {name}")
                self._streams[name] = plan, thread
                thread.start()
        for plan in due(plans, begun(self._lake.state), self._lake.clock()):
            if self._stopping.is_set() or planned(self._configured.in_force()).get(plan.name) != plan:
                continue
            self._run(plan, self._stopping.is_set)

    def close(self) -> None:
        """Wait for the streams, which end when the event is set."""
        for _, thread in self._streams.values():
            thread.join()

    def _listen(self, plan: Planned) -> None:
        """Listen as long as the schedule stays as it is and its time lasts."""

        def is_over() -> bool:
            return self._stopping.is_set() or not self._is_wanted(plan)

        while not is_over():
            self._run(plan, is_over)
            if not is_over():
                self._stopping.wait(AGAIN_S)

    def _is_wanted(self, plan: Planned) -> bool:
        return planned(self._configured.in_force()).get(plan.name) == plan and plan.is_time(to_datetime(self._lake.clock()))

    def _run(self, plan: Planned, is_stopped: Callable[[], bool]) -> None:
        begun_ns = self._lake.clock()
        told = {"begun_ns": begun_ns, "since_ns": self._since_ns(plan, begun_ns)}
        self._lake.state.save_document(KIND, plan.name, {**told, "ended": None})
        try:
            reports = self._capture(plan.wanted(to_datetime(begun_ns)), is_stopped)
        except TickhouseError as error:
            words = f"{type(error).__name__}: {error}"
            self._tell("trouble", words=f"schedule {plan.name}: {words}")
        else:
            words = "; ".join(f"{one.feed}: {one.messages:,} messages, {one.ended}" for one in reports)
            self._tell("captured", words=f"schedule {plan.name}: {words}")
        self._lake.state.save_document(KIND, plan.name, {**told, "ended": words})

    def _since_ns(self, plan: Planned, now_ns: int) -> int:
        """Return since when it is done without a break: one that came back after more than two pauses begins anew."""
        before = self._lake.state.document(KIND, plan.name)
        longest_ns = round(2 * plan.schedule.every_s * NANOS_PER_SECOND)
        if before is None or not 0 <= now_ns - int(before["begun_ns"]) <= longest_ns:
            return now_ns
        return int(before.get("since_ns", now_ns))


def run(lake: Lake, stopping: threading.Event, tell: Tell) -> None:
    """Follow the schedules until the stop, each capture with leave for live work."""
    configured = open_configured(lake)
    reach = themselves(os.environ, configured.in_force)

    def capture(wanted: Wanted, is_stopped: Callable[[], bool]) -> list[CaptureReport]:
        log = open_log(lake.settings)  # one a thread
        with live_permits(lake, log, reach) as permits:
            return asking.capture(lake, log, wanted, reach, is_stopped, permits)

    schedules = Schedules(lake, configured, capture, tell, stopping)
    tell("waiting", words="follows the schedules of the configuration")
    try:
        while not stopping.is_set():
            schedules.turn()
            stopping.wait(LOOK_S)
    finally:
        stopping.set()
        schedules.close()
