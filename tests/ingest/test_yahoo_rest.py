"""Yahoo beside its charts: cookie and crumb, quotes, every expiration of a chain, screeners, searches; rows from the sockets."""

from __future__ import annotations

from datetime import UTC, datetime

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.asks import Address, Ask, Pages, Request, Response
from ingest.capture import CaptureReport, capture_pages
from ingest.providers import yahoo
from ingest.providers.registry import provider_named
from ingest.providers.yahoo_rest import HOSTS, Crumbed, Options, Quotes, Screener, Search, read_cookie, read_crumb
from ingest.reach import themselves
from ingest.simulator import Faults, HttpFault, Simulator
from ingest.simulator.yahoo_web import COOKIE, CRUMB
from ingest.verdicts import Verdict
from lake.catalog import Lake
from lake.errors import InvalidValueError
from lake.log.segments import SegmentLog
from tests.ingest.conftest import FAST, Waits, history_of, messages_of
from tests.ingest.decoding import decoded_of, row_counts

SPAN = (datetime(2025, 2, 1, tzinfo=UTC), datetime(2025, 3, 1, tzinfo=UTC))
STALE = b'{"finance":{"result":null,"error":{"code":"Unauthorized","description":"Invalid Crumb"}}}'
WITH_COOKIE = Response(404, {"set-cookie": "A3=d=x; Path=/"}, b"")
CRUMB_TEXT = Response(200, {"content-type": "text/plain"}, b"abc.DEF/12x")
QUOTED = (
    b'{"quoteResponse":{"result":[{"symbol":"AAPL","quoteType":"EQUITY"},{"symbol":"BRKS","quoteType":"NONE"}],"error":null}}'
)


def ask(symbol: str) -> Ask:
    return Ask(symbol, "", *SPAN)


def answer(body: bytes, status: int = 200) -> Response:
    return Response(status, {}, body)


def begun(pages: Pages, symbol: str) -> Request:
    """Return the first signed request of an ask, after cookie and crumb."""
    pages.first(ask(symbol))
    pages.read(WITH_COOKIE)
    asked = pages.read(CRUMB_TEXT).next
    assert asked is not None
    return asked


@pytest.mark.parametrize(
    ("response", "verdict"),
    [
        (WITH_COOKIE, Verdict.OK),
        (Response(404, {}, b""), Verdict.AUTH),
        (Response(302, {"location": "https://guce.yahoo.com/consent"}, b""), Verdict.NOT_ENTITLED),
        (Response(429, {"set-cookie": "A3=d=x"}, b"Too Many Requests"), Verdict.THROTTLED),
        (Response(502, {}, b"<html>"), Verdict.UPSTREAM_5XX),
    ],
)
def test_a_cookie_is_what_counts(response: Response, verdict: Verdict) -> None:
    assert read_cookie(response).verdict is verdict


@pytest.mark.parametrize(
    ("body", "status", "verdict"),
    [
        (b"Too Many Requests\r\n", 429, Verdict.THROTTLED),
        (b'{"finance":{"result":null,"error":{"code":"Unauthorized","description":"Invalid Cookie"}}}', 401, Verdict.AUTH),
        (b"<html><title>Will be right back...</title></html>", 200, Verdict.UPSTREAM_5XX),
        (b"", 200, Verdict.UPSTREAM_5XX),
        (b"{}", 200, Verdict.MALFORMED),
        (b"two words", 200, Verdict.MALFORMED),
        (b"oops", 503, Verdict.UPSTREAM_5XX),
    ],
)
def test_what_is_no_crumb_says_why(body: bytes, status: int, verdict: Verdict) -> None:
    found = read_crumb(answer(body, status))
    assert not isinstance(found, str)
    assert found.verdict is verdict


def test_a_session_is_begun_once_and_signs_what_is_asked() -> None:
    pages = Crumbed(Quotes())
    cookie = pages.first(ask("AAPL"))
    assert (cookie.host, cookie.what, Address("http://sim").url(cookie)) == ("cookie", "cookie", "http://sim/")
    crumb = pages.read(WITH_COOKIE).next
    assert crumb is not None and crumb.secret_answer is not None and crumb.path == "/v1/test/getcrumb"
    signed = pages.read(CRUMB_TEXT).next
    assert signed is not None and signed.session.query == (("crumb", "abc.DEF/12x"),)
    assert "abc" not in repr(signed) and "abc" not in signed.url("https://query2.finance.yahoo.com")
    assert pages.read(answer(QUOTED)).next is None
    assert pages.first(ask("MSFT")).session == signed.session


