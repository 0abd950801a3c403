"""Verbs of recovery: backup, restore, replica, drill."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from serving.cli.options import Home, Json, open_lake, settings_of
from serving.cli.output import Output, listing

if TYPE_CHECKING:
    from rich.console import Console

    from lake.backup.documents import Backup

_PLACE = "A folder or s3://BUCKET/PREFIX (default: TICKHOUSE_BACKUP_TO)."
Place = Annotated[str | None, typer.Option("--to", help=_PLACE, show_default=False)]
From = Annotated[str | None, typer.Option("--from", help=_PLACE, show_default=False)]
Folder = Annotated[Path | None, typer.Option("--to", help="Its folder (default: TICKHOUSE_REPLICA_TO).", show_default=False)]
_COLUMNS = ["backup", "of", "rows", "files", "bytes", "new bytes", "log blocks", "seconds"]


def add_to(app: typer.Typer) -> None:
    """Register the verbs of this module."""
    app.command("backup", rich_help_panel="Look after it")(backup)
    app.command("restore", rich_help_panel="Look after it")(restore)
    app.command("drill", rich_help_panel="Look after it")(drill)
    replica = typer.Typer(help="A second copy of the lake, read at once, promoted by one command.", no_args_is_help=True)
    replica.command("sync")(sync)
    replica.command("status")(status)
    replica.command("promote")(promote)
    app.add_typer(replica, name="replica", rich_help_panel="Look after it")


def backup(
    home: Home = None,
    to: Place = None,
    list_: Annotated[bool, typer.Option("--list", help="List the backups that are there; make none.")] = False,
    full: Annotated[bool, typer.Option("--full", help="Read every file again: puts back objects that were lost.")] = False,
    json: Json = False,
) -> None:
    """Back up the whole lake as of one moment, beside a running pipeline; only what is new is copied."""
    from lake.backup.backing_up import back_up
    from lake.backup.documents import backups
    from serving.operate import safekeeping

    output = Output(as_json=json)
    if list_:
        store = safekeeping.store_of(settings_of(home), to)
        found = list(backups(store))
        output.answer({"backups": [one.document() for one in found]}, lambda console: _print_backups(console, found))
        return
    with open_lake(home) as lake:
        store = safekeeping.store_of(lake.settings, to)
        with output.working(f"Backing up to {store.address}"):
            made = back_up(lake, store, safekeeping.own_log(lake.settings), is_full=full)
    output.answer(made.document(), lambda console: _print_backups(console, [made]))


def restore(
    home: Annotated[Path, typer.Option("--home", help="An empty folder, or one that is not there yet.")],
    from_: From = None,
    at: Annotated[
        str | None,
        typer.Option("--at", help="The moment (2026-11-21T14:00:00Z); default: the last backup's.", show_default=False),
    ] = None,
    json: Json = False,
) -> None:
    """Restore the lake as it was at a moment into an empty place, prove it, and say which moment it really is."""
    from lake.backup.restoring import restore as restore_lake
    from lake.instants import parse_instant, system_clock, to_ns
    from serving.operate import safekeeping

    output = Output(as_json=json)
    settings = settings_of(home)
    store = safekeeping.store_of(settings, from_)
    at_ns = None if at is None else to_ns(parse_instant(at))
    with output.working(f"Restoring from {store.address}"):
        done = restore_lake(store, settings, system_clock, at_ns)

    def render(console: Console) -> None:
        rows = sum(done.rows.values())
        console.print(Text(f"The lake of {done.at} is at {settings.home}: {rows:,} rows, {done.log_blocks} blocks in its log."))
        console.print(Text(done.told), soft_wrap=True)
        if not done.is_between:
            console.print("A batch was under way then: the next turn of the pipeline makes it whole, as after a crash.")
        console.print("What was asked of providers since the backup is not known: quotas count as spent until their windows end.")
        console.print(Text(f"Next: tickhouse verify --home {settings.home}"), soft_wrap=True)

    output.answer(done.document(), render)


def drill(home: Home = None, from_: From = None, json: Json = False) -> None:
    """Restore the last backup into a temporary place, prove it, record the outcome. Exit code 1 when it does not restore."""
    from serving.operate import safekeeping

    output = Output(as_json=json)
    with open_lake(home) as lake:
        store = safekeeping.store_of(lake.settings, from_)
        with output.working(f"Restoring the last backup of {store.address} beside the lake"):
            done = safekeeping.drilled(lake, store)

    def render(console: Console) -> None:
        words = f"{done.rows:,} rows and {done.files:,} files proved in {done.seconds:.1f} s"
        verdict = ("restores", "green") if done.is_ok else ("does NOT restore", "bold red")
        console.print(Text.assemble(f"Backup {done.backup} ", verdict, f": {words}"))
        for line in [*done.faults, *done.notes]:
            console.print(Text(f"    {line}", style="yellow"), soft_wrap=True)

    output.answer(done.document(), render)
    if not done.is_ok:
        raise typer.Exit(1)


def sync(home: Home = None, to: Folder = None, json: Json = False) -> None:
    """Bring the replica to the moment of now; makes it the first time."""
    from serving.operate import safekeeping

    output = Output(as_json=json)
    with open_lake(home) as lake:
        folder = safekeeping.replica_of(lake.settings, to)
        with output.working(f"Syncing {folder}"):
            done = safekeeping.synced(lake, folder, safekeeping.own_log(lake.settings))
    document = {
        "at": done.at,
        "between_batches": done.is_between,
        "new_files": done.new_files,
        "new_bytes": done.new_bytes,
        "log_blocks": done.log_blocks,
        "seconds": done.seconds,
    }
    words = f"{folder} is the lake of {done.at}: {done.new_files:,} new files, {done.new_bytes:,} bytes, {done.seconds:.1f} s."
    output.answer(document, lambda console: console.print(Text(words), soft_wrap=True))


def status(home: Home = None, to: Folder = None, json: Json = False) -> None:
    """Measure how far the replica is behind, table by table."""
    from lake.backup import replicas
    from serving.operate import safekeeping

    output = Output(as_json=json)
    with open_lake(home) as lake:
        found = replicas.lag(lake, safekeeping.replica_of(lake.settings, to))
    behind = [one for one in found if one.missing]
    rows = [[one.table, one.missing, f"{one.newest_s:.1f}", f"{one.oldest_s:.1f}"] for one in behind]
    columns = ["table", "missing snapshots", "age of the newest, s", "age of the oldest, s"]
    lag_s = max((one.oldest_s for one in behind), default=0.0)
    document = {
        "lag_s": lag_s,
        "tables": {
            one.table: {"missing": one.missing, "newest_missing_s": one.newest_s, "oldest_missing_s": one.oldest_s}
            for one in found
        },
    }

    def render(console: Console) -> None:
        if behind:
            console.print(listing(f"{lag_s:.1f} s behind", columns, rows, right=columns[1:]))
        else:
            console.print("The replica has every snapshot of every table.")

    output.answer(document, render)


def promote(home: Home = None, json: Json = False) -> None:
    """Make the replica at --home the lake to write. The old primary is fenced at once if it is in reach, else when it syncs."""
    from lake.backup import replicas
    from lake.instants import system_clock

    output = Output(as_json=json)
    settings = settings_of(home)
    done = replicas.promote(settings, system_clock)
    document = {"epoch": done.epoch, "at": done.at, "log_blocks": done.log_blocks, "fenced": done.fenced, "told": done.told}

    def render(console: Console) -> None:
        console.print(Text(f"{settings.home} is generation {done.epoch}, the lake of {done.at}; open it with TICKHOUSE_HOME."))
        if done.fenced:
            console.print("The old primary is fenced: it refuses every commit.")
        else:
            console.print("The old primary is out of reach: stop it yourself, or it goes on writing until it next syncs.")

    output.answer(document, render)


def verify_backup(output: Output, address: str, *, is_every: bool) -> None:
    """Rehash backups, name every object that is missing or damaged. Exit code 1 when one is."""
    from lake.backup.checking import check_backup
    from lake.backup.documents import backup_ids, backups, newest_backup
    from lake.backup.stores import open_store

    store = open_store(address)
    found = list(backups(store)) if is_every else [newest_backup(store)]
    faults: dict[str, list[str]] = {}
    for one in found:
        with output.working(f"Rehashing backup {one.id}"):
            faults[one.id] = check_backup(store, one)
    bad = {backup_id: lines for backup_id, lines in faults.items() if lines}

    def render(console: Console) -> None:
        for backup_id, lines in faults.items():
            console.print(Text.assemble(Text("WRONG ", "bold red") if lines else Text("ok    ", "green"), backup_id))
            for line in lines:
                console.print(Text(f"       {line}", style="yellow"), soft_wrap=True)
        if bad:
            console.print("Delete the objects named, then `tickhouse backup --full` puts back those whose files the lake has.")

    output.answer({"is_ok": not bad, "backups": len(backup_ids(store)), "faults": faults}, render)
    if bad:
        raise typer.Exit(1)


def _print_backups(console: Console, found: list[Backup]) -> None:
    rows = []
    for one in found:
        told = one.document()
        names = ("rows", "files", "bytes", "new_bytes", "log_blocks")
        rows.append([one.id, told["at"], *(f"{told[name]:,}" for name in names), f"{one.seconds:.1f}"])
    console.print(listing(None, _COLUMNS, rows, right=_COLUMNS[2:]))
    if found:
        console.print(Text(f"Log: {found[0].log}."), soft_wrap=True)
