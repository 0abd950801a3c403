"""Binance by REST: what is asked page by page, what answers mean, and trades looked up that are those of the stream."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.asks import Ask, Pages, Request, Response
from ingest.capture import capture_pages
from ingest.providers.binance import Market
from ingest.providers.binance_rest import BOOK_TICKER, Depth, Klines, NewestQuote, NewestTrade, Trades
from ingest.shipped_plans import PLANS
from ingest.simulator import Faults, HttpFault, Simulator
from ingest.simulator.binance_web import binance_answer
from ingest.simulator.limits import Limit, Limits
from ingest.verdicts import Verdict
from lake.catalog import Lake
from lake.errors import InvalidValueError
from lake.log.segments import SegmentLog
from tests.ingest.conftest import FAST, Waits
from tests.ingest.decoding import decoded_of

DAY = (datetime(2024, 8, 8, tzinfo=UTC), datetime(2024, 8, 9, tzinfo=UTC))
BTC = Ask("BTCUSDT", "1m", *DAY)


def answer(body: bytes, status: int = 200, **headers: str) -> Response:
    return Response(status, {name.replace("_", "-"): value for name, value in headers.items()}, body)


@pytest.mark.parametrize(
    ("body", "status", "verdict", "wait_s"),
    [
        (b"[]", 200, Verdict.EMPTY_VALID, None),
        (b'[[1499040000000,"1","1","1","1","1",1499644799999,"1",3,"1","1","0"]]', 200, Verdict.OK, None),
        (b'{"code":-1121,"msg":"Invalid symbol."}', 400, Verdict.UNKNOWN_SYMBOL, None),
        (b'{"code":-1120,"msg":"Invalid interval."}', 400, Verdict.BAD_REQUEST, None),
        (b'{"code":-1127,"msg":"More than 24 hours between startTime and endTime."}', 400, Verdict.OUT_OF_RANGE, None),
        (b'{"code":-2014,"msg":"API-key format invalid."}', 401, Verdict.AUTH, None),
        (b'{"code":-1003,"msg":"Too much request weight used."}', 429, Verdict.THROTTLED, 7.0),
        (b'{"code":-1003,"msg":"Way too much request weight used; IP banned until 1."}', 418, Verdict.THROTTLED, 7.0),
        (b"<html>403 Forbidden</html>", 403, Verdict.THROTTLED, 7.0),
        (b'{"code":0,"msg":"Service unavailable from a restricted location."}', 451, Verdict.NOT_ENTITLED, None),
        (b"Service unavailable from a restricted location", 451, Verdict.NOT_ENTITLED, None),
        (b'{"code":-1001,"msg":"Internal error; unable to process your request."}', 200, Verdict.UPSTREAM_5XX, None),
        (b"<html>502 Bad Gateway</html>", 502, Verdict.UPSTREAM_5XX, 7.0),
        (b"<html>Will be right back</html>", 200, Verdict.MALFORMED, None),
        (b"<html>moved</html>", 302, Verdict.UPSTREAM_5XX, 7.0),
        (b'[[2,"1"],[1,"1"]]', 200, Verdict.MALFORMED, None),
        (b"{}", 200, Verdict.MALFORMED, None),
        (b"", 200, Verdict.MALFORMED, None),
    ],
)
def test_answers_mean(body: bytes, status: int, verdict: Verdict, wait_s: float | None) -> None:
    pages = Klines("spot")
    pages.first(BTC)
    page = pages.read(answer(body, status, retry_after="7"))
    assert (page.reading.verdict, page.reading.retry_after_s, page.next) == (verdict, wait_s, None)


QUOTED = b'{"symbol":"BTCUSDT","bidPrice":"1","bidQty":"1","askPrice":"2","askQty":"1"}'


@pytest.mark.parametrize(
    ("pages", "body", "verdict"),
    [
        (NewestTrade, b'[{"id":1,"price":"1","qty":"1","time":1723075200001,"isBuyerMaker":true}]', Verdict.OK),
        (NewestTrade, b"[]", Verdict.EMPTY_VALID),
        (NewestTrade, b'[{"id":"1","time":2}]', Verdict.MALFORMED),
        (NewestTrade, QUOTED, Verdict.MALFORMED),
        (NewestTrade, b'{"code":-1121,"msg":"Invalid symbol."}', Verdict.UNKNOWN_SYMBOL),
        (NewestQuote, QUOTED, Verdict.OK),
        (NewestQuote, QUOTED.replace(b"BTC", b"ETH"), Verdict.MALFORMED),  # another's
        (NewestQuote, b'{"symbol":"BTCUSDT"}', Verdict.MALFORMED),
        (NewestQuote, b"[" + QUOTED + b"]", Verdict.MALFORMED),
        (NewestQuote, b'{"code":-1008,"msg":"Server is currently overloaded."}', Verdict.THROTTLED),
    ],
)
def test_the_newest_is_one_answer(pages: type[NewestTrade | NewestQuote], body: bytes, verdict: Verdict) -> None:
    asking = pages("usdm")
    assert asking.first(BTC).path == f"/fapi/v1/{'trades' if pages is NewestTrade else 'ticker/bookTicker'}"
    page = asking.read(answer(body, 400 if body.startswith(b'{"code"') else 200))
    assert (page.reading.verdict, page.next) == (verdict, None)


@pytest.mark.parametrize("market", ["spot", "usdm"])
def test_the_newest_is_asked_through_the_socket_for_what_it_weighs(
    lake: Lake, log: SegmentLog, waits: Waits, market: Market
) -> None:
    limits = Limits(lake.clock, {"binance": (Limit(100, 3_600.0),)})
    with Simulator(markets=(market,), streams=(), excerpt=600, limits=limits) as sim:
        reports = [
            capture_pages(
                lake, log, pages, [Ask("btcusdt", "1d", *DAY)], sim.binance(market), provider="binance", feed=market, sleep=waits
            )
            for pages in (NewestQuote(market), NewestTrade(market))
        ]
        frames = [orjson.loads(each.payload) for each in sim.recording(market).frames]
    assert [report.verdicts for report in reports] == [{"OK": 1}, {"OK": 1}]
    plan = PLANS["binance"][0]
    weights = [plan.weight(Request("GET", "", endpoint=each)) for each in (BOOK_TICKER, "trades")]
    assert [window["most"] for window in limits.report()[0]["windows"]] == [sum(weights)]
    found = decoded_of(log, "binance", market).tables
    quote, trade = ([each["data"] for each in frames if each["stream"].endswith(end)][-1] for end in ("@bookTicker", "@trade"))
    (row,) = found["normalized.quotes"].to_pylist()
    assert (f"{row['bid_price']:.8f}", f"{row['ask_price']:.8f}") == (f"{Decimal(quote['b']):.8f}", f"{Decimal(quote['a']):.8f}")
    assert [row["trade_id"] for row in found["normalized.trades"].to_pylist()] == [str(trade["t"])]


def asked_of_the_simulator(pages: Pages, ask: Ask, most: int = 50) -> tuple[list[dict[str, str]], list[object], Verdict]:
    """Put an ask to the simulator's own answers; return what was asked, every row told, and the last verdict."""
    request, params, rows = pages.first(ask), [], []
    for _ in range(most):
        params.append({"kind": request.endpoint, **dict(request.params)})
        told = binance_answer("spot", request.endpoint, dict(request.params))
        rows += orjson.loads(bytes(told.body)) if request.endpoint != "aggTrades" else []
        page = pages.read(answer(bytes(told.body), told.status_code))
        if page.next is None:
            return params, rows, page.reading.verdict
        request = page.next
    raise AssertionError(f"no end after {most} pages")


