"""The questions as SQL, for engines that take it: each brings its own words for what SQL has no standard for."""

from __future__ import annotations

from abc import ABC, abstractmethod


class SqlQuestions(ABC):
    """The questions over the trades of one session.

    day     `FROM … WHERE session_date = …`
    noon    the instant of the snapshot, as a literal
    """

    minute_bars: str
    """What is selected of a minute, `{rows}`, and by what it is grouped."""
    side: str
    """What is selected of each side of the join as of a time."""
    beside: str
    """The condition of that join."""
    last: str
    """What is selected of the last trade of an instrument."""

    day: str
    noon: str

    @abstractmethod
    def count(self, query: str) -> int:
        """Return the number of rows of an answer, once all of it is there as Arrow."""

    def point(self, instrument: int) -> int:
        return self.count(f"SELECT * {self._of(instrument)}")

    def bars(self, instrument: int) -> int:
        return self.count(self.minute_bars.format(rows=self._of(instrument)))

    def all_bars(self) -> int:
        return self.count(self.minute_bars.format(rows=self.day))

    def as_of(self, instrument: int, other: int) -> int:
        left, right = (f"(SELECT {self.side} {self._of(one)})" for one in (instrument, other))
        return self.count(f"SELECT l.ts_event, l.price, r.price AS other FROM {left} l ASOF LEFT JOIN {right} r ON {self.beside}")

    def snapshot(self) -> int:
        return self.count(f"SELECT instrument_id, {self.last} {self.day} AND ts_event <= {self.noon} GROUP BY instrument_id")

    def _of(self, instrument: int) -> str:
        return f"{self.day} AND instrument_id = {instrument}"
