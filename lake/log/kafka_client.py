"""What the two ends of KafkaLog share: a consumer of one partition, records as blocks, errors of the client as ours."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import kafka.errors as kafka_errors

from lake.errors import ProviderRefusedError, ProviderUnavailableError
from lake.log.kafka_address import KafkaAddress
from lake.log.log import Block, Offset

COUNT = "count"
"""The header that says how many messages or rows a block holds."""
RETRY_AFTER_S = 5.0
REFUSED = (
    kafka_errors.TopicAuthorizationFailedError,
    kafka_errors.ClusterAuthorizationFailedError,
    kafka_errors.GroupAuthorizationFailedError,
)


class Cursor:
    """A consumer of one partition and what it has fetched ahead; used under `lock`."""

    def __init__(self, consumer: Any, at: Any) -> None:
        self.lock = threading.Lock()
        self.consumer, self.at = consumer, at
        self.ahead: deque[Any] = deque()
        self.offset = -1
        consumer.assign([at])

    def seek(self, offset: Offset) -> None:
        """Be at `offset`; what was fetched ahead is kept where it fits."""
        while self.ahead and self.ahead[0].offset < offset:
            self.ahead.popleft()
        if self.ahead and self.ahead[0].offset != offset:
            self.ahead.clear()
        if not self.ahead and self.offset != offset:
            self.consumer.seek(self.at, offset)
        self.offset = self.ahead[-1].offset + 1 if self.ahead else offset

    def poll(self, wait_s: float) -> None:
        """Fetch what there is, or wait for it."""
        for records in self.consumer.poll(timeout_ms=max(1, int(wait_s * 1000))).values():
            self.ahead.extend(records)
        if self.ahead:
            self.offset = self.ahead[-1].offset + 1

    def take(self, max_bytes: int) -> Iterator[tuple[Offset, Block]]:
        """Yield blocks that were fetched, together at most `max_bytes` of payload but one at least."""
        size = 0
        while self.ahead:
            record = self.ahead[0]
            size += len(record.value or b"")
            if size > max_bytes and size > len(record.value or b""):
                return
            yield record.offset, block_of(self.ahead.popleft())


def block_of(record: Any) -> Block:
    """Return a record as the block it is; one that somebody else wrote counts as one message."""
    counts = [value for name, value in record.headers or () if name == COUNT]
    return Block((record.key or b"").decode(errors="replace"), bytes(record.value or b""), int(counts[0]) if counts else 1)


class _Said(logging.Handler):
    """Keeps the last words of the client, the only place where it tells why a connection failed."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.words: deque[str] = deque(maxlen=2)

    def emit(self, record: logging.LogRecord) -> None:
        """Keep one record."""
        if record.getMessage() not in self.words:
            self.words.append(record.getMessage())


@contextmanager
def connecting(address: KafkaAddress) -> Iterator[None]:
    """Translate what goes wrong while a client connects, with the client's own last words."""
    said, logger = _Said(), logging.getLogger("kafka")
    logger.addHandler(said)
    try:
        yield
    except kafka_errors.KafkaError as error:
        why = "; ".join(said.words) or "the client does not say why"
        raise ProviderUnavailableError(f"no Kafka broker answers at {address}: {error!r}: {why}", RETRY_AFTER_S) from error
    finally:
        logger.removeHandler(said)


@contextmanager
def answering(address: KafkaAddress) -> Iterator[None]:
    """Translate what goes wrong in a call."""
    try:
        yield
    except REFUSED as error:
        raise ProviderRefusedError(f"Kafka at {address} refuses: {error!r}") from error
    except kafka_errors.KafkaError as error:
        raise ProviderUnavailableError(f"Kafka at {address} does not answer: {error!r}", RETRY_AFTER_S) from error
