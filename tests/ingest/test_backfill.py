"""What a stream lost is asked for again, and then stands in the lake once: live with drops + backfill = uninterrupted."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import pytest

from ingest.asks import Ask, SessionWithAnswers
from ingest.capture import capture_pages, capture_stream
from ingest.providers.alpaca_stream import MarketStream
from ingest.providers.binance import MarketSession
from ingest.providers.finnhub import TradeStream
from ingest.providers.registry import OFFERS
from ingest.simulator.day.incidents import Incident
from ingest.simulator.day.tape import MINUTE_NS, Day, Tape
from ingest.simulator.day.wires import FIRST_ID
from ingest.simulator.keyed import Keys
from ingest.transport.backoff import Backoff
from lake.catalog import Lake
from lake.conditions import Where
from lake.instants import NANOS_PER_SECOND, to_datetime, to_ns
from lake.log.segments import SegmentLog
from lake.scan import read
from quality_checks.gaps import GapLedger, GapStatus, KnownGap, newest_gaps
from quality_checks.missing import look, series_of
from tests.ingest.filling import backfill, fill, opened, turn
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


class Died(Exception):
    """The end of a capture in the middle of it."""


def test_what_a_dead_capture_lost_is_followed_symbol_by_symbol(lost: Lost) -> None:
    """A capture dies where it would wait after a drop; the next begins a minute later and tells that the one before is dead."""
    day = replace(DAY, seed=8, symbols=("TSLA",))
    clock = lost.lake.clock
    assert isinstance(clock, StillClock)
    clock.now_ns = OPEN_NS - NANOS_PER_SECOND
    keys = Keys()

    def dies(seconds: float) -> None:
        raise Died

    with MadeDay(day, outages()[:3], clock) as made:
        for sleep in (dies, clock.sleep):
            session = MarketStream("iex", ["TSLA"], keys.alpaca_key_id, keys.alpaca_secret, channels=["trades"])
            with suppress(Died):
                address = made.streamed("alpaca")
                capture_stream(
                    lost.lake, lost.log, session, address, provider="alpaca", feed="iex", sleep=sleep, backoff=SLOW
                )  # fmt: skip
            clock.sleep(60)
        assert rows_of(lost.lake, "alpaca", "TSLA") == Counter()
        fill(lost.lake, lost.log, made.addresses)
    happened = Counter((trade.ts_ms, trade.cents) for trade in Tape(day, "TSLA").trades)
    assert rows_of(lost.lake, "alpaca", "TSLA") == happened
    told = {gap.gap_id: gap for gap in newest_gaps(lost.lake) if "-gap-end" in gap.gap_id}
    whole, part = sorted(told.values(), key=lambda gap: len(gap.gap_id))
    assert (whole.status, whole.symbol, part.gap_id) == (GapStatus.FILLED, "", f"{whole.gap_id}-trades-TSLA")
    assert "followed as 1 gaps" in whole.reason
    assert (part.status, part.symbol, part.table_name) == (GapStatus.FILLED, "TSLA", TRADES)


# --- bars that a calendar expects

MINUTES = "normalized.bars"
HOUR = Day(3, OPEN_NS, OPEN_NS + 30 * MINUTE_NS, ("AAPL", "MSFT"), trades_a_minute=20.0)


def poll(
    lake: Lake, log: SegmentLog, day: MadeDay, provider: str, spans: Sequence[tuple[int, int]], symbol: str = "AAPL"
) -> None:
    offer = next(each for each in OFFERS if (each.provider, each.kind) == (provider, "bars") and "1m" in each.intervals)
    edges = [[to_datetime(OPEN_NS + minute * MINUTE_NS) for minute in span] for span in spans]
    asks = [Ask(symbol, "1m", start, end) for start, end in edges]
    address = day.reach.asked(offer.provider, offer.feed)
    report = capture_pages(lake, log, offer.pages(), asks, address, provider=offer.provider, feed=offer.feed)
    assert report.is_complete, report


def minutes_of(lake: Lake, provider: str) -> list[tuple[int, object]]:
    rows = read(lake, MINUTES, ["ts_open", "close"], [Where("provider", "=", provider)]).to_pylist()
    return sorted((to_ns(row["ts_open"]) // MINUTE_NS, row["close"] * 100) for row in rows)


@pytest.fixture(scope="module")
def polled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Lake, SegmentLog, MadeDay]]:
    """Minutes 0 to 10 and 20 to 30 of Yahoo; the session goes on, and the clock stands an hour after it."""
    clock = StillClock(OPEN_NS + 90 * MINUTE_NS)
    lake, log = opened(tmp_path_factory.mktemp("polled"), clock)
    with lake, log, MadeDay(HOUR, [], clock) as day:
        poll(lake, log, day, "yahoo", [(0, 10), (20, 30)])
        turn(lake, log)
        yield lake, log, day


def test_polls_with_a_hole_and_backfill_are_the_whole_poll(polled: tuple[Lake, SegmentLog, MadeDay]) -> None:
    lake, log, day = polled
    (series,) = series_of(lake, "yahoo", "AAPL", "1m")
    start, end = (to_datetime(OPEN_NS + minute * MINUTE_NS) for minute in (0, 30))
    ledger = GapLedger(lake, log, "look")
    (gap,) = look(lake, ledger, [series], start, end)
    assert (gap.gap_start, gap.gap_end, gap.missing_count) == (*(to_datetime(OPEN_NS + m * MINUTE_NS) for m in (10, 20)), 10)
    assert look(lake, ledger, [series], start, end) == []
    reports = fill(lake, log, day.addresses)
    assert [story["status"] for report in reports for story in report.stories] == ["filled"]
    expected = [(bar.open_ns // MINUTE_NS, bar.close) for bar in Tape(HOUR, "AAPL").minutes(HOUR.open_ns, HOUR.close_ns)]
    assert minutes_of(lake, "yahoo") == expected
    assert look(lake, ledger, [series], start, end) == []


def test_a_stretch_without_trades_is_proven_empty_by_two(polled: tuple[Lake, SegmentLog, MadeDay]) -> None:
    """After minute 30 nobody traded: Yahoo has no bar, and Alpaca agrees."""
    lake, log, day = polled
    (series,) = series_of(lake, "yahoo", "AAPL", "1m")
    span = [to_datetime(OPEN_NS + minute * MINUTE_NS) for minute in (30, 40)]
    (gap,) = look(lake, GapLedger(lake, log, "look"), [series], *span)
    reports = fill(lake, log, day.addresses)
    (story,) = [story for report in reports for story in report.stories]
    assert story["gap_id"] == gap.gap_id
    assert story["status"] == "proven_empty"
    assert "yahoo/chart" in story["reason"] and " and " in story["reason"]
    (told,) = [one for one in newest_gaps(lake) if one.gap_id == gap.gap_id]
    assert (told.status, told.found_count, told.attempts) == (GapStatus.PROVEN_EMPTY, 0, 2)


def test_recordings_prove_nothing(polled: tuple[Lake, SegmentLog, MadeDay]) -> None:
    """What holds recordings alone may fill a gap; that it tells of nothing closes none, however many say so."""
    lake, log, day = polled
    (series,) = series_of(lake, "yahoo", "AAPL", "1m")
    (gap,) = look(lake, GapLedger(lake, log, "look"), [series], *(to_datetime(OPEN_NS + m * MINUTE_NS) for m in (45, 50)))
    ledger = GapLedger(lake, log, "look")
    asked: KnownGap | None = None
    for _ in range(30):
        turn(lake, log)
        assert backfill(lake, log, day.addresses, is_recorded=True).stories == []
        ledger.refresh()
        asked = ledger.gap(gap.gap_id)
        if asked is not None and asked.next_attempt_at is not None:
            break
    assert asked is not None and (asked.status, asked.tried, asked.rounds) == (GapStatus.OPEN, (), 0)
    assert asked.reason.endswith("recordings prove nothing") and (asked.attempts or 0) > 2
    assert asked.next_attempt_at is not None and asked.next_attempt_at > to_datetime(lake.clock())


def test_history_that_changed_under_us_is_a_finding_with_its_row(polled: tuple[Lake, SegmentLog, MadeDay]) -> None:
    """Another tape of the same minutes: what Yahoo tells now differs from what it told."""
    lake, log, _ = polled
    before = dict(minutes_of(lake, "yahoo"))
    clock = StillClock(lake.clock())
    with MadeDay(replace(HOUR, seed=4), [], clock) as other:
        poll(lake, log, other, "yahoo", [(0, 2)])
    turn(lake, log)
    found = read(lake, "quality.findings", ["event_id", "kind"], [Where("kind", "=", "restatement")])["event_id"].to_pylist()
    after = minutes_of(lake, "yahoo")
    changed = [minute for minute, close in after if before[minute] != close]
    assert len(after) - len(before) == len(found) >= len(changed) > 0
    assert all(event_id.startswith("yahoo-chart-") for event_id in found)


def down(*providers: str, kind: str = "server_error") -> list[Incident]:
    """These answer 503 to everything, all the time, or what `kind` says."""
    return [Incident(number, "http", kind, name, 0, 1 << 62) for number, name in enumerate(providers)]


def hole(lake: Lake, log: SegmentLog, day: MadeDay, symbol: str) -> str:
    """Poll Yahoo for a symbol without its minutes 10 to 20; returns the gap."""
    poll(lake, log, day, "yahoo", [(0, 10), (20, 30)], symbol)
    turn(lake, log)
    (series,) = series_of(lake, "yahoo", symbol, "1m")
    span = (to_datetime(OPEN_NS + minute * MINUTE_NS) for minute in (0, 30))
    (gap,) = look(lake, GapLedger(lake, log, "look"), [series], *span)
    return gap.gap_id


def test_who_does_not_understand_is_passed_over_and_when_nobody_does_the_gap_is_given_up(
    polled: tuple[Lake, SegmentLog, MadeDay],
) -> None:
    lake, log, _ = polled
    providers = sorted({offer.provider for offer in OFFERS if offer.kind == "bars" and "1m" in offer.intervals})
    found = {}
    for symbol, dumb in (("TSLA", ["yahoo"]), ("NVDA", providers)):
        clock = StillClock(lake.clock())
        made = replace(HOUR, seed=5, symbols=(symbol,))
        with MadeDay(made, [], clock) as day:
            gap_id = hole(lake, log, day, symbol)
        with MadeDay(made, down(*dumb, kind="misunderstood"), clock) as day:
            fill(lake, log, day.addresses)
        found[symbol] = next(gap for gap in newest_gaps(lake) if gap.gap_id == gap_id)
    filled = found["TSLA"]
    assert (filled.status, filled.attempts) == (GapStatus.FILLED, 2), filled
    assert not filled.reason.startswith("yahoo")
    assert found["NVDA"].status is GapStatus.UNFILLABLE, found["NVDA"]
    assert found["NVDA"].reason.startswith("nobody understands the question")
    assert (found["NVDA"].attempts or 0) > 1


def test_who_is_down_is_passed_over_and_when_all_are_the_gap_waits(polled: tuple[Lake, SegmentLog, MadeDay]) -> None:
    lake, log, day = polled
    clock = lake.clock
    assert isinstance(clock, StillClock)
    gap_id = hole(lake, log, day, "MSFT")
    ledger = GapLedger(lake, log, "look")
    providers = sorted({offer.provider for offer in OFFERS if offer.kind == "bars" and "1m" in offer.intervals})
    with MadeDay(HOUR, down(*providers), clock) as dark:
        fill(lake, log, dark.addresses)
        ledger.refresh()
        waits = ledger.gap(gap_id)
        assert waits is not None and waits.next_attempt_at is not None
        assert (waits.status, waits.rounds) == (GapStatus.OPEN, 0)  # that nobody answers says nothing about the gap
        assert {fill.verdict for fill in waits.fills} == {"UPSTREAM_5XX"}
        assert waits.fills[0].provider == "yahoo"
        asked = len(dark.report()["calls"])
        assert [report.questions for report in fill(lake, log, dark.addresses)] == [0]
        assert len(dark.report()["calls"]) == asked
    clock.sleep((waits.next_attempt_at - to_datetime(clock())).total_seconds())
    with MadeDay(HOUR, down("yahoo"), clock) as dusk:
        fill(lake, log, dusk.addresses)
    (told,) = [one for one in newest_gaps(lake) if one.gap_id == gap_id]
    assert told.status is GapStatus.FILLED
    assert not told.reason.startswith("yahoo")
    assert "every bar that the calendar expects is in the lake" in told.reason
