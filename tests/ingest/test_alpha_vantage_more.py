"""Alpha Vantage beside prices and companies: what is asked, what answers at HTTP 200 mean, rows from the simulator's sockets."""

from __future__ import annotations

import random
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.asks import Ask, Pages, Response
from ingest.capture import CaptureReport, capture_pages
from ingest.providers.alpha_vantage import Query, months_of
from ingest.providers.alpha_vantage_more import ECONOMIC, EVERY, NAMED, QUESTIONS, Answers, Digital, Economic
from ingest.providers.registry import OFFERS, provider_named
from ingest.simulator import Faults, HttpFault, Simulator
from ingest.simulator.asking import recorded_symbols
from ingest.simulator.keyed import Keys
from ingest.transport.backoff import Backoff
from ingest.verdicts import Verdict
from lake.catalog import Lake
from lake.errors import InvalidValueError
from lake.log.segments import SegmentLog
from tests.ingest.conftest import Waits, history_of, messages_of
from tests.ingest.decoding import decoded_of, row_counts

MAY = (datetime(2024, 5, 1, tzinfo=UTC), datetime(2024, 6, 1, tzinfo=UTC))
KEYS = Keys()
SPENT = (
    b'{"Information":"We have detected your API key as X and our standard API rate limit is 25 requests per day. Please subscribe'
    b' to any of the premium plans."}'
)


def ask(symbol: str, interval: str = "1d") -> Ask:
    return Ask(symbol, interval, *MAY)


def answer(body: bytes, status: int = 200) -> Response:
    return Response(status, {}, body)


def test_what_is_asked_names_its_window_as_the_function_wants_it() -> None:
    asked = dict(Answers("news").first(ask("IBM,CRYPTO:BTC")).params)
    assert asked == {
        "function": "NEWS_SENTIMENT", "tickers": "IBM,CRYPTO:BTC", "time_from": "20240501T0000", "time_to": "20240531T2359",
        "sort": "EARLIEST", "limit": "1000",
    }  # fmt: skip
    chain = Answers("options").first(ask("IBM"))
    assert (chain.what, dict(chain.params)["date"]) == ("HISTORICAL_OPTIONS", "2024-05-31")
    assert dict(Answers("search").first(ask("apple inc")).params)["keywords"] == "apple inc"
    assert Answers("movers").first(ask(EVERY)).params == (("function", "TOP_GAINERS_LOSERS"),)
    minutes, weeks = Digital().first(ask("ETH/USD", "5m")), Digital().first(ask("BTC/EUR", "1wk"))
    assert minutes.params[:3] == (("function", "CRYPTO_INTRADAY"), ("symbol", "ETH"), ("market", "USD"))
    assert weeks.params == (("function", "DIGITAL_CURRENCY_WEEKLY"), ("symbol", "BTC"), ("market", "EUR"))


def test_intraday_history_is_asked_month_by_month() -> None:
    pages = Query(is_full=True)
    asked = [pages.first(Ask("IBM", "5m", MAY[0].replace(year=2023, month=12), datetime(2024, 2, 10, tzinfo=UTC)))]
    page = pages.read(answer(b"{}"))
    while page.next is not None:
        asked.append(page.next)
        page = pages.read(answer(b"{}"))
    assert [dict(each.params)["month"] for each in asked] == ["2023-12", "2024-01", "2024-02"]


