"""The simulated day: every provider tells of the same market, and what it pushes can be asked for afterwards."""

from __future__ import annotations

import random
import threading
from collections import Counter

import httpx
import orjson

from ingest.ledger import CaptureReport
from ingest.providers.alpaca_stream import MarketStream
from ingest.providers.binance import MarketSession
from ingest.providers.finnhub import TradeStream
from ingest.simulator.day.incidents import HTTP_KINDS, PROCESS_KINDS, STREAM_KINDS, Incident, storm
from ingest.simulator.day.tape import MINUTE_NS, Tape
from ingest.simulator.day.wires import FIRST_ID
from ingest.simulator.keyed import Keys
from ingest.streams import capture_stream
from lake.catalog import Lake
from lake.instants import NANOS_PER_SECOND, Pace
from lake.log.segments import SegmentLog
from tests.ingest.conftest import messages_of
from tests.soak.simulating import OPEN_NS, DayProcess, day_of

DAY = day_of(1, minutes=6)
RATE = 90.0


def test_a_storm_has_every_kind_and_is_the_same_again():
    made = storm(DAY, 500, ("yahoo", "polygon"), ("binance", "alpaca"), ("streams", "filler"))
    assert made == storm(DAY, 500, ("yahoo", "polygon"), ("binance", "alpaca"), ("streams", "filler"))
    assert {each.kind for each in made} == {*HTTP_KINDS, *STREAM_KINDS, *PROCESS_KINDS}
    assert all(DAY.open_ns < each.start_ns < each.end_ns for each in made)


def test_minutes_are_the_trades_they_are_made_of():
    tape = Tape(DAY, "AAPL")
    bars = tape.minutes(DAY.open_ns, DAY.close_ns)
    assert sum(bar.count for bar in bars) == len(tape.trades)
    assert sum(bar.volume for bar in bars) == sum(trade.size for trade in tape.trades)
    by_minute = Counter(trade.ts_ns // MINUTE_NS for trade in tape.trades)
    assert {bar.open_ns // MINUTE_NS: bar.count for bar in bars} == by_minute


def test_what_is_pushed_is_captured_and_can_be_asked_for_again(lake: Lake, log: SegmentLog):
    middle = OPEN_NS + 3 * MINUTE_NS
    cut = [Incident(0, "stream", "dropped", "binance", middle, middle + NANOS_PER_SECOND)]
    keys, reports = Keys(), []
    sessions = {
        "binance": ("spot", MarketSession(["btcusdt@trade"], "spot")),
        "alpaca": ("iex", MarketStream("iex", ["AAPL", "MSFT"], keys.alpaca_key_id, keys.alpaca_secret, channels=["trades"])),
        "finnhub": ("trades", TradeStream(["AAPL", "MSFT"])),
    }

    def listen(provider: str) -> None:
        feed, session = sessions[provider]
        address = day.streamed(provider)
        report = capture_stream(
            lake, log, session, address, provider=provider, feed=feed, sleep=pace.sleep, rng=random.Random(1)
        )  # fmt: skip
        reports.append(report)

    with DayProcess(DAY, cut) as day:
        day.wait()
        pace = Pace.begin(OPEN_NS - 120 * NANOS_PER_SECOND, RATE)
        day.begin(pace)
        threads = [threading.Thread(target=listen, args=(provider,)) for provider in sessions]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        pushed = day.report()["pushed"]
        asked = httpx.get(
            day.addresses["http"] + f"/api/v3/historicalTrades?symbol=BTCUSDT&limit=1000&fromId={FIRST_ID}",
            timeout=60,
            trust_env=False,
        ).json()
    assert {report.ended for report in reports} == {"end of recording"}, reports
    gaps: dict[str, CaptureReport] = {report.provider: report for report in reports}
    assert gaps["binance"].drops == 1
    found = Counter(
        orjson.loads(row["payload"])["data"]["t"] - FIRST_ID for row in messages_of(log) if row["provider"] == "binance"
    )
    sent = Counter({int(name.partition("/")[2]): times for name, times in pushed["binance"].items()})
    assert found and found <= sent, "a socket that dies may lose what was on its way, and adds nothing"
    assert [each["id"] - FIRST_ID for each in asked] == [trade.number for trade in Tape(DAY, "BTCUSDT").trades]
    trades = [row for row in messages_of(log) if row["provider"] == "finnhub"]
    assert trades
    assert len(trades) == sum(pushed["finnhub"].values())
