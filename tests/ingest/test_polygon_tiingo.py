"""Polygon and Tiingo by REST: what is asked page by page, what answers mean, and rows from the simulator's sockets."""

from __future__ import annotations

import random
from datetime import UTC, datetime

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.asks import Address, Ask, Pages, Response
from ingest.capture import CaptureReport, capture_pages
from ingest.providers import polygon, tiingo
from ingest.providers.polygon import QUESTIONS, Query
from ingest.providers.tiingo import Prices, Top
from ingest.reach import simulated
from ingest.simulator import Faults, HttpFault, Simulator
from ingest.simulator.keyed import Keys
from ingest.verdicts import Verdict
from lake.catalog import Lake
from lake.errors import InvalidValueError
from lake.log.segments import SegmentLog
from tests.ingest.conftest import FAST, Waits, history_of, messages_of
from tests.ingest.decoding import row_counts

SPAN = (datetime(2005, 4, 1, tzinfo=UTC), datetime(2005, 4, 5, tzinfo=UTC))
KEYS = Keys()


def answer(body: bytes, status: int = 200, **headers: str) -> Response:
    return Response(status, {name.replace("_", "-"): value for name, value in headers.items()}, body)


@pytest.mark.parametrize(
    ("body", "status", "verdict", "wait_s"),
    [
        (b'{"ticker":"A","resultsCount":1,"adjusted":false,"results":[{}],"status":"OK"}', 200, Verdict.OK, None),
        (b'{"ticker":"A","results":[{}],"status":"DELAYED"}', 200, Verdict.OK, None),
        (b'{"results":[],"status":"OK"}', 200, Verdict.EMPTY_VALID, None),
        (b'{"status":"ERROR","request_id":"x","error":"Unknown API Key"}', 401, Verdict.AUTH, None),
        (b'{"status":"NOT_AUTHORIZED","message":"You are not entitled to this data."}', 403, Verdict.NOT_ENTITLED, None),
        (b'{"status":"NOT_AUTHORIZED","message":"You are not entitled to this data."}', 200, Verdict.NOT_ENTITLED, None),
        (b'{"status":"ERROR","error":"You\'ve exceeded the maximum requests per minute."}', 429, Verdict.THROTTLED, 60.0),
        (b'{"status":"ERROR","error":"You\'ve exceeded the maximum requests per minute."}', 200, Verdict.THROTTLED, 60.0),
        (b'{"status":"NOT_FOUND","message":"Ticker not found."}', 404, Verdict.UNKNOWN_SYMBOL, None),
        (b"404 page not found", 404, Verdict.UNKNOWN_SYMBOL, None),
        (b'{"status":"ERROR","error":"strconv.ParseInt"}', 400, Verdict.BAD_REQUEST, None),
        (b"<html>502</html>", 502, Verdict.UPSTREAM_5XX, None),
        (b"<html>Will be right back</html>", 200, Verdict.MALFORMED, None),
        (b'{"status":"OK"}', 200, Verdict.MALFORMED, None),
        (b"[]", 200, Verdict.MALFORMED, None),
    ],
)
def test_polygons_answers_mean(body: bytes, status: int, verdict: Verdict, wait_s: float | None) -> None:
    pages = Query("trades")
    pages.first(Ask("AAPL", "", *SPAN))
    reading = pages.read(answer(body, status)).reading
    assert (reading.verdict, reading.retry_after_s) == (verdict, wait_s)


