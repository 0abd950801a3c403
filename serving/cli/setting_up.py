"""Verbs that set up and look at an installation: init, settings, doctor, feeds."""

from __future__ import annotations

import typer
from rich.console import Console
from rich.text import Text

from serving.cli.options import Home, Json, settings_of
from serving.cli.output import Output, listing


def add_to(app: typer.Typer) -> None:
    """Register the verbs of this module."""
    app.command("init", rich_help_panel="Start here")(init)
    app.command("settings", rich_help_panel="Look after it")(settings)
    app.command("doctor", rich_help_panel="Look after it")(doctor)
    app.command("feeds", rich_help_panel="Bring data in")(feeds)


def init(home: Home = None, json: Json = False) -> None:
    """Make a lake: catalog, every table with an empty first snapshot, state and log. Does nothing to one that exists."""
    from lake.catalog import Lake
    from lake.instants import system_clock
    from lake.tables import TABLES
    from serving.operate import doctor as doctor_checks

    output = Output(as_json=json)
    chosen = settings_of(home)
    existed = doctor_checks.is_initialised(chosen)
    with output.working("Making the tables"):
        Lake.create(chosen, system_clock)
    document = {"home": str(chosen.home), "created": not existed, "tables": sorted(TABLES)}
    words = "A lake is ready at" if not existed else "A lake was already at"

    def render(console: Console) -> None:
        console.print(Text.assemble(f"{words} ", (str(chosen.home), "bold"), f", {len(TABLES)} tables."), soft_wrap=True)
        console.print("Next: tickhouse demo, or tickhouse feeds to see what can be imported and captured.")

    output.answer(document, render)


def settings(home: Home = None, json: Json = False) -> None:
    """Show every setting in force, where it came from and the environment variable that sets it."""
    from serving.operate import doctor as doctor_checks

    output = Output(as_json=json)
    rows = doctor_checks.settings_in_force(settings_of(home), home_given=home is not None)
    output.answer(
        {"settings": rows},
        lambda console: console.print(
            listing(None, ["setting", "value", "from", "variable"], [list(row.values()) for row in rows])
        ),
    )


def doctor(home: Home = None, json: Json = False) -> None:
    """Check the installation and the lake; exit code 1 when something needs a hand."""
    from lake.instants import system_clock
    from serving.operate import doctor as doctor_checks

    output = Output(as_json=json)
    checks = doctor_checks.examine(settings_of(home), system_clock)

    def render(console: Console) -> None:
        marks = {"ok": ("ok  ", "green"), "note": ("note", "yellow"), "bad": ("bad ", "bold red")}
        for check in checks:
            console.print(Text.assemble(marks[check.state], f"  {check.name}: {check.found}"), soft_wrap=True)
            if check.advice:
                console.print(Text(f"      {check.advice}", style="dim"), soft_wrap=True)

    healthy = all(check.state != "bad" for check in checks)
    output.answer({"healthy": healthy, "checks": [check.document() for check in checks]}, render)
    if not healthy:
        raise typer.Exit(1)


def feeds(json: Json = False) -> None:
    """List every feed: the payload it reads, how exact its numbers are, and the tables it fills."""
    from transforms.feeds import FEEDS

    output = Output(as_json=json)
    known = [feed for _, feed in sorted(FEEDS.items())]
    document = [
        {
            "provider": feed.provider,
            "feed": feed.feed,
            "reads": feed.payload,
            "numbers": str(feed.number_kind),
            "tables": list(feed.tables),
        }
        for feed in known
    ]
    cells = [[feed.provider, feed.feed, feed.payload, str(feed.number_kind), ", ".join(feed.tables)] for feed in known]
    shown = listing(None, ["provider", "feed", "reads", "numbers", "fills"], cells)
    output.answer({"feeds": document}, lambda console: console.print(shown))
