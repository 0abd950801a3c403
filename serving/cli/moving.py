"""Verbs that move data: import, calendars, capture, land, promote, rebuild."""

from __future__ import annotations

from datetime import UTC, datetime, time
from pathlib import Path
from typing import Annotated

import typer

from ingest.providers.registry import PROVIDERS, WORDS
from lake.errors import InvalidValueError
from serving.choices import From
from serving.cli.options import Home, Json, RunnerChoice, instant, open_lake, open_log
from serving.cli.output import Output
from serving.outcomes import outcome_of


def add_to(app: typer.Typer) -> None:
    """Register the verbs of this module."""
    app.command("import", rich_help_panel="Bring data in")(import_)
    app.command("calendars", rich_help_panel="Bring data in")(calendars)
    app.command("capture", rich_help_panel="Bring data in")(capture)
    app.command("land", rich_help_panel="Move it on")(land)
    app.command("promote", rich_help_panel="Move it on")(promote)
    app.command("rebuild", rich_help_panel="Move it on")(rebuild)


def import_(
    provider: Annotated[str, typer.Argument(help="As `tickhouse feeds` lists it, like csv.")],
    feed: Annotated[str, typer.Argument(help="Its feed, like bars.")],
    paths: Annotated[list[Path], typer.Argument(help="Files, or folders of files.", metavar="PATH...")],
    home: Home = None,
    received_at: Annotated[
        str | None,
        typer.Option(
            "--received-at", help="When the provider delivered the files, where they do not say it.", show_default=False
        ),
    ] = None,
    mapping: Annotated[
        str | None,
        typer.Option(
            "--mapping", help="For CSV: a TOML file that says what the columns are, or a shipped one.", show_default=False
        ),
    ] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", help="KEY=VALUE of the mapping for these files, like symbol=AAPL.", show_default=False),
    ] = None,
    no_promote: Annotated[bool, typer.Option("--no-promote", help="Stop at the log; land and promote later.")] = False,
    json: Json = False,
) -> None:
    """Bring in recorded files through the same way as live data. The same file twice lands once."""
    from ingest.imports import import_paths
    from ingest.mappings import load_mapping, overriding
    from serving.cli import reports
    from serving.operate import pipeline

    output = Output(as_json=json)
    delivered = instant(received_at)
    mapping_document = None if mapping is None else load_mapping(mapping, overriding(overrides or []))
    with open_lake(home) as lake:
        log = open_log(lake.settings)
        with output.working(f"Reading {len(paths)} path(s)"):
            report = import_paths(lake, log, provider, feed, paths, delivered, mapping_document)
        done = pipeline.Turn()
        if not no_promote:
            with output.working("Landing and promoting"):
                done = pipeline.turn(lake, log, (provider,))
        ids = [file.capture_id for file in report.files if file.capture_id is not None]
        refused = reports.quarantined(lake, ids)
    document = {"imported": report.document(), **({} if no_promote else done.document()), "quarantined": refused}
    output.answer(document, lambda console: reports.print_import(console, report, done, refused))
    if any(file.status == "failed" for file in report.files):
        raise typer.Exit(outcome_of(InvalidValueError()).exit_code)


def calendars(
    mics: Annotated[list[str], typer.Argument(help="MICs with a calendar, like XNYS XHKG CMES.", metavar="MIC...")],
    home: Home = None,
    json: Json = False,
) -> None:
    """Bring the sessions of exchanges into reference.sessions: holidays, half days, lunch breaks, special sessions."""
    import tempfile

    from ingest.calendars import write_calendars
    from ingest.imports import import_paths
    from serving.operate import pipeline

    output = Output(as_json=json)
    with open_lake(home) as lake, tempfile.TemporaryDirectory() as folder:
        log = open_log(lake.settings)
        report = import_paths(lake, log, "reference", "sessions", write_calendars(mics, Path(folder)))
        with output.working("Landing and promoting"):
            done = pipeline.turn(lake, log, ("reference",))
    output.answer({**report.document(), **done.document()}, lambda console: console.print(f"{len(report.files)} calendars read"))


