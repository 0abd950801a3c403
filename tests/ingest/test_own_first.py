"""Events that a stream lost are asked of its own provider again and again before another tells what happened elsewhere."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from ingest.asks import Ask
from ingest.backfill import OWN_ATTEMPTS
from ingest.capture import capture_pages, capture_stream
from ingest.configuration import Reconcile
from ingest.providers.polygon_stream import MarketStream
from ingest.providers.registry import OFFERS
from ingest.providers.yahoo import Chart
from ingest.reconcile import look
from ingest.simulator.day.incidents import Incident
from ingest.simulator.day.tape import MINUTE_NS, Day, Tape
from ingest.simulator.keyed import Keys
from ingest.transport.backoff import Backoff
from lake.catalog import Lake
from lake.conditions import Where
from lake.instants import NANOS_PER_SECOND, to_datetime
from lake.log.segments import SegmentLog
from lake.scan import read
from quality_checks.gaps import GapLedger, GapStatus, KnownGap, newest_gaps
from tests.ingest.filling import fill, opened, turn
from tests.ingest.made_day import MadeDay, StillClock
from tests.soak.simulating import OPEN_NS

DAY = Day(3, OPEN_NS, OPEN_NS + 3 * MINUTE_NS, ("AAPL",))
SLOW = Backoff(attempts=10, first_s=30.0, ceiling_s=30.0)


def down(until_ns: int) -> list[Incident]:
    return [Incident(0, "http", "server_error", "polygon", 0, until_ns)]


@pytest.fixture
def dropped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Lake, SegmentLog, StillClock]]:
    """A lake whose stream of Polygon lost its socket in the second minute: one gap; Yahoo tells what AAPL is."""
    clock = StillClock(OPEN_NS - NANOS_PER_SECOND)
    lake, log = opened(tmp_path_factory.mktemp("dropped"), clock)
    drop = [Incident(0, "stream", "dropped", "polygon", OPEN_NS + MINUTE_NS, OPEN_NS + MINUTE_NS + NANOS_PER_SECOND)]
    session = MarketStream(["AAPL"], Keys().polygon_key, channels=["T"])
    with lake, log:
        with MadeDay(DAY, drop, clock) as day:
            capture_stream(
                lake, log, session, day.streamed("polygon"), provider="polygon", feed="market", sleep=clock.sleep,
                rng=random.Random(1), backoff=SLOW,
            )  # fmt: skip
            minutes = Ask("AAPL", "1m", to_datetime(OPEN_NS), to_datetime(DAY.close_ns))
            capture_pages(lake, log, Chart(), [minutes], day.reach.asked("yahoo", "chart"), provider="yahoo", feed="chart")
        turn(lake, log)
        yield lake, log, clock


def waiting(lake: Lake, log: SegmentLog) -> KnownGap:
    ledger = GapLedger(lake, log, "look")
    ledger.refresh()
    (gap,) = [one for one in ledger.under_way() if not one.is_reconcile]
    return gap


def waited(lake: Lake, log: SegmentLog, clock: StillClock) -> None:
    """Sleep until the gap may be asked for again."""
    gap = waiting(lake, log)
    assert gap.next_attempt_at is not None
    clock.sleep((gap.next_attempt_at - to_datetime(clock())).total_seconds())


def asked_again(lake: Lake, log: SegmentLog, clock: StillClock) -> list[KnownGap]:
    """Return the spans that are to be reconciled a day later and lie across the gap."""
    clock.sleep(86_400.0)
    (gap,) = newest_gaps(lake)
    assert gap.gap_start is not None and gap.gap_end is not None
    spans = look(lake, log, GapLedger(lake, log, "look"), OFFERS, Reconcile()).opened
    assert spans, "what was heard before and after the gap is asked again in any case"
    return [span for span in spans if span.gap_start < gap.gap_end and gap.gap_start < span.gap_end]  # type: ignore[operator]


def test_a_provider_that_is_down_for_a_while_tells_its_own_events_later(
    dropped: tuple[Lake, SegmentLog, StillClock],
) -> None:
    lake, log, clock = dropped
    with MadeDay(DAY, down(clock() + 60 * MINUTE_NS), clock) as dark:
        fill(lake, log, dark.addresses)
        gap = waiting(lake, log)
        assert (gap.status, {each.provider for each in gap.fills}) == (GapStatus.OPEN, {"polygon"})
    waited(lake, log, clock)
    with MadeDay(DAY, [], clock) as light:
        fill(lake, log, light.addresses)
    (told,) = newest_gaps(lake)
    assert (told.status, told.reason.partition(":")[0]) == (GapStatus.FILLED, "polygon/market")
    at = read(lake, "normalized.trades", ["ts_event"], [Where("provider", "=", "polygon")])["ts_event"].to_pylist()
    assert [each.replace(microsecond=each.microsecond // 1_000 * 1_000) for each in sorted(at)] == [
        to_datetime(trade.ts_ns) for trade in Tape(DAY, "AAPL").trades
    ], "the history of Polygon tells more digits than its stream"
    assert asked_again(lake, log, clock) == []


def test_a_provider_that_stays_down_is_passed_over_in_the_end(dropped: tuple[Lake, SegmentLog, StillClock]) -> None:
    lake, log, clock = dropped
    with MadeDay(DAY, down(clock() + 100_000 * MINUTE_NS), clock) as dark:
        fill(lake, log, dark.addresses)
        for _ in range(OWN_ATTEMPTS - 1):
            assert {each.provider for each in waiting(lake, log).fills} == {"polygon"}
            waited(lake, log, clock)
            fill(lake, log, dark.addresses)
    (told,) = newest_gaps(lake)
    assert told.status is GapStatus.FILLED
    assert told.reason.partition("/")[0] not in ("polygon", "")
    assert told.attempts == OWN_ATTEMPTS + 1
    assert asked_again(lake, log, clock) != []  # its own provider's word on it is still to be had
