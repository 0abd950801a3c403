"""A small lake with a history, and what the tests of recovery ask of one."""

from __future__ import annotations

from pathlib import Path

from lake.backup.stores import LocalStore
from lake.catalog import Lake
from lake.commits import append
from lake.content import content_hash
from lake.instants import system_clock
from lake.log.blocks import decode_messages, split_messages
from lake.log.log import RAW_TOPIC
from lake.log.opening import open_log
from lake.log.segments import SegmentLog
from lake.publish import publish, stage
from lake.scan import read
from lake.settings import Settings, load_settings
from lake.tables import TABLES
from lake.values import Capture, CaptureKind, Message, MessageRange
from tests.lake.made import messages, trade_batch

RAW, TRADES = "raw.messages", "normalized.trades"


def settings_at(home: Path) -> Settings:
    return load_settings(home=home)


def embedded_log(lake: Lake) -> SegmentLog:
    log = open_log(lake.settings, system_clock)
    assert isinstance(log, SegmentLog)
    return log


def grow(lake: Lake, first: int, last: int) -> None:
    """Land messages first..last and publish a trade of each."""
    before = {"0": first} if first else {}
    ranges = [MessageRange("c1", first, last)]
    append(lake, RAW, messages(first, last), "raw", before, {"0": last + 1}, "land", ranges)
    publish(lake, stage(lake, trade_batch(first, last)))


def content(lake: Lake) -> dict[str, str]:
    """Return the content hash of the tables that `grow` fills."""
    return {name: content_hash(TABLES[name], read(lake, name)) for name in (RAW, TRADES)}


def now_ns() -> int:
    return system_clock() // 1_000 * 1_000


def capture_into(log: SegmentLog, first: int, last: int) -> None:
    """Append messages to the raw log, one block each, and land nothing."""
    capture = Capture("c9", "binance", "spot", CaptureKind.LIVE, system_clock(), "0", "-")
    for number in range(first, last + 1):
        log.append(RAW_TOPIC, 0, split_messages(capture, [Message(number, system_clock(), "text/plain", b"m%d" % number)]))


def payloads(log: SegmentLog, offset: int) -> list[bytes]:
    """Return the payloads that the raw log holds from `offset` on."""
    batch = log.read(RAW_TOPIC, 0, offset, 1 << 20, 0.0)
    return [found for _, block in batch.blocks for found in decode_messages(block.payload)["payload"].to_pylist()]


def object_path(store: LocalStore, digest: str) -> Path:
    return store.root / "objects" / digest[:2] / digest
