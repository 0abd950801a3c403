"""Alpaca's news, page by page, and the newest of each symbol: what is asked, what answers mean, over the simulator's sockets."""

from __future__ import annotations

import random
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.asks import Address, Ask, Response
from ingest.capture import capture_pages
from ingest.providers.alpaca import Feed, Kind, MarketData, credentials, kinds_of
from ingest.simulator import Faults, HttpFault, Simulator
from ingest.verdicts import Verdict
from lake.catalog import Lake
from lake.errors import InvalidValueError
from lake.log.segments import SegmentLog
from tests.ingest.conftest import FAST, Waits, history_of, messages_of
from tests.ingest.decoding import row_counts

SPAN = (datetime(2024, 8, 1, tzinfo=UTC), datetime(2025, 1, 1, tzinfo=UTC))
ARTICLE = b'{"id":1,"headline":"x","symbols":["A"],"created_at":"2024-08-18T20:15:44Z"}'


def news() -> MarketData:
    pages = MarketData("news", "news")
    pages.first(Ask("AAPL", "", *SPAN))
    return pages


def test_news_are_asked_in_order_by_fifty_and_of_all_companies_by_a_star() -> None:
    request = MarketData("news", "news").first(Ask("AAPL,BTCUSD", "", *SPAN))
    assert (request.path, request.what) == ("/v1beta1/news", "news/news")
    assert dict(request.params) == {
        "symbols": "AAPL,BTCUSD", "start": "2024-08-01T00:00:00Z", "end": "2024-12-31T23:59:59.999999Z", "sort": "asc",
        "limit": "50",
    }  # fmt: skip
    assert "symbols" not in dict(MarketData("news", "news").first(Ask("*", "", *SPAN)).params)


@pytest.mark.parametrize(
    ("feed", "kind", "path", "params"),
    [
        ("iex", "latest_trades", "/v2/stocks/trades/latest", {"symbols": "AAPL", "feed": "iex"}),
        ("sip", "latest_bars", "/v2/stocks/bars/latest", {"symbols": "AAPL", "feed": "sip"}),
        ("sip", "latest_quotes", "/v2/stocks/quotes/latest", {"symbols": "AAPL", "feed": "sip"}),
        ("opra", "latest_quotes", "/v1beta1/options/quotes/latest", {"symbols": "AAPL", "feed": "opra"}),
        ("crypto", "latest_trades", "/v1beta3/crypto/us/latest/trades", {"symbols": "AAPL"}),
        ("crypto", "latest_bars", "/v1beta3/crypto/us/latest/bars", {"symbols": "AAPL"}),
    ],
)
def test_the_newest_is_asked_without_window_and_pages(feed: Feed, kind: Kind, path: str, params: dict[str, str]) -> None:
    request = MarketData(feed, kind).first(Ask("AAPL", "", *SPAN))
    assert (request.path, dict(request.params)) == (path, params)


def test_what_has_no_row_is_not_offered() -> None:
    assert "latest_trades" not in kinds_of("opra")
    for feed, kind, symbol in (("opra", "latest_trades", "AAPL"), ("iex", "news", "AAPL"), ("iex", "latest_bars", "*")):
        with pytest.raises(InvalidValueError):
            MarketData(feed, kind).first(Ask(symbol, "", *SPAN))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("status", "body", "verdict"),
    [
        (200, b'{"news":[' + ARTICLE + b'],"next_page_token":null}', Verdict.OK),
        (200, b'{"news":[],"next_page_token":null}', Verdict.EMPTY_VALID),
        (200, b'{"news":null,"next_page_token":null}', Verdict.EMPTY_VALID),
        (200, b'{"news":{},"next_page_token":null}', Verdict.MALFORMED),
        (200, b'{"news":[],"next_page_token":7}', Verdict.MALFORMED),
        (200, b'{"bars":{}}', Verdict.MALFORMED),
        (200, b'{"news":[{"id":1', Verdict.MALFORMED),
        (200, b"<html>maintenance</html>", Verdict.MALFORMED),
        (401, b'{"message":"unauthorized."}', Verdict.AUTH),
        (403, b'{"message":"forbidden."}', Verdict.AUTH),
        (403, b'{"message":"your subscription does not permit news"}', Verdict.NOT_ENTITLED),
        (400, b'{"message":"invalid symbol: A!"}', Verdict.UNKNOWN_SYMBOL),
        (400, b'{"message":"invalid limit"}', Verdict.BAD_REQUEST),
        (429, b'{"message":"too many requests."}', Verdict.THROTTLED),
        (504, b"", Verdict.UPSTREAM_5XX),
    ],
)
def test_answers_about_news_mean(status: int, body: bytes, verdict: Verdict) -> None:
    assert news().read(Response(status, {}, body)).reading.verdict is verdict


def test_pages_of_news_never_go_in_a_circle() -> None:
    pages, told = news(), Response(200, {}, b'{"news":[' + ARTICLE + b'],"next_page_token":"t1"}')
    first = pages.read(told)
    assert first.next is not None
    assert dict(first.next.params)["page_token"] == "t1"
    assert pages.read(told).reading.verdict is Verdict.MALFORMED


@given(
    st.binary(max_size=60) | st.sampled_from([b'{"news":[]}', b'{"quotes":[1]}', b'{"trades":null}', b"[]"]),
    st.integers(100, 599),
)
def test_any_bytes_have_a_meaning(body: bytes, status: int) -> None:
    for feed, kind in (("news", "news"), ("iex", "latest_trades"), ("crypto", "latest_bars")):
        pages = MarketData(feed, kind)  # type: ignore[arg-type]
        pages.first(Ask("AAPL", "", *SPAN))
        assert pages.read(Response(status, {}, body)).reading.verdict in Verdict


def test_news_come_whole_through_throttling_and_broken_bodies(lake: Lake, log: SegmentLog, waits: Waits) -> None:
    plan = Faults(
        http=(HttpFault("status", path="/v1beta1/news", retry_after_s=0), HttpFault("truncate", path="/v1beta1/news", skip=1))
    )
    asks = [Ask("AAPL,CWAN", "", *SPAN), Ask("XXXX", "", *SPAN)]
    with Simulator(plan, markets=(), streams=()) as sim:
        report = capture_pages(
            lake, log, MarketData("news", "news"), asks, sim.alpaca, provider="alpaca", feed="news", sleep=waits,
            rng=random.Random(1), backoff=FAST,
        )  # fmt: skip
        nobody = Address(sim.yahoo.http, credentials=credentials("nobody", "no-secret-of-anybody"))
        refused = capture_pages(
            lake, log, MarketData("news", "news"), asks, nobody, provider="alpaca", feed="news", sleep=waits, backoff=FAST
        )
    assert report.verdicts == {"THROTTLED": 1, "MALFORMED": 1, "OK": 3, "EMPTY_VALID": 1}
    assert [each["detail"] for each in report.outcomes] == ["2 rows", "0 rows"]
    assert refused.ended.startswith("refused: AUTH")
    assert len(history_of(log, "ops.provider_calls")) == len(messages_of(log)) == 7
    assert row_counts(log, ("alpaca", "news")) == {("alpaca", "news", "news"): 3}
