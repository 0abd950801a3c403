"""A small HTTP server whose clock is off."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, HTTPServer

from lake.instants import NANOS_PER_SECOND, system_clock


@contextmanager
def dated_server(skew_s: float) -> Iterator[str]:
    """Serve `ok` to everything, with the Date of a clock that is `skew_s` ahead; give the address."""

    class Handler(BaseHTTPRequestHandler):
        def date_time_string(self, timestamp: float | None = None) -> str:
            seconds = (system_clock() + int(skew_s * NANOS_PER_SECOND)) // NANOS_PER_SECOND
            return format_datetime(datetime.fromtimestamp(seconds, UTC), usegmt=True)

        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"ok")

        def log_message(self, *words: object) -> None:
            return

    server = HTTPServer(("127.0.0.1", 0), Handler)
    running = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    running.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        running.join()
        server.server_close()
