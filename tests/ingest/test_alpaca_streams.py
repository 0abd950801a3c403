"""Alpaca's streams in both codecs: options, crypto and news, and what each error code leads to."""

from __future__ import annotations

import msgpack
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.asks import Address
from ingest.capture import capture_stream
from ingest.providers import polygon
from ingest.providers.alpaca_stream import MarketStream
from ingest.providers.polygon_stream import MarketStream as PolygonStream
from ingest.providers.registry import PROVIDERS
from ingest.reach import simulated
from ingest.simulator import Faults, Simulator, StreamFault
from lake.catalog import Lake
from lake.errors import InvalidValueError
from lake.log.segments import SegmentLog
from tests.ingest.conftest import FAST, Waits, messages_of
from tests.ingest.decoding import row_counts

OPTIONS = ("SPY240426C00555000", "SPY240426C00550000", "AAPL240126P00050000")


def said(session: MarketStream, *events: dict[str, object]) -> list[dict[str, object]]:
    """Hand events to a session, a frame each, and return what it says to them."""
    told = []
    for number, event in enumerate(events):
        session.receive(msgpack.packb([event]) if session.is_binary else orjson.dumps([event]), number)
        told += [msgpack.unpackb(each) if session.is_binary else orjson.loads(each) for each in session.outgoing()]
    return told


def test_options_are_spoken_with_in_msgpack() -> None:
    session = MarketStream("opra", OPTIONS, "key", "secret")
    session.connected(0)
    assert said(session, {"T": "success", "msg": "connected"}, {"T": "success", "msg": "authenticated"}) == [
        {"action": "auth", "key": "key", "secret": "secret"},
        {"action": "subscribe", "trades": list(OPTIONS), "quotes": list(OPTIONS)},
    ]
    assert (session.target, session.is_binary) == ("/v1beta1/opra", True)
    (message,) = session.receive(msgpack.packb([{"T": "t", "S": OPTIONS[0], "t": msgpack.Timestamp(5, 6)}]), 9)
    assert message.content_type == "application/msgpack"
    session.disconnected(10, "dropped")
    heard, *unheard = session.gaps()
    assert (heard.symbol, heard.channel, heard.first_missing) == (OPTIONS[0], "trades", "1970-01-01 00:00:05+00:00")
    wanted = {(symbol, channel) for symbol in OPTIONS for channel in ("trades", "quotes")}
    assert {(gap.symbol, gap.channel) for gap in unheard} == wanted - {(OPTIONS[0], "trades")}


def test_too_many_symbols_are_halved_and_told() -> None:
    session = MarketStream("sip", ["A", "B", "C", "D", "E"], "key", "secret", channels=("trades",))
    session.connected(0)
    limit = {"T": "error", "code": 405, "msg": "symbol limit exceeded"}
    assert [each["trades"] for each in said(session, limit, limit)] == [["A", "B"], ["A"]]
    assert [finding.detail.partition(": ")[2] for finding in session.findings()] == [
        "went on without C, D, E", "went on without B",
    ]  # fmt: skip
    said(session, limit)
    refusal = session.refusal()
    assert refusal is not None and refusal.verdict.value == "NOT_ENTITLED"


def test_who_is_not_authenticated_says_the_keys_once_more() -> None:
    session = MarketStream("sip", ["A"], "key", "secret")
    session.connected(0)
    denied = {"T": "error", "code": 401, "msg": "not authenticated"}
    assert [each["action"] for each in said(session, denied, denied)] == ["auth"]
    assert session.refusal() is None


def test_a_slow_client_has_lost_something() -> None:
    session = MarketStream("sip", ["A"], "key", "secret", channels=["trades"])
    session.connected(0)
    said(session, {"T": "t", "S": "A", "t": "2024-01-02T15:00:00Z"}, {"T": "error", "code": 407, "msg": "slow client"})
    assert [(gap.symbol, gap.first_missing, gap.reason) for gap in session.gaps()] == [
        ("A", "2024-01-02T15:00:00Z", "407 slow client")
    ]


