"""From a provider's send to durable in the log, at a steady rate; provider and reader of the log are processes of their own.

    python -m tests.benchmarks.latency_of_capture [--seconds 10] [--rate 1] [ours] [bare]

Two loads: 20,000 frames a second of ten events (Finnhub's form), 50,000 of one (Binance's). *durable*: the append that holds
the message has returned. *read*: another process, looking every millisecond, has the block. *bare*: a loop of the websockets
library that appends what is there to a file and calls fsync. Times are counted from when a frame was due, so a feed that is
held up counts too. The first second is left out. `--rate 0.5` halves the loads, for a busy machine.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from ingest.asks import Address
from ingest.capture import capture_stream
from ingest.providers.binance import MarketSession
from ingest.providers.finnhub import TradeStream
from lake.catalog import Lake
from lake.instants import system_clock
from lake.log.log import RAW_TOPIC, Block, Offset
from lake.log.segments import SegmentLog
from lake.settings import load_settings

RATES = {"ten": 20_000, "single": 50_000}
WARM_S = 1.0
LOOK_S, READ_BYTES = 0.001, 16 * 1024 * 1024
PATHS = {"ten": "/", "single": "/stream?streams=btcusdt@trade"}
Arrivals = list[tuple[int, int]]
"""(frames there, at nanoseconds), rising in both."""


@dataclass(frozen=True)
class Measured:
    """What one run gave."""

    name: str
    arrivals: Arrivals
    cpu_s: float


class Witness:
    """A log that notes when an append of messages returned, and how many the log holds by then."""

    def __init__(self, log: SegmentLog) -> None:
        self._log = log
        self._held = 0
        self.arrivals: Arrivals = []
        self.read, self.bounds, self.release = log.read, log.bounds, log.release

    def append(self, topic: str, partition: int, blocks: Sequence[Block]) -> Offset:
        """Append, and note it."""
        first = self._log.append(topic, partition, blocks)
        if topic == RAW_TOPIC:
            self._held += sum(block.count for block in blocks)
            self.arrivals.append((self._held, time.time_ns()))
        return first


def main() -> None:
    """Measure, and print a line a run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--rate", type=float, default=1.0)
    parser.add_argument("--load", choices=sorted(RATES))
    parser.add_argument("names", nargs="*", default=["ours", "bare"])
    parser.add_argument("--read", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.read:
        read_log(given.read)
        return
    print(f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores; {given.seconds:g} s each; ms from due to there")
    print(f"{'frames':8}{'a second':>10}  {'what':28}{'p50':>8}{'p95':>8}{'p99':>8}{'max':>8}{'kept':>7}{'CPU':>7}{'late':>8}")
    for kind in [given.load] if given.load else RATES:
        for name in given.names:
            rate = int(RATES[kind] * given.rate)
            with provider(kind, rate, given.seconds) as (address, ended):
                runs = RUNS[name](kind, address)
                stamps, told = ended()
            for run in runs:
                print(shown(kind, rate, run, stamps, told, given.seconds), flush=True)


@contextmanager
def provider(kind: str, rate: int, seconds: float) -> Iterator[tuple[str, Callable[[], tuple[np.ndarray, dict[str, Any]]]]]:
    """Start the paced feed; give its address, and what returns the frames' times and its own account once it is through."""
    command = [sys.executable, "-m", "tests.benchmarks.paced_feed", kind, str(rate), str(seconds)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        out = process.stdout
        address = str(orjson.loads(out.readline())["address"])

        def ended() -> tuple[np.ndarray, dict[str, Any]]:
            told = orjson.loads(out.readline())
            return np.frombuffer(out.read(), np.int64), told

        try:
            yield address, ended
        finally:
            process.kill()


def ours(kind: str, address: str) -> list[Measured]:
    """Capture into a log; a process beside it reads that log."""
    home = Path(tempfile.mkdtemp(prefix="latency-"))
    try:
        with (
            Lake.create(load_settings(home=home), system_clock) as lake,
            SegmentLog(home / "log", system_clock, min_free_bytes=1) as log,
            subprocess.Popen(
                [sys.executable, "-m", "tests.benchmarks.latency_of_capture", "--read", str(home / "log")],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
            ) as reader,
        ):
            assert reader.stdin is not None and reader.stdout is not None
            reader.stdout.readline()
            witness, before = Witness(log), time.process_time()
            session = TradeStream(["SYM0"]) if kind == "ten" else MarketSession(["btcusdt@trade"], "spot", with_snapshot=False)
            provider = "finnhub" if kind == "ten" else "binance"
            report = capture_stream(lake, witness, session, Address(address, address), provider=provider, feed="bench")
            spent = time.process_time() - before
            reader.stdin.close()
            read = [(int(count), int(at)) for count, at in orjson.loads(reader.stdout.read())]
        most = report.most_held_bytes / 2**20
        return [Measured(f"ours, durable ({most:.1f} MiB)", witness.arrivals, spent), Measured("ours, read", read, 0.0)]
    finally:
        shutil.rmtree(home)


def read_log(path: Path) -> None:
    """Note when a reader of the log has which messages, until stdin ends."""
    over = threading.Event()

    def wait_for_the_end() -> None:
        sys.stdin.buffer.read()
        over.set()

    threading.Thread(target=wait_for_the_end, daemon=True).start()
    found: Arrivals = []
    offsets: dict[int, int] = {}
    held = 0
    with SegmentLog(path, system_clock, min_free_bytes=1) as log:
        print("ready", flush=True)
        while not over.wait(LOOK_S):
            for partition in offsets or dict.fromkeys(log.bounds(RAW_TOPIC), 0):
                batch = log.read(RAW_TOPIC, partition, offsets.get(partition, 0), READ_BYTES, 0.0)
                offsets[partition] = batch.next_offset
                held += sum(block.count for _, block in batch.blocks)
                if batch.blocks:
                    found.append((held, time.time_ns()))
    sys.stdout.buffer.write(orjson.dumps(found))


def bare(kind: str, address: str) -> list[Measured]:
    """Receive with the websockets library, append to a file what is there, and fsync."""
    found: Arrivals = []
    held, before = 0, time.process_time()
    with tempfile.TemporaryFile() as file, connect(address + PATHS[kind], compression=None, ping_interval=None) as connection:
        if kind == "ten":
            connection.send("begin")
        is_open = True
        while is_open:
            waiting: list[bytes] = []
            try:
                waiting.append(connection.recv(decode=False))
                while len(waiting) < 10_000:
                    waiting.append(connection.recv(timeout=0, decode=False))
            except ConnectionClosed:
                is_open = False
            except TimeoutError:
                is_open = True
            file.write(b"\n".join(waiting))
            file.flush()
            os.fsync(file.fileno())
            held += len(waiting)
            found.append((held, time.time_ns()))
    return [Measured("bare websockets, fsync", found, time.process_time() - before)]


def shown(kind: str, rate: int, run: Measured, stamps: np.ndarray, told: dict[str, Any], seconds: float) -> str:
    """Return a run's line: percentiles of (there - due), and how much of the rate was kept."""
    counts = np.array([count for count, _ in run.arrivals])
    times = np.array([at for _, at in run.arrivals])
    there = times[np.searchsorted(counts, np.arange(1, min(len(stamps), counts[-1]) + 1))]
    waited = (there - stamps[: len(there)])[int(rate * WARM_S) :] / 1e6
    p50, p95, p99 = np.percentile(waited, [50, 95, 99])
    kept = len(there) / len(stamps) * min(1.0, seconds / ((there[-1] - stamps[0]) / 1e9))
    return (
        f"{kind:8}{rate:>10,}  {run.name:28}{p50:>8.1f}{p95:>8.1f}{p99:>8.1f}{waited.max():>8.1f}{kept:>7.0%}"
        f"{run.cpu_s / seconds:>7.0%}{told['late_ms']:>8.1f}"
    )


RUNS: dict[str, Callable[[str, str], list[Measured]]] = {"ours": ours, "bare": bare}


if __name__ == "__main__":
    main()
