"""Reconciling feeds without numbers: what a short silence swallowed is found by asking again, and nothing else changes."""

from __future__ import annotations

import random
import signal
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from ingest.asks import SessionWithAnswers
from ingest.backfill import Backfill, BackfillReport, Supply
from ingest.capture import capture_stream
from ingest.configuration import Reconcile
from ingest.configuration_text import read_configuration
from ingest.plans import Plan, Window
from ingest.providers.alpaca_stream import MarketStream as Alpaca
from ingest.providers.finnhub import TradeStream
from ingest.providers.polygon_stream import MarketStream as Polygon
from ingest.providers.registry import OFFERS
from ingest.quotas import Quotas
from ingest.reconcile import MISSED, UNRECONCILABLE, look
from ingest.simulator.day.incidents import Incident
from ingest.simulator.day.tape import MINUTE_NS, NANOS_PER_MILLI, Day, Tape
from ingest.simulator.keyed import Keys
from lake.catalog import Lake
from lake.conditions import Where
from lake.errors import WrongConfigurationError
from lake.instants import NANOS_PER_SECOND, to_ns
from lake.log.segments import SegmentLog
from lake.scan import read
from lake.values import event_id
from quality_checks.alerts import Alerts
from quality_checks.gaps import GapLedger, GapStatus, KnownGap, newest_gaps
from serving.lineage import explain
from tests.ingest.conftest import FAST
from tests.ingest.filling import announced, opened, supply_of, turn
from tests.ingest.made_day import MadeDay, StillClock
from tests.ingest.test_backfill_kills import KILL_AT, work
from tests.soak.simulating import OPEN_NS

DAY = Day(21, OPEN_NS, OPEN_NS + 3 * MINUTE_NS, ("AAPL", "MSFT"))
SYMBOLS = ("AAPL", "MSFT")
SILENT = (70.0, 80.0)
"""Seconds after the open in which AAPL is silent: ten, where a trade comes every two."""
SETTLE_S = 1_200.0
RULES = Reconcile(settle_s=SETTLE_S, settle={})
FEEDS = {"alpaca": "iex", "polygon": "market", "finnhub": "trades"}
HISTORIES = {"alpaca": "/v2/stocks/trades", "polygon": "/v3/trades/AAPL", "finnhub": "/api/v1/stock/tick"}


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
    """The milliseconds of the trades that the lake has: of what only a history told, Polygon's instants are finer."""
    where = [Where("provider", "=", provider), Where("symbol", "=", symbol)]
    stamps = read(lake, "normalized.trades", ["ts_event"], where)["ts_event"].to_pylist()
    return Counter(to_ns(at) // NANOS_PER_MILLI * NANOS_PER_MILLI for at in stamps)


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


def rules_with(**changed: object) -> Reconcile:
    return RULES.model_copy(update=changed)


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
        f"{name}/{feed}/trades" for name, feed in FEEDS.items()
    }


@pytest.mark.parametrize("provider", FEEDS)
def test_a_row_that_came_by_asking_again_leads_back_to_the_answer_and_says_why(silent: Silent, provider: str) -> None:
    found = read(silent.lake, "ops.captures", ["capture_id"], [Where("kind", "=", "backfill"), Where("provider", "=", provider)])
    names = ["capture_id", "message_seq", "ordinal", "price"]
    where = [Where("provider", "=", provider), Where("capture_id", "in", found["capture_id"].to_pylist())]
    row = read(silent.lake, "normalized.trades", names, where).sort_by("ordinal").to_pylist()[0]
    node = explain(silent.lake, event_id(row["capture_id"], row["message_seq"], row["ordinal"]))
    assert node.message is not None and node.gate is not None and node.publication is not None
    asked = node.message["request"]
    assert isinstance(asked, dict) and HISTORIES[provider] in asked["url"] and node.message["is_sha256_proved"]
    payload = read(silent.lake, "raw.messages", ["payload"], [Where("capture_id", "=", row["capture_id"])])["payload"][0].as_py()
    assert f"{row['price'].normalize():f}".encode() in payload
    (note,) = node.notes
    assert f"reconcile-{provider}-" in note and "AAPL" in note
    assert "to be reconciled: a silence leaves no trace" in note and "it is filled" in note and "missed in silence" in note


def test_a_look_again_opens_nothing(silent: Silent) -> None:
    """Also after days, and after the state of the ledger was lost: the spans stand in the history."""
    rows = {name: kept(silent.lake, name, "AAPL") for name in FEEDS}
    assert looked(silent.lake, silent.log, silent.supply) == []
    silent.clock.sleep(86_400.0)
    assert looked(silent.lake, silent.log, silent.supply, rules_with(settle_s=1.0)) == []
    assert [report.questions for report in worked(silent.lake, silent.log, silent.supply, 1)] == [0]
    assert {name: kept(silent.lake, name, "AAPL") for name in FEEDS} == rows


