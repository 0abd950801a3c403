"""The whole job in one process, on a small recording: `python -m tests.end_to_end.job HOME`.

Capture from the simulator, import, land, promote, adjust, release, reject and verify, each through its public function, in
the order of `tickhouse demo`. Safe to run again after any crash: the crash tests kill it at a boundary of `lake.steps` and
start it again. Prints one JSON document.
"""

from __future__ import annotations

import json
import sys
import threading
import tomllib
from dataclasses import asdict
from datetime import datetime
from pathlib import Path

import pyarrow as pa

from ingest.capture import capture_once, capture_pages, capture_stream
from ingest.imports import import_paths
from ingest.landing import land, unlanded
from ingest.providers.binance import MarketSession, default_streams
from ingest.providers.yahoo import Chart
from ingest.simulator.faults import Faults, HttpFault, StreamFault
from ingest.simulator.recorded import FOLDER
from ingest.simulator.server import Simulator
from lake.catalog import Lake
from lake.content import content_hash
from lake.instants import parse_instant, system_clock, to_datetime
from lake.log import opening
from lake.log.log import RAW_TOPIC, Log
from lake.scan import read
from lake.settings import load_settings
from lake.tables import TABLES
from quality_checks.adjusting import adjust
from quality_checks.building import build
from quality_checks.holds import list_holds, reject, release
from quality_checks.promotion import promote, providers_of
from quality_checks.verify import verify
from serving.bars import bars_1d_at, in_force

FILES = FOLDER / "ice_reorg"
"""AAPL's bars as traded, their mapping, and announcements of splits."""
REORG = ("reorg.20200727", "reorg.20200728", "reorg.20200731")
LATE_REORG = "reorg.20200918"
ASKED = ("AAPL", "MSFT")
"""Symbols asked of Yahoo."""
FRAMES = 450
"""Frames of Binance's spot recording."""
FAULTS = Faults(
    http=(HttpFault("status", path="/AAPL", status=429), HttpFault("truncate", path="/MSFT")),
    stream=(
        StreamFault("garble", "spot", 30),
        StreamFault("duplicate", "spot", 60, 64),
        StreamFault("reorder", "spot", 70, 79),
        StreamFault("scale", "spot", 10, 14),
        StreamFault("drop", "spot", 300, overlap=20),
    ),
    seed=3,
)
AAPL_BARS: dict[str, object] = tomllib.loads((FILES / "aapl_raw.toml").read_text(encoding="utf-8"))
WRONG_SCALE_FILE = "wrong_scale.csv"
WRONG_SCALE = "time,close,open,high,low\n2020-08-03 04:00:00,10,10,10,10\n2020-08-04 04:00:00,2000,2000,2000,2000\n"
"""Two bars of a made-up listing, the second in hundredths: held by the gate, then rejected."""
WRONG_SCALE_BARS = AAPL_BARS | {
    "symbol": "MADE",
    "columns": {name: name for name in ("time", "open", "high", "low", "close")},
}
DELIVERED = parse_instant("2020-10-02T12:00:00Z")
HASHED = [name for name, table in TABLES.items() if table.namespace in ("normalized", "reference", "adjusted")]


def open_log(lake: Lake) -> Log:
    """Return the log of a lake, as the command line opens it."""
    return opening.open_log(lake.settings, system_clock)


def waited(seconds: float) -> None:
    """Wait, but at most a second: a broker that is started again needs real time, a provider's wish for patience does not."""
    threading.Event().wait(min(seconds, 1.0))


def captured(lake: Lake, log: Log) -> None:
    """Poll Yahoo and listen to Binance, each once; a capture that died is begun anew. Only a broker is waited for."""
    sleep = waited if str(lake.settings.log_url).startswith("kafka") else lambda seconds: None
    with Simulator(faults=FAULTS, excerpt=FRAMES, markets=("spot",)) as sim:
        asks = [ask for ask in sim.yahoo_asks() if ask.symbol in ASKED]
        capture_once(
            lake,
            "yahoo",
            lambda: capture_pages(lake, log, Chart(), asks, sim.yahoo, provider="yahoo", feed="chart", sleep=sleep),
        )
        capture_once(
            lake,
            "spot",
            lambda: capture_stream(
                lake,
                log,
                MarketSession(default_streams("spot", "BTCUSDT"), "spot"),
                sim.binance("spot"),
                provider="binance",
                feed="spot",
                sleep=sleep,
            ),
        )


