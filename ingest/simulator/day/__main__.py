"""`python -m ingest.simulator.day`: serve a simulated day until the end of input.

It says `ready` once its modules are loaded, takes the day as a line of JSON ({"day": Day, "incidents": [Incident, ...], "pace":
Pace}, by the fields of these classes), and tells its addresses in a line: a pace that begins late has not run while it loaded.
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
    print("ready", flush=True)
    asyncio.run(_serve(msgspec.json.decode(sys.stdin.readline(), type=_Plan)))
