"""What Alpaca, Finnhub and Alpha Vantage are asked, what their answers mean, and how their streams are spoken with."""

from __future__ import annotations

import random
from datetime import UTC, datetime

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.asks import Address, Ask, Credentials, Response
from ingest.capture import capture_pages, capture_stream
from ingest.conversation import FrameMemory
from ingest.providers import alpaca, alpha_vantage, finnhub
from ingest.providers.alpaca import MarketData, timeframe
from ingest.providers.alpaca_stream import MarketStream
from ingest.providers.alpha_vantage import Query, read_answer
from ingest.providers.finnhub import Quote, TradeStream, read_quote
from ingest.providers.handshake import FRUITLESS
from ingest.simulator import Faults, HttpFault, Simulator
from ingest.simulator.keyed import Keys, answers, frames
from ingest.verdicts import Verdict
from lake.catalog import Lake
from lake.errors import InvalidValueError
from lake.log.segments import SegmentLog
from tests.ingest.conftest import FAST, Waits, history_of, messages_of

SPRING = (datetime(2022, 1, 1, tzinfo=UTC), datetime(2022, 6, 1, tzinfo=UTC))
KEYS = Keys()
READERS = [MarketData("sip").read, MarketData("actions", "actions").read, Quote().read, Query().read]


def answer(body: bytes, status: int = 200, **headers: str) -> Response:
    return Response(status, {name.replace("_", "-"): value for name, value in headers.items()}, body)


@pytest.mark.parametrize(
    ("body", "status", "verdict", "wait_s"),
    [
        (b'{"bars":{},"next_page_token":null}', 200, Verdict.EMPTY_VALID, None),
        (b'{"bars":{"AAPL":[{}]},"next_page_token":null}', 200, Verdict.OK, None),
        (b'{"bars":null,"next_page_token":null}', 200, Verdict.EMPTY_VALID, None),
        (b'{"message":"forbidden."}', 403, Verdict.AUTH, None),
        (b'{"code":40310000,"message":"subscription does not permit querying recent SIP data"}', 403, Verdict.NOT_ENTITLED, None),
        (b'{"code":40010001,"message":"invalid symbol: A!"}', 400, Verdict.UNKNOWN_SYMBOL, None),
        (b'{"code":42210000,"message":"invalid limit"}', 422, Verdict.BAD_REQUEST, None),
        (b'{"message":"too many requests."}', 429, Verdict.THROTTLED, 7.0),
        (b"oops", 502, Verdict.UPSTREAM_5XX, 7.0),
        (b"{", 200, Verdict.MALFORMED, None),
        (b'{"trades":{}}', 200, Verdict.MALFORMED, None),
    ],
)
def test_alpacas_answers_mean(body: bytes, status: int, verdict: Verdict, wait_s: float | None) -> None:
    pages = MarketData("sip")
    pages.first(Ask("AAPL", "1d", *SPRING))
    reading = pages.read(answer(body, status, retry_after="7")).reading
    assert (reading.verdict, reading.retry_after_s) == (verdict, wait_s)


@pytest.mark.parametrize(
    ("body", "status", "verdict"),
    [
        (b'{"c":146.36,"d":-3.83,"dp":-2.5,"h":150.71,"l":146.15,"o":149.8,"pc":150.19,"t":1629316803}', 200, Verdict.OK),
        (b'{"c":0,"d":null,"dp":null,"h":0,"l":0,"o":0,"pc":0,"t":0}', 200, Verdict.UNKNOWN_SYMBOL),
        (b'{"error":"You don\'t have access to this resource."}', 403, Verdict.NOT_ENTITLED),
        (b'{"error":"Invalid API key"}', 401, Verdict.AUTH),
        (b"API limit reached. Please try again later. Remaining Limit: 0", 429, Verdict.THROTTLED),
        (b"API limit reached. Please sign up for a free account to continue using the API.", 429, Verdict.AUTH),
        (b"<html>", 200, Verdict.MALFORMED),
        (b"[]", 200, Verdict.MALFORMED),
        (b"", 503, Verdict.UPSTREAM_5XX),
    ],
)
def test_finnhubs_answers_mean(body: bytes, status: int, verdict: Verdict) -> None:
    assert read_quote(answer(body, status)).verdict is verdict


