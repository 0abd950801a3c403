"""Reconciling feeds without numbers: what a short silence swallowed is found by asking again, and nothing else changes."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pytest

from ingest.asks import SessionWithAnswers
from ingest.backfill import Backfill, BackfillReport, Supply
from ingest.capture import capture_stream
from ingest.configuration import Reconcile
from ingest.providers.alpaca_stream import MarketStream as Alpaca
from ingest.providers.finnhub import TradeStream
from ingest.providers.polygon_stream import MarketStream as Polygon
from ingest.reconcile import MISSED, look
from ingest.simulator.day.incidents import Incident
from ingest.simulator.day.tape import MINUTE_NS, Day, Tape
from ingest.simulator.keyed import Keys
from lake.catalog import Lake
from lake.conditions import Where
from lake.instants import NANOS_PER_SECOND, to_ns
from lake.log.segments import SegmentLog
from lake.scan import read
from quality_checks.alerts import Alerts
from quality_checks.gaps import GapLedger, GapStatus, KnownGap, newest_gaps
from tests.ingest.conftest import FAST
from tests.ingest.filling import opened, supply_of, turn
from tests.ingest.made_day import MadeDay, StillClock
from tests.soak.simulating import OPEN_NS

DAY = Day(21, OPEN_NS, OPEN_NS + 3 * MINUTE_NS, ("AAPL", "MSFT"))
SYMBOLS = ("AAPL", "MSFT")
SILENT = (70.0, 80.0)
"""Seconds after the open in which AAPL is silent: ten, where a trade comes every two."""
SETTLE_S = 1_200.0
RULES = Reconcile(settle_s=SETTLE_S, settle={})
FEEDS = {"alpaca": "iex", "polygon": "market", "finnhub": "trades"}


def session(provider: str) -> SessionWithAnswers:
    keys = Keys()
    if provider == "alpaca":
        return Alpaca("iex", SYMBOLS, keys.alpaca_key_id, keys.alpaca_secret, channels=["trades"])
    return Polygon(SYMBOLS, keys.polygon_key, channels=["T"]) if provider == "polygon" else TradeStream(SYMBOLS)


def silence(provider: str) -> Incident:
    start_ns, end_ns = (OPEN_NS + round(at * NANOS_PER_SECOND) for at in SILENT)
    return Incident(0, "stream", "half_mute", provider, start_ns, end_ns)


def listened(lake: Lake, log: SegmentLog, clock: StillClock, provider: str, incidents: Sequence[Incident]) -> None:
    """Listen to a day of a provider, from a second before its open to its end."""
    clock.now_ns = OPEN_NS - NANOS_PER_SECOND
    with MadeDay(DAY, incidents, clock) as day:
        address = day.streamed(provider)
        capture_stream(lake, log, session(provider), address, provider=provider, feed=FEEDS[provider], sleep=clock.sleep)
    turn(lake, log)


def kept(lake: Lake, provider: str, symbol: str) -> Counter[int]:
    where = [Where("provider", "=", provider), Where("symbol", "=", symbol)]
    return Counter(to_ns(at) for at in read(lake, "normalized.trades", ["ts_event"], where)["ts_event"].to_pylist())


def told(symbol: str) -> Counter[int]:
    return Counter(trade.ts_ns for trade in Tape(DAY, symbol).trades)


def worked(lake: Lake, log: SegmentLog, supply: Supply, rounds: int = 4, who: str = "backfill") -> list[BackfillReport]:
    """Rounds of a worker, each after the pipeline's."""
    worker = Backfill(
        lake, log, supply, GapLedger(lake, log, who), sleep=lambda seconds: None, rng=random.Random(1), backoff=FAST
    )  # fmt: skip
    found = []
    for _ in range(rounds):
        turn(lake, log)
        found.append(worker.work())
    turn(lake, log)
    return found


def looked(lake: Lake, log: SegmentLog, supply: Supply, rules: Reconcile = RULES) -> list[str]:
    """Ids of the spans that a look opens."""
    return [gap.gap_id for gap in look(lake, log, GapLedger(lake, log, "look"), supply.offers, rules).opened]


