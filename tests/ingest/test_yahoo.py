from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.asks import Ask, Response
from ingest.providers.yahoo import Chart, read_chart
from ingest.simulator.recorded import charts
from ingest.verdicts import RETRYABLE, Verdict
from lake.errors import InvalidValueError

BODIES = {chart.file: chart.body for chart in charts()}
FULL = BODIES["chart_AAPL_1d_2020-08-31_2020-11-07_split_and_dividend.json"]
WEEKEND = BODIES["chart_AAPL_1m_2025-02-01_weekend_empty.json"]
UNKNOWN = b'{"chart":{"result":null,"error":{"code":"Not Found","description":"No data found, symbol may be delisted"}}}'
MINUTES = (
    b'{"chart":{"result":null,"error":{"code":"Unprocessable Entity","description":"1m data not available for startTime=1 and'
    b' endTime=2. Only 8 days worth of 1m granularity data are allowed to be fetched per request."}}}'
)
OLD = b'{"chart":{"result":null,"error":{"code":"Unprocessable Entity","description":"15m data not available for startTime=1 and'
OLD += b' endTime=2. The requested range must be within the last 60 days."}}}'
CRUMB = b'{"finance":{"result":null,"error":{"code":"Unauthorized","description":"Invalid Crumb"}}}'
INTERVAL = b'{"chart":{"result":null,"error":{"code":"Unprocessable Entity","description":"Invalid input - interval=7m"}}}'


@pytest.mark.parametrize(
    ("status", "body", "verdict"),
    [
        (200, FULL, Verdict.OK),
        (200, WEEKEND, Verdict.EMPTY_VALID),
        (404, UNKNOWN, Verdict.UNKNOWN_SYMBOL),
        (200, UNKNOWN, Verdict.UNKNOWN_SYMBOL),
        (422, MINUTES, Verdict.OUT_OF_RANGE),
        (422, OLD, Verdict.OUT_OF_RANGE),
        (422, INTERVAL, Verdict.BAD_REQUEST),
        (401, CRUMB, Verdict.AUTH),
        (200, CRUMB, Verdict.AUTH),
        (403, b"{}", Verdict.NOT_ENTITLED),
        (429, b"Too Many Requests\r\n", Verdict.THROTTLED),
        (200, b"Edge: Too Many Requests", Verdict.THROTTLED),
        (500, b"oops", Verdict.UPSTREAM_5XX),
        (502, b"", Verdict.UPSTREAM_5XX),
        (503, FULL, Verdict.UPSTREAM_5XX),
        (200, b"<html><title>Will be right back...</title></html>", Verdict.UPSTREAM_5XX),
        (200, b"", Verdict.UPSTREAM_5XX),
        (200, FULL[:1000], Verdict.MALFORMED),
        (200, b'{"chart":{"result":[],"error":null}}', Verdict.MALFORMED),
        (200, b"[1,2]", Verdict.MALFORMED),
        (400, b"{}", Verdict.BAD_REQUEST),
    ],
)
def test_an_answer_is_judged_by_status_and_body(status: int, body: bytes, verdict: Verdict) -> None:
    assert read_chart(Response(status, {}, body)).verdict is verdict


@pytest.mark.parametrize("chart", charts(), ids=lambda chart: chart.file)
def test_every_recorded_answer_is_a_valid_one(chart) -> None:  # type: ignore[no-untyped-def]
    assert read_chart(Response(chart.status, {}, chart.body)).verdict in (Verdict.OK, Verdict.EMPTY_VALID)


def test_a_whole_body_that_broke_off_is_not_trusted() -> None:
    assert read_chart(Response(200, {}, FULL, is_complete=False)).verdict is Verdict.MALFORMED


def test_the_wait_asked_for_is_read() -> None:
    assert read_chart(Response(429, {"retry-after": "120"}, b"")).retry_after_s == 120.0
    assert read_chart(Response(429, {"retry-after": "Wed, 21 Oct 2026 07:28:00 GMT"}, b"")).retry_after_s is None


@given(st.integers(100, 599), st.binary(max_size=300), st.booleans())
def test_any_bytes_give_a_verdict(status: int, body: bytes, is_complete: bool) -> None:
    assert Chart().read(Response(status, {}, body, is_complete)).next is None


@given(st.integers(0, len(FULL)))
def test_any_cut_of_a_body_is_retried(cut: int) -> None:
    verdict = read_chart(Response(200, {}, FULL[:cut], is_complete=cut == len(FULL))).verdict
    assert verdict in RETRYABLE or cut == len(FULL)


def test_a_request_is_in_the_providers_own_words() -> None:
    ask = Ask("^GSPC", "1d", datetime(2022, 1, 1, tzinfo=UTC), datetime(2022, 2, 1, tzinfo=UTC))
    url = Chart().first(ask).url("https://query2.finance.yahoo.com/")
    assert url == (
        "https://query2.finance.yahoo.com/v8/finance/chart/%5EGSPC?interval=1d&period1=1640995200&period2=1643673600"
        "&includePrePost=false&events=div%2Csplits"
    )


@pytest.mark.parametrize(
    "ask",
    [
        Ask("../x", "1d", datetime(2022, 1, 1, tzinfo=UTC), datetime(2022, 2, 1, tzinfo=UTC)),
        Ask("AAPL", "7m", datetime(2022, 1, 1, tzinfo=UTC), datetime(2022, 2, 1, tzinfo=UTC)),
        Ask("AAPL", "1d", datetime(2022, 2, 1, tzinfo=UTC), datetime(2022, 2, 1, tzinfo=UTC)),
    ],
)
def test_an_ask_that_cannot_be_put_is_refused(ask: Ask) -> None:
    with pytest.raises(InvalidValueError):
        Chart().first(ask)