def test_a_limit_is_waited_out_until_its_reset() -> None:
    told = answer(b"API limit reached.", 429, date="Wed, 01 Dec 2021 08:35:38 GMT", x_ratelimit_reset="1638347750")
    assert read_quote(told).retry_after_s == 12.0
    assert read_quote(answer(b"API limit reached.", 429, x_ratelimit_reset="soon")).retry_after_s is None


@pytest.mark.parametrize(
    ("body", "verdict", "wait_s"),
    [
        (b'{"Note":"Our standard API call frequency is 5 calls per minute and 500 calls per day."}', Verdict.THROTTLED, 60),
        (b'{"Information":"Please spread your free API requests more sparingly (1 request per second)."}', Verdict.THROTTLED, 1),
        (
            b'{"Information":"We have detected your API key as X and our rate limit is 25 requests per day."}',
            Verdict.THROTTLED,
            60,
        ),
        (b'{"Information":"New words of theirs."}', Verdict.THROTTLED, 60),
        (b'{"Information":"This is a premium endpoint."}', Verdict.NOT_ENTITLED, None),
        (b'{"Error Message":"the parameter apikey is invalid or missing."}', Verdict.AUTH, None),
        (b'{"Error Message":"Invalid API call. Please retry."}', Verdict.UNKNOWN_SYMBOL, None),
        (b'{"Error Message":"Something else."}', Verdict.BAD_REQUEST, None),
        (b"{}", Verdict.EMPTY_VALID, None),
        (b'{"Meta Data":{},"Time Series (Daily)":{}}', Verdict.EMPTY_VALID, None),
        (b'{"Meta Data":{}}', Verdict.MALFORMED, None),
        (b"timestamp,open,high,low,close,volume\r\n2020-01-02,1,1,1,1,1\r\n", Verdict.OK, None),
        (b"", Verdict.UPSTREAM_5XX, None),
        (b"nonsense", Verdict.MALFORMED, None),
        (b"{", Verdict.MALFORMED, None),
    ],
)
def test_alpha_vantages_answers_mean(body: bytes, verdict: Verdict, wait_s: float | None) -> None:
    reading = read_answer(answer(body))
    assert (reading.verdict, reading.retry_after_s) == (verdict, wait_s)


def test_recorded_refusals_are_refusals() -> None:
    meant = {each.file: read_answer(answer(each.body)).verdict for each in answers("alpha_vantage")}
    assert meant.pop("TIME_SERIES_DAILY_ADJUSTED_GME_premium_refusal.json") is Verdict.NOT_ENTITLED
    assert meant.pop("rate_limit_note_CASH_FLOW_TSLA.json") is Verdict.THROTTLED
    assert meant.pop("timeseries_realtimebulkquote.json") is Verdict.NOT_ENTITLED
    assert set(meant.values()) == {Verdict.OK}


def test_a_quota_is_told_by_repetition() -> None:
    pages = Query()
    slow = answer(b'{"Note":"5 calls per minute"}')
    pages.first(Ask("IBM", "1d", *SPRING))
    assert [pages.read(slow).reading.verdict.value for _ in range(3)] == ["THROTTLED", "THROTTLED", "QUOTA_EXHAUSTED"]


@given(
    st.binary(max_size=80) | st.sampled_from([b"[]", b"null", b"1", b'"x"', b'{"bars":[]}', b'{"bars":{"A":1}}']),
    st.integers(100, 599),
)
def test_any_bytes_have_a_meaning(body: bytes, status: int) -> None:
    for read in READERS:
        assert read(answer(body, status)).reading.verdict in Verdict


