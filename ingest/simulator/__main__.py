"""`python -m ingest.simulator`: the simulator in the foreground, its addresses as one line of JSON on stdout."""

from __future__ import annotations

import argparse
import signal
import sys
import threading
from pathlib import Path
from types import FrameType

import orjson

from ingest.simulator.faults import DEMO, Faults
from ingest.simulator.server import PORTS, Simulator
from lake.errors import TickhouseError


def main(arguments: list[str] | None = None) -> int:
    """Serve until SIGINT or SIGTERM, then print the faults done; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m ingest.simulator", description=__doc__)
    parser.add_argument("--pace", choices=("fast", "recorded"), default="recorded", help="how fast streams are replayed")
    parser.add_argument("--excerpt", type=int, help="only the first so many messages of each stream")
    parser.add_argument("--faults", help="file with a fault plan as JSON, or `demo` for the demo's")
    parser.add_argument(
        "--ports", type=int, nargs="*", default=(), metavar="PORT", help=f"of {', '.join(PORTS)}; 0: any free one"
    )
    chosen = parser.parse_args(arguments)
    stopped = threading.Event()

    def stop(number: int, frame: FrameType | None) -> None:
        stopped.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    try:
        with Simulator(_plan(chosen.faults), pace=chosen.pace, excerpt=chosen.excerpt, ports=tuple(chosen.ports)) as sim:
            print(orjson.dumps(sim.addresses()).decode(), flush=True)
            stopped.wait()
            print(orjson.dumps({"faults": sim.report()}).decode(), flush=True)
    except (TickhouseError, OSError, orjson.JSONDecodeError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def _plan(chosen: str | None) -> Faults:
    if chosen is None:
        return Faults()
    return DEMO if chosen == "demo" else Faults.from_document(orjson.loads(Path(chosen).read_bytes()))


if __name__ == "__main__":
    sys.exit(main())
