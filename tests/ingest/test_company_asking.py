"""What Alpha Vantage is asked about companies, what its answers mean, and the simulator's recorded ones."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.asks import Ask, Response
from ingest.providers.alpha_vantage import COMPANY, REPEATS_UNTIL_QUOTA, Company
from ingest.simulator.keyed import Keys
from ingest.simulator.keyed_web import alpha_vantage_answer
from ingest.verdicts import Verdict
from lake.errors import InvalidValueError
from tests.transforms.decode.cases import messages
from transforms.feeds import feed_named

KEYS = Keys()
TSLA = Ask("TSLA", "1d", datetime(2022, 1, 1, tzinfo=UTC), datetime(2022, 6, 1, tzinfo=UTC))


def simulated(about: str, symbol: str = "TSLA") -> bytes:
    params = dict(Company(about).first(Ask(symbol, "1d", TSLA.start, TSLA.end)).params)
    return bytes(alpha_vantage_answer(params | {"apikey": KEYS.alpha_vantage_key}, KEYS).body)


@pytest.mark.parametrize("about", COMPANY)
def test_a_company_is_asked_by_function_and_symbol_and_no_key(about: str) -> None:
    request = Company(about).first(TSLA)
    assert (request.path, request.params) == ("/query", (("function", COMPANY[about]), ("symbol", "TSLA")))


@pytest.mark.parametrize(("about", "rows"), [("overview", 41), ("earnings", 197)])
def test_what_is_asked_of_the_simulator_is_read(about: str, rows: int) -> None:
    body = simulated(about)
    assert Company(about).read(Response(200, {}, body)).reading.verdict is Verdict.OK
    date = {"date": "Sun, 06 Mar 2022 15:41:07 GMT"}
    found = feed_named("alpha_vantage", "fundamentals").decode(messages([body], headers=[date]))
    assert found.tables["normalized.fundamentals"].num_rows == rows


def test_refusals_mean_what_they_say() -> None:
    pages = Company("cash_flow")
    assert pages.read(Response(200, {}, simulated("overview", "NOBODY"))).reading.verdict is Verdict.UNKNOWN_SYMBOL
    assert pages.read(Response(200, {}, b"{}")).reading.verdict is Verdict.EMPTY_VALID
    assert pages.read(Response(200, {}, b'{"Information":"This is a premium endpoint."}')).reading.verdict is Verdict.NOT_ENTITLED
    told = [pages.read(Response(200, {}, simulated("cash_flow"))).reading.verdict for _ in range(REPEATS_UNTIL_QUOTA)]
    assert told == [Verdict.THROTTLED] * (REPEATS_UNTIL_QUOTA - 1) + [Verdict.QUOTA_EXHAUSTED]


def test_what_cannot_be_asked_is_refused() -> None:
    with pytest.raises(InvalidValueError, match="overview"):
        Company("transcripts")
    with pytest.raises(InvalidValueError, match="symbol"):
        Company("overview").first(Ask("A B", "1d", TSLA.start, TSLA.end))


@given(st.binary(max_size=60), st.sampled_from([200, 404, 429, 500]))
def test_any_answer_means_something(body: bytes, status: int) -> None:
    assert isinstance(Company("income").read(Response(status, {}, body)).reading.verdict, Verdict)
