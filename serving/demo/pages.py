"""The tour for a person: pages with a few sentences and small tables, plain when nobody's terminal is there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.rule import Rule
from rich.text import Text

from serving.cli.output import listing
from serving.cli.trees import print_lineage
from serving.demo.plot import plot

Tour = Mapping[str, Any]
_OTHERS = (("agreed by", "agreed_by"), ("otherwise in", "disagreed_by"))
_COUNTS = ("decoded", "rows", "repeated", "quarantined", "held")


def show(console: Console, told: Tour) -> None:
    """Print the whole tour."""
    console.print()
    console.print(Text.assemble(("tickhouse", "bold"), ": a market-data lakehouse, once through, on real recorded payloads."))
    if not told["is_new"]:
        console.print(Text("Nothing new: everything was captured and imported before. The same lake, told again.", style="dim"))
    for number, (title, page) in enumerate(_PAGES, 1):
        console.print()
        console.print(Rule(Text(f"{number}. {title}", style="bold"), align="left", style="dim"))
        page(console, told)
    console.print()


def say(console: Console, text: str) -> None:
    """Print a sentence for orientation."""
    console.print(Text(text, style="italic dim"))


def asked(console: Console, told: Tour) -> None:
    """What was asked of whom, and what came back."""
    page = told["asked"]
    say(
        console,
        "A simulator on loopback plays two providers from recordings, and misbehaves on purpose. Nothing left this machine.",
    )
    rows = [
        [
            report["provider"],
            report["feed"],
            report["messages"],
            report["connections"] or "-",
            report["drops"],
            _gaps(report),
            report["ended"],
        ]
        for report in page["captures"]
    ]
    rows += [["file", file["path"], file["messages"], "-", 0, "-", "imported"] for file in page["files"]]
    columns = ["who", "what", "messages", "connections", "dropped", "gaps closed", "ended"]
    console.print(listing(None, columns, rows, right=columns[2:6]))
    console.print()
    for call in page["not_answered_well"]:
        wait = f", asked to wait {call['retry_after_s']:g} s" if call["retry_after_s"] else ""
        status = call["status"] if call["status"] is not None else "no answer"
        line = f"  {call['verdict']:<13} {status} {_path(call['url'])} (attempt {call['attempt']}{wait}): {call['detail'] or ''}"
        console.print(Text(line[: console.width], style="yellow"))
    for report in page["captures"]:
        if report["drops"]:
            times = "once" if report["drops"] == 1 else f"{report['drops']} times"
            told_of = (
                f"{report['provider']} {report['feed']}: the socket died {times}; connected again, gaps filled: {_gaps(report)}"
            )
            console.print(Text(f"  {'DROPPED':<13} {told_of}", style="yellow"))
    good = sum(call["count"] for call in page["calls"] if call["verdict"] in ("OK", "EMPTY_VALID"))
    console.print(Text(f"  {'OK':<13} {good} calls, the ones above asked again among them", style="green"))


def counted(console: Console, told: Tour) -> None:
    """Rows of every layer."""
    page = told["layers"]
    say(
        console,
        "Every message is kept as received. Every fact in it becomes a row, a repetition, a quarantined row or a held one.",
    )
    rows = [
        [feed["provider"], feed["feed"], feed["captured"], feed["landed"], _same(feed["captured"] == feed["landed"])]
        for feed in page["feeds"]
    ]
    columns = ["provider", "feed", "captured", "landed in raw", ""]
    console.print(listing(None, columns, rows, right=columns[2:4]))
    console.print()
    rows = [
        [table["table"], table["provider"], *(table.get(count, 0) for count in _COUNTS), _same(table["adds_up"])]
        for table in page["tables"]
    ]
    console.print(listing(None, ["table", "provider", *_COUNTS, ""], rows, right=_COUNTS))
    console.print()
    for name, count in page["adjusted"].items():
        console.print(f"  {name:<22} {count:>7,} rows")
    verdict = "Everything adds up." if page["adds_up"] else "THE COUNTS DO NOT ADD UP."
    console.print(Text(verdict, style="bold green" if page["adds_up"] else "bold red"))


def refused(console: Console, told: Tour) -> None:
    """What was quarantined, and why."""
    say(console, "What cannot be read or breaks a rule is not dropped: it waits in quarantine, with its reason and its way back.")
    rows = [
        [
            row["provider"],
            row["table_name"],
            row["rule"],
            row["count"],
            _cut(f"{row['value']} (expected {row['expected']})", max(console.width - 58, 20)),
        ]
        for row in told["quarantine"]
    ]
    console.print(listing(None, ["provider", "of", "rule", "count", "for example"], rows, right=("count",)))


def held(console: Console, told: Tour) -> None:
    """The poisoned batch."""
    say(
        console,
        "The simulator multiplied the prices of a run of trades by 100. Each is well formed; together they are not believable.",
    )
    if not told["held"]:
        console.print("Nothing was held in this lake.")
    for story in told["held"]:
        failing = ", ".join(f"{name} ({count:g} rows)" for name, count in (story["report"].get("failing_rows") or {}).items())
        console.print(
            Text.assemble(
                "held      ", (story["hold_id"], "bold"), f": {story['row_count']:,} rows of {story['table']}, failing {failing}"
            )
        )
        if story["released"] is None:
            console.print("It is still held: tickhouse holds")
            continue
        example = story["example"]
        if example is not None:
            console.print(Text(f"evidence  {_cut(example['frame'], console.width - 10)}", style="dim"))
            console.print(Text(f"          beside a median price of {example['typical_price']}", style="dim"))
        others = "1 other batch" if story["went_on"] == 1 else f"{story['went_on']:,} other batches"
        console.print(f"went on   {others} of the same feed published meanwhile: {story['rows_before']:,} rows")
        if story.get("refusal"):
            console.print(Text(f"refused   tickhouse release {story['hold_id']} --reason …", style="yellow"))
            console.print(Text(f"          {story['refusal']}", style="yellow"))
        console.print(Text(f"released  tickhouse release {story['hold_id']} --reason … --without-failed", style="green"))
        meanwhile = story["row_count"] - story["to_quarantine"] - story["released"]
        counts = f"{story['to_quarantine']:,} rows to quarantine, {story['released']:,} audited again and published"
        counts += f", {meanwhile:,} had been delivered again and published meanwhile" if meanwhile else ""
        console.print(Text(f"          {counts}: {story['rows_before']:,} → {story['rows_after']:,} trades", style="green"))


def split(console: Console, told: Tour) -> None:
    """AAPL's split."""
    page = told["split"]
    say(
        console,
        "Bars as traded from a CSV file, the 4:1 split from a notice. Prices are kept as traded, factors are applied to them.",
    )
    rows = [
        [row["session_date"], row["close"], row["price_factor"], row["adjusted_close"], row["volume"], row["adjusted_volume"]]
        for row in page["sessions"]
        if "2020-08-26" <= row["session_date"] <= "2020-09-02"
    ]
    columns = ["session", "close as traded", "factor", "close adjusted", "volume as traded", "volume adjusted"]
    console.print(listing(None, columns, rows, right=columns[1:]))
    console.print()
    sessions = page["sessions"]
    lines = {
        "as traded": [float(row["close"]) for row in sessions],
        "adjusted for the split": [float(row["adjusted_close"]) for row in sessions],
    }
    console.print(plot(lines, [row["session_date"] for row in sessions]))
    for line in page["agreed_by"]:
        words = ", ".join(f"{verb} {line[name]}" for verb, name in _OTHERS if line[name]) or "which no other feed has"
        console.print(Text(f"  {line['sessions']} sessions from {line['provider']} {line['feed']}, {words}", style="dim"))


