"""A provider in a process of its own, with an exact rate: `python -m tests.benchmarks.paced_feed KIND RATE SECONDS`.

Prints its address, serves one connection, and prints where every second's stamps are when it is through. Frames are made
before and written as they are, a millisecond's together. The time of a frame is when it was *due*: whoever takes frames late
is told so, also when the socket did not take them.
"""

from __future__ import annotations

import asyncio
import sys
import time
from array import array
from urllib.parse import urlsplit

import orjson
from websockets.asyncio.server import ServerConnection, serve
from websockets.frames import Frame, Opcode

STEP_S = 0.001


def frames(kind: str, rate: int, count: int) -> list[bytes]:
    """Return so many different frames as they stand on the wire, their instants those of now: what is told late costs less."""
    now_ms = time.time_ns() // 1_000_000
    times = [now_ms + number * 1_000 // rate for number in range(count)]
    if kind == "single":
        bodies = [
            b'{"stream":"btcusdt@trade","data":{"e":"trade","E":%d,"s":"BTCUSDT","t":%d,"p":"16500.10000000",'
            b'"q":"0.00100000","T":%d,"m":true,"M":true}}' % (at, 10**9 + number, at)
            for number, at in enumerate(times)
        ]
    else:
        bodies = [
            orjson.dumps(
                {
                    "data": [
                        {"c": ["1"], "p": 7296.89 + each, "s": f"SYM{each}", "t": at, "v": 0.011467 + number}
                        for each in range(10)
                    ],
                    "type": "trade",
                }
            )
            for number, at in enumerate(times)
        ]
    return [Frame(Opcode.TEXT, body).serialize(mask=False) for body in bodies]


async def feed(kind: str, rate: int, seconds: float) -> None:
    """Serve one connection: frames at `rate` a second from its first word on, or at once where the address subscribes."""
    wire = await asyncio.to_thread(frames, kind, rate, int(rate * seconds))
    done = asyncio.Event()
    stamps = array("q")
    late_s = 0.0

    async def handle(connection: ServerConnection) -> None:
        nonlocal late_s
        path = urlsplit(connection.request.path if connection.request is not None else "/")
        if not path.query.startswith("streams="):
            await connection.recv()
        began, began_ns, sent = time.monotonic() + STEP_S, time.time_ns(), 0
        while sent < len(wire):
            now = time.monotonic()
            due = max(sent, min(len(wire), int((now - began) * rate)))
            late_s = max(late_s, now - began - sent / rate if due > sent else 0.0)
            stamps.extend(began_ns + int((STEP_S + number / rate) * 1e9) for number in range(sent, due))
            connection.transport.write(b"".join(wire[sent:due]))
            sent = due
            await connection.drain()
            await _until(began + (sent + 1) / rate)
        await connection.close(1000, "end of recording")
        done.set()

    async with serve(handle, "127.0.0.1", 0, compression=None, ping_interval=None) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        print(orjson.dumps({"address": f"ws://127.0.0.1:{port}"}).decode(), flush=True)
        await done.wait()
    spent = time.process_time()
    print(orjson.dumps({"late_ms": late_s * 1e3, "cpu_s": spent}).decode(), flush=True)
    sys.stdout.buffer.write(stamps.tobytes())
    sys.stdout.buffer.flush()


async def _until(moment: float) -> None:
    """Wait for a moment of the monotonic clock, a step at least."""
    loop = asyncio.get_running_loop()
    over = loop.create_future()
    loop.call_later(max(STEP_S, moment - time.monotonic()), over.set_result, None)
    await over


if __name__ == "__main__":
    asyncio.run(feed(sys.argv[1], int(sys.argv[2]), float(sys.argv[3])))