def spans(lake: Lake, provider: str) -> dict[str, KnownGap]:
    """Spans of a provider by symbol, one each."""
    found = [gap for gap in newest_gaps(lake, [Where("provider", "=", provider)]) if gap.is_reconcile]
    assert len({gap.symbol for gap in found}) == len(found), found
    return {gap.symbol: gap for gap in found}


@dataclass
class Silent:
    """A lake that listened to three feeds, each silent for ten seconds of one symbol, and where the day can be asked."""

    lake: Lake
    log: SegmentLog
    clock: StillClock
    day: MadeDay

    @property
    def supply(self) -> Supply:
        return supply_of(self.day.addresses, self.clock)


@pytest.fixture(scope="module")
def silent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Silent]:
    clock = StillClock(OPEN_NS)
    lake, log = opened(tmp_path_factory.mktemp("silent"), clock)
    with lake, log:
        for provider in FEEDS:
            listened(lake, log, clock, provider, [silence(provider)])
        with MadeDay(DAY, [], clock) as day:
            yield Silent(lake, log, clock, day)


def test_ten_silent_seconds_are_found_once_the_history_is_whole(silent: Silent) -> None:
    lake, log = silent.lake, silent.log
    missed = {(name, symbol): told(symbol) - kept(lake, name, symbol) for name in FEEDS for symbol in SYMBOLS}
    assert all(bool(lost) == (symbol == "AAPL") for (_, symbol), lost in missed.items()), missed
    assert newest_gaps(lake) == [], "so short a silence leaves no gap"
    assert looked(lake, log, silent.supply) == [], "its history is not said to be whole yet"
    silent.clock.sleep(SETTLE_S + 60)
    assert len(looked(lake, log, silent.supply)) == len(FEEDS) * len(SYMBOLS)
    before = len(silent.day.report()["calls"])
    reports = worked(lake, log, silent.supply)
    for name in FEEDS:
        found = spans(lake, name)
        assert {symbol: gap.status for symbol, gap in found.items()} == {"AAPL": GapStatus.FILLED, "MSFT": GapStatus.PROVEN_EMPTY}
        assert found["AAPL"].found_count == found["AAPL"].missing_count == missed[name, "AAPL"].total()
        assert "missed in silence" in found["AAPL"].reason and "nothing was missed: all" in found["MSFT"].reason
        assert [kept(lake, name, symbol) for symbol in SYMBOLS] == [told(symbol) for symbol in SYMBOLS], name
    asked = sum(report.questions for report in reports)
    assert asked == len(silent.day.report()["calls"]) - before == len(FEEDS) * len(SYMBOLS), "a call a symbol and day"
    findings = read(lake, "quality.findings", ["kind", "detail"]).to_pylist()
    words = [each["detail"] for each in findings if each["kind"] == MISSED]
    assert len(words) == len(FEEDS) and all("trades of AAPL of 2026-11-20 were missed in silence" in each for each in words)
    assert {alert.subject for alert in Alerts(lake.state, lake.clock).listed() if alert.kind == MISSED} == {
        f"{name}/{feed}" for name, feed in FEEDS.items()
    }


def test_a_look_again_opens_nothing(silent: Silent) -> None:
    """Also after days, and after the state of the ledger was lost: the spans stand in the history."""
    rows = {name: kept(silent.lake, name, "AAPL") for name in FEEDS}
    assert looked(silent.lake, silent.log, silent.supply) == []
    silent.clock.sleep(86_400.0)
    assert looked(silent.lake, silent.log, silent.supply, replace_rules(settle_s=1.0)) == []
    assert [report.questions for report in worked(silent.lake, silent.log, silent.supply, 1)] == [0]
    assert {name: kept(silent.lake, name, "AAPL") for name in FEEDS} == rows


def replace_rules(**changed: object) -> Reconcile:
    return RULES.model_copy(update=changed)
