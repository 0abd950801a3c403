"""Finnhub's other REST answers: what is asked, month by month where a call holds no more, and what answers mean."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.asks import Ask, Response
from ingest.providers.finnhub_rest import QUESTIONS, Answers, Candles
from ingest.providers.registry import OFFERS, provider_named
from ingest.verdicts import Verdict
from lake.errors import InvalidValueError

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
    assert Answers("market_status").first(Ask("US", "", *SPRING)).path == "/api/v1/stock/market-status"


@pytest.mark.parametrize(
    "make",
    [
        lambda: Answers("gossip"),
        lambda: Answers("splits").first(Ask("A&B", "", *SPRING)),
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
    for pages in (Candles(), *(Answers(kind) for kind in QUESTIONS)):
        assert pages.read(answer(body, status)).reading.verdict in Verdict
