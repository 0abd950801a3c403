"""Verbs of the configuration: config init, show, check, set, history."""

from __future__ import annotations

import getpass
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

from lake.errors import InvalidValueError, NotFoundError
from serving.cli.options import Home, Json, Reason, open_lake, settings_of
from serving.cli.output import Output, listing


def add_to(app: typer.Typer) -> None:
    """Register the verbs of this module."""
    verbs = typer.Typer(help="Providers, plans, universes, schedules, thresholds: one TOML file, changed while everything runs.")
    for name, verb in (("init", init), ("show", show), ("check", check), ("set", set_), ("history", history)):
        verbs.command(name)(verb)
    app.add_typer(verbs, name="config", rich_help_panel="Look after it", no_args_is_help=True)


def init(home: Home = None, json: Json = False) -> None:
    """Write the commented default where no file is yet; leaves one that exists as it is."""
    from ingest.configured import write_default

    path, output = settings_of(home).config, Output(as_json=json)
    created = write_default(path)
    words = "written" if created else "was there already, unchanged"
    output.answer({"file": str(path), "created": created}, lambda console: console.print(f"{path} {words}.", soft_wrap=True))


def show(
    home: Home = None, text: Annotated[bool, typer.Option("--text", help="The TOML in force, as written.")] = False,
    json: Json = False,
) -> None:  # fmt: skip
    """Show what is in force, defaults included, and why the file was refused if it was."""
    from serving.operate import configured as operating

    output = Output(as_json=json)
    with open_lake(home) as lake:
        configured = operating.open_configured(lake)
        now, told = configured.now(), operating.told(configured)

    def render(console: Console) -> None:
        if text:
            console.out(now.text, end="", highlight=False)
            return
        rows = [[where, value] for where, value in _leaves(told["configuration"])]
        told_by = f"version {now.version}, {now.etag}" if now.version else "nothing is configured, these are the defaults"
        console.print(Text(f"{told_by}; providers that are not named are as shipped"))
        console.print(listing(None, ["key", "value"], rows))
        for mistake in configured.refusal():
            line = f"line {mistake['line']}: " if mistake["line"] else ""
            where = f"{mistake['where']}: " if mistake["where"] else ""
            words = f"{configured.path.name} is not taken up: {line}{where}{mistake['what']}"
            console.print(Text(words, "bold red"), soft_wrap=True)

    output.answer({**told, "text": now.text} if text else told, render)


def check(
    path: Annotated[Path | None, typer.Argument(help="Default: the lake's own file.", show_default=False)] = None,
    home: Home = None,
    json: Json = False,
) -> None:
    """Name every mistake of a file at once, with its line; exit code 2 when there is one."""
    import os

    from ingest.configuration_text import read_configuration
    from serving.operate import configured as operating

    output, path = Output(as_json=json), path or settings_of(home).config
    try:
        text = path.read_bytes().decode("utf-8", "replace")
    except OSError as error:
        raise NotFoundError(f"{path}: {error.strerror}; `tickhouse config init` writes one") from error
    made = read_configuration(text, operating.known_secrets(os.environ))
    counts = {name: len(getattr(made, name)) for name in ("providers", "universes", "schedules")}
    words = ", ".join(f"{count} {name}" for name, count in counts.items())
    output.answer({"file": str(path), "is_right": True, **counts}, lambda console: console.print(f"{path} is right: {words}."))


def set_(
    reason: Reason,
    changes: Annotated[
        list[str] | None,
        typer.Argument(help="KEY=VALUE, like providers.alpaca.priority=5; without a value the key is taken away."),
    ] = None,
    from_file: Annotated[Path | None, typer.Option("--from", help="Put this file's text in force.", show_default=False)] = None,
    home: Home = None,
    json: Json = False,
) -> None:
    """Change the configuration, in force and in its file; running processes take it up within seconds."""
    from ingest.configuration_text import merged
    from serving.operate import configured as operating

    output = Output(as_json=json)
    if bool(changes) == (from_file is not None):
        raise InvalidValueError("expected KEY=VALUE, or --from FILE")
    patch = _patch(changes or ())
    with open_lake(home) as lake:
        configured = operating.open_configured(lake)
        before = configured.now()
        if from_file is not None:
            whole = from_file.read_text(encoding="utf-8")
            configured.change(lambda _: whole, getpass.getuser(), reason)
        else:
            configured.change(lambda text: merged(text, patch), getpass.getuser(), reason)
        made = operating.told(configured)
    words = "Nothing changed." if before.version == made["version"] else f"Version {made['version']} is in force."
    output.answer(made, lambda console: console.print(words))


def history(home: Home = None, json: Json = False) -> None:
    """List every version that was in force: when, by whom, why, and what it changed."""
    from serving.operate import configured as operating

    output = Output(as_json=json)
    with open_lake(home) as lake:
        found = operating.history(operating.open_configured(lake))

    def render(console: Console) -> None:
        for version in found:
            console.print(
                Text(
                    f"version {version['version']}  {version['at']:%Y-%m-%d %H:%M:%S}  {version['who']}: {version['reason']}",
                    "bold",
                )
            )
            changes = version["changes"]
            assert isinstance(changes, list)
            for change in changes:
                console.print(
                    Text(f"  {change['where']}: {_brief(change['before'])} → {_brief(change['after'])}"), soft_wrap=True
                )
        if not found:
            console.print("Nothing was configured yet.")

    output.answer({"versions": found}, render)


def _patch(changes: Sequence[str]) -> dict[str, Any]:
    """Return `KEY=VALUE` as a merge patch; a value is TOML, else plain text."""
    from ingest.toml_lines import key_path

    patch: dict[str, Any] = {}
    for change in changes:
        name, equals, text = change.partition("=")
        try:
            *tables, last = key_path(name)
        except tomllib.TOMLDecodeError as error:
            raise InvalidValueError(f"{change!r}: expected KEY=VALUE with a key like providers.alpaca.priority") from error
        place = patch
        for table in tables:
            place = place.setdefault(str(table), {})
        place[str(last)] = _value(text) if equals and text else None
    return patch


def _value(text: str) -> object:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except (tomllib.TOMLDecodeError, KeyError):
        return text


def _leaves(document: object, path: str = "") -> list[tuple[str, str]]:
    if isinstance(document, dict):
        return [leaf for name, value in document.items() for leaf in _leaves(value, f"{path}.{name}" if path else name)]
    return [(path, _brief(document))]


def _brief(value: object) -> str:
    if value is None:
        return "as shipped"
    text = str(value)
    return text if len(text) <= 80 else f"{text[:70]}… ({len(text)} characters)"
