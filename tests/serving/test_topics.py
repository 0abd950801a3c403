"""Topics: what the gate has published, each event once, the same bytes on both logs."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import orjson
import pyarrow as pa
import pytest

from lake.catalog import Lake
from lake.errors import CommitUnknownError, InvalidValueError, NotFoundError, ProtocolError
from lake.instants import system_clock
from lake.log.kafka import KafkaLog
from lake.log.log import Batch, Block, Bounds, Log, Offset, Positions
from lake.log.segments import SegmentLog
from lake.scan import read
from serving.topics.publisher import forget, position_of, publish, waiting
from serving.topics.records import name_of
from serving.topics.topics import TOPICS, Form, topic_named
from tests.serving import small_lake

TRADES, BLOCKS = "market.normalized.trades.v1", "market.normalized.trades.blocks.v1"
BARS, ACTIONS, READY = "market.normalized.bars.v1", "market.corporate_actions.v1", "market.analysis_ready.1d.v1"


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lake]:
    made = small_lake.make(tmp_path_factory.mktemp("topics") / "home")
    delivered_bars(made, "run-1", [(27, "500.04", 1), (28, "499.23", 1)])
    delivered_bars(made, "run-2", [(28, "499.30", 2), (28, "499.31", 3)])
    yield made
    made.close()


@pytest.fixture
def log(tmp_path: Path) -> Iterator[SegmentLog]:
    with SegmentLog(tmp_path / "log", system_clock, min_free_bytes=0) as made:
        yield made


def delivered_bars(lake: Lake, run: str, bars: Sequence[tuple[int, str, int]]) -> None:
    """Deliver daily bars of AAPL: (day, close, day of September on which it was known)."""
    count = len(bars)
    small_lake.put(
        lake,
        "normalized.bars",
        {
            "instrument_id": [small_lake.AAPL] * count,
            "provider": ["csv"] * count,
            "feed": ["bars"] * count,
            "symbol": ["AAPL"] * count,
            "session_date": [datetime(2020, 8, day, tzinfo=UTC).date() for day, _, _ in bars],
            "interval": ["1d"] * count,
            "ts_open": [datetime(2020, 8, day, 13, 30, tzinfo=UTC) for day, _, _ in bars],
            "close": [Decimal(close) for _, close, _ in bars],
            "basis": ["as_traded"] * count,
            "price_type": ["trade"] * count,
            "is_final": [True] * count,
            "known_at": [datetime(2020, 9, known, tzinfo=UTC) for _, _, known in bars],
            "capture_id": [f"capture-{run}"] * count,
            "message_seq": [0] * count,
            "ordinal": list(range(count)),
            "run_id": [run] * count,
        },
        run,
    )


def payloads(log: Log, topic: str) -> dict[int, list[bytes]]:
    found = {}
    for partition, bound in log.bounds(topic).items():
        offset, found[partition] = bound.first, []
        while offset < bound.next:
            batch = log.read(topic, partition, offset, 1 << 20, 0.0)
            found[partition] += [block.payload for _, block in batch.blocks]
            offset = batch.next_offset
    return found


def events(log: Log, topic: str) -> list[dict[str, object]]:
    return [orjson.loads(payload) for part in payloads(log, topic).values() for payload in part]


def test_each_published_row_is_one_event(told: Lake, log: SegmentLog) -> None:
    done = {one.topic: one for one in publish(told, log, "a")}
    assert {name: one.records for name, one in done.items() if one.records} == {
        TRADES: 5,
        BLOCKS: 1,
        BARS: 6,
        "market.normalized.bars.blocks.v1": 2,
        ACTIONS: 1,
        READY: 3,
    }
    found = events(log, TRADES)
    assert [event["event_id"] for event in found] == [f"{small_lake.TRADES}:0:{ordinal}" for ordinal in range(5)]
    assert {event["status"] for event in found} == {"confirmed"}
    first = found[0]["market_data"]
    assert first["instrument_id"] == str(small_lake.SPOT)
    assert first["price_data"] == {"price": "55131.99", "side": "buy"}
    assert first["volume_data"] == {"size": "0.00018"}
    assert (found[0]["timestamp"], first["metadata"]["session_date"]) == ("2024-08-08T00:00:00Z", "2024-08-08")
    assert sum(one.records for one in publish(told, log, "a")) == 0


def test_a_block_holds_the_rows_themselves(told: Lake, log: SegmentLog) -> None:
    publish(told, log, "b", [BLOCKS])
    ((payload,),) = payloads(log, BLOCKS).values()
    rows = pa.ipc.open_stream(payload).read_all()
    expected = read(told, "normalized.trades").sort_by("ordinal")
    assert rows["event_id"].to_pylist() == [f"{small_lake.TRADES}:0:{ordinal}" for ordinal in range(5)]
    assert rows.drop_columns("event_id").to_pylist() == expected.to_pylist()
    assert rows.schema.metadata[b"tickhouse.status"] == b"confirmed"


def test_a_restated_bar_withdraws_the_one_before(told: Lake, log: SegmentLog) -> None:
    publish(told, log, "c", [BARS])
    story = [(event["event_id"], event["status"], event["revision"]) for event in events(log, BARS)]
    first, second, third = "capture-run-1:0:1", "capture-run-2:0:0", "capture-run-2:0:1"
    assert story == [
        ("capture-run-1:0:0", "confirmed", 0),
        (first, "confirmed", 0),
        (first, "withdrawn", 0),
        (second, "confirmed", 1),
        (second, "withdrawn", 1),
        (third, "confirmed", 2),
    ]
    assert max(Counter(one[:2] for one in story).values()) == 1
    assert [event.get("supersedes") for event in events(log, BARS) if event["status"] == "confirmed"] == [
        None,
        None,
        first,
        second,
    ]


def test_an_action_and_an_adjusted_bar_say_what_they_did(told: Lake, log: SegmentLog) -> None:
    publish(told, log, "d", [ACTIONS, READY])
    (action,) = events(log, ACTIONS)
    assert action["event_type"] == "CorporateActionApplied"
    told_action = action["corporate_action"]
    assert (told_action["action_type"], told_action["ratio_old"], told_action["ratio_new"]) == ("split", 1, 4)
    assert told_action["price_factor"] == "0.25"
    ready = sorted(events(log, READY), key=lambda event: str(event["timestamp"]))
    prices = [event["analysis_data"]["price_data"] for event in ready]
    assert [(one["close"], one["adjusted_close"]) for one in prices] == [
        ("500.04", "125.01"),
        ("499.23", "124.8075"),
        ("129.04", "129.04"),
    ]
    assert [len(event["analysis_data"]["corporate_actions"]) for event in ready] == [0, 0, 1]


class Dying:
    """A log that does an append, then fails, every second time."""

    def __init__(self, log: Log) -> None:
        self._log, self._count = log, 0

    def append(self, topic: str, partition: int, blocks: Sequence[Block]) -> Offset:
        self._count += 1
        first = self._log.append(topic, partition, blocks)
        if self._count % 2:
            raise CommitUnknownError("the process dies here")
        return first

    def read(self, topic: str, partition: int, offset: Offset, max_bytes: int, wait_s: float) -> Batch:
        return self._log.read(topic, partition, offset, max_bytes, wait_s)

    def bounds(self, topic: str) -> Mapping[int, Bounds]:
        return self._log.bounds(topic)

    def release(self, topic: str, reader: str, positions: Positions) -> None:
        self._log.release(topic, reader, positions)


def test_a_publisher_that_dies_after_each_append_tells_everything_once(told: Lake, log: SegmentLog, tmp_path: Path) -> None:
    dying, deaths = Dying(log), 0
    while True:
        try:
            publish(told, dying, "e")
            break
        except CommitUnknownError:
            deaths += 1
    assert deaths >= 4
    with SegmentLog(tmp_path / "undisturbed", system_clock, min_free_bytes=0) as other:
        publish(told, other, "f")
        for name in TOPICS:
            assert payloads(log, name) == payloads(other, name)


def test_a_topic_made_anew_is_told_and_can_be_filled_again(told: Lake, log: SegmentLog, tmp_path: Path) -> None:
    publish(told, log, "g", [TRADES])
    with SegmentLog(tmp_path / "anew", system_clock, min_free_bytes=0) as other:
        assert publish(told, other, "g", [TRADES])[0].records == 0
        delivered_bars(told, "run-3", [(31, "129.04", 1)])
        publish(told, log, "g", [BARS])
        delivered_bars(told, "run-4", [(26, "506.09", 1)])
        with pytest.raises(InvalidValueError, match="again"):
            publish(told, other, "g", [BARS])
        forget(told, "g", [BARS])
        assert publish(told, other, "g", [BARS])[0].records == 8
    forget(told, "g", [TRADES])
    assert publish(told, log, "g", [TRADES])[0].records == 0, "they are there already, by their names"
    topic = topic_named(TRADES)
    assert waiting(told, topic, position_of(told, topic, "g")) == []


def test_what_is_no_topic_or_record_is_refused(told: Lake, log: SegmentLog) -> None:
    with pytest.raises(NotFoundError, match=TRADES):
        publish(told, log, "h", ["market.weather.v1"])
    for name in (TRADES, BLOCKS):
        for payload in (b"", b"{}", b"[1]", b"\xff" * 40):
            with pytest.raises(ProtocolError):
                name_of(topic_named(name), payload)


def test_every_event_has_a_form_to_read() -> None:
    for topic in TOPICS.values():
        assert (topic.example is not None) == (topic.form is Form.EVENTS)
    bodies = [topic.example for topic in TOPICS.values() if topic.example is not None]
    assert all({"event_id", "timestamp", "status", "revision"} <= set(body) for body in bodies)


def test_kafka_carries_the_same_bytes_and_the_examples_read_them(
    told: Lake, log: SegmentLog, kafka_broker: str, root: Path
) -> None:
    publish(told, log, "i")
    with KafkaLog(f"kafka://{kafka_broker}/topics", system_clock) as kafka:
        publish(told, kafka, "kafka")
        for name in TOPICS:
            assert payloads(kafka, name) == payloads(log, name)
        assert sum(one.records for one in publish(told, kafka, "kafka")) == 0
    page = (root / "serving" / "topics" / "README.md").read_text(encoding="utf-8")
    with_kafka_python, with_confluent = re.findall(r"^```python\n(.*?)^```", page, re.M | re.S)
    ids = [f"{small_lake.TRADES}:0:{ordinal}" for ordinal in range(5)]
    for code, topic in ((with_kafka_python, TRADES), (with_confluent, BLOCKS)):
        environment = {**os.environ, "KAFKA_BOOTSTRAP": kafka_broker, "TOPIC": f"topics.{topic}"}
        done = subprocess.run(
            [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False, timeout=240
        )
        assert done.returncode == 0, done.stderr
        assert [line.split()[0] for line in done.stdout.splitlines()] == ids
