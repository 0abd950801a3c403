"""The verb `plan`: what history would take by each provider, before anybody is asked."""

from __future__ import annotations

import os
from collections import Counter
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from lake.errors import InvalidValueError
from serving.cli.moving import bound
from serving.cli.options import Home, Json, open_lake
from serving.cli.output import Output, listing

if TYPE_CHECKING:
    from rich.console import Console

    from ingest.planning import Estimate, Question


def add_to(app: typer.Typer) -> None:
    """Register the verb of this module."""
    app.command("plan", rich_help_panel="Bring data in")(plan)


def plan(
    kind: Annotated[str, typer.Argument(help="bars, trades, quotes, corporate_actions, fundamentals ...")],
    symbols: Annotated[
        list[str] | None, typer.Option("--symbol", "--symbols", "-s", help="May be given several times.", show_default=False)
    ] = None,
    start: Annotated[str | None, typer.Option("--start", help="First day or instant (2024-01-01).", show_default=False)] = None,
    end: Annotated[str | None, typer.Option("--end", help="Day or instant after the last.", show_default=False)] = None,
    interval: Annotated[str, typer.Option("--interval", help="Of bars: 1m, 5m, 1h, 1d ...")] = "1d",
    asset_class: Annotated[
        str, typer.Option("--asset-class", help="equity, etf, crypto, fx, option, future or index.")
    ] = "equity",
    budget: Annotated[float | None, typer.Option("--budget", min=0, help="Most USD it may cost.", show_default=False)] = None,
    home: Home = None,
    json: Json = False,
) -> None:
    """Tell what history would take of each provider: calls, time within its quotas as they stand, money; the cheapest first.

    Asks nobody and changes nothing. Exit code 1 when no provider suffices.
    """
    from ingest.planning import Question
    from lake.instants import to_datetime
    from serving.operate import estimating

    output = Output(as_json=json)
    first, last = bound(start, "start"), bound(end, "end")
    if first is None or last is None:
        raise InvalidValueError("a plan wants --start and --end")
    with open_lake(home) as lake:
        question = Question(kind, asset_class, tuple(symbols or ()), interval, first, last)
        found = estimating.estimate(lake, question, os.environ, budget)
        spent, now = estimating.spent(lake), to_datetime(lake.clock())
    documents = [each.document(now) for each in found]
    document = {
        "chosen": documents[0] if found and found[0].suffices else None,
        "others": documents[1:] if found and found[0].suffices else documents,
        "quotas": spent,
    }
    output.answer(document, lambda console: _print(console, question, found, spent))
    if document["chosen"] is None:
        raise typer.Exit(1)


def in_words(able: list[Estimate]) -> str:
    """Return what there is to choose from: the cheapest, then each that costs more and is quicker."""
    worth: list[Estimate] = []
    for each in able:
        if not worth or (each.seconds or 0.0) < (worth[-1].seconds or 0.0):
            worth.append(each)
    return ", or ".join(f"{one.words()} ({one.provider} {one.feed})" for one in worth)


def _print(console: Console, question: Question, found: list[Estimate], spent: list[dict[str, Any]]) -> None:
    if not found:
        from serving.operate import estimating

        kinds = estimating.offered(question.asset_class)
        told = f"; of {question.asset_class} there are {', '.join(kinds)}" if kinds else ": see --asset-class"
        console.print(f"Nobody offers {question.kind} of {question.asset_class}{told}.", soft_wrap=True)
        return
    several = {feed for feed, count in Counter((each.provider, each.feed) for each in found).items() if count > 1}
    rows = []
    for each in found:
        feed = f"{each.feed} {each.endpoint}" if (each.provider, each.feed) in several else each.feed
        takes = [f"{each.rows:,}", f"{each.byte_count / 1e6:,.1f}", each.words()] if each.suffices else ["", "", each.why_not]
        rows.append([each.provider, feed, each.plan, f"{each.calls:,}", *takes])
    columns = ["provider", "feed", "plan", "calls", "rows", "MB", "takes, or why it does not suffice"]
    console.print(listing(None, columns, rows, right=("calls", "rows", "MB")))
    for quota in spent:
        if quota["provider"] not in {one.provider for one in found}:
            continue
        used = ", ".join(f"{one['used']:,} of {one['limit']:,} a {one['window']}" for one in quota["windows"] if one["used"])
        share = "" if quota["share_of_month"] is None else f", {quota['share_of_month']:.1%} of the month"
        console.print(Text(f"Used of {quota['provider']} ({quota['plan']}): {used or 'nothing now'}{share}", style="dim"))
    able = [each for each in found if each.suffices]
    if not able:
        console.print("No provider suffices; the last column says what each lacks.")
        return
    console.print(Text(f"Cheapest that suffices: {in_words(able)}.", style="bold"), soft_wrap=True)
