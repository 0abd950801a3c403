"""The simulator: recorded real payloads behind real sockets on loopback, well behaved or not as planned.

with Simulator(faults=DEMO, excerpt=2_000) as sim:
    capture_pages(lake, log, Chart(), sim.yahoo_asks(), sim.yahoo, provider="yahoo", feed="chart")
"""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
from collections.abc import Awaitable, Callable, Sequence
from types import TracebackType
from typing import Any, Self

import uvicorn
from websockets.asyncio.server import Server, serve

from ingest.asks import Address, Ask
from ingest.providers import alpaca, alpha_vantage, finnhub
from ingest.simulator.faults import Faults, Market
from ingest.simulator.keyed import KeyedStream, Keys
from ingest.simulator.keyed_stream import KeyedReplay
from ingest.simulator.limits import Limited, Limits
from ingest.simulator.recorded import Recording, binance, charts
from ingest.simulator.report import FaultReport
from ingest.simulator.stream import MarketReplay, Pace
from ingest.simulator.web import web_app
from lake.errors import TickhouseError
from lake.instants import Clock, system_clock

HOST = "127.0.0.1"
PORTS = ("http", "spot", "usdm", "alpaca", "finnhub", "polygon", "yahoo", "tiingo")
"""Names of the servers, as `addresses` has them."""
_START_S = 30.0


