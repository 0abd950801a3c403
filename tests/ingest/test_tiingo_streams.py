"""Tiingo's streams: the subscription, heartbeats that are no data, refusals by code, gaps by time; rows over real sockets."""

from __future__ import annotations

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.asks import Address
from ingest.capture import CaptureReport, capture_stream
from ingest.providers import tiingo
from ingest.providers.handshake import FRUITLESS
from ingest.providers.registry import PROVIDERS
from ingest.providers.tiingo_stream import FEEDS, STALE_AFTER_NS, MarketStream, open_stream
from ingest.reach import simulated
from ingest.simulator import Faults, Simulator, StreamFault
from ingest.simulator.asking import recorded_symbols
from ingest.simulator.keyed import Keys
from ingest.verdicts import Verdict
from lake.catalog import Lake
from lake.errors import InvalidValueError
from lake.log.segments import SegmentLog
from tests.ingest.conftest import FAST, Waits, messages_of
from tests.ingest.decoding import decoded_of, row_counts

S = 1_000_000_000
TOKEN = "token-of-somebody"
OK = {"messageType": "I", "response": {"code": 200, "message": "Success"}, "data": {"subscriptionId": 1}}
HEARTBEAT = {"messageType": "H", "response": {"code": 200, "message": "HeartBeat"}}
TIER = "thresholdLevel not valid for your subscription tier"


def error(code: object, words: str) -> dict[str, object]:
    return {"messageType": "E", "response": {"code": code, "message": words}}


def trade(at: str = "2019-10-13T20:20:03.7+00:00", size: float = 1.5) -> dict[str, object]:
    return {"messageType": "A", "service": "crypto_data", "data": ["T", "btcusd", at, "gdax", size, 8220.83]}


def hear(session: MarketStream, *frames: object, at_s: int = 1) -> list[str | None]:
    """Let a session hear frames; return what its messages say of a request."""
    return [message.request for frame in frames for message in session.receive(orjson.dumps(frame), at_s * S)]


def said(session: MarketStream) -> list[dict[str, object]]:
    return [orjson.loads(frame) for frame in session.outgoing()]


def test_a_subscription_is_the_first_word_and_has_the_token() -> None:
    session = open_stream("fx", ["EUR/USD", "usdjpy"], (TOKEN,))
    session.connected(0)
    assert (session.target, session.wanted) == ("/fx", {"quotes": ("eurusd", "usdjpy")})
    assert said(session) == [
        {"eventName": "subscribe", "authorization": TOKEN, "eventData": {"thresholdLevel": 5, "tickers": ["eurusd", "usdjpy"]}}
    ]
    hear(session, OK)
    session.tick(60 * S)
    assert said(session) == []


def test_what_is_not_confirmed_is_asked_for_again() -> None:
    session = MarketStream("crypto", ["btcusd"], TOKEN)
    session.connected(0)
    asked = said(session)
    session.tick(11 * S)
    assert said(session) == asked


def test_who_may_not_have_all_of_iex_gets_reference_prices_and_a_finding() -> None:
    session = MarketStream("iex", ["AAPL"], TOKEN)
    session.connected(0)
    hear(session, error(400, TIER))
    assert [each["eventData"] for each in said(session)] == [
        {"thresholdLevel": level, "tickers": ["aapl"]} for level in (0, 6)
    ]  # fmt: skip
    assert [(each.kind, each.detail.startswith("400 thresholdLevel")) for each in session.findings()] == [("level", True)]
    hear(session, OK)
    assert session.wanted == {"reference_prices": ("AAPL",)}
    session.connected(2 * S)
    assert [each["eventData"] for each in said(session)] == [{"thresholdLevel": 6, "tickers": ["aapl"]}]
    hear(session, error(400, TIER))
    refusal = session.refusal()
    assert refusal is not None
    assert (refusal.verdict, refusal.retry_after_s) == (Verdict.NOT_ENTITLED, None)


