"""The log that belongs to a lake's settings."""

from __future__ import annotations

from lake.instants import system_clock
from lake.log.log import Log
from lake.log.segments import SegmentLog
from lake.settings import Settings


def open_log(settings: Settings) -> Log:
    """Return the embedded log of a lake, open."""
    return SegmentLog(
        settings.log_path,
        system_clock,
        segment_bytes=settings.segment_bytes,
        segment_age_s=settings.segment_age_s,
        min_free_bytes=settings.min_free_bytes,
        min_age_s=settings.log_retention_s,
    )
