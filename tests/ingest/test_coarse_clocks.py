"""Polygon's stream tells milliseconds, its history nanoseconds: the lake has each trade and quote once, whichever came first."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import orjson
import pytest

from ingest.ledger import begun
from ingest.recorder import Recorder
from lake.as_of import ledger
from lake.catalog import Lake
from lake.conditions import Where
from lake.instants import to_datetime, to_ns
from lake.log.segments import SegmentLog
from lake.scan import read
from lake.values import CaptureKind, Message
from quality_checks.promotion import adds_up
from quality_checks.rebuild import rebuild
from quality_checks.verify import verify
from tests.ingest.filling import opened, turn

SAMPLES = Path(__file__).parents[1] / "samples" / "polygon" / "market"
HISTORY = {kind: orjson.loads((SAMPLES / f"{kind}.json").read_bytes())["results"] for kind in ("trades", "quotes")}
"""Recorded answers of Polygon (tests/samples/polygon/market/ORIGIN.md)."""
TABLES = {"trades": "normalized.trades", "quotes": "normalized.quotes"}
HEARD_FIRST, TOLD_FIRST, CONTRADICTED = "AAPL", "MSFT", "IBM"
MILLI = 1_000_000


def frames(symbol: str, moved_ms: int = 0) -> list[bytes]:
    """The recorded trades and quotes as the stream tells them: stamps in milliseconds, names in short."""
    trades = [
        {
            "ev": "T", "sym": symbol, "x": each["exchange"], "i": each["id"], "z": each["tape"], "p": each["price"],
            "s": each["size"], "c": each["conditions"], "t": each["sip_timestamp"] // MILLI + moved_ms,
            "q": each["sequence_number"],
        }
        for each in HISTORY["trades"]
    ]  # fmt: skip
    quotes = [
        {
            "ev": "Q", "sym": symbol, "bx": each["bid_exchange"], "bp": each["bid_price"], "bs": each["bid_size"],
            "ax": each["ask_exchange"], "ap": each["ask_price"], "as": each["ask_size"], "t": each["sip_timestamp"] // MILLI,
            "q": each["sequence_number"], "z": each["tape"],
        }
        for each in ([] if moved_ms else HISTORY["quotes"])
    ]  # fmt: skip
    return [orjson.dumps([each]) for each in trades + quotes]


def heard(symbol: str, moved_ms: int = 0) -> tuple[CaptureKind, list[tuple[bytes, str | None]]]:
    return CaptureKind.LIVE, [(frame, None) for frame in frames(symbol, moved_ms)]


def told(symbol: str) -> tuple[CaptureKind, list[tuple[bytes, str | None]]]:
    bodies = [
        ((SAMPLES / f"{kind}.json").read_bytes(), f'{{"url":"https://api.polygon.io/v3/{kind}/{symbol}"}}') for kind in HISTORY
    ]
    return CaptureKind.BACKFILL, list(bodies)


@dataclass
class Twice:
    """A lake that was told everything twice; `between` is the moment before the second time."""

    lake: Lake
    log: SegmentLog
    between: datetime


def landed(lake: Lake, log: SegmentLog, *captures: tuple[CaptureKind, Sequence[tuple[bytes, str | None]]]) -> None:
    """Record captures, and do what the pipeline does."""
    for kind, messages in captures:
        recorder, _ = begun(
            lake, log, "polygon", "market", kind, {},
            lambda capture: Recorder(log, capture, clock=lake.clock, steps=lake.steps, sleep=lambda seconds: None),
        )  # fmt: skip
        recorder.record(
            [Message(n, lake.clock(), "application/json", body, request) for n, (body, request) in enumerate(messages)]
        )
        recorder.flush()
    turn(lake, log)


@pytest.fixture(scope="module")
def twice(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Twice]:
    lake, log = opened(tmp_path_factory.mktemp("twice"))
    with lake, log:
        landed(lake, log, heard(HEARD_FIRST), told(TOLD_FIRST), heard(CONTRADICTED, moved_ms=2))
        between = to_datetime(lake.clock())
        landed(lake, log, told(HEARD_FIRST), heard(TOLD_FIRST), told(CONTRADICTED))
        yield Twice(lake, log, between)


@pytest.mark.parametrize("kind", HISTORY)
@pytest.mark.parametrize(("symbol", "unit_ns"), [(HEARD_FIRST, MILLI), (TOLD_FIRST, 1)])
def test_each_fact_stands_once_as_it_was_told_first(twice: Twice, kind: str, symbol: str, unit_ns: int) -> None:
    names = ["ts_event", "ts_event_nanos"]
    rows = read(twice.lake, TABLES[kind], names, [Where("symbol", "=", symbol)]).to_pylist()
    stamps = [each["sip_timestamp"] // unit_ns * unit_ns for each in HISTORY[kind]]
    assert sorted(to_ns(row["ts_event"]) + row["ts_event_nanos"] for row in rows) == sorted(stamps)
    then = read(twice.lake, TABLES[kind], names, [Where("symbol", "=", symbol)], as_of=twice.between).to_pylist()
    known = read(twice.lake, TABLES[kind], names, [Where("symbol", "=", symbol)], known_as_of=twice.between).to_pylist()
    key = [(row["ts_event"], row["ts_event_nanos"]) for row in rows]
    for moment in (then, known):
        assert sorted((row["ts_event"], row["ts_event_nanos"]) for row in moment) == sorted(key), "what came later moved nothing"


def test_the_second_telling_is_a_repetition_and_a_contradiction_is_refused(twice: Twice) -> None:
    refused = read(twice.lake, "quality.quarantine", ["table_name", "rule", "value"]).to_pylist()
    assert [(row["table_name"], row["rule"]) for row in refused] == [(TABLES["trades"], "conflicting_duplicate")] * 2
    assert read(twice.lake, "quality.findings", ["kind"]).num_rows == 0
    entries = {name: [one.counts for one in ledger(twice.lake, name) if one.owner == "polygon"] for name in TABLES.values()}
    assert all(adds_up(counts) for told_by in entries.values() for counts in told_by)
    assert sum(counts["repeated"] for counts in entries[TABLES["trades"]]) == 2 * len(HISTORY["trades"])
    assert sum(counts["repeated"] for counts in entries[TABLES["quotes"]]) == 2 * len(HISTORY["quotes"])


def test_a_rebuild_gives_the_same_and_every_count_is_proved(twice: Twice) -> None:
    assert [rebuild(twice.lake, table).is_same for table in TABLES.values()] == [True, True]
    report = verify(twice.lake, twice.log)
    assert report.is_ok, report.failed
