"""A seeded storm of one simulated trading day: `python -m tests.soak.campaign [SEED] [MINUTES] [INCIDENTS] [RATE]`, `make soak`.

Real sockets, real processes, an accelerated clock; see README.md for what is judged and by whom.
"""

from __future__ import annotations

import re
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ingest.landing import land
from ingest.simulator.day.incidents import Incident, storm
from ingest.simulator.day.server import SYMBOLS
from ingest.simulator.day.tape import Day
from lake.catalog import Lake
from lake.instants import NANOS_PER_SECOND, Pace
from lake.log.segments import SegmentLog
from lake.scan import read
from lake.settings import load_settings
from quality_checks.gaps import newest_gaps
from quality_checks.promotion import promote
from tests.soak import checks
from tests.soak.dropping import Dropper
from tests.soak.processes import Processes, Setting
from tests.soak.simulating import OPEN_NS, DayProcess, day_of
from tests.soak.workers import DROPPED, PLANS, POLLS, PROVIDERS, ROLES, STREAMS

SEED, MINUTES, INCIDENTS, RATE = 20261120, 390.0, 500, 24.0
_SILENCE = re.compile(r": silence of \d")
_WATCH_S = 0.5
_QUIET_LOAD_S = 12.0
"""So long all processes take to load where nothing else runs on two cores; where they take longer, the clock goes slower."""
_LEAST_START_S = 8.0
"""How long before the open the day begins at least, in our own seconds: everybody must listen when it rings."""
_GRACE_MINUTES = 180.0
"""How long after the close the last gaps may take: a sticky throttle of Yahoo lasts a quarter of an hour."""


@dataclass(slots=True)
class Outcome:
    """What one soak came to; nothing `wrong` is the goal."""

    figures: dict[str, Any] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)


def soak(seed: int, minutes: float, incidents: int, rate: float, folder: Path) -> Outcome:
    """Run one storm in `folder` and judge it."""
    day, outcome = day_of(seed, minutes), Outcome()
    plan = storm(day, incidents, [poll.provider for poll in POLLS] + list(STREAMS), list(STREAMS), list(ROLES))
    settings = load_settings(home=folder / "home")
    machine = Pace.begin(OPEN_NS, 1.0)
    Lake.create(settings, machine.clock).close()
    began = time.monotonic()
    (folder / "drop").mkdir()
    processes = Processes(folder)
    with DayProcess(day, [each for each in plan if each.part != "process"]) as simulator:
        try:
            for role in ROLES:
                processes.start(role)
            simulator.wait()
            while not processes.are_ready(ROLES):
                machine.sleep(0.1)
            pace = _pace(time.monotonic() - began, rate, outcome)
            simulator.begin(pace)
            until_ns = day.close_ns + round(_GRACE_MINUTES * 60 * NANOS_PER_SECOND)
            Setting(str(settings.home), day, pace, simulator.addresses, seed, until_ns).write(folder)
            _weather(processes, day, pace, [each for each in plan if each.part == "process"], until_ns, outcome)
        finally:
            processes.kill()
        report = simulator.report()
    outcome.figures["seconds of the day"] = round(time.monotonic() - began, 1)
    with Lake.open(settings, pace.clock) as lake, SegmentLog(settings.log_path, pace.clock, min_free_bytes=1) as log:
        land(lake, log)
        for provider in PROVIDERS:
            promote(lake, provider)
        _judge(outcome, lake, day, report)
    every_s = _WATCH_S * pace.rate
    outcome.wrong += [f"{life.role}: {grown}" for life in processes.lives if (grown := checks.grown(life.samples, every_s))]
    _tell(outcome, plan, report, processes, time.monotonic() - began)
    return outcome


def _pace(loading_s: float, rate: float, outcome: Outcome) -> Pace:
    """Return the clock of the day, slower than `rate` where the machine took long to load everybody: it is slow, or busy."""
    slowed = rate * min(1.0, _QUIET_LOAD_S / loading_s)
    outcome.figures |= {"seconds of loading": round(loading_s, 1), "rate": round(slowed, 1)}
    return Pace.begin(OPEN_NS - round(max(_LEAST_START_S, loading_s) * slowed * NANOS_PER_SECOND), slowed)


