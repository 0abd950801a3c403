"""Workers killed with SIGKILL at their boundaries, and several at once: every gap is filled, nothing twice."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

from ingest.capture import capture_stream
from ingest.providers.binance import MarketSession
from ingest.simulator.day.incidents import Incident
from ingest.simulator.day.tape import MINUTE_NS, Day, Tape
from ingest.simulator.day.wires import FIRST_ID
from ingest.transport.backoff import Backoff
from lake.conditions import Where
from lake.instants import NANOS_PER_SECOND
from lake.scan import read
from quality_checks.gaps import GapLedger, GapStatus, newest_gaps
from tests.ingest.filling import fill, opened, turn
from tests.ingest.made_day import MadeDay, StillClock
from tests.ingest.test_backfill import OPEN_NS

DAY = Day(11, OPEN_NS, OPEN_NS + 4 * MINUTE_NS, ("BTCUSDT",))
DROPS = [
    Incident(
        minute, "stream", "dropped", "binance", OPEN_NS + minute * MINUTE_NS, OPEN_NS + minute * MINUTE_NS + NANOS_PER_SECOND
    )
    for minute in range(1, 4)
]
SLOW = Backoff(attempts=20, first_s=40.0, ceiling_s=40.0)
KILL_AT = "capture.appended:1"
"""With an answer that no step of a gap knows of; tests/quality_checks/test_gaps.py stops at the other boundaries."""


def work(root: Path, home: Path, addresses: dict[str, str], kill_at: str = "") -> subprocess.Popen[bytes]:
    """One round of a worker in a process of its own."""
    command = [
        sys.executable,
        "-W",
        "ignore",
        "-m",
        "tests.ingest.filling",
        str(home),
        json.dumps(addresses),
        f"worker {kill_at}",
    ]
    return subprocess.Popen(command, cwd=root, env={**os.environ, "TICKHOUSE_KILL_AT": kill_at})


def test_killed_workers_and_two_at_once_fill_every_gap_once(root: Path, tmp_path: Path) -> None:
    clock = StillClock(OPEN_NS - NANOS_PER_SECOND)
    lake, log = opened(tmp_path)
    with lake, log, MadeDay(DAY, DROPS, clock) as day:
        session = MarketSession(["btcusdt@trade"], "spot")
        capture_stream(
            lake, log, session, day.streamed("binance"), provider="binance", feed="spot", sleep=clock.sleep,
            rng=random.Random(2), backoff=SLOW,
        )  # fmt: skip
        turn(lake, log)
        before = newest_gaps(lake)
        assert len(before) > 1, "too few gaps for two workers"
        assert work(root, tmp_path, day.addresses, KILL_AT).wait(300) == -signal.SIGKILL
        both = [work(root, tmp_path, day.addresses) for _ in range(2)]
        assert [each.wait(300) for each in both] == [0, 0]
        fill(lake, log, day.addresses)
        turn(lake, log)
        rows = read(lake, "normalized.trades", ["sequence"])["sequence"].to_pylist()
        assert sorted(rows) == [FIRST_ID + trade.number for trade in Tape(DAY, "BTCUSDT").trades]
        after = newest_gaps(lake)
        assert {gap.gap_id for gap in after} == {gap.gap_id for gap in before}
        assert {gap.status for gap in after} == {GapStatus.FILLED}
        assert all(gap.missing_count == gap.found_count for gap in after)
        steps = read(lake, "quality.gaps", ["gap_id", "status", "attempts"]).to_pylist()
        told = Counter((row["gap_id"], row["status"], row["attempts"]) for row in steps)
        assert set(told.values()) == {1}
        captures = read(lake, "ops.captures", ["capture_id"], [Where("kind", "=", "backfill")]).num_rows
        assert len(before) <= captures <= len(before) + 1  # the one whose answer no step knew of was asked again
        ledger = GapLedger(lake, log, "look")
        ledger.refresh()
        assert ledger.under_way() == []
