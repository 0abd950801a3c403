"""Verbs of API keys: keys add, keys list, keys revoke."""

from __future__ import annotations

import getpass
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from serving.choices import Scope
from serving.cli.options import Home, Json, Reason, open_lake
from serving.cli.output import Output, listing


def add_to(app: typer.Typer) -> None:
    """Register the verbs of this module."""
    verbs = typer.Typer(help="Keys for the HTTP interface: add, list, revoke. The first one closes the door to everybody else.")
    verbs.command("add")(add)
    verbs.command("list")(list_)
    verbs.command("revoke")(revoke)
    app.add_typer(verbs, name="keys", rich_help_panel="Look after it", no_args_is_help=True)


def add(
    name: Annotated[str, typer.Argument(help="Whose key it is, for people.")],
    scopes: Annotated[
        list[Scope] | None,
        typer.Option("--scope", "-s", help="May be given several times; default: read and sql.", show_default=False),
    ] = None,
    home: Home = None,
    json: Json = False,
) -> None:
    """Make a key and show it, this once; only its hash is kept. Serve asks for a key from now on."""
    from serving import keys as api_keys

    output = Output(as_json=json)
    with open_lake(home) as lake:
        wanted = scopes or [Scope.READ, Scope.SQL]
        key, text = api_keys.add_key(lake, name, wanted, getpass.getuser())

    def render(console: Console) -> None:
        console.print(Text(text), soft_wrap=True)
        output.say(f"key {key.key_id} for {key.name}: {', '.join(sorted(key.scopes))}. It cannot be shown again.")

    output.answer({"key": text, **key.document()}, render)


def list_(home: Home = None, json: Json = False) -> None:
    """List every key ever made, without its secret."""
    from serving import keys as api_keys

    output = Output(as_json=json)
    with open_lake(home) as lake:
        found = api_keys.list_keys(lake)
    cells = [[key.key_id, key.name, ", ".join(sorted(key.scopes)), key.created_at, key.revoked_at] for key in found]
    shown = listing(None, ["key", "name", "scopes", "created", "revoked"], cells)
    output.answer(
        {"keys": [key.document() for key in found]},
        lambda console: console.print(shown if found else "No key was made yet: on loopback everybody of this machine may ask."),
    )


def revoke(
    key_id: Annotated[str, typer.Argument(help="As `tickhouse keys list` shows it.")],
    reason: Reason,
    home: Home = None,
    json: Json = False,
) -> None:
    """Make a key worthless; a running server knows within a second."""
    from serving import keys as api_keys

    output = Output(as_json=json)
    with open_lake(home) as lake:
        key = api_keys.revoke_key(lake, key_id, getpass.getuser(), reason)
    output.answer(key.document(), lambda console: console.print(Text(f"Key {key.key_id} of {key.name} is revoked.")))