@pytest.mark.parametrize(
    ("body", "status", "verdict", "wait_s"),
    [
        (b'[{"date":"2018-01-05T00:00:00.000Z","close":1}]', 200, Verdict.OK, None),
        (b'[{"ticker":"btcusd","priceData":[{},{}]}]', 200, Verdict.OK, None),
        (b'[{"ticker":"btcusd","priceData":[]}]', 200, Verdict.EMPTY_VALID, None),
        (b"[]", 200, Verdict.EMPTY_VALID, None),
        (b"You have run over your 500 symbol look up for this month. Please upgrade.", 200, Verdict.QUOTA_EXHAUSTED, None),
        (b'{"detail":"Error: You have run over your hourly request allocation."}', 429, Verdict.QUOTA_EXHAUSTED, 3600.0),
        (b"slow down", 429, Verdict.THROTTLED, 7.0),
        (b'{"detail":"Invalid token."}', 401, Verdict.AUTH, None),
        (b'{"detail":"Please supply a token"}', 403, Verdict.AUTH, None),
        (b'{"detail":"You do not have permission to perform this action."}', 403, Verdict.NOT_ENTITLED, None),
        (b'{"detail":"Error: Ticker \'XXXX\' not found"}', 404, Verdict.UNKNOWN_SYMBOL, None),
        (b'{"detail":"Not found."}', 404, Verdict.UNKNOWN_SYMBOL, None),
        (b'["Error: resampleFreq must be in min, hour or day"]', 200, Verdict.BAD_REQUEST, None),
        (b'{"detail":"Error: endDate before startDate"}', 400, Verdict.BAD_REQUEST, None),
        (b"<!DOCTYPE html><title>Error 404 (Not Found)!!1</title>", 404, Verdict.BAD_REQUEST, None),
        (b"<html>maintenance</html>", 200, Verdict.UPSTREAM_5XX, None),
        (b"upstream", 503, Verdict.UPSTREAM_5XX, 7.0),
        (b"Error: odd", 200, Verdict.MALFORMED, None),
        (b"{}", 200, Verdict.MALFORMED, None),
    ],
)
def test_tiingos_answers_mean(body: bytes, status: int, verdict: Verdict, wait_s: float | None) -> None:
    reading = tiingo.read_answer(answer(body, status, retry_after="7"))
    assert (reading.verdict, reading.retry_after_s) == (verdict, wait_s)


def test_polygon_is_asked_half_open_and_as_traded() -> None:
    bars = Query("bars").first(Ask("O:AAPL230616C00150000", "15m", *SPAN))
    assert bars.path == "/v2/aggs/ticker/O:AAPL230616C00150000/range/15/minute/1112313600000/1112659199999"
    assert dict(bars.params)["adjusted"] == "false"
    trades = Query("trades").first(Ask("AAPL", "", *SPAN))
    window = {"timestamp.gte": "1112313600000000000", "timestamp.lt": "1112659200000000000"}
    assert window.items() <= dict(trades.params).items()
    splits = Query("splits").first(Ask("AAPL", "", *SPAN))
    assert {"execution_date.gte": "2005-04-01", "execution_date.lt": "2005-04-05"}.items() <= dict(splits.params).items()


def followed(pages: Pages, url: str) -> tuple[Verdict, tuple[tuple[str, str], ...] | None]:
    page = pages.read(answer(orjson.dumps({"results": [{}], "status": "OK", "next_url": url})))
    return page.reading.verdict, None if page.next is None else page.next.params


def test_polygons_next_page_is_asked_at_our_address_without_a_key() -> None:
    pages = Query("trades")
    first = pages.first(Ask("AAPL", "", *SPAN))
    assert followed(pages, "https://api.massive.com/v3/trades/AAPL?cursor=YXA9&apiKey=secret-secret") == (
        Verdict.OK, (("cursor", "YXA9"),),
    )  # fmt: skip
    assert followed(pages, "https://api.massive.com/v3/trades/AAPL?cursor=YXA9") == (Verdict.MALFORMED, None)
    for elsewhere in ("https://elsewhere.example/v3/quotes/AAPL?cursor=1", "javascript:1", "https://[", "/v3/trades/AAPL/../x"):
        pages.first(Ask("AAPL", "", *SPAN))
        assert followed(pages, elsewhere) == (Verdict.MALFORMED, None)
    bars = Query("bars")
    bars.first(Ask("AAPL", "1m", *SPAN))
    moved = "https://api.polygon.io/v2/aggs/ticker/AAPL/range/1/minute/1112400000000/1112659199999?cursor=bGlt"
    assert followed(bars, moved) == (Verdict.OK, (("cursor", "bGlt"),))
    assert first.what == "trades"