@pytest.mark.parametrize(
    ("start", "end", "months"),
    [
        ("2024-01-01T00:00Z", "2024-02-01T00:00Z", ["2024-01"]),
        ("2024-06-01T00:00Z", "2024-07-01T00:00Z", ["2024-06"]),
        ("2024-02-01T05:00Z", "2024-03-01T05:00Z", ["2024-02"]),  # midnight in New York
        ("2024-02-01T05:00Z", "2024-03-01T05:01Z", ["2024-02", "2024-03"]),
        ("2023-12-31T23:00Z", "2024-02-01T00:00Z", ["2023-12", "2024-01"]),
        ("2024-02-01T00:10Z", "2024-02-01T00:30Z", ["2024-01"]),  # the evening before in New York
    ],
)
def test_a_window_takes_the_months_that_it_reaches_into_and_its_end_is_in_none(start: str, end: str, months: list[str]) -> None:
    window = datetime.fromisoformat(start), datetime.fromisoformat(end)
    assert months_of(*window) == months
    offer = next(each for each in OFFERS if each.endpoint == "TIME_SERIES_INTRADAY")
    assert offer.parts is not None and offer.parts(*window) == len(months)
    assert dict(Query(is_full=True).first(Ask("IBM", "5m", *window)).params)["month"] == months[0]


@pytest.mark.parametrize(
    ("body", "verdict"),
    [
        (b'{"symbol":"IBM","data":[{"ex_dividend_date":"2024-05-09","amount":"1.67"}]}', Verdict.OK),
        (b'{"symbol":"NONE","data":[]}', Verdict.EMPTY_VALID),
        (b'{"endpoint":"Historical Options","message":"success","data":[{}]}', Verdict.OK),
        (b'{"endpoint":"Historical Options","message":"success","data":[]}', Verdict.EMPTY_VALID),
        (b'{"endpoint":"Realtime Bulk Quotes","message":"These are sample data. Subscribe to a premium plan.","data":[{}]}',
         Verdict.NOT_ENTITLED),
        (b'{"bestMatches":[]}', Verdict.EMPTY_VALID),
        (b'{"items":"0","feed":[]}', Verdict.EMPTY_VALID),
        (b'{"top_gainers":[{}],"top_losers":[],"most_actively_traded":[]}', Verdict.OK),
        (b'{"markets":[{}]}', Verdict.OK),
        (b"symbol,name,exchange\r\nA,Agilent,NYSE\r\n", Verdict.OK),
        (b"symbol,name,exchange", Verdict.EMPTY_VALID),
        (b'{"Information":"Invalid inputs. Please refer to the API documentation."}', Verdict.BAD_REQUEST),
        (SPENT, Verdict.THROTTLED),
        (b'{"Error Message":"Invalid API call. Please retry or visit the documentation for SPLITS."}', Verdict.UNKNOWN_SYMBOL),
        (b'{"Error Message":"the parameter apikey is invalid or missing."}', Verdict.AUTH),
        (b'{"message":"success"}', Verdict.MALFORMED),
        (b'{"symbol":"IBM","data":[', Verdict.MALFORMED),
    ],
)  # fmt: skip
def test_answers_mean(body: bytes, verdict: Verdict) -> None:
    for pages in (Answers("dividends"), Economic(), Digital()):
        assert pages.read(answer(body)).reading.verdict is verdict


def test_a_days_quota_is_told_by_repetition_whatever_is_asked() -> None:
    for pages in (Answers("news"), Economic(), Digital()):
        told = [pages.read(answer(SPENT)).reading.verdict.value for _ in range(3)]
        assert told == ["THROTTLED", "THROTTLED", "QUOTA_EXHAUSTED"]
        assert pages.read(answer(b"{}")).reading.verdict is Verdict.EMPTY_VALID
        assert pages.read(answer(SPENT)).reading.verdict is Verdict.THROTTLED


def test_what_is_paid_for_or_ends_in_raw_is_asked_by_name_alone() -> None:
    alpha = provider_named("alpha_vantage")
    assert not set(NAMED) & set(OFFERS)
    assert {offer.word for offer in NAMED} == {
        "bulk",
        "adjusted",
        *(word for word, each in QUESTIONS.items() if each.feed == "reference"),
    }
    assert alpha.meant("search", None) == ("reference", "search")
    daily, *_ = alpha.offers_of("stocks", "adjusted")
    assert daily.pages().first(ask("IBM")).what == daily.endpoint == "TIME_SERIES_DAILY_ADJUSTED"


