"""Alpaca, Finnhub and Alpha Vantage from the simulator's sockets to normalized rows, and their keys nowhere on the way."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ingest.asks import Address, Ask, Pages
from ingest.capture import CaptureReport, capture_pages, capture_stream
from ingest.imports import import_paths
from ingest.landing import land
from ingest.providers.alpaca import MarketData
from ingest.providers.alpaca_stream import MarketStream
from ingest.providers.alpha_vantage import Query
from ingest.providers.finnhub import Quote, TradeStream
from ingest.simulator import Faults, HttpFault, Simulator, StreamFault
from ingest.simulator.keyed import Keys
from ingest.simulator.recorded import FOLDER
from ingest.transport.backoff import Backoff
from lake.catalog import Lake
from lake.instants import system_clock
from lake.log.segments import SegmentLog
from lake.scan import Where, read
from lake.settings import load_settings
from quality_checks.promotion import promote

FAST = Backoff(attempts=4, first_s=0.01, ceiling_s=0.05)
KEYS = Keys()
PLAN = Faults(
    http=(HttpFault("status", path="/query", status=429), HttpFault("status", path="/api/v1/quote", status=429, skip=1)),
    stream=(StreamFault("drop", "finnhub", 3, overlap=1), StreamFault("garble", "alpaca", 1)),
)
STOCK_STREAM = ("trades", "quotes", "bars", "updatedBars", "dailyBars", "statuses")


def ask(symbol: str, interval: str = "1d", start: str = "2000-01-01", end: str = "2025-01-01") -> Ask:
    return Ask(
        symbol, interval, datetime.fromisoformat(start).replace(tzinfo=UTC), datetime.fromisoformat(end).replace(tzinfo=UTC)
    )


@dataclass
class Job:
    """A lake into which everything was captured, landed and promoted, and what the captures told."""

    lake: Lake
    home: Path
    reports: dict[str, CaptureReport] = field(default_factory=dict)

    def rows(self, table: str, provider: str, feed: str) -> list[dict[str, object]]:
        found = read(self.lake, table, where=[Where("provider", "=", provider)]).to_pylist()
        return [row for row in found if row["feed"] == feed]


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Job]:
    home = tmp_path_factory.mktemp("keyed")
    with (
        Lake.create(load_settings(home=home), system_clock) as lake,
        SegmentLog(home / "log", system_clock, min_free_bytes=1 << 20, min_age_s=0) as log,
        Simulator(PLAN, markets=()) as sim,
    ):
        job = Job(lake, home)

        def poll(name: str, pages: Pages, asks: list[Ask], address: Address, provider: str, feed: str) -> None:
            job.reports[name] = capture_pages(
                lake, log, pages, asks, address, provider=provider, feed=feed,
                sleep=lambda seconds: None, rng=random.Random(1), backoff=Backoff(4, 0.01, 90.0),
            )  # fmt: skip

        def listen(name: str, session: MarketStream | TradeStream, address: Address, provider: str, feed: str) -> None:
            job.reports[name] = capture_stream(
                lake, log, session, address, provider=provider, feed=feed,
                sleep=lambda seconds: None, rng=random.Random(1), backoff=FAST,
            )  # fmt: skip

        spring = ("2022-01-01", "2022-06-01")
        poll("bars", MarketData("sip"), [ask("AAPL,MSFT", "1d", *spring), ask("AAPL,TSLA", "1d", "2022-03-01", "2022-06-01")],
             sim.alpaca, "alpaca", "sip")  # fmt: skip
        poll("trades", MarketData("sip", "trades"), [ask("AAPL,TSLA", "1d", *spring)], sim.alpaca, "alpaca", "sip")
        poll("quotes", MarketData("sip", "quotes"), [ask("AAPL", "1d", *spring)], sim.alpaca, "alpaca", "sip")
        poll("chain", MarketData("opra", "chain"), [ask("AAPL")], sim.alpaca, "alpaca", "opra")
        poll("option quotes", MarketData("opra", "latest_quotes"), [ask("AAPL240126P00050000")], sim.alpaca, "alpaca", "opra")
        poll("actions", MarketData("actions", "actions"), [ask("*"), ask("SRE")], sim.alpaca, "alpaca", "actions")
        poll("quote", Quote(), [ask("AAPL"), ask("AAPL"), ask("XXXX")], sim.finnhub, "finnhub", "quote")
        poll("series", Query(is_full=True), [ask("IBM"), ask("AAPL", "15m", "2021-07-01", "2021-08-20")],
             sim.alpha_vantage, "alpha_vantage", "stocks")  # fmt: skip
        poll(
            "premium",
            Query(is_adjusted=True, is_full=True),
            [ask("IBM"), ask("GME")],
            sim.alpha_vantage,
            "alpha_vantage",
            "stocks",
        )
        poll(
            "fx", Query(is_full=True), [ask("EUR/USD"), ask("EUR/USD", "quote")], sim.alpha_vantage, "alpha_vantage", "currencies"
        )
        session = MarketStream("iex", ["AAPL", "TSLA", "SPY"], KEYS.alpaca_key_id, KEYS.alpaca_secret, channels=STOCK_STREAM)
        listen("stream", session, sim.alpaca, "alpaca", "iex")
        listen(
            "ticks", TradeStream(["AAPL", "TSLA", "BINANCE:BTCUSDT", "OANDA:EUR_USD"]), sim.finnhub_stream, "finnhub", "trades"
        )
        land(lake, log)
        for provider in ("alpaca", "finnhub", "alpha_vantage"):
            promote(lake, provider)
        yield job


def test_every_capture_ends_as_it_should(job: Job) -> None:
    ended = {name: report.ended for name, report in job.reports.items()}
    assert ended.pop("stream") == ended.pop("ticks") == "end of recording"
    assert ended.pop("premium").startswith("refused: NOT_ENTITLED Thank you for using Alpha Vantage! This is a premium endpoint")
    assert set(ended.values()) == {"all asked"}
    told = {name: [outcome["verdict"] for outcome in report.outcomes] for name, report in job.reports.items()}
    assert told["quote"] == ["OK", "OK", "UNKNOWN_SYMBOL"]
    assert told["premium"] == ["OK", "NOT_ENTITLED"]
    assert told["bars"] == ["OK", "OK"]
    assert [outcome["detail"] for outcome in job.reports["bars"].outcomes] == ["2 rows; no data: MSFT", "2 rows"]
    assert job.reports["quote"].verdicts == {"OK": 2, "THROTTLED": 1, "UNKNOWN_SYMBOL": 1}
    assert job.reports["series"].verdicts["THROTTLED"] == 1
    assert (job.reports["ticks"].connections, job.reports["ticks"].drops) == (2, 1)


def test_pages_are_followed_by_their_tokens(job: Job) -> None:
    calls = job.reports["actions"].calls
    assert [("page_token=" in call["url"]) for call in calls] == [False, True, False]
    assert [outcome["detail"] for outcome in job.reports["actions"].outcomes] == ["14 rows", "1 rows"]
    assert all("asof=-" in call["url"] for name in ("bars", "trades", "quotes") for call in job.reports[name].calls)


def test_alpaca_fills_its_tables(job: Job) -> None:
    bars = job.rows("normalized.bars", "alpaca", "sip")
    sessions = sorted((row["symbol"], str(row["session_date"])) for row in bars)
    assert sessions == [("AAPL", "2022-02-01"), ("AAPL", "2022-02-02"), ("AAPL", "2022-03-09"), ("TSLA", "2022-03-09")]
    assert {row["basis"] for row in bars} == {"as_traded"}
    assert {(row["symbol"], row["trade_id"]) for row in job.rows("normalized.trades", "alpaca", "sip")} == {
        ("AAPL", "2022-03-09:D:151"),
        ("TSLA", "2022-03-09:D:145"),
    }
    crossed = job.rows("normalized.quotes", "alpaca", "sip")
    assert len(crossed) == 2
    assert all(row["bid_price"] > row["ask_price"] for row in crossed)  # type: ignore[operator]
    found = read(job.lake, "quality.findings", ["kind"]).to_pylist()
    assert Counter(row["kind"] for row in found)["crossed_quote"] >= 2
    options = {row["symbol"]: row for row in job.rows("normalized.quotes", "alpaca", "opra")}
    assert set(options) == {"AAPL240503P00155000", "AAPL240126P00050000"}
    actions = {(row["symbol"], row["kind"]) for row in job.rows("normalized.corporate_actions", "alpaca", "actions")}
    assert actions == {("MNTS", "split"), ("SRE", "split"), ("FCF", "cash_dividend"), ("ZMTBY", "cash_dividend")}


def test_identities_are_shared_between_providers(job: Job) -> None:
    found = read(job.lake, "reference.instruments", ["identity"]).to_pylist()
    identities = {row["identity"] for row in found}
    assert {"listing:US/AAPL", "listing:US/IBM", "listing:BINANCE/BTCUSDT:spot", "listing:OPRA/AAPL240126P00050000"} <= identities
    assert not {name for name in identities if name.startswith("provider:") and "AAPL" in name}


def test_alpacas_stream_is_kept_whole(job: Job) -> None:
    frames = read(job.lake, "raw.messages", ["payload", "feed", "request"], [Where("provider", "=", "alpaca")]).to_pylist()
    frames = [row for row in frames if row["feed"] == "iex"]
    assert len(frames) == job.reports["stream"].messages == 3 + 11
    assert sum(row["request"] is not None for row in frames) == 1  # the frame of quotes that came twice
    assert {row["trade_id"] for row in job.rows("normalized.trades", "alpaca", "iex")} == {"2022-03-09:D:151", "2022-03-09:D:145"}
    assert len(job.rows("normalized.quotes", "alpaca", "iex")) == 3
    spy = [row for row in job.rows("normalized.bars", "alpaca", "iex") if row["symbol"] == "SPY"]
    assert sorted(row["volume"] for row in spy) == [2100, 2150]  # type: ignore[type-var]


def test_equal_trades_count_and_equal_frames_do_not(job: Job) -> None:
    trades = job.rows("normalized.trades", "finnhub", "trades")
    assert Counter(row["symbol"] for row in trades) == {"TSLA": 7, "AAPL": 6, "BINANCE:BTCUSDT": 2}
    twins = [row for row in trades if str(row["price"]) == "130.010000000"]
    assert len(twins) == 2
    gaps = read(job.lake, "quality.gaps", ["provider", "symbol", "status"], [Where("provider", "=", "finnhub")]).to_pylist()
    told = {"AAPL", "TSLA", "BINANCE:BTCUSDT", "OANDA:EUR_USD"}  # what has not spoken may have been missed too
    assert {row["symbol"] for row in gaps} == told


def test_what_is_no_fact_of_ours_is_counted(job: Job) -> None:
    found = Counter(row["rule"] for row in read(job.lake, "quality.quarantine", ["rule"]).to_pylist())
    assert found == {"unsupported_action": 10, "unsupported_event": 1, "price_update": 2, "malformed": 1}


def test_a_quote_is_the_day_so_far(job: Job) -> None:
    (bar,) = job.rows("normalized.bars", "finnhub", "quote")
    assert (str(bar["session_date"]), str(bar["close"]), bar["is_final"], bar["volume"]) == (
        "2021-08-18",
        "146.360000000",
        False,
        None,
    )


def test_alpha_vantage_fills_its_tables(job: Job) -> None:
    bars = job.rows("normalized.bars", "alpha_vantage", "stocks")
    quarters = [row for row in bars if row["interval"] == "15m"]
    assert (len(quarters), {row["basis"] for row in quarters}) == (100, {"as_traded"})
    assert max(row["ts_open"] for row in quarters) == datetime(2021, 8, 18, 23, 45, tzinfo=UTC)  # type: ignore[type-var]
    assert {str(row["session_date"]) for row in bars if row["interval"] == "1d"} == {"2020-05-07", "2020-05-08"}
    (paid,) = job.rows("normalized.corporate_actions", "alpha_vantage", "stocks")
    assert (paid["symbol"], str(paid["amount"]), str(paid["ex_date"])) == ("IBM", "1.630000000", "2020-05-07")
    fx = job.rows("normalized.bars", "alpha_vantage", "currencies")
    assert len(fx) == 5_000
    assert len(job.rows("normalized.quotes", "alpha_vantage", "currencies")) == 1


def test_no_key_is_anywhere_in_the_lake_or_the_log(job: Job) -> None:
    secrets = [KEYS.alpaca_key_id, KEYS.alpaca_secret, KEYS.finnhub_token, KEYS.alpha_vantage_key]
    for table in ("raw.messages", "ops.captures", "ops.provider_calls", "quality.gaps", "quality.quarantine", "quality.findings"):
        text = repr(read(job.lake, table).to_pylist())
        assert not [secret for secret in secrets if secret in text], table
    for path in job.home.rglob("*"):
        if path.is_file() and path.stat().st_size < 64 << 20:
            content = path.read_bytes()
            assert not [secret for secret in secrets if secret.encode() in content], path
    assert not [secret for secret in secrets if secret in repr([report.document() for report in job.reports.values()])]


def test_a_key_that_a_provider_quotes_is_replaced_and_that_is_told(job: Job) -> None:
    rows = read(job.lake, "raw.messages", ["payload", "request"], [Where("provider", "=", "alpha_vantage")]).to_pylist()
    (quoting,) = [row for row in rows if b"your API key as" in row["payload"]]
    assert b"your API key as REDACTED and" in quoting["payload"]
    assert json.loads(quoting["request"])["secrets_replaced"] == 1


def test_recorded_files_are_imported(tmp_path: Path) -> None:
    with (
        Lake.create(load_settings(home=tmp_path), system_clock) as lake,
        SegmentLog(tmp_path / "log", system_clock, min_free_bytes=1 << 20, min_age_s=0) as log,
    ):
        wanted = [("alpaca", "sip", "historical_stock_data__get_*.json", 6), ("alpaca", "iex", "stream.jsonl", 11),
                  ("alpaca", "actions", "corporate*.json", 2), ("finnhub", "trades", "trades.jsonl", 8),
                  ("finnhub", "quote", "quote_AAPL.json", 1), ("alpha_vantage", "stocks", "mock_time_series*", 2),
                  ("alpha_vantage", "currencies", "forex_daily.json", 1)]  # fmt: skip
        for provider, feed, pattern, messages in wanted:
            paths = [path for path in sorted((FOLDER / provider).glob(pattern)) if "multi" not in path.name]
            report = import_paths(lake, log, provider, feed, paths)
            assert (report.messages, report.errors) == (messages, ()), (provider, feed)
            assert import_paths(lake, log, provider, feed, paths).appended == 0
        land(lake, log)
        for provider in ("alpaca", "finnhub", "alpha_vantage"):
            promote(lake, provider)
        trades = read(lake, "normalized.trades", ["provider"]).to_pylist()
        assert Counter(row["provider"] for row in trades) == {"finnhub": 15, "alpaca": 2 + 1 + 3}
        assert read(lake, "normalized.bars", ["provider"], [Where("provider", "=", "alpha_vantage")]).num_rows == 100 + 11_190 + 2
        assert read(lake, "normalized.corporate_actions", ["provider"]).num_rows == 4
