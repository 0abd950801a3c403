"""A provider that gives away every secret it is told: in bodies, headers, frames and close reasons, in every encoding."""

from __future__ import annotations

import base64
import gzip
import html
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import parse_qsl, quote, urlsplit

from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response
from websockets.sync.server import ServerConnection, serve

from tests.web_server import QuietHandler, web_server

STATUSES = (200, 302, 400, 401, 403, 404, 422, 429, 500, 503)


def forms_of(secret: str) -> list[bytes]:
    """Return a secret as people, programs and proxies write it."""
    plain = secret.encode()
    basic = base64.b64encode(f"user:{secret}".encode())
    return [
        plain, quote(secret, safe="").encode(), _in_lower_hex(quote(secret, safe="")).encode(), json.dumps(secret)[1:-1].encode(),
        html.escape(secret).encode(), base64.b64encode(plain), base64.urlsafe_b64encode(b"x" + plain), basic,
    ]  # fmt: skip


def _in_lower_hex(text: str) -> str:
    return re.sub("%[0-9A-F]{2}", lambda found: found[0].lower(), text)


@contextmanager
def echoing() -> Iterator[tuple[str, str]]:
    """Serve; give the addresses of HTTP and of WebSocket. The statuses of answers follow one another."""
    with (
        web_server(_Echo) as address,
        serve(_talk, "127.0.0.1", 0, process_request=_refuse_once) as stream,
    ):
        running = threading.Thread(target=stream.serve_forever)
        running.start()
        try:
            yield address, f"ws://127.0.0.1:{stream.socket.getsockname()[1]}"
        finally:
            stream.shutdown()
            running.join()


def answer_next(status: int) -> None:
    """Let the next answer have this status."""
    _Echo.count = STATUSES.index(status)


class _Echo(QuietHandler):
    count = 0

    def do_GET(self) -> None:
        status = STATUSES[_Echo.count % len(STATUSES)]
        _Echo.count += 1
        told = [value for _, value in parse_qsl(urlsplit(self.path).query)]
        told += [value for name, value in self.headers.items() if "key" in name.lower() or "token" in name.lower()]
        told += [self.headers.get("Authorization", "")]
        secrets = [each.partition(" ")[2] or each for each in told if each]
        body = (
            b"Invalid request " + self.path.encode() + b" | " + b" | ".join(form for each in secrets for form in forms_of(each))
        )
        packed = gzip.compress(body)
        self.send_response(status, "refused " + quote(" ".join(told))[:200])
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Encoding", "gzip")
        self.send_header("Content-Length", str(len(packed)))
        self.send_header("Location", f"http://127.0.0.1:9{self.path}")
        self.send_header("X-Debug", " ".join(told))
        self.end_headers()
        self.wfile.write(
            packed[: len(packed) if status != 200 else len(packed) // 2]
        )  # of the first one half comes, cut in a key


def _refuse_once(connection: ServerConnection, request: Request) -> Response | None:
    """Refuse every second handshake, and quote its address."""
    _Echo.count += 1
    return connection.respond(503, f"cannot serve {request.path}\n") if _Echo.count % 2 else None


def _talk(connection: ServerConnection) -> None:
    """Say the address back in frames and halves of frames, then close with it as the reason."""
    assert connection.request is not None
    path = connection.request.path
    headers = [value for name, value in connection.request.headers.raw_items() if name.lower().startswith(("apca", "x-"))]
    secrets = [*(value for _, value in parse_qsl(urlsplit(path).query)), *headers]
    for secret in secrets:
        for form in forms_of(secret):
            connection.send(json.dumps({"type": "error", "msg": "unknown "}).encode()[:-2] + form + b'"}', text=True)
        connection.send([f'{{"type":"error","msg":"{path[:20]}', path[20:40], f'{path[40:]} {secret}"}}'])
    try:
        for frame in connection:
            connection.send(frame, text=True)
            if "subscribe" in str(frame):
                break
    except ConnectionClosed:
        return
    connection.close(1008, f"bad key {secrets[0] if secrets else ''}"[:120])
