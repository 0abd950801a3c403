"""Verbs about order books: book, books."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from lake.errors import NotFoundError
from serving.cli.options import Home, Json, instant, open_lake
from serving.cli.output import Output, print_arrow

if TYPE_CHECKING:
    from rich.console import Console

Provider = Annotated[str, typer.Argument(help="Like iex, nasdaq, databento, binance.")]
Feed = Annotated[str, typer.Argument(help="Like deep, itch: a feed of normalized.book_events.")]
Session = Annotated[datetime, typer.Argument(formats=["%Y-%m-%d"], help="The trading day.")]


def add_to(app: typer.Typer) -> None:
    """Register the verbs of this module."""
    app.command("book", rich_help_panel="Ask")(book)
    app.command("books", rich_help_panel="Quality desk")(books)


def book(
    provider: Provider,
    feed: Feed,
    session: Session,
    symbol: Annotated[str, typer.Argument(help="As the provider writes it.")],
    at: Annotated[str | None, typer.Option("--at", help="An instant (default: the session's end).", show_default=False)] = None,
    levels: Annotated[int, typer.Option(min=1, help="Levels shown of each side.")] = 10,
    home: Home = None,
    json: Json = False,
) -> None:
    """Show the depth of an instrument's book at an instant: rebuilt from every event of the session up to it."""
    from lake.instants import to_ns
    from quality_checks.book_states import session_events
    from transforms import books as rebuilt

    output = Output(as_json=json)
    moment = instant(at)
    with open_lake(home) as lake:
        (events,) = session_events(lake, provider, feed, session.date(), symbol)
    if not events.num_rows:
        raise NotFoundError(f"no book events of {symbol} by {provider} {feed} on {session.date()}")
    past = events if moment is None else rebuilt.until(events, to_ns(moment))
    found = rebuilt.top(rebuilt.depth(past), levels)

    def render(console: Console) -> None:
        print_arrow(console, found.select(["channel", "venue_session", "side", "price", "size", "orders"]), found.num_rows)
        console.print(Text(f"{past.num_rows:,} of {events.num_rows:,} events of the session"))

    rows = [{name: None if value is None else str(value) for name, value in row.items()} for row in found.to_pylist()]
    output.answer({"events": past.num_rows, "of": events.num_rows, "levels": rows}, render)


def books(provider: Provider, feed: Feed, session: Session, home: Home = None, json: Json = False) -> None:
    """Rebuild every book of a session and record what is odd as findings: crossed and locked states, executions out of place."""
    from quality_checks.book_states import check_books

    output = Output(as_json=json)
    with open_lake(home) as lake, output.working(f"Rebuilding the books of {session.date()}"):
        report = check_books(lake, provider, feed, session.date())
    text = (
        f"{report.books:,} books, {report.events:,} events; {report.executions:,} executions: {report.unknown:,} of unknown"
        f" orders, {report.off_top:,} behind the best price; crossed {report.crossed:,} times, locked {report.locked:,}"
    )
    output.answer(report.document(), lambda console: console.print(Text(text), soft_wrap=True))
