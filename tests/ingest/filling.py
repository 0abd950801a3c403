"""Backfill of a lake from a simulated day, also in a process of its own that TICKHOUSE_KILL_AT may kill.

`python -m tests.ingest.filling HOME ADDRESSES [WHO]`
"""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from ingest.asks import Ask
from ingest.backfill import Backfill, BackfillReport, Supply
from ingest.landing import land
from ingest.ledger import begun
from ingest.offers import Offer
from ingest.permits import FREE
from ingest.providers.registry import OFFERS
from ingest.reach import simulated
from ingest.recorder import Recorder
from ingest.simulator.day.tape import MINUTE_NS
from ingest.simulator.keyed import Keys
from lake.catalog import Lake
from lake.instants import Clock, system_clock, to_datetime
from lake.log.log import Log
from lake.log.segments import SegmentLog
from lake.scan import read
from lake.settings import load_settings
from lake.values import CaptureKind
from quality_checks.gaps import GapLedger
from quality_checks.promotion import promote
from tests.ingest.conftest import FAST


def supply_of(addresses: dict[str, str], clock: Clock, *, is_recorded: bool = False) -> Supply:
    """Everybody of the registry at a simulator, in the registry's order."""
    reach = simulated(addresses, Keys())

    def choose(kind: str, asset_class: str, ask: Ask) -> Sequence[Offer]:
        now = to_datetime(clock())
        return [offer for offer in OFFERS if offer.answers(kind, asset_class, ask, now)]

    return Supply(OFFERS, reach.asked, lambda provider: FREE, choose, is_recorded=is_recorded)


def backfill(
    lake: Lake, log: Log, addresses: dict[str, str], who: str = "backfill", *, is_recorded: bool = False
) -> BackfillReport:
    """One round of one worker."""
    ledger, supply = GapLedger(lake, log, who), supply_of(addresses, lake.clock, is_recorded=is_recorded)
    return Backfill(lake, log, supply, ledger, sleep=lambda seconds: None, rng=random.Random(1), backoff=FAST).work()


def turn(lake: Lake, log: Log) -> None:
    """What a pipeline does, as far as gaps need it."""
    if land(lake, log).messages == 0:
        return
    for provider in sorted(set(read(lake, "ops.captures", ["provider"])["provider"].to_pylist())):
        promote(lake, provider)


def fill(lake: Lake, log: Log, addresses: dict[str, str], rounds: int = 6) -> list[BackfillReport]:
    """Rounds of pipeline and worker, until nothing is asked and nothing closes."""
    reports = []
    for _ in range(rounds):
        turn(lake, log)
        reports.append(backfill(lake, log, addresses))
        done = reports[-1]
        if not done.questions and not done.stories:
            return reports
    raise AssertionError([report.document() for report in reports])


def opened(home: Path, clock: Clock = system_clock) -> tuple[Lake, SegmentLog]:
    """The lake and the log at `home`, made where there are none."""
    log = SegmentLog(home / "log", clock, min_free_bytes=1)
    return Lake.create(load_settings(home=home), clock), log


def announced(lake: Lake, log: Log, provider: str, feed: str, wanted: Mapping[str, Sequence[str]]) -> Recorder:
    """A capture that was killed after a minute of the day, as its process left it."""
    recorder, _ = begun(
        lake, log, provider, feed, CaptureKind.LIVE, {"wanted": wanted},
        lambda capture: Recorder(log, capture, clock=lake.clock, steps=lake.steps, sleep=lambda seconds: None),
    )  # fmt: skip
    told_at_ns = lake.clock() + MINUTE_NS
    job = {"capture_id": recorder.capture.capture_id, "ended": None, "provider": provider, "feed": feed}
    lake.state.save_job(f"stream:{provider}-{feed}", {**job, "begun_ns": lake.clock(), "told_at_ns": told_at_ns})
    return recorder


if __name__ == "__main__":
    lake, log = opened(Path(sys.argv[1]))
    with lake, log:
        backfill(lake, log, json.loads(sys.argv[2]), *sys.argv[3:])
