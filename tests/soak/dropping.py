"""Somebody who puts a file of minutes into a folder every so often, half of it first."""

from __future__ import annotations

from pathlib import Path

from ingest.simulator.day.tape import MINUTE_NS, Bar, Day, Tape
from lake.instants import NANOS_PER_SECOND

EVERY_NS = 5 * MINUTE_NS
HEAD = "s,t,o,h,l,c,v\n"


class Dropper:
    """Writes minutes of two stocks, once they are over: a part of the file at one moment, the rest at the next."""

    def __init__(self, day: Day, folder: Path) -> None:
        self._day, self._folder, self._until_ns = day, folder, day.open_ns
        self._tapes = [Tape(day, symbol) for symbol in ("AAPL", "MSFT")]
        self._rest: tuple[Path, str] | None = None

    def drop(self, now_ns: int) -> None:
        """Do what is due now."""
        if self._rest is not None:
            path, text = self._rest
            with path.open("a") as file:
                file.write(text)
            self._rest = None
            return
        end_ns = min(self._until_ns + EVERY_NS, self._day.close_ns)
        if end_ns <= self._until_ns or now_ns < end_ns:
            return
        lines = [
            ",".join(map(str, (tape.symbol, bar.open_ns // NANOS_PER_SECOND, *_prices(bar), bar.volume))) + "\n"
            for tape in self._tapes
            for bar in tape.minutes(self._until_ns, end_ns)
        ]
        text = HEAD + "".join(lines)
        path = self._folder / f"minutes_{self._until_ns // NANOS_PER_SECOND}.csv"
        path.write_text(text[: len(text) // 2])
        self._rest, self._until_ns = (path, text[len(text) // 2 :]), end_ns


def _prices(bar: Bar) -> tuple[float, float, float, float]:
    return bar.open / 100, bar.high / 100, bar.low / 100, bar.close / 100
