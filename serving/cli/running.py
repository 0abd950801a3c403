"""Verbs that run for a while: demo, up, serve, notebooks."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from serving.cli.options import Home, Json, open_lake, settings_of
from serving.cli.output import Output

if TYPE_CHECKING:
    from lake.catalog import Lake
    from serving.operate.supervisor import Ready, WebServer
    from serving.read_through import ReadThrough

Host = Annotated[str | None, typer.Option("--host", help="Default: the setting, loopback.", show_default=False)]
Port = Annotated[int | None, typer.Option("--port", min=0, max=65535, help="0 takes a free one.", show_default=False)]


def add_to(app: typer.Typer) -> None:
    """Register the verbs of this module."""
    app.command("demo", rich_help_panel="Start here")(demo)
    app.command("up", rich_help_panel="Start here")(up)
    app.command("serve", rich_help_panel="Ask")(serve)
    app.command("notebooks", rich_help_panel="Ask")(notebooks)


def demo(home: Home = None, json: Json = False) -> None:
    """Run the whole way of the data once on recorded real payloads, misbehaviour included, and tell it as a tour."""
    from serving.demo import pages, tour  # slow to import, and of no use to the other verbs

    output = Output(as_json=json)
    told = tour.run(settings_of(home), output.say)
    output.answer(told, lambda console: pages.show(console, told))


def serve(home: Home = None, host: Host = None, port: Port = None, json: Json = False) -> None:
    """Answer over HTTP until Ctrl-C: /api/v1/bars, /trades, /explain, /health; pages for people under / and /docs.

    What the lake misses is asked of providers where the configuration says `read_through`.
    """
    from serving.operate import supervisor  # slow to import, and of no use to the other verbs

    output = Output(as_json=json)
    with open_lake(home) as lake, _reading_through(lake) as through:
        chosen = host or lake.settings.api_host, lake.settings.api_port if port is None else port
        server = supervisor.WebServer(lake, *chosen, through)
        announce(output, server)
        server.run()


def _reading_through(lake: Lake) -> AbstractContextManager[ReadThrough | None]:
    """Give who asks providers themselves, as configured, for what the lake misses."""
    from ingest.reach import themselves
    from serving.operate.configured import open_configured
    from serving.operate.rights import reading_through

    return reading_through(lake, themselves(os.environ, open_configured(lake).in_force))


def notebooks(
    home: Home = None,
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="0 takes a free one.")] = 8001,
    json: Json = False,
) -> None:
    """Show the notebooks until Ctrl-C, on loopback: /tour explains the lake with its own data, /explorer looks into it."""
    from serving.operate.notebooks import NOTEBOOKS, NotebookServer  # slow to import, and of no use to the other verbs

    output = Output(as_json=json)
    server = NotebookServer(settings_of(home), port)
    pages = {name: f"{server.address}/{name}/" for name in NOTEBOOKS}
    output.answer(
        {"address": server.address, "pages": pages},
        lambda console: console.print(Text(f"Notebooks at {' and '.join(pages.values())}")),
    )
    server.run()


def up(
    home: Home = None,
    host: Host = None,
    port: Port = None,
    excerpt: Annotated[
        int | None, typer.Option("--excerpt", min=1, help="Only so many messages of each recorded stream.", show_default=False)
    ] = 20_000,
    provider: Annotated[
        list[str] | None, typer.Option("--provider", help="Play only these providers; default: all.", show_default=False)
    ] = None,
    shards: Annotated[int, typer.Option("--shards", min=1, help="Of --live: processes that share each stream's symbols.")] = 1,
    live: Annotated[
        list[str] | None,
        typer.Option(
            "--live",
            help="PROVIDER:SYMBOL to ask of the provider itself, instead of the simulator; keys come from the environment.",
            show_default=False,
        ),
    ] = None,
    scheduled: Annotated[
        bool, typer.Option("--scheduled", help="Ask providers for what the configuration schedules, instead of the simulator.")
    ] = False,
    with_notebooks: Annotated[bool, typer.Option("--notebooks/--no-notebooks", help="Also serve the notebooks.")] = True,
    json: Json = False,
) -> None:
    """Run everything until Ctrl-C: simulator, captures, pipeline, HTTP, notebooks. Stop and start as you like.

    With --json the address is one document on stdout, and every event of every part is a line of JSON on stderr.
    """
    from serving.operate import planning, supervisor  # slow to import, and of no use to the other verbs

    output = Output(as_json=json)
    settings = settings_of(home)
    port = settings.api_port if port is None else port
    live_symbols, played = tuple(live or ()), tuple(provider or ())
    plan = planning.Plan(host or settings.api_host, port, excerpt, live_symbols, with_notebooks, played, shards, scheduled)
    terminal = output.err if output.err.is_terminal and not json else None
    hear = output.event if json else None
    say = (lambda words: output.event({"event": "said", "words": words})) if json else output.say
    supervisor.up(settings, plan, supervisor.Audience(say, lambda server: announce(output, server), hear, terminal))


def announce(output: Output, server: WebServer | Ready) -> None:
    """Say where the server listens."""
    document = {"address": server.address, "pages": f"{server.address}/"}
    output.answer(
        document, lambda console: console.print(Text(f"Answering at {server.address}/api/v1, pages at {server.address}/"))
    )
    if not server.is_loopback:
        output.err.print(
            Text(
                "Beyond loopback every question needs a key: `tickhouse keys add NAME` makes one (see TICKHOUSE_API_AUTH).",
                style="bold yellow",
            )
        )
