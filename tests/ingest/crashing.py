"""One piece of work in a process of its own, which TICKHOUSE_KILL_AT may kill: `python -m tests.ingest.crashing WORK HOME`."""

from __future__ import annotations

import random
import sys
from pathlib import Path

from ingest.capture import capture_once, capture_pages, capture_stream
from ingest.imports import import_paths
from ingest.landing import land
from ingest.providers.binance import MarketSession, default_streams
from ingest.providers.yahoo import Chart
from ingest.simulator import Simulator
from ingest.simulator.recorded import binance_file
from lake.catalog import Lake
from lake.instants import system_clock
from lake.log.segments import SegmentLog
from lake.settings import load_settings
from tests.ingest.day_files import DAYS

EXCERPT = 2_500
POLLED = 4


def main(work: str, home: Path) -> None:
    """Do `capture` (a poll and a stream), `import`, `import-days` (the files beside `home`) or `land`, in the lake at `home`."""
    with (
        Lake.create(load_settings(home=home), system_clock) as lake,
        SegmentLog(home / "log", system_clock, min_free_bytes=1) as log,
    ):
        if work == "land":
            land(lake, log)
        elif work == "import":
            import_paths(lake, log, "binance", "spot", [binance_file("spot")])
        elif work == "import-days":
            for provider, feed, name in DAYS.values():
                import_paths(lake, log, provider, feed, [home.parent / name])
        else:
            with Simulator(excerpt=EXCERPT) as sim:
                asks = sim.yahoo_asks()[:POLLED]
                capture_once(
                    lake, "charts", lambda: capture_pages(lake, log, Chart(), asks, sim.yahoo, provider="yahoo", feed="chart")
                )
                session = MarketSession(default_streams("spot", "BTCUSDT"), "spot")
                address = sim.binance("spot")
                capture_once(
                    lake,
                    "spot",
                    lambda: capture_stream(lake, log, session, address, provider="binance", feed="spot", rng=random.Random(1)),
                )


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