@pytest.mark.parametrize(
    ("code", "words", "verdict", "is_worth_another"),
    [
        (401, "Not authorized", Verdict.AUTH, False),
        (403, "Not authorized for service: boats", Verdict.NOT_ENTITLED, False),
        (400, "thresholdLevel not valid", Verdict.NOT_ENTITLED, False),
        (400, "eventName not valid", Verdict.BAD_REQUEST, False),
        (429, "Too many requests", Verdict.THROTTLED, True),
        (403, "You have run over your 500 symbol look up for this month.", Verdict.QUOTA_EXHAUSTED, False),
        (500, "Internal error", Verdict.UPSTREAM_5XX, True),
        (None, "odd", Verdict.UPSTREAM_5XX, True),
    ],
)
def test_errors_mean_what_their_code_says(code: object, words: str, verdict: Verdict, is_worth_another: bool) -> None:
    session = MarketStream("crypto", ["btcusd"], TOKEN)
    session.connected(0)
    hear(session, error(code, words))
    refusal = session.refusal()
    assert refusal is not None
    assert (refusal.verdict, refusal.retry_after_s is not None) == (verdict, is_worth_another)


def test_heartbeats_are_no_data() -> None:
    session = MarketStream("crypto", ["btcusd"], TOKEN)
    session.connected(0)
    hear(session, OK, trade(), at_s=1)
    limit_s = STALE_AFTER_NS // S
    hear(session, HEARTBEAT, at_s=limit_s)
    session.tick((limit_s + 1) * S)
    assert session.leaving() is None
    session.tick((limit_s + 2) * S)
    leaving = session.leaving()
    assert leaving is not None
    assert leaving.words.startswith("silence")


def test_a_trade_in_the_same_bytes_is_another_trade_and_a_quote_is_the_same_quote() -> None:
    session = MarketStream("crypto", ["btcusd"], TOKEN)
    session.connected(0)
    quote = {**trade(), "data": ["Q", "btcusd", "2019-10-13T20:20:05.1+00:00", "gdax", 1.0, 1.0, 1.5, 1.0, 2.0]}
    assert hear(session, trade(), trade(), quote, quote) == [None, None, None, '{"repeats":2}']


def test_a_drop_or_an_unreadable_frame_opens_a_gap_from_the_last_event() -> None:
    session = MarketStream("iex", ["AAPL"], TOKEN)
    session.connected(0)
    at = "2018-01-02T15:59:58.5-05:00"
    hear(session, OK, {"messageType": "A", "service": "iex", "data": ["T", at, 1, "aapl", None, None, None, None, None, 1.5, 1]})
    session.disconnected(2 * S, "connection reset")
    gap = next(each for each in session.gaps() if each.channel == "trades")
    assert (gap.symbol, gap.status, gap.first_missing, gap.reason) == ("AAPL", "open", at, "connection reset")
    session.connected(3 * S)
    hear(session, {"messageType": "A", "service": "iex", "data": ["2018-01-02T16:00:00-05:00", "aapl", 172.2]})
    session.receive(b'{"messageType":"A","service"', 4 * S)
    assert [(each.symbol, each.channel) for each in session.gaps()] == [("AAPL", "reference_prices")]


def test_connections_that_come_to_nothing_are_paused_and_tried_again() -> None:
    session = MarketStream("fx", ["eurusd"], TOKEN)
    for number in range(FRUITLESS + 1):
        assert session.refusal() is None
        session.connected(number * S)
    refusal = session.refusal()
    assert refusal is not None
    assert refusal.verdict is Verdict.UPSTREAM_5XX
    session.connected((FRUITLESS + 2) * S)
    assert session.refusal() is None


@pytest.mark.parametrize(("feed", "symbols"), [("daily", ["AAPL"]), ("iex", []), ("fx", ["EUR"]), ("crypto", ["btc usd"])])
def test_what_cannot_be_streamed_is_refused_here(feed: str, symbols: list[str]) -> None:
    with pytest.raises(InvalidValueError):
        MarketStream(feed, symbols, TOKEN)


