"""Feeds that are mute for a while and go on as if nothing had been: what they kept back is missed, asked for and had."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta

import pytest

from ingest.capture import capture_stream
from ingest.providers.alpaca_stream import MarketStream as Alpaca
from ingest.providers.polygon_stream import MarketStream as Polygon
from ingest.simulator.day.incidents import Incident
from ingest.simulator.day.tape import MINUTE_NS, Day, Tape
from ingest.simulator.keyed import Keys
from lake.catalog import Lake
from lake.conditions import Where
from lake.instants import NANOS_PER_SECOND, to_datetime, to_ns
from lake.log.segments import SegmentLog
from lake.scan import read
from quality_checks.gaps import GapLedger, GapStatus, KnownGap, newest_gaps
from tests.ingest.filling import fill, opened, turn
from tests.ingest.made_day import MadeDay, StillClock
from tests.soak.simulating import OPEN_NS

DAY = Day(12, OPEN_NS, OPEN_NS + 5 * MINUTE_NS, ("AAPL", "MSFT"), trades_a_minute=12.0)
"""Too few trades to find a channel mute while it lasts (`liveness.LEAST_EVENTS`): a still clock runs ahead of who listens."""
HALF, WHOLE = (110.0, 195.0), (215.0, 260.0)
"""Seconds after the open: AAPL alone is silent, then both are."""
SYMBOLS = ("AAPL", "MSFT")


def feeds() -> dict[str, tuple[str, Alpaca | Polygon]]:
    keys = Keys()
    return {
        "alpaca": ("iex", Alpaca("iex", SYMBOLS, keys.alpaca_key_id, keys.alpaca_secret, channels=["trades"])),
        "polygon": ("market", Polygon(SYMBOLS, keys.polygon_key, channels=["T"])),
    }


@dataclass
class Heard:
    """A lake that listened to feeds with silences, and where the day can still be asked."""

    lake: Lake
    log: SegmentLog
    day: MadeDay


@pytest.fixture(scope="module")
def heard(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Heard]:
    clock = StillClock(OPEN_NS)
    lake, log = opened(tmp_path_factory.mktemp("heard"), clock)
    spans = {"half_mute": HALF, "mute": WHOLE}
    with lake, log:
        for provider, (feed, session) in feeds().items():
            silences = [
                Incident(number, "stream", kind, provider, *(OPEN_NS + round(at * NANOS_PER_SECOND) for at in span))
                for number, (kind, span) in enumerate(spans.items())
            ]
            clock.now_ns = OPEN_NS - NANOS_PER_SECOND
            with MadeDay(DAY, silences, clock) as day:
                address = day.streamed(provider)
                report = capture_stream(lake, log, session, address, provider=provider, feed=feed, sleep=clock.sleep)
            assert (report.ended, report.drops) == ("end of recording", 0), report
        turn(lake, log)
        with MadeDay(DAY, [], clock) as day:
            yield Heard(lake, log, day)


def kept(lake: Lake, provider: str, symbol: str) -> Counter[int]:
    """Milliseconds of its trades: Polygon's history tells more digits than its stream."""
    where = [Where("provider", "=", provider), Where("symbol", "=", symbol)]
    return Counter(to_ns(at) // 1_000_000 for at in read(lake, "normalized.trades", ["ts_event"], where)["ts_event"].to_pylist())


def told(symbol: str) -> Counter[int]:
    return Counter(trade.ts_ms for trade in Tape(DAY, symbol).trades)


def test_silences_leave_gaps_and_what_was_kept_back_is_had(heard: Heard) -> None:
    missed = {(provider, symbol): told(symbol) - kept(heard.lake, provider, symbol) for provider in feeds() for symbol in SYMBOLS}
    assert all(missed.values()), "the silences kept nothing back: the test would prove nothing"
    for provider in feeds():
        gaps = [gap for gap in newest_gaps(heard.lake) if gap.provider == provider]
        assert sorted(gap.symbol for gap in gaps) == ["AAPL", "AAPL", "MSFT"], gaps
        assert sum("while others spoke" in gap.reason for gap in gaps) == 1
        assert sum("on the whole connection" in gap.reason for gap in gaps) == 2
    fill(heard.lake, heard.log, heard.day.addresses)
    assert {gap.status for gap in newest_gaps(heard.lake)} == {GapStatus.FILLED}
    for provider, symbol in missed:
        assert kept(heard.lake, provider, symbol) == told(symbol), (provider, symbol)


def test_a_gap_in_which_nothing_was_missing_costs_one_question(heard: Heard) -> None:
    """Every trade is there already: two events that follow each other, and between them nothing."""
    before, after = Tape(DAY, "MSFT").trades[10:12]
    words = "trades: silence of 11 s while others spoke 9 times, where a pause lasts 1.0 s as a rule"
    gap = KnownGap(
        "alpaca-iex-x-gap-0", "alpaca", "iex", "MSFT", GapStatus.OPEN, words, to_datetime(heard.lake.clock()),
        first_missing=to_datetime(before.ts_ns).isoformat(), table_name="normalized.trades",
    )  # fmt: skip
    GapLedger(heard.lake, heard.log, "look").open(gap)
    asked, rows = len(heard.day.report()["calls"]), kept(heard.lake, "alpaca", "MSFT")
    reports = fill(heard.lake, heard.log, heard.day.addresses)
    assert sum(report.questions for report in reports) == 1
    assert len(heard.day.report()["calls"]) == asked + 1
    (closed,) = [one for one in newest_gaps(heard.lake) if one.gap_id == gap.gap_id]
    assert (closed.status, closed.attempts, closed.found_count) == (GapStatus.FILLED, 1, 2)
    assert closed.gap_end == to_datetime(after.ts_ns) + timedelta(microseconds=1)
    assert kept(heard.lake, "alpaca", "MSFT") == rows