def imported(lake: Lake, log: Log, scratch: Path) -> None:
    """Import AAPL's bars as traded and the announcements of its split."""
    import_paths(lake, log, "csv", "bars", [FILES / "aapl_raw.csv"], DELIVERED, AAPL_BARS)
    import_paths(lake, log, "ice", "reorg", [FILES / name for name in REORG], DELIVERED)
    promoted(lake, log)
    wrong = scratch / WRONG_SCALE_FILE
    wrong.write_text(WRONG_SCALE, encoding="utf-8")
    import_paths(lake, log, "csv", "bars", [wrong], DELIVERED, WRONG_SCALE_BARS)


def promoted(lake: Lake, log: Log) -> None:
    """Land and promote what there is, to the adjusted layer."""
    land(lake, log)
    for provider in providers_of(lake):
        promote(lake, provider)
    adjust(lake)
    build(lake)


def decided(lake: Lake) -> None:
    """Reject the held bars; release what else is held without the rows that fail."""
    for hold in list_holds(lake):
        if hold.table == "normalized.bars":
            reject(lake, hold.hold_id, "prices in hundredths")
        else:
            release(lake, hold.hold_id, "a run of frames was scaled", without_failed=True)
    adjust(lake)
    build(lake)


def hashes(lake: Lake, as_of: datetime | None = None) -> dict[str, str]:
    """Return the business content hash of every table of facts, of the rows in force.

    A table with revisions is appended to: where an input came late, the row published last is in force for its key.
    """
    return {name: content_hash(TABLES[name], rows_in_force(lake, name, as_of)) for name in HASHED}


def rows_in_force(lake: Lake, name: str, as_of: datetime | None = None) -> pa.Table:
    """Return the rows of a table that readers go by."""
    if name == "adjusted.bars_1d" and as_of is not None:
        return bars_1d_at(lake, as_of, None)
    if "known_at" in TABLES[name].key:
        return in_force(lake, name, [], as_of, None)
    return read(lake, name, as_of=as_of)


def messages_in(log: Log) -> int:
    """Return the messages of every block of the raw log."""
    count = 0
    for partition, bounds in log.bounds(RAW_TOPIC).items():
        offset = bounds.first
        while offset < bounds.next:
            batch = log.read(RAW_TOPIC, partition, offset, 1 << 24, 0.0)
            count += sum(block.count for _, block in batch.blocks)
            offset = batch.next_offset
    return count


def document(lake: Lake, log: Log) -> dict[str, object]:
    """Return what a run is judged by."""
    report = verify(lake, log)
    return {
        "captured": messages_in(log),
        "landed": read(lake, "raw.messages", ["message_seq"]).num_rows,
        "unlanded": unlanded(lake, log),
        "verify_failed": [asdict(check) for check in report.failed],
        "verified": len(report.checks),
        "rows": {name: read(lake, name, ["instrument_id"]).num_rows for name in HASHED},
        "quarantined": read(lake, "quality.quarantine", ["rule"])["rule"].to_pylist(),
        "holds": [hold.hold_id for hold in list_holds(lake)],
        "hashes": hashes(lake),
    }


def run(home: Path, kill_at: str = "", log_url: str = "") -> dict[str, object]:
    """Do the whole job on the lake at `home`, going on where an earlier run died; see `lake.steps` for `kill_at`.

    log_url   of a log on Kafka; empty: the embedded one
    """
    with Lake.create(load_settings(home=home, kill_at=kill_at, log_url=log_url), system_clock) as lake:
        log = open_log(lake)
        captured(lake, log)
        imported(lake, log, home)
        promoted(lake, log)
        before_decisions = to_datetime(lake.clock())
        as_of = {"at": before_decisions.isoformat(), "hashes": hashes(lake, before_decisions)}
        decided(lake)
        land(lake, log)
        return {**document(lake, log), "as_of": as_of}


def main(home: str, kill_at: str, answer: str, log_url: str = "") -> None:
    """Run the job and write its document to the file `answer`: what a process of its own is started with."""
    Path(answer).write_text(json.dumps(run(Path(home), kill_at, log_url), default=str), encoding="utf-8")


if __name__ == "__main__":
    print(json.dumps(run(Path(sys.argv[1])), default=str))
