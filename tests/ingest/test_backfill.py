"""What a stream lost is asked for again, and then stands in the lake once: live with drops + backfill = uninterrupted."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

import pytest

from ingest.asks import SessionWithAnswers
from ingest.capture import capture_stream
from ingest.providers.alpaca_stream import MarketStream
from ingest.providers.binance import MarketSession
from ingest.providers.finnhub import TradeStream
from ingest.simulator.day.incidents import Incident
from ingest.simulator.day.tape import MINUTE_NS, Day, Tape
from ingest.simulator.day.wires import FIRST_ID
from ingest.simulator.keyed import Keys
from ingest.transport.backoff import Backoff
from lake.catalog import Lake
from lake.conditions import Where
from lake.instants import NANOS_PER_SECOND, to_ns
from lake.log.segments import SegmentLog
from lake.scan import read
from quality_checks.gaps import GapStatus, newest_gaps
from tests.ingest.filling import fill, opened, turn
from tests.ingest.made_day import MadeDay, StillClock

OPEN_NS = to_ns(datetime(2026, 11, 20, 14, 30, tzinfo=UTC))
DAY = Day(7, OPEN_NS, OPEN_NS + 4 * MINUTE_NS, ("AAPL", "MSFT", "BTCUSDT"))
SLOW = Backoff(attempts=10, first_s=60.0, ceiling_s=60.0)
TRADES = "normalized.trades"


def outages() -> list[Incident]:
    """Each stream loses its socket twice; the capture waits for a while before it connects again."""
    made: list[Incident] = []
    for minute in (1, 2):
        for provider in ("binance", "alpaca", "finnhub"):
            start = OPEN_NS + minute * MINUTE_NS
            made.append(Incident(len(made), "stream", "dropped", provider, start, start + NANOS_PER_SECOND))
    return made


@dataclass
class Lost:
    """A lake that listened through the outages, and where the day can still be asked."""

    lake: Lake
    log: SegmentLog
    addresses: dict[str, str]
    heard: dict[tuple[str, str], Counter[tuple[int, object]]]


def sessions() -> dict[str, tuple[str, SessionWithAnswers]]:
    keys = Keys()
    return {
        "binance": ("spot", MarketSession(["btcusdt@trade"], "spot")),
        "alpaca": ("iex", MarketStream("iex", ["AAPL", "MSFT"], keys.alpaca_key_id, keys.alpaca_secret, channels=["trades"])),
        "finnhub": ("trades", TradeStream(["AAPL", "MSFT"])),
    }


@pytest.fixture(scope="module")
def lost(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lost]:
    clock = StillClock(OPEN_NS)
    lake, log = opened(tmp_path_factory.mktemp("lost"), clock)
    with lake, log:
        for provider, (feed, session) in sessions().items():
            clock.now_ns = OPEN_NS - NANOS_PER_SECOND
            with MadeDay(DAY, outages(), clock) as day:
                capture_stream(
                    lake, log, session, day.streamed(provider), provider=provider, feed=feed, sleep=clock.sleep,
                    rng=random.Random(1), backoff=SLOW,
                )  # fmt: skip
        turn(lake, log)
        heard = {each: rows_of(lake, *each) for each in FEEDS}
        with MadeDay(DAY, [], clock) as day:
            yield Lost(lake, log, day.addresses, heard)


FEEDS = (("binance", "BTCUSDT"), ("alpaca", "AAPL"), ("alpaca", "MSFT"), ("finnhub", "AAPL"), ("finnhub", "MSFT"))


def rows_of(lake: Lake, provider: str, symbol: str) -> Counter[tuple[int, object]]:
    """Trades of the lake: instant in ms and price, each with how often it stands there."""
    where = [Where("provider", "=", provider), Where("symbol", "=", symbol)]
    rows = read(lake, TRADES, ["ts_event", "price"], where).to_pylist()
    return Counter((to_ns(row["ts_event"]) // 1_000_000, row["price"] * 100) for row in rows)


def told(symbol: str) -> Counter[tuple[int, object]]:
    """The same of what happened."""
    return Counter((trade.ts_ms, trade.cents) for trade in Tape(DAY, symbol).trades)


def test_live_with_drops_and_backfill_is_the_uninterrupted_recording(lost: Lost) -> None:
    for (provider, symbol), heard in lost.heard.items():
        assert heard < told(symbol), f"{provider} {symbol} lost nothing: the test would prove nothing"
    before = {gap.gap_id: gap for gap in newest_gaps(lost.lake)}
    assert before and {gap.status for gap in before.values()} == {GapStatus.OPEN}
    reports = fill(lost.lake, lost.log, lost.addresses)
    turn(lost.lake, lost.log)
    assert sum(report.filled for report in reports) == len(before), [gap for gap in newest_gaps(lost.lake) if gap.attempts != 1]
    for provider, symbol in FEEDS:
        assert rows_of(lost.lake, provider, symbol) == told(symbol), (provider, symbol)
    after = newest_gaps(lost.lake)
    assert {gap.gap_id for gap in after} == set(before)
    for gap in after:
        assert gap.status is GapStatus.FILLED, gap
        assert gap.gap_start is not None and gap.gap_end is not None and gap.gap_start < gap.gap_end
        assert gap.attempts == 1 and gap.worker == "backfill"
        if gap.provider == "binance":
            assert gap.missing_count == gap.found_count == int(str(gap.last_missing)) - int(str(gap.first_missing)) + 1
    kinds = read(lost.lake, "ops.captures", ["kind"])["kind"].to_pylist()
    assert Counter(kinds) == {"live": 3, "backfill": len(before)}


def test_a_numbered_gap_is_counted_by_numbers(lost: Lost) -> None:
    rows = read(lost.lake, TRADES, ["sequence"], [Where("provider", "=", "binance")])["sequence"].to_pylist()
    assert sorted(rows) == [FIRST_ID + trade.number for trade in Tape(DAY, "BTCUSDT").trades]


def test_filling_again_asks_nothing(lost: Lost) -> None:
    messages = read(lost.lake, "raw.messages", ["capture_id"]).num_rows
    reports = fill(lost.lake, lost.log, lost.addresses)
    assert [report.questions for report in reports] == [0]
    assert read(lost.lake, "raw.messages", ["capture_id"]).num_rows == messages
