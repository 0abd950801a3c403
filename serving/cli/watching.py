"""The verb that watches a folder for new files."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from serving.cli.options import Home, Json, open_lake, open_log
from serving.cli.output import Output

if TYPE_CHECKING:
    from ingest.imports import FileReport

LOOK_S = 2.0
"""Pause between two looks."""


def add_to(app: typer.Typer) -> None:
    """Register the verb of this module."""
    app.command("watch", rich_help_panel="Bring data in")(watch)


def watch(
    provider: Annotated[str, typer.Argument(help="As `tickhouse feeds` lists it, like csv.")],
    feed: Annotated[str, typer.Argument(help="Its feed, like bars.")],
    folder: Annotated[Path, typer.Argument(help="Where files arrive; folders below it too.")],
    home: Home = None,
    mapping: Annotated[
        str | None,
        typer.Option(
            "--mapping", help="For CSV: a TOML file that says what the columns are, or a shipped one.", show_default=False
        ),
    ] = None,
    settle: Annotated[float, typer.Option("--settle", min=0.1, help="Seconds that a file must stay as it is.")] = 5.0,
    once: Annotated[bool, typer.Option("--once", help="End when every file that is there is imported.")] = False,
    json: Json = False,
) -> None:
    """Import each new file of a folder once, when it is whole; `tickhouse up`, or `land` and `promote`, move it on."""
    from ingest.folders import FolderWatch
    from ingest.mappings import load_mapping

    output = Output(as_json=json)
    document = None if mapping is None else load_mapping(mapping)
    files: list[FileReport] = []
    with open_lake(home) as lake:
        watched = FolderWatch(lake, open_log(lake.settings), provider, feed, folder, mapping=document, settle_s=settle)
        while True:
            for report in watched.look():
                files.append(report)
                output.say(
                    f"{report.path}: {report.status}, {report.messages:,} messages"
                    + (f"; {report.error}" if report.error else "")
                )
            if once and not watched.waiting:
                break
            time.sleep(min(LOOK_S, settle))
    told = [{"path": each.path, "status": each.status, "messages": each.messages, "error": each.error} for each in files]
    output.answer({"files": told}, lambda console: console.print(f"{len(files):,} files imported."))
