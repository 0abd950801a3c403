from __future__ import annotations

import random

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.asks import Gap
from ingest.providers.binance import Market, MarketSession, default_streams
from ingest.simulator.recorded import binance
from lake.errors import InvalidValueError

SECOND = 1_000_000_000


def session(market: Market = "spot", **more: object) -> MarketSession:
    return MarketSession(default_streams(market, "BTCUSDT"), market, **more)  # type: ignore[arg-type]


def trade(number: int) -> bytes:
    return b'{"stream":"btcusdt@trade","data":{"e":"trade","s":"BTCUSDT","t":%d,"p":"1.0","q":"1"}}' % number


def ticker(number: int) -> bytes:
    return b'{"stream":"btcusdt@bookTicker","data":{"u":%d,"s":"BTCUSDT"}}' % number


def fed(talk: MarketSession, *frames: bytes) -> list[tuple[str, str, str | None, str | None]]:
    for frame in frames:
        assert [message.payload for message in talk.receive(frame, 1)] == [frame]
    return told(talk.gaps())


def told(gaps: list[Gap]) -> list[tuple[str, str, str | None, str | None]]:
    return [(gap.channel.partition("@")[2], gap.status, gap.first_missing, gap.last_missing) for gap in gaps]


@pytest.mark.parametrize("market", ["spot", "usdm"])
def test_a_recording_has_no_gap_and_every_frame_is_a_message(market: Market) -> None:
    talk = session(market)
    talk.connected(0)
    frames = binance(market, 5_000).frames
    numbers = [message.message_seq for frame in frames for message in talk.receive(frame.payload, frame.recv_ns)]
    assert numbers == list(range(len(frames)))
    assert talk.gaps() == []


def test_the_target_names_the_streams_or_a_frame_does() -> None:
    assert session().target == "/stream?streams=btcusdt@trade/btcusdt@depth@100ms/btcusdt@bookTicker"
    talk = session(subscribe_by="frame")
    assert talk.target == "/stream"
    talk.connected(0)
    (ask,) = talk.outgoing()
    assert orjson.loads(ask) == {"method": "SUBSCRIBE", "params": list(talk.streams), "id": 1}
    assert talk.outgoing() == []


def test_a_jump_opens_a_gap_and_late_numbers_fill_it() -> None:
    talk = session()
    assert fed(talk, trade(5), trade(9)) == [("trade", "open", "6", "8")]
    assert fed(talk, trade(7), trade(8)) == []
    assert fed(talk, trade(6)) == [("trade", "filled", "6", "8")]


@given(st.permutations(range(1, 12)))
def test_frames_in_any_order_leave_no_gap_open(order: list[int]) -> None:
    talk = session()
    gaps = fed(talk, trade(0), *(trade(number) for number in order), trade(12))
    assert sum(gap[1] == "open" for gap in gaps) == sum(gap[1] == "filled" for gap in gaps)


@given(st.sets(st.integers(1, 30)), st.randoms(use_true_random=False))
def test_what_never_came_stays_open(lost: set[int], rng: random.Random) -> None:
    talk = session()
    gaps = fed(talk, trade(0), *(trade(number) for number in range(1, 32) if number not in lost))
    missing = {n for gap in gaps for n in range(int(gap[2] or 0), int(gap[3] or 0) + 1)}
    assert missing == lost


@pytest.mark.parametrize(("first", "status"), [(11, "filled"), (8, "filled"), (12, None)])
def test_a_reconnect_is_a_gap_until_continuity_is_proven(first: int, status: str | None) -> None:
    talk = session()
    fed(talk, trade(10))
    talk.disconnected(5, "socket dropped")
    assert told(talk.gaps()) == [("trade", "open", "11", None)]
    talk.connected(6)
    later = fed(talk, *(trade(number) for number in range(first, 15)))
    assert [gap[1] for gap in later] == ([] if status is None else [status])


def test_book_tickers_skip_numbers_so_only_overlap_proves_continuity() -> None:
    talk = session()
    assert fed(talk, ticker(10), ticker(25)) == []
    talk.disconnected(5, "socket dropped")
    talk.gaps()
    assert fed(talk, ticker(40), ticker(41)) == []
    talk.disconnected(5, "socket dropped")
    assert [gap.status for gap in talk.gaps()] == ["open"]
    assert [gap[1] for gap in fed(talk, ticker(41))] == ["filled"]


def test_futures_depth_follows_the_update_before() -> None:
    talk = session("usdm")
    depth = b'{"stream":"btcusdt@depth@0ms","data":{"e":"depthUpdate","s":"BTCUSDT","U":%d,"u":%d,"pu":%d}}'
    assert fed(talk, depth % (100, 110, 90), depth % (130, 140, 110)) == []
    assert fed(talk, depth % (170, 180, 150)) == [("depth@0ms", "open", "141", "150")]


def test_silence_is_judged_by_data_alone() -> None:
    talk = session(stale_after_ns=10 * SECOND)
    talk.connected(0)
    talk.receive(b'{"result":null,"id":1}', 9 * SECOND)
    talk.tick(11 * SECOND)
    assert talk.is_stale()
    talk.receive(trade(1), 12 * SECOND)
    talk.tick(13 * SECOND)
    assert not talk.is_stale()


def test_a_book_is_asked_for_after_the_first_frame_of_each_connection() -> None:
    talk = session()
    talk.connected(0)
    assert talk.snapshots() == []
    fed(talk, trade(1), trade(2))
    (request,) = talk.snapshots()
    assert request.url("http://x") == "http://x/api/v3/depth?symbol=BTCUSDT&limit=1000"
    assert talk.snapshots() == []


@given(st.lists(st.binary(max_size=80), max_size=20))
def test_any_bytes_are_messages(frames: list[bytes]) -> None:
    talk = session()
    talk.connected(0)
    assert [talk.receive(frame, 1)[0].payload for frame in frames] == frames


def test_streams_must_be_names() -> None:
    with pytest.raises(InvalidValueError):
        MarketSession(["btcusdt"], "spot")
