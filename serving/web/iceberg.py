"""/iceberg/v1: a read-only Iceberg REST catalog, so that PyIceberg, Spark, Trino and DuckDB read the same tables.

Errors have the form of Iceberg's own specification; every write is answered 403. Data files are read by the client itself,
from where the lake keeps them: an engine on another machine needs the same folder mounted, or an object store.
"""

from __future__ import annotations

from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Path, Query, Request, Response

from lake.attaching import attached, namespaces, tables_in
from lake.errors import NotFoundError
from lake.tables import TABLES
from serving.web.responses import lake_of

ENDPOINTS = [
    "GET /v1/{prefix}/namespaces",
    "GET /v1/{prefix}/namespaces/{namespace}",
    "HEAD /v1/{prefix}/namespaces/{namespace}",
    "GET /v1/{prefix}/namespaces/{namespace}/tables",
    "GET /v1/{prefix}/namespaces/{namespace}/tables/{table}",
    "HEAD /v1/{prefix}/namespaces/{namespace}/tables/{table}",
    "POST /v1/{prefix}/namespaces/{namespace}/tables/{table}/metrics",
]

router = APIRouter()
Namespace = Annotated[str, Path(description="One level, like `normalized`.", examples=["normalized"], max_length=128)]
TableName = Annotated[str, Path(description="Without its namespace.", examples=["trades"], max_length=128)]
_ERROR: dict[str, Any] = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["message", "type", "code"],
            "properties": {"message": {"type": "string"}, "type": {"type": "string"}, "code": {"type": "integer"}},
        }
    },
}


def _responses(words: str, status: int = 200, *missing: str) -> dict[int | str, dict[str, Any]]:
    found: dict[int | str, dict[str, Any]] = {status: {"description": words}}
    if status == 200:
        found[200]["content"] = {"application/json": {"schema": {"type": "object"}}}
    for code, told in ((401, "A key is needed."), (403, "The key lacks the scope."), (503, "Try again later.")):
        found[code] = {"description": told, "content": {"application/json": {"schema": _ERROR}}}
    for told in missing:
        found[404] = {"description": told, "content": {"application/json": {"schema": _ERROR}}}
    return found


@router.get("/config", responses=_responses("Settings for a client."), response_class=Response, summary="Iceberg: configuration")
def get_config(
    warehouse: Annotated[str | None, Query(description="Ignored: there is one.", max_length=1024)] = None,
) -> Response:
    """What this catalog can do; every client asks this first."""
    return _json({"defaults": {}, "overrides": {}, "endpoints": ENDPOINTS})


@router.get(
    "/namespaces",
    responses=_responses("Every namespace.", 200, "No such parent."),
    response_class=Response,
    summary="Iceberg: namespaces",
)
def get_namespaces(
    parent: Annotated[
        str | None, Query(description="Namespaces have one level: below any there is none.", max_length=128)
    ] = None,
) -> Response:
    """The layers of the lake."""
    if parent:
        tables_in(parent)
        return _json({"namespaces": []})
    return _json({"namespaces": [[name] for name in namespaces()]})


@router.get(
    "/namespaces/{namespace}",
    responses=_responses("It exists.", 200, "No such namespace."),
    response_class=Response,
    summary="Iceberg: a namespace",
)
def get_namespace(namespace: Namespace) -> Response:
    """One layer."""
    tables_in(namespace)
    return _json({"namespace": [namespace], "properties": {}})


@router.head("/namespaces/{namespace}", include_in_schema=False)
def head_namespace(namespace: Namespace) -> Response:
    """Whether a namespace exists."""
    tables_in(namespace)
    return Response(status_code=204)


@router.get(
    "/namespaces/{namespace}/tables",
    responses=_responses("Its tables.", 200, "No such namespace."),
    response_class=Response,
    summary="Iceberg: tables",
)
def get_tables(namespace: Namespace) -> Response:
    """The tables of one layer."""
    return _json({"identifiers": [{"namespace": [namespace], "name": name} for name in tables_in(namespace)]})


@router.get(
    "/namespaces/{namespace}/tables/{table}",
    responses=_responses("Metadata, main only.", 200, "No such table."),
    response_class=Response,
    summary="Iceberg: load a table",
)
def get_table(
    request: Request,
    namespace: Namespace,
    table: TableName,
    snapshots: Annotated[
        str | None, Query(description="`refs`: only main's head; else its ancestors too.", examples=["all"], max_length=16)
    ] = None,
) -> Response:
    """Schema, partitions, snapshots and where they lie. Batches under audit are not shown."""
    found = attached(lake_of(request), _name(namespace, table), only_head=snapshots == "refs")
    return _json({"metadata-location": found.metadata_location, "metadata": found.metadata, "config": {}})


@router.head("/namespaces/{namespace}/tables/{table}", include_in_schema=False)
def head_table(namespace: Namespace, table: TableName) -> Response:
    """Whether a table exists."""
    _name(namespace, table)
    return Response(status_code=204)


@router.post(
    "/namespaces/{namespace}/tables/{table}/metrics",
    status_code=204,
    responses=_responses("Taken, and dropped.", 204, "No such table."),
    response_class=Response,
    summary="Iceberg: a scan report",
)
def post_metrics(namespace: Namespace, table: TableName) -> Response:
    """Engines report how they scanned; it is taken so that they do not complain, and not kept."""
    _name(namespace, table)
    return Response(status_code=204)


def _name(namespace: str, table: str) -> str:
    name = f"{namespace}.{table}"
    if name not in TABLES:
        raise NotFoundError(f"no table {name}; there are {', '.join(sorted(TABLES))}")
    return name


def _json(body: dict[str, Any]) -> Response:
    return Response(orjson.dumps(body), media_type="application/json", headers={"Cache-Control": "no-store"})
