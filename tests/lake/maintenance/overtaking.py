"""A writer stopped between its new files and its commit, and a sweep that overtakes it, in real processes.

`python -m tests.lake.maintenance.overtaking HOME WRITE/WRITER_AT/SWEEPER_AT...`, answers as JSON on stdout.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

from lake.catalog import Lake
from lake.commits import append
from lake.instants import system_clock
from lake.maintenance.maintaining import maintain
from lake.publish import held_rows, hold, publish, stage, stage_release
from lake.scan import read
from lake.settings import load_settings
from lake.values import MessageRange
from tests.lake.made import messages, trade_batch
from tests.lake.maintenance.answers import TRADES
from tests.lake.maintenance.processes import BATCHES, make, outcome, settings, stopped_child, woken
from tests.lake.processes import RAW, in_child

NEXT = BATCHES * 10 + 10
SWEPT = (TRADES, RAW)


def writes(lake: Lake) -> dict[str, Callable[[], object]]:
    """Return every way in which new files come to a table."""
    batch = trade_batch(NEXT, NEXT + 9)

    def land() -> None:
        append(lake, RAW, messages(0, 9), "raw", {}, {"0": 10}, "land", [MessageRange("c1", 0, 9)])

    return {
        "land": land,
        "publish": lambda: publish(lake, stage(lake, batch)),
        "hold": lambda: hold(lake, stage(lake, batch), {"failed": ["price_jump"]}),
        "release": lambda: publish(lake, stage_release(lake, lake.head(TRADES).holds[0])),
    }


def overtaken(home: Path, write: str, writer_at: str, sweeper_at: str) -> dict[str, object]:
    """Stop a writer, sweep in another process, wake the writer, then write once more in a third.

    sweeper_at    where the sweep stops, until the writer was woken and has ended; empty: the sweep ends first
    """
    writer = stopped_child(home, "", writer_at, lambda lake: writes(lake)[write]())

    def sweep_all(lake: Lake) -> None:
        reports = maintain(lake, SWEPT, ("sweep",)).tables
        home.with_name("swept").write_text(json.dumps(sum(one.swept.deleted_files for one in reports)))

    def sweep_here() -> None:
        with Lake.open(settings(home), system_clock) as lake:
            sweep_all(lake)

    if sweeper_at:
        sweeper = stopped_child(home, "", sweeper_at, sweep_all)
        ended = {"writer": woken(writer), "sweeper": woken(sweeper)}
    else:
        ended = {"sweeper": in_child(sweep_here), "writer": woken(writer)}
    between = told_with_raw(home)

    def write_again() -> None:
        with Lake.open(settings(home), system_clock) as lake:
            writes(lake)[write]()

    again = in_child(write_again)
    swept = json.loads(home.with_name("swept").read_text())
    return {**ended, "swept": swept, "between": between, "again": again, "after": told_with_raw(home)}


def told_with_raw(home: Path) -> dict[str, object]:
    """Return the outcome as a process of its own sees it, with the messages landed and the rows of every hold."""
    answer = home.with_name("outcome.json")

    def tell() -> None:
        with Lake.open(load_settings(home=home), system_clock) as lake:
            landed = sorted(read(lake, RAW, ["message_seq"])["message_seq"].to_pylist())
            held = sorted(number for one in lake.head(TRADES).holds for number in held_rows(lake, one)["message_seq"].to_pylist())
        answer.write_text(json.dumps({**outcome(home), "landed": landed, "held": held}))

    assert in_child(tell) == 0
    return dict(json.loads(answer.read_text()))


def main(home: Path, cases: list[str]) -> None:
    """Print what came of each case, each in the same lake."""
    fresh = home.with_name("fresh")
    in_child(lambda: make(home))
    shutil.copytree(home, fresh)
    found = {}
    for case in cases:
        shutil.rmtree(home)
        shutil.copytree(fresh, home)
        write, writer_at, sweeper_at = case.split("/")
        found[case] = overtaken(home, write, writer_at, sweeper_at)
    print(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