def test_history_is_asked_by_its_own_names_and_half_open() -> None:
    asked = dict(MarketData("iex", adjustment="split").first(Ask("AAPL,BRK.B", "60m", *SPRING)).params)
    assert asked == {
        "symbols": "AAPL,BRK.B", "timeframe": "1Hour", "start": "2022-01-01T00:00:00Z", "end": "2022-05-31T23:59:59.999999Z",
        "limit": "10000", "adjustment": "split", "asof": "-", "feed": "iex",
    }  # fmt: skip
    assert MarketData("opra", "chain").first(Ask("AAPL", "1d", *SPRING)).path == "/v1beta1/options/snapshots/AAPL"
    assert [timeframe(each) for each in ("1m", "59m", "60m", "2h", "1d", "1wk", "12mo")] == [
        "1Min", "59Min", "1Hour", "2Hour", "1Day", "1Week", "12Month",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "make",
    [
        lambda: MarketData("actions", "bars"),
        lambda: MarketData("opra", "quotes"),
        lambda: MarketData("sip", adjustment="adjusted"),
        lambda: MarketData("sip").first(Ask("AAPL;MSFT", "1d", *SPRING)),
        lambda: MarketData("sip").first(Ask("*", "1d", *SPRING)),
        lambda: MarketData("sip").first(Ask("AAPL", "2d", *SPRING)),
        lambda: MarketData("sip").first(Ask("AAPL", "1d", SPRING[1], SPRING[0])),
        lambda: Quote().first(Ask("A&token=x", "1d", *SPRING)),
        lambda: Query().first(Ask("IBM&apikey=x", "1d", *SPRING)),
        lambda: Query().first(Ask("IBM", "2m", *SPRING)),
        lambda: Query(datatype="xml"),
        lambda: TradeStream([]),
        lambda: MarketStream("otc", ["AAPL"], "k", "s"),
        lambda: MarketStream("opra", ["AAPL"], "k", "s", channels=("bars",)),
    ],
)
def test_what_cannot_be_asked_is_refused_here(make: object) -> None:
    with pytest.raises(InvalidValueError):
        make()  # type: ignore[operator]


def test_pages_follow_each_other_and_never_in_a_circle() -> None:
    pages = MarketData("sip")
    pages.first(Ask("AAPL,MSFT", "1d", *SPRING))
    first = pages.read(answer(b'{"bars":{"AAPL":[{},{}]},"next_page_token":"one"}'))
    assert first.next is not None
    assert dict(first.next.params)["page_token"] == "one"
    circle = pages.read(answer(b'{"bars":{"AAPL":[{}]},"next_page_token":"one"}'))
    assert (circle.reading.verdict, circle.next) == (Verdict.MALFORMED, None)
    last = pages.read(answer(b'{"bars":{"AAPL":[{}]},"next_page_token":null}'))
    assert (last.reading.verdict, last.reading.detail, last.next) == (Verdict.OK, "3 rows; no data: MSFT", None)


def test_intraday_history_is_asked_month_by_month_and_unadjusted() -> None:
    pages = Query(is_full=True)
    asked = [pages.first(Ask("IBM", "5m", datetime(2021, 11, 3, tzinfo=UTC), datetime(2022, 1, 2, tzinfo=UTC)))]
    page = pages.read(answer(b"{}"))
    while page.next is not None:
        asked.append(page.next)
        page = pages.read(answer(b"{}"))
    assert [dict(request.params)["month"] for request in asked] == ["2021-11", "2021-12", "2022-01"]
    assert {dict(request.params)["adjusted"] for request in asked} == {"false"}
    assert dict(Query().first(Ask("EUR/USD", "quote", *SPRING)).params) == {
        "function": "CURRENCY_EXCHANGE_RATE", "from_currency": "EUR", "to_currency": "USD",
    }  # fmt: skip


def spoken(session: MarketStream, *texts: str) -> list[dict[str, object]]:
    said = []
    for number, text in enumerate(texts):
        session.receive(text.encode(), number)
        said += [orjson.loads(frame) for frame in session.outgoing()]
    return said


