"""The pages for people: the landing page and the API's own. Static files of ours, nothing from elsewhere.

They carry no data: what they show they ask of the API, with the key that the reader typed. So they need none themselves.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from fastapi import FastAPI, Request, Response
from starlette.exceptions import HTTPException

FOLDER = Path(__file__).parent / "static"
OPEN_PATHS = ("/", "/docs", "/static/")
"""Paths that answer without a key: `/` and `/docs` themselves, and everything below `/static/`."""
_MEDIA_TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript"}
_HEADERS = {
    "Cache-Control": "no-cache",
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; "
        "form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


def install(app: FastAPI) -> None:
    """Let `app` answer `/`, `/docs` and the files that they use, read once."""
    files = {path.name: path.read_bytes() for path in FOLDER.iterdir() if path.suffix in _MEDIA_TYPES}

    @app.get("/", include_in_schema=False)
    def home(request: Request) -> Response:
        return _file(request, files, "home.html")

    @app.get("/docs", include_in_schema=False)
    def docs(request: Request) -> Response:
        return _file(request, files, "docs.html")

    @app.get("/static/{name}", include_in_schema=False)
    def static(request: Request, name: str) -> Response:
        return _file(request, files, name)


def _file(request: Request, files: dict[str, bytes], name: str) -> Response:
    found = files.get(name)
    if found is None:
        raise HTTPException(404, f"no page or file {name!r} here")
    tag = f'"{hashlib.sha256(found).hexdigest()[:32]}"'
    headers = {**_HEADERS, "ETag": tag}
    if request.headers.get("if-none-match") == tag:
        return Response(status_code=304, headers=headers)
    return Response(found, media_type=f"{_MEDIA_TYPES[Path(name).suffix]}; charset=utf-8", headers=headers)
