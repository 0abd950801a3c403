"""The HTTP application: a factory, so that nothing happens at import."""

from __future__ import annotations

from importlib import metadata

from fastapi import FastAPI
from fastapi.responses import RedirectResponse

from lake.catalog import Lake
from serving.web import problems, routes

DESCRIPTION = """
Questions to a market-data lakehouse, all read-only.

* Every answer says from which snapshots it was read, how fresh and how complete it is, and on which basis prices stand.
* `as_of` asks for what this lake had published by an instant; `known_as_of` for what the market could know by then.
* Ranges are half open: `[start, end)`.
* In JSON, decimals are **strings**: a JSON number would lose digits in most readers. Arrow carries exact decimals.
* Every error is a problem document (RFC 9457).
"""


def create_app(lake: Lake) -> FastAPI:
    """Return the application that answers from `lake`."""
    app = FastAPI(
        title="tickhouse",
        version=_version(),
        description=DESCRIPTION,
        openapi_url="/api/v1/openapi.json",
        docs_url="/docs",
        redoc_url=None,
        license_info={"name": "Apache-2.0", "identifier": "Apache-2.0"},
        contact={"name": "tickhouse", "url": "https://localhost/"},
    )
    app.state.lake = lake
    app.include_router(routes.router, prefix="/api/v1")
    app.add_api_route("/health", routes.get_health, include_in_schema=False)  # where a balancer looks for it
    problems.install(app)

    @app.get("/", include_in_schema=False)
    def home() -> RedirectResponse:
        return RedirectResponse("/docs")

    @app.get("/openapi.json", include_in_schema=False)
    def openapi() -> RedirectResponse:
        return RedirectResponse("/api/v1/openapi.json")

    return app


def _version() -> str:
    try:
        return metadata.version("tickhouse")
    except metadata.PackageNotFoundError:
        return "0+source"
