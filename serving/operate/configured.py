"""The configuration of a lake for entry points: opened with the keys of the environment, which must not stand in it; told."""

from __future__ import annotations

import os
from collections.abc import Mapping
from itertools import pairwise

from ingest.configuration import Configuration
from ingest.configuration_text import differences, read_configuration
from ingest.configured import Configured
from ingest.providers.registry import PROVIDERS
from ingest.secret_forms import LEAST_SECRET
from lake.catalog import Lake
from lake.errors import NotFoundError
from lake.instants import to_datetime


def open_configured(lake: Lake) -> Configured:
    """Return the configuration of a lake: TICKHOUSE_CONFIG, or `tickhouse.toml` in its home."""
    return Configured(lake.state, lake.settings.config, lake.clock, known_secrets(os.environ))


def known_secrets(environment: Mapping[str, str]) -> list[str]:
    """Return the keys of providers that are in the environment; shorter values are words, not keys."""
    names = [name for provider in PROVIDERS.values() for name in provider.key_variables]
    return [value for name in names if len(value := environment.get(name, "")) >= LEAST_SECRET]


def symbols_of(configuration: Configuration, universe: str) -> tuple[str, ...]:
    """Return the symbols of a universe. Raises NotFoundError that lists those there are."""
    found = configuration.universes.get(universe)
    if found is None:
        names = ", ".join(sorted(configuration.universes)) or "none"
        raise NotFoundError(f"no universe {universe!r} is configured; there are {names}")
    return found.symbols


def told(configured: Configured) -> dict[str, object]:
    """Return what is in force as plain values: version, author, the whole configuration, and why the file was refused."""
    now = configured.now()
    newest = next((each for each in configured.versions() if each.version == now.version), None)
    return {
        "version": now.version,
        "etag": now.etag,
        "since": None if newest is None else to_datetime(newest.at_ns),
        "who": None if newest is None else newest.who,
        "reason": None if newest is None else newest.reason,
        "refused": configured.refusal(),
        "configuration": now.configuration.model_dump(mode="json"),
    }


def history(configured: Configured) -> list[dict[str, object]]:
    """Return every version, newest first, each with what it changed."""
    versions = configured.versions()
    meant = [Configuration(), *(read_configuration(each.text) for each in versions)]
    rows = [
        {**version.document(), "at": to_datetime(version.at_ns), "changes": differences(before, after)}
        for version, (before, after) in zip(versions, pairwise(meant), strict=True)
    ]
    return [{name: value for name, value in row.items() if name != "at_ns"} for row in reversed(rows)]
