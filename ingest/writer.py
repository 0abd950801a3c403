"""Group commit: one thread appends what all captures of a process recorded, as soon as the append before it is done.

Blocks build up while an append runs, so a commit is shared by whatever came meanwhile: a few milliseconds of one busy feed,
or a message of each of a hundred quiet ones. What is recorded and not yet durable is counted; a reader of sockets asks
`has_room` before it takes more, so that a slow or full log costs memory up to a limit and no message.
"""

from __future__ import annotations

import gc
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import pyarrow as pa

from ingest.appending import PatientLog
from ingest.recorder import APPENDED, Recorder, history_blocks, waiting_row
from lake.instants import Clock
from lake.log.blocks import MAX_PAYLOAD_BYTES, split_messages
from lake.log.log import Block, Log
from lake.steps import Steps
from lake.values import Capture, Message

LIMIT_BYTES = 64 * 1024 * 1024
"""Of messages recorded and not durable, in a process; with more, sockets are not read."""
LINGER_S, LONGEST_LINGER_S = 0.01, 0.05
"""Between two appends pass as long as the last one took, within these bounds, unless a full block waits: one costs as much as
a hundred messages."""
SLICE_S = 0.0005
"""How long another thread keeps the interpreter that the writer asks for: with the usual 5 ms, each of the dozen times that an
append gives it up cost 5 ms beside a busy loop (20 ms an append against 80, measured)."""
APPEND_BYTES = 512 * 1024
"""Of blocks in one append: a broker takes no more than its longest request."""
_MESSAGE_BYTES = 250
"""Of memory that a message takes beside its payload."""


@dataclass(frozen=True, slots=True)
class Pressure:
    """How far the log is behind its captures: bytes held now, at most so far, and allowed; seconds that the log took nothing."""

    held_bytes: int
    most_held_bytes: int
    limit_bytes: int
    waited_s: float


@dataclass(frozen=True, slots=True)
class _Taken:
    """What one recorder had at the beginning of a round."""

    recorder: QueuedRecorder
    messages: Sequence[Message]
    history: Sequence[tuple[str, pa.Table]]
    bytes: int


_Placed = tuple[_Taken, Block, int]
"""Of whom a block is, and its last message's number."""


def _blocks(each: _Taken) -> list[_Placed]:
    following = each.messages[0].message_seq
    found: list[_Placed] = []
    for block in split_messages(each.recorder.capture, each.messages):
        following += block.count
        found.append((each, block, following - 1))
    return found


def _appends(placed: Sequence[_Placed]) -> list[list[_Placed]]:
    """Return blocks in as many appends as keep each below APPEND_BYTES, or of one block."""
    found: list[list[_Placed]] = []
    room = 0
    for one in placed:
        size = len(one[1].payload)
        if not found or size > room:
            found.append([])
            room = APPEND_BYTES
        found[-1].append(one)
        room -= size
    return found


