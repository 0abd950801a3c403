"""A writer that cannot be killed: `python -m tests.crash.fencing HOME` prints what became of it, as JSON.

The zombie works on a host of another name: it takes the lease, stages a batch and is stopped. The successor waits until the
lease is silent, takes it by force, and does nothing else. Then the zombie wakes and tries to publish.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

from lake.catalog import Lake
from lake.errors import TickhouseError
from lake.fences import fences_of
from lake.instants import system_clock
from lake.publish import publish, stage
from lake.settings import load_settings
from tests.crash.children import Child, Say
from tests.lake.made import trade_batch

TRADES = "normalized.trades"


def zombie(home: Path, say: Say, *, is_stopped: bool) -> None:
    """Take the lease, stage, stop where the brief says, publish."""
    settings = load_settings(home=home, host="elsewhere", lease_expiry_s=0.4)
    with Lake.open(settings, system_clock) as lake, lake.state.lease(TRADES):
        staged = stage(lake, trade_batch(0, 9))
        say("staged")
        if is_stopped:
            os.kill(os.getpid(), signal.SIGSTOP)
        try:
            publish(lake, staged)
            say("published")
        except TickhouseError as error:
            say(f"refused {type(error).__name__}: {error}")


def successor(home: Path, say: Say, timeout_s: float) -> None:
    """Take the lease, tell how many were fenced off, leave the table as it is."""
    with Lake.open(load_settings(home=home, host="here", lease_expiry_s=0.4), system_clock) as lake:
        try:
            with lake.state.lease(TRADES, timeout_s):
                say(f"taken {len(fences_of(lake.table(TRADES).metadata))}")
        except TickhouseError as error:
            say(f"refused {type(error).__name__}")


def told(home: Path, say: Say) -> None:
    """Tell what the table holds."""
    with Lake.open(load_settings(home=home), system_clock) as lake:
        say(json.dumps(lake.head(TRADES).position))


def made(home: Path) -> None:
    """Make the lake."""
    Lake.create(load_settings(home=home), system_clock).close()


def main(home: Path) -> dict[str, object]:
    """Run both, and a living holder too; returns what they said."""
    words = home.with_name("last words")
    Child.fork("lake", lambda say, wait: made(home), words).end()
    asleep = Child.fork("zombie", lambda say, wait: zombie(home, say, is_stopped=True), words)
    assert asleep.is_stopped(), words.read_text()
    impatient = Child.fork("impatient", lambda say, wait: successor(home, say, 0.1), words)
    impatient.end()
    taker = Child.fork("successor", lambda say, wait: successor(home, say, 60.0), words)
    taker.end()
    asleep.send(signal.SIGCONT)
    code = asleep.end()
    after = Child.fork("after", lambda say, wait: told(home, say), words)
    after.end()
    return {"impatient": impatient.lines, "taker": taker.lines, "zombie": asleep.lines, "code": code, "position": after.lines}


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]))))