def test_who_is_killed_and_who_comes_second_reconcile_a_day_once(root: Path, tmp_path: Path) -> None:
    """Two look at once; a worker is killed with an answer that no step knows of; then two work at once, each a process."""
    clock = StillClock(OPEN_NS)
    lake, log = opened(tmp_path, clock)
    with lake, log:
        listened(lake, log, clock, "alpaca", [silence("alpaca")])
        clock.sleep(SETTLE_S + 60)
        with MadeDay(DAY, [], clock) as day:
            supply = supply_of(day.addresses, clock)
            with ThreadPoolExecutor(2) as pool:
                found = list(pool.map(lambda number: looked(lake, log, supply), range(2)))
            assert sorted(len(ids) for ids in found) == [0, len(SYMBOLS)]
            assert work(root, tmp_path, day.addresses, KILL_AT).wait(300) == -signal.SIGKILL
            both = [work(root, tmp_path, day.addresses) for _ in range(2)]
            assert [each.wait(300) for each in both] == [0, 0]
            worked(lake, log, supply, 2)
        assert {symbol: gap.status for symbol, gap in spans(lake, "alpaca").items()} == {
            "AAPL": GapStatus.FILLED,
            "MSFT": GapStatus.PROVEN_EMPTY,
        }
        assert [kept(lake, "alpaca", symbol) for symbol in SYMBOLS] == [told(symbol) for symbol in SYMBOLS]
        steps = read(lake, "quality.gaps", ["gap_id", "status", "attempts"]).to_pylist()
        assert set(Counter((row["gap_id"], row["status"], row["attempts"]) for row in steps).values()) == {1}
        captures = read(lake, "ops.captures", ["capture_id"], [Where("kind", "=", "backfill")]).num_rows
        assert captures == len(SYMBOLS) + 1, "the one question under way is asked again"


@pytest.fixture(scope="module")
def limited(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Lake, SegmentLog, StillClock]]:
    """A lake that listened to two feeds in vain: they were dead on the day."""
    clock = StillClock(OPEN_NS)
    lake, log = opened(tmp_path_factory.mktemp("limited"), clock)
    with lake, log:
        for provider, feed in (("alpaca", "iex"), ("finnhub", "trades"), ("tiingo", "iex")):
            announced(lake, log, provider, feed, {"trades": SYMBOLS})
        turn(lake, log)
        clock.sleep(180.0 + SETTLE_S)
        yield lake, log, clock


def test_a_spent_quota_is_waited_for_and_never_exceeded(limited: tuple[Lake, SegmentLog, StillClock]) -> None:
    lake, log, clock = limited
    plan = Plan("tiny", (Window(1, calendar="day"),), live_share=0.0)
    with MadeDay(DAY, [], clock) as day, Quotas(lake.state, {"alpaca": plan}, clock) as quotas:
        supply = replace(supply_of(day.addresses, clock), permits=lambda provider: quotas.permits(provider, "key", "backfill"))
        looked(lake, log, supply, rules_with(without=("finnhub", "tiingo")))
        worked(lake, log, supply, 3)
        first, second = sorted(gap.status for gap in spans(lake, "alpaca").values())
        assert {first, second} == {GapStatus.FILLED, GapStatus.OPEN}
        waits = [gap for gap in GapLedger(lake, log, "look").under_way() if gap.status is GapStatus.OPEN]
        assert [gap.next_attempt_at is not None and gap.rounds == 0 for gap in waits] == [True]
        clock.sleep(86_400.0)
        worked(lake, log, supply, 3)
        calls = [call for call in day.report()["calls"] if call[0] == "alpaca"]
    assert {gap.status for gap in spans(lake, "alpaca").values()} == {GapStatus.FILLED}
    assert len(calls) == len(SYMBOLS), "one a day, and none that was not to be"


def test_a_key_that_may_not_ask_is_told_once(limited: tuple[Lake, SegmentLog, StillClock]) -> None:
    lake, log, clock = limited
    with MadeDay(DAY, [Incident(0, "http", "forbidden", "finnhub", 0, 2 * OPEN_NS)], clock) as day:
        supply = supply_of(day.addresses, clock)
        looked(lake, log, supply, rules_with(without=("alpaca", "tiingo")))
        worked(lake, log, supply, 3)
        calls = [call for call in day.report()["calls"] if call[0] == "finnhub"]
        assert looked(lake, log, supply, rules_with(without=("alpaca", "tiingo"))) == []
    found = spans(lake, "finnhub")
    assert {gap.status for gap in found.values()} == {GapStatus.UNFILLABLE} and len(found) == len(SYMBOLS)
    assert len(calls) == 1, "the other span is closed by the first one's answer"
    (alert,) = [one for one in Alerts(lake.state, clock).listed() if one.subject == "finnhub/trades/trades"]
    assert (alert.kind, alert.count) == (UNRECONCILABLE, 1) and "access to this resource" in alert.detail


def test_a_feed_whose_history_nobody_offers_is_told_once(limited: tuple[Lake, SegmentLog, StillClock]) -> None:
    lake, log, clock = limited
    ledger = GapLedger(lake, log, "look")
    for _ in range(2):
        found = look(lake, log, ledger, OFFERS, rules_with(without=("alpaca", "finnhub")))
        assert found.opened == [] and ["nobody offers its history" in words for words in found.unreconcilable] == [True]
        Alerts(lake.state, clock, log).resolve(UNRECONCILABLE, "tiingo/iex/trades")
    assert not Alerts(lake.state, clock).is_open(UNRECONCILABLE, "tiingo/iex/trades"), "nobody is told again"


def test_the_configuration_says_what_is_not_reconciled() -> None:
    made = read_configuration('[reconcile]\nenabled = false\nsettle = { alpaca = 60 }\nwithout = ["polygon"]\n').reconcile
    assert (made.enabled, made.settled_s("alpaca"), made.settled_s("polygon"), made.without) == (
        False,
        60.0,
        1_200.0,
        ("polygon",),
    )
    with pytest.raises(WrongConfigurationError) as found:
        read_configuration('[reconcile]\nenable = true\nsettle = { alpacca = -1 }\nwithout = ["poligon"]\n')
    told_at = {(each["where"], each["line"]) for each in found.value.mistakes}
    assert {where for where, _ in told_at} == {"reconcile.enable", "reconcile.settle.alpacca", "reconcile.without.0"}
    assert "did you mean polygon?" in str(found.value)
