"""Verbs that answer: sql, explain, resolve."""

from __future__ import annotations

import sys
from datetime import date
from typing import Annotated

import typer
from rich.text import Text

from lake.errors import InvalidValueError
from serving.choices import LIMITS, Format, Limits
from serving.cli.options import AsOf, Home, Json, KnownAsOf, instant, open_lake
from serving.cli.output import Output, print_arrow

SHOWN_ROWS = 40
"""Rows of a table printed for a person; a file or a pipe in another format gets them all."""


def add_to(app: typer.Typer) -> None:
    """Register the verbs of this module."""
    app.command("sql", rich_help_panel="Ask")(sql)
    app.command("explain", rich_help_panel="Ask")(explain)
    app.command("resolve", rich_help_panel="Ask")(resolve)


def sql(
    query: Annotated[str, typer.Argument(help="One SELECT, SHOW TABLES or DESCRIBE; `-` reads it from stdin.")],
    home: Home = None,
    as_of: AsOf = None,
    known_as_of: KnownAsOf = None,
    format_: Annotated[Format | None, typer.Option("--format", "-f", help="Default: table.", show_default=False)] = None,
    max_rows: Annotated[int, typer.Option(min=1, help="Rows beyond are cut off, and said so.")] = LIMITS.rows,
    timeout: Annotated[float, typer.Option(min=0.1, help="Seconds a query may run.")] = LIMITS.seconds,
    json: Json = False,
) -> None:
    """Ask in SQL: read-only DuckDB over every table, as published (--as-of) or as known (--known-as-of) at an instant.

    Nothing outside the lake can be read or written. The tables: tickhouse sql "show tables".
    """
    from serving import formats
    from serving import sql as sandbox

    output = Output(as_json=json)
    chosen = Format.JSON if json else format_ or Format.TABLE
    if chosen in (Format.ARROW, Format.PARQUET) and sys.stdout.isatty():
        raise InvalidValueError(f"format {chosen.value} is binary: send it to a file, like  > answer.{chosen.value}")
    text = sys.stdin.read() if query == "-" else query
    at, known = instant(as_of), instant(known_as_of)
    with open_lake(home) as lake:
        found = sandbox.answer(lake, text, at, known, Limits(rows=max_rows, seconds=timeout))
    if chosen is Format.TABLE:
        shown = print_arrow(output.out, found.table, SHOWN_ROWS)
        count = f"{found.table.num_rows:,} rows" if found.table.num_rows != 1 else "1 row"
        rest = f", {shown} shown" if shown < found.table.num_rows else ""
        output.say(f"{count}{rest}, {found.elapsed_s:.2f} s")
    else:
        sys.stdout.buffer.write(formats.encode(found.table, chosen, found.metadata(at, known)))
        sys.stdout.buffer.flush()
    if found.truncated:
        output.err.print(Text(f"cut off after {max_rows:,} rows; --max-rows gives more", style="yellow"))


def explain(
    event_id: Annotated[str, typer.Argument(help="CAPTURE:MESSAGE:ORDINAL, CAPTURE:MESSAGE, or TABLE/KEY of a derived row.")],
    home: Home = None,
    json: Json = False,
) -> None:
    """Follow one value back: row, steps, gate, publication, down to the bytes as received and the request behind them."""
    from serving import lineage
    from serving.cli.trees import print_lineage

    output = Output(as_json=json)
    with open_lake(home) as lake:
        found = lineage.explain(lake, event_id).document()
    output.answer(found, lambda console: print_lineage(console, found))


def resolve(
    names: Annotated[
        list[str], typer.Argument(help="symbol:AAPL, yahoo:AAPL, isin:US0378331005, an identity key; or AAPL alone; `-`: stdin.")
    ],
    home: Home = None,
    on: Annotated[
        str | None, typer.Option("--on", help="The day they are meant on (default: today).", show_default=False)
    ] = None,
    reverse: Annotated[bool, typer.Option("--reverse", help="Every name of the instrument instead, with dates.")] = False,
    as_of: AsOf = None,
    json: Json = False,
) -> None:
    """Tell which instrument a symbol or identifier means on a day, or every name of it."""
    from serving import formats, symbology

    output = Output(as_json=json)
    asked = sys.stdin.read().split() if names == ["-"] else names
    if reverse and len(asked) != 1:
        raise InvalidValueError("--reverse takes one name")
    with open_lake(home) as lake:
        if reverse:
            found = symbology.names_of(lake, asked[0], instant(as_of))
        else:
            found = symbology.resolve(lake, asked, _day(on), instant(as_of))
    if json:
        sys.stdout.buffer.write(
            formats.encode(found.table, Format.JSON, {k: formats.plain_value(v) for k, v in found.metadata.items()})
        )
    else:
        print_arrow(output.out, found.table, SHOWN_ROWS)


def _day(text: str | None) -> date | None:
    try:
        return None if text is None else date.fromisoformat(text)
    except ValueError as error:
        raise InvalidValueError(f"--on {text!r} is no date, like 2022-06-09") from error
