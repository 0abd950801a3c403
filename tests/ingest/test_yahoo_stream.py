"""Yahoo's price stream: the subscription and its repetition, what frames tell, gaps by time, and rows from the socket."""

from __future__ import annotations

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.capture import capture_stream
from ingest.providers.registry import provider_named
from ingest.providers.yahoo_stream import HEARTBEAT_NS, MOST_SYMBOLS, STALE_AFTER_NS, PriceStream
from ingest.shards import by_connection
from ingest.simulator import Faults, Simulator, StreamFault
from ingest.simulator.asking import recorded_symbols
from ingest.simulator.keyed import frames
from lake.catalog import Lake
from lake.errors import InvalidValueError
from lake.log.segments import SegmentLog
from tests.ingest.conftest import FAST, Waits, history_of, messages_of
from tests.ingest.decoding import row_counts

SYMBOLS = recorded_symbols("yahoo", "stream")
FRAMES = [frame.payload for frame in frames("yahoo")]


def test_symbols_are_subscribed_to_on_each_connection_and_again_before_they_lapse() -> None:
    session = PriceStream(["AAPL", "^GSPC"])
    session.connected(0)
    asked = [{"subscribe": ["AAPL", "^GSPC"]}]
    assert [orjson.loads(frame) for frame in session.outgoing()] == asked
    session.tick(HEARTBEAT_NS - 1)
    assert session.outgoing() == []
    session.tick(HEARTBEAT_NS)
    assert [orjson.loads(frame) for frame in session.outgoing()] == asked
    session.disconnected(HEARTBEAT_NS + 1, "drop")
    session.connected(HEARTBEAT_NS + 2)
    assert [orjson.loads(frame) for frame in session.outgoing()] == asked
    assert session.target == "/?version=2"


def test_a_mute_connection_is_left() -> None:
    session = PriceStream(["AAPL"])
    session.connected(0)
    session.receive(FRAMES[2], 1)
    session.tick(STALE_AFTER_NS)
    assert session.leaving() is None
    session.tick(STALE_AFTER_NS + 2)
    leaving = session.leaving()
    assert leaving is not None and leaving.words.startswith("silence")


def test_gaps_begin_at_the_last_event_of_each_channel() -> None:
    session = PriceStream(SYMBOLS)
    session.connected(0)
    for number, frame in enumerate(FRAMES):
        (message,) = session.receive(frame, number)
        assert (message.message_seq, message.payload) == (number, frame)
        assert (message.request is not None) == (number == 4)  # the same bytes as two before
    session.disconnected(99, "drop")
    gaps = {(gap.symbol, gap.channel): gap.first_missing for gap in session.gaps()}
    assert gaps == {
        ("^GSPC", "prices"): "1647610260000", ("AAPL", "quotes"): "1739566801000", ("BABA", "quotes"): "1739566802000",
        ("EURUSD=X", "quotes"): "1739789683000", ("BTC-USD", "prices"): "1739789640000", ("GC=F", "quotes"): "1739789091000",
    }  # fmt: skip
    session.connected(100)
    session.receive(b'{"type":"pricing","message":"CgRBQVBM?"}', 101)
    assert session.gaps() == []  # all are open already


def test_what_never_spoke_is_missing_since_listening_began_and_what_spoke_on_either_channel_is_not() -> None:
    session = PriceStream([*SYMBOLS, "QUIET", "^QUIET", "QUIET-USD", "BRK-B"])
    assert {name: set(told) - set(SYMBOLS) for name, told in session.wanted.items()} == {
        "quotes": {"QUIET", "BRK-B"}, "prices": {"^QUIET", "QUIET-USD"},
    }  # fmt: skip
    session.listening(1_000_000_000)
    session.connected(2_000_000_000)
    for frame in FRAMES:
        session.receive(frame, 3_000_000_000)
    session.disconnected(4_000_000_000, "drop")
    since = "1970-01-01T00:00:01+00:00"
    gaps = {(gap.symbol, gap.channel): gap.first_missing for gap in session.gaps()}
    silent = {("QUIET", "quotes"), ("BRK-B", "quotes"), ("^QUIET", "prices"), ("QUIET-USD", "prices")}
    assert {who for who, first in gaps.items() if first == since} == silent
    assert {symbol for symbol, _ in gaps} == {*SYMBOLS, *(symbol for symbol, _ in silent)}
    session.connected(5_000_000_000)
    session.disconnected(6_000_000_000, "drop")
    assert session.gaps() == []  # told once


@given(st.binary(max_size=80) | st.sampled_from([b'{"type":"pricing"}', b"{}", b"CgFYMAc=", b'{"type":"pricing","message":5}']))
def test_any_frame_is_one_message(frame: bytes) -> None:
    session = PriceStream(["AAPL"])
    session.connected(0)
    assert [message.payload for message in session.receive(frame, 1)] == [frame]


def test_what_cannot_be_subscribed_to_is_refused() -> None:
    for symbols in ([], ["A B"]):
        with pytest.raises(InvalidValueError):
            PriceStream(symbols)
    push = provider_named("yahoo").push("stream")
    assert push is not None
    assert len(by_connection([f"S{number}" for number in range(MOST_SYMBOLS + 1)], push.symbols_per_connection)) == 2


def test_frames_become_rows_and_a_drop_is_a_gap(shared_lake: Lake, log: SegmentLog, waits: Waits) -> None:
    plan = Faults(stream=(StreamFault("drop", "yahoo", 5, overlap=1), StreamFault("garble", "yahoo", 8)))
    with Simulator(plan, markets=(), streams=("yahoo",)) as sim:
        report = capture_stream(
            shared_lake, log, PriceStream(SYMBOLS), sim.yahoo, provider="yahoo", feed="stream", sleep=waits, backoff=FAST
        )
    assert (report.ended, report.drops, report.messages) == ("end of recording", 1, len(FRAMES) + 1)
    opened = [row for row in history_of(log, "quality.gaps") if row["status"] == "open"]
    assert len(opened) == 4 + 2 + 2  # at the drop; then of those that had not spoken; at the unreadable frame, of those back
    listened = [row["symbol"] for row in opened if ":" in row["first_missing"]]
    assert len(listened) == 2 and set(listened) <= set(SYMBOLS)
    told = messages_of(log)
    assert sum("repeats" in str(row["request"]) for row in told) == 2
    assert row_counts(log, ("yahoo", "stream")) == {
        ("yahoo", "stream", "quotes"): 4, ("yahoo", "stream", "index_levels"): 2, ("yahoo", "stream", "alternative"): 11,
    }  # fmt: skip


def test_only_what_is_wanted_is_sent(shared_lake: Lake, log: SegmentLog, waits: Waits) -> None:
    with Simulator(markets=(), streams=("yahoo",)) as sim:
        session = PriceStream(["BTC-USD"])
        capture_stream(shared_lake, log, session, sim.yahoo, provider="yahoo", feed="stream", sleep=waits, backoff=FAST)
    assert [row["payload"] for row in messages_of(log)] == [FRAMES[6], FRAMES[7], FRAMES[9]]
