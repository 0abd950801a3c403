"""Maintenance in real processes: `python -m tests.lake.maintenance.processes VERB HOME ...`, answers as JSON on stdout."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from lake.catalog import Lake
from lake.errors import CommitConflictError
from lake.instants import system_clock
from lake.maintenance.maintaining import maintain
from lake.maintenance.sweep import reachable
from lake.publish import hold, publish, stage, stage_release
from lake.scan import read
from lake.settings import Settings, load_settings
from lake.steps import steps_of
from tests.lake.made import trade_batch
from tests.lake.maintenance.answers import TRADES, data_files, on_disk, published
from tests.lake.processes import at_once, in_child

BATCHES = 3
RACED = 5


def settings(home: Path, **more: object) -> Settings:
    given: dict[str, object] = {
        "home": home,
        "compact_quiet_s": 0,
        "keep_snapshots": 1,
        "sweep_after_s": 0,
        "archive_location": str(home / "cold"),
        "archive_tables": [TRADES],
        "retention": {f"{TRADES}/alpaca": 30},
    }
    return load_settings(**(given | more))


def make(home: Path) -> None:
    """Four batches of one provider, one of another that retention lets go, one held."""
    with Lake.create(settings(home), system_clock) as lake:
        published(lake, BATCHES)
        published(lake, 1, provider="alpaca")
        hold(lake, stage(lake, trade_batch(BATCHES * 10, BATCHES * 10 + 9)), {"failed": ["price_jump"]})


def work(home: Path, kill_at: str, **more: object) -> None:
    """Compact, then everything; the archive takes what compaction made."""
    with Lake.open(settings(home, **more), system_clock, steps_of(kill_at)) as lake:
        maintain(lake, [TRADES], ("compact",))
        maintain(lake, [TRADES])


def outcome(home: Path) -> dict[str, object]:
    """Return what the lake holds, and what is left on the disk that nothing refers to."""
    with Lake.open(settings(home), system_clock) as lake:
        head = lake.head(TRADES)
        rows = read(lake, TRADES, ["message_seq", "provider", "published_at"])
        archived = set((home / "cold").rglob("*.parquet"))
        known = reachable(lake, lake.table(TRADES))
        held = {path for path in on_disk(lake) if "held" in path.parts}
        return {
            "rows": sorted(rows["message_seq"].to_pylist()),
            "unpublished": rows["published_at"].null_count,
            "position": head.position,
            "holds": len(head.holds),
            "files": len(data_files(lake)),
            "left": len((on_disk(lake) | archived) - known - held),
            "missing": len([path for path in known if not path.exists()]),
        }


def told(home: Path) -> dict[str, object]:
    """Return the outcome as a process of its own sees it."""
    answer = home.with_name("outcome.json")
    assert in_child(lambda: answer.write_text(json.dumps(outcome(home)))) == 0
    return dict(json.loads(answer.read_text()))


def crash(home: Path, boundaries: list[str]) -> dict[str, object]:
    """For each boundary: the same lake, maintained until killed there, then again to the end."""
    fresh, answer = home.with_name("fresh"), home.with_name("outcome.json")
    in_child(lambda: make(home))
    shutil.copytree(home, fresh)
    found: dict[str, object] = {}

    def finish() -> None:
        between = outcome(home)
        work(home, "")
        answer.write_text(json.dumps({"between": between["rows"], **outcome(home)}))

    for boundary in boundaries:
        shutil.rmtree(home)
        shutil.copytree(fresh, home)
        killed = in_child(lambda kill_at=boundary: work(home, kill_at))  # type: ignore[misc]
        finished = in_child(finish)
        found[boundary] = {"killed": killed, "finished": finished, **json.loads(answer.read_text())}
    return found


def race(home: Path) -> dict[str, object]:
    """Promote and release in one process while another maintains without a pause."""
    in_child(lambda: make(home))
    done = home.with_name("done")

    def promote() -> None:
        with Lake.open(settings(home), system_clock) as lake:
            for number in range(BATCHES + 1, BATCHES + 1 + RACED):
                _again(lambda number=number: publish(lake, stage(lake, trade_batch(number * 10, number * 10 + 9))))  # type: ignore[misc]
            for held in lake.head(TRADES).holds:
                _again(lambda held=held: publish(lake, stage_release(lake, held)))  # type: ignore[misc]
        done.touch()

    def upkeep() -> None:
        with Lake.open(settings(home, compact_files=2, sweep_after_s=60), system_clock) as lake:
            while not done.exists():
                maintain(lake, [TRADES])

    codes = at_once(promote, upkeep)
    in_child(lambda: work(home, ""))
    return {"codes": codes, **told(home)}


def _again(act: Callable[[], object]) -> None:
    """Do something until no commit of somebody else comes in between, as the pipeline's next turn would."""
    while True:
        try:
            act()
            return
        except CommitConflictError as error:
            print(error, file=sys.stderr)


def stopped_child(home: Path, host: str, at: str, act: Callable[[Lake], object]) -> int:
    """Return a child that does something until it stops itself at a boundary; it ends with 3 when told to begin again."""
    child = os.fork()
    if child == 0:
        try:
            with Lake.open(settings(home, host=host), system_clock, steps_of(f"{at}:STOP")) as lake:
                act(lake)
            os._exit(0)
        except CommitConflictError as error:
            print(error, file=sys.stderr)
            os._exit(3)
        except BaseException as error:
            print(repr(error), file=sys.stderr)
            os._exit(1)
    _, status = os.waitpid(child, os.WUNTRACED)
    assert os.WIFSTOPPED(status), f"ended before {at}: {status}"
    return child


def woken(child: int) -> int:
    """Wake a stopped child and return how it ended."""
    os.kill(child, signal.SIGCONT)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def zombie(home: Path, host: str) -> dict[str, object]:
    """Stop a sweep behind its list; another process maintains, releases the hold, then wakes the sweep, if it still lives."""
    in_child(lambda: make(home))
    in_child(lambda: work_without_sweep(home))

    def sweep_once(lake: Lake) -> None:
        report = maintain(lake, [TRADES], ("sweep",))
        home.with_name("stopped").write_text(json.dumps(report.tables[0].swept.deleted_files))

    child = stopped_child(home, host, "sweep.listed:1", sweep_once)

    def successor() -> None:
        with Lake.open(settings(home, lease_expiry_s=0.2, sweep_after_s=3600), system_clock) as lake:
            maintain(lake, [TRADES])
            for held in lake.head(TRADES).holds:
                publish(lake, stage_release(lake, held))
            published(lake, 1, provider="yahoo")

    return {"codes": [in_child(successor)], "woken": woken(child), **told(home)}


def work_without_sweep(home: Path) -> None:
    with Lake.open(settings(home), system_clock) as lake:
        maintain(lake, [TRADES], ("compact", "expire"))


def main(arguments: list[str]) -> None:
    verb, home, rest = arguments[0], Path(arguments[1]), arguments[2:]
    verbs: dict[str, Callable[[], object]] = {
        "crash": lambda: crash(home, rest),
        "race": lambda: race(home),
        "zombie": lambda: zombie(home, rest[0]),
    }
    print(json.dumps(verbs[verb]()))


if __name__ == "__main__":
    main(sys.argv[1:])
