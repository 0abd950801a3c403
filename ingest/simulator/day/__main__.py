"""`python -m ingest.simulator.day DOCUMENT`: serve a simulated day until the end of input; the addresses are the first line.

DOCUMENT is JSON: {"day": Day, "incidents": [Incident, ...], "pace": Pace}, by the fields of these classes.
"""

from __future__ import annotations

import asyncio
import sys

import msgspec
import orjson

from ingest.simulator.day.incidents import Incident
from ingest.simulator.day.server import DayServer
from ingest.simulator.day.tape import Day
from ingest.simulator.keyed import Keys
from lake.instants import Pace


class _Plan(msgspec.Struct):
    day: Day
    incidents: tuple[Incident, ...]
    pace: Pace


async def _serve(plan: _Plan) -> None:
    async def sleep(seconds: float) -> None:
        await asyncio.sleep(seconds / plan.pace.rate)

    stop = asyncio.Event()
    server = DayServer(plan.day, plan.incidents, Keys(), clock=plan.pace.clock, sleep=sleep)
    loop = asyncio.get_running_loop()
    loop.add_reader(sys.stdin.fileno(), stop.set)  # readable at its end: whoever started us is gone
    await server.run(lambda addresses: print(orjson.dumps(addresses).decode(), flush=True), stop)


if __name__ == "__main__":
    asyncio.run(_serve(msgspec.json.decode(sys.argv[1], type=_Plan)))
