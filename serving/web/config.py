"""GET, PUT and PATCH /config: what is configured, changed while everything runs. A change names the version it was made upon."""

from __future__ import annotations

from typing import Any

import orjson
from fastapi import APIRouter, Request, Response
from starlette.concurrency import run_in_threadpool

from ingest.configuration_text import MAX_BYTES, as_text, merged
from ingest.configured import Configured
from lake.errors import InvalidValueError
from serving.operate import configured as operating
from serving.web.access import caller_of, name_of
from serving.web.problems import response_of
from serving.web.responses import answers, document, problem

router = APIRouter()
TOML = "application/toml"
_EXAMPLE: dict[str, Any] = {
    "version": 2,
    "etag": "5f2b41c0d3a94d6a8c1f0d4e5b6a7c8d",
    "since": "2026-11-21T09:30:00Z",
    "who": "key 0f3b (operations)",
    "reason": "PATCH /api/v1/config",
    "refused": [],
    "configuration": {"providers": {"alpaca": {"priority": 5}}, "universes": {}, "schedules": {}, "thresholds": {}},
}
_IF_MATCH = {
    "name": "If-Match",
    "in": "header",
    "required": True,
    "description": "The ETag that GET told: a change made meanwhile is not lost.",
    "schema": {"type": "string"},
    "example": '"5f2b41c0d3a94d6a8c1f0d4e5b6a7c8d"',
}
_REASON = {
    "name": "Tickhouse-Reason",
    "in": "header",
    "required": False,
    "description": "Why; written to the audit log.",
    "schema": {"type": "string", "maxLength": 500},
}
_PATCH = {"providers": {"alpaca": {"priority": 5}}}


def _changing(media: dict[str, Any]) -> dict[str, Any]:
    return {"parameters": [_IF_MATCH, _REASON], "requestBody": {"required": True, "content": media}}


_CHANGED = {
    **answers(_EXAMPLE, tabular=False),
    412: problem("Another version is in force."),
    428: problem("If-Match is missing."),
}


@router.get("/config", responses=answers(_EXAMPLE, tabular=False), response_class=Response, summary="What is configured")
def get_config(request: Request) -> Response:
    """Providers, universes, schedules and thresholds in force; with `Accept: application/toml` the file's own text."""
    configured = _configured(request)
    if TOML in request.headers.get("accept", ""):
        now = configured.now()
        return Response(
            now.text, media_type=TOML, headers={"ETag": f'"{now.etag}"', "Cache-Control": "no-store", "Vary": "Accept"}
        )
    return _told(configured)


@router.get(
    "/config/history",
    responses=answers(
        [{key: value for key, value in _EXAMPLE.items() if key != "configuration"}], tabular=False, schema={"type": "array"}
    ),
    response_class=Response,
    summary="What was configured, by whom and why",
)
def get_config_history(request: Request) -> Response:
    """Every version, the newest first, each with what it changed."""
    return document(operating.history(_configured(request)), is_kept=False)


@router.put(
    "/config",
    responses=_CHANGED,
    response_class=Response,
    summary="Configure anew",
    openapi_extra=_changing(
        {
            TOML: {"schema": {"type": "string", "maxLength": MAX_BYTES}, "example": "[providers.alpaca]\npriority = 5\n"},
            "application/json": {"schema": {"type": "object"}, "example": _PATCH},
        }
    ),
)
async def put_config(request: Request) -> Response:
    """The whole configuration, as TOML (comments are kept) or as JSON. Where keys are needed: the scope admin."""
    body = await _body(request)
    if "json" in request.headers.get("content-type", ""):
        text = as_text(_object(body))
    else:
        text = body.decode("utf-8", "replace")
    return await run_in_threadpool(_change, request, lambda _: text)


@router.patch(
    "/config",
    responses=_CHANGED,
    response_class=Response,
    summary="Change what is configured",
    openapi_extra=_changing({"application/merge-patch+json": {"schema": {"type": "object"}, "example": _PATCH}}),
)
async def patch_config(request: Request) -> Response:
    """A JSON merge patch (RFC 7396): null takes a key away; what is not named stays, comments too."""
    patch = _object(await _body(request))
    return await run_in_threadpool(_change, request, lambda text: merged(text, patch))


def _change(request: Request, make: Any) -> Response:
    told = request.headers.get("if-match", "").strip()
    if not told:
        words = "send If-Match with the ETag that GET /api/v1/config told"
        return response_of(request, 428, "urn:tickhouse:problem:precondition-required", "Precondition required", words)
    etag = None if told == "*" else told.removeprefix("W/").strip('"')
    reason = request.headers.get("tickhouse-reason", "")[:500] or f"{request.method} {request.url.path}"
    configured = _configured(request)
    configured.change(make, name_of(caller_of(request)), reason, etag)
    return _told(configured)


def _told(configured: Configured) -> Response:
    body = operating.told(configured)
    response = document(body, is_kept=False)
    response.headers["ETag"] = f'"{body["etag"]}"'
    return response


def _configured(request: Request) -> Configured:
    configured: Configured = request.app.state.configured
    return configured


async def _body(request: Request) -> bytes:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BYTES:
            raise InvalidValueError(f"the body is longer than {MAX_BYTES} bytes")
    return bytes(body)


def _object(body: bytes) -> dict[str, Any]:
    try:
        found = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise InvalidValueError(f"the body is no JSON: {error.msg}") from error
    if not isinstance(found, dict):
        raise InvalidValueError(f"the body is {type(found).__name__}; expected an object like {orjson.dumps(_PATCH).decode()}")
    return found
