"""The end of a call that takes too long, whatever comes of it: a server that sends a byte a second never lets a read time out.

Shell. A call is under a `Deadline`, one that may take hours under a `Pace`; when the first passes, or the other is not kept, the
socket is shut down from beside, and the read that waits ends.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

SHUT = frozenset({"connection.connect_tcp.complete", "connection.start_tls.complete", "proxy.start_tls.complete"})
"""What httpcore tells when there is a socket: its stream."""


class Socket:
    """The newest socket of a client that makes one call after the other."""

    def __init__(self) -> None:
        self._stream: Any = None

    def trace(self, event: str, told: dict[str, Any]) -> None:
        """Learn what httpcore does (its extension `trace`)."""
        if event in SHUT:
            self._stream = told["return_value"]

    def shut(self) -> None:
        """End what waits for this socket; it is of no use any more."""
        found = None if self._stream is None else self._stream.get_extra_info("socket")
        if found is None:
            return
        try:
            socket.socket.shutdown(found, socket.SHUT_RDWR)  # of the plain socket: TLS state belongs to the thread that reads
        except OSError:
            return  # it is closed already, which is what was wanted


class Deadline:
    """The seconds that one call may take; a context around it."""

    def __init__(self, over: Socket, seconds: float) -> None:
        self._over = over
        self.is_past = False
        self._timer = threading.Timer(seconds, self._passed)
        self._timer.daemon = True

    def __enter__(self) -> Self:
        self._timer.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._timer.cancel()
        self._timer.join()

    def _passed(self) -> None:
        self.is_past = True
        self._over.shut()


class Pace:
    """The bytes that must come in every so many seconds of one call; a context around it. `came` tells it of each chunk.

    timer   what calls back after some seconds, as `threading.Timer` does
    """

    def __init__(
        self, over: Socket, least_bytes: int, seconds: float, timer: Callable[[float, Callable[[], None]], Any] = threading.Timer
    ) -> None:
        self._over, self._least_bytes, self._seconds, self._new_timer = over, least_bytes, seconds, timer
        self._lock = threading.Lock()
        self._came = self._before = 0
        self._is_over = False
        self.is_lost = False
        self._timer = self._next()

    def came(self, count: int) -> None:
        """Take note of bytes that came."""
        self._came += count

    def __enter__(self) -> Self:
        self._timer.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        with self._lock:
            self._is_over = True
            timer = self._timer
        timer.cancel()
        timer.join()

    def _next(self) -> Any:
        timer = self._new_timer(self._seconds, self._passed)
        timer.daemon = True
        return timer

    def _passed(self) -> None:
        with self._lock:
            if self._is_over:
                return
            came, self._before = self._came - self._before, self._came
            if came >= self._least_bytes:
                self._timer = self._next()
                self._timer.start()
                return
            self.is_lost = True
        self._over.shut()
