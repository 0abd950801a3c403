"""The end of a call that takes too long, whatever comes of it: a server that sends a byte a second never lets a read time out.

Shell. A call is under a `Deadline`; when that passes, the socket is shut down from beside, and the read that waits ends.
"""

from __future__ import annotations

import socket
import threading
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