def test_alpacas_handshake() -> None:
    session = MarketStream("iex", ["AAPL"], "key", "secret", channels=("trades",))
    session.connected(0)
    assert session.outgoing() == []
    said = spoken(session, '[{"T":"success","msg":"connected"}]', '[{"T":"success","msg":"authenticated"}]')
    assert said == [{"action": "auth", "key": "key", "secret": "secret"}, {"action": "subscribe", "trades": ["AAPL"]}]
    assert (session.target, session.refusal()) == ("/v2/iex", None)


@pytest.mark.parametrize(
    ("code", "verdict"),
    [(402, "AUTH"), (406, "THROTTLED"), (408, "NOT_ENTITLED"), (409, "NOT_ENTITLED"), (405, "NOT_ENTITLED"), (411, "AUTH"),
     (401, None),
     (403, None), (407, None), (404, None), (500, None)],
)  # fmt: skip
def test_codes_that_end_a_conversation(code: int, verdict: str | None) -> None:
    session = MarketStream("sip", ["AAPL"], "key", "secret")
    spoken(session, orjson.dumps([{"T": "error", "code": code, "msg": "words"}]).decode())
    refusal = session.refusal()
    assert (None if refusal is None else refusal.verdict.value) == verdict


def test_connections_that_come_to_nothing_are_paused_and_tried_again() -> None:
    session = MarketStream("sip", ["AAPL"], "key", "secret")
    for _ in range(FRUITLESS):
        session.connected(0)
        assert session.refusal() is None
    session.connected(0)
    assert session.refusal() is not None
    for _ in range(FRUITLESS):
        session.connected(0)
        assert session.refusal() is None


def test_a_drop_opens_a_gap_for_each_channel_that_had_events() -> None:
    session = TradeStream(["AAPL", "TSLA"])
    session.connected(0)
    assert [orjson.loads(frame) for frame in session.outgoing()] == [
        {"type": "subscribe", "symbol": "AAPL"}, {"type": "subscribe", "symbol": "TSLA"},
    ]  # fmt: skip
    session.receive(frames("finnhub")[1].payload, 1)
    session.disconnected(2, "socket dropped")
    session.disconnected(3, "socket dropped")
    assert {(gap.symbol, gap.first_missing, gap.status) for gap in session.gaps()} == {
        ("AAPL", "1672348887785", "open"), ("TSLA", "1672348887198", "open"),
    }  # fmt: skip
    session.connected(4)
    session.receive(frames("finnhub")[1].payload, 5)
    session.disconnected(6, "again")
    assert len(session.gaps()) == 2


def test_silence_is_stale_and_pings_are_not_silence() -> None:
    session = TradeStream(["AAPL"], stale_after_ns=100)
    session.connected(0)
    session.tick(100)
    session.receive(b'{"type":"ping"}', 90)
    session.tick(190)
    assert not session.is_stale()
    session.tick(191)
    assert session.is_stale()


def test_equal_frames_of_events_are_noted_and_others_are_not() -> None:
    session = TradeStream(["AAPL"])
    notes = [session.receive(frame.payload, number)[0].request for number, frame in enumerate(frames("finnhub"))]
    assert notes == [None, None, None, None, '{"repeats":1}', None, None, None]


def test_memory_is_bounded() -> None:
    memory = FrameMemory(limit=2)
    assert [memory.first_of(frame, number) for number, frame in enumerate([b"a", b"b", b"a", b"c", b"a"])] == [
        None,
        None,
        0,
        None,
        None,
    ]


