"""The verb of upkeep: maintain."""

from __future__ import annotations

import getpass
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from lake.errors import InvalidValueError
from lake.maintenance.works import WORKS
from serving.cli.options import Home, Json, open_lake, open_log
from serving.cli.output import Output, listing

if TYPE_CHECKING:
    from rich.console import Console

    from lake.maintenance.maintaining import Maintained, Report

_RIGHT = ("files", "rows", "bytes", "bytes a row", "snapshots", "manifests", "dead files", "dead bytes", "deleted")


def add_to(app: typer.Typer) -> None:
    """Register the verb of this module."""
    app.command("maintain", rich_help_panel="Look after it")(maintain)


def maintain(
    tables: Annotated[
        list[str] | None, typer.Argument(help="Tables, like normalized.trades (default: all).", show_default=False)
    ] = None,
    plan: Annotated[bool, typer.Option("--plan", help="Say what is due and change nothing.")] = False,
    only: Annotated[
        list[str] | None, typer.Option("--only", help=f"Only this work: {', '.join(WORKS)}.", show_default=False)
    ] = None,
    home: Home = None,
    json: Json = False,
) -> None:
    """Compact, archive, drop what retention lets go, rewrite manifests, expire snapshots, sweep dead files; say what it saved.

    Safe beside a running pipeline. Dead files are deleted by a later run, once no reader can need them any more.
    """
    from lake.maintenance.maintaining import maintain as maintain_lake
    from serving.topics.steps import still_wanted

    output = Output(as_json=json)
    works = tuple(only or WORKS)
    unknown = sorted(set(works) - set(WORKS))
    if unknown:
        raise InvalidValueError(f"--only {', '.join(unknown)}; expected some of {', '.join(WORKS)}")
    with open_lake(home) as lake:
        log = open_log(lake.settings)
        with output.working("Looking what is due" if plan else "Maintaining"):
            report = maintain_lake(
                lake, tables or (), works, log, getpass.getuser(), plan_only=plan, wanted=still_wanted, say=output.say
            )
    output.answer(report.document(), lambda console: _print(console, report))


def _print(console: Console, report: Report) -> None:
    shown = [one for one in report.tables if one.before.rows or not one.is_idle]
    console.print(listing(None, ["table", *_RIGHT], [_cells(one) for one in shown], right=_RIGHT))
    for one in report.tables:
        for line in one.planned:
            console.print(Text(f"{'due' if report.plan_only else 'done'}  {one.table}: {line}"), soft_wrap=True)
        for gone in one.dropped:
            words = f"gone  {one.table}: {gone['rows']:,} rows of {gone['provider'] or 'all'}, {gone['start']} to {gone['end']}"
            console.print(Text(words, style="dim"), soft_wrap=True)
        for line in [*one.trouble, *([one.swept.stopped] if one.swept.stopped else [])]:
            console.print(Text(f"later {one.table}: {line}", style="yellow"), soft_wrap=True)
        for path in one.swept.foreign:
            console.print(Text(f"foreign file, left alone: {path}", style="yellow"), soft_wrap=True)
    told, prices = report.document(), report.prices
    cold = "" if prices.archive_gb_month == prices.gb_month else f", {prices.archive_gb_month} in the archive"
    console.print(
        f"Main became {_bytes(report.saved_bytes)} smaller and {report.saved_a_month:.4f} a month cheaper"
        f" (at {prices.gb_month} a GB{cold});"
        f" {_bytes(report.freed_bytes)} of dead files deleted, {_bytes(int(str(told['dead_bytes'])))} wait."
    )


def _cells(one: Maintained) -> list[object]:
    before, after = one.before, one.after
    return [
        one.table,
        _change(f"{before.files:,}", f"{after.files:,}"),
        _change(f"{before.rows:,}", f"{after.rows:,}"),
        _change(_bytes(before.bytes), _bytes(after.bytes)),
        _change(_per_row(before.bytes_a_row), _per_row(after.bytes_a_row)),
        _change(str(before.snapshots), str(after.snapshots)),
        _change(str(before.manifests), str(after.manifests)),
        one.swept.dead_files,
        _bytes(one.swept.dead_bytes),
        one.swept.deleted_files,
    ]


def _change(before: str, after: str) -> str:
    return before if before == after else f"{before} > {after}"


def _per_row(value: float | None) -> str:
    return "·" if value is None else f"{value:.2f}"


def _bytes(size: int) -> str:
    """Return a size for a person."""
    for unit, scale in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if abs(size) >= scale:
            return f"{size / scale:.1f} {unit}"
    return f"{size} B"
