"""SegmentLog: the embedded log, SQLite segments cut by size and age and dropped whole.

    <path>/index.db                              segments and readers (segment_index.py)
    <path>/<topic>/<partition>/<base offset>.db  blocks (segment_file.py)

SQLite never gives space back, so nothing is ever deleted inside a segment. The active segment is sealed before its
successor is made, in that order under the index's lock: a process killed in between leaves a sealed segment that the
next append rolls again.
"""

from __future__ import annotations

import os
import re
import threading
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from contextlib import closing
from itertools import pairwise
from pathlib import Path
from types import TracebackType

from lake.errors import CommitConflictError, CorruptedError, InvalidValueError, LogFullError, NotFoundError
from lake.instants import NANOS_PER_SECOND, Clock
from lake.log.log import Batch, Block, Bounds, Offset, Positions
from lake.log.segment_file import SegmentFile, SegmentState, create_segment, delete_segment, fsync, translated
from lake.log.segment_index import SegmentIndex

MEBIBYTE = 1024 * 1024
_TOPIC = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}\Z")
_ROLLS = 20
"""An append that meets a sealed segment this often is racing with something that is not another append."""
_OPEN_PER_PARTITION = 2
"""The one appended to, and one that is read behind it."""
_LOOK_S = 0.01
"""How often a waiting reader looks for blocks of other processes; those of its own process wake it."""