@pytest.mark.parametrize(
    "make",
    [
        lambda: Answers("gossip"),
        lambda: Answers("movers").first(ask("IBM")),
        lambda: Answers("news").first(ask("IBM&x=1")),
        lambda: Answers("search").first(ask(" ")),
        lambda: Answers("bulk").first(ask(",".join(["A"] * 101))),
        lambda: Answers("splits").first(Ask("IBM", "", MAY[1], MAY[0])),
        lambda: Economic().first(ask("SMA")),
        lambda: Digital().first(ask("BTC")),
        lambda: Digital().first(ask("BTC/EUR", "2h")),
    ],
)
def test_what_cannot_be_asked_is_refused_here(make: object) -> None:
    with pytest.raises(InvalidValueError):
        make()  # type: ignore[operator]


@given(
    st.binary(max_size=60) | st.sampled_from([b'{"data":5}', b'{"message":[]}', b'{"feed":[1]}', b'{"symbol":1,"data":{}}']),
    st.integers(100, 599),
)
def test_any_bytes_have_a_meaning(body: bytes, status: int) -> None:
    readers: list[Pages] = [Economic(), Digital(), *(Answers(word) for word in QUESTIONS)]
    for pages in readers:
        assert pages.read(answer(body, status)).reading.verdict in Verdict


def captured(lake: Lake, log: SegmentLog, sim: Simulator, word: str, waits: Waits, interval: str = "1d") -> CaptureReport:
    alpha = provider_named("alpha_vantage")
    feed, data = alpha.meant(word, None)
    offer = next(each for each in alpha.offers_of(feed, data) if not each.intervals or interval in each.intervals)
    asks = [ask(symbol, interval) for symbol in recorded_symbols("alpha_vantage", feed, word)]
    return capture_pages(
        lake, log, offer.pages(), asks, sim.alpha_vantage, provider="alpha_vantage", feed=feed, sleep=waits,
        rng=random.Random(1), backoff=Backoff(4, 0.01, 90.0),
    )  # fmt: skip


def test_answers_become_rows_and_refusals_none(shared_lake: Lake, log: SegmentLog, waits: Waits) -> None:
    plan = Faults(http=(HttpFault("status", path="/query", status=429), HttpFault("truncate", path="/query", skip=3)))
    with Simulator(plan, markets=(), streams=()) as sim:
        reports = {word: captured(shared_lake, log, sim, word, waits) for word in (*QUESTIONS, "economic", "crypto")}
    ended = {word: report.outcomes[-1]["verdict"] for word, report in reports.items()}
    assert ended.pop("bulk") == "NOT_ENTITLED" and set(ended.values()) == {"OK"}
    assert reports["dividends"].verdicts == {"THROTTLED": 1, "OK": 1} and reports["news"].verdicts == {"MALFORMED": 1, "OK": 1}
    assert KEYS.alpha_vantage_key not in repr(messages_of(log)) + repr(history_of(log, "ops.provider_calls"))
    feeds = [("alpha_vantage", feed) for feed in ("stocks", "news", "options", "indicators", "currencies", "reference")]
    assert row_counts(log, *feeds) == {
        ("alpha_vantage", "stocks", "corporate_actions"): 2 + 2, ("alpha_vantage", "news", "news"): 2 + 1,
        ("alpha_vantage", "news", "alternative"): 3 + 3, ("alpha_vantage", "options", "option_open_interest"): 2,
        ("alpha_vantage", "indicators", "index_levels"): 2, ("alpha_vantage", "indicators", "alternative"): 2 * 4,
        ("alpha_vantage", "currencies", "bars"): 3,
    }  # fmt: skip
    listed = [word for word, each in QUESTIONS.items() if each.feed == "reference"]
    assert decoded_of(log, "alpha_vantage", "reference").refused["rule"].to_pylist() == ["raw_only"] * len(listed)


def test_every_economic_series_is_a_function() -> None:
    assert [Economic().first(ask(name)).params for name in ECONOMIC] == [(("function", name),) for name in ECONOMIC]
