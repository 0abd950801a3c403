"""A stream that was refused many times in a row is listened to again once the provider lets it."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from ingest.asks import SessionWithAnswers
from ingest.capture import capture_stream
from ingest.providers.alpaca_stream import MarketStream as Alpaca
from ingest.providers.handshake import FRUITLESS
from ingest.providers.polygon_stream import MarketStream as Polygon
from ingest.simulator.day.incidents import Incident
from ingest.simulator.day.tape import MINUTE_NS, Day
from ingest.simulator.keyed import Keys
from ingest.transport.backoff import Backoff
from lake.instants import NANOS_PER_SECOND
from tests.ingest.filling import opened
from tests.ingest.made_day import MadeDay, StillClock
from tests.soak.simulating import OPEN_NS

DAY = Day(11, OPEN_NS, OPEN_NS + 10 * MINUTE_NS, ("AAPL", "MSFT"))
EAGER = Backoff(attempts=100, first_s=10.0, ceiling_s=20.0)
REFUSED_NS = OPEN_NS + 4 * MINUTE_NS


def session(provider: str) -> SessionWithAnswers:
    keys = Keys()
    if provider == "alpaca":
        return Alpaca("iex", ["AAPL", "MSFT"], keys.alpaca_key_id, keys.alpaca_secret, channels=["trades"])
    return Polygon(["AAPL", "MSFT"], keys.polygon_key, channels=["T"])


@pytest.mark.parametrize(("provider", "feed"), [("alpaca", "iex"), ("polygon", "market")])
def test_after_many_refusals_the_stream_speaks_again(tmp_path: Path, provider: str, feed: str) -> None:
    clock = StillClock(OPEN_NS - NANOS_PER_SECOND)
    lake, log = opened(tmp_path, clock)
    refused = [Incident(0, "stream", "refused", provider, 0, REFUSED_NS)]
    with lake, log, MadeDay(DAY, refused, clock) as day:
        capture_stream(
            lake, log, session(provider), day.streamed(provider), provider=provider, feed=feed, sleep=clock.sleep,
            rng=random.Random(1), backoff=EAGER,
        )  # fmt: skip
        report = day.report()
    assert report["connections"][provider] > FRUITLESS + 2
    assert len(report["pushed"][provider]) > 0