@pytest.mark.parametrize("step", [CRUMB_TEXT, answer(QUOTED)])
def test_a_session_that_is_refused_is_begun_anew_once(step: Response) -> None:
    pages = Crumbed(Quotes())
    pages.first(ask("AAPL"))
    pages.read(WITH_COOKIE)
    if step is not CRUMB_TEXT:
        pages.read(CRUMB_TEXT)
    page = pages.read(answer(STALE, 401))
    assert (page.reading.verdict, page.next and page.next.what) == (Verdict.AUTH, "cookie")
    pages.read(WITH_COOKIE)
    pages.read(CRUMB_TEXT)
    last = pages.read(answer(STALE, 401))
    assert (last.reading.verdict, last.reading.detail, last.next) == (Verdict.AUTH, "Unauthorized: Invalid Crumb", None)


@pytest.mark.parametrize(
    ("pages", "symbol", "body", "status", "verdict", "detail"),
    [
        (Crumbed(Quotes()), "AAPL,BRKS,XX", QUOTED, 200, Verdict.OK, "1 quotes; none of BRKS, XX"),
        (Crumbed(Quotes()), "XX", b'{"quoteResponse":{"result":[],"error":null}}', 200, Verdict.UNKNOWN_SYMBOL, "none of XX"),
        (Crumbed(Quotes()), "XX", b'{"quoteResponse":{}}', 200, Verdict.MALFORMED, "quoteResponse"),
        (Crumbed(Quotes()), "XX", b"Too Many Requests\r\n", 429, Verdict.THROTTLED, "Too Many"),
        (Crumbed(Quotes()), "XX", b"[]", 200, Verdict.MALFORMED, ""),
        (Crumbed(Options()), "XX", b'{"optionChain":{"result":[],"error":null}}', 200, Verdict.UNKNOWN_SYMBOL, "no chain"),
        (Crumbed(Options()), "XX", b'{"optionChain":{"result":[{"options":[]}]}}', 200, Verdict.EMPTY_VALID, "0 contracts"),
        (Crumbed(Options()), "XX", b'{"optionChain":null}', 200, Verdict.MALFORMED, ""),
        (Crumbed(Screener()), "none", b'{"finance":{"result":null,"error":{"code":"Not Found","description":"x"}}}', 404,
         Verdict.UNKNOWN_SYMBOL, "Not Found: x"),
        (Crumbed(Screener()), "few", b'{"finance":{"result":[{"quotes":[],"total":0}]}}', 200, Verdict.EMPTY_VALID, "0 quotes"),
        (Crumbed(Screener()), "odd", b'{"finance":{"result":[],"error":null}}', 200, Verdict.MALFORMED, ""),
    ],
)  # fmt: skip
def test_answers_mean(pages: Pages, symbol: str, body: bytes, status: int, verdict: Verdict, detail: str) -> None:
    begun(pages, symbol)
    page = pages.read(answer(body, status))
    assert (page.reading.verdict, page.next) == (verdict, None)
    assert detail in page.reading.detail


@pytest.mark.parametrize(
    ("body", "status", "verdict"),
    [
        (b'{"news":[{}],"quotes":[]}', 200, Verdict.OK),
        (b'{"news":[],"quotes":[]}', 200, Verdict.EMPTY_VALID),
        (b'{"count":0}', 200, Verdict.MALFORMED),
        (b"<html>", 200, Verdict.UPSTREAM_5XX),
        (b"{}", 403, Verdict.NOT_ENTITLED),
    ],
)
def test_searches_mean(body: bytes, status: int, verdict: Verdict) -> None:
    search = Search()
    assert search.first(ask("apple inc")).url("http://sim").startswith("http://sim/v1/finance/search?q=apple+inc&")
    assert search.read(answer(body, status)).reading.verdict is verdict


