"""Verb of providers: how each stands."""

from __future__ import annotations

import getpass
from collections.abc import Mapping
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

from lake.errors import InvalidValueError, NotFoundError
from serving.cli.options import Home, Json, open_lake
from serving.cli.output import Output, listing


def add_to(app: typer.Typer) -> None:
    """Register the verbs of this module."""
    app.command("providers", rich_help_panel="Bring data in")(providers)


def providers(
    names: Annotated[list[str] | None, typer.Argument(help="Only these; default: all.", metavar="[PROVIDER...]")] = None,
    quota_known: Annotated[
        bool,
        typer.Option(
            "--quota-known",
            help="After a restore, or a clock that was ahead: nobody else asked these providers, their quota counts as told.",
        ),
    ] = False,
    close_breakers: Annotated[
        bool, typer.Option("--close-breakers", help="Ask these providers again at once: they are said to be well.")
    ] = False,
    reason: Annotated[str | None, typer.Option("--reason", help="Why; written to the audit log.", show_default=False)] = None,
    home: Home = None,
    json: Json = False,
) -> None:
    """Show how each provider stands: sessions, calls, latency, quotas, breakers, gaps, cost, whether its key is there.

    After `restore` windows count as spent until they end, for nobody knows what was asked since the backup.
    """
    from serving.operate.configured import open_configured
    from serving.operate.standing import Standings

    output = Output(as_json=json)
    if (quota_known or close_breakers) and not (names and reason):
        raise InvalidValueError("--quota-known and --close-breakers take the names of providers and a --reason")
    with open_lake(home) as lake:
        standings = Standings(lake, open_configured(lake))
        known = [each["provider"] for each in standings.all()]
        if unknown := sorted(set(names or ()) - set(known)):
            raise NotFoundError(f"no provider {', '.join(unknown)}; there are {', '.join(known)}")
        for name in names or () if quota_known else ():
            standings.quotas().declare_known(name, getpass.getuser(), str(reason))
        for name in names or () if close_breakers else ():
            standings.close_breakers(name, getpass.getuser(), str(reason))
        every = standings.all()
    found = [each for each in every if not names or each["provider"] in names]
    output.answer({"providers": found}, lambda console: _print(console, found))


def _print(console: Console, found: list[dict[str, Any]]) -> None:
    cells = [
        [
            each["provider"] if each["is_enabled"] else f"{each['provider']} (off)",
            each["standing"],
            each["key"],
            each["plan"] or "·",
            _sessions(each),
            ", ".join(f"{count:,} {verdict}" for verdict, count in sorted(each["calls"].items())) or "·",
            "·" if each["latency_s"]["p50"] is None else f"{each['latency_s']['p50']:.2f} / {each['latency_s']['p95']:.2f}",
            each["open_gaps"],
            f"{each['usd_this_month']:.2f}",
        ]
        for each in found
    ]
    columns = ["provider", "stands", "key", "plan", "newest data", "calls", "p50 / p95 s", "gaps", "USD"]
    console.print(listing(None, columns, cells, right=("gaps", "USD")))
    for each in found:
        for one in each["breakers"]:
            if one["position"] != "closed":
                again = "" if one["probe_at"] is None else f", asked again at {one['probe_at']:%H:%M:%S} UTC"
                words = f"{each['provider']} {one['endpoint']}: breaker {one['position']}{again}, after {one['detail']}"
                console.print(Text(words, "bold red"), soft_wrap=True)
    for each in found:
        for quota in each["quotas"]:
            windows = "; ".join(f"{one['window']}: {one['used']:,} of {one['limit']:,}" for one in quota["windows"])
            share = quota["share_of_month"]
            month = "" if share is None else f"; {share:.1%} of what the plan lets pass in a month"
            console.print(Text(f"{each['provider']} {quota['plan']}, key {quota['key']}: {windows}{month}"), soft_wrap=True)
    for each in found:
        for socket in each["sockets"]:
            of = f" {socket['feed']}" if socket["feed"] else ""
            words = f"{each['provider']}{of}, key {socket['key']}: socket {socket['number']} is held by"
            console.print(Text(f"{words} process {socket['pid']} of {socket['host']} ({socket['holder']})"), soft_wrap=True)
    for each in found:
        for session in each["sessions"]:
            for words in session["stale"]:
                console.print(Text(f"{each['provider']} {session['feed']} is stale, {words}", "bold red"), soft_wrap=True)
    for each in found:
        if each["key"] == "missing":
            wanted = " and ".join(each["key_variables"])
            console.print(Text(f"{each['provider']} can be asked once the environment has {wanted}.", "dim"), soft_wrap=True)


def _sessions(each: Mapping[str, Any]) -> str:
    told = []
    for one in each["sessions"]:
        ended = " (ended)" if one["is_stream"] and not one["is_listening"] else ""
        age_s = one["last_message_age_s"] if one["data_age_s"] is None else one["data_age_s"]
        age = "nothing yet" if age_s is None else _age(age_s)
        told.append(f"{one['feed']}{ended} {age}{', STALE' if one['is_stale'] else ''}")
    return ", ".join(told) or "·"


def _age(seconds: float) -> str:
    for length, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= length:
            return f"{seconds / length:.0f} {unit} ago"
    return f"{seconds:.0f} s ago"
