"""A download may take hours, but not crawl: a server that drips a file holds no worker, and what came of it is kept."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from ingest.asks import Address
from ingest.providers import databento
from ingest.transport.backoff import Backoff
from ingest.transport.deadline import Pace, Socket
from ingest.transport.download import Download
from ingest.verdicts import RETRYABLE, Reading, Verdict
from lake.instants import system_clock
from tests.ingest.test_files import NVDA, WHOLE
from tests.ingest.test_quotas import Calls

LEAST_BYTES, LEAST_IN_S = 1_000_000, 0.3
ATTEMPTS = 3


@contextmanager
def dripping(is_well: threading.Event, is_headless: bool = False, has_length: bool = True) -> Iterator[str]:
    """Serve `WHOLE` in ranges, a byte twenty times a second until `is_well` is set; or no end of a head; give the address."""
    is_over = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.0"

        def do_GET(self) -> None:
            asked = self.headers.get("range", "bytes=0-")
            start = int(asked.removeprefix("bytes=").removesuffix("-"))
            self.send_response(206 if start else 200)
            if start:
                self.send_header("Content-Range", f"bytes {start}-{len(WHOLE) - 1}/{len(WHOLE)}")
            if has_length:
                self.send_header("Content-Length", str(len(WHOLE) - start))
            self.send_header("ETag", '"one"')
            try:
                if is_headless:
                    self._drip(b"x" * len(WHOLE))
                self.end_headers()
                self._drip(WHOLE[start:])
            except OSError:
                return  # the client has left

        do_POST = do_GET

        def _drip(self, body: bytes) -> None:
            self.flush_headers()
            sent = 0
            while sent < len(body) and not is_well.is_set() and not is_over.wait(0.05):
                self.wfile.write(body[sent : sent + 1])
                sent += 1
            self.wfile.write(body[sent:])

        def log_message(self, *words: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    serving = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    serving.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        is_over.set()
        server.shutdown()
        serving.join()
        server.server_close()


def fetched(address: str, target: Path, calls: Calls, least_bytes: int = LEAST_BYTES) -> Reading:
    """What a download of the file comes to."""
    return Download(
        Address(address), databento.read_refusal, calls, clock=system_clock, sleep=lambda seconds: None, rng=random.Random(1),
        backoff=Backoff(attempts=ATTEMPTS, first_s=0.0, ceiling_s=0.0), least_bytes=least_bytes, least_in_s=LEAST_IN_S,
    ).fetch(NVDA, target)  # fmt: skip


def test_a_file_that_drips_is_broken_off_and_goes_on_when_the_server_is_well(tmp_path: Path) -> None:
    target, calls, is_well = tmp_path / "nvda.dbn.zst", Calls(), threading.Event()
    with dripping(is_well) as address:
        reading = fetched(address, target, calls)
        assert reading.verdict is Verdict.MALFORMED and reading.verdict in RETRYABLE
        assert reading.detail.startswith("fewer than 1000000 bytes in 0.3 s")
        assert len(calls.all) == ATTEMPTS, "what brings a byte a time does not count anew for ever"
        kept = (tmp_path / "nvda.dbn.zst.part").read_bytes()
        assert kept == WHOLE[: len(kept)] and not target.exists()
        is_well.set()
        assert fetched(address, target, calls, least_bytes=0).verdict is Verdict.OK
    assert target.read_bytes() == WHOLE
    assert sum(call.byte_count or 0 for call in calls.all) == len(WHOLE), "no byte was had twice"


@pytest.mark.parametrize(("is_headless", "verdict"), [(True, Verdict.NO_ANSWER), (False, Verdict.MALFORMED)])
def test_neither_a_head_that_drips_nor_a_body_without_a_length_passes_for_a_file(
    tmp_path: Path, is_headless: bool, verdict: Verdict
) -> None:
    target, calls = tmp_path / "nvda.dbn.zst", Calls()
    with dripping(threading.Event(), is_headless, has_length=False) as address:
        reading = fetched(address, target, calls)
    assert (reading.verdict, target.exists(), len(calls.all)) == (verdict, False, ATTEMPTS)
    assert reading.detail.startswith("fewer than 1000000 bytes in 0.3 s")


class ByHand:
    """Timers that pass when a test says so."""

    def __init__(self) -> None:
        self.started: list[Callable[[], None]] = []
        self.daemon = False

    def __call__(self, seconds: float, passed: Callable[[], None]) -> ByHand:
        self._passed = passed
        return self

    def start(self) -> None:
        self.started.append(self._passed)

    def cancel(self) -> None:
        self.started.clear()

    def join(self) -> None:
        return


def test_a_pace_is_kept_window_by_window_and_is_over_with_its_call() -> None:
    timers = ByHand()
    with Pace(Socket(), 100, 60.0, timers) as pace:
        for _ in range(3):
            pace.came(60)
            pace.came(60)
            timers.started.pop()()
        assert (pace.is_lost, len(timers.started)) == (False, 1), "a window follows the other"
        late = timers.started[0]
    assert timers.started == []
    late()
    assert not pace.is_lost and timers.started == [], "nothing is broken off after the end"
    with Pace(Socket(), 100, 60.0, timers) as pace:
        pace.came(150)
        timers.started.pop()()
        pace.came(99)
        timers.started.pop()()
        assert pace.is_lost and timers.started == [], "what came before does not count again"
