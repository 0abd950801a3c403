"""A frame that cannot be read is a loss: each channel that had events gets a gap, closed by nothing but another source."""

from __future__ import annotations

import pytest

from ingest.asks import SessionWithAnswers
from ingest.conversation import UNREADABLE
from ingest.providers.alpaca_stream import MarketStream as Alpaca
from ingest.providers.finnhub import TradeStream
from ingest.providers.polygon_stream import MarketStream as Polygon
from ingest.simulator.day.tape import Trade
from ingest.simulator.day.wires import FRAMES

TRADE = Trade(7, 1_700_000_000_000_000_000, 19_500, 100)
SESSIONS: dict[str, SessionWithAnswers] = {
    "alpaca": Alpaca("iex", ["AAPL"], "id", "secret", channels=["trades"]),
    "finnhub": TradeStream(["AAPL"]),
    "polygon": Polygon(["AAPL"], "key", channels=["T"]),
}


@pytest.mark.parametrize("provider", sorted(SESSIONS))
def test_a_frame_that_cannot_be_read_opens_one_gap_until_the_next_event(provider: str) -> None:
    session, frame = SESSIONS[provider], FRAMES[provider]("AAPL", TRADE)
    session.connected(1)
    session.receive(frame, 2)
    assert session.gaps() == []
    kept = [*session.receive(frame[: len(frame) // 2], 3), *session.receive(b"~#%", 4)]
    assert [message.payload for message in kept] == [frame[: len(frame) // 2], b"~#%"]
    (gap,) = session.gaps()
    assert (gap.symbol, gap.status, gap.reason, gap.last_missing) == ("AAPL", "open", UNREADABLE, None)
    session.receive(frame, 5)
    session.receive(b"{", 6)
    assert len(session.gaps()) == 1
