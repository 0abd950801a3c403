"""Appending to the log with patience: waits while it takes nothing, and looks whether an append of unknown outcome landed."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from lake.errors import CommitConflictError, CommitUnknownError, LogFullError, ProviderUnavailableError, TickhouseError
from lake.log.blocks import decode_messages
from lake.log.history import HISTORY_PARTITION
from lake.log.log import HISTORY_TOPIC, RAW_TOPIC, Block, Log

LOGGER = logging.getLogger("tickhouse.ingest")
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.05, 5.0
_SCAN_BYTES = 8 * 1024 * 1024


def next_seq_in_log(log: Log, partition: int, offset: int, capture_id: str) -> int:
    """Return the next message number of a capture by the raw blocks from `offset` on: 0 when none is its."""
    following = 0
    while True:
        batch = log.read(RAW_TOPIC, partition, offset, _SCAN_BYTES, 0.0)
        for _, block in batch.blocks:
            if block.key == capture_id:
                following = max(following, decode_messages(block.payload)["message_seq"][-1].as_py() + 1)
        if batch.next_offset == offset:
            return following
        offset = batch.next_offset


class PatientLog:
    """A log that is waited for.

    who         waits, in words for the log file
    sleep       called with seconds
    patience_s  how long, before the error reaches the caller: nothing was dropped by then
    """

    def __init__(self, log: Log, *, who: str, sleep: Callable[[float], None], patience_s: float = 600.0) -> None:
        self._log, self._who, self._sleep, self._patience_s = log, who, sleep, patience_s

    def append_messages(self, partition: int, blocks: Sequence[Block], last_seq: int) -> float:
        """Append blocks of raw messages, the last one's last message `last_seq`; return the seconds waited for the log."""
        start: list[int] = []

        def append() -> int:
            if not start:
                before = self._log.bounds(RAW_TOPIC).get(partition)
                start.append(0 if before is None else before.next)
            return self._log.append(RAW_TOPIC, partition, blocks)

        return self._patiently(append, lambda: next_seq_in_log(self._log, partition, start[0], blocks[-1].key) > last_seq)

    def append_history(self, blocks: Sequence[Block]) -> float:
        """Append blocks of history; return the seconds waited for the log.

        An append of unknown outcome is repeated: landing drops a row of history whose key it has.
        """
        return self._patiently(lambda: self._log.append(HISTORY_TOPIC, HISTORY_PARTITION, blocks), lambda: False)

    def _patiently(self, append: Callable[[], int], has_landed: Callable[[], bool]) -> float:
        waited_s, pause_s, is_unknown = 0.0, FIRST_PAUSE_S, False
        told: TickhouseError
        while True:
            try:
                if not (is_unknown and has_landed()):
                    is_unknown = False
                    append()
                return waited_s
            except (LogFullError, CommitConflictError, ProviderUnavailableError) as error:
                told = error
            except CommitUnknownError as error:
                is_unknown, told = True, error
                if self._looks(has_landed):
                    return waited_s
            if waited_s >= self._patience_s:
                raise told
            LOGGER.warning("%s waits %.2f s, the log takes nothing: %s", self._who, pause_s, told)
            self._sleep(pause_s)
            waited_s += pause_s
            pause_s = min(pause_s * 2, LONGEST_PAUSE_S)

    def _looks(self, has_landed: Callable[[], bool]) -> bool:
        try:
            return has_landed()
        except ProviderUnavailableError as error:
            LOGGER.warning("%s cannot look into the log, and looks again: %s", self._who, error)
            return False
