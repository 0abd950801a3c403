"""Real processes for the tests of the lake: `python -m tests.lake.processes VERB HOME ...`, answers as JSON on stdout.

`crash` and `race` fork their children from a parent that has imported everything and started no thread, so that a
kill -9 costs milliseconds and not an import.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

from lake import as_of
from lake.catalog import Lake
from lake.commits import append
from lake.errors import CommitConflictError
from lake.expiry import expire
from lake.instants import system_clock, to_datetime
from lake.publish import clean_dead_branches, hold, publish, read_staged, stage, stage_release
from lake.settings import load_settings
from lake.state import State
from lake.steps import steps_of
from lake.values import MessageRange
from tests.lake.made import messages, trade_batch

TRADES, RAW = "normalized.trades", "raw.messages"
LAST = 30
BATCH = 10
POISONED = 10
"""The batch that begins here is refused by the audit."""


def work(home: Path, kill_at: str) -> None:
    """Land 30 messages and promote them by tens; hold the poisoned batch, release it at the end. Goes on where it was."""
    with Lake.open(load_settings(home=home), system_clock, steps_of(kill_at)) as lake, lake.state.lease("pipeline"):
        clean_dead_branches(lake, TRADES)
        as_of.reconcile(lake, TRADES)
        while (first := lake.head(RAW).vector("raw").get("0", 0)) < LAST:
            before = {"0": first} if first else {}
            after = {"0": first + BATCH}
            ranges = [MessageRange("c1", first, first + BATCH - 1)]
            append(lake, RAW, messages(first, first + BATCH - 1), "raw", before, after, "land", ranges)
        while (first := lake.head(TRADES).vector("binance").get("0", 0)) < LAST:
            staged = stage(lake, trade_batch(first, first + BATCH - 1))
            if POISONED in read_staged(lake, staged).column("message_seq").to_pylist():
                hold(lake, staged, {"failed": ["price_jump"]})
            else:
                publish(lake, staged)
            expire(lake, TRADES, keep=2, slack=1)
        for held in lake.head(TRADES).holds:
            publish(lake, stage_release(lake, held))


def outcome(home: Path) -> dict[str, object]:
    """Return what the lake holds now: message numbers of both tables, positions, settled intervals, leftovers."""
    with Lake.open(load_settings(home=home), system_clock) as lake:
        found: dict[str, object] = {}
        for table in (RAW, TRADES):
            rows = lake.table(table).scan(selected_fields=("message_seq",)).to_arrow()
            found[table] = sorted(rows.column(0).to_pylist())
            found[f"{table} position"] = lake.head(table).position
            found[f"{table} settled"] = sorted((one.before.get("0", 0), one.after["0"]) for one in as_of.ledger(lake, table))
        found["branches"] = len(lake.table(TRADES).metadata.refs)
        found["holds"] = len(lake.head(TRADES).holds)
        visible = as_of.visible(lake, TRADES, to_datetime(system_clock()))
        found["visible"] = [(one.first_seq, one.last_seq) for one in visible.ranges]
        return found


def at_once(*acts: Callable[[], object]) -> list[int]:
    """Run each act in a forked child of its own, all at once; return how each ended: 0, its exit code, or minus a signal."""
    children = []
    for act in acts:
        child = os.fork()
        if child == 0:
            try:
                act()
                os._exit(0)
            except BaseException as error:
                print(repr(error), file=sys.stderr)
                os._exit(1)
        children.append(child)
    return [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]


def together(act: Callable[[], object], processes: int) -> list[int]:
    """Run `act` in forked children at once; return how each ended."""
    return at_once(*[act] * processes)


def in_child(act: Callable[[], object]) -> int:
    """Run `act` in one forked child and return how it ended."""
    return together(act, 1)[0]


def make(home: Path) -> None:
    Lake.create(load_settings(home=home), system_clock).close()


def told_by_child(home: Path) -> dict[str, object]:
    told = home.with_name("outcome.json")
    in_child(lambda: told.write_text(json.dumps(outcome(home))))
    return dict(json.loads(told.read_text()))


def crash(home: Path, boundaries: list[str]) -> dict[str, object]:
    """For each boundary: an empty lake, work until killed there, work again to the end; return what it then holds."""
    fresh = home.with_name("fresh")
    in_child(lambda: make(home))
    shutil.copytree(home, fresh)
    found: dict[str, object] = {}
    for boundary in boundaries:
        shutil.rmtree(home)
        shutil.copytree(fresh, home)
        killed = in_child(lambda kill_at=boundary: work(home, kill_at))  # type: ignore[misc]
        finished = in_child(lambda: work(home, ""))
        found[boundary] = {"killed": killed, "finished": finished, **told_by_child(home)}
    return found


def race(home: Path, processes: int) -> dict[str, object]:
    """Make a lake and land the same offsets from several processes at once; return how each ended, the rows, refusals."""
    made = together(lambda: make(home), processes)

    def land() -> None:
        refused = 0
        with Lake.open(load_settings(home=home), system_clock) as lake:
            while (first := lake.head(RAW).vector("raw").get("0", 0)) < LAST:
                before = {"0": first} if first else {}
                ranges = [MessageRange("c1", first, first + 4)]
                try:
                    append(lake, RAW, messages(first, first + 4), "raw", before, {"0": first + 5}, "land", ranges)
                except CommitConflictError:
                    refused += 1
        home.with_name(f"refused-{os.getpid()}").write_text(str(refused))

    codes = together(land, processes)
    refused = [int(path.read_text()) for path in home.parent.glob("refused-*")]
    return {"made": made, "codes": codes, "refused": refused, **told_by_child(home)}


def keep_lease(home: Path, name: str, how: str) -> None:
    """Take a lease, say so, then run on (`running`), stop (`stopped`) or stop in a transaction that locks the state.

    `locked without a lease`: takes none.
    """
    state = State(load_settings(home=home).state_url, system_clock)
    state.create()
    with nullcontext() if how == "locked without a lease" else state.lease(name, 0):
        print("taken", flush=True)
        if how.startswith("locked"):
            with state.writing() as connection:
                connection.exec_driver_sql("INSERT INTO documents VALUES ('job', 'of the stopped one', '{}')")
                os.kill(os.getpid(), signal.SIGSTOP)
        if how == "stopped":
            os.kill(os.getpid(), signal.SIGSTOP)
        signal.pause()


def main(arguments: list[str]) -> None:
    verb, home, rest = arguments[0], Path(arguments[1]), arguments[2:]
    if verb == "crash":
        print(json.dumps(crash(home, rest)))
    elif verb == "race":
        print(json.dumps(race(home, int(rest[0]))))
    elif verb == "lease":
        keep_lease(home, *rest)
    else:
        raise SystemExit(f"no verb {verb}")


if __name__ == "__main__":
    main(sys.argv[1:])