def test_polygons_handshake_and_refusals() -> None:
    session = PolygonStream(["AAPL", "MSFT"], "key", channels=("T", "AM"))
    session.connected(0)
    spoken = []
    for status in ("connected", "auth_success", "success"):
        session.receive(orjson.dumps([{"ev": "status", "status": status, "message": ""}]), 1)
        spoken += [orjson.loads(each) for each in session.outgoing()]
    assert spoken == [
        {"action": "auth", "params": "key"},
        {"action": "subscribe", "params": "T.AAPL,AM.AAPL,T.MSFT,AM.MSFT"},
    ]
    for status, words, verdict in (
        ("auth_failed", "", "AUTH"),
        ("max_connections", "Maximum number of connections exceeded.", "THROTTLED"),
        ("error", "not authorized", "NOT_ENTITLED"),
    ):
        session.receive(orjson.dumps([{"ev": "status", "status": status, "message": words}]), 2)
        refusal = session.refusal()
        assert refusal is not None and refusal.verdict.value == verdict
    assert PolygonStream(["O:AAPL230616C00150000"], "key").target == "/options"


@pytest.mark.parametrize("symbols", [[], ["AAPL", "O:AAPL230616C00150000"], ["A,B"]])
def test_what_polygon_cannot_stream_is_refused_here(symbols: list[str]) -> None:
    with pytest.raises(InvalidValueError):
        PolygonStream(symbols, "key")


ODD = [
    b"",
    b"\xc1",
    b"\x91\xc0",
    b"[]",
    b"[1]",
    b'[{"ev":"T","sym":1}]',
    b'[{"T":"t","S":[]}]',
    msgpack.packb([{"T": "t", "S": 1}]),
]


@given(st.lists(st.binary(max_size=40) | st.sampled_from(ODD), max_size=6))
def test_any_frames_are_messages_one_each(data: list[bytes]) -> None:
    for session in (MarketStream("opra", ["A"], "k", "s"), MarketStream("news", ["*"], "k", "s"), PolygonStream(["A"], "k")):
        session.connected(0)
        found = [message for number, frame in enumerate(data) for message in session.receive(frame, number)]
        assert [message.payload for message in found] == data


def test_streams_become_rows(lake: Lake, log: SegmentLog, waits: Waits) -> None:
    plan = Faults(stream=(StreamFault("drop", "polygon", 3, overlap=1),))
    wanted = [
        ("alpaca", "opra", OPTIONS), ("alpaca", "crypto", ("BTC/USD", "ETH/USD")), ("alpaca", "news", ("*",)),
        ("polygon", "market", ("AAPL",)),
    ]  # fmt: skip
    with Simulator(plan, markets=(), streams=("alpaca", "polygon")) as sim:
        reach = simulated(sim.addresses(), sim.keys)
        ended = {}
        for provider, feed, symbols in wanted:
            push = PROVIDERS[provider].push(feed)
            assert push is not None
            session = push.session(symbols, reach.secrets(provider))
            report = capture_stream(
                lake, log, session, reach.listened(provider, push), provider=provider, feed=feed, sleep=waits, backoff=FAST
            )
            ended[feed] = (report.ended, report.connections)
    assert ended == {
        "opra": ("end of recording", 1), "crypto": ("end of recording", 1), "news": ("end of recording", 1),
        "market": ("end of recording", 2),
    }  # fmt: skip
    messages = messages_of(log)
    assert {str(each["content_type"]) for each in messages} == {"application/msgpack", "application/json"}
    assert not [each for each in messages if sim.keys.polygon_key.encode() in bytes(each["payload"])]  # type: ignore[call-overload]
    assert row_counts(log, *((provider, feed) for provider, feed, _ in wanted)) == {
        ("alpaca", "opra", "trades"): 4, ("alpaca", "opra", "quotes"): 1,
        ("alpaca", "crypto", "trades"): 2, ("alpaca", "crypto", "quotes"): 2,
        ("alpaca", "crypto", "bars"): 2,
        ("alpaca", "news", "news"): 1,
        ("polygon", "market", "trades"): 2, ("polygon", "market", "quotes"): 10, ("polygon", "market", "bars"): 1,
    }  # fmt: skip


def test_polygon_refuses_a_wrong_key(lake: Lake, log: SegmentLog, waits: Waits) -> None:
    with Simulator(markets=(), streams=("polygon",)) as sim:
        address = Address(sim.yahoo.http, sim.addresses()["polygon"], credentials=polygon.credentials("wrong-key-of-ours"))
        session = PolygonStream(["AAPL"], "wrong-key-of-ours")
        report = capture_stream(lake, log, session, address, provider="polygon", feed="market", sleep=waits, backoff=FAST)
    assert report.ended.startswith("refused: AUTH auth_failed")
