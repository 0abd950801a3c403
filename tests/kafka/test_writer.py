"""Streams through the writer into a real Kafka whose broker is frozen meanwhile: each message once, in order, landed once."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from ingest.capture import capture_stream
from ingest.landing import land, unlanded
from ingest.providers.binance import MarketSession, default_streams
from ingest.recorder import APPENDED
from ingest.simulator import Simulator
from lake.catalog import Lake
from lake.errors import CommitUnknownError, ProviderUnavailableError
from lake.instants import system_clock
from lake.log.blocks import decode_messages
from lake.log.kafka import KafkaLog
from lake.log.log import RAW_TOPIC
from lake.scan import read
from lake.settings import load_settings
from lake.steps import Steps
from tests.kafka.broker import Broker
from tests.lake.log.child import read_all
from tests.lake.log.test_kafka import Freezing

FRAMES = 20_000
LIMIT_BYTES = 100_000
"""So little may wait for the log that the socket is held up and many appends are made."""


class FreezeAfter(Steps):
    """Lets the broker freeze in the middle of the append that follows so many."""

    def __init__(self, log: Freezing, appends: tuple[int, ...]) -> None:
        self._log, self._appends, self.count = log, appends, 0

    def reached(self, name: str) -> None:
        if name == APPENDED:
            self.count += 1
            self._log.is_next = self._log.is_next or self.count in self._appends


def test_a_stream_goes_through_a_broker_that_freezes(kafka_node: Broker, tmp_path: Path) -> None:
    log_url = f"kafka://{kafka_node.address}/writer"
    session = MarketSession(default_streams("spot", "BTCUSDT"), "spot")
    with (
        KafkaLog(log_url, system_clock, patience_s=3) as log,
        Lake.create(load_settings(home=tmp_path / "lake", log_url=log_url), system_clock) as lake,
        Simulator(excerpt=FRAMES, markets=("spot",), streams=()) as sim,
    ):
        freezing = Freezing(log, kafka_node)
        lake.steps = steps = FreezeAfter(freezing, (1,))
        try:
            report = capture_stream(
                lake, freezing, session, sim.binance("spot"), provider="binance", feed="spot",
                sleep=lambda seconds: kafka_node.resume(), limit_bytes=LIMIT_BYTES,
            )  # fmt: skip
        finally:
            kafka_node.resume()
        assert len(freezing.errors) >= 1
        assert {type(each) for each in freezing.errors} <= {CommitUnknownError, ProviderUnavailableError}
        assert (report.ended, report.drops, steps.count > 1) == ("end of recording", 0, True)
        found = [
            row
            for partition in log.bounds(RAW_TOPIC)
            for _, block in read_all(log, partition)
            for row in decode_messages(block.payload).to_pylist()
        ]
        assert [row["message_seq"] for row in found] == list(range(report.messages))
        frames = [row["payload"] for row in found if row["request"] is None]
        assert frames == [frame.payload for frame in sim.recording("spot").frames]
        assert land(lake, log).messages == report.messages
        landed = Counter(read(lake, "raw.messages", ["message_seq"])["message_seq"].to_pylist())
        assert landed == Counter(range(report.messages))
        assert unlanded(lake, log) == {"raw": 0, "history": 0}
