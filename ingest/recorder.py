"""The way of messages into the log: batched into blocks, durable when `flush` returns, in order, without a hole.

Shell. A capture is one recorder's: it announces itself in the history topic, then numbers its messages densely. When
the log has no room the recorder waits and says so, in the log file and as a finding; it never drops a message.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable, Sequence
from importlib import metadata

import pyarrow as pa

from ingest.history import HISTORY_PARTITION, capture_row, finding_row
from lake.errors import (
    CommitConflictError,
    CommitUnknownError,
    InvalidValueError,
    LogFullError,
    ProviderUnavailableError,
    TickhouseError,
)
from lake.instants import Clock, to_datetime
from lake.log.blocks import MAX_MESSAGES, MAX_PAYLOAD_BYTES, decode_messages, encode_rows, partition_of, split_messages
from lake.log.log import HISTORY_TOPIC, RAW_PARTITIONS, RAW_TOPIC, Log
from lake.steps import Steps
from lake.values import Capture, Message

LOGGER = logging.getLogger("tickhouse.ingest")
MAX_WAIT_NS = 50_000_000
"""A message waits at most this long for company in its block, or a quiet feed would not be durable."""
_SCAN_BYTES = 8 * 1024 * 1024
_CROCKFORD = "0123456789abcdefghjkmnpqrstvwxyz"


def new_capture_id(provider: str, feed: str, now_ns: int, entropy: Callable[[int], int] = secrets.randbits) -> str:
    """Return `provider-feed-<id>`: 26 characters that sort by time (48 bits of milliseconds, then 80 random bits)."""
    value = (now_ns // 1_000_000) << 80 | entropy(80)
    return f"{provider}-{feed}-" + "".join(_CROCKFORD[value >> shift & 31] for shift in range(125, -1, -5))


def code_version() -> str:
    """Return the installed version of tickhouse, or `source` when it runs from a checkout."""
    try:
        return metadata.version("tickhouse")
    except metadata.PackageNotFoundError:
        return "source"


def messages_in_log(log: Log, capture_id: str) -> int:
    """Return the next message number of a capture by what the raw topic still holds: 0 when it holds none of it."""
    bounds = log.bounds(RAW_TOPIC)
    return max((_next_seq(log, partition, held.first, capture_id) for partition, held in bounds.items()), default=0)


def _next_seq(log: Log, partition: int, offset: int, capture_id: str) -> int:
    following = 0
    while True:
        batch = log.read(RAW_TOPIC, partition, offset, _SCAN_BYTES, 0.0)
        for _, block in batch.blocks:
            if block.key == capture_id:
                following = max(following, decode_messages(block.payload)["message_seq"][-1].as_py() + 1)
        if batch.next_offset == offset:
            return following
        offset = batch.next_offset


class Recorder:
    """One capture's hand on the log.

    sleep        called with seconds while the log is full or locked
    partitions   of the raw topic
    first_seq    number of the next message, above 0 when an interrupted import goes on
    patience_s   how long a full log is waited for before LogFullError reaches the caller
    """

    def __init__(
        self,
        log: Log,
        capture: Capture,
        *,
        clock: Clock,
        steps: Steps,
        sleep: Callable[[float], None],
        partitions: int = RAW_PARTITIONS,
        first_seq: int = 0,
        patience_s: float = 600.0,
    ) -> None:
        self.capture = capture
        self._log, self._clock, self._steps, self._sleep = log, clock, steps, sleep
        self._patience_s = patience_s
        self._partition = partition_of(capture.capture_id, partitions)
        self._next_seq = first_seq
        self._durable = first_seq
        self._buffer: list[Message] = []
        self._buffer_bytes = 0
        self._buffered_at_ns = 0

    @property
    def next_seq(self) -> int:
        """Number that the next message must have."""
        return self._next_seq

    @property
    def durable(self) -> int:
        """Messages of the capture that are in the log."""
        return self._durable

    def begin(self) -> None:
        """Announce the capture in ops.captures, durably, before its first message."""
        self.history("ops.captures", capture_row(self.capture, self._clock()))

    def history(self, table: str, new: pa.Table) -> None:
        """Append rows of an ops or quality table to the history topic, durably; waits while the log is full."""
        blocks = [encode_rows(table, new.slice(start, MAX_MESSAGES)) for start in range(0, new.num_rows, MAX_MESSAGES)]
        if blocks:
            # An append of unknown outcome is repeated: landing drops a row of history whose key it has.
            self._patiently(lambda: self._log.append(HISTORY_TOPIC, HISTORY_PARTITION, blocks), lambda: False)

    def record(self, messages: Sequence[Message]) -> None:
        """Take messages; durable at the latest when `flush` is next called. Raises InvalidValueError for a hole."""
        for message in messages:
            if message.message_seq != self._next_seq:
                raise InvalidValueError(
                    f"capture {self.capture.capture_id}: message {message.message_seq} came; expected {self._next_seq}"
                )
            if not self._buffer:
                self._buffered_at_ns = self._clock()
            self._buffer.append(message)
            self._buffer_bytes += len(message.payload)
            self._next_seq += 1
            if len(self._buffer) >= MAX_MESSAGES or self._buffer_bytes >= MAX_PAYLOAD_BYTES:
                self.flush()

    def tick(self, now_ns: int) -> None:
        """Flush when the oldest buffered message has waited MAX_WAIT_NS."""
        if self._buffer and now_ns - self._buffered_at_ns >= MAX_WAIT_NS:
            self.flush()

    def flush(self) -> None:
        """Append what is buffered; durable on return. Raises LogFullError when patience is over: nothing is dropped."""
        if not self._buffer:
            return
        blocks = split_messages(self.capture, self._buffer)
        last = self._buffer[-1].message_seq
        start: list[int] = []

        def append() -> int:
            if not start:
                before = self._log.bounds(RAW_TOPIC).get(self._partition)
                start.append(0 if before is None else before.next)
            return self._log.append(RAW_TOPIC, self._partition, blocks)

        self._patiently(append, lambda: self._is_in_log(start[0], last))
        self._durable = last + 1
        self._buffer, self._buffer_bytes = [], 0
        self._steps.reached("capture.appended")

    def _is_in_log(self, start: int, last: int) -> bool:
        return _next_seq(self._log, self._partition, start, self.capture.capture_id) > last

    def _patiently(self, append: Callable[[], int], has_landed: Callable[[], bool]) -> None:
        waited_s, pause_s, began_ns, is_unknown = 0.0, 0.05, self._clock(), False
        told: TickhouseError
        while True:
            try:
                if not (is_unknown and has_landed()):
                    is_unknown = False
                    append()
                break
            except (LogFullError, CommitConflictError, ProviderUnavailableError) as error:
                told = error
            except CommitUnknownError as error:
                is_unknown, told = True, error
                if self._looks(has_landed):
                    break
            if waited_s >= self._patience_s:
                raise told
            LOGGER.warning("%s waits %.2f s, the log takes nothing: %s", self.capture.capture_id, pause_s, told)
            self._sleep(pause_s)
            waited_s += pause_s
            pause_s = min(pause_s * 2, 5.0)
        if waited_s:
            self._tell_of_waiting(waited_s, began_ns)

    def _looks(self, has_landed: Callable[[], bool]) -> bool:
        try:
            return has_landed()
        except ProviderUnavailableError as error:
            LOGGER.warning("%s cannot look into the log, and looks again: %s", self.capture.capture_id, error)
            return False

    def _tell_of_waiting(self, waited_s: float, began_ns: int) -> None:
        capture_id = self.capture.capture_id
        row = finding_row(
            f"{capture_id}/{self._next_seq}/{began_ns}",
            "log_full",
            "raw.messages",
            f"capture {capture_id} waited {waited_s:.2f} s for the log before message {self._next_seq}",
            to_datetime(self._clock()),
            capture_id,
        )
        self._log.append(HISTORY_TOPIC, HISTORY_PARTITION, [encode_rows("quality.findings", row)])
