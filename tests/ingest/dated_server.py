"""A small HTTP server whose clock is off."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from email.utils import format_datetime

from lake.instants import NANOS_PER_SECOND, system_clock
from tests.web_server import QuietHandler, web_server


@contextmanager
def dated_server(skew_s: float) -> Iterator[str]:
    """Serve `ok` to everything, with the Date of a clock that is `skew_s` ahead; give the address."""

    class Handler(QuietHandler):
        def date_time_string(self, timestamp: float | None = None) -> str:
            seconds = (system_clock() + int(skew_s * NANOS_PER_SECOND)) // NANOS_PER_SECOND
            return format_datetime(datetime.fromtimestamp(seconds, UTC), usegmt=True)

        def do_GET(self) -> None:
            self.send_whole(b"ok")

    with web_server(Handler) as address:
        yield address
