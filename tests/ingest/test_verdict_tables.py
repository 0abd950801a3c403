"""Section 0.1 of the provider contracts as one table: what each answer of every provider feeds, repeats and hands on.

The bodies are as recorded, or as the vendors and the threads about them quote them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

import pytest

from ingest.asks import Ask, Response
from ingest.breaker import Breaker, Limits, Position
from ingest.providers import alpaca, alpha_vantage, finnhub, yahoo
from ingest.routing import FINAL
from ingest.simulator.keyed import answers
from ingest.simulator.recorded import charts
from ingest.verdicts import RETRYABLE, Reading, Verdict
from tests.ingest.standing_state import START_NS

ASK = Ask("AAPL", "1d", datetime(2022, 1, 3, tzinfo=UTC), datetime(2022, 6, 1, tzinfo=UTC))


@dataclass(frozen=True)
class Treated:
    """How an answer is treated: whether it feeds the breaker, is asked again, may fail over."""

    feeds: bool
    retries: bool
    fails_over: bool


TROUBLE, REFUSED, DONE = Treated(True, True, True), Treated(False, False, True), Treated(False, False, False)
TABLE = {
    Verdict.OK: DONE,
    Verdict.EMPTY_VALID: DONE,
    Verdict.BAD_REQUEST: DONE,
    Verdict.THROTTLED: TROUBLE,
    Verdict.UPSTREAM_5XX: TROUBLE,
    Verdict.MALFORMED: TROUBLE,
    Verdict.NO_ANSWER: TROUBLE,
    Verdict.QUOTA_EXHAUSTED: REFUSED,
    Verdict.AUTH: REFUSED,
    Verdict.NOT_ENTITLED: REFUSED,
    Verdict.UNKNOWN_SYMBOL: REFUSED,
    Verdict.OUT_OF_RANGE: REFUSED,
    Verdict.NOT_ASKED: REFUSED,
}
LATE = b'{"chart":{"result":null,"error":{"code":"Unprocessable Entity","description":"1m data not available for startTime=1"}}}'
GONE = b'{"chart":{"result":null,"error":{"code":"Not Found","description":"No data found, symbol may be delisted"}}}'
CRUMB = b'{"finance":{"result":null,"error":{"code":"Unauthorized","description":"Invalid Crumb"}}}'
PREMIUM = b'{"Information":"Thank you for using Alpha Vantage! This is a premium endpoint. You may subscribe to unlock it."}'
NOTE = b'{"Note":"Our standard API call frequency is 5 calls per minute and 500 calls per day."}'
SPARINGLY = b'{"Information":"Please consider spreading out your free API requests more sparingly (25 requests per day)."}'
KEYLESS = b'{"Error Message":"the parameter apikey is invalid or missing. Please claim your free API key."}'
INVALID = b'{"Error Message":"Invalid API call. Please retry or visit the documentation for TIME_SERIES_DAILY."}'


def of_yahoo(response: Response) -> Reading:
    return yahoo.read_chart(response)


def of_alpaca(response: Response) -> Reading:
    pages = alpaca.MarketData("sip")
    pages.first(ASK)
    return pages.read(response).reading


def of_finnhub(response: Response) -> Reading:
    return finnhub.read_quote(response, "AAPL")


def of_alpha_vantage(response: Response) -> Reading:
    return alpha_vantage.read_answer(response)


CASES: list[tuple[Callable[[Response], Reading], int, bytes, Verdict]] = [
    (of_yahoo, 429, b"Too Many Requests\r\n", Verdict.THROTTLED),
    (of_yahoo, 200, b"Too Many Requests\r\n", Verdict.THROTTLED),
    (of_yahoo, 401, CRUMB, Verdict.AUTH),
    (of_yahoo, 404, GONE, Verdict.UNKNOWN_SYMBOL),
    (of_yahoo, 422, LATE, Verdict.OUT_OF_RANGE),
    (of_yahoo, 502, b"<html>Bad Gateway</html>", Verdict.UPSTREAM_5XX),
    (of_yahoo, 200, b'{"chart":{"result":[{"meta"', Verdict.MALFORMED),
    (of_alpaca, 403, b'{"message":"forbidden."}', Verdict.AUTH),
    (of_alpaca, 403, b'{"message":"subscription does not permit querying recent SIP data"}', Verdict.NOT_ENTITLED),
    (of_alpaca, 400, b'{"code":40010001,"message":"invalid symbol: A!"}', Verdict.UNKNOWN_SYMBOL),
    (of_alpaca, 422, b'{"code":42210000,"message":"invalid limit"}', Verdict.BAD_REQUEST),
    (of_alpaca, 429, b'{"message":"too many requests."}', Verdict.THROTTLED),
    (of_alpaca, 200, b'{"bars":{},"next_page_token":null}', Verdict.EMPTY_VALID),
    (of_alpaca, 500, b'{"message":"internal error"}', Verdict.UPSTREAM_5XX),
    (of_finnhub, 429, b"API limit reached. Please try again later. Remaining Limit: 0", Verdict.THROTTLED),
    (of_finnhub, 429, b"API limit reached. Please sign up for a free account to continue using the API.", Verdict.AUTH),
    (of_finnhub, 403, b'{"error":"You don\'t have access to this resource."}', Verdict.NOT_ENTITLED),
    (of_finnhub, 200, b'{"c":0,"d":null,"dp":null,"h":0,"l":0,"o":0,"pc":0,"t":0}', Verdict.UNKNOWN_SYMBOL),
    (of_finnhub, 200, b"{", Verdict.MALFORMED),
    (of_finnhub, 200, b'{"error":"Internal error, please try again later"}', Verdict.UPSTREAM_5XX),
    (of_finnhub, 200, b'{"error":"Wrong resolution"}', Verdict.BAD_REQUEST),
    (of_alpha_vantage, 200, NOTE, Verdict.THROTTLED),
    (of_alpha_vantage, 200, SPARINGLY, Verdict.THROTTLED),
    (of_alpha_vantage, 200, PREMIUM, Verdict.NOT_ENTITLED),
    (of_alpha_vantage, 200, KEYLESS, Verdict.AUTH),
    (of_alpha_vantage, 200, INVALID, Verdict.UNKNOWN_SYMBOL),
    (of_alpha_vantage, 200, b"{}", Verdict.EMPTY_VALID),
]


def treated(reading: Reading) -> Treated:
    """Return what breaker, backoff and routing make of five such answers."""
    breaker = Breaker()
    for _ in range(5):
        breaker = breaker.answered(reading, 0.1, START_NS, "me", Limits())
    return Treated(breaker.position is Position.OPEN, reading.verdict in RETRYABLE, reading.verdict not in FINAL)


def test_the_table_is_about_every_verdict_and_is_kept() -> None:
    assert {verdict: treated(Reading(verdict)) for verdict in Verdict} == TABLE


@pytest.mark.parametrize(
    ("read", "status", "body", "verdict"), CASES, ids=lambda value: getattr(value, "__name__", None) or str(value)[:40]
)
def test_answers_are_told_apart_and_treated_by_the_table(
    read: Callable[[Response], Reading], status: int, body: bytes, verdict: Verdict
) -> None:
    reading = read(Response(status, {}, body))
    assert reading.verdict is verdict
    assert treated(reading) == TABLE[verdict]


def test_no_recorded_good_answer_opens_a_breaker_and_recorded_refusals_are_no_outage() -> None:
    for chart in charts():
        assert treated(yahoo.read_chart(Response(chart.status, {}, chart.body))) == DONE, chart.file
    found = {answer.file: of_finnhub(Response(answer.status, {}, answer.body)).verdict for answer in answers("finnhub")}
    assert found["error_invalid_api_key.json"] is Verdict.AUTH
    told = {answer.file: of_alpha_vantage(Response(answer.status, {}, answer.body)) for answer in answers("alpha_vantage")}
    assert told["rate_limit_note_CASH_FLOW_TSLA.json"].verdict is Verdict.THROTTLED
    assert treated(told["TIME_SERIES_DAILY_ADJUSTED_GME_premium_refusal.json"]) == REFUSED
    assert treated(told.pop("timeseries_realtimebulkquote.json")) == REFUSED  # sample data that say they are none
    good = [name for name in told if name.startswith(("timeseries", "forex", "TIME_SERIES_INTRADAY", "FX_"))]
    assert {told[name].verdict for name in good} <= {Verdict.OK, Verdict.EMPTY_VALID}
    assert len(good) > 8
