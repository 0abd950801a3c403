"""The way of messages into the log: batched into blocks, durable when `flush` returns, in order, without a hole.

Shell. A capture is one recorder's: it announces itself in the history topic, then numbers its messages densely. When
the log has no room the recorder waits and says so, in the log file and as a finding; it never drops a message. One that a
push feed fills has its blocks appended by a thread (`writer.py`).
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from importlib import metadata

import pyarrow as pa

from ingest.appending import LOGGER as LOGGER
from ingest.appending import PatientLog, next_seq_in_log
from ingest.history import capture_row, finding_row
from lake.errors import InvalidValueError
from lake.instants import Clock, to_datetime
from lake.log.blocks import MAX_MESSAGES, MAX_PAYLOAD_BYTES, encode_rows, partition_of, split_messages
from lake.log.log import RAW_PARTITIONS, RAW_TOPIC, Block, Log
from lake.steps import Steps
from lake.values import Capture, Message

APPENDED = "capture.appended"
"""The boundary after each append of messages."""
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
    return max((next_seq_in_log(log, partition, held.first, capture_id) for partition, held in bounds.items()), default=0)


def waiting_row(capture: Capture, waited_s: float, now_ns: int, next_seq: int) -> pa.Table:
    """Return the finding that a capture waited for the log."""
    capture_id = capture.capture_id
    return finding_row(
        f"{capture_id}/{next_seq}/{now_ns}",
        "log_full",
        "raw.messages",
        f"capture {capture_id} waited {waited_s:.2f} s for the log before message {next_seq}",
        to_datetime(now_ns),
        capture_id,
    )


def history_blocks(table: str, new: pa.Table) -> list[Block]:
    """Return rows of an ops or quality table as blocks of the history topic."""
    return [encode_rows(table, new.slice(start, MAX_MESSAGES)) for start in range(0, new.num_rows, MAX_MESSAGES)]


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
        self.partition = partition_of(capture.capture_id, partitions)
        self._patient = PatientLog(log, who=capture.capture_id, sleep=sleep, patience_s=patience_s)
        self._clock, self._steps = clock, steps
        self._next_seq = first_seq
        self._durable = first_seq
        self._buffer: list[Message] = []
        self._buffer_bytes = 0

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
        self.flush()

    def history(self, table: str, new: pa.Table) -> None:
        """Append rows of an ops or quality table to the history topic, durably; waits while the log is full."""
        blocks = history_blocks(table, new)
        if blocks:
            self._tell(self._patient.append_history(blocks))

    def record(self, messages: Sequence[Message]) -> None:
        """Take messages; durable at the latest when `flush` is next called. Raises InvalidValueError for a hole."""
        for message in messages:
            self._take_all([message])
            if len(self._buffer) >= MAX_MESSAGES or self._buffer_bytes >= MAX_PAYLOAD_BYTES:
                self.flush()

    def flush(self) -> None:
        """Append what is buffered; durable on return. Raises LogFullError when patience is over: nothing is dropped."""
        if not self._buffer:
            return
        last = self._buffer[-1].message_seq
        waited_s = self._patient.append_messages(self.partition, split_messages(self.capture, self._buffer), last)
        self._durable = last + 1
        self._buffer, self._buffer_bytes = [], 0
        self._tell(waited_s)
        self._steps.reached(APPENDED)

    def _take_all(self, messages: Sequence[Message]) -> None:
        for expected, message in enumerate(messages, self._next_seq):
            if message.message_seq != expected:
                raise InvalidValueError(
                    f"capture {self.capture.capture_id}: message {message.message_seq} came; expected {expected}"
                )
        self._buffer += messages
        self._buffer_bytes += sum([len(message.payload) for message in messages])
        self._next_seq += len(messages)

    def _tell(self, waited_s: float) -> None:
        if waited_s:
            row = waiting_row(self.capture, waited_s, self._clock(), self._durable)
            self._patient.append_history(history_blocks("quality.findings", row))
