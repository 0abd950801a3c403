"""What a capture was to bring and never heard: it is known, and missing from its start, whatever came in between."""

from __future__ import annotations

import random
from collections import Counter
from contextlib import suppress
from pathlib import Path

import pytest

from ingest.asks import Request, SessionWithAnswers
from ingest.capture import capture_stream
from ingest.permits import FREE, Leave
from ingest.providers.alpaca_stream import MarketStream as Alpaca
from ingest.providers.binance import MarketSession
from ingest.providers.finnhub import TradeStream
from ingest.providers.polygon_stream import MarketStream as Polygon
from ingest.providers.tiingo_stream import MarketStream as Tiingo
from ingest.simulator.day.incidents import Incident
from ingest.simulator.day.tape import MINUTE_NS, Day, Tape, Trade
from ingest.simulator.day.wires import FRAMES
from ingest.simulator.keyed import Keys
from ingest.transport.backoff import Backoff
from ingest.transport.http import Call
from lake.conditions import Where
from lake.instants import NANOS_PER_SECOND, to_datetime, to_ns
from lake.scan import read
from quality_checks.gap_bounds import parts_of_death, table_of
from quality_checks.gaps import GapStatus, KnownGap, newest_gaps
from tests.ingest.filling import fill, opened
from tests.ingest.made_day import MadeDay, StillClock
from tests.soak.simulating import OPEN_NS

DAY = Day(11, OPEN_NS, OPEN_NS + 2 * MINUTE_NS, ("AAPL", "MSFT", "BTCUSDT"))
SLOW = Backoff(attempts=10, first_s=60.0, ceiling_s=60.0)
TRADE = Trade(7, OPEN_NS + NANOS_PER_SECOND, 19_500, 100)
FEEDS: dict[str, tuple[str, tuple[str, ...]]] = {"alpaca": ("iex", ("AAPL", "MSFT")), "binance": ("spot", ("BTCUSDT",))}


def session(provider: str) -> SessionWithAnswers:
    keys = Keys()
    if provider == "binance":
        return MarketSession(["btcusdt@trade"], "spot")
    return Alpaca("iex", ["AAPL", "MSFT"], keys.alpaca_key_id, keys.alpaca_secret, channels=["trades"])


class Died(Exception):
    """The end of a capture."""


class Deadly:
    """Permits that end the process of who asks for leave to connect (`Permits`)."""

    def before(self, request: Request) -> Leave:
        raise Died

    def after(self, request: Request, call: Call) -> None:
        return None

    def unspent(self, request: Request) -> None:
        return None


def test_what_a_capture_never_heard_is_missing_from_its_start(tmp_path: Path) -> None:
    """A process dies before it connects; the next begins half a minute after the open, and is refused for ten seconds."""
    clock = StillClock(OPEN_NS)
    refused_ns = OPEN_NS + 40 * NANOS_PER_SECOND
    refused = [Incident(number, "stream", "refused", name, 0, refused_ns) for number, name in enumerate(FEEDS)]
    lake, log = opened(tmp_path, clock)
    with lake, log:
        for provider, (feed, _) in FEEDS.items():
            for start_s, permits in ((-1, Deadly()), (30, FREE)):
                clock.now_ns = OPEN_NS + start_s * NANOS_PER_SECOND
                with MadeDay(DAY, refused, clock) as day, suppress(Died):
                    capture_stream(
                        lake, log, session(provider), day.streamed(provider), provider=provider, feed=feed, sleep=clock.sleep,
                        backoff=SLOW, rng=random.Random(1), permits=permits,
                    )  # fmt: skip
        unknown = KnownGap(
            "alpaca-iex-x-gap-end", "alpaca", "iex", "", GapStatus.OPEN, "all channels: died", to_datetime(OPEN_NS)
        )
        assert parts_of_death(lake, unknown) is None, "its announcement has not landed, and is waited for"
        with MadeDay(DAY, [], clock) as day:
            fill(lake, log, day.addresses)
        gaps = newest_gaps(lake)
        assert {gap.status for gap in gaps} == {GapStatus.FILLED}, gaps
        starts = Counter((gap.symbol, gap.gap_start) for gap in gaps if gap.symbol)
        dead, late = (to_datetime(OPEN_NS + at * NANOS_PER_SECOND) for at in (-1, 30))
        assert starts == Counter((symbol, at) for _, symbols in FEEDS.values() for symbol in symbols for at in (dead, late))
        for provider, (_, symbols) in FEEDS.items():
            for symbol in symbols:
                where = [Where("provider", "=", provider), Where("symbol", "=", symbol)]
                kept = Counter(to_ns(at) for at in read(lake, "normalized.trades", ["ts_event"], where)["ts_event"].to_pylist())
                assert kept == Counter(trade.ts_ns for trade in Tape(DAY, symbol).trades), (provider, symbol)


@pytest.mark.parametrize(
    ("heard", "wanted"),
    [
        (Alpaca("sip", ["AAPL", "MSFT"], "id", "secret", channels=["trades", "quotes"]), {"trades", "quotes"}),
        (TradeStream(["AAPL", "MSFT"]), {"trades"}),
        (Polygon(["AAPL", "MSFT"], "key"), {"trades", "quotes", "bars"}),
        (Tiingo("iex", ["AAPL", "MSFT"], "token"), {"trades", "quotes"}),
    ],
)
def test_a_conversation_tells_what_it_wants_by_the_names_of_gaps(heard: SessionWithAnswers, wanted: set[str]) -> None:
    assert {table_of(channel) for channel in heard.wanted} == {f"normalized.{name}" for name in wanted}
    assert {tuple(symbols) for symbols in heard.wanted.values()} == {("AAPL", "MSFT")}


def test_binance_names_a_symbol_a_stream() -> None:
    streams = MarketSession(["btcusdt@trade", "ethusdt@depth@100ms"], "spot").wanted
    assert streams == {"btcusdt@trade": ("BTCUSDT",), "ethusdt@depth@100ms": ("ETHUSDT",)}


QUIET: dict[str, tuple[SessionWithAnswers, bytes]] = {
    "alpaca": (Alpaca("iex", ["AAPL", "MSFT"], "id", "secret", channels=["trades"]), FRAMES["alpaca"]("AAPL", TRADE)),
    "binance": (MarketSession(["btcusdt@trade", "ethusdt@trade"], "spot"), FRAMES["binance"]("BTCUSDT", TRADE)),
    "finnhub": (TradeStream(["AAPL", "MSFT"]), FRAMES["finnhub"]("AAPL", TRADE)),
}
"""A conversation about two symbols, and a frame of one of them."""


@pytest.mark.parametrize("provider", sorted(QUIET))
def test_a_symbol_that_never_spoke_has_one_gap_from_the_start_when_the_connection_drops(provider: str) -> None:
    conversation, frame = QUIET[provider]
    conversation.listening(OPEN_NS)
    conversation.connected(OPEN_NS + NANOS_PER_SECOND)
    conversation.receive(frame, OPEN_NS + 2 * NANOS_PER_SECOND)
    assert conversation.gaps() == []
    conversation.disconnected(OPEN_NS + 3 * NANOS_PER_SECOND, "socket dropped")
    conversation.connected(OPEN_NS + 9 * NANOS_PER_SECOND)
    conversation.disconnected(OPEN_NS + 10 * NANOS_PER_SECOND, "socket dropped")
    spoke, silent = conversation.gaps()
    assert silent.symbol in ("MSFT", "ETHUSDT") and spoke.symbol in ("AAPL", "BTCUSDT")
    assert (silent.first_missing, silent.status) == (to_datetime(OPEN_NS).isoformat(), "open")
