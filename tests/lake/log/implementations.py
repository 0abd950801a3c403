"""How each implementation of the log is opened, by name, so that a child process can open the same one."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

from lake.instants import Clock
from lake.log.kafka import KafkaLog
from lake.log.log import Log
from lake.log.segments import SegmentLog


def open_segments(place: Path, clock: Clock) -> SegmentLog:
    """Open a SegmentLog whose segments are a few appends long, so that every test rolls and drops some."""
    return SegmentLog(place, clock, segment_bytes=4_000, segment_age_s=3_600, min_free_bytes=0, min_age_s=60)


def open_dropping(place: Path, clock: Clock) -> SegmentLog:
    """Open one that drops at once what every reader has passed."""
    return SegmentLog(place, clock, segment_bytes=2_000, segment_age_s=3_600, min_free_bytes=0, min_age_s=0)


def kafka_address(place: Path) -> str:
    """Return the address of a log of its own on the broker of the tests: `place` names its prefix."""
    return f"kafka://{os.environ['KAFKA_BOOTSTRAP']}/t{hashlib.sha256(str(place).encode()).hexdigest()[:16]}"


def open_kafka(place: Path, clock: Clock) -> KafkaLog:
    """Open a KafkaLog with topics of its own."""
    return KafkaLog(kafka_address(place), clock, partitions=1, min_age_s=60)


IMPLEMENTATIONS: dict[str, Callable[[Path, Clock], Log]] = {
    "segments": open_segments,
    "dropping": open_dropping,
    "kafka": open_kafka,
}
