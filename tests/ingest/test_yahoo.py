from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.asks import Ask, Page, Response
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


def windows_of(ask: Ask, *answers: bytes) -> tuple[list[tuple[int, int]], Page]:
    """Return the windows that are asked one after the other, and the last page; the last of the answers comes again and again."""
    chart = Chart()
    asked, told = [chart.first(ask)], list(answers)
    page = chart.read(Response(200, {}, told[0]))
    while page.next is not None:
        asked.append(page.next)
        told = told[1:] or told
        page = chart.read(Response(200, {}, told[0]))
    params = [dict(each.params) for each in asked]
    assert {each.path for each in asked} == {f"/v8/finance/chart/{ask.symbol}"} and len(
        {each["interval"] for each in params}
    ) == 1
    return [(int(each["period1"]), int(each["period2"])) for each in params], page


SPRING = (datetime(2025, 1, 1, tzinfo=UTC), datetime(2025, 2, 1, 12, tzinfo=UTC))


@pytest.mark.parametrize(("interval", "parts"), [("1m", 5), ("2m", 1), ("60m", 1), ("1d", 1), ("1mo", 1)])
def test_a_long_window_is_asked_in_parts_without_a_hole(interval: str, parts: int) -> None:
    asked, page = windows_of(Ask("AAPL", interval, *SPRING), FULL)
    asked.reverse()  # the newest came first
    assert (asked[0][0], asked[-1][1]) == tuple(int(each.timestamp()) for each in SPRING)
    assert [first for first, _ in asked[1:]] == [last for _, last in asked[:-1]]
    assert all(last - first <= 7 * 86_400 for first, last in asked) or interval != "1m"
    assert (len(asked), page.reading.verdict) == (parts, Verdict.OK)
    years = Ask("AAPL", interval, SPRING[0].replace(year=2021), SPRING[1])
    assert len(windows_of(years, FULL)[0]) == {"1m": 214, "2m": 25, "60m": 3, "1d": 1, "1mo": 1}[interval]


def test_parts_add_up_and_behind_one_out_of_reach_nothing_is_asked() -> None:
    ask = Ask("AAPL", "1m", *SPRING)
    assert windows_of(ask, FULL)[1].reading.detail == "245 rows in the newest 5 of 5 parts of the window"
    assert windows_of(ask, WEEKEND)[1].reading.verdict is Verdict.EMPTY_VALID
    asked, page = windows_of(ask, FULL, FULL, MINUTES)
    assert (len(asked), page.reading.verdict) == (3, Verdict.OUT_OF_RANGE)
    assert page.reading.detail.startswith("98 rows in the newest 3 of 5 parts of the window; Unprocessable Entity: 1m data not")
    asked, page = windows_of(ask, FULL, UNKNOWN)
    assert (len(asked), page.reading.verdict) == (2, Verdict.UNKNOWN_SYMBOL)


def test_parts_of_a_second_are_within_the_window() -> None:
    start = datetime(2025, 1, 1, 0, 0, 0, 1, tzinfo=UTC)
    asked, _ = windows_of(Ask("AAPL", "1m", start, start.replace(microsecond=2)), FULL)
    assert asked == [(int(start.timestamp()) + 1, int(start.timestamp()) + 2)]


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