def test_each_expiration_is_asked_for_once() -> None:
    pages = Crumbed(Options())
    asked = [begun(pages, "EBAY")]
    chain = {"expirationDates": [10, 20, 30, 20], "options": [{"expirationDate": 10, "calls": [{}, {}], "puts": [{}]}]}
    page = pages.read(answer(orjson.dumps({"optionChain": {"result": [chain]}})))
    while page.next is not None:
        asked.append(page.next)
        page = pages.read(answer(b'{"optionChain":{"result":[{"expirationDates":[99],"options":[{"calls":[{}],"puts":[]}]}]}}'))
    assert [dict(each.params).get("date") for each in asked] == [None, "20", "30"]
    assert page.reading.detail == "5 contracts of 3 expirations"


@pytest.mark.parametrize(
    "make",
    [
        lambda: Crumbed(Quotes()).first(ask("AAPL,A B")),
        lambda: Crumbed(Options()).first(ask("AAPL,MSFT")),
        lambda: Crumbed(Screener()).first(ask("day-gainers")),
        lambda: Search().first(ask("  ")),
        lambda: Search().first(ask("a\nb")),
    ],
)
def test_what_cannot_be_asked_is_refused_here(make: object) -> None:
    with pytest.raises(InvalidValueError):
        make()  # type: ignore[operator]


ODD = [b"[]", b"null", STALE, b'{"optionChain":{"result":[1,{"expirationDates":{}}]}}', b'{"finance":{"result":[{"quotes":1}]}}']


@given(st.lists(st.binary(max_size=60) | st.sampled_from(ODD), min_size=1, max_size=6), st.integers(100, 599), st.booleans())
def test_any_bytes_have_a_meaning(bodies: list[bytes], status: int, has_cookie: bool) -> None:
    for pages in (Crumbed(Quotes()), Crumbed(Options()), Crumbed(Screener()), Search()):
        pages.first(ask("AAPL"))
        for body in bodies:
            headers = {"set-cookie": "A3=x"} if has_cookie else {}
            assert pages.read(Response(status, headers, body)).reading.verdict in Verdict


def test_a_word_of_data_stands_for_its_feed() -> None:
    yahoo = provider_named("yahoo")
    assert yahoo.meant("options", None) == ("quote", "options")
    assert yahoo.meant("chart", None) == ("chart", None)
    assert yahoo.meant("options", "bars") == ("options", "bars")
    assert provider_named("alpaca").meant("bars", None) == ("bars", None)  # several feeds have bars
    assert themselves({}).asked("yahoo", "quote").hosts == HOSTS


def captured(lake: Lake, log: SegmentLog, sim: Simulator, word: str, asks: list[Ask], waits: Waits) -> CaptureReport:
    feed, data = provider_named("yahoo").meant(word, None)
    pages = provider_named("yahoo").offers_of(feed, data)[0].pages()
    return capture_pages(lake, log, pages, asks, sim.yahoo, provider="yahoo", feed=feed, sleep=waits, backoff=FAST)


def test_answers_become_rows_and_the_session_stands_nowhere(shared_lake: Lake, log: SegmentLog, waits: Waits) -> None:
    plan = Faults(
        http=(
            HttpFault("status", path="/v1/test/getcrumb", status=429),
            HttpFault("status", path="/v7/finance/quote", status=401, skip=1),
            HttpFault("truncate", path="/v7/finance/options", skip=2),
            HttpFault("garble", path="/v1/finance/search"),
        )
    )
    with Simulator(plan, markets=(), streams=()) as sim:
        quotes = captured(shared_lake, log, sim, "quotes", [ask("AAPL,BABA"), ask("EURUSD=X,XXXX,GC=F")], waits)
        chain = captured(shared_lake, log, sim, "options", [ask("EBAY")], waits)
        screened = captured(shared_lake, log, sim, "screener", [ask("aggressive_small_caps")], waits)
        found = captured(shared_lake, log, sim, "search", [ask("AAPL")], waits)
    reports = [quotes, chain, screened, found]
    assert [report.outcomes[-1]["verdict"] for report in reports] == ["OK"] * 4
    assert quotes.verdicts == {"OK": 6, "THROTTLED": 1, "AUTH": 1}  # two sessions, two questions
    assert chain.verdicts == {"OK": 2 + 15, "MALFORMED": 1}
    assert chain.outcomes[0]["detail"] == "47 contracts of 15 expirations"
    written = repr(messages_of(log)) + repr(history_of(log, "ops.provider_calls")) + repr([one.document() for one in reports])
    assert CRUMB not in written and COOKIE.partition("=")[2] not in written
    assert sum(row["payload"] == b"REDACTED" for row in messages_of(log)) == 4
    assert row_counts(log, ("yahoo", "quote"), ("yahoo", "search")) == {  # a chain tells its underlying again each time
        ("yahoo", "quote", "quotes"): 4 + 15 + 1 + 3, ("yahoo", "quote", "bars"): 4 + 15 + 5,
        ("yahoo", "quote", "fundamentals"): 2 * 21 + 15 * 21 + 101, ("yahoo", "quote", "option_open_interest"): 47,
        ("yahoo", "search", "news"): 4,
    }  # fmt: skip
    assert decoded_of(log, "yahoo", "quote").refused["rule"].to_pylist() == ["malformed"]