@given(
    st.lists(
        st.binary(max_size=40) | st.sampled_from([b"[]", b"{}", b'[{"T":1}]', b'{"type":"trade","data":[{"s":1}]}']), max_size=8
    )
)
def test_any_frames_are_messages_one_each(data: list[bytes]) -> None:
    for session in (TradeStream(["AAPL"]), MarketStream("sip", ["AAPL"], "k", "s")):
        session.connected(0)
        found = [message for number, frame in enumerate(data) for message in session.receive(frame, number)]
        assert [message.payload for message in found] == data
        assert [message.message_seq for message in found] == list(range(len(data)))


def test_secrets_are_blotted_and_not_shown() -> None:
    secrets = Credentials(headers=(("h", "secret-secret"),), query=(("apikey", "demo"), ("token", "a-token-of-ours")))
    assert secrets.blotted(b"your key a-token-of-ours, secret-secret, demo") == (b"your key REDACTED, REDACTED, demo", 2)
    assert secrets.added_to("https://x/y?z=1") == "https://x/y?z=1&apikey=demo&token=a-token-of-ours"
    assert "secret" not in repr(Address("http://x", credentials=secrets)) and "token" not in repr(secrets)


@pytest.mark.parametrize("who", ["alpaca", "finnhub", "alpha_vantage"])
def test_wrong_keys_end_a_capture(lake: Lake, log: SegmentLog, waits: Waits, who: str) -> None:
    asks = [Ask("AAPL", "1d", *SPRING), Ask("IBM", "1d", *SPRING)]
    makers = {
        "alpaca": (MarketData("sip"), alpaca.credentials("no-such-key-id", "no-such-secret"), "sip"),
        "finnhub": (Quote(), finnhub.credentials("no-such-token"), "quote"),
        "alpha_vantage": (Query(), alpha_vantage.credentials("no-such-key"), "stocks"),
    }
    pages, secrets, feed = makers[who]
    with Simulator(markets=(), streams=()) as sim:
        address = Address(sim.alpaca.http, credentials=secrets)
        report = capture_pages(
            lake, log, pages, asks, address, provider=who, feed=feed, sleep=waits, rng=random.Random(1), backoff=FAST
        )  # type: ignore[arg-type]
    assert report.verdicts == {"AUTH": 1}
    assert report.ended.startswith("refused: AUTH")


def test_streams_refuse_wrong_keys_and_second_connections(lake: Lake, log: SegmentLog, waits: Waits) -> None:
    with Simulator(markets=()) as sim:
        wrong = MarketStream("iex", ["AAPL"], "wrong-key-id", "wrong-secret")
        refused = capture_stream(lake, log, wrong, sim.alpaca, provider="alpaca", feed="iex", sleep=waits, backoff=FAST)
        assert (refused.ended, refused.connections) == ("refused: AUTH 402 auth failed", 1)
        address = Address(sim.finnhub.http, sim.finnhub_stream.stream, credentials=finnhub.stream_credentials("wrong-token"))
        ticks = TradeStream(["AAPL"])
        other = capture_stream(lake, log, ticks, address, provider="finnhub", feed="trades", sleep=waits, backoff=FAST)
        assert (other.ended, other.connections) == ("refused: AUTH Invalid API token", 1)
    assert not [row for row in messages_of(log) if b"wrong" in row["payload"]]  # type: ignore[operator]
    assert "wrong" not in repr(history_of(log, "ops.captures") + history_of(log, "ops.provider_calls"))


def test_faults_speak_each_providers_language(lake: Lake, log: SegmentLog, waits: Waits) -> None:
    plan = Faults(http=(HttpFault("status", path="/v2/", status=429), HttpFault("status", path="/v2/", status=403)))
    with Simulator(plan, markets=(), streams=()) as sim:
        report = capture_pages(
            lake, log, MarketData("sip"), [Ask("AAPL", "1d", *SPRING)], sim.alpaca,
            provider="alpaca", feed="sip", sleep=waits, rng=random.Random(1), backoff=FAST,
        )  # fmt: skip
    assert report.verdicts == {"THROTTLED": 1, "NOT_ENTITLED": 1}
    assert messages_of(log)[0]["payload"] == b'{"code":42900000,"message":"too many requests."}'
