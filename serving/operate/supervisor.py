"""`tickhouse up`: simulator, captures, pipeline, topics, HTTP and notebooks, each a process, watched and stopped together.

The parts share nothing but the lake, the log and the state. One that dies is started again after a growing wait and goes on
where it was; a wrong setting ends all, with its words.
"""

from __future__ import annotations

import logging
import queue
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Any

import orjson
from rich.console import Console
from rich.live import Live

from lake.catalog import Lake
from lake.errors import InvalidValueError, SettingsError
from lake.instants import system_clock
from lake.settings import Settings
from serving.operate.board import Board
from serving.operate.children import Child, Event
from serving.operate.listening import LOOPBACK, Listener, bound
from serving.operate.passing import environment

LOGGER = logging.getLogger("tickhouse.up")
GRACE_S = 10.0
"""How long a part may take to stop; then it is killed, which is as safe as any crash."""
LOOK_S = 0.25
Say = Callable[[str], None]
_FEEDS = {"yahoo": ("chart",), "binance": ("spot", "usdm")}
_PARTS = "serving.operate.parts"


class WebServer(Listener):
    """The HTTP server of one lake."""

    def __init__(self, lake: Lake, host: str, port: int) -> None:
        from serving.web.app import create_app  # slow to import, and of no use to `up` itself

        super().__init__(create_app(lake, is_loopback=host in LOOPBACK), host, port)

    def run(self) -> None:
        """Answer until SIGINT or SIGTERM, when called in the main thread; else until `stop`."""
        self.app.state.worker.wake()  # jobs that the last stop left unfinished
        try:
            super().run()
        finally:
            self.app.state.worker.stop()


@dataclass(frozen=True, slots=True)
class Plan:
    """What `up` runs.

    symbols   PROVIDER:SYMBOL of what providers themselves are asked; none: the simulator plays its recordings
    excerpt   how many messages of each recorded stream the simulator plays; None: all
    """

    host: str
    port: int
    excerpt: int | None = None
    symbols: tuple[str, ...] = ()
    has_notebooks: bool = True

    def asked(self) -> dict[str, list[str]]:
        """Return provider -> symbols. Raises InvalidValueError for what names no provider."""
        found: dict[str, list[str]] = {}
        for text in self.symbols:
            provider, _, symbol = text.partition(":")
            if provider not in _FEEDS or not symbol:
                raise InvalidValueError(f"{text!r} is not PROVIDER:SYMBOL with a provider of {', '.join(_FEEDS)}")
            found.setdefault(provider, []).append(symbol)
        return found


@dataclass(frozen=True, slots=True)
class Ready:
    """Where the API answers."""

    address: str
    is_loopback: bool


def up(settings: Settings, plan: Plan, *, say: Say, ready: Callable[[Ready], None], terminal: Console | None = None) -> None:
    """Run everything until SIGINT or SIGTERM. What a stop interrupts goes on at the next start.

    say        takes a line at a time, where there is no terminal
    ready      is called once, when the API answers
    terminal   shows the live page

    Raises SettingsError, after stopping the rest, when a part cannot run with these settings.
    """
    plan.asked()
    bound(plan.host, plan.port).close()  # tells a taken port before anything starts
    Lake.create(settings, system_clock).close()
    stopping = threading.Event()
    with _stopped_by_signals(stopping):
        _System(settings, plan, say, ready, terminal).run(stopping)


class _System:
    """The children of one `up`, and what they told."""

    def __init__(
        self, settings: Settings, plan: Plan, say: Say, ready: Callable[[Ready], None], terminal: Console | None
    ) -> None:
        self._settings, self._plan, self._say, self._ready, self._terminal = settings, plan, say, ready, terminal
        self._heard: queue.Queue[Event] = queue.Queue()
        self._board = Board(str(settings.home))
        self._simulator: Child | None = None
        self._fatal: str | None = None
        self._is_stopping = False
        self._children = list(self._planned())

    def run(self, stopping: threading.Event) -> None:
        """Start, watch and restart the parts until `stopping`; raises SettingsError when a part cannot run."""
        try:
            with self._shown() as refresh:
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
        self._say("stopped; `tickhouse up` goes on where this ended")

    def _planned(self) -> Iterator[Child]:
        yield self._child("pipeline", ["-m", _PARTS, "pipeline"])
        yield self._child("topics", ["-m", _PARTS, "topics"])
        if any((self._settings.backup_every_s, self._settings.replica_every_s, self._settings.drill_every_s)):
            yield self._child("recovery", ["-m", _PARTS, "recovery"])
        yield self._child("http", ["-m", _PARTS, "http", "--host", self._plan.host, "--port", str(self._plan.port)])
        if self._plan.has_notebooks:
            port = self._plan.port + 1 if self._plan.port else 0
            yield self._child("notebooks", ["-m", _PARTS, "notebooks", "--port", str(port)])
        asked = self._plan.asked()
        for provider, symbols in asked.items():
            words = [word for symbol in symbols for word in ("--symbol", symbol)]
            for feed in _FEEDS[provider] if provider != "binance" else ("spot",):
                yield self._child(f"{provider} {feed}", ["-m", _PARTS, "capture", "--provider", provider, "--feed", feed, *words])
        if not asked:
            excerpt = [] if self._plan.excerpt is None else ["--excerpt", str(self._plan.excerpt)]
            self._simulator = self._child("simulator", ["-m", _PARTS, "simulator", *excerpt])
            yield self._simulator

    def _child(self, name: str, command: list[str]) -> Child:
        log = self._settings.home / "logs" / f"{name.replace(' ', '-')}.log"
        return Child(name, command, log, environment(self._settings))

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
        self._board.take(event, now)
        if event.get("event") == "simulating":
            child.words = event["words"]
            self._capture_from(event["addresses"])
        elif event.get("event") == "ready":
            child.words = str(event["address"])
            self._board.addresses[child.name] = child.words
            if child.name == "http":
                self._ready_once(event)
            else:
                self._tell(f"{child.name} at {child.words}")
        elif event.get("event") == "turn":
            self._turned(child, event)
        elif "words" in event:
            child.words = str(event["words"])
            self._tell(f"{child.name}: {child.words}")

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
            self._tell(child.words)
        elif child.words == "starting":
            child.words = "waits for data"
        for hold in event["held"]:
            self._tell(f"held by the gate: {hold}")

    def _capture_from(self, addresses: dict[str, Any]) -> None:
        """Add the captures once the simulator's addresses are known; a restarted simulator keeps its ports."""
        assert self._simulator is not None
        if "--ports" in self._simulator.command:
            return
        ports = [addresses[name].rstrip("/").rpartition(":")[2].partition("/")[0] for name in ("http", "spot", "usdm")]
        self._simulator.command += ["--ports", *ports]
        excerpt = [] if self._plan.excerpt is None else ["--excerpt", str(self._plan.excerpt)]
        for provider, feeds in _FEEDS.items():
            for feed in feeds:
                words = ["--provider", provider, "--feed", feed, "--simulator", orjson.dumps(addresses).decode(), *excerpt]
                self._children.append(self._child(f"{provider} {feed}", ["-m", _PARTS, "capture", *words]))

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

    def _tell(self, line: str) -> None:
        self._board.lines.append(line)
        if self._terminal is None:
            self._say(line)

    @contextmanager
    def _shown(self) -> Iterator[Callable[[], None]]:
        if self._terminal is None:
            yield lambda: None
            return
        with Live(console=self._terminal, auto_refresh=False, transient=False) as live:
            yield lambda: live.update(self._board.page(self._children, time.monotonic()), refresh=True)


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
