"""The HTTP application: a factory, so that nothing happens at import."""

from __future__ import annotations

from importlib import metadata
from typing import Any

from fastapi import Depends, FastAPI
from fastapi.responses import RedirectResponse

from lake.catalog import Lake
from serving.integration.worker import Worker
from serving.keys import Keyring
from serving.operate.configured import open_configured
from serving.operate.standing import Standings
from serving.streaming.hub import Hub
from serving.web import (
    config,
    fx,
    health,
    iceberg,
    integration,
    market,
    metrics,
    pages,
    problems,
    quality,
    routes,
    sql_route,
    stream,
    symbology,
)
from serving.web.access import Access, Policy
from serving.web.iceberg_errors import ReadOnly
from serving.web.known_parameters import refuse_unknown
from serving.web.sql_route import AT_ONCE, Places

DESCRIPTION = """
Questions to a market-data lakehouse. No call changes data: `POST /api/v1/integration/process` has a source asked again, `PUT` and
`PATCH /api/v1/config` change how providers are asked, and each wants a key of its own scope once there are keys.

* Every answer says from which snapshots it was read, how fresh and how complete it is, and on which basis prices stand.
* `as_of` asks for what this lake had published by an instant; `known_as_of` for what the market could know by then.
* Ranges are half open: `[start, end)`.
* In JSON, decimals are **strings**: a JSON number would lose digits in most readers. Arrow carries exact decimals.
* Every error is a problem document (RFC 9457).
"""


def create_app(lake: Lake, *, is_loopback: bool | None = None) -> FastAPI:
    """Return the application that answers from `lake`.

    is_loopback   whether only this machine reaches it; None: there is no server around it
    """
    app = FastAPI(
        title="tickhouse",
        version=_version(),
        description=DESCRIPTION,
        openapi_url="/api/v1/openapi.json",
        docs_url=None,
        redoc_url=None,
        license_info={"name": "Apache-2.0", "identifier": "Apache-2.0"},
        contact={"name": "tickhouse", "url": "https://localhost/"},
    )
    app.state.lake = lake
    app.state.sql_places = Places(AT_ONCE)
    app.state.hub = Hub(lake)
    app.state.worker = Worker(lake)
    app.state.configured = open_configured(lake)
    app.state.standings = Standings(lake, app.state.configured)
    for module in (routes, health, market, fx, symbology, quality, sql_route, integration, config, metrics):
        app.include_router(module.router, prefix="/api/v1", dependencies=[Depends(refuse_unknown)])
    app.include_router(stream.router, prefix="/api/v1")
    app.include_router(iceberg.router, prefix="/iceberg/v1")
    app.add_api_route("/health", health.get_health, include_in_schema=False)  # where a balancer looks for it
    app.add_api_route("/metrics", metrics.get_metrics, include_in_schema=False)  # where Prometheus looks for it
    pages.install(app)
    problems.install(app)
    app.add_middleware(ReadOnly)
    app.add_middleware(Access, keyring=Keyring(lake), policy=Policy(lake.settings.api_auth, is_loopback))
    _document_keys(app)

    @app.get("/openapi.json", include_in_schema=False)
    def openapi() -> RedirectResponse:
        return RedirectResponse("/api/v1/openapi.json")

    return app


def _document_keys(app: FastAPI) -> None:
    """Tell in the OpenAPI document how a key is sent; the gate itself is `serving.web.access`."""
    make = app.openapi

    def openapi() -> dict[str, Any]:
        document = make()
        document.setdefault("components", {})["securitySchemes"] = {
            "key": {
                "type": "http",
                "scheme": "bearer",
                "description": "`tickhouse keys add`; none is needed on loopback before.",
            },
            "key_header": {"type": "apiKey", "in": "header", "name": "X-Api-Key"},
        }
        document["security"] = [{}, {"key": []}, {"key_header": []}]
        return document

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's documented way to extend the document


def _version() -> str:
    try:
        return metadata.version("tickhouse")
    except metadata.PackageNotFoundError:
        return "0+source"
