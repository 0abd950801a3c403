"""Errors as RFC 9457 problem documents, whatever raised them: our own errors, validation, routing, defects."""

from __future__ import annotations

import logging
import math

import orjson
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

from lake.errors import BusyError, ProviderUnavailableError, TickhouseError
from serving.formats import plain_value
from serving.outcomes import DEFECT, details_of, outcome_of
from serving.web.iceberg_errors import error_response, is_iceberg

LOGGER = logging.getLogger("tickhouse.web")
MEDIA_TYPE = "application/problem+json"


class Problem(BaseModel):
    """What went wrong, for programs (`type`, `status`) and for people (`title`, `detail`)."""

    type: str = Field(description="Name of the kind of problem; it stays the same.", examples=["urn:tickhouse:problem:not-found"])
    title: str = Field(description="Short words, the same for every problem of the kind.", examples=["Not found"])
    status: int = Field(description="The HTTP status.", examples=[404])
    detail: str = Field(
        description="What failed, where, with which value, and what was expected.",
        examples=["no instrument has the symbol 'NOPE'"],
    )
    instance: str = Field(description="Path of the request.", examples=["/api/v1/bars/NOPE"])
    advice: str | None = Field(None, description="What the caller should do.", examples=["Ask for something that exists."])


def response_of(request: Request, status: int, type_: str, title: str, detail: str, **more: object) -> Response:
    """Return a problem document; below /iceberg/ the same as Iceberg's clients read it."""
    if is_iceberg(request.url.path):
        return error_response(request.url.path, status, detail)
    body = {"type": type_, "title": title, "status": status, "detail": detail, "instance": request.url.path, **more}
    return Response(orjson.dumps(plain_value(body)), status, media_type=MEDIA_TYPE)


def install(app: FastAPI) -> None:
    """Let `app` answer every error with a problem document."""
    app.add_exception_handler(TickhouseError, _expected)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _routing)
    app.add_exception_handler(Exception, _defect)


def _expected(request: Request, error: Exception) -> Response:
    outcome = outcome_of(error)
    if outcome.status >= 500:
        LOGGER.error("%s %s: %s: %s", request.method, request.url.path, type(error).__name__, error)
    response = response_of(
        request, outcome.status, outcome.type, outcome.title, str(error), advice=outcome.advice, **details_of(error)
    )
    if isinstance(error, ProviderUnavailableError):
        response.headers["Retry-After"] = str(math.ceil(error.retry_after_s))
    elif isinstance(error, BusyError):
        response.headers["Retry-After"] = "1"
    return response


def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    found = [
        {"where": "/".join(str(part) for part in item["loc"]), "what": item["msg"], "value": str(item.get("input"))[:200]}
        for item in error.errors()
    ]
    detail = "; ".join(f"{item['where']}: {item['what']}" for item in found)
    return response_of(request, 422, "urn:tickhouse:problem:invalid-value", "Invalid value", detail, errors=found)


def _routing(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    title = {404: "Not found", 405: "Method not allowed"}.get(error.status_code, "Request refused")
    response = response_of(
        request, error.status_code, f"urn:tickhouse:problem:{title.lower().replace(' ', '-')}", title, str(error.detail)
    )
    response.headers.update(error.headers or {})
    return response


def _defect(request: Request, error: Exception) -> Response:
    LOGGER.exception("%s %s failed", request.method, request.url.path, exc_info=error)
    return response_of(
        request, DEFECT.status, DEFECT.type, DEFECT.title, f"{type(error).__name__} in the server; its log has the rest"
    )
