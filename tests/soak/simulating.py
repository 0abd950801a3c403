"""The simulated day in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self

import httpx
import msgspec

from ingest.asks import Address
from ingest.providers import finnhub
from ingest.reach import Reach, simulated
from ingest.simulator.day.incidents import Incident
from ingest.simulator.day.tape import Day
from ingest.simulator.keyed import Keys
from lake.instants import NANOS_PER_SECOND, Pace, to_ns

OPEN_NS = to_ns(datetime(2026, 11, 20, 14, 30, tzinfo=UTC))
"""New York opens, on a Friday without a holiday."""
SYMBOLS = ("AAPL", "MSFT", "BTCUSDT")


def day_of(seed: int, minutes: float, trades_a_minute: float = 30.0) -> Day:
    """Return a day that opens with New York and lasts `minutes`."""
    return Day(seed, OPEN_NS, OPEN_NS + round(minutes * 60 * NANOS_PER_SECOND), SYMBOLS, trades_a_minute)


class DayProcess:
    """A simulator process: loading from `__enter__` on, up from `begin`, gone at `__exit__`."""

    def __init__(self, day: Day, incidents: Sequence[Incident]) -> None:
        self._day, self._incidents = day, tuple(incidents)
        self._process: subprocess.Popen[str] | None = None
        self.addresses: dict[str, str] = {}

    def __enter__(self) -> Self:
        command = [sys.executable, "-m", "ingest.simulator.day"]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        return self

    def wait(self) -> None:
        """Return once its modules are loaded."""
        assert self._process is not None and self._process.stdout is not None
        assert self._process.stdout.readline() == "ready\n", "the simulated day did not load"

    def begin(self, pace: Pace) -> None:
        """Let the day go by on a clock; it can be reached on return."""
        assert self._process is not None and self._process.stdin is not None and self._process.stdout is not None
        plan = {"day": self._day, "incidents": self._incidents, "pace": pace}
        self._process.stdin.write(msgspec.json.encode(plan).decode() + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        assert line, "the simulated day did not start"
        self.addresses = json.loads(line)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        assert self._process is not None and self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait(60)

    @property
    def reach(self) -> Reach:
        """How its providers are reached."""
        return simulated(self.addresses, Keys())

    def report(self) -> dict[str, Any]:
        """Return what it pushed, and what it was asked."""
        found = httpx.get(self.addresses["http"] + "/_day", trust_env=False, timeout=60.0).json()
        return dict(found)

    def streamed(self, provider: str) -> Address:
        """Where a provider is listened to."""
        asked = self.reach.asked(provider, "")
        address = replace(asked, stream=self.addresses[provider])
        return (
            replace(address, credentials=finnhub.stream_credentials(Keys().finnhub_token)) if provider == "finnhub" else address
        )
