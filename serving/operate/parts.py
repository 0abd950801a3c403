"""`python -m serving.operate.parts PART`: one part of the running system, in a process of its own under the supervisor.

A part tells what it does as lines of JSON on stdout, and stops on SIGTERM, on SIGINT, or when its stdin ends: a part whose
supervisor was killed does not stay behind. What a stop interrupts goes on at the next start: every step is safe to repeat.
Each part imports what it needs and no more: a process of the API has no use for the quality gate.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from types import FrameType
from typing import TYPE_CHECKING

import orjson

from lake.errors import CommitConflictError, CorruptedError, ProviderUnavailableError, StorageError, TickhouseError
from lake.instants import system_clock
from lake.settings import Settings, load_settings
from serving.operate.telling import tell, tell_rows, tell_turn
from serving.outcomes import PASSING, outcome_of

if TYPE_CHECKING:
    from ingest.capture import CaptureReport
    from ingest.reach import Reach
    from lake.catalog import Lake
    from lake.log.log import Log
    from serving.operate.providers import Task

TURN_S = 2.0
"""Pause between two turns of the pipeline."""
POLL_S = 900.0
"""Pause between two polls of a provider that is asked, not listened to."""
TROUBLE_S = 60.0
"""Pause after a backup, sync or drill that could not be made."""
ALERTS_S = 10.0
"""Pause between two looks for alerts that nobody was told of."""
UPKEEP_EVERY = 20
"""Turns with work between two rounds of upkeep."""
UPKEEP_S = 600.0
"""Pause between two rounds that look for dead files too; made while idle as well: that is when partitions are quiet."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one part until it is done or stopped; return its exit code, as the command line's."""
    chosen = _parser().parse_args(arguments)
    stopping = threading.Event()
    try:
        settings = load_settings()
        with _stopped(stopping):
            if chosen.part == "notebooks":
                _notebooks(settings, chosen.port, stopping)
            elif chosen.part == "simulator":
                _simulator(chosen, stopping)
            else:
                from lake.catalog import Lake

                with Lake.open(settings, system_clock) as lake:
                    _PARTS[chosen.part](lake, chosen, stopping)
    except TickhouseError as error:
        outcome = outcome_of(error)
        tell("failed", words=str(error), exit_code=outcome.exit_code)
        return outcome.exit_code
    return 0


class _Stopped(Exception):
    """A turn left half done on purpose; the next one goes on."""


class _stopped:
    """While it lasts, SIGINT, SIGTERM and the end of stdin set the event."""

    def __init__(self, stopping: threading.Event) -> None:
        self._stopping = stopping

    def __enter__(self) -> None:
        def stop(number: int, frame: FrameType | None) -> None:
            self._stopping.set()

        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, stop)
        threading.Thread(target=self._wait_for_end, daemon=True, name="stdin").start()

    def __exit__(self, *_: object) -> None:
        self._stopping.set()

    def _wait_for_end(self) -> None:
        while os.read(sys.stdin.fileno(), 4096):  # not sys.stdin.read: its lock, held at exit, would abort the process
            continue
        self._stopping.set()


def _pipeline(lake: Lake, chosen: argparse.Namespace, stopping: threading.Event) -> None:
    """Turn again and again, beside a thread that looks for stale feeds; what another process does is tried again."""
    from serving.operate import freshness

    with freshness.watched(lake, stopping):
        _turns(lake, stopping)


def _turns(lake: Lake, stopping: threading.Event) -> None:
    """Turn again and again; what another process does at the same time is told and tried again."""
    from serving.operate import pipeline
    from serving.operate.logs import open_log

    def on_the_way(words: str) -> None:
        if stopping.is_set():
            raise _Stopped(words)

    log, turns, before = open_log(lake.settings), 0, time.monotonic()
    kept, built = before, -pipeline.BUILD_EVERY_S
    tell_rows(lake)
    while not stopping.is_set():
        started = time.monotonic()
        builds = started - built >= pipeline.BUILD_EVERY_S
        built = started if builds else built
        try:
            done = pipeline.turn(lake, log, say=on_the_way, builds=builds)
        except _Stopped:
            return
        except (CommitConflictError, ProviderUnavailableError, StorageError) as error:
            tell("trouble", words=str(error))
        else:
            now = time.monotonic()
            tell_turn(done, seconds=now - started, behind_s=now - before)
            if not done.is_idle:
                turns += 1
                tell_rows(lake)
            is_time = started - kept >= UPKEEP_S
            if is_time or (not done.is_idle and turns % UPKEEP_EVERY == 0):
                kept = started if is_time else kept
                _upkeep(lake, log, on_the_way, sweeps=is_time)
        before = started
        stopping.wait(TURN_S)


