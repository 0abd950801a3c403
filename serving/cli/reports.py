"""What moving verbs did, in words and small tables."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl
from rich.console import Console
from rich.text import Text

from ingest.capture import CaptureReport
from ingest.imports import ImportReport
from lake import scan
from lake.catalog import Lake
from lake.scan import Where
from quality_checks.rebuild import RebuildReport
from quality_checks.verify import VerifyReport
from serving.cli.output import listing
from serving.operate.pipeline import Turn

_COUNTS = ("decoded", "rows", "repeated", "quarantined", "held")


def quarantined(lake: Lake, capture_ids: Sequence[str]) -> list[dict[str, object]]:
    """Return how many facts of some captures were refused, by table and rule, with one example each."""
    if not capture_ids:
        return []
    found = scan.read(lake, "quality.quarantine", where=[Where("capture_id", "in", list(capture_ids))])
    if not found.num_rows:
        return []
    frame = pl.DataFrame({name: pl.from_arrow(found[name]) for name in ("table_name", "rule", "event_id", "value", "expected")})
    first = [pl.col(name).first() for name in ("event_id", "value", "expected")]
    return (
        frame.sort("event_id")
        .group_by("table_name", "rule")
        .agg(pl.len().alias("count"), *first)
        .sort("table_name", "rule")
        .to_dicts()
    )


def print_import(console: Console, report: ImportReport, done: Turn, refused: Sequence[dict[str, object]]) -> None:
    """Print what became of imported files, and of their rows where they were promoted."""
    rows = [[file.path, file.status, file.messages, file.appended, file.error or ""] for file in report.files]
    console.print(listing(None, ["file", "status", "messages", "new", "what is wrong"], rows, right=("messages", "new")))
    print_turn(console, done)
    if refused:
        cells = [
            [row["table_name"], row["rule"], row["count"], f"{row['value']} (expected {row['expected']})"] for row in refused
        ]
        console.print(listing("In quarantine", ["table", "rule", "count", "for example"], cells, right=("count",)))


def print_turn(console: Console, done: Turn) -> None:
    """Print rows by table, and what the gate held."""
    cells = [
        [name, *(getattr(told, count) for count in _COUNTS)]
        for _, report in sorted(done.promoted.items())
        for name, told in sorted(report.tables.items())
        if told.decoded
    ]
    if cells:
        console.print(listing(None, ["table", *_COUNTS], cells, right=_COUNTS))
    elif done.promoted:
        console.print("Nothing new to promote.")
    for hold in done.holds:
        console.print(Text(f"held by the gate: {hold}; look with `tickhouse holds`", style="yellow"))


def print_captures(console: Console, reports: Sequence[CaptureReport]) -> None:
    """Print one line a capture, and every call that was not answered well."""
    rows = [
        [
            report.capture_id,
            report.kind,
            report.messages,
            report.connections or len(report.calls),
            report.drops,
            report.gaps_open,
            report.ended,
        ]
        for report in reports
    ]
    columns = ["capture", "kind", "messages", "calls", "drops", "gaps open", "ended"]
    console.print(listing(None, columns, rows, right=columns[2:6]))
    bad = [call for report in reports for call in report.calls if call["verdict"] != "OK"]
    for call in bad:
        console.print(
            Text(f"{call['verdict']}: {call['method']} {call['url']} (attempt {call['attempt']}) {call['detail']}", "yellow"),
            soft_wrap=True,
        )


def print_rebuilt(console: Console, reports: Sequence[RebuildReport]) -> None:
    """Print one line a table, and the first rows that differ."""
    for report in reports:
        style = "green" if report.is_same else "bold red"
        told = "the same, row by row" if report.is_same else f"{report.missing:,} rows missing, {report.extra:,} new"
        console.print(Text(f"{report.table}: {report.rows:,} rows made again from raw: {told} (hash {report.after[:16]})", style))
        for line in report.shown:
            console.print(Text(f"    {line}", style="yellow"), soft_wrap=True)


def print_checks(console: Console, report: VerifyReport) -> None:
    """Print every check of `verify`, and the first of what is wrong."""
    for check in report.checks:
        mark = Text("ok   ", "green") if check.is_ok else Text("WRONG ", "bold red")
        console.print(Text.assemble(mark, f"{check.name.replace('_', ' ')}: {check.count:,} looked at"))
        for fault in check.faults:
            console.print(Text(f"       {fault}", style="yellow"), soft_wrap=True)
