"""Errors below /iceberg/: the form of Iceberg's REST specification, which its clients read."""

from __future__ import annotations

import orjson
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

PREFIX = "/iceberg/"
READ_ONLY = "this catalog is read-only: tickhouse writes its tables itself, each batch through its gate"
_KINDS = {
    400: "BadRequestException",
    401: "NotAuthorizedException",
    403: "ForbiddenException",
    405: "UnsupportedOperationException",
    500: "InternalServerError",
    503: "ServiceUnavailableException",
}


def is_iceberg(path: str) -> bool:
    """Return whether a path belongs to the catalog."""
    return path.startswith(PREFIX)


def error_response(path: str, status: int, message: str) -> Response:
    """Return an error as Iceberg's clients expect it; a wrong parameter is 400 there."""
    code = 400 if status == 422 else status
    missing = "NoSuchTableException" if "/tables/" in path else "NoSuchNamespaceException"
    kind = missing if code == 404 else _KINDS.get(code, "RESTException")
    return Response(
        orjson.dumps({"error": {"message": message, "type": kind, "code": code}}), code, media_type="application/json"
    )


class ReadOnly:
    """Around the application: every write below /iceberg/ is refused, whether its route exists or not."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse what writes; let the rest through."""
        if scope["type"] == "http" and is_iceberg(scope["path"]) and not _is_read(scope["method"], scope["path"]):
            await error_response(scope["path"], 403, READ_ONLY)(scope, receive, send)
            return
        await self._app(scope, receive, send)


def _is_read(method: str, path: str) -> bool:
    return method in ("GET", "HEAD", "OPTIONS") or (method == "POST" and path.endswith("/metrics"))