def test_tiingo_is_asked_by_days_or_instants_and_names_its_symbols() -> None:
    end = datetime(2005, 4, 5, 0, 0, 1, tzinfo=UTC)
    daily = Prices("daily").first(Ask("AAPL", "1wk", SPAN[0], SPAN[1]))
    assert dict(daily.params) == {"startDate": "2005-04-01", "endDate": "2005-04-04", "resampleFreq": "weekly"}
    crypto = Prices("crypto").first(Ask("BTC/USD", "1h", SPAN[0], end))
    assert (dict(crypto.params)["tickers"], dict(crypto.params)["endDate"]) == ("btcusd", "2005-04-05T00:00:00Z")
    assert Top("iex").first(Ask("AAPL,MSFT", "", *SPAN)).symbols == ("AAPL", "MSFT")


@pytest.mark.parametrize(
    "make",
    [
        lambda: Query("greeks"),
        lambda: Query("bars").first(Ask("AAPL", "1s", *SPAN)),
        lambda: Query("bars").first(Ask("AAPL&x", "1d", *SPAN)),
        lambda: Query("bars").first(Ask("AAPL", "1d", SPAN[1], SPAN[0])),
        lambda: Prices("news"),
        lambda: Top("daily"),
        lambda: Prices("daily").first(Ask("AAPL", "1m", *SPAN)),
        lambda: Prices("fx").first(Ask("EUR", "1d", *SPAN)),
        lambda: Top("iex").first(Ask("AAPL,", "", *SPAN)),
        lambda: Prices("iex").first(Ask("AAPL", "1m", SPAN[0].replace(tzinfo=None), SPAN[1])),
    ],
)
def test_what_cannot_be_asked_is_refused_here(make: object) -> None:
    with pytest.raises(InvalidValueError):
        make()  # type: ignore[operator]


ODD = [
    b"[]",
    b"null",
    b'"x"',
    b"{}",
    b'{"results":1,"next_url":5}',
    b'{"results":[],"next_url":"http://[x"}',
    b'["Error"]',
    b"[1]",
]


@given(st.lists(st.binary(max_size=60) | st.sampled_from(ODD), min_size=1, max_size=4), st.integers(100, 599))
def test_any_bytes_have_a_meaning(bodies: list[bytes], status: int) -> None:
    readers: list[Pages] = [*(Query(kind) for kind in QUESTIONS), Prices("daily"), Prices("crypto"), Top("fx")]
    for pages in readers:
        for body in bodies:
            assert pages.read(answer(body, status)).reading.verdict in Verdict


def captured(
    lake: Lake, log: SegmentLog, sim: Simulator, pages: Pages, ask: Ask, who: tuple[str, str], waits: Waits
) -> CaptureReport:
    provider, feed = who
    address = simulated(sim.addresses(), sim.keys).asked(provider, feed)
    return capture_pages(
        lake, log, pages, [ask], address, provider=provider, feed=feed, sleep=waits, rng=random.Random(1), backoff=FAST
    )


