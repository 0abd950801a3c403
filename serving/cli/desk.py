"""Verbs of the quality desk: holds, release, reject, verify."""

from __future__ import annotations

import getpass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from serving.cli.options import Home, Json, Reason, open_lake, open_log
from serving.cli.output import Output

if TYPE_CHECKING:
    from rich.console import Console

    from lake.heads import Hold
    from quality_checks.holds import Decision

HoldId = Annotated[str, typer.Argument(help="As `tickhouse holds` lists it.")]


def add_to(app: typer.Typer) -> None:
    """Register the verbs of this module."""
    app.command("holds", rich_help_panel="Quality desk")(holds)
    app.command("release", rich_help_panel="Quality desk")(release)
    app.command("reject", rich_help_panel="Quality desk")(reject)
    app.command("verify", rich_help_panel="Look after it")(verify)


def holds(home: Home = None, json: Json = False) -> None:
    """List the batches that the gate holds back, and the impossible factors that block an instrument; the feeds went on."""
    from quality_checks import waivers
    from quality_checks.holds import list_holds

    output = Output(as_json=json)
    with open_lake(home) as lake:
        found = list_holds(lake)
        factors = waivers.blocked(lake)

    def render(console: Console) -> None:
        if not found and not factors:
            console.print("Nothing is held.")
            return
        for factor in factors:
            name = waivers.name_of(factor.instrument_id, factor.ex_date)
            told = f"  {factor.kind} {factor.value} of {factor.event_id}: impossible, its instrument waits"
            console.print(Text.assemble((name, "bold"), told), soft_wrap=True)
        for hold in found:
            console.print(
                Text.assemble(
                    (hold.hold_id, "bold"), f"  {hold.table}, {hold.row_count:,} rows of {hold.owner}, held {hold.held_at}"
                ),
                soft_wrap=True,
            )
            for line in reasons(hold):
                console.print(Text(f"    {line}", style="yellow"), soft_wrap=True)
        console.print("Next: tickhouse release HOLD --reason … [--without-failed], or tickhouse reject HOLD --reason …")

    named = [{"id": waivers.name_of(one.instrument_id, one.ex_date), **one.document()} for one in factors]
    output.answer({"holds": [document(hold) for hold in found], "factors": named}, render)


def release(
    hold_id: HoldId,
    reason: Reason,
    home: Home = None,
    without_failed: Annotated[
        bool, typer.Option("--without-failed", help="Send the failing rows to quarantine, publish the rest after a second audit.")
    ] = False,
    waive: Annotated[
        list[str] | None, typer.Option("--waive", help="A failed check that you take upon you.", show_default=False)
    ] = None,
    json: Json = False,
) -> None:
    """Publish a held batch, audited again first (exit code 7 and nothing changed when the gate refuses again), or let a blocked
    factor through as it is: a real 1:20 reverse split.
    """
    from quality_checks import holds as gate_holds
    from quality_checks import waivers
    from quality_checks.adjusting import adjust
    from quality_checks.building import build

    output = Output(as_json=json)
    if hold_id.startswith(waivers.PREFIX):
        decide(output, home, hold_id, reason, is_allowed=True)
        return
    with open_lake(home) as lake, output.working(f"Auditing {hold_id} again"):
        decision = gate_holds.release(
            lake, hold_id, reason, without_failed=without_failed, waive=tuple(waive or ()), who=getpass.getuser()
        )
        derived = {"adjusted": adjust(lake).document(), "built": build(lake).document()}
    output.answer({**decision.document(), **derived}, lambda console: console.print(Text(words(decision)), soft_wrap=True))


def reject(hold_id: HoldId, reason: Reason, home: Home = None, json: Json = False) -> None:
    """Send a held batch to quarantine, every row of it, and close the hold; or take back that a factor was let through."""
    from quality_checks import holds as gate_holds
    from quality_checks import waivers

    output = Output(as_json=json)
    if hold_id.startswith(waivers.PREFIX):
        decide(output, home, hold_id, reason, is_allowed=False)
        return
    with open_lake(home) as lake, output.working(f"Rejecting {hold_id}"):
        decision = gate_holds.reject(lake, hold_id, reason, who=getpass.getuser())
    output.answer(decision.document(), lambda console: console.print(Text(words(decision)), soft_wrap=True))


def decide(output: Output, home: Path | None, name: str, reason: str, *, is_allowed: bool) -> None:
    """Decide about a factor and adjust; prints the decision."""
    from quality_checks import waivers
    from quality_checks.adjusting import adjust

    with open_lake(home) as lake, output.working(f"Adjusting after {name}"):
        waiver = waivers.decide(lake, name, reason, is_allowed=is_allowed, who=getpass.getuser())
        adjusted = adjust(lake).document()
    output.answer({**waiver.document(), "adjusted": adjusted}, lambda console: console.print(Text(str(waiver)), soft_wrap=True))


def verify(
    home: Home = None,
    backup: Annotated[
        str | None,
        typer.Option(
            "--backup", help="Rehash the backups kept there instead: a folder or s3://BUCKET/PREFIX.", show_default=False
        ),
    ] = None,
    every: Annotated[bool, typer.Option("--every", help="Of backups: all of them, not only the last.")] = False,
    json: Json = False,
) -> None:
    """Prove again: counts in every layer, positions, the ledger, payload hashes, lineage. Exit code 1 when something differs."""
    from quality_checks.verify import verify as verify_lake
    from serving.cli import reports

    output = Output(as_json=json)
    if backup is not None:
        from serving.cli import safekeeping

        safekeeping.verify_backup(output, backup, is_every=every)
        return
    with open_lake(home) as lake, output.working("Proving hashes, counts and lineage"):
        report = verify_lake(lake, open_log(lake.settings))
    output.answer(report.document(), lambda console: reports.print_checks(console, report))
    if not report.is_ok:
        raise typer.Exit(1)


def words(decision: Decision) -> str:
    """Return what became of a hold, for a person."""
    if decision.outcome == "already":
        return f"{decision.hold_id} was settled before: {decision.detail}."
    parts = [f"{decision.rows:,} rows published"] if decision.outcome == "released" else []
    parts += [f"{decision.repeated:,} were there meanwhile"] if decision.repeated else []
    parts += [f"{decision.quarantined:,} in quarantine"] if decision.quarantined else []
    return f"{decision.hold_id} {decision.outcome}: {', '.join(parts) or 'no rows'}."


def document(hold: Hold) -> dict[str, object]:
    """Return a hold as plain values."""
    return {
        "hold_id": hold.hold_id,
        "table": hold.table,
        "owner": hold.owner,
        "row_count": hold.row_count,
        "held_at": hold.held_at,
        "before": hold.before,
        "after": hold.after,
        "ranges": [[one.capture_id, one.first_seq, one.last_seq] for one in hold.ranges],
        "counts": hold.counts,
        "report": hold.report,
    }


def reasons(hold: Hold) -> list[str]:
    """Return why the gate refused, a line a failed check."""
    failing = hold.report.get("failing_rows")
    if isinstance(failing, dict) and failing:
        return [
            f"check {name} failed on {count:g} rows" if isinstance(count, (int, float)) else f"check {name} failed"
            for name, count in failing.items()
        ]
    return [f"{name}: {value}" for name, value in hold.report.items()]
