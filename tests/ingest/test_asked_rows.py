"""What is asked or listened to goes through the gates whole: each fact is published, or in quarantine with its reason.

The answers and frames are the simulator's recordings, over its sockets; what they tell is counted here, by hand, from their JSON.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime

import orjson
import pytest

from ingest.asks import Ask
from ingest.capture import CaptureReport, capture_pages, capture_stream
from ingest.landing import land
from ingest.providers.registry import PROVIDERS
from ingest.reach import simulated
from ingest.simulator import Faults, HttpFault, Simulator
from ingest.simulator.asking import recorded_symbols
from lake.catalog import Lake
from lake.instants import system_clock
from lake.log.segments import SegmentLog
from lake.scan import Where, read
from lake.settings import load_settings
from quality_checks.promotion import PromotionReport, promote
from tests.ingest.conftest import FAST

BARS, TRADES, QUOTES, ACTIONS = "normalized.bars", "normalized.trades", "normalized.quotes", "normalized.corporate_actions"
NEWS, INTEREST, MEASURES = "normalized.news", "normalized.option_open_interest", "normalized.alternative"
YEARS = (datetime(2000, 1, 1, tzinfo=UTC), datetime(2026, 1, 1, tzinfo=UTC))
DAY = (datetime(2024, 8, 8, tzinfo=UTC), datetime(2024, 8, 9, tzinfo=UTC))
MESSAGES = "raw.messages"
"""In place of a table: answers that are quarantined whole."""
ASKED: dict[tuple[str, str, str, str, str], dict[str, int]] = {
    ("alpaca", "news", "news", "CWAN,AAPL", ""): {NEWS: 2 + 1},  # one of two companies, then a page with one of one
    ("alpaca", "iex", "latest_trades", "AAPL,TSLA,XXXX", ""): {TRADES: 2},
    ("alpaca", "iex", "latest_bars", "SPY,TSLA", ""): {BARS: 2},
    ("alpaca", "iex", "latest_quotes", "AAPL", ""): {QUOTES: 1},
    ("alpaca", "iex", "snapshots", "AAPL", ""): {TRADES: 1, QUOTES: 1, BARS: 3},
    ("alpaca", "crypto", "latest_trades", "BTC/USD", ""): {TRADES: 1},
    ("alpaca", "crypto", "latest_bars", "BTC/USD", ""): {BARS: 1},
    ("alpaca", "crypto", "latest_quotes", "BTC/USD", ""): {QUOTES: 1},
    ("alpaca", "opra", "snapshots", "AAPL240126P00050000", ""): {QUOTES: 1, INTEREST: 1},
    ("polygon", "market", "bars", "AAPL", "1d"): {BARS: 2},
    ("polygon", "market", "trades", "AAPL", ""): {TRADES: 2, MESSAGES: 1},  # asked again after a garbled answer
    ("polygon", "market", "quotes", "AAPL", ""): {QUOTES: 10 + 10},
    ("polygon", "market", "snapshot", "AAPL", ""): {TRADES: 1, QUOTES: 1, BARS: 2},
    ("polygon", "market", "last_trade", "AAPL", ""): {TRADES: 1},
    ("polygon", "market", "last_quote", "AAPL", ""): {QUOTES: 1},
    ("polygon", "actions", "splits", "GOOGL", ""): {ACTIONS: 1},
    ("polygon", "actions", "dividends", "CSSEN", ""): {ACTIONS: 8},
    ("tiingo", "daily", "bars", "GOOGL", "1d"): {BARS: 1, MESSAGES: 1},  # asked again after half an answer
    ("tiingo", "daily", "bars", "GOOGL", "1wk"): {BARS: 3},
    ("tiingo", "iex", "bars", "GOOGL", "30m"): {BARS: 13},
    ("tiingo", "iex", "top", "GOOGL", ""): {QUOTES: 1},
    ("tiingo", "crypto", "bars", "btcusd", "1d"): {BARS: 2 * 6},
    ("tiingo", "crypto", "top", "btcusd,fldcbtc", ""): {QUOTES: 12 + 2},
    ("tiingo", "fx", "bars", "EUR/USD", "1d"): {BARS: 2},
    ("tiingo", "fx", "top", "EUR/USD", ""): {QUOTES: 1},
    ("binance", "spot", "bars", "BTCUSDT", "1m"): {},
    ("binance", "spot", "trades", "BTCUSDT", ""): {},
    ("binance", "usdm", "bars", "BTCUSDT", "1m"): {},
}
"""What is asked, and the facts that the recorded answer tells: counted in its JSON by hand. Binance's are made of its stream."""
STREAMED = {
    "iex": {TRADES: 3 + 1, QUOTES: 2},  # one of the trades is broken: quarantined, for it names none
    "crypto": {TRADES: 3, QUOTES: 2},
    "fx": {QUOTES: 2},
    "reference": {MEASURES: 2},
}
"""What Tiingo's streams tell: of IEX also with a free token."""
PLAN = Faults(http=(HttpFault("garble", path="/v3/trades"), HttpFault("truncate", path="/tiingo/daily")))


