"""Runs of numbered messages followed through a file: numbers left out open a gap, messages that come later close it."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from ingest.asks import Gap

Int64s = npt.NDArray[np.int64]

_MOST_OPEN = 1_000
"""Gaps of one session that are waited for; older ones stay open."""
_MISSING = "the session's sequence numbers leave these out"
_CAME = "the missing messages came later in the file"


@dataclass(slots=True)
class _Session:
    next: int
    open: list[tuple[Gap, list[tuple[int, int]]]] = field(default_factory=list)


class Sequences:
    """Follows the sessions of a feed whose messages are numbered one by one; numbers begin anew in each session."""

    def __init__(self) -> None:
        self._sessions: dict[str, _Session] = {}
        self._count = 0

    def follow(self, session: str, first: Int64s, count: Int64s) -> list[Gap]:
        """Return the gaps opened and closed by runs of `count` messages from `first` on, in the order they came.

        A session that the file joins late opens no gap: what came before is not the file's.
        """
        if not len(first):
            return []
        known = self._sessions.get(session)
        if known is None:
            known = self._sessions[session] = _Session(int(first[0]))
        expected = np.concatenate(([known.next], (first + count)[:-1]))
        if np.array_equal(expected, first) and not known.open:
            known.next = int(first[-1] + count[-1])
            return []
        found: list[Gap] = []
        for low, length in zip(first.tolist(), count.tolist(), strict=True):
            self._arrived(session, known, low, low + length, found)
        return found

    def _arrived(self, name: str, session: _Session, low: int, high: int, found: list[Gap]) -> None:
        if low > session.next:
            gap = Gap(self._count, "", name, "open", _MISSING, str(session.next), str(low - 1))
            self._count += 1
            session.open = [*session.open[1 - _MOST_OPEN :], (gap, [(session.next, low)])]
            found.append(gap)
        elif low < session.next and high > low:
            session.open = [one for one in session.open if not self._filled(one, low, high, found)]
        session.next = max(session.next, high)

    @staticmethod
    def _filled(one: tuple[Gap, list[tuple[int, int]]], low: int, high: int, found: list[Gap]) -> bool:
        """Take [low, high) out of what a gap misses; returns whether nothing is missing any more."""
        gap, missing = one
        left = [part for start, end in missing for part in ((start, min(end, low)), (max(start, high), end))]
        missing[:] = [(start, end) for start, end in left if start < end]
        if not missing:
            found.append(Gap(gap.number, gap.symbol, gap.channel, "filled", _CAME, gap.first_missing, gap.last_missing))
        return not missing
