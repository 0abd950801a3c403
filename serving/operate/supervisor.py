"""`tickhouse up`: simulator, captures, pipeline, topics, HTTP and notebooks, each a process, watched and stopped together.

The parts share nothing but the lake, the log and the state. One that dies is started again after a growing wait and goes on
where it was; a wrong setting ends all, with its words.
"""

from __future__ import annotations

import logging
import os
import queue
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.live import Live

from lake.catalog import Lake
from lake.errors import SettingsError
from lake.instants import system_clock
from lake.settings import Settings
from serving.operate.board import Board
from serving.operate.children import Child, Event
from serving.operate.listening import LOOPBACK, Listener, bound
from serving.operate.planning import Plan, planned, playing

if TYPE_CHECKING:
    from serving.read_through import ReadThrough

LOGGER = logging.getLogger("tickhouse.up")
GRACE_S = 10.0
"""How long a part may take to stop; then it is killed, which is as safe as any crash."""
LOOK_S = 0.25
Say = Callable[[str], None]


class WebServer(Listener):
    """The HTTP server of one lake; `read_through` asks providers for what the lake misses."""

    def __init__(self, lake: Lake, host: str, port: int, read_through: ReadThrough | None = None) -> None:
        from serving.web.app import create_app  # slow to import, and of no use to `up` itself

        super().__init__(create_app(lake, is_loopback=host in LOOPBACK), host, port)
        self.app.state.read_through = read_through

    def run(self) -> None:
        """Answer until SIGINT or SIGTERM, when called in the main thread; else until `stop`."""
        self.app.state.worker.wake()  # jobs that the last stop left unfinished
        try:
            super().run()
        finally:
            self.app.state.worker.stop()


@dataclass(frozen=True, slots=True)
class Ready:
    """Where the API answers."""

    address: str
    is_loopback: bool


@dataclass(frozen=True, slots=True)
class Audience:
    """Who is told.

    say        takes a line at a time, where there is no terminal
    ready      is called once, when the API answers
    hear       takes every event of every part, for machines
    terminal   shows the live page
    """

    say: Say
    ready: Callable[[Ready], None]
    hear: Callable[[dict[str, Any]], None] | None = None
    terminal: Console | None = None


def up(settings: Settings, plan: Plan, to: Audience) -> None:
    """Run everything until SIGINT or SIGTERM. What a stop interrupts goes on at the next start.

    A provider whose keys are not in the environment is told and left out. Raises SettingsError when nobody is left, and, after
    stopping the rest, when a part cannot run with these settings.
    """
    plan.left_out(os.environ)
    bound(plan.host, plan.port).close()  # tells a taken port before anything starts
    Lake.create(settings, system_clock).close()
    stopping = threading.Event()
    with _stopped_by_signals(stopping):
        _System(settings, plan, to).run(stopping)