class Writer:
    """The thread that appends, between `__enter__` and `__exit__`, which leaves nothing behind that could be appended.

    sleep        called with seconds while the log is full or locked
    patience_s   how long that is waited for: then every recorder raises what the log said
    """

    def __init__(
        self,
        log: Log,
        *,
        clock: Clock,
        steps: Steps,
        sleep: Callable[[float], None],
        limit_bytes: int = LIMIT_BYTES,
        patience_s: float = 600.0,
    ) -> None:
        self.log, self.clock, self.steps, self.sleep, self.patience_s = log, clock, steps, sleep, patience_s
        self._patient = PatientLog(log, who="the writer of the log", sleep=sleep, patience_s=patience_s)
        self._limit_bytes = limit_bytes
        self._held_bytes = self._most_held_bytes = self._untaken_bytes = 0
        self._waited_s = 0.0
        self.changed = threading.Condition()
        self._dirty: dict[QueuedRecorder, None] = {}
        self._failure: BaseException | None = None
        self._is_stopping = self._is_urgent = False
        self._slice_s = SLICE_S
        self._thread = threading.Thread(target=self._run, name="writer", daemon=True)

    def __enter__(self) -> Self:
        self._slice_s = sys.getswitchinterval()
        sys.setswitchinterval(SLICE_S)
        gc.freeze()  # what is there already is not looked through again: of everything imported that took 0.2 s, now and then
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        with self.changed:
            self._is_stopping = True
            self.changed.notify_all()
        self._thread.join()
        gc.unfreeze()
        sys.setswitchinterval(self._slice_s)

    @property
    def has_room(self) -> bool:
        """Whether more may be recorded now; also when the log has failed, which the next recording then tells."""
        return self._held_bytes < self._limit_bytes or self._failure is not None

    @property
    def pressure(self) -> Pressure:
        """How far the log is behind."""
        with self.changed:
            return Pressure(self._held_bytes, self._most_held_bytes, self._limit_bytes, self._waited_s)

    def recorder(self, capture: Capture, partitions: int) -> QueuedRecorder:
        """Return the recorder of one more capture."""
        return QueuedRecorder(self, capture, partitions)

    def grew(self, recorder: QueuedRecorder, size: int) -> None:
        """Learn that a recorder has more to append; the caller holds `changed`. Raises what the log failed with."""
        self.raise_failure()
        self._held_bytes += size
        self._most_held_bytes = max(self._most_held_bytes, self._held_bytes)
        is_block = self._untaken_bytes < MAX_PAYLOAD_BYTES <= self._untaken_bytes + size
        self._untaken_bytes += size
        if recorder not in self._dirty or is_block:
            self._dirty[recorder] = None
            self.changed.notify_all()

    def wait_for(self, is_done: Callable[[], bool]) -> None:
        """Wait until `is_done`, without lingering. Raises what the log failed with."""
        with self.changed:
            self._is_urgent = True
            self.changed.notify_all()
            self.changed.wait_for(lambda: is_done() or self._failure is not None)
            if not is_done():
                self.raise_failure()

    def raise_failure(self) -> None:
        """Raise what the log failed with, if it has."""
        if self._failure is not None:
            raise self._failure

    def _run(self) -> None:
        try:
            while True:
                with self.changed:
                    self.changed.wait_for(lambda: self._dirty or self._is_stopping)
                    if not self._dirty:
                        return
                    taken = [recorder.drained() for recorder in self._dirty]
                    self._dirty.clear()
                    self._is_urgent, self._untaken_bytes = False, 0
                began = time.perf_counter()
                self._append(taken)
                linger_s = min(max(time.perf_counter() - began, LINGER_S), LONGEST_LINGER_S)
                with self.changed:
                    self.changed.wait_for(self._is_worth_an_append, linger_s)
        except BaseException as error:
            with self.changed:
                self._failure = error
                self.changed.notify_all()

    def _is_worth_an_append(self) -> bool:
        return self._is_urgent or self._is_stopping or self._untaken_bytes >= MAX_PAYLOAD_BYTES

    def _append(self, taken: Sequence[_Taken]) -> None:
        """Append everything of a round: messages by partition, each in one commit, then the history that followed them."""
        by_partition: dict[int, list[_Taken]] = {}
        for each in taken:
            if each.messages:
                by_partition.setdefault(each.recorder.partition, []).append(each)
        for partition, group in by_partition.items():
            for part in _appends([placed for each in group for placed in _blocks(each)]):
                waited_s = self._patient.append_messages(partition, [block for _, block, _ in part], part[-1][2])
                self._appended(part)
                self.steps.reached(APPENDED)
                self._tell(part[0][0], waited_s)
        rows = [block for each in taken for table, new in each.history for block in history_blocks(table, new)]
        if rows:
            self._tell(taken[0], self._patient.append_history(rows))
        with self.changed:
            for each in taken:
                each.recorder.told(len(each.history))
            self.changed.notify_all()

    def _appended(self, part: Sequence[_Placed]) -> None:
        with self.changed:
            for each, _, last_seq in part:
                each.recorder.landed(last_seq)
                if last_seq == each.messages[-1].message_seq:
                    self._held_bytes -= each.bytes
            self.changed.notify_all()

    def _tell(self, each: _Taken, waited_s: float) -> None:
        if not waited_s:
            return
        self._waited_s += waited_s
        row = waiting_row(each.recorder.capture, waited_s, self.clock(), each.recorder.durable)
        found: list[Block] = history_blocks("quality.findings", row)
        self._patient.append_history(found)


class QueuedRecorder(Recorder):
    """A recorder that takes at once and is durable by `flush`; history stays behind the messages before it."""

    def __init__(self, writer: Writer, capture: Capture, partitions: int) -> None:
        super().__init__(
            writer.log,
            capture,
            clock=writer.clock,
            steps=writer.steps,
            sleep=writer.sleep,
            partitions=partitions,
            patience_s=writer.patience_s,
        )
        self._writer = writer
        self._history: list[tuple[str, pa.Table]] = []
        self._asked = self._told = 0

    def record(self, messages: Sequence[Message]) -> None:
        """Take messages. Raises InvalidValueError for a hole, and what the log failed with."""
        if not messages:
            return
        with self._writer.changed:
            before = self._buffer_bytes
            self._take_all(messages)
            self._buffer_bytes += _MESSAGE_BYTES * len(messages)
            self._writer.grew(self, self._buffer_bytes - before)

    def history(self, table: str, new: pa.Table) -> None:
        """Take rows of an ops or quality table. Raises what the log failed with."""
        with self._writer.changed:
            self._history.append((table, new))
            self._asked += 1
            self._writer.grew(self, 0)

    def flush(self) -> None:
        """Return when everything taken so far is durable. Raises what the log failed with: nothing is dropped."""
        with self._writer.changed:
            messages, rows = self._next_seq, self._asked
        self._writer.wait_for(lambda: self._durable >= messages and self._told >= rows)

    def drained(self) -> _Taken:
        """Give up what was taken since the last call; the caller holds the writer's lock."""
        taken = _Taken(self, self._buffer, self._history, self._buffer_bytes)
        self._buffer, self._history, self._buffer_bytes = [], [], 0
        return taken

    def landed(self, last_seq: int) -> None:
        """Learn that messages up to `last_seq` are durable."""
        self._durable = last_seq + 1

    def told(self, count: int) -> None:
        """Learn that so many more histories are durable."""
        self._told += count
