"""The simulated day in a thread, on a clock that only moves when somebody would wait: no test waits for time."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from dataclasses import replace
from types import TracebackType
from typing import Any, Self

from ingest.asks import Address
from ingest.providers import finnhub
from ingest.reach import Reach, simulated
from ingest.simulator.day.incidents import Incident
from ingest.simulator.day.server import DayServer
from ingest.simulator.day.tape import Day
from ingest.simulator.keyed import Keys
from lake.instants import NANOS_PER_SECOND


class StillClock:
    """An instant that moves by what is slept."""

    def __init__(self, now_ns: int) -> None:
        self.now_ns = now_ns
        self._lock = threading.Lock()

    def __call__(self) -> int:
        return self.now_ns

    def sleep(self, seconds: float) -> None:
        """Move on at once."""
        with self._lock:
            self.now_ns += round(seconds * NANOS_PER_SECOND)

    async def sleep_async(self, seconds: float) -> None:
        """Move on, and let others run."""
        self.sleep(seconds)
        loop = asyncio.get_running_loop()
        turn = loop.create_future()
        loop.call_soon(turn.set_result, None)
        await turn


class MadeDay:
    """Servers of one simulated day, up between `__enter__` and `__exit__`."""

    def __init__(self, day: Day, incidents: Sequence[Incident], clock: StillClock) -> None:
        self._server = DayServer(day, incidents, Keys(), clock=clock, sleep=clock.sleep_async)
        self._thread = threading.Thread(target=self._run, name="made day", daemon=True)
        self._up = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self.addresses: dict[str, str] = {}

    def _run(self) -> None:
        async def serve() -> None:
            self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
            await self._server.run(self._told, self._stop)

        asyncio.run(serve())

    def _told(self, addresses: dict[str, str]) -> None:
        self.addresses = addresses
        self._up.set()

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._up.wait(60), "the day did not begin"
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        assert self._loop is not None and self._stop is not None
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(60)

    @property
    def reach(self) -> Reach:
        """How its providers are reached."""
        return simulated(self.addresses, Keys())

    def report(self) -> dict[str, Any]:
        """What it pushed, and what it was asked."""
        return self._server.report()

    def streamed(self, provider: str) -> Address:
        """Where a provider is listened to."""
        address = replace(self.reach.asked(provider, ""), stream=self.addresses[provider])
        if provider != finnhub.PROVIDER:
            return address
        return replace(address, credentials=finnhub.stream_credentials(Keys().finnhub_token))
