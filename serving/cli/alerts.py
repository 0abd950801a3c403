"""Verb of alerts: list, acknowledge, resolve, silence, tell."""

from __future__ import annotations

import getpass
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from lake.errors import InvalidValueError
from serving.cli.options import Home, Json, open_lake, open_log
from serving.cli.output import Output, listing

if TYPE_CHECKING:
    from rich.console import Console


def add_to(app: typer.Typer) -> None:
    """Register the verb."""
    app.command("alerts", rich_help_panel="Quality desk")(alerts)


def alerts(
    home: Home = None,
    every: Annotated[bool, typer.Option("--all", help="Resolved ones too, as they stood last.")] = False,
    acknowledge: Annotated[
        str | None, typer.Option("--acknowledge", help="Take note of this open alert, by kind/subject or id.", show_default=False)
    ] = None,
    resolve: Annotated[
        str | None,
        typer.Option("--resolve", help="This open alert is dealt with: what it stopped goes on.", show_default=False),
    ] = None,
    silence: Annotated[
        str | None,
        typer.Option("--silence", help="Tell nobody of alerts whose kind/subject fits (`breaker_open/*`).", show_default=False),
    ] = None,
    seconds: Annotated[float, typer.Option("--for", help="Seconds that the silence lasts.")] = 3_600.0,
    reason: Annotated[str | None, typer.Option("--reason", help="Why; written to the audit log.", show_default=False)] = None,
    tell: Annotated[
        str | None,
        typer.Option("--tell", help="Run this command for each alert not told yet, JSON on its stdin.", show_default=False),
    ] = None,
    json: Json = False,
) -> None:
    """List what a person should look at; acknowledge, resolve or silence it, with a reason; tell it by a command of yours."""
    from quality_checks.alerts import Alerts
    from serving.alerting import alerts_now, tell_by

    output = Output(as_json=json)
    if (acknowledge or resolve or silence) and not reason:
        raise InvalidValueError("to acknowledge, resolve or silence takes a --reason; it is written to the audit log")
    with open_lake(home) as lake:
        known = Alerts(lake.state, lake.clock, open_log(lake.settings))
        if acknowledge:
            known.acknowledge(acknowledge, getpass.getuser(), str(reason))
        if resolve:
            known.close(resolve, getpass.getuser(), str(reason))
        if silence:
            known.silence(silence, seconds, getpass.getuser(), str(reason))
        told = None if tell is None else tell_by(tell, known)
        found = alerts_now(lake, only_open=not every)
    output.answer({**found, "told": told}, lambda console: _print(console, found, told))


def _print(console: Console, found: dict[str, Any], told: int | None) -> None:
    if told is not None:
        console.print(Text(f"{told} told."))
    if not found["alerts"]:
        console.print("No alert stands.")
    else:
        cells = [
            [
                one["name"],
                one["severity"],
                one["status"] + (", silenced" if one["is_silenced"] else ""),
                f"{one['raised_at']:%Y-%m-%d %H:%M:%S}",
                one["count"],
                one["reason"] or one["detail"],
            ]
            for one in found["alerts"]
        ]
        columns = ["alert", "severity", "status", "raised (UTC)", "times", "what"]
        console.print(listing(None, columns, cells, right=("times",)))
    for one in found["silences"]:
        words = f"silenced until {one['until']:%Y-%m-%d %H:%M:%S} by {one['who']}: {one['pattern']} ({one['reason']})"
        console.print(Text(words, style="dim"))
