"""A server that answers the bytes it is told."""

from __future__ import annotations

import socketserver
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

_MOST_HEAD = 65_536


class _Handler(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        head = b""
        while b"\r\n\r\n" not in head and len(head) < _MOST_HEAD:
            more = self.request.recv(65_536)
            if not more:
                return
            head += more
        try:
            self.request.sendall(self.server.wires.popleft())  # type: ignore[attr-defined]  # of Hostile
        except (BrokenPipeError, ConnectionResetError):
            return  # whoever asked has seen enough


class Hostile(socketserver.ThreadingTCPServer):
    """Sends the next of `wires` to each request and closes."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.wires: deque[bytes] = deque()

    @property
    def address(self) -> str:
        """Where it is reached."""
        return f"http://127.0.0.1:{self.server_address[1]}"


@contextmanager
def hostile_server() -> Iterator[Hostile]:
    """Give a server on loopback that lives as long as the context."""
    with Hostile() as server:
        running = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        running.start()
        try:
            yield server
        finally:
            server.shutdown()
            running.join()


def whole(body: bytes, status: str = "200 OK", *headers: str) -> bytes:
    """Return an answer with a body of the length that its head tells."""
    return part(body, status, f"Content-Length: {len(body)}", *headers)


def part(body: bytes, status: str = "200 OK", *headers: str) -> bytes:
    """Return an answer whose head tells what it is told to."""
    head = "\r\n".join([f"HTTP/1.1 {status}", "Connection: close", *headers])
    return head.encode("latin-1") + b"\r\n\r\n" + body
