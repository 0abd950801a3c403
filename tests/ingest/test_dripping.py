"""A server that sends a byte now and then lets no read time out: the call has an end all the same, and a breaker hears of it."""

from __future__ import annotations

import random
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime

import pytest

from ingest.asks import Address, Ask
from ingest.breaker import Breaker, Limits
from ingest.providers.finnhub import Quote
from ingest.transport.http import HttpTransport
from ingest.verdicts import RETRYABLE, Reading, Verdict
from lake.instants import system_clock
from tests.ingest.test_quotas import Calls
from tests.ingest.test_simulator_limits import ONCE

BODY = b'{"c":1,"h":1,"l":1,"o":1,"pc":1,"t":1}'
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
WHOLE_S, PATIENCE_S = 0.4, 60.0
WINDOW = datetime(2026, 1, 2, tzinfo=UTC), datetime(2026, 1, 3, tzinfo=UTC)


@contextmanager
def dripping(at_once: bytes, drop: bytes) -> Iterator[tuple[str, threading.Event]]:
    """A server that answers with `at_once`, then with `drop` twenty times a second; the event is set when the client has left."""
    is_left, is_over = threading.Event(), threading.Event()

    def serve(listener: socket.socket) -> None:
        with suppress(OSError):
            connection, _ = listener.accept()
            with connection:
                connection.recv(65_536)
                connection.sendall(at_once)
                while not is_over.wait(0.05):
                    connection.sendall(drop)
        is_left.set()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, args=(listener,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}", is_left
        finally:
            is_over.set()
            thread.join(PATIENCE_S)


@pytest.mark.parametrize(
    ("at_once", "drop", "verdict", "words"),
    [
        (b"HTTP/1.1 200 OK\r\nX-Slow: ", b"x", Verdict.NO_ANSWER, "no whole answer in 0.4 s"),
        (HEAD + b"Content-Length: 1000000\r\n\r\n{", b" ", Verdict.MALFORMED, "the connection broke after"),
        (HEAD + b"\r\n" + BODY, b" ", Verdict.MALFORMED, "the connection broke after"),  # whole JSON, and the end is the close
    ],
    ids=["head", "body", "body until the close"],
)
def test_an_answer_that_drips_is_broken_off_and_is_a_failure(at_once: bytes, drop: bytes, verdict: Verdict, words: str) -> None:
    calls = Calls()
    with dripping(at_once, drop) as (address, is_left):
        with HttpTransport(
            Address(address), calls, clock=system_clock, sleep=lambda _: None, rng=random.Random(1), backoff=ONCE, whole_s=WHOLE_S
        ) as transport:
            reading = transport.ask(Quote(), Ask("AAPL", "1d", *WINDOW))
        assert is_left.wait(PATIENCE_S), "the socket was kept"
    assert reading.verdict is verdict and reading.verdict in RETRYABLE
    assert reading.detail.startswith(words)
    (call,) = calls.all
    took_s = (call.ts_response_ns - call.ts_request_ns) / 1e9
    assert took_s >= WHOLE_S
    assert Breaker().answered(call.reading, took_s, call.ts_response_ns, "me", Limits(failures=1)).position.value == "open"


def test_an_answer_that_is_whole_in_time_is_not_broken_off_and_its_socket_serves_the_next() -> None:
    told = HEAD + b"Content-Length: %d\r\n\r\n" % len(BODY) + BODY
    calls = Calls()
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                while connection.recv(65_536):
                    connection.sendall(told)

        thread = threading.Thread(target=serve)
        thread.start()
        address = Address(f"http://127.0.0.1:{listener.getsockname()[1]}")
        before = threading.active_count()
        with HttpTransport(
            address, calls, clock=system_clock, sleep=lambda _: None, rng=random.Random(1), backoff=ONCE
        ) as transport:
            readings = [transport.ask(Quote(), Ask("AAPL", "1d", *WINDOW)) for _ in range(3)]
        assert threading.active_count() <= before, "a timer was left behind"
        thread.join(PATIENCE_S)
    assert readings == [Reading(Verdict.OK, "AAPL: last price 1")] * 3
