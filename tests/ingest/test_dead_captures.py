"""A capture that was killed before it heard anything: what it was to bring is known, and missing from its start."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from pathlib import Path

import pytest

from ingest.asks import SessionWithAnswers
from ingest.capture import capture_stream
from ingest.providers.alpaca_stream import MarketStream as Alpaca
from ingest.providers.binance import MarketSession
from ingest.providers.finnhub import TradeStream
from ingest.providers.polygon_stream import MarketStream as Polygon
from ingest.providers.tiingo_stream import MarketStream as Tiingo
from ingest.providers.yahoo_stream import PriceStream
from ingest.simulator.day.incidents import Incident
from ingest.simulator.day.tape import MINUTE_NS, Day, Tape
from ingest.simulator.keyed import Keys
from lake.conditions import Where
from lake.instants import NANOS_PER_SECOND, to_datetime, to_ns
from lake.scan import read
from quality_checks.gap_bounds import parts_of_death, table_of
from quality_checks.gaps import GapStatus, KnownGap, newest_gaps
from tests.ingest.filling import fill, opened
from tests.ingest.made_day import MadeDay, StillClock
from tests.soak.simulating import OPEN_NS

DAY = Day(11, OPEN_NS, OPEN_NS + 2 * MINUTE_NS, ("AAPL", "MSFT", "BTCUSDT"))
FEEDS: dict[str, tuple[str, tuple[str, ...]]] = {"alpaca": ("iex", ("AAPL", "MSFT")), "binance": ("spot", ("BTCUSDT",))}


def session(provider: str) -> SessionWithAnswers:
    keys = Keys()
    if provider == "binance":
        return MarketSession(["btcusdt@trade"], "spot")
    return Alpaca("iex", ["AAPL", "MSFT"], keys.alpaca_key_id, keys.alpaca_secret, channels=["trades"])


class Died(Exception):
    """The end of a capture where it would wait."""


def dies(seconds: float) -> None:
    raise Died


def test_what_a_capture_never_heard_is_missing_from_its_start(tmp_path: Path) -> None:
    """Nobody answers the first connection, and the process dies there; the next begins half a minute after the open."""
    clock = StillClock(OPEN_NS)
    refused = [Incident(number, "stream", "refused", name, 0, OPEN_NS) for number, name in enumerate(FEEDS)]
    lake, log = opened(tmp_path, clock)
    with lake, log:
        for provider, (feed, _) in FEEDS.items():
            for start_s, sleep in ((-1, dies), (30, clock.sleep)):
                clock.now_ns = OPEN_NS + start_s * NANOS_PER_SECOND
                with MadeDay(DAY, refused, clock) as day, suppress(Died):
                    address = day.streamed(provider)
                    capture_stream(lake, log, session(provider), address, provider=provider, feed=feed, sleep=sleep)
        unknown = KnownGap(
            "alpaca-iex-x-gap-end", "alpaca", "iex", "", GapStatus.OPEN, "all channels: died", to_datetime(OPEN_NS)
        )
        assert parts_of_death(lake, unknown) is None, "its announcement has not landed, and is waited for"
        with MadeDay(DAY, [], clock) as day:
            fill(lake, log, day.addresses)
        gaps = {gap.gap_id.rpartition("-gap-end")[2]: gap for gap in newest_gaps(lake)}
        assert {gap.status for gap in gaps.values()} == {GapStatus.FILLED}, gaps
        assert sorted(gaps) == ["", "-trades-AAPL", "-trades-BTCUSDT", "-trades-MSFT"]
        for provider, (_, symbols) in FEEDS.items():
            for symbol in symbols:
                assert gaps[f"-trades-{symbol}"].gap_start == to_datetime(OPEN_NS - NANOS_PER_SECOND)
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
        (PriceStream(["AAPL", "MSFT"]), {"quotes"}),
    ],
)
def test_a_conversation_tells_what_it_wants_by_the_names_of_gaps(heard: SessionWithAnswers, wanted: set[str]) -> None:
    assert {table_of(channel) for channel in heard.wanted} == {f"normalized.{name}" for name in wanted}
    assert {tuple(symbols) for symbols in heard.wanted.values()} == {("AAPL", "MSFT")}


def test_binance_names_a_symbol_a_stream() -> None:
    streams = MarketSession(["btcusdt@trade", "ethusdt@depth@100ms"], "spot").wanted
    assert streams == {"btcusdt@trade": ("BTCUSDT",), "ethusdt@depth@100ms": ("ETHUSDT",)}
