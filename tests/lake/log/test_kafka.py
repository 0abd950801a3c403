"""The log on Kafka: the contract, and what only a broker can do."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

import pytest
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition

from ingest.recorder import Recorder, messages_in_log
from lake.errors import CommitUnknownError, InvalidValueError, NotFoundError, SettingsError
from lake.instants import system_clock
from lake.log.blocks import decode_messages
from lake.log.kafka import MAX_APPEND_BYTES, KafkaLog
from lake.log.kafka_address import KafkaAddress
from lake.log.log import RAW_TOPIC, Batch, Block, Bounds, Offset, Positions
from lake.log.opening import open_log
from lake.log.segments import SegmentLog
from lake.settings import load_settings
from lake.steps import Steps
from lake.values import Capture, CaptureKind, Message
from tests.kafka.broker import Broker
from tests.lake.log.child import TOPIC, group, read_all
from tests.lake.log.contract import EVERYTHING, LogContract, Watch, blocks, payloads


@pytest.mark.usefixtures("kafka_broker")
class TestKafkaLog(LogContract):
    """No case of the contract is left out; a full disk is not one of them: brokers have disks of their own."""

    implementation = "kafka"
    kills: ClassVar[int] = 4

    def test_a_stranger_reads_blocks_as_records(self, log: KafkaLog, place: Path, kafka_broker: str) -> None:
        log.append(TOPIC, 0, [Block("capture-1", b"payload", 7)])
        at = TopicPartition(f"{log.address.prefix}.market.raw.v1", 0)
        consumer = KafkaConsumer(bootstrap_servers=kafka_broker, auto_offset_reset="none", enable_auto_commit=False)
        consumer.assign([at])
        consumer.seek(at, 0)
        ((record,),) = consumer.poll(timeout_ms=20_000).values()
        consumer.close()
        assert (record.key, record.value, dict(record.headers)) == (b"capture-1", b"payload", {"count": b"7"})
        producer = KafkaProducer(bootstrap_servers=kafka_broker)
        producer.send(at.topic, b"from elsewhere", partition=0).get(timeout=20)
        producer.close()
        assert log.read(TOPIC, 0, 1, EVERYTHING, 0).blocks == [(1, Block("", b"from elsewhere", 1))]

    def test_a_large_block_passes_and_a_larger_append_is_refused(self, log: KafkaLog) -> None:
        large = b"x" * (20 << 20)
        assert log.append(TOPIC, 0, [Block("k", large, 1), Block("k", b"small", 1)]) == 0
        assert payloads(log) == [large, b"small"]
        with pytest.raises(InvalidValueError, match=str(MAX_APPEND_BYTES)):
            log.append(TOPIC, 0, [Block("k", large, 1)] * 4)
        assert log.bounds(TOPIC)[0].next == 2

    def test_partitions_grow_under_an_open_log(self, log: KafkaLog, open_log, watch: Watch) -> None:
        log.append(TOPIC, 0, blocks(b"a"))
        with open_log() as other:
            assert other.append(TOPIC, 3, blocks(b"b")) == 0
        assert log.append(TOPIC, 3, blocks(b"c")) == 1
        assert payloads(log, 3) == [b"b", b"c"]
        assert log.bounds(TOPIC) == {0: Bounds(0, 1), 3: Bounds(0, 2)}

    def test_a_topic_made_anew_is_an_error_and_never_a_reset(self, log: KafkaLog, kafka_broker: str) -> None:
        log.append(TOPIC, 0, group("w", 0))
        assert len(read_all(log)) == 3
        admin = KafkaAdminClient(bootstrap_servers=kafka_broker)
        admin.delete_topics([f"{log.address.prefix}.market.raw.v1"])
        with KafkaLog(f"kafka://{kafka_broker}/{log.address.prefix}", system_clock, partitions=1) as other:
            while other.bounds(TOPIC):
                admin.describe_topics()
            other.append(TOPIC, 0, blocks(b"new"))
        admin.close()
        with pytest.raises(InvalidValueError, match="beyond"):
            log.read(TOPIC, 0, 3, EVERYTHING, 0)

    def test_readers_are_remembered_by_another_process(self, log: KafkaLog, open_log, watch: Watch) -> None:
        log.append(TOPIC, 0, blocks(*[b"x"] * 10))
        log.release(TOPIC, "slow", {0: 4})
        watch.advance(100)
        with open_log() as other:
            assert other.readers(TOPIC) == {"slow": {0: 4}}
            other.release(TOPIC, "fast", {0: 9})
            assert other.bounds(TOPIC)[0] == Bounds(4, 10)
            with pytest.raises(NotFoundError, match="dropped"):
                other.read(TOPIC, 0, 3, EVERYTHING, 0)
        assert log.readers(TOPIC) == {"slow": {0: 4}, "fast": {0: 9}}


class Freezing:
    """A log whose broker is frozen in the middle of one append, and is real otherwise."""

    def __init__(self, log: KafkaLog, node: Broker) -> None:
        self._log, self._node = log, node
        self.is_next, self.errors = False, list[Exception]()

    def append(self, topic: str, partition: int, blocks: Sequence[Block]) -> Offset:
        if self.is_next and topic == RAW_TOPIC:
            self.is_next = False
            self._node.pause()
        try:
            return self._log.append(topic, partition, blocks)
        except Exception as error:
            self.errors.append(error)
            raise

    def read(self, topic: str, partition: int, offset: Offset, max_bytes: int, wait_s: float) -> Batch:
        return self._log.read(topic, partition, offset, max_bytes, wait_s)

    def bounds(self, topic: str) -> Mapping[int, Bounds]:
        return self._log.bounds(topic)

    def release(self, topic: str, reader: str, positions: Positions) -> None:
        self._log.release(topic, reader, positions)


def test_a_frozen_broker_costs_time_and_no_message(kafka_node: Broker) -> None:
    """Longer than the client's patience, which in kafka-python 3.0.12 can stall a producer for ever."""
    capture = Capture("made-1", "made", "feed", CaptureKind.LIVE, system_clock(), "1", "x")
    messages = [Message(number, number, "text/plain", b"%d" % number) for number in range(2_100)]
    with KafkaLog(f"kafka://{kafka_node.address}/frozen", system_clock, patience_s=3) as log:
        freezing = Freezing(log, kafka_node)
        recorder = Recorder(freezing, capture, clock=system_clock, steps=Steps(), sleep=lambda seconds: kafka_node.resume())
        recorder.record(messages[:1_500])
        recorder.flush()
        freezing.is_next = True
        try:
            recorder.record(messages[1_500:])
            recorder.flush()
        finally:
            kafka_node.resume()
        assert isinstance(freezing.errors[0], CommitUnknownError)
        found = {
            row["message_seq"]: row["payload"]
            for partition in log.bounds(RAW_TOPIC)
            for _, block in read_all(log, partition)
            for row in decode_messages(block.payload).to_pylist()
        }
        assert found == {message.message_seq: message.payload for message in messages}
        assert messages_in_log(log, "made-1") == recorder.durable == 2_100


