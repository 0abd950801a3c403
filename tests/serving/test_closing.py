"""The part of `up` that asks again: it looks for spans by itself, asks within its rights, and closes what the pipeline proved."""

from __future__ import annotations

import threading
from pathlib import Path

from ingest.reach import Reach
from lake.catalog import Lake
from lake.instants import NANOS_PER_SECOND
from quality_checks.gaps import GapLedger, GapStatus, newest_gaps
from serving.operate import closing
from serving.operate.configured import open_configured
from tests.ingest.filling import opened, turn
from tests.ingest.made_day import MadeDay, StillClock
from tests.ingest.test_reconcile import DAY, SYMBOLS, kept, listened, silence, spans, told
from tests.soak.simulating import OPEN_NS


class OneTurn(threading.Event):
    """Is set by whoever would wait for the next turn."""

    def wait(self, timeout: float | None = None) -> bool:
        self.set()
        return True


def turned(lake: Lake, reached: Reach, *, is_recorded: bool = False) -> list[tuple[str, str]]:
    """One turn of the part; what it told."""
    words: list[tuple[str, str]] = []
    closing.run(
        lake, reached, OneTurn(), lambda event, **fields: words.append((event, fields["words"])), is_recorded=is_recorded
    )  # fmt: skip
    return words


def test_up_finds_what_a_silence_swallowed_by_itself(tmp_path: Path) -> None:
    clock = StillClock(OPEN_NS - NANOS_PER_SECOND)
    lake, log = opened(tmp_path, clock)
    with lake, log:
        listened(lake, log, clock, "polygon", [silence("polygon")])
        with MadeDay(DAY, [], clock) as day:
            assert turned(lake, day.reach) == [("waiting", "fills what is missing")], "the history is not whole yet"
            clock.sleep(open_configured(lake).in_force().reconcile.settled_s("polygon") + 60.0)
            assert len(turned(lake, day.reach, is_recorded=True)) == 1, "of recordings nothing can be asked again"
            heard = [turned(lake, day.reach)]
            assert heard[0][1][1].startswith("0 found missing, 2 spans to be reconciled"), heard
            for _ in range(5):
                turn(lake, log)
                heard.append(turned(lake, day.reach))
            turn(lake, log)
        assert {symbol: gap.status for symbol, gap in spans(lake, "polygon").items()} == {
            "AAPL": GapStatus.FILLED,
            "MSFT": GapStatus.PROVEN_EMPTY,
        }
        assert [kept(lake, "polygon", symbol) for symbol in SYMBOLS] == [told(symbol) for symbol in SYMBOLS]
        assert sum("2 spans to be reconciled" in words for turns in heard for _, words in turns) == 1, "none is opened again"
        assert not any(event == "trouble" for turns in heard for event, _ in turns)
        assert len(newest_gaps(lake)) == len(SYMBOLS)
        assert all(gap.is_final for gap in GapLedger(lake, log, "look").under_way())