def _weather(processes: Processes, day: Day, pace: Pace, storms: Sequence[Incident], until_ns: int, outcome: Outcome) -> None:
    """Let processes die and stand still as planned, until the day's work is done or its time is over."""
    dropper = Dropper(day, processes.folder / "drop")
    waiting, stopped, done = list(storms), dict[str, int](), Counter[str]()
    while pace.clock() < until_ns:
        now_ns = pace.clock()
        while waiting and waiting[0].start_ns <= now_ns:
            incident = waiting.pop(0)
            done[incident.kind] += processes.signal(incident.whom, _SIGNALS[incident.kind])
            if incident.kind == "stopped":
                stopped[incident.whom] = incident.end_ns
        for role in [role for role, end_ns in stopped.items() if end_ns <= now_ns]:
            processes.signal(role, signal.SIGCONT)
            del stopped[role]
        dropper.drop(now_ns)
        over = processes.ended()
        for role, code in over.items():
            if code != 0:
                processes.start(role)
        if all(over.get(role) == 0 for role in ROLES if role != "pipeline"):
            break
        processes.sample()
        pace.sleep(_WATCH_S * pace.rate)
    else:
        outcome.wrong.append("the day's work was not done in time: " + ", ".join(r for r in ROLES if processes.is_running(r)))
    outcome.figures["processes"] = dict(done)


_SIGNALS = {"killed": signal.SIGKILL, "stopped": signal.SIGSTOP}


def _judge(outcome: Outcome, lake: Lake, day: Day, report: dict[str, Any]) -> None:
    kinds = read(lake, "ops.captures", ["capture_id", "kind"])
    kind_of = dict(zip(kinds["capture_id"].to_pylist(), kinds["kind"].to_pylist(), strict=True))
    raw = read(lake, "raw.messages", ["provider", "capture_id", "message_seq", "payload"]).to_pylist()
    for row in raw:
        row["kind"] = kind_of[row["capture_id"]]
    outcome.figures["messages in raw"] = len(raw)
    outcome.wrong += checks.missing_and_doubled(day, raw, report["pushed"], {name: SYMBOLS[name] for name in STREAMS})
    outcome.wrong += checks.minutes_missing(day, raw, [*(poll.provider for poll in POLLS), DROPPED[0]])
    outcome.wrong += [f"capture {name} has holes in its numbers" for name in checks.holes(raw)]
    outcome.wrong += checks.exceeded(PLANS, report["calls"])
    trades = read(lake, "normalized.trades", ["provider", "symbol", "ts_event"])
    told = Counter(zip(*(trades[name].to_pylist() for name in ("provider", "symbol", "ts_event")), strict=True))
    outcome.wrong += checks.trades_wrong(day, told, {name: SYMBOLS[name] for name in STREAMS})
    gaps = newest_gaps(lake)
    spans = [gap for gap in gaps if gap.is_reconcile]
    outcome.figures["gaps"] = dict(Counter(gap.status.value for gap in gaps if not gap.is_reconcile))
    outcome.figures["spans reconciled"] = dict(Counter(gap.status.value for gap in spans))
    outcome.figures["missed in silence"] = sum(gap.found_count or 0 for gap in spans)
    reasons = read(lake, "quality.gaps", ["reason"])["reason"].to_pylist()
    outcome.figures["gaps told by silence"] = sum(_SILENCE.search(reason) is not None for reason in reasons)
    outcome.figures["filled by another"] = sum(any(fill.provider != gap.provider for fill in gap.fills) for gap in gaps)
    outcome.wrong += checks.gaps_wrong(gaps)


def _tell(outcome: Outcome, plan: Sequence[Incident], report: dict[str, Any], processes: Processes, seconds: float) -> None:
    met = {int(number) for number in report["met"]}
    outcome.figures |= {
        "incidents planned": len(plan),
        "incidents met": len(met) + sum(outcome.figures["processes"].values()),
        "kinds met": len({each.kind for each in plan if each.number in met}),
        "calls": dict(Counter(whose for whose, *_ in report["calls"])),
        "connections": report["connections"],
        "frames pushed": {name: sum(counts.values()) for name, counts in report["pushed"].items()},
        "memory, most": f"{max((one[0] for life in processes.lives for one in life.samples), default=0):,}",
        "open files, most": max((one[1] for life in processes.lives for one in life.samples), default=0),
        "seconds": round(seconds, 1),
    }


def main(seed: int, minutes: float, incidents: int, rate: float) -> int:
    """Run one storm and print its figures; returns 1 when something is wrong."""
    print(f"SEED={seed} MINUTES={minutes:g} INCIDENTS={incidents} RATE={rate:g}", flush=True)
    folder = Path(tempfile.mkdtemp(prefix="tickhouse-soak-"))
    outcome = soak(seed, minutes, incidents, rate, folder)
    for name, value in outcome.figures.items():
        print(f"{name:<24}{value}")
    print(f"{'wrong':<24}" + ("none" if not outcome.wrong else ""))
    for words in outcome.wrong:
        print(f"  {words}")
    if outcome.wrong:
        print(f"kept in {folder}")
        return 1
    shutil.rmtree(folder)
    return 0


if __name__ == "__main__":
    told = [float(word) for word in sys.argv[1:]]
    seed_told, minutes_told, incidents_told, rate_told = told + [SEED, MINUTES, INCIDENTS, RATE][len(told) :]
    sys.exit(main(int(seed_told), minutes_told, int(incidents_told), rate_told))
