"""How answers leave: encoded once, with their metadata in body and headers, and documented in the OpenAPI."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import orjson
from fastapi import Request, Response

from lake.catalog import Lake
from lake.instants import to_datetime
from serving.answers import Answered
from serving.best_answer import BestAnswer
from serving.demands import Demands
from serving.formats import MEDIA_TYPES, Format, encode, plain_value
from serving.web.problems import MEDIA_TYPE, Problem

_TABULAR: dict[str, Any] = {
    "type": "object",
    "required": ["metadata", "row_count", "columns"],
    "properties": {
        "metadata": {"type": "object", "description": "Snapshots, freshness, completeness, basis, source, the instrument."},
        "row_count": {"type": "integer", "minimum": 0},
        "columns": {
            "type": "object",
            "description": "One list a column, all of the same length; decimals are strings.",
            "additionalProperties": {"type": "array", "items": {}},
        },
    },
}


def lake_of(request: Request) -> Lake:
    """Return the lake that the application answers from."""
    lake: Lake = request.app.state.lake
    return lake


def best_of(request: Request) -> BestAnswer:
    """Return who answers from the lake, or from a provider where it has nothing good enough."""
    return BestAnswer(lake_of(request), getattr(request.app.state, "read_through", None))


def problem(description: str) -> dict[str, Any]:
    """Return the OpenAPI entry of a problem document."""
    return {"description": description, "content": {MEDIA_TYPE: {"schema": Problem.model_json_schema()}}}


def answers(
    example: Mapping[str, Any] | Sequence[Any], *, tabular: bool = True, schema: Mapping[str, Any] | None = None
) -> dict[int | str, dict[str, Any]]:
    """Return the OpenAPI entries of a route's answers; `example` is a real answer, shortened."""
    shape = dict(schema) if schema is not None else (_TABULAR if tabular else {"type": "object"})
    content: dict[str, Any] = {"application/json": {"schema": shape, "example": example}}
    if tabular:
        content[MEDIA_TYPES[Format.ARROW]] = {"schema": {"type": "string", "format": "binary"}}
        content[MEDIA_TYPES[Format.PARQUET]] = {"schema": {"type": "string", "format": "binary"}}
        content["text/csv"] = {"schema": {"type": "string"}}
    return {200: {"description": "The answer.", "content": content}, **problems_of(404, 412 if tabular else None)}


def problems_of(*more: int | None) -> dict[int | str, dict[str, Any]]:
    """Return the OpenAPI entries of the errors every route may answer with, and of `more`."""
    words = {
        400: "The body is not JSON.",
        404: "Nothing has that name.",
        412: "What exists is older, or of a quality less known, than demanded.",
    }
    return {
        401: problem("A key is needed, and none or an unknown one was sent."),
        403: problem("The key lacks the scope."),
        422: problem("A parameter is not valid."),
        503: problem("Try again later."),
        **{status: problem(words[status]) for status in more if status is not None},
    }


def respond(request: Request, answered: Answered, format_: Format, demands: Demands | None = None) -> Response:
    """Return rows and metadata encoded. Raises DemandError when they do not meet what the client demands."""
    if demands is not None:
        if answered.metadata.get("is_stale"):
            demands = replace(demands, max_age_s=None)  # the client took the last known, which tells its age
        demands.check(answered.metadata, to_datetime(lake_of(request).clock()))
    plain = {name: plain_value(value) for name, value in answered.metadata.items()}
    return Response(
        encode(answered.table, format_, plain), media_type=MEDIA_TYPES[format_], headers=headers_of(answered.metadata)
    )


def headers_of(metadata: Mapping[str, object]) -> dict[str, str]:
    """Return the headers that tell an answer's metadata in every format."""
    snapshots = metadata["snapshots"]
    assert isinstance(snapshots, Mapping)
    return {
        "Tickhouse-Snapshots": ",".join(f"{name}={snapshot}" for name, snapshot in snapshots.items()),
        "Tickhouse-Basis": str(metadata["basis"]),
        "Tickhouse-Fresh": str(plain_value(metadata["fresh"]) or ""),
        "Tickhouse-Source": str(metadata["source"]),
        "Vary": "Accept",
    }


def document(body: Mapping[str, object] | Sequence[object], status: int = 200, *, is_kept: bool = True) -> Response:
    """Return a JSON document; not `is_kept`: no cache may keep it."""
    headers = {} if is_kept else {"Cache-Control": "no-store"}
    return Response(orjson.dumps(plain_value(body)), status, media_type="application/json", headers=headers)
