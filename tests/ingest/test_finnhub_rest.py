"""Finnhub's other REST answers: what is asked, month by month where a call holds no more, and what answers mean."""

from __future__ import annotations

import random
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.asks import Ask, Pages, Response
from ingest.capture import CaptureReport, capture_pages
from ingest.providers.finnhub_rest import QUESTIONS, Answers, Candles
from ingest.providers.registry import OFFERS, provider_named
from ingest.simulator import Faults, HttpFault, Simulator
from ingest.simulator.asking import recorded_symbols
from ingest.simulator.keyed import Keys
from ingest.verdicts import Verdict
from lake.catalog import Lake
from lake.errors import InvalidValueError
from lake.log.segments import SegmentLog
from tests.ingest.conftest import FAST, Waits, history_of, messages_of
from tests.ingest.decoding import decoded_of, row_counts

SPRING = (datetime(2022, 1, 1, tzinfo=UTC), datetime(2022, 3, 15, tzinfo=UTC))
AAPL = Ask("AAPL", "5m", *SPRING)


def answer(body: bytes, status: int = 200) -> Response:
    return Response(status, {}, body)


@pytest.mark.parametrize(
    ("kind", "body", "status", "verdict"),
    [
        ("splits", b'[{"symbol":"AAPL","date":"2020-08-31","fromFactor":1,"toFactor":4}]', 200, Verdict.OK),
        ("dividends", b"[]", 200, Verdict.EMPTY_VALID),
        ("dividends", b"{}", 200, Verdict.MALFORMED),
        ("news", b'{"error":"You don\'t have access to this resource."}', 403, Verdict.NOT_ENTITLED),
        ("news", b'{"error":"Invalid API key"}', 401, Verdict.AUTH),
        ("symbols", b"API limit reached. Please try again later. Remaining Limit: 0", 429, Verdict.THROTTLED),
        ("market_status", b'{"exchange":"US","holiday":null,"isOpen":false,"session":"pre-market"}', 200, Verdict.OK),
        ("market_status", b"[]", 200, Verdict.MALFORMED),
        ("holidays", b'{"data":[{"atDate":"2023-12-25"}],"exchange":"US","timezone":"America/New_York"}', 200, Verdict.OK),
        ("holidays", b'{"data":[],"exchange":"US"}', 200, Verdict.EMPTY_VALID),
        ("holidays", b'{"error":"Wrong exchange"}', 200, Verdict.BAD_REQUEST),
        ("symbol_changes", b'{"fromDate":"2022-06-01","data":[{"oldSymbol":"FB","newSymbol":"META"}]}', 200, Verdict.OK),
        ("symbol_changes", b"[]", 200, Verdict.MALFORMED),
        ("symbols", b'[{"symbol":"AAPL"', 200, Verdict.MALFORMED),
        ("rates", b'{"base":"EUR","quote":{"USD":1.1}}', 200, Verdict.OK),
        ("rates", b'{"error":"Wrong base"}', 200, Verdict.BAD_REQUEST),
        ("rates", b"<html>", 200, Verdict.MALFORMED),
        ("rates", b"", 502, Verdict.UPSTREAM_5XX),
    ],
)
def test_answers_mean(kind: str, body: bytes, status: int, verdict: Verdict) -> None:
    assert Answers(kind).read(answer(body, status)).reading.verdict is verdict


@pytest.mark.parametrize(
    ("body", "status", "verdict"),
    [
        (b'{"s":"no_data"}', 200, Verdict.EMPTY_VALID),
        (b'{"s":"ok","t":[1],"o":[1],"h":[1],"l":[1],"c":[1],"v":[1]}', 200, Verdict.OK),
        (b'{"s":"ok"}', 200, Verdict.MALFORMED),
        (b'{"error":"You don\'t have access to this resource."}', 403, Verdict.NOT_ENTITLED),
    ],
)
def test_candles_mean(body: bytes, status: int, verdict: Verdict) -> None:
    pages = Candles()
    pages.first(Ask("AAPL", "1d", *SPRING))
    page = pages.read(answer(body, status))
    assert (page.reading.verdict, page.next) == (verdict, None)


def test_intraday_candles_are_asked_month_by_month_without_a_hole() -> None:
    pages = Candles()
    asked = [pages.first(AAPL)]
    page = pages.read(answer(b'{"s":"no_data"}'))
    while page.next is not None:
        asked.append(page.next)
        page = pages.read(answer(b'{"s":"ok","t":[1]}'))
    windows = [(int(dict(each.params)["from"]), int(dict(each.params)["to"])) for each in asked]
    assert windows[0][0] == SPRING[0].timestamp() and windows[-1][1] == SPRING[1].timestamp() - 1
    assert [first for first, _ in windows[1:]] == [last + 1 for _, last in windows[:-1]]
    assert (len(windows), {each.what for each in asked}, page.reading.detail) == (3, {"stock/candle"}, "2 bars")
    (whole,) = [Candles().first(Ask("AAPL", "1d", *SPRING))]
    assert int(dict(whole.params)["to"]) == SPRING[1].timestamp() - 1