def test_a_form_for_consent_ends_the_capture_and_nobody_agrees(shared_lake: Lake, log: SegmentLog, waits: Waits) -> None:
    for path, calls in (("getcrumb", {"OK": 1, "NOT_ENTITLED": 1}), ("/v7/finance/quote", {"OK": 2, "NOT_ENTITLED": 1})):
        with Simulator(Faults(http=(HttpFault("status", path=path, status=200),)), markets=(), streams=()) as sim:
            report = captured(shared_lake, log, sim, "quotes", [ask("AAPL"), ask("BABA")], waits)
        assert report.ended.startswith("refused: NOT_ENTITLED Yahoo asks for consent")
        assert report.verdicts == calls
    assert waits.asked == []
    told = [row["payload"] for row in messages_of(log) if b"collectConsent" in row["payload"]]
    assert len(told) == 2
    assert decoded_of(log, "yahoo", "quote").refused.num_rows == 0


CONSENT = "https://guce.yahoo.com/consent?brandType=nonEu&gcrumb=x"


@pytest.mark.parametrize(
    ("location", "body", "verdict"),
    [
        (CONSENT, b"", Verdict.NOT_ENTITLED),
        ("https://consent.yahoo.com/v2/collectConsent?sessionId=1", b"redirecting", Verdict.NOT_ENTITLED),
        ("https://de.consent.yahoo.com", b"", Verdict.NOT_ENTITLED),
        ("https://example.org/?to=https://consent.yahoo.com/", b"", Verdict.UPSTREAM_5XX),
        ("https://notguce.yahoo.com/", b"", Verdict.UPSTREAM_5XX),
        (
            "",
            b'<html><a href="https://guce.yahoo.com/privacy-dashboard">Privacy</a> Will be right back</html>',
            Verdict.UPSTREAM_5XX,
        ),
        ("", b'\n<html><form class="consent-form">', Verdict.NOT_ENTITLED),
        ("", b'{"consent-form":"collectConsent"}', Verdict.MALFORMED),
    ],
)
def test_who_asks_for_consent_is_told_from_an_outage(location: str, body: bytes, verdict: Verdict) -> None:
    response = Response(302 if location else 200, {"location": location} if location else {}, body)
    assert yahoo.read_chart(response).verdict is verdict
    cookie = read_cookie(Response(302, {"set-cookie": "GUCS=x", "location": location}, body))
    assert cookie.verdict is (verdict if verdict is Verdict.NOT_ENTITLED else Verdict.OK)


def test_a_session_refused_twice_ends_the_capture(shared_lake: Lake, log: SegmentLog, waits: Waits) -> None:
    plan = Faults(http=(HttpFault("status", path="/v7/finance/quote", status=401, times=2),))
    with Simulator(plan, markets=(), streams=()) as sim:
        report = captured(shared_lake, log, sim, "quotes", [ask("AAPL"), ask("BABA")], waits)
    assert (report.ended, report.verdicts) == ("refused: AUTH Unauthorized: Invalid Crumb", {"OK": 4, "AUTH": 2})