def test_nobody_answers_is_told_in_words(root: Path) -> None:
    """In a process of its own: the client leaves its sockets to the garbage collector when it cannot connect."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
    code = f"from lake.log.kafka import KafkaLog; KafkaLog('kafka://127.0.0.1:{port}', int)"
    said = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=False).stderr
    last = said.strip().splitlines()[-1]
    assert last.startswith(f"lake.errors.ProviderUnavailableError: no Kafka broker answers at kafka://127.0.0.1:{port}"), said
    assert "ECONNREFUSED" in last


def test_an_address_is_read_and_never_shows_its_password() -> None:
    address = KafkaAddress.parse(
        "kafka://alice:s%40cret@one:9093,two:9094/lake?security_protocol=SASL_SSL&sasl_mechanism=PLAIN&ssl_cafile=ca.crt"
    )
    assert (address.servers, address.prefix, str(address)) == (("one:9093", "two:9094"), "lake", "kafka://one:9093,two:9094/lake")
    assert address.client()["sasl_plain_password"] == "s@cret"
    assert address.client()["security_protocol"] == "SASL_SSL"
    assert "s@cret" not in repr(address)


@pytest.mark.parametrize(
    "text", ["", "kafka://", "http://a:1", "kafka://a", "kafka://a:1/b/c", "kafka://:hidden@a:1", "kafka://a:1?x=1"]
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(SettingsError, match="TICKHOUSE_LOG_URL") as told:
        KafkaAddress.parse(text)
    assert "hidden" not in str(told.value)


def test_settings_choose_the_log(tmp_path: Path, kafka_broker: str) -> None:
    with open_log(load_settings(home=tmp_path), system_clock) as embedded:  # type: ignore[attr-defined]
        assert isinstance(embedded, SegmentLog)
    with open_log(load_settings(home=tmp_path, log_url=f"kafka://{kafka_broker}/chosen"), system_clock) as log:  # type: ignore[attr-defined]
        assert isinstance(log, KafkaLog)
        assert log.bounds(RAW_TOPIC) == {}
