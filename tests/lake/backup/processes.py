"""Real processes for the tests of recovery: `python -m tests.lake.backup.processes VERB FOLDER ...`, one JSON line on stdout.

Children are forked from a parent that has imported everything and started no thread, so that a kill costs milliseconds.
"""

from __future__ import annotations

import json
import resource
import shutil
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

from lake.backup import replicas
from lake.backup.backing_up import back_up
from lake.backup.checking import check_backup
from lake.backup.documents import backup_ids, newest_backup
from lake.backup.drills import drill
from lake.backup.pins import pinned_files
from lake.backup.restoring import restore
from lake.backup.stores import LocalStore
from lake.catalog import Lake
from lake.errors import StorageError, TickhouseError
from lake.identity import identity_of
from lake.instants import system_clock
from lake.log.log import RAW_TOPIC
from lake.scan import read
from lake.steps import steps_of
from tests.lake.backup.making import RAW, TRADES, capture_into, content, embedded_log, grow, settings_at
from tests.lake.processes import at_once, in_child


def make(home: Path) -> None:
    """Make a lake with one batch, and two messages in its log that have not landed."""
    with Lake.create(settings_at(home), system_clock) as lake, embedded_log(lake) as log:
        log.begin(RAW_TOPIC, 0, 10)
        grow(lake, 0, 9)
        capture_into(log, 0, 1)


def act(folder: Path, verb: str, kill_at: str = "") -> None:
    """Do one verb on the lake in `folder`: backup, restore, sync, promote or drill."""
    steps, store = steps_of(kill_at), LocalStore(folder / "store")
    if verb == "restore":
        restore(store, settings_at(folder / "there"), system_clock, steps=steps)
        return
    if verb == "promote":
        replicas.promote(settings_at(folder / "replica"), system_clock, steps)
        return
    with Lake.open(settings_at(folder / "home"), system_clock, steps) as lake, embedded_log(lake) as log:
        if verb == "backup":
            back_up(lake, store, log)
        elif verb == "sync":
            replicas.sync(lake, folder / "replica", log)
        else:
            assert drill(lake, store).is_ok


def told(place: Path) -> dict[str, object]:
    """Return what the lake at `place` holds, or why it cannot be opened."""
    try:
        with Lake.open(settings_at(place), system_clock) as lake:
            found: dict[str, object] = dict(content(lake))
            found["ledger"] = len(lake.state.ledger(TRADES)[0])
            found["epoch"] = identity_of(lake.state).epoch
            if (place / "log").exists():
                with embedded_log(lake) as log:
                    bounds = log.bounds(RAW_TOPIC)[0]
                    found["log"] = [bounds.first, bounds.next]
            return found
    except TickhouseError as error:
        return {"refused": str(error)}


def from_child(folder: Path, ask: Callable[[], object]) -> object:
    answer = folder / "answer.json"
    assert in_child(lambda: answer.write_text(json.dumps(ask()))) == 0
    return json.loads(answer.read_text())


def whole(folder: Path) -> dict[str, object]:
    """Make a lake, its backup and its replica in `folder`, and a copy of all beside it; return what the lake holds."""
    in_child(lambda: make(folder / "home"))
    for verb in ("backup", "sync"):
        in_child(lambda verb=verb: act(folder, verb))  # type: ignore[misc]
    found = from_child(folder, lambda: told(folder / "home"))
    shutil.copytree(folder, folder.with_name("whole"))
    assert isinstance(found, dict)
    return found


def kill(folder: Path, verb: str, place: str, boundaries: list[str]) -> dict[str, object]:
    """For each boundary: do the verb until killed there, look, do it again to its end, look again."""
    found: dict[str, object] = {}
    for boundary in boundaries:
        shutil.rmtree(folder)
        shutil.copytree(folder.with_name("whole"), folder)
        for made, by in (("store", "backup"), ("replica", "sync")):
            if verb == by:
                shutil.rmtree(folder / made)
        killed = in_child(lambda at=boundary: act(folder, verb, at))  # type: ignore[misc]
        between = from_child(folder, lambda: look(folder, place))
        finished = in_child(lambda: act(folder, verb))
        after = from_child(folder, lambda: look(folder, place))
        found[boundary] = {"killed": killed, "between": between, "finished": finished, "after": after}
    return found