ODD = [
    b"[]",
    b"7",
    b'{"messageType":[]}',
    b'{"messageType":"A","data":[]}',
    b'{"messageType":"A","data":["T",1]}',
    b'{"messageType":"I"}',
    b'{"messageType":"E","response":[]}',
    b'{"messageType":"A","data":[[],{},3]}',
    b'{"messageType":"A","data":["Q",null,null]}',
]


@given(st.lists(st.binary(max_size=40) | st.sampled_from(ODD), max_size=6), st.sampled_from(FEEDS))
def test_any_frames_are_messages_one_each(data: list[bytes], feed: str) -> None:
    session = MarketStream(feed, ["eurusd"], TOKEN)
    session.connected(0)
    messages = [message for number, frame in enumerate(data) for message in session.receive(frame, number)]
    assert [(message.message_seq, message.payload) for message in messages] == list(enumerate(data))


def listened(lake: Lake, log: SegmentLog, sim: Simulator, feed: str, waits: Waits, token: str = "") -> CaptureReport:
    push = PROVIDERS["tiingo"].push(feed)
    assert push is not None
    reach = simulated(sim.addresses(), sim.keys)
    session = push.session(recorded_symbols("tiingo", feed), (token,) if token else reach.secrets("tiingo"))
    return capture_stream(
        lake, log, session, reach.listened("tiingo", push), provider="tiingo", feed=feed, sleep=waits, backoff=FAST
    )


def test_streams_become_rows_and_the_token_stands_nowhere(lake: Lake, log: SegmentLog, waits: Waits) -> None:
    plan = Faults(stream=(StreamFault("drop", "tiingo", 4, overlap=1), StreamFault("truncate", "tiingo", 0)))
    with Simulator(plan, markets=(), streams=("tiingo",)) as sim:
        reports = {feed: listened(lake, log, sim, feed, waits) for feed in FEEDS}
    assert {feed: (each.ended, each.connections) for feed, each in reports.items()} == {
        "iex": ("end of recording", 2), "crypto": ("end of recording", 1), "fx": ("end of recording", 1),
    }  # fmt: skip
    assert not [each for each in messages_of(log) if Keys().tiingo_token in str(each)]
    assert row_counts(log, *(("tiingo", feed) for feed in FEEDS)) == {
        ("tiingo", "iex", "trades"): 4, ("tiingo", "iex", "quotes"): 1,  # one trade comes on both connections
        ("tiingo", "crypto", "trades"): 3, ("tiingo", "crypto", "quotes"): 2, ("tiingo", "fx", "quotes"): 2,
    }  # fmt: skip
    refused = decoded_of(log, "tiingo", "iex").refused.to_pylist()
    assert sorted(row["rule"] for row in refused) == ["malformed", "unsupported_event"]
    assert reports["iex"].gaps_opened >= 1


def test_a_free_token_gets_reference_prices(lake: Lake, log: SegmentLog, waits: Waits) -> None:
    with Simulator(markets=(), streams=("tiingo",)) as sim:
        report = listened(lake, log, sim, "iex", waits, sim.keys.tiingo_free_token)
    assert report.ended == "end of recording"
    assert row_counts(log, ("tiingo", "iex")) == {("tiingo", "iex", "alternative"): 2}


def test_a_wrong_token_and_a_wrong_endpoint_end(lake: Lake, log: SegmentLog, waits: Waits) -> None:
    with Simulator(markets=(), streams=("tiingo",)) as sim:
        address = Address(sim.yahoo.http, sim.addresses()["tiingo"], credentials=tiingo.credentials("wrong-token-of-ours"))
        session = MarketStream("crypto", ["btcusd"], "wrong-token-of-ours")
        report = capture_stream(lake, log, session, address, provider="tiingo", feed="crypto", sleep=waits, backoff=FAST)
    assert report.ended == "refused: AUTH 401 Not authorized"
