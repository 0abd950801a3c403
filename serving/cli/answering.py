"""Verbs that answer: sql, bars, explain, resolve."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import date
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from lake.errors import InvalidValueError
from serving.choices import LIMITS, BarSource, Format, Limits
from serving.cli.options import AsOf, Home, Json, KnownAsOf, instant, open_lake
from serving.cli.output import Output, print_arrow

if TYPE_CHECKING:
    from serving.answers import Answered

SHOWN_ROWS = 40
"""Rows of a table printed for a person; a file or a pipe in another format gets them all."""
_FIRST_OF_BARS = ("session_date", "open", "high", "low", "close", "volume")
"""What of a bar is shown where the terminal is too narrow for all."""


def add_to(app: typer.Typer) -> None:
    """Register the verbs of this module."""
    app.command("sql", rich_help_panel="Ask")(sql)
    app.command("bars", rich_help_panel="Ask")(bars)
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
        rest = f", {shown} shown" if shown < found.table.num_rows else ""
        output.say(f"{_rows(found.table.num_rows)}{rest}, {found.elapsed_s:.2f} s")
    else:
        sys.stdout.buffer.write(formats.encode(found.table, chosen, found.metadata(at, known)))
        sys.stdout.buffer.flush()
    if found.truncated:
        output.err.print(Text(f"cut off after {max_rows:,} rows; --max-rows gives more", style="yellow"))


def bars(
    symbol: Annotated[str, typer.Argument(help="A symbol like AAPL, an identity like listing:US/AAPL, or an instrument id.")],
    home: Home = None,
    interval: Annotated[str, typer.Option("--interval", "-i", help="Length of a bar: 1m, 5m, 1h, 1d …")] = "1d",
    start: Annotated[
        str | None, typer.Option("--start", help="First session date or instant, included.", show_default=False)
    ] = None,
    end: Annotated[str | None, typer.Option("--end", help="End of the range, not included.", show_default=False)] = None,
    adjustment: Annotated[str, typer.Option("--adjustment", help="none, splits or all (with cash dividends).")] = "none",
    provider: Annotated[
        str | None, typer.Option("--provider", help="What this provider alone would give.", show_default=False)
    ] = None,
    source: Annotated[BarSource, typer.Option("--source", help="Agreed bars, or built of trades and quotes.")] = BarSource.AGREED,
    price_type: Annotated[str, typer.Option("--price-type", help="Of built bars: trade, bid, ask or mid.")] = "trade",
    as_of: AsOf = None,
    known_as_of: KnownAsOf = None,
    format_: Annotated[Format | None, typer.Option("--format", "-f", help="Default: table.", show_default=False)] = None,
    json: Json = False,
) -> None:
    """Tell the bars of one instrument, as traded or adjusted, as published or as known at an instant."""
    from serving.answers import parse_bound
    from serving.bars import Adjustment, BarsQuestion
    from serving.built_bars import asked_bars

    if adjustment not in list(Adjustment):
        raise InvalidValueError(f"--adjustment {adjustment!r}: expected one of {', '.join(Adjustment)}")
    bounds = parse_bound(start, "--start"), parse_bound(end, "--end")
    views = instant(as_of), instant(known_as_of)
    with open_lake(home) as lake:
        question = BarsQuestion(symbol, interval, *bounds, Adjustment(adjustment), *views, provider)
        found = asked_bars(lake, question, source, price_type)
    _print(found, Format.JSON if json else format_ or Format.TABLE, first=_FIRST_OF_BARS)
    if not found.table.num_rows:
        elsewhere = f"`tickhouse bars {symbol}` tells what there is; " if start or end or provider else ""
        hint = f"{elsewhere}`tickhouse plan bars -s {symbol} --start … --end …` tells who can be asked for more."
        Output(as_json=json).err.print(Text(hint, style="dim"), soft_wrap=True)


def _print(found: Answered, chosen: Format, first: Sequence[str] = ()) -> None:
    """Print an answer: a table for a person, its first rows, the columns named `first` before others; all in other formats."""
    from serving import formats

    if chosen in (Format.ARROW, Format.PARQUET) and sys.stdout.isatty():
        raise InvalidValueError(f"format {chosen.value} is binary: send it to a file, like  > answer.{chosen.value}")
    if chosen is not Format.TABLE:
        told = {name: formats.plain_value(value) for name, value in found.metadata.items()}
        sys.stdout.buffer.write(formats.encode(found.table, chosen, told))
        sys.stdout.buffer.flush()
        return
    output = Output(as_json=False)
    names = sorted(found.table.column_names, key=lambda name: first.index(name) if name in first else len(first))
    shown = print_arrow(output.out, found.table.select(names), SHOWN_ROWS)
    rest = f", {shown} shown" if shown < found.table.num_rows else ""
    output.say(f"{_rows(found.table.num_rows)}{rest}")


def _rows(count: int) -> str:
    return "1 row" if count == 1 else f"{count:,} rows"


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
    known_as_of: KnownAsOf = None,
    json: Json = False,
) -> None:
    """Tell which instrument a symbol or identifier means on a day, or every name of it."""
    from serving import symbology

    asked = sys.stdin.read().split() if names == ["-"] else names
    if reverse and len(asked) != 1:
        raise InvalidValueError("--reverse takes one name")
    with open_lake(home) as lake:
        if reverse:
            found = symbology.names_of(lake, asked[0], instant(as_of))
        else:
            found = symbology.resolve(lake, asked, _day(on), instant(as_of), instant(known_as_of))
    _print(found, Format.JSON if json else Format.TABLE)


def _day(text: str | None) -> date | None:
    try:
        return None if text is None else date.fromisoformat(text)
    except ValueError as error:
        raise InvalidValueError(f"--on {text!r} is no date, like 2022-06-09") from error