def test_trades_of_a_window_are_asked_by_their_ids() -> None:
    asked, rows, verdict = asked_of_the_simulator(Trades("spot"), Ask("btcusdt", "", *DAY))
    hours, lookups = [each for each in asked if "startTime" in each], [each for each in asked if "fromId" in each]
    assert verdict is Verdict.OK
    assert {int(each["endTime"]) - int(each["startTime"]) for each in hours} == {3_599_999}
    ids = [row["id"] for row in rows]  # type: ignore[index]
    assert ids == sorted(set(ids)) and len(ids) > 1_000
    assert [int(each["fromId"]) for each in lookups] == [ids[0], *(ids[end - 1] + 1 for end in range(1_000, len(ids), 1_000))]


def test_trades_that_are_missing_are_asked_by_number() -> None:
    _, rows, _ = asked_of_the_simulator(Trades("spot"), Ask("BTCUSDT", "", *DAY))
    first, last = rows[5]["id"], rows[1_500]["id"]  # type: ignore[index]
    asked, found, verdict = asked_of_the_simulator(Trades("spot"), Ask("BTCUSDT", "", *DAY, numbers=(first, last)))
    assert [each["fromId"] for each in asked] == [str(first), str(rows[1_005]["id"])]  # type: ignore[index]
    assert verdict is Verdict.OK
    assert {row["id"] for row in rows[5:1_501]} <= {row["id"] for row in found}  # type: ignore[index]