class _Partition:
    """What this process keeps open of one partition; everything in it is touched under `changed`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.changed = threading.Condition(threading.RLock())
        self.is_checked = False
        self.open: dict[Offset, SegmentFile] = {}

    def path(self, base: Offset) -> Path:
        return self.folder / f"{base:020d}.db"

    def segment(self, base: Offset) -> SegmentFile:
        """Return the segment opened; the longest unused one gives way."""
        found = self.open.pop(base, None) or SegmentFile(self.path(base))
        self.open[base] = found
        if len(self.open) > _OPEN_PER_PARTITION:
            self.close(next(iter(self.open)))
        return found

    def close(self, base: Offset) -> None:
        """Close the segment that starts at `base`, if it is open."""
        found = self.open.pop(base, None)
        if found is not None:
            found.close()


class SegmentLog:
    """A `Log` in a local folder, for any number of processes and threads on one machine. Not to be carried over a fork."""

    def __init__(
        self,
        path: Path,
        clock: Clock,
        segment_bytes: int = 64 * MEBIBYTE,
        segment_age_s: float = 3_600,
        min_free_bytes: int = 256 * MEBIBYTE,
        min_age_s: float = 3_600,
    ) -> None:
        """Open the log at `path`, making it when it is not there.

        segment_bytes   payload after which a segment is sealed
        segment_age_s   age after which it is, if it holds anything
        min_free_bytes  room that an append must leave on the disk, for landing to work in
        min_age_s       how long after its last append a segment stays although every reader has passed it
        """
        self.path = path.absolute()
        self._clock = clock
        self._segment_bytes = segment_bytes
        self._segment_age_ns = int(segment_age_s * NANOS_PER_SECOND)
        self._min_free_bytes = min_free_bytes
        self._min_age_ns = int(min_age_s * NANOS_PER_SECOND)
        self._index = SegmentIndex(self.path)
        self._lock = threading.Lock()
        self._partitions: dict[tuple[str, int], _Partition] = {}

    def __enter__(self) -> SegmentLog:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close every file. What was appended stays; the log can be opened again."""
        with self._lock:
            partitions = list(self._partitions.values())
            self._partitions.clear()
        for partition in partitions:
            with partition.changed:
                for base in list(partition.open):
                    partition.close(base)
        self._index.close()

    def append(self, topic: str, partition: int, blocks: Sequence[Block]) -> Offset:
        """See Log.append."""
        part = self._partition(topic, partition)
        if blocks:
            self._refuse_when_full(sum(len(block.payload) for block in blocks))
        with part.changed:
            for _ in range(_ROLLS):
                base = self._active(topic, partition, part)
                try:
                    first = self._append_to(part.segment(base), blocks)
                except CorruptedError:
                    if base in self._index.bases(topic, partition):
                        raise
                    part.close(base)  # sealed, passed and dropped by other processes since the look into the index
                    continue
                if first is not None:
                    part.changed.notify_all()
                    return first
                self._roll(topic, partition, part, base)
        raise CommitConflictError(f"{topic}/{partition}: met a sealed segment {_ROLLS} times, nothing was appended")

    def _append_to(self, segment: SegmentFile, blocks: Sequence[Block]) -> Offset | None:
        state = segment.state()
        if state.is_sealed or (blocks and self._is_due(state)):
            return None
        return segment.append(blocks, self._clock()) if blocks else state.next

    def read(self, topic: str, partition: int, offset: Offset, max_bytes: int, wait_s: float) -> Batch:
        """See Log.read."""
        part = self._partition(topic, partition)
        waited = 0.0
        with part.changed:
            while True:
                batch = self._read_now(topic, partition, part, offset, max_bytes)
                if batch.blocks or waited >= wait_s:
                    return batch
                step = min(_LOOK_S, wait_s - waited)
                part.changed.wait(step)
                waited += step

    def bounds(self, topic: str) -> Mapping[int, Bounds]:
        """See Log.bounds."""
        found: dict[int, Bounds] = {}
        for partition in self._index.partitions(topic):
            part = self._partition(topic, partition)
            with part.changed:
                bases = self._index.bases(topic, partition)
                found[partition] = Bounds(bases[0], part.segment(bases[-1]).state().next)
        return found

    def release(self, topic: str, reader: str, positions: Positions) -> None:
        """See Log.release."""
        bounds = self.bounds(topic)
        for partition, position in positions.items():
            following = bounds[partition].next if partition in bounds else 0
            if not 0 <= position <= following:
                raise InvalidValueError(f"{topic}/{partition}: {reader} releases up to {position}; expected 0 to {following}")
        with self._index.exclusive():
            self._index.advance(topic, reader, positions)
        self._drop(topic)
        if [partition for partition in bounds if self._seal_aged(topic, partition)]:
            self._drop(topic)

    def tidy(self) -> None:
        """Drop what every reader of a topic has passed and is old enough, also where nobody releases any more."""
        for folder in sorted(self.path.iterdir()):
            topic = folder.name
            partitions = self._index.partitions(topic) if folder.is_dir() else []
            if partitions and all(self._index.positions(topic, partition) for partition in partitions):
                self._drop(topic)

    def begin(self, topic: str, partition: int, base: Offset) -> None:
        """Let a partition that does not exist yet begin at `base`: offsets before it were given by the log this one continues.

        Raises InvalidValueError for a partition that exists.
        """
        part = self._partition(topic, partition)
        with part.changed, self._index.exclusive():
            if self._index.bases(topic, partition):
                raise InvalidValueError(f"{topic}/{partition} of {self.path} exists; only a new partition begins at an offset")
            self._make_folder(part.folder)
            create_segment(part.path(base), base, self._clock())
            self._index.add(topic, partition, base)

    def _partition(self, topic: str, partition: int) -> _Partition:
        if not _TOPIC.match(topic) or partition < 0:
            raise InvalidValueError(f"{topic!r}/{partition} is no topic and partition; expected a name and a number from 0")
        with self._lock:
            found = self._partitions.get((topic, partition))
            if found is None:
                found = self._partitions[topic, partition] = _Partition(self.path / topic / str(partition))
            return found

    def _refuse_when_full(self, size: int) -> None:
        stat = os.statvfs(self.path)
        free = stat.f_bavail * stat.f_frsize
        if free - size < self._min_free_bytes:
            raise LogFullError(
                f"{self.path}: {free} bytes free, {size} to append, {self._min_free_bytes} to be left; nothing was appended"
            )

    def _is_due(self, state: SegmentState) -> bool:
        aged = self._clock() - state.created_at_ns >= self._segment_age_ns
        return state.next > state.base and (state.bytes >= self._segment_bytes or aged)

    def _active(self, topic: str, partition: int, part: _Partition) -> Offset:
        """Return the base of the active segment, making the first one where there is none."""
        bases = self._index.bases(topic, partition)
        if not bases:
            self._roll(topic, partition, part, None)
            bases = self._index.bases(topic, partition)
        if not part.is_checked:
            following = part.segment(bases[-1]).state().next
            for reader, position in self._index.positions(topic, partition).items():
                if position > following:
                    raise CorruptedError(f"{topic}/{partition} ends at {following}, but {reader} has read up to {position}")
            part.is_checked = True
        return bases[-1]

    def _roll(self, topic: str, partition: int, part: _Partition, base: Offset | None) -> None:
        """Seal the active segment `base` and make its successor, unless another process has."""
        with self._index.exclusive():
            bases = self._index.bases(topic, partition)
            if (bases[-1] if bases else None) != base:
                return
            following = 0 if base is None else part.segment(base).seal()
            if base is None:
                self._make_folder(part.folder)
            create_segment(part.path(following), following, self._clock())
            self._index.add(topic, partition, following)

    def _make_folder(self, folder: Path) -> None:
        with translated(folder, "making"):
            folder.mkdir(parents=True, exist_ok=True)
            fsync(folder.parent)
            fsync(self.path)

    def _read_now(self, topic: str, partition: int, part: _Partition, offset: Offset, max_bytes: int) -> Batch:
        """Return what is there from `offset` on, of one segment."""
        bases = self._index.bases(topic, partition)
        first = bases[0] if bases else 0
        if offset < first:
            raise NotFoundError(f"{topic}/{partition}: offset {offset} has been dropped; the first is {first}")
        if not bases and offset > 0:
            raise InvalidValueError(f"{topic}/{partition}: offset {offset} is beyond the next offset 0")
        if not bases:
            return Batch((), 0)
        at = bisect_right(bases, offset)
        base, end = bases[at - 1], bases[at] if at < len(bases) else None
        try:
            try:
                return self._read_segment(part.segment(base), offset, end, max_bytes)
            except LogFullError:
                with closing(SegmentFile(part.path(base), is_frozen=True)) as segment:
                    return self._read_segment(segment, offset, end, max_bytes)
        except CorruptedError as error:
            if base in self._index.bases(topic, partition):
                raise
            part.close(base)
            raise NotFoundError(f"{topic}/{partition}: offset {offset} was dropped while it was read") from error

    def _read_segment(self, segment: SegmentFile, offset: Offset, end: Offset | None, max_bytes: int) -> Batch:
        following = segment.state().next
        if end is not None and following != end:
            raise CorruptedError(f"segment {segment.path} ends at {following}, the next one begins at {end}")
        if offset > following:
            raise InvalidValueError(f"{segment.path.parent}: offset {offset} is beyond the next offset {following}")
        return segment.read(offset, max_bytes)

    def _seal_aged(self, topic: str, partition: int) -> bool:
        """Seal the active segment when its time has come, so that a quiet topic is dropped too; says whether it was."""
        part = self._partition(topic, partition)
        with part.changed:
            base = self._index.bases(topic, partition)[-1]
            is_due = self._is_due(part.segment(base).state())
            if is_due:
                self._roll(topic, partition, part, base)
            return is_due

    def _drop(self, topic: str) -> None:
        """Drop what may go. Segments are marked, deleted, then forgotten: killed in between, the next release goes on."""
        with self._index.exclusive():
            for partition in self._index.partitions(topic):
                self._mark_passed(topic, partition)
        dropped = self._index.dropped(topic)
        for partition, base in dropped:
            part = self._partition(topic, partition)
            with part.changed:
                part.close(base)
                delete_segment(part.path(base))
                fsync(part.folder)
        with self._index.exclusive():
            for partition, base in dropped:
                self._index.forget(topic, partition, base)

    def _mark_passed(self, topic: str, partition: int) -> None:
        """Mark the sealed segments that every reader has passed and that are old enough; the active one stays."""
        passed = min(self._index.positions(topic, partition).values())
        part = self._partition(topic, partition)
        bases = self._index.bases(topic, partition)
        for base, end in pairwise(bases):
            if end > passed:
                return
            with closing(SegmentFile(part.path(base))) as segment:
                if self._clock() - segment.state().appended_at_ns < self._min_age_ns:
                    return
            self._index.mark_dropped(topic, partition, base)