def capture(
    providers: Annotated[list[str], typer.Argument(help=f"{', '.join(PROVIDERS)}.", metavar="PROVIDER...")],
    home: Home = None,
    feed: Annotated[
        str | None,
        typer.Option("--feed", help="One of the provider's feeds; of binance the default is both.", show_default=False),
    ] = None,
    symbols: Annotated[
        list[str] | None, typer.Option("--symbol", "--symbols", "-s", help="May be given several times.", show_default=False)
    ] = None,
    universe: Annotated[
        str | None, typer.Option("--universe", "-u", help="The symbols of a universe of the configuration.", show_default=False)
    ] = None,
    interval: Annotated[str, typer.Option("--interval", help="Of bars that are polled.")] = "1d",
    data: Annotated[str | None, typer.Option("--data", help=f"What of the feed: {', '.join(WORDS)}.", show_default=False)] = None,
    start: Annotated[str | None, typer.Option("--start", help="Of a poll, included.", show_default=False)] = None,
    end: Annotated[str | None, typer.Option("--end", help="Of a poll, not included.", show_default=False)] = None,
    source: Annotated[From, typer.Option("--from", help="The simulator on loopback, or the provider itself.")] = From.SIMULATOR,
    excerpt: Annotated[
        int | None, typer.Option("--excerpt", min=1, help="Of the simulator: only so many messages a stream.", show_default=False)
    ] = None,
    shard: Annotated[
        str, typer.Option("--shard", help="NUMBER/COUNT: which of several such processes this is; each symbol is one's.")
    ] = "1/1",
    json: Json = False,
) -> None:
    """Ask providers and listen to their streams; everything received goes into the log, for `land` and `promote`."""
    from ingest.shards import parse_shard
    from serving.cli import reports
    from serving.operate import asking
    from serving.operate.configured import open_configured, symbols_of
    from serving.operate.rights import live_permits

    output, found, mine = Output(as_json=json), [], parse_shard(shard)
    output.say_who_answers(source)
    with open_lake(home) as lake:
        configured, log = open_configured(lake), open_log(lake.settings)
        chosen = (*(symbols or ()), *(symbols_of(configured.in_force(), universe) if universe else ()))
        with asking.reached(source, configured.in_force, excerpt) as reach, live_permits(lake, log, reach) as permits:
            for provider in providers:
                span = bound(start, "start"), bound(end, "end")
                wanted = asking.Wanted(provider, feed, chosen, interval, *span, data, shard=mine)
                with output.working(f"Capturing {provider}"):
                    found += asking.capture(lake, log, wanted, reach, permits=permits)
    output.answer({"captures": [one.document() for one in found]}, lambda console: reports.print_captures(console, found))


def land(home: Home = None, json: Json = False) -> None:
    """Land what the log holds: messages into raw.messages, history into its tables."""
    from ingest.landing import land as land_log

    output = Output(as_json=json)
    with open_lake(home) as lake, output.working("Landing"):
        report = land_log(lake, open_log(lake.settings))
    output.answer(
        report.document(),
        lambda console: console.print(
            f"{report.messages:,} messages landed in {report.commits} commits, {sum(report.history.values()):,} rows of history."
        ),
    )


def promote(
    providers: Annotated[
        list[str] | None, typer.Argument(help="Only these; default: all.", metavar="[PROVIDER...]", show_default=False)
    ] = None,
    home: Home = None,
    runner: RunnerChoice = None,
    json: Json = False,
) -> None:
    """Promote what has landed: decode, normalize, through the gate, agree, adjust. Held batches do not stop the feed."""
    from lake.runner import open_runner
    from serving.cli import reports
    from serving.operate import pipeline

    output = Output(as_json=json)
    done = pipeline.Turn()
    with open_lake(home) as lake, open_runner(lake, runner) as workers, output.working("Promoting"):
        pipeline.promote_all(lake, done, tuple(providers or ()), lambda text: None, workers)
    output.answer(done.document(), lambda console: reports.print_turn(console, done))


def rebuild(
    tables: Annotated[list[str], typer.Argument(help="Like normalized.trades or adjusted.bars_1d.", metavar="TABLE...")],
    home: Home = None,
    runner: RunnerChoice = None,
    json: Json = False,
) -> None:
    """Make tables again from raw and compare row by row, hash and published_at too. Exit code 1 when they differ."""
    from lake.runner import open_runner
    from quality_checks.rebuild import rebuild as rebuild_table
    from serving.cli import reports

    output = Output(as_json=json)
    found = []
    with open_lake(home) as lake, open_runner(lake, runner) as workers:
        for table in tables:
            with output.working(f"Rebuilding {table}"):
                found.append(rebuild_table(lake, table, workers))
    output.answer({"rebuilt": [one.document() for one in found]}, lambda console: reports.print_rebuilt(console, found))
    if not all(one.is_same for one in found):
        raise typer.Exit(1)


def bound(text: str | None, name: str) -> datetime | None:
    """Return one end of a poll's window: a date means its midnight, UTC."""
    from serving.answers import parse_bound

    found = parse_bound(text, name)
    if found is None or isinstance(found, datetime):
        return found
    return datetime.combine(found, time(), UTC)
