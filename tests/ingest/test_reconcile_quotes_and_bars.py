"""Quotes and minutes of a feed without numbers are reconciled as trades are: over sockets, in whatever units each side tells."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import pytest

from ingest.capture import capture_stream
from ingest.providers.polygon_stream import MarketStream
from ingest.simulator.day.incidents import Incident
from ingest.simulator.day.tape import MINUTE_NS, NANOS_PER_MILLI, Tape
from ingest.simulator.keyed import Keys
from lake.catalog import Lake
from lake.conditions import Where
from lake.instants import NANOS_PER_SECOND, to_ns
from lake.log.segments import SegmentLog
from lake.scan import read
from quality_checks.alerts import Alerts
from quality_checks.gaps import GapStatus, KnownGap, newest_gaps
from quality_checks.rebuild import rebuild
from tests.ingest.filling import opened, supply_of, turn
from tests.ingest.made_day import MadeDay, StillClock
from tests.ingest.test_reconcile import DAY, SETTLE_S, SYMBOLS, looked, worked
from tests.soak.simulating import OPEN_NS

QUOTES, BARS = "normalized.quotes", "normalized.bars"
SILENT_S = (55, 65)
"""Seconds after the open in which AAPL is silent: ten of quotes, and the frame of its first minute."""
STAMPS = {QUOTES: "ts_event", BARS: "ts_open"}
Asked = tuple[Lake, dict[tuple[str | None, str], KnownGap]]


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Asked]:
    """A lake that listened to quotes and minutes and asked for their history; its spans by table and symbol."""
    clock = StillClock(OPEN_NS - NANOS_PER_SECOND)
    lake, log = opened(tmp_path_factory.mktemp("quotes"), clock)
    with lake, log:
        listened(lake, log, clock)
        clock.sleep(SETTLE_S + 60)
        with MadeDay(DAY, [], clock) as day:
            supply = supply_of(day.addresses, clock)
            assert len(looked(lake, log, supply)) == 2 * len(SYMBOLS)
            worked(lake, log, supply)
        yield lake, {(gap.table_name, gap.symbol): gap for gap in newest_gaps(lake)}


def listened(lake: Lake, log: SegmentLog, clock: StillClock) -> None:
    start_ns, end_ns = (OPEN_NS + at * NANOS_PER_SECOND for at in SILENT_S)
    with MadeDay(DAY, [Incident(0, "stream", "half_mute", "polygon", start_ns, end_ns)], clock) as day:
        session = MarketStream(SYMBOLS, Keys().polygon_key, channels=["Q", "AM"])
        capture_stream(lake, log, session, day.streamed("polygon"), provider="polygon", feed="market", sleep=clock.sleep)
    turn(lake, log)


def in_silence(symbol: str, table: str) -> int:
    """How many quotes or minutes of a symbol the stream swallowed."""
    tape, (start_ns, end_ns) = Tape(DAY, symbol), (OPEN_NS + at * NANOS_PER_SECOND for at in SILENT_S)
    if symbol != "AAPL":
        return 0
    if table == QUOTES:
        return len(tape.between(start_ns, end_ns))
    return sum(start_ns <= bar.open_ns + MINUTE_NS < end_ns for bar in tape.minutes(DAY.open_ns, DAY.close_ns))


@pytest.mark.parametrize("symbol", SYMBOLS)
@pytest.mark.parametrize("table", STAMPS)
def test_what_a_silence_swallowed_comes_and_nothing_else(asked: Asked, table: str, symbol: str) -> None:
    lake, spans = asked
    tape, gap, missed = Tape(DAY, symbol), spans[table, symbol], in_silence(symbol, table)
    assert bool(missed) == (symbol == "AAPL")
    assert gap.status is (GapStatus.FILLED if missed else GapStatus.PROVEN_EMPTY), gap
    assert gap.found_count == missed and ("missed in silence" if missed else "nothing was missed: all") in gap.reason
    assert "beside others" not in gap.reason and "does not tell them" not in gap.reason
    rows = read(lake, table, [STAMPS[table]], [Where("symbol", "=", symbol)])[STAMPS[table]].to_pylist()
    held = Counter(to_ns(at) // NANOS_PER_MILLI for at in rows)
    told = Counter(trade.ts_ms for trade in tape.trades)
    minutes = {bar.open_ns // NANOS_PER_MILLI for bar in tape.minutes(DAY.open_ns, DAY.close_ns)}
    assert held == told if table == QUOTES else set(held) == minutes


def test_nothing_alarms_but_what_was_missed_and_a_rebuild_gives_the_same(asked: Asked) -> None:
    lake, spans = asked
    assert {alert.kind for alert in Alerts(lake.state, lake.clock).listed()} == {"missed_in_silence"}
    assert len(spans) == 2 * len(SYMBOLS)
    assert [rebuild(lake, table).is_same for table in STAMPS] == [True, True]
    kinds = Counter(read(lake, "quality.findings", ["kind"])["kind"].to_pylist())
    assert kinds == {"missed_in_silence": 2}, kinds
