"""Who may ask: one gate before every route, for HTTP and WebSocket alike.

A key comes as `Authorization: Bearer KEY`, as `X-Api-Key: KEY`, or as the password of Basic authentication, which is what a
browser asks a person for. Never in the address: addresses are logged.

Where no key is needed (loopback, none made yet) a page of a foreign site must not get in through the user's own browser:
the Host must be one of this machine's names, and a WebSocket's Origin must be the server's own.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from urllib.parse import urlsplit

import orjson
from fastapi import Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from serving.keys import Key, Keyring
from serving.keys import Scope as KeyScope
from serving.web.iceberg_errors import error_response, is_iceberg
from serving.web.pages import OPEN_PATHS
from serving.web.problems import MEDIA_TYPE

HEALTH = ("/api/v1/health", "/health")
_CALLER = "tickhouse.caller"
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


class Caller(StrEnum):
    """A caller who is not a key."""

    ANYBODY = "anybody"
    """No key is needed here."""
    NOBODY = "nobody"
    """A key is needed, and none was sent: only health answers."""


@dataclass(frozen=True, slots=True)
class Policy:
    """When a key is needed.

    auth          keys, none, or auto: as soon as one was ever made, and always beyond loopback
    is_loopback   only this machine can reach the server; None: not known (an application without a server, as in tests)
    """

    auth: str = "auto"
    is_loopback: bool | None = None

    def needs_key(self, keyring: Keyring) -> bool:
        """Return whether a caller must send a key. Keys that were all revoked do not open the door again."""
        if self.auth == "auto":
            return self.is_loopback is False or bool(keyring.keys())
        return self.auth == "keys"


def caller_of(request: Request) -> Key | Caller:
    """Return who asks."""
    found: Key | Caller = request.scope.get(_CALLER, Caller.ANYBODY)
    return found


def name_of(caller: Key | Caller) -> str:
    """Return a caller's name for the audit log."""
    return f"key {caller.key_id} ({caller.name})" if isinstance(caller, Key) else f"{caller.value} over HTTP"


class Access:
    """The gate, around the whole application."""

    def __init__(self, app: ASGIApp, keyring: Keyring, policy: Policy) -> None:
        self._app = app
        self._keyring = keyring
        self._policy = policy

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a caller through, or answer 401 or 403."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        refusal, caller = await run_in_threadpool(self._judge, scope, headers)
        if refusal is None:
            scope[_CALLER] = caller
            await self._app(scope, receive, send)
            return
        response = _refused(scope["path"], *refusal)
        if scope["type"] == "websocket" and "websocket.http.response" not in scope.get("extensions", {}):
            await send({"type": "websocket.close", "code": 1008, "reason": refusal[1][:120]})
            return
        await response(scope, receive, send)

    def _judge(self, scope: Scope, headers: Mapping[str, str]) -> tuple[tuple[int, str] | None, Key | Caller]:
        is_socket = scope["type"] == "websocket"
        if is_socket and not _is_same_origin(headers):
            return (403, f"a page of {headers.get('origin')} may not open a WebSocket here"), Caller.NOBODY
        if not self._policy.needs_key(self._keyring):
            if self._policy.is_loopback and urlsplit(f"//{headers.get('host', '')}").hostname not in _LOOPBACK:
                return (
                    403,
                    f"Host {headers.get('host')!r} is no name of this machine; use 127.0.0.1 or localhost",
                ), Caller.NOBODY
            return None, Caller.ANYBODY
        if scope["path"] in HEALTH and not is_socket and key_text(headers) is None:
            return None, Caller.NOBODY
        if not is_socket and _is_page(scope["path"]):
            return None, Caller.NOBODY
        text = key_text(headers)
        if text is None:
            return (401, "send a key as `Authorization: Bearer KEY`; `tickhouse keys add` makes one"), Caller.NOBODY
        key = self._keyring.find(text)
        if key is None:
            return (401, "this key is unknown or was revoked"), Caller.NOBODY
        needed = needed_scope("GET" if is_socket else scope["method"], scope["path"])
        if scope["path"] not in HEALTH and needed not in key.scopes:
            has = ", ".join(sorted(key.scopes))
            return (403, f"{scope['path']} needs the scope {needed.value}; key {key.key_id} has {has}"), key
        return None, key


def needed_scope(method: str, path: str) -> KeyScope:
    """Return the scope a request needs: whatever is not known to read is an act."""
    if path.rstrip("/") == "/api/v1/sql":
        return KeyScope.SQL
    if method in ("GET", "HEAD", "OPTIONS") or is_iceberg(path) or path.rstrip("/") == "/api/v1/symbology/resolve":
        return KeyScope.READ
    return KeyScope.ADMIN if path.rstrip("/") == "/api/v1/config" else KeyScope.OPERATE


def key_text(headers: Mapping[str, str]) -> str | None:
    """Return the key that a request carries, or None."""
    if headers.get("x-api-key"):
        return headers["x-api-key"].strip()
    kind, _, rest = headers.get("authorization", "").strip().partition(" ")
    if kind.lower() == "bearer":
        return rest.strip() or None
    if kind.lower() == "basic":
        try:
            return base64.b64decode(rest, validate=True).decode().partition(":")[2] or None
        except (binascii.Error, UnicodeDecodeError):
            return None
    return None


def _is_page(path: str) -> bool:
    """Pages for people carry no data; what they show they ask of the API, with the key their reader typed."""
    return path in OPEN_PATHS or (path.startswith("/static/") and "/static/" in OPEN_PATHS)


def _is_same_origin(headers: Mapping[str, str]) -> bool:
    """A browser always tells a WebSocket's origin; other programs send none."""
    origin = headers.get("origin")
    return origin is None or urlsplit(origin).netloc == headers.get("host")


def _refused(path: str, status: int, detail: str) -> Response:
    title = "Key needed" if status == 401 else "Access refused"
    headers = {"WWW-Authenticate": 'Bearer realm="tickhouse", Basic realm="tickhouse", charset="UTF-8"'} if status == 401 else {}
    if is_iceberg(path):
        response = error_response(path, status, detail)
        response.headers.update(headers)
        return response
    body = {
        "type": f"urn:tickhouse:problem:{title.lower().replace(' ', '-')}",
        "title": title,
        "status": status,
        "detail": detail,
        "instance": path,
        "advice": "Send a key that has the scope.",
    }
    return Response(orjson.dumps(body), status, headers, MEDIA_TYPE)