def _upkeep(lake: Lake, log: Log, say: Callable[[str], None], *, sweeps: bool) -> None:
    """Do a round of upkeep; what cannot be done now is told and due again."""
    from serving.operate import pipeline

    try:
        report = pipeline.upkeep(lake, log, sweeps=sweeps, say=say)
    except _Stopped:
        return
    except (*PASSING, CorruptedError) as error:
        tell("trouble", words=f"upkeep: {error}")
        return
    tell("upkeep", rewrites=sum(len(one.rewrites) for one in report.tables), freed_bytes=report.freed_bytes)


def _capture(lake: Lake, chosen: argparse.Namespace, stopping: threading.Event) -> None:
    """Capture one provider: recordings once, one after the other; a provider itself until the stop."""
    from ingest.shards import parse_shard
    from serving.operate import asking, providers
    from serving.operate.logs import open_log
    from serving.operate.rights import live_permits

    log, symbols = open_log(lake.settings), tuple(chosen.symbol or ())
    tasks = providers.PLAYED[chosen.provider] if chosen.simulator else providers.tasks_of(chosen.provider, symbols)
    tasks = tuple(
        task for task in tasks if chosen.only in (None, task.feed, f"{task.feed} stream" if task.is_stream else "polls")
    )
    reached = _reached(lake, chosen.simulator)

    def capture(task: providers.Task) -> list[CaptureReport]:
        wanted = asking.Wanted(chosen.provider, task.feed, symbols, data=task.data, shard=parse_shard(chosen.shard))
        with live_permits(lake, log, reached) as permits:
            return asking.capture(lake, log, wanted, reached, stopping.is_set, permits)

    if chosen.simulator:
        _capture_recorded(lake, chosen, tasks, capture, stopping)
    while not chosen.simulator and not stopping.is_set():
        for task in tasks:
            for report in [] if stopping.is_set() else capture(task):
                bad = {f"{each['verdict']} {each['detail']}" for each in report.outcomes if each["verdict"] != "OK"}
                words = "; ".join([f"{task}: captured {report.messages:,} messages: {report.ended}", *sorted(bad)])
                tell("captured", words=words)
        stopping.wait(POLL_S)


def _capture_recorded(
    lake: Lake,
    chosen: argparse.Namespace,
    tasks: Sequence[Task],
    capture: Callable[[Task], list[CaptureReport]],
    stopping: threading.Event,
) -> None:
    """Make each capture that was not completed before; what a stop cuts short is made again, from its beginning."""
    messages, new = 0, 0
    ended: set[str] = set()
    for task in tasks:
        key = f"capture:up-{chosen.provider}-{str(task).replace(' ', '-')}-{chosen.excerpt or 'whole'}"
        done = lake.state.job(key)
        if done is None and not stopping.is_set():
            tell("capturing", words=f"captures {task}")
            (report,) = capture(task)
            messages, new, ended = messages + report.messages, new + 1, ended | {report.ended}
            if report.is_complete and not stopping.is_set():
                lake.state.save_job(key, report.document())
    words = f"captured {messages:,} messages: {', '.join(sorted(ended))}" if new else "captured before, nothing new"
    tell("done", words=words)


def _reached(lake: Lake, simulator: str | None) -> Reach:
    """Return how providers are reached: a simulator at the addresses that it told, or the providers themselves."""
    from ingest import reach
    from ingest.simulator.keyed import Keys
    from serving.operate.configured import open_configured

    told = open_configured(lake).in_force
    return reach.simulated(orjson.loads(simulator), Keys()) if simulator else reach.themselves(os.environ, told)


def _schedules(lake: Lake, chosen: argparse.Namespace, stopping: threading.Event) -> None:
    from serving.operate import schedules

    schedules.run(lake, stopping, tell)


def _gaps(lake: Lake, chosen: argparse.Namespace, stopping: threading.Event) -> None:
    from serving.operate import closing

    closing.run(lake, _reached(lake, chosen.simulator), stopping, tell, is_recorded=chosen.simulator is not None)


def _topics(lake: Lake, chosen: argparse.Namespace, stopping: threading.Event) -> None:
    """Tell consumers what the gate has published, again and again."""
    from serving.operate.logs import open_log
    from serving.topics.publisher import publish, where_of

    log, where = open_log(lake.settings), where_of(lake.settings)
    tell("waiting", words="tells what the gate publishes")
    while not stopping.is_set():
        try:
            told = publish(lake, log, where)
        except PASSING as error:
            tell("trouble", words=str(error))
        else:
            rows = sum(one.rows for one in told)
            if rows:
                tell("published", words=f"told {rows:,} rows on {sum(one.rows > 0 for one in told)} topics")
        stopping.wait(TURN_S)