def test_answers_become_rows_and_keys_stand_nowhere(lake: Lake, log: SegmentLog, waits: Waits) -> None:
    plan = Faults(http=(HttpFault("status", path="/v3/quotes", status=502), HttpFault("truncate", path="/tiingo/daily")))
    years = (datetime(2000, 1, 1, tzinfo=UTC), datetime(2025, 1, 1, tzinfo=UTC))
    asked: list[tuple[Pages, Ask, tuple[str, str]]] = [
        (Query("bars"), Ask("AAPL", "1d", *years), ("polygon", "market")),
        (Query("trades"), Ask("AAPL", "", *years), ("polygon", "market")),
        (Query("quotes"), Ask("AAPL", "", *years), ("polygon", "market")),
        (Query("splits"), Ask("GOOGL", "", *years), ("polygon", "actions")),
        (Prices("daily"), Ask("GOOGL", "1wk", *years), ("tiingo", "daily")),
        (Prices("iex"), Ask("GOOGL", "30m", *years), ("tiingo", "iex")),
        (Top("iex"), Ask("GOOGL", "", *years), ("tiingo", "iex")),
        (Prices("crypto"), Ask("btcusd", "1d", *years), ("tiingo", "crypto")),
        (Prices("fx"), Ask("EUR/USD", "1d", *years), ("tiingo", "fx")),
        (Top("fx"), Ask("EUR/USD", "", *years), ("tiingo", "fx")),
    ]  # fmt: skip
    with Simulator(plan, markets=(), streams=()) as sim:
        reports = [captured(lake, log, sim, *each, waits) for each in asked]
    assert [(report.is_complete, report.outcomes[0]["verdict"]) for report in reports] == [(True, "OK")] * len(asked)
    assert reports[2].verdicts == {"UPSTREAM_5XX": 1, "OK": 2}
    written = repr(messages_of(log)) + repr(history_of(log, "ops.provider_calls")) + repr(history_of(log, "ops.captures"))
    assert KEYS.polygon_key not in written and KEYS.tiingo_token not in written
    feeds = dict.fromkeys(who for _, _, who in asked)
    assert row_counts(log, *feeds) == {
        ("polygon", "market", "bars"): 2, ("polygon", "market", "trades"): 2, ("polygon", "market", "quotes"): 20,
        ("polygon", "actions", "corporate_actions"): 1, ("tiingo", "daily", "bars"): 3, ("tiingo", "iex", "bars"): 13,
        ("tiingo", "iex", "quotes"): 1, ("tiingo", "crypto", "bars"): 2 + 10, ("tiingo", "fx", "bars"): 2,
        ("tiingo", "fx", "quotes"): 1,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("pages", "secrets", "who"),
    [
        (Query("bars"), polygon.credentials("no-such-key-at-all"), ("polygon", "market")),
        (Prices("daily"), tiingo.credentials("no-such-token-at-all"), ("tiingo", "daily")),
    ],
)
def test_wrong_keys_end_a_capture(
    lake: Lake, log: SegmentLog, waits: Waits, pages: Pages, secrets: object, who: tuple[str, str]
) -> None:
    with Simulator(markets=(), streams=()) as sim:
        report = capture_pages(
            lake, log, pages, [Ask("AAPL", "1d", *SPAN)] * 2, Address(sim.yahoo.http, credentials=secrets),  # type: ignore[arg-type]
            provider=who[0], feed=who[1], sleep=waits, backoff=FAST,
        )  # fmt: skip
    assert (report.verdicts, report.ended.startswith("refused: AUTH")) == ({"AUTH": 1}, True)


def test_refusals_are_spoken_as_each_provider_speaks(lake: Lake, log: SegmentLog, waits: Waits) -> None:
    faults = (("/v2/aggs", 429), ("/v2/aggs", 403), ("/tiingo/daily", 402))
    plan = Faults(http=tuple(HttpFault("status", path=path, status=status, retry_after_s=0) for path, status in faults))
    ask = Ask("AAPL", "1d", *SPAN)
    with Simulator(plan, markets=(), streams=()) as sim:
        first = captured(lake, log, sim, Query("bars"), ask, ("polygon", "market"), waits)
        second = captured(lake, log, sim, Prices("daily"), ask, ("tiingo", "daily"), waits)
    assert first.verdicts == {"THROTTLED": 1, "NOT_ENTITLED": 1}
    assert second.ended.startswith("refused: QUOTA_EXHAUSTED You have run over your 500 symbol")