class Simulator:
    """Servers in a thread of their own, up between `__enter__` and `__exit__`.

    faults   what goes wrong; nothing by default
    clock    time of the recorded pace
    sleep    awaited between frames at the recorded pace, and by slow answers
    pace     `recorded`: as far apart as they were received; `fast`: as fast as they are read
    excerpt  only the first so many messages of each market's recording
    ports    of the servers in the order of `PORTS`; 0, or none given, takes a free one
    streams  which of the streams of `keyed_stream.py` are served
    keys     what they take for keys
    limits   counts every call and refuses those over a provider's limits; none: nobody counts
    """

    def __init__(
        self,
        faults: Faults | None = None,
        clock: Clock = system_clock,
        pace: Pace = "fast",
        excerpt: int | None = None,
        *,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        markets: Sequence[Market] = ("spot", "usdm"),
        ports: Sequence[int] = (),
        streams: Sequence[KeyedStream] = ("alpaca", "finnhub", "polygon", "yahoo", "tiingo"),
        keys: Keys | None = None,
        limits: Limits | None = None,
    ) -> None:
        self._faults = Faults() if faults is None else faults
        self._clock, self._pace, self._sleep = clock, pace, sleep
        self._excerpt = excerpt
        self._markets = tuple(markets)
        self._ports = dict(zip(PORTS, ports, strict=False))
        self._streams, self.keys = tuple(streams), Keys() if keys is None else keys
        self._limits = limits
        self._report = FaultReport()
        self._thread = threading.Thread(target=self._run, name="simulator", daemon=True)
        self._ready = threading.Event()
        self._failure: BaseException | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._addresses: dict[str, str] = {}

    def __enter__(self) -> Self:
        self._thread.start()
        if not self._ready.wait(_START_S):
            raise TickhouseError(f"the simulator was not up after {_START_S} s")
        if self._failure is not None:
            raise TickhouseError(f"the simulator did not start: {self._failure}") from self._failure
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._loop is not None and self._stop is not None and self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(_START_S)

    @property
    def yahoo(self) -> Address:
        """Where Yahoo answers and streams."""
        return Address(self._addresses["http"], self._addresses.get("yahoo"))

    def binance(self, market: Market) -> Address:
        """Where a market of Binance streams, and answers depth requests."""
        return Address(self._addresses["http"], self._addresses[market])

    @property
    def alpaca(self) -> Address:
        """Where Alpaca answers and streams, with the keys it takes."""
        secrets = alpaca.credentials(self.keys.alpaca_key_id, self.keys.alpaca_secret)
        return Address(self._addresses["http"], self._addresses.get("alpaca"), credentials=secrets)

    @property
    def finnhub(self) -> Address:
        """Where Finnhub answers quotes, with the token it takes."""
        return Address(self._addresses["http"], credentials=finnhub.credentials(self.keys.finnhub_token))

    @property
    def finnhub_stream(self) -> Address:
        """Where Finnhub streams, with the token it takes."""
        secrets = finnhub.stream_credentials(self.keys.finnhub_token)
        return Address(self._addresses["http"], self._addresses.get("finnhub"), credentials=secrets)

    @property
    def alpha_vantage(self) -> Address:
        """Where Alpha Vantage answers, with the key it takes."""
        return Address(self._addresses["http"], credentials=alpha_vantage.credentials(self.keys.alpha_vantage_key))

    def recording(self, market: Market) -> Recording:
        """Return what is replayed of a market."""
        return binance(market, self._excerpt)

    def yahoo_asks(self) -> list[Ask]:
        """Return the asks that get every recorded chart, by file name."""
        return [chart.ask for chart in charts()]

    def report(self) -> list[dict[str, Any]]:
        """Return the faults done so far, in order; a fault that repeats on a replayed frame stands once."""
        return self._report.done()

    def summary(self) -> list[dict[str, Any]]:
        """Return how often each fault was done, per path or market."""
        return self._report.summary()

    def addresses(self) -> dict[str, str]:
        """Return every address: http, one a market of Binance, one a stream of `keyed_stream.py`."""
        return dict(self._addresses)

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as error:
            self._failure = error
        finally:
            self._ready.set()

    async def _serve(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        logging.getLogger("websockets.server").setLevel(logging.CRITICAL)  # dropped sockets are its daily bread
        servers: list[tuple[MarketReplay | KeyedReplay, Server]] = [await self._serve_market(each) for each in self._markets]
        servers += [await self._serve_stream(each) for each in self._streams]
        app = web_app(self._faults, self._report, self._markets, self._excerpt, self._sleep, self.keys)
        app = app if self._limits is None else Limited(app, self._limits)
        listener = socket.create_server((HOST, self._ports.get("http", 0)))
        self._addresses["http"] = f"http://{HOST}:{listener.getsockname()[1]}"
        config = uvicorn.Config(
            app,
            log_config=None,
            log_level="critical",
            access_log=False,
            lifespan="off",
            ws="none",
            date_header=False,
            server_header=False,
            timeout_graceful_shutdown=1,
        )
        web = uvicorn.Server(config)
        serving = asyncio.create_task(web.serve(sockets=[listener]))
        while not web.started and not serving.done():
            await asyncio.sleep(0.01)
        self._ready.set()
        await self._stop.wait()
        web.should_exit = True
        for replay, server in servers:
            replay.stop()
            server.close(close_connections=True)
        for _, server in servers:
            await server.wait_closed()
        await serving
        listener.close()

    async def _serve_stream(self, stream: KeyedStream) -> tuple[KeyedReplay, Server]:
        is_paced = self._pace == "recorded"
        replay = KeyedReplay(stream, self.keys, self._faults, self._report, sleep=self._sleep, is_paced=is_paced)
        server = await serve(replay.handle, HOST, self._ports.get(stream, 0), compression=None, close_timeout=1.0)
        self._addresses[stream] = f"ws://{HOST}:{next(iter(server.sockets)).getsockname()[1]}"
        return replay, server

    async def _serve_market(self, market: Market) -> tuple[MarketReplay, Server]:
        replay = MarketReplay(
            market,
            self.recording(market),
            self._faults,
            self._report,
            clock=self._clock,
            sleep=self._sleep,
            pace=self._pace,
        )
        server = await serve(replay.handle, HOST, self._ports.get(market, 0), compression=None, close_timeout=1.0)
        self._addresses[market] = f"ws://{HOST}:{next(iter(server.sockets)).getsockname()[1]}"
        return replay, server
