"""The log that belongs to a lake's settings: embedded, or on Kafka."""

from __future__ import annotations

from lake.instants import Clock
from lake.log.log import Log
from lake.log.segments import SegmentLog
from lake.settings import Settings


def open_log(settings: Settings, clock: Clock) -> Log:
    """Return the log of a lake, open: on Kafka where `log_url` names a cluster, else the embedded one in `log_path`.

    Raises SettingsError for an address that is none, ProviderUnavailableError when no broker answers.
    """
    if settings.log_url:
        from lake.log.kafka import KafkaLog  # the client library takes a third of a second to import

        return KafkaLog(settings.log_url, clock, partitions=settings.log_partitions, min_age_s=settings.log_retention_s)
    return SegmentLog(
        settings.log_path,
        clock,
        segment_bytes=settings.segment_bytes,
        segment_age_s=settings.segment_age_s,
        min_free_bytes=settings.min_free_bytes,
        min_age_s=settings.log_retention_s,
    )