def test_candles_are_asked_by_name_and_never_chosen() -> None:
    daily, intraday = provider_named("finnhub").offers_of("candles")
    assert (daily.basis, intraday.basis) == ("split_adjusted", "as_traded")
    assert daily not in OFFERS and set(daily.intervals) == {"1d", "1wk", "1mo"}


def test_what_is_asked_names_its_days() -> None:
    assert dict(Answers("splits").first(AAPL).params) == {"symbol": "AAPL", "from": "2022-01-01", "to": "2022-03-14"}
    assert dict(Answers("symbols").first(Ask("US", "", *SPRING)).params) == {"exchange": "US"}
    assert dict(Answers("symbol_changes").first(Ask("*", "", *SPRING)).params) == {"from": "2022-01-01", "to": "2022-03-14"}
    assert Answers("market_status").first(Ask("US", "", *SPRING)).path == "/api/v1/stock/market-status"


@pytest.mark.parametrize(
    "make",
    [
        lambda: Answers("gossip"),
        lambda: Answers("splits").first(Ask("A&B", "", *SPRING)),
        lambda: Answers("symbol_changes").first(Ask("AAPL", "", *SPRING)),
        lambda: Candles().first(Ask("AAPL", "2m", *SPRING)),
        lambda: Candles().first(Ask("AAPL", "1d", SPRING[1], SPRING[0])),
    ],
)
def test_what_cannot_be_asked_is_refused_here(make: object) -> None:
    with pytest.raises(InvalidValueError):
        make()  # type: ignore[operator]


@given(
    st.binary(max_size=60) | st.sampled_from([b"[]", b"{}", b"null", b'{"s":"ok","t":5}', b'{"quote":1}']), st.integers(100, 599)
)
def test_any_bytes_have_a_meaning(body: bytes, status: int) -> None:
    readers: list[Pages] = [Candles(), *(Answers(kind) for kind in QUESTIONS)]
    for pages in readers:
        assert pages.read(answer(body, status)).reading.verdict in Verdict


def captured(lake: Lake, log: SegmentLog, sim: Simulator, word: str, waits: Waits) -> CaptureReport:
    finnhub = provider_named("finnhub")
    feed, data = finnhub.meant(word, None)
    asks = [Ask(symbol, "", *SPRING) for symbol in (*recorded_symbols("finnhub", feed, word), "XX")]
    pages = finnhub.offers_of(feed, data)[0].pages()
    return capture_pages(
        lake, log, pages, asks[:1] if asks[0].symbol == "*" else asks, sim.finnhub, provider="finnhub", feed=feed, sleep=waits,
        rng=random.Random(1), backoff=FAST,
    )  # fmt: skip


def test_lists_are_captured_and_read(shared_lake: Lake, log: SegmentLog, waits: Waits) -> None:
    path = "/api/v1/stock/"
    plan = Faults(
        http=(
            HttpFault("status", path=path + "symbol", status=429, retry_after_s=0),
            HttpFault("truncate", path=path + "market-holiday"),
            HttpFault("garble", path=path + "market-status"),
            HttpFault("status", path=path + "split", status=403),
        )
    )
    with Simulator(plan, markets=(), streams=()) as sim:
        reports = {word: captured(shared_lake, log, sim, word, waits) for word in QUESTIONS}
    verdicts = {word: [each["verdict"] for each in report.outcomes] for word, report in reports.items()}
    assert verdicts == {
        "splits": ["NOT_ENTITLED"], "dividends": ["OK", "EMPTY_VALID"], "news": ["OK", "EMPTY_VALID"],
        "symbols": ["OK", "EMPTY_VALID"], "market_status": ["OK", "BAD_REQUEST"], "holidays": ["OK", "EMPTY_VALID"],
        "symbol_changes": ["OK"], "rates": ["OK", "BAD_REQUEST"],
    }  # fmt: skip
    assert reports["symbols"].verdicts == {"THROTTLED": 1, "OK": 1, "EMPTY_VALID": 1}
    assert reports["holidays"].verdicts == {"MALFORMED": 1, "OK": 1, "EMPTY_VALID": 1}
    assert Keys().finnhub_token not in repr(messages_of(log)) + repr(history_of(log, "ops.provider_calls"))
    assert row_counts(log, *[("finnhub", feed) for feed in ("reference", "actions", "news", "rates")]) == {
        ("finnhub", "reference", "classifications"): 3, ("finnhub", "reference", "identifiers"): 7,
        ("finnhub", "reference", "market_hours"): 2, ("finnhub", "reference", "symbol_changes"): 2,
        ("finnhub", "actions", "corporate_actions"): 1, ("finnhub", "news", "news"): 1, ("finnhub", "rates", "fx_rates"): 2,
    }  # fmt: skip
    refused = decoded_of(log, "finnhub", "reference").refused
    assert sorted(refused["rule"].to_pylist()) == ["check_digit", "malformed", "malformed", "malformed_time", "raw_only"]
