"""What the demo does to a lake: captures, imports, turns of the pipeline, one decision about a held batch.

Every act is safe to repeat: a capture that was completed is remembered in state, a file lands once, a hold is decided once.
So a demo that was killed ends like one that was not, and a second one finds nothing to do.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import orjson

from ingest.capture import CaptureReport, capture_once
from ingest.imports import import_paths
from ingest.reach import Reach
from ingest.simulator import DEMO, Simulator
from ingest.simulator.asking import recorded_asks
from ingest.simulator.recorded import FOLDER
from lake.catalog import Lake
from lake.errors import QualityError
from lake.heads import Hold
from lake.log.log import Log
from lake.scan import read
from quality_checks import holds
from quality_checks.building import build
from serving.operate import asking, pipeline


@dataclass(frozen=True, slots=True)
class Size:
    """How much of the recordings the demo takes.

    excerpt         messages of each stream: enough for every planned fault, small enough to be quick
    batch_messages  messages of a batch: several a stream, so that one can be held while the feed goes on
    symbols         of Yahoo's recorded charts; none: all
    """

    excerpt: int = 3_000
    batch_messages: int = 2_500
    symbols: tuple[str, ...] = ()


WHOLE = Size()
WANTED = {
    "demo-yahoo": asking.Wanted("yahoo"),
    "demo-binance-spot": asking.Wanted("binance", "spot"),
    "demo-binance-usdm": asking.Wanted("binance", "usdm"),
}
FILES = FOLDER / "ice_reorg"
_FAULTS, _HELD = "demo:faults", "demo:held"
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Acts:
    """What was done, now or in an earlier run.

    captures  reports of completed captures, by job
    imports   reports of imported files
    faults    what the simulator did wrong on purpose
    held      decisions about held batches: hold, refusal of the plain release, outcome
    is_new    whether anything was captured or imported in this run
    """

    captures: dict[str, dict[str, Any]]
    imports: list[dict[str, Any]]
    faults: list[dict[str, Any]]
    held: list[dict[str, Any]]
    is_new: bool

    @property
    def capture_ids(self) -> list[str]:
        """Captures and imports of the demo."""
        return [
            *(str(report["capture_id"]) for report in self.captures.values()),
            *(str(file["capture_id"]) for report in self.imports for file in report["files"]),
        ]


def perform(lake: Lake, log: Log, size: Size, say: Say) -> Acts:
    """Do everything that is not done yet, and return what there is then."""
    captures, faults, is_new = _capture(lake, log, size, say)
    say("importing as-traded bars of AAPL and reorganisation notices")
    imports = _import(lake, log)
    is_new = is_new or any(report["appended"] for report in imports)
    pipeline.turn(lake, log, say=say)
    held = _decide(lake, say)
    return Acts(captures, imports, faults, held, is_new)


def _capture(lake: Lake, log: Log, size: Size, say: Say) -> tuple[dict[str, dict[str, Any]], list[dict[str, Any]], bool]:
    done = {key: lake.state.job(f"capture:{key}") for key in WANTED}
    if all(report is not None for report in done.values()):
        told = lake.state.job(_FAULTS) or {"faults": []}
        return {key: report for key, report in done.items() if report is not None}, told["faults"], False
    reports: dict[str, dict[str, Any]] = {}
    with Simulator(faults=DEMO, excerpt=size.excerpt) as simulator:
        reach = asking.reach_of(simulator)
        for key, wanted in WANTED.items():
            say(f"capturing {wanted.provider} {wanted.feed or ''}".rstrip())
            asks = tuple(ask for ask in recorded_asks(wanted.provider) if ask.symbol in size.symbols)
            wanted = replace(wanted, asks=asks)
            reports[key], _ = capture_once(lake, key, partial(_first, lake, log, wanted, reach))
            lake.state.save_job(_FAULTS, {"faults": _joined(lake, simulator.summary())})
    return reports, (lake.state.job(_FAULTS) or {"faults": []})["faults"], True


def _first(lake: Lake, log: Log, wanted: asking.Wanted, reach: Reach) -> CaptureReport:
    return asking.capture(lake, log, wanted, reach)[0]


def _joined(lake: Lake, faults: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Add the faults of this simulator to those of an earlier, interrupted run; the same fault stands once."""
    before = (lake.state.job(_FAULTS) or {"faults": []})["faults"]
    found = {(each["fault"], each["where"]): each for each in [*before, *faults]}
    return list(found.values())


def _import(lake: Lake, log: Log) -> list[dict[str, Any]]:
    mapping = tomllib.loads((FILES / "aapl_raw.toml").read_text(encoding="utf-8"))
    reports = [
        import_paths(lake, log, "csv", "bars", [FILES / "aapl_raw.csv"], mapping=mapping),
        import_paths(lake, log, "ice", "reorg", sorted(FILES.glob("reorg.*"))),
    ]
    return [report.document() for report in reports]


def _decide(lake: Lake, say: Say) -> list[dict[str, Any]]:
    """Decide about the batches from the simulator that the gate holds; holds of other data are left alone."""
    told = lake.state.job(_HELD) or {}
    simulated = _simulated_captures(lake)
    for hold in holds.list_holds(lake):
        if {one.capture_id for one in hold.ranges} <= simulated and hold.hold_id not in told:
            told[hold.hold_id] = _described(hold)
    lake.state.save_job(_HELD, told)
    for hold_id, story in told.items():
        if "decision" not in story:
            say(f"deciding about {hold_id}")
            story.setdefault("refusal", _refusal(lake, hold_id))
            lake.state.save_job(_HELD, told)
            decision = holds.release(lake, hold_id, "demo: prices a hundred times too high", without_failed=True, who="demo")
            story["decision"] = decision.document()
            lake.state.save_job(_HELD, told)
    build(lake)  # released trades are in bars too
    return list(told.values())


def _simulated_captures(lake: Lake) -> set[str]:
    """Return the captures that asked an address on loopback; also those of a demo that was killed on the way."""
    found = read(lake, "ops.captures", ["capture_id", "detail"])
    details = [orjson.loads(text or "{}") for text in found["detail"].to_pylist()]
    pairs = zip(found["capture_id"].to_pylist(), details, strict=True)
    return {name for name, detail in pairs if "127.0.0.1" in str(detail.get("address", ""))}


def _described(hold: Hold) -> dict[str, Any]:
    return {
        "hold_id": hold.hold_id,
        "table": hold.table,
        "owner": hold.owner,
        "run_id": hold.run_id,
        "row_count": hold.row_count,
        "report": dict(hold.report),
    }


def _refusal(lake: Lake, hold_id: str) -> str | None:
    """Try the plain release that the gate must refuse; None when the hold was settled by a run that died before saying so."""
    try:
        holds.release(lake, hold_id, "demo: try it as it is", who="demo")
    except QualityError as error:
        return str(error)
    return None
