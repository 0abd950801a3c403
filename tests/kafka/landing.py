"""A landing that stops itself, its files written and not committed: `python -m tests.kafka.landing HOME STATE LOG`."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from ingest.landing import land
from lake.catalog import Lake
from lake.instants import system_clock
from lake.log.opening import open_log
from lake.settings import load_settings
from lake.steps import Steps


class StopAt(Steps):
    """Stops this process the first time it reaches a boundary; whoever sends SIGCONT lets it go on."""

    def __init__(self, name: str) -> None:
        self._name, self._is_done = name, False

    def reached(self, name: str) -> None:
        if name == self._name and not self._is_done:
            self._is_done = True
            os.kill(os.getpid(), signal.SIGSTOP)


def main(home: Path, state_url: str, log_url: str) -> None:
    """Land what the log holds into the lake at `home`, with a state of its own where `state_url` is given."""
    with Lake.create(load_settings(home=home, state_url=state_url, log_url=log_url), system_clock) as lake:
        lake.steps = StopAt("land.files")
        print(land(lake, open_log(lake.settings, system_clock)).messages, flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3])
