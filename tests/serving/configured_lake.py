"""A new lake with a configuration beside it."""

from __future__ import annotations

from pathlib import Path

from lake.catalog import Lake
from lake.instants import Clock
from lake.settings import load_settings


def made(home: Path, text: str, clock: Clock) -> Lake:
    """Return a new lake whose tickhouse.toml is `text`; the caller closes it."""
    settings = load_settings(home=home)
    home.mkdir()
    settings.config.write_text(text)
    return Lake.create(settings, clock)
