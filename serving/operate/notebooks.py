"""The notebooks as pages: marimo's own application, each notebook under its name, on loopback.

Each visitor gets a session that reads the lake; nothing here writes. The notebooks find their lake by the environment, as
every entry point does.
"""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path

import marimo
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Mount, Route

from lake.errors import NotFoundError, SettingsError
from lake.settings import Settings
from serving.operate.listening import Listener
from serving.operate.passing import environment

NOTEBOOKS = ("tour", "explorer")
"""In the order a newcomer should see them; the first is shown at `/`."""


def folder() -> Path:
    """Return where the notebooks are. Raises NotFoundError for an installation without them."""
    found = find_spec("notebooks")
    if found is None or found.origin is None:
        raise NotFoundError("this installation has no notebooks; run from the source tree, or install tickhouse whole")
    return Path(found.origin).parent


class NotebookServer(Listener):
    """The server of the notebooks, always on loopback: a session reads the whole lake, and no key is asked.

    is_port_free   take any free port when this one is taken
    """

    def __init__(self, settings: Settings, port: int, *, is_port_free: bool = False) -> None:
        app = create_app(settings)
        try:
            super().__init__(app, "127.0.0.1", port)
        except SettingsError:
            if not is_port_free:
                raise
            super().__init__(app, "127.0.0.1", 0)


def create_app(settings: Settings) -> Starlette:
    """Return the application that serves every notebook over the lake of `settings`; it sets the process's environment."""
    os.environ.update(environment(settings))
    built = marimo.create_asgi_app(quiet=True, include_code=False)
    for name in NOTEBOOKS:
        built = built.with_app(path=f"/{name}", root=str(folder() / f"{name}.py"))

    def first(request: Request) -> Response:
        return RedirectResponse(f"/{NOTEBOOKS[0]}/")

    return Starlette(routes=[Route("/", first), Mount("/", built.build())])