@dataclass
class Job:
    """A lake into which everything was captured, landed and promoted."""

    lake: Lake
    told: Counter[tuple[str, str]]
    reports: dict[tuple[str, ...], CaptureReport] = field(default_factory=dict)
    promoted: dict[str, PromotionReport] = field(default_factory=dict)


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Job]:
    home = tmp_path_factory.mktemp("asked")
    told: Counter[tuple[str, str]] = Counter()
    for provider, facts in [
        *((asked[0], facts) for asked, facts in ASKED.items()),
        *(("tiingo", each) for each in STREAMED.values()),
    ]:
        told.update({(provider, table): count for table, count in facts.items()})
    with (
        Lake.create(load_settings(home=home), system_clock) as lake,
        SegmentLog(home / "log", system_clock, min_free_bytes=1 << 20, min_age_s=0) as log,
        Simulator(PLAN, streams=("tiingo",), excerpt=600) as sim,
    ):
        told.update(traded(sim))
        job, reach = Job(lake, told), simulated(sim.addresses(), sim.keys)
        for asked in ASKED:
            provider, feed, word, symbol, interval = asked
            offer = PROVIDERS[provider].offers_of(feed, word)[0]
            job.reports[asked] = capture_pages(
                lake, log, offer.pages(), [Ask(symbol, interval, *(DAY if provider == "binance" else YEARS))],
                reach.asked(provider, feed), provider=provider, feed=feed,
                sleep=lambda seconds: None, rng=random.Random(1), backoff=FAST,
            )  # fmt: skip
        for name in STREAMED:
            feed, token = ("iex", sim.keys.tiingo_free_token) if name == "reference" else (name, sim.keys.tiingo_token)
            push = PROVIDERS["tiingo"].push(feed)
            assert push is not None
            capture_stream(
                lake, log, push.session(recorded_symbols("tiingo", feed), (token,)), reach.listened("tiingo", push),
                provider="tiingo", feed=feed, sleep=lambda seconds: None, rng=random.Random(1), backoff=FAST,
            )  # fmt: skip
        land(lake, log)
        job.promoted = {provider: promote(lake, provider) for provider in ("alpaca", "polygon", "tiingo", "binance")}
        yield job


def traded(sim: Simulator) -> Counter[tuple[str, str]]:
    """The trades that the recorded streams tell, and the minutes that they fell in."""
    found: Counter[tuple[str, str]] = Counter()
    for market in ("spot", "usdm"):
        frames = [orjson.loads(each.payload)["data"] for each in sim.recording(market).frames if "@trade" in each.stream]
        found["binance", BARS] += len({each["T"] // 60_000 for each in frames})
        found["binance", TRADES] += len({each["t"] for each in frames}) if market == "spot" else 0
    return found


def test_every_question_is_answered(job: Job) -> None:
    assert {report.ended for report in job.reports.values()} == {"all asked"}
    assert {outcome["verdict"] for report in job.reports.values() for outcome in report.outcomes} == {"OK"}
    assert job.reports["alpaca", "iex", "latest_trades", "AAPL,TSLA,XXXX", ""].outcomes[0]["detail"] == "2 rows; no data: XXXX"
    again = {asked[:3]: report.verdicts for asked, report in job.reports.items() if "MALFORMED" in report.verdicts}
    assert again == {
        ("polygon", "market", "trades"): {"MALFORMED": 1, "OK": 1}, ("tiingo", "daily", "bars"): {"MALFORMED": 1, "OK": 1},
    }  # fmt: skip


def test_what_was_told_is_published_or_quarantined_with_its_reason(job: Job) -> None:
    refused = [row for row in read(job.lake, "quality.quarantine").to_pylist() if row["provider"] in job.promoted]
    assert all(row["rule"] and row["expected"] for row in refused)
    found = Counter((str(row["provider"]), str(row["table_name"])) for row in refused)
    for provider, table in job.told:
        if table != MESSAGES:
            rows = read(job.lake, table, ["provider"], where=[Where("provider", "=", provider)])
            found[provider, table] += rows.num_rows
    assert job.told - found == {("tiingo", QUOTES): 1}  # an answer and a frame tell the same quote: one row
    assert not found - job.told


def test_reports_of_promotion_add_up_to_the_same(job: Job) -> None:
    repeated = {(provider, name): each.repeated for provider, told in job.promoted.items() for name, each in told.tables.items()}
    assert {key: count for key, count in repeated.items() if count} == {("tiingo", QUOTES): 1}
    for provider, report in job.promoted.items():
        messages = job.told[provider, MESSAGES]
        assert (report.waiting, report.refused_messages, report.holds) == (0, messages, []), provider
        for table, counts in report.tables.items():
            assert counts.decoded == counts.rows + counts.repeated + counts.quarantined + counts.held
            assert counts.decoded == job.told[provider, table], (provider, table)
