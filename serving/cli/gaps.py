"""Verbs of gaps: gaps, backfill."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from lake.errors import InvalidValueError
from serving.choices import From
from serving.cli.moving import bound
from serving.cli.options import Home, Json, open_lake, open_log
from serving.cli.output import Output, listing

if TYPE_CHECKING:
    from rich.console import Console

    from ingest.backfill import BackfillReport
    from ingest.reconcile import Looked
    from quality_checks.gaps import KnownGap

RECONCILE = "reconcile"
"""The word for what feeds without numbers were listened to."""
Provider = Annotated[
    str | None, typer.Option("--provider", help="Only of this provider; of a range: asked first.", show_default=False)
]
Symbols = Annotated[
    list[str] | None, typer.Option("--symbol", "--symbols", "-s", help="May be given several times.", show_default=False)
]


def add_to(app: typer.Typer) -> None:
    """Register the verbs of this module."""
    app.command("gaps", rich_help_panel="Quality desk")(gaps)
    app.command("backfill", rich_help_panel="Bring data in")(backfill)


def gaps(
    home: Home = None,
    only_open: Annotated[bool, typer.Option("--open", help="Leave out those that are closed.")] = False,
    provider: Provider = None,
    symbol: Annotated[str | None, typer.Option("--symbol", "-s", help="Only of this symbol.", show_default=False)] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=100_000, help="Most gaps listed.")] = 100,
    json: Json = False,
) -> None:
    """List what may be missing: drops, losses, missing bars, wanted ranges; how far their filling is, newest step first."""
    from serving import formats, quality

    output = Output(as_json=json)
    with open_lake(home) as lake:
        found = quality.gaps(lake, quality.GapsQuestion(only_open=only_open, provider=provider, symbol=symbol, limit=limit))
    rows = formats.records(found.table)

    def render(console: Console) -> None:
        if not rows:
            console.print("No gaps are known.")
            return
        names = ("status", "provider", "feed", "symbol", "gap_start", "gap_end", "missing_count", "found_count", "reason")
        shown = [[row[name] for name in names] for row in rows]
        console.print(listing(None, ["status", "provider", "feed", "symbol", "from", "to", "missing", "found", "reason"], shown))
        console.print(Text(f"{found.metadata['open_count']} are not closed. Next: tickhouse backfill --gaps", style="dim"))

    output.answer({"gaps": rows, "open_count": found.metadata["open_count"]}, render)


def backfill(
    kind: Annotated[
        str | None,
        typer.Argument(help="Of a range: bars, trades or quotes; or `reconcile`.", metavar="[KIND]", show_default=False),
    ] = None,
    home: Home = None,
    symbols: Symbols = None,
    start: Annotated[str | None, typer.Option("--start", help="Of a range, included.", show_default=False)] = None,
    end: Annotated[str | None, typer.Option("--end", help="Of a range, not included.", show_default=False)] = None,
    interval: Annotated[str, typer.Option("--interval", help="Of bars.")] = "1d",
    is_of_gaps: Annotated[bool, typer.Option("--gaps", help="Fill what the ledger has open, instead of a range.")] = False,
    provider: Provider = None,
    feed: Annotated[str | None, typer.Option("--feed", help="Of a range: one of its feeds.", show_default=False)] = None,
    source: Annotated[From, typer.Option("--from", help="The simulator on loopback, or the providers.")] = From.SIMULATOR,
    no_promote: Annotated[bool, typer.Option("--no-promote", help="Ask only; a running pipeline does the rest.")] = False,
    json: Json = False,
) -> None:
    """Ask providers for a range of history or for open gaps, within quotas; prove by counts that it came. Safe to run twice.

    What is asked first is the gap's own provider, then others. `backfill reconcile` asks again for what feeds without numbers
    were listened to (--start: since then), and finds what a silence swallowed. Exit code 1 when something is not closed yet.
    """
    from serving.operate import asking, backfilling
    from serving.operate.configured import open_configured

    output = Output(as_json=json)
    is_reconcile = kind == RECONCILE
    span = None if is_of_gaps or is_reconcile else _span(kind, symbols, bound(start, "start"), bound(end, "end"))
    output.say_who_answers(source)
    with open_lake(home) as lake, asking.reached(source, open_configured(lake).in_force) as reach:
        log = open_log(lake.settings)
        with backfilling.supplied(lake, log, reach, is_recorded=reach.is_recorded) as supply:
            ids: set[str] | None = None
            found = backfilling.open_spans(lake, log, supply.offers, bound(start, "start")) if is_reconcile else None
            if span is not None and kind is not None:
                wanted = backfilling.WantedRange(kind, tuple(symbols or ()), *span, interval, provider, feed)
                ids = set(backfilling.open_wanted(lake, log, wanted, supply.offers))
            with output.working("Backfilling"):

                def is_wanted(gap: KnownGap) -> bool:
                    is_mine = provider in (None, gap.provider) and (gap.is_reconcile or not is_reconcile)
                    return is_mine if ids is None else gap.gap_id in ids

                done = backfilling.fill(lake, log, supply, is_wanted, promotes=not no_promote, say=output.say)
    told = done.document() | ({} if found is None else found.document())
    output.answer(told, lambda console: _print(console, done, found))
    if done.waiting and not no_promote:
        raise typer.Exit(1)


def _span(kind: str | None, symbols: list[str] | None, start: datetime | None, end: datetime | None) -> tuple[datetime, datetime]:
    if kind not in ("bars", "trades", "quotes") or not symbols or start is None or end is None:
        raise InvalidValueError("a range wants KIND (bars, trades or quotes), --symbol, --start and --end; or give --gaps")
    return start, end


def _print(console: Console, done: BackfillReport, found: Looked | None) -> None:
    if found is not None:
        spans = sum(gap.is_reconcile for gap in found.opened)
        console.print(f"{spans} new spans to be reconciled; {found.waiting} whose history is not whole yet.")
        for words in found.unreconcilable:
            console.print(Text(f"  {words}"), soft_wrap=True)
    console.print(f"{done.words()}.")
    for story in done.stories:
        console.print(Text(f"  {story['gap_id']}: {story['status']}, {story['reason']}"), soft_wrap=True)
