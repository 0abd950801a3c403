"""`tickhouse up`: simulator, capture, pipeline and HTTP in one process in the foreground, stopped cleanly together.

The parts share nothing but the lake and the log, each of which is safe between threads and processes.
"""

from __future__ import annotations

import logging
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

import uvicorn

from ingest.simulator import Simulator
from lake.catalog import Lake
from lake.errors import SettingsError, TickhouseError
from lake.instants import system_clock
from lake.log.log import Log
from lake.settings import Settings
from serving.operate import asking, pipeline
from serving.operate.logs import open_log
from serving.web.app import create_app

LOGGER = logging.getLogger("tickhouse.up")
TURN_S = 2.0
"""Pause between two turns of the pipeline."""
_LOOPBACK = ("127.0.0.1", "::1", "localhost")
Say = Callable[[str], None]


class WebServer:
    """The HTTP server of one lake, bound to its address before it runs, so that the address is true when it is told."""

    def __init__(self, lake: Lake, host: str, port: int) -> None:
        try:
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            self.listening = socket.create_server((host, port), family=family)
        except OSError as error:
            raise SettingsError(f"cannot listen on {host}:{port}: {error.strerror or error}; choose another --port") from error
        self.host = host
        self.port = int(self.listening.getsockname()[1])
        self.app = create_app(lake, is_loopback=host in _LOOPBACK)
        config = uvicorn.Config(
            self.app,
            log_config=None,
            access_log=False,
            lifespan="off",
            ws="websockets-sansio",
            server_header=False,
        )
        self._server = uvicorn.Server(config)

    @property
    def address(self) -> str:
        """Where it listens."""
        return f"http://[{self.host}]:{self.port}" if ":" in self.host else f"http://{self.host}:{self.port}"

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach it."""
        return self.host in _LOOPBACK

    def run(self) -> None:
        """Answer until SIGINT or SIGTERM, when called in the main thread; else until `stop`."""
        self.app.state.worker.wake()  # jobs that the last stop left unfinished
        try:
            self._server.run(sockets=[self.listening])
        finally:
            self.app.state.worker.stop()
            self.listening.close()

    def stop(self) -> None:
        """Let running answers end, then stop."""
        self._server.should_exit = True


def up(
    settings: Settings,
    host: str | None,
    port: int | None,
    excerpt: int | None,
    *,
    say: Say,
    ready: Callable[[WebServer], None],
) -> None:
    """Run everything until SIGINT or SIGTERM. What a stop interrupts goes on at the next start."""
    with Lake.create(settings, system_clock) as lake:
        log = open_log(settings)
        web = WebServer(lake, host or settings.api_host, settings.api_port if port is None else port)
        stopping = threading.Event()
        with _stopped_by_signals(stopping), Simulator(pace="recorded", excerpt=excerpt) as simulator:
            parts = [
                threading.Thread(target=_capture, args=(lake, log, simulator, stopping, say), name="capture"),
                threading.Thread(target=_turn_again, args=(lake, log, stopping, say), name="pipeline"),
                threading.Thread(target=web.run, name="http"),
            ]
            for part in parts:
                part.start()
            ready(web)
            stopping.wait()
            say("stopping")
            web.stop()
            for part in parts:
                part.join()
        say("stopped; `tickhouse up` goes on where this ended")


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


def _capture(lake: Lake, log: Log, simulator: Simulator, stopping: threading.Event, say: Say) -> None:
    """Poll and stream everything that was recorded, once."""
    reach = asking.reach_of(simulator)
    for wanted in (asking.Wanted("yahoo"), asking.Wanted("binance", "spot"), asking.Wanted("binance", "usdm")):
        if stopping.is_set():
            return
        try:
            for report in asking.capture(lake, log, wanted, reach, stopping.is_set):
                say(f"captured {report.messages:,} messages of {report.provider} {report.feed}: {report.ended}")
        except TickhouseError as error:
            LOGGER.error("capture of %s: %s", wanted.provider, error)
            say(f"capture of {wanted.provider} failed: {error}")


def _turn_again(lake: Lake, log: Log, stopping: threading.Event, say: Say) -> None:
    """Turn the pipeline until the stop; an error is told and tried again, for every turn is safe to repeat."""
    while not stopping.is_set():
        try:
            done = pipeline.turn(lake, log)
            if not done.is_idle:
                rows = sum(told.rows for report in done.promoted.values() for told in report.tables.values())
                say(f"landed {done.landed['messages']:,} messages, published {rows:,} rows")
            for hold in done.holds:
                say(f"held by the gate: {hold}")
        except TickhouseError as error:
            LOGGER.error("pipeline: %s", error)
            say(f"pipeline: {error}")
        stopping.wait(TURN_S)
