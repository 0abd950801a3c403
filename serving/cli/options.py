"""Options and openings that several verbs share. What is slow to import waits until a verb runs: `--help` needs none of it."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lake.values import RunnerKind

if TYPE_CHECKING:
    from lake.catalog import Lake
    from lake.log.log import Log
    from lake.settings import Settings

__all__ = ["AsOf", "Home", "Json", "KnownAsOf", "Reason", "RunnerChoice", "instant", "open_lake", "open_log", "settings_of"]

Home = Annotated[
    Path | None,
    typer.Option("--home", help="Folder of the lake (default: TICKHOUSE_HOME, else ./.tickhouse).", show_default=False),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")]
AsOf = Annotated[
    str | None,
    typer.Option("--as-of", help="Only what this lake had published by then (2020-08-31, or with a time).", show_default=False),
]
KnownAsOf = Annotated[
    str | None,
    typer.Option("--known-as-of", help="Only what the market could know by then.", show_default=False),
]
RunnerChoice = Annotated[
    RunnerKind | None,
    typer.Option(
        "--runner", help="Where the work is done: here, in processes, or on Ray (default: TICKHOUSE_RUNNER, else local).",
        show_default=False,
    ),
]  # fmt: skip
Reason = Annotated[str, typer.Option("--reason", help="Why; written to the audit log.")]


def settings_of(home: Path | None) -> Settings:
    """Return the settings in force: environment, then `home` if given. Raises SettingsError."""
    from lake.settings import load_settings

    return load_settings(home=home.expanduser().resolve()) if home is not None else load_settings()


def open_lake(home: Path | None) -> Lake:
    """Return the lake at `home`. Raises NotFoundError when `tickhouse init` has not run there."""
    from lake.catalog import Lake
    from lake.instants import system_clock

    return Lake.open(settings_of(home), system_clock)


def open_log(settings: Settings) -> Log:
    """Return the log of a lake, open. Raises as `lake.log.opening.open_log` does."""
    from serving.operate import logs

    return logs.open_log(settings)


def instant(text: str | None) -> datetime | None:
    """Return the instant a user wrote, or None. Raises InvalidValueError."""
    from lake.instants import parse_instant

    return None if text is None else parse_instant(text)