class _System:
    """The children of one `up`, and what they told."""

    def __init__(self, settings: Settings, plan: Plan, to: Audience) -> None:
        self._settings, self._plan, self._to, self._ready = settings, plan, to, to.ready
        self._heard: queue.Queue[Event] = queue.Queue()
        self._board = Board(str(settings.home))
        self._fatal: str | None = None
        self._is_stopping = False
        self._children = planned(settings, plan, os.environ)
        self._simulator = next((child for child in self._children if child.name == "simulator"), None)

    def run(self, stopping: threading.Event) -> None:
        """Start, watch and restart the parts until `stopping`; raises SettingsError when a part cannot run."""
        try:
            with self._shown() as refresh:
                for child in self._children:
                    if child.state == "left out":
                        self._tell(f"{child.name}: left out, {child.words}")
                while not stopping.is_set() and self._fatal is None:
                    self._start_what_waits()
                    self._listen()
                    refresh()
                self._stop(refresh)
        finally:
            for child in self._children:
                child.kill()
        if self._fatal is not None:
            raise SettingsError(self._fatal)
        self._to.say("stopped; `tickhouse up` goes on where this ended")

    def _start_what_waits(self) -> None:
        now = time.monotonic()
        for child in self._children:
            if child.state == "waiting" and child.start_at <= now:
                child.start(self._heard, now)

    def _listen(self) -> None:
        """Take everything that was told by now, waiting a moment for the first."""
        try:
            event = self._heard.get(timeout=LOOK_S)
            while True:
                self._take(*event)
                event = self._heard.get_nowait()
        except queue.Empty:
            return

    def _take(self, child: Child, event: dict[str, Any] | None) -> None:
        now = time.monotonic()
        if event is None:
            code = child.ended(now, is_stopping=self._is_stopping)
            if child.state == "gave up":
                self._fatal = f"{child.name}: {child.words or f'ended with code {code}; see {child.log}'}"
            elif child.state == "waiting":
                LOGGER.error("%s: %s", child.name, child.words)
                self._tell(f"{child.name}: {child.words}; {child.log} has more")
            return
        if self._to.hear is not None:
            self._to.hear({"part": child.name, **event})
        self._board.take(event, now)
        if event.get("event") == "simulating":
            child.words = event["words"]
            self._capture_from(event["addresses"], event["ports"])
        elif event.get("event") == "ready":
            child.words = str(event["address"])
            self._board.addresses[child.name] = child.words
            if child.name == "http":
                self._ready_once(event)
            else:
                self._tell(f"{child.name} at {child.words}", is_event=True)
        elif event.get("event") == "turn":
            self._turned(child, event)
        elif "words" in event:
            child.words = str(event["words"])
            self._tell(f"{child.name}: {child.words}", is_event=True)

    def _ready_once(self, event: dict[str, Any]) -> None:
        if self._plan.port == 0:  # a restarted server keeps the address that was told
            child = next(child for child in self._children if child.name == "http")
            child.command[child.command.index("--port") + 1] = event["address"].rpartition(":")[2]
        ready, self._ready = self._ready, lambda again: None
        ready(Ready(event["address"], event["is_loopback"]))

    def _turned(self, child: Child, event: dict[str, Any]) -> None:
        if event["landed"] or event["published"]:
            child.words = (
                f"landed {event['landed']:,} messages, published {event['published']:,} rows in {event['seconds']:.1f} s"
            )
            self._tell(child.words, is_event=True)
        elif child.words == "starting":
            child.words = "waits for data"
        for hold in event["held"]:
            self._tell(f"held by the gate: {hold}", is_event=True)

    def _capture_from(self, addresses: dict[str, str], names: Sequence[str]) -> None:
        """Add the captures once the simulator's addresses are known; a restarted simulator keeps its ports."""
        assert self._simulator is not None
        if "--ports" in self._simulator.command:
            return
        ports = [addresses[name].rstrip("/").rpartition(":")[2].partition("/")[0] for name in names]
        self._simulator.command += ["--ports", *ports]
        self._children += playing(self._settings, self._plan, addresses)

    def _stop(self, refresh: Callable[[], None]) -> None:
        """Stop the captures before the one they listen to; kill what does not stop in time."""
        self._is_stopping = True
        self._tell("stopping")
        others = [child for child in self._children if child is not self._simulator]
        self._stop_each(others, refresh)
        self._stop_each([self._simulator] if self._simulator else [], refresh)

    def _stop_each(self, children: Sequence[Child], refresh: Callable[[], None]) -> None:
        for child in children:
            child.ask_to_stop()
        deadline = time.monotonic() + GRACE_S
        while any(child.process is not None for child in children):
            if time.monotonic() > deadline:
                for child in children:
                    child.kill()
            self._listen()
            refresh()

    def _tell(self, line: str, *, is_event: bool = False) -> None:
        self._board.lines.append(line)
        if self._to.terminal is None and not (is_event and self._to.hear):
            self._to.say(line)

    @contextmanager
    def _shown(self) -> Iterator[Callable[[], None]]:
        terminal = self._to.terminal
        if terminal is None:
            yield lambda: None
            return
        with Live(console=terminal, auto_refresh=False, transient=False) as live:
            page = self._board.page
            yield lambda: live.update(page(self._children, time.monotonic(), terminal.width, terminal.height), refresh=True)


@contextmanager
def _stopped_by_signals(stopping: threading.Event) -> Iterator[None]:
    def stop(number: int, frame: FrameType | None) -> None:
        stopping.set()

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