def known(console: Console, told: Tour) -> None:
    """The same question, asked in the past."""
    say(console, "The same question, --known-as-of three days: research that does not know the future.")
    rows = [
        [view["known_as_of"], view["split"] or "not announced", view["sessions"], *_close(view["first"]), *_close(view["last"])]
        for view in told["known_as_of"]
    ]
    columns = ["known as of", "split", "sessions", "first", "adjusted", "last", "adjusted "]
    console.print(listing(None, columns, rows, right=("sessions", "adjusted", "adjusted ")))
    console.print(Text("Announced is not applied: prices change on the ex-date, not before.", style="dim"))


def explained(console: Console, told: Tour) -> None:
    """One value, back to its bytes."""
    say(console, "One adjusted close, explained: what it was made of, who let it through, and the bytes it comes from.")
    print_lineage(console, told["explained"])


def revised(console: Console, told: Tour) -> None:
    """A real chain of revisions."""
    page = told["revisions"]
    say(
        console,
        "A real mess: one reverse split of NHMPF, announced, corrected the next day, moved in September. No row was overwritten.",
    )
    columns = ["known at", "action", "kind", "old:new", "announced", "ex-date", "status"]
    rows = [
        [
            row["known_at"], row["action_key"], row["kind"], f"{row['ratio_old']}:{row['ratio_new']}",
            row["announcement_date"], row["ex_date"], row["status"],
        ]
        for row in page["chain"]
    ]  # fmt: skip
    console.print(listing(None, columns, rows))
    console.print()
    rows = [[row["known_at"], row["ex_date"], row["status"], row["price_factor"]] for row in page["factors"]]
    console.print(
        listing("Its factors along that time", ["known at", "ex-date", "status", "price factor"], rows, right=("price factor",))
    )


def compared(console: Console, told: Tour) -> None:
    """Our answer against somebody else's."""
    page = told["yahoo"]
    if not page["sessions"]:
        console.print("No sessions to compare.")
        return
    text = (
        f"{page['symbol']}: {page['sessions']} adjusted closes, {page['first']} to {page['last']}; "
        f"as ratios to the last one they differ from Yahoo's own by at most {page['largest_difference']:.1e}."
    )
    console.print(text)


def onward(console: Console, told: Tour) -> None:
    """Where it all is, and what to try."""
    console.print(Text.assemble("The lake is at ", (told["home"], "bold"), "."), soft_wrap=True)
    for command in told["next"]:
        console.print(Text(f"  {command}", style="bold cyan"), soft_wrap=True)


_PAGES = (
    ("What was asked, and what came back", asked),
    ("Every message and every fact is accounted for", counted),
    ("What was refused, and why", refused),
    ("A poisoned batch", held),
    ("A split, as traded and adjusted", split),
    ("What was known, and when", known),
    ("One value, back to its bytes", explained),
    ("A chain of revisions", revised),
    ("Against somebody else's answer", compared),
    ("Go on", onward),
)


def _gaps(report: Mapping[str, Any]) -> str:
    gaps = report["gaps"]
    return f"{gaps['closed']} of {gaps['opened']}" if gaps["opened"] else "-"


def _close(row: Mapping[str, Any] | None) -> Sequence[object]:
    return (None, None) if row is None else (row["session_date"], row["close"])


def _same(is_same: bool) -> str:
    return "✓" if is_same else "✗"


def _path(url: str) -> str:
    return "/" + url.split("://", 1)[-1].partition("/")[2].partition("?")[0]


def _cut(text: object, width: int) -> str:
    flat = " ".join(str(text).split())
    return flat if len(flat) <= width else flat[: width - 1] + "…"
