"""Section 0.1 of the provider contracts for Binance, Polygon, Tiingo, Databento and IEX's files, by bodies and over sockets.

Bodies are as recorded, or as the vendors and the threads about them quote them; what they feed, repeat and hand on is the table
of `test_verdict_tables.py`.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import partial

import pytest

from ingest.asks import Ask, Pages, Response
from ingest.permits import FREE
from ingest.providers import binance_rest, databento, iex_hist, polygon, tiingo
from ingest.providers.registry import PROVIDERS
from ingest.reach import simulated
from ingest.simulator import Faults, HttpFault, Simulator
from ingest.simulator.keyed import answers
from ingest.simulator.recorded import binance
from ingest.transport.http import HttpTransport
from ingest.verdicts import Reading, Verdict
from lake.instants import system_clock
from tests.ingest.conftest import FAST, Waits
from tests.ingest.test_quotas import Calls
from tests.ingest.test_verdict_tables import DONE, TABLE, treated
from tests.transforms.decode.cases import SAMPLES

SPAN = (datetime(2024, 8, 8, tzinfo=UTC), datetime(2024, 8, 9, tzinfo=UTC))
Read = Callable[[Response], Reading]
Case = tuple[int, dict[str, str], bytes, Verdict, float | None]


def asked(make: Callable[[], Pages], symbol: str, interval: str, response: Response) -> Reading:
    pages = make()
    pages.first(Ask(symbol, interval, *SPAN))
    return pages.read(response).reading


of_klines: Read = partial(asked, partial(binance_rest.Klines, "spot"), "BTCUSDT", "1m")
of_trades: Read = partial(asked, partial(polygon.Query, "trades"), "AAPL", "")
of_prices: Read = partial(asked, partial(tiingo.Prices, "daily"), "GOOGL", "1d")
BINANCE_AFTER, AFTER = {"retry-after": "42"}, {"retry-after": "7"}
SYMBOLS_SPENT = b"You have run over your 500 symbol look up for this month. Please upgrade at https://api.tiingo.com/pricing"
HOUR_SPENT = b'{"detail":"Error: You have run over your hourly request allocation. Then please upgrade"}'
DAY_SPENT = b'{"detail":"Error: You have run over your daily request allocation."}'
INELIGIBLE = b'{"code":0,"msg":"Service unavailable from a restricted location according to \'b. Eligibility\'."}'
BANNED = b'{"code":-1003,"msg":"Way too much request weight used; IP banned until 1723100000000."}'
TOO_MANY = b'{"status":"ERROR","request_id":"1","error":"You\'ve exceeded the maximum requests per minute, please wait."}'
PLAN = b'{"status":"NOT_AUTHORIZED","message":"You are not entitled to this data. Please upgrade your plan"}'
DOWN = b'{"Information":"We are down for maintenance","error":"temporarily unavailable"}'
NO_FUNDS = b'{"detail":"Your account has insufficient funds for this request."}'


def case(of: str, *words: str) -> bytes:
    """An error of Databento by its case."""
    return ('{"detail":{"case":"%s","message":"%s","status_code":0}}' % (of, " ".join(words))).encode()  # noqa: UP031  # JSON


CASES: list[tuple[Read, list[Case]]] = [
    (
        of_klines,
        [
            (429, BINANCE_AFTER, b'{"code":-1003,"msg":"Too much request weight used."}', Verdict.THROTTLED, 42.0),
            (418, BINANCE_AFTER, BANNED, Verdict.THROTTLED, 42.0),
            (403, {}, b"<html><head><title>403 Forbidden</title></head></html>", Verdict.THROTTLED, 300.0),
            (451, {}, INELIGIBLE, Verdict.NOT_ENTITLED, None),
            (400, {}, b'{"code":-1121,"msg":"Invalid symbol."}', Verdict.UNKNOWN_SYMBOL, None),
            (400, {}, b'{"code":-1127,"msg":"More than 24 hours between startTime and endTime."}', Verdict.OUT_OF_RANGE, None),
            (400, {}, b'{"code":-1100,"msg":"Illegal characters found in a parameter."}', Verdict.BAD_REQUEST, None),
            (401, {}, b'{"code":-2014,"msg":"API-key format invalid."}', Verdict.AUTH, None),
            (401, {}, b'{"code":-2015,"msg":"Invalid API-key, IP, or permissions for action."}', Verdict.AUTH, None),
            (503, {}, b'{"code":-1008,"msg":"Server is currently overloaded with other requests."}', Verdict.UPSTREAM_5XX, None),
            (200, {}, b'{"code":-1001,"msg":"Internal error; unable to process your request."}', Verdict.UPSTREAM_5XX, None),
            (200, {}, b'[[1499040000000,"1","1"', Verdict.MALFORMED, None),
            (200, {}, b"<html>maintenance</html>", Verdict.MALFORMED, None),
            (200, {}, b"[]", Verdict.EMPTY_VALID, None),
        ],
    ),
    (
        of_trades,
        [
            (429, {}, TOO_MANY, Verdict.THROTTLED, 60.0),
            (429, AFTER, b"", Verdict.THROTTLED, 7.0),
            (200, {}, TOO_MANY, Verdict.THROTTLED, 60.0),
            (401, {}, b'{"status":"ERROR","error":"Unknown API Key"}', Verdict.AUTH, None),
            (403, {}, b'{"status":"ERROR","error":"Unknown API Key"}', Verdict.AUTH, None),
            (403, {}, PLAN, Verdict.NOT_ENTITLED, None),
            (200, {}, PLAN, Verdict.NOT_ENTITLED, None),
            (404, {}, b'{"status":"NOT_FOUND","message":"Ticker not found."}', Verdict.UNKNOWN_SYMBOL, None),
            (400, {}, b'{"status":"ERROR","error":"timestamp: could not parse"}', Verdict.BAD_REQUEST, None),
            (200, {}, b'{"status":"OK","results":[]}', Verdict.EMPTY_VALID, None),
            (200, {}, b'{"status":"OK"}', Verdict.MALFORMED, None),
            (200, {}, DOWN, Verdict.UPSTREAM_5XX, None),
            (200, {}, b'{"results":[{"p":1', Verdict.MALFORMED, None),
            (504, AFTER, b"<html>", Verdict.UPSTREAM_5XX, 7.0),
        ],
    ),
    (
        of_prices,
        [
            (200, {}, SYMBOLS_SPENT, Verdict.QUOTA_EXHAUSTED, None),
            (429, {}, HOUR_SPENT, Verdict.QUOTA_EXHAUSTED, 3_600.0),
            (200, {}, HOUR_SPENT, Verdict.QUOTA_EXHAUSTED, 3_600.0),
            (429, {}, DAY_SPENT, Verdict.QUOTA_EXHAUSTED, None),
            (429, AFTER, b"slow down", Verdict.THROTTLED, 7.0),
            (401, {}, b'{"detail":"Invalid token."}', Verdict.AUTH, None),
            (403, {}, b'{"detail":"You do not have permission to access the News API"}', Verdict.NOT_ENTITLED, None),
            (404, {}, b'{"detail":"Error: Ticker \'XXXX\' not found"}', Verdict.UNKNOWN_SYMBOL, None),
            (400, {}, b'{"detail":"Error: endDate before startDate"}', Verdict.BAD_REQUEST, None),
            (200, {}, b'["Error: resampleFreq must be daily, weekly, monthly or annually"]', Verdict.BAD_REQUEST, None),
            (200, {}, b"[]", Verdict.EMPTY_VALID, None),
            (200, {}, b"words that nobody knows yet", Verdict.MALFORMED, None),
            (200, {}, b'["Error: the service is temporarily unavailable"]', Verdict.UPSTREAM_5XX, None),
            (200, {}, b'{"detail":"Internal server error"}', Verdict.UPSTREAM_5XX, None),
            (200, {}, b'[{"date":"2018-01-05T', Verdict.MALFORMED, None),
            (502, {}, b"<html>Bad Gateway</html>", Verdict.UPSTREAM_5XX, None),
        ],
    ),
    (
        databento.read_refusal,
        [
            (429, AFTER, b"Too many requests.", Verdict.THROTTLED, 7.0),
            (401, {}, case("auth_authentication_failed", "Authentication failed."), Verdict.AUTH, None),
            (400, {}, case("auth_no_key", "No key."), Verdict.AUTH, None),
            (402, {}, NO_FUNDS, Verdict.NOT_ENTITLED, None),
            (403, {}, case("license_not_found_unauthorized"), Verdict.NOT_ENTITLED, None),
            (422, {}, case("data_start_before_available_start"), Verdict.OUT_OF_RANGE, None),
            (422, {}, case("data_end_after_available_end"), Verdict.OUT_OF_RANGE, None),
            (422, {}, case("symbology_invalid_request", "None of the symbols could be resolved"), Verdict.UNKNOWN_SYMBOL, None),
            (422, {}, case("data_invalid_dataset"), Verdict.BAD_REQUEST, None),
            (503, AFTER, b"", Verdict.UPSTREAM_5XX, 7.0),
        ],
    ),
    (
        iex_hist.read_refusal,
        [
            (404, {}, b"Not Found", Verdict.EMPTY_VALID, None),
            (429, {}, b"slow", Verdict.THROTTLED, None),
            (500, {}, b"", Verdict.UPSTREAM_5XX, None),
            (403, {}, b"<Error><Code>AccessDenied</Code></Error>", Verdict.BAD_REQUEST, None),
        ],
    ),
]
WHO = ("binance", "polygon", "tiingo", "databento", "iex")
EACH = [
    pytest.param(read, *case, id=f"{who}-{case[0]}-{case[3]}")
    for who, (read, cases) in zip(WHO, CASES, strict=True)
    for case in cases
]


@pytest.mark.parametrize(("read", "status", "headers", "body", "verdict", "wait_s"), EACH)
def test_answers_are_told_apart_and_treated_by_the_table(
    read: Read, status: int, headers: dict[str, str], body: bytes, verdict: Verdict, wait_s: float | None
) -> None:
    reading = read(Response(status, headers, body))
    assert (reading.verdict, reading.retry_after_s) == (verdict, wait_s)
    assert treated(reading) == TABLE[verdict]


@pytest.mark.parametrize("read", [read for read, _ in CASES], ids=WHO)
def test_an_answer_cut_short_is_asked_again_whatever_its_beginning_says(read: Read) -> None:
    reading = read(Response(200, {}, b'[{"date"', is_complete=False))
    assert treated(reading) == TABLE[Verdict.MALFORMED]


def test_recorded_good_answers_feed_no_breaker_and_recorded_refusals_are_none() -> None:
    for each in answers("tiingo"):
        assert treated(tiingo.read_answer(Response(each.status, {}, each.body))) == DONE, each.file
    for each in answers("polygon"):
        assert isinstance(polygon.read_answer(Response(each.status, {}, each.body)), dict), each.file
    assert treated(binance_rest.read_book(Response(200, {}, binance("spot", 1).snapshot))) == DONE
    lost = (SAMPLES / "tiingo" / "invalid_url" / "invalid_url.html").read_bytes()
    assert tiingo.read_answer(Response(404, {}, lost)).verdict is Verdict.BAD_REQUEST


TROUBLE = ("THROTTLED", "UPSTREAM_5XX", "MALFORMED")
SPOKEN: Sequence[tuple[str, str, str, str, dict[int, str]]] = (
    ("binance", "spot", "bars", "BTCUSDT", {429: "THROTTLED", 418: "THROTTLED", 403: "THROTTLED", 503: "UPSTREAM_5XX"}),
    ("polygon", "market", "bars", "AAPL", {429: "THROTTLED", 403: "NOT_ENTITLED", 503: "UPSTREAM_5XX"}),
    (
        "tiingo",
        "daily",
        "bars",
        "GOOGL",
        {429: "QUOTA_EXHAUSTED", 402: "QUOTA_EXHAUSTED", 403: "NOT_ENTITLED", 500: "UPSTREAM_5XX"},
    ),
)


@pytest.mark.parametrize(("provider", "feed", "word", "symbol", "meant"), SPOKEN, ids=[each[0] for each in SPOKEN])
def test_over_a_socket_refusals_are_asked_once_and_trouble_again(
    provider: str, feed: str, word: str, symbol: str, meant: dict[int, str]
) -> None:
    offer = PROVIDERS[provider].offers_of(feed, word)[0]
    kinds = [HttpFault("status", status=status, times=9, retry_after_s=0) for status in meant]
    for fault, verdict in [*zip(kinds, meant.values(), strict=True), (HttpFault("truncate", times=9), "MALFORMED")]:
        calls = Calls()
        with Simulator(Faults(http=(fault,)), markets=("spot",), streams=(), excerpt=10) as sim:
            address = simulated(sim.addresses(), sim.keys).asked(provider, feed)
            with HttpTransport(
                address, calls, clock=system_clock, sleep=Waits(), rng=random.Random(1), backoff=FAST, permits=FREE
            ) as transport:
                reading = transport.ask(offer.pages(), Ask(symbol, "1m" if provider == "binance" else "1d", *SPAN))
        assert reading.verdict == verdict, (fault, reading)
        assert len(calls.all) == len(calls.answers) == (FAST.attempts if verdict in TROUBLE else 1)
        assert {call.reading.verdict.value for call in calls.all} == {verdict}
