"""Verbs that move data: import, capture, land, promote, rebuild."""

from __future__ import annotations

import tomllib
from pathlib import Path

import typer

from lake.errors import InvalidValueError, NotFoundError


def add_to(app: typer.Typer) -> None:
    """Register the verbs of this module."""
    app.command("import", rich_help_panel="Bring data in")(import_)


def read_mapping(path: Path | None) -> dict[str, object] | None:
    """Return a CSV mapping file (TOML). Raises NotFoundError and InvalidValueError."""
    if path is None:
        return None
    try:
        return tomllib.loads(path.read_text())
    except FileNotFoundError as error:
        raise NotFoundError(f"no mapping file {path}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise InvalidValueError(f"mapping file {path} is not TOML: {error}") from error
