"""Streams on a clock in a hurry: a lake, a server in a thread, frames of trades; what tests of streams share."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import orjson
import pytest
from websockets.sync.server import ServerConnection, serve

from ingest.asks import Address
from ingest.capture import CaptureReport, capture_stream
from ingest.providers.binance import MarketSession
from lake.catalog import Lake
from lake.instants import system_clock
from lake.log.segments import SegmentLog
from lake.settings import load_settings
from tests.ingest.conftest import FAST

PATIENCE_S = 60.0
SPEED = 200
NEVER = 10**15
"""Of a session whose silence is not what is tested: half a minute of this clock is over in 0.15 s."""


class Hurry:
    """A clock 200 times as fast as time: what takes a minute is over in 0.3 s. Calm once there is nothing to wait for."""

    def __init__(self) -> None:
        self._now = (system_clock(), system_clock(), SPEED)

    def __call__(self) -> int:
        at, since, speed = self._now
        return at + (system_clock() - since) * speed

    def go(self, speed: int) -> None:
        """Go on from now at `speed`: at 1, a pause of a busy machine is not taken for a silent minute."""
        self._now = (self(), system_clock(), speed)


@pytest.fixture(scope="module")
def hurry() -> Hurry:
    """The clock of a module's streams."""
    return Hurry()


@pytest.fixture(scope="module")
def lake_in_a_hurry(tmp_path_factory: pytest.TempPathFactory, hurry: Hurry) -> Iterator[Lake]:
    """A module's lake on that clock."""
    with Lake.create(load_settings(home=tmp_path_factory.mktemp("lake")), hurry) as lake:
        yield lake


@pytest.fixture
def fast_lake(lake_in_a_hurry: Lake, hurry: Hurry) -> Lake:
    """A lake whose clock begins each test in a hurry."""
    hurry.go(SPEED)
    return lake_in_a_hurry


@contextmanager
def served(handle: Callable[[ServerConnection], None]) -> Iterator[Address]:
    """Serve connections, each in a thread of its own."""
    with serve(handle, "127.0.0.1", 0, compression=None) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield Address("http://127.0.0.1:9", f"ws://127.0.0.1:{server.socket.getsockname()[1]}")
        finally:
            server.shutdown()
            thread.join(PATIENCE_S)


def listen(lake: Lake, log: SegmentLog, session: MarketSession, address: Address, **more: object) -> CaptureReport:
    """Capture a session of Binance, with little patience between connections."""
    return capture_stream(
        lake,
        log,
        session,
        address,
        provider="binance",
        feed="spot",
        rng=random.Random(1),
        backoff=FAST,
        **more,  # type: ignore[arg-type]
    )


def quiet_session() -> MarketSession:
    """Return a session whose silence is not what is tested."""
    return MarketSession(["btcusdt@trade"], "spot", with_snapshot=False, stale_after_ns=NEVER)


def trade(number: int, symbol: str = "BTCUSDT", padding: int = 0) -> bytes:
    """Return a frame of one trade."""
    data = {"e": "trade", "s": symbol, "t": number, "p": "1.0", "q": "1.0", "T": 1, "x": "x" * padding}
    return orjson.dumps({"stream": f"{symbol.lower()}@trade", "data": data})


def end(connection: ServerConnection) -> None:
    """End a connection as the end of a recording."""
    connection.close(1000, "end of recording")