def _alerts(lake: Lake, chosen: argparse.Namespace, stopping: threading.Event) -> None:
    """Tell people of alerts by the command of the settings, again and again; what it does not take stays due."""
    from quality_checks.alerts import Alerts
    from serving.alerting import tell_by
    from serving.operate.logs import open_log

    alerts = Alerts(lake.state, lake.clock, open_log(lake.settings))
    tell("waiting", words="tells of alerts")
    while not stopping.is_set():
        try:
            count = tell_by(lake.settings.alert_command, alerts)
        except PASSING as error:
            tell("trouble", words=str(error))
        else:
            if count:
                tell("alerts", words=f"told {count} alerts")
        stopping.wait(ALERTS_S)


def _recovery(lake: Lake, chosen: argparse.Namespace, stopping: threading.Event) -> None:
    """Make backups, syncs of the replica and drills, each when its time has come; what cannot be done alerts."""
    from quality_checks.alerts import Alerts
    from serving.operate import safekeeping

    log = safekeeping.own_log(lake.settings)
    alerts = Alerts(lake.state, lake.clock, log)
    while not stopping.is_set():
        for kept in safekeeping.plan(lake, log):
            if stopping.is_set() or not kept.is_due:
                continue
            try:
                tell(kept.name, words=safekeeping.keep(kept, alerts))
            except TickhouseError as error:
                tell("trouble", words=f"{kept.name}: {error}")
                stopping.wait(min(kept.every_s, TROUBLE_S))
        stopping.wait(TURN_S)


def _simulator(chosen: argparse.Namespace, stopping: threading.Event) -> None:
    from ingest.simulator import Simulator
    from ingest.simulator.server import PORTS

    with Simulator(pace="recorded", excerpt=chosen.excerpt, ports=tuple(chosen.ports)) as simulator:
        tell("simulating", addresses=simulator.addresses(), ports=PORTS, words="plays recordings")
        stopping.wait()


def _http(lake: Lake, chosen: argparse.Namespace, stopping: threading.Event) -> None:
    from serving.operate.rights import reading_through
    from serving.operate.supervisor import WebServer

    with reading_through(lake, _reached(lake, None) if chosen.live else None) as through:
        server = WebServer(lake, chosen.host, chosen.port, through)
        tell("ready", address=server.address, is_loopback=server.is_loopback)
        _serve(server.run, server.stop, stopping)


def _notebooks(settings: Settings, port: int, stopping: threading.Event) -> None:
    from serving.operate.notebooks import NotebookServer

    server = NotebookServer(settings, port, is_port_free=True)
    tell("ready", address=server.address)
    _serve(server.run, server.stop, stopping)


def _serve(run: Callable[[], None], stop: Callable[[], None], stopping: threading.Event) -> None:
    """Run a server in a thread of its own until the stop."""
    running = threading.Thread(target=partial(_and_set, run, stopping), name="server")
    running.start()
    stopping.wait()
    stop()
    running.join()


def _and_set(run: Callable[[], None], stopping: threading.Event) -> None:
    try:
        run()
    finally:
        stopping.set()


_PARTS = {
    "pipeline": _pipeline, "alerts": _alerts, "recovery": _recovery, "topics": _topics, "schedules": _schedules, "gaps": _gaps,
    "capture": _capture, "http": _http,
}  # fmt: skip


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m serving.operate.parts", description=__doc__)
    parts = parser.add_subparsers(dest="part", required=True)
    parts.add_parser("pipeline", help="land, promote, adjust, expire")
    parts.add_parser("alerts", help="alerts, told by the command of the settings")
    parts.add_parser("recovery", help="backups, replica and drills, as the settings ask")
    parts.add_parser("topics", help="what was published, for consumers")
    gaps = parts.add_parser("gaps", help="what is missing, asked for again")
    gaps.add_argument("--simulator", help="addresses of a simulator, as it tells them; none: the providers themselves")
    parts.add_parser("schedules", help="what the configuration schedules, of providers themselves")
    http = parts.add_parser("http", help="the API")
    http.add_argument("--host", default="127.0.0.1")
    http.add_argument("--port", type=int, default=0)
    http.add_argument("--live", action="store_true", help="may ask providers themselves for what the lake misses")
    notebooks = parts.add_parser("notebooks", help="the notebooks, on loopback")
    notebooks.add_argument("--port", type=int, default=0)
    simulator = parts.add_parser("simulator", help="providers, played from recordings")
    simulator.add_argument("--excerpt", type=int, help="only the first so many messages of each stream")
    simulator.add_argument("--ports", type=int, nargs="*", default=())
    capture = parts.add_parser("capture", help="one provider")
    capture.add_argument("--provider", required=True)
    capture.add_argument("--only", help="`polls`: what is asked; `FEED stream`: one that is listened to; or one feed")
    capture.add_argument("--symbol", action="append")
    capture.add_argument("--shard", default="1/1", help="which of several that share the symbols")
    capture.add_argument("--simulator", help="addresses of a simulator, as it tells them; none: the provider itself")
    capture.add_argument("--excerpt", type=int, help="how much of its recordings the simulator plays")
    return parser


if __name__ == "__main__":
    sys.exit(main())
