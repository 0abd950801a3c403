"""Verbs that run for a while: demo, up, serve."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from serving.cli.options import Home, Json, open_lake, settings_of
from serving.cli.output import Output

if TYPE_CHECKING:
    from serving.operate.supervisor import WebServer

Host = Annotated[str | None, typer.Option("--host", help="Default: the setting, loopback.", show_default=False)]
Port = Annotated[int | None, typer.Option("--port", min=0, max=65535, help="0 takes a free one.", show_default=False)]


def add_to(app: typer.Typer) -> None:
    """Register the verbs of this module."""
    app.command("demo", rich_help_panel="Start here")(demo)
    app.command("up", rich_help_panel="Start here")(up)
    app.command("serve", rich_help_panel="Ask")(serve)


def demo(home: Home = None, json: Json = False) -> None:
    """Run the whole way of the data once on recorded real payloads, misbehaviour included, and tell it as a tour."""
    from serving.demo import pages, tour  # slow to import, and of no use to the other verbs

    output = Output(as_json=json)
    told = tour.run(settings_of(home), output.say)
    output.answer(told, lambda console: pages.show(console, told))


def serve(home: Home = None, host: Host = None, port: Port = None, json: Json = False) -> None:
    """Answer over HTTP until Ctrl-C: /api/v1/bars, /trades, /explain, /health; pages for people under /docs."""
    from serving.operate import supervisor  # slow to import, and of no use to the other verbs

    output = Output(as_json=json)
    with open_lake(home) as lake:
        server = supervisor.WebServer(lake, host or lake.settings.api_host, lake.settings.api_port if port is None else port)
        announce(output, server)
        server.run()


def up(
    home: Home = None,
    host: Host = None,
    port: Port = None,
    excerpt: Annotated[
        int | None, typer.Option("--excerpt", min=1, help="Only so many messages of each recorded stream.", show_default=False)
    ] = 20_000,
    json: Json = False,
) -> None:
    """Run everything in the foreground until Ctrl-C: simulator, capture, pipeline, HTTP. Stop and start as you like."""
    from serving.operate import supervisor  # slow to import, and of no use to the other verbs

    output = Output(as_json=json)
    supervisor.up(settings_of(home), host, port, excerpt, say=output.say, ready=lambda server: announce(output, server))


def announce(output: Output, server: WebServer) -> None:
    """Say where the server listens."""
    document = {"address": server.address, "pages": f"{server.address}/docs"}
    output.answer(
        document, lambda console: console.print(Text(f"Answering at {server.address}/api/v1, pages at {server.address}/docs"))
    )
    if not server.is_loopback:
        output.err.print(Text("No keys yet: whoever reaches this address can read the whole lake.", style="bold yellow"))
