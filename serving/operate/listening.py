"""An HTTP application on an address, bound before it runs, so that the address is true when it is told."""

from __future__ import annotations

import socket
from typing import Any

import uvicorn

from lake.errors import SettingsError

LOOPBACK = ("127.0.0.1", "::1", "localhost")


def bound(host: str, port: int) -> socket.socket:
    """Return a listening socket. Raises SettingsError when the address is taken or is none of this machine's."""
    try:
        return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as error:
        raise SettingsError(f"cannot listen on {host}:{port}: {error.strerror or error}; choose another --port") from error


class Listener:
    """The HTTP server of one ASGI application. Raises as `bound` does."""

    def __init__(self, app: Any, host: str, port: int) -> None:
        self.listening = bound(host, port)
        self.app = app
        self.host = host
        self.port = int(self.listening.getsockname()[1])
        self._server = uvicorn.Server(
            uvicorn.Config(
                app, log_config=None, access_log=False, lifespan="auto", ws="websockets-sansio", server_header=False,
                timeout_graceful_shutdown=5,
            )
        )  # fmt: skip

    @property
    def address(self) -> str:
        """Where it listens."""
        return f"http://[{self.host}]:{self.port}" if ":" in self.host else f"http://{self.host}:{self.port}"

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach it."""
        return self.host in LOOPBACK

    def run(self) -> None:
        """Answer until SIGINT or SIGTERM, when called in the main thread; else until `stop`."""
        try:
            self._server.run(sockets=[self.listening])
        finally:
            self.listening.close()

    def stop(self) -> None:
        """Let running answers end, then stop."""
        self._server.should_exit = True