def look(folder: Path, place: str) -> object:
    """Return what a verb made: the backups and what is wrong with them, or the lake at a place."""
    if place != "store":
        return {**told(folder / place), "beside": (folder / "home" / "drill").exists()}
    store = LocalStore(folder / "store")
    ids = backup_ids(store)
    with Lake.open(settings_at(folder / "home"), system_clock) as lake:
        pinned = len(pinned_files(lake))
    return {"backups": len(ids), "faults": check_backup(store, newest_backup(store)) if ids else [], "pinned": pinned}


def full(folder: Path) -> dict[str, object]:
    """Back up where no file may grow beyond 4 kB, then without the limit."""
    shutil.rmtree(folder)
    shutil.copytree(folder.with_name("whole"), folder)
    shutil.rmtree(folder / "store")
    store = LocalStore(folder / "store")

    def limited() -> object:
        with Lake.open(settings_at(folder / "home"), system_clock) as lake, embedded_log(lake) as log:
            try:
                return back_up(lake, Limited(store.root), log).id
            except StorageError as error:
                return str(error)

    refused = from_child(folder, limited)
    left = sorted(path.name for path in (folder / "store").glob("*"))
    in_child(lambda: act(folder, "backup"))
    return {"refused": refused, "left": left, "after": from_child(folder, lambda: look(folder, "store"))}


def overtaken(folder: Path, boundaries: list[str]) -> dict[str, object]:
    """For each boundary: kill the primary there, within a commit, and promote its replica; then both are written to."""

    def writes(place: Path, kill_at: str = "") -> dict[str, object]:
        try:
            with Lake.open(settings_at(place), system_clock, steps_of(kill_at)) as lake:
                grow(lake, 10, 19)
        except TickhouseError as error:
            return {"refused": str(error)}
        return told(place)

    found: dict[str, object] = {}
    for boundary in boundaries:
        shutil.rmtree(folder)
        shutil.copytree(folder.with_name("whole"), folder)
        killed = in_child(lambda at=boundary: writes(folder / "home", at))  # type: ignore[misc]
        promoted = in_child(lambda: act(folder, "promote"))
        old, new = (from_child(folder, lambda at=at: writes(folder / at)) for at in ("home", "replica"))  # type: ignore[misc]
        found[boundary] = {"killed": killed, "promoted": promoted, "old": old, "new": new}
    return found


class Limited(LocalStore):
    """A folder in which no file may grow beyond 4 kB: the system's own limit, in force while it is written to."""

    def put(self, key: str, chunks: Iterable[bytes], size: int) -> bool:
        """See Store.put."""
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
        try:
            return super().put(key, chunks, size)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def beside(folder: Path) -> dict[str, object]:
    """Back up twice while another process lands and promotes; return what the last backup restores to."""
    shutil.rmtree(folder)
    shutil.copytree(folder.with_name("whole"), folder)

    def promoting() -> None:
        with Lake.open(settings_at(folder / "home"), system_clock) as lake:
            for first in range(10, 80, 10):
                grow(lake, first, first + 9)

    def backing_up() -> None:
        for _ in range(2):
            with Lake.open(settings_at(folder / "home"), system_clock) as lake:
                back_up(lake, LocalStore(folder / "store"), None, patience_s=0.0)

    # The first child promotes, the second backs up, both at once.
    codes = at_once(promoting, backing_up)
    act(folder, "restore")

    def ask() -> object:
        with Lake.open(settings_at(folder / "there"), system_clock) as lake:
            store = LocalStore(folder / "store")
            raw, trades = (sorted(read(lake, name, ["message_seq"]).column(0).to_pylist()) for name in (RAW, TRADES))
            at = {RAW: lake.head(RAW).vector("raw")["0"], TRADES: lake.head(TRADES).vector("binance")["0"]}
            return {"raw": raw, "trades": trades, "positions": at, "faults": check_backup(store, newest_backup(store))}

    return {"codes": codes, "found": from_child(folder, ask)}


def main(arguments: list[str]) -> None:
    verb, folder, rest = arguments[0], Path(arguments[1]), arguments[2:]
    if verb == "whole":
        print(json.dumps(whole(folder)))
    elif verb == "kill":
        print(json.dumps(kill(folder, rest[0], rest[1], rest[2:])))
    elif verb == "full":
        print(json.dumps(full(folder)))
    elif verb == "overtaken":
        print(json.dumps(overtaken(folder, rest)))
    elif verb == "beside":
        print(json.dumps(beside(folder)))
    else:
        raise SystemExit(f"no verb {verb}")


if __name__ == "__main__":
    main(sys.argv[1:])