def test_a_window_without_trades_is_empty_hour_by_hour() -> None:
    quiet = Ask("BTCUSDT", "", DAY[0] - timedelta(days=30), DAY[0] - timedelta(days=30) + timedelta(minutes=150))
    asked, _, verdict = asked_of_the_simulator(Trades("spot"), quiet)
    assert (len(asked), verdict) == (3, Verdict.EMPTY_VALID)
    assert int(asked[-1]["endTime"]) + 1 == quiet.end.timestamp() * 1_000


def test_bars_go_on_after_a_full_page() -> None:
    pages = Klines("usdm")
    first = pages.first(BTC)
    assert (first.path, first.endpoint) == ("/fapi/v1/klines", "klines")
    start = int(dict(first.params)["startTime"])
    full = [[start + 60_000 * each, "1", "1", "1", "1", "1", start, "1", 1, "1", "1", "0"] for each in range(1_000)]
    page = pages.read(answer(orjson.dumps(full)))
    assert page.next is not None
    assert dict(page.next.params)["startTime"] == str(start + 60_000 * 999 + 1)
    assert pages.read(answer(b"[]")).reading.detail == "1000 bars"


@pytest.mark.parametrize(
    "make",
    [
        lambda: Klines("spot").first(Ask("BTCUSDT", "7m", *DAY)),
        lambda: Klines("spot").first(Ask("BTC/USDT", "1m", *DAY)),
        lambda: Trades("spot").first(Ask("BTCUSDT", "", *DAY, numbers=(5, 4))),
        lambda: Depth("spot").first(Ask("", "", *DAY)),
        lambda: Trades("spot").first(Ask("BTCUSDT", "", DAY[1], DAY[0])),
    ],
)
def test_what_cannot_be_asked_is_refused_here(make: object) -> None:
    with pytest.raises(InvalidValueError):
        make()  # type: ignore[operator]


ODD = [
    b"[]",
    b"[1]",
    b"[[]]",
    b"[[null,1,2,3,4,5,6]]",
    b'[{"f":-1}]',
    b'[{"f":"x"}]',
    b'[{"id":1,"time":2}]',
    b'{"code":1,"msg":"x"}',
]


@given(st.lists(st.binary(max_size=60) | st.sampled_from(ODD), min_size=1, max_size=4), st.integers(100, 599))
def test_any_bytes_have_a_meaning(bodies: list[bytes], status: int) -> None:
    for pages in (Klines("spot"), Trades("spot"), Depth("usdm")):
        for ask in (BTC, Ask("BTCUSDT", "1m", *DAY, numbers=(1, 9))):
            pages.first(ask)
            for body in bodies:
                assert pages.read(answer(body, status)).reading.verdict in Verdict


def test_what_is_looked_up_is_what_was_streamed(lake: Lake, log: SegmentLog, waits: Waits) -> None:
    plan = Faults(http=(HttpFault("status", path="/klines", status=418, retry_after_s=0), HttpFault("status", "/aggT", 502)))
    with Simulator(plan, markets=("spot",), streams=(), excerpt=600) as sim:
        reports = [
            capture_pages(
                lake, log, pages, [Ask("BTCUSDT", "1m", *DAY)], sim.binance("spot"), provider="binance", feed="spot",
                sleep=waits, rng=random.Random(1), backoff=FAST,
            )
            for pages in (Klines("spot"), Trades("spot"), Depth("spot"))
        ]  # fmt: skip
        streamed = [orjson.loads(each.payload)["data"] for each in sim.recording("spot").frames if each.stream.endswith("@trade")]
    assert [report.is_complete for report in reports] == [True, True, True]
    assert reports[0].verdicts == {"THROTTLED": 1, "OK": 1}
    found = decoded_of(log, "binance", "spot").tables
    rows = found["normalized.trades"].to_pylist()
    assert {(int(row["trade_id"]), f"{row['price']:.8f}", f"{row['size']:.8f}", row["side"]) for row in rows} == {
        (each["t"], each["p"], each["q"], "sell" if each["m"] else "buy") for each in streamed
    }
    bars = found["normalized.bars"].to_pylist()
    assert sum(bar["trade_count"] for bar in bars) == len({each["t"] for each in streamed})
    assert {(bar["interval"], bar["basis"], bar["symbol"], bar["is_final"]) for bar in bars} == {
        ("1m", "as_traded", "BTCUSDT", True)
    }
