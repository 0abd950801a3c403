"""Jobs of POST /integration/process: what is asked, how far it is, kept in the lake's state so that a restart goes on.

A job is whole: it asks the provider (by default the simulator: nothing leaves the machine unasked), lands and promotes. For a
source that nobody can ask (csv, ice: files are imported) it promotes what has landed.

    RECEIVED     kept; a crash after this loses nothing
    VALIDATED    begun: source, type and instruments can be asked
    PROCESSED    captured, landed, through the gate; where the gate holds a batch the job ends here and says so
    DISTRIBUTED  published: API, SQL, stream and catalog serve it
    FAILED       with error_message; ask again
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from typing import Any

from ingest.providers.registry import PROVIDERS
from lake.catalog import Lake
from lake.errors import DemandError, InvalidValueError, NotFoundError
from lake.instants import NANOS_PER_SECOND, to_datetime
from serving.demands import NO_SCORES
from transforms.calendars import parse_interval
from transforms.feeds import FEEDS

PREFIX = "integration/"
MAX_INSTRUMENTS = 1_000
_NANOS_PER_MS = 1_000_000


class DataType(StrEnum):
    """What a job is about."""

    MARKET_DATA = "MARKET_DATA"
    CORPORATE_ACTIONS = "CORPORATE_ACTIONS"
    FUNDAMENTAL_DATA = "FUNDAMENTAL_DATA"
    ALTERNATIVE_DATA = "ALTERNATIVE_DATA"
    REFERENCE_DATA = "REFERENCE_DATA"


class Status(StrEnum):
    """How far a job is."""

    RECEIVED = "RECEIVED"
    VALIDATED = "VALIDATED"
    PROCESSED = "PROCESSED"
    DISTRIBUTED = "DISTRIBUTED"
    FAILED = "FAILED"


UNFINISHED = (Status.RECEIVED, Status.VALIDATED)
_TABLES = {
    DataType.MARKET_DATA: ("normalized.trades", "normalized.quotes", "normalized.book_events", "normalized.bars"),
    DataType.CORPORATE_ACTIONS: ("normalized.corporate_actions",),
}


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked. No instruments: everything the source offers (of the simulator: everything recorded)."""

    source: str
    data_type: DataType
    instruments: tuple[str, ...] = ()
    timeframe: str | None = None
    quality_threshold: float | None = None


@dataclass(frozen=True, slots=True)
class Job:
    """One request and what became of it.

    processed_count   rows published that the job's own captures brought; what was here already adds none
    failed_count      facts and messages in quarantine, and rows held
    captures          the captures the job made; none for a source that cannot be asked
    """

    request_id: str
    request: Request
    status: Status
    created_at_ns: int
    started_at_ns: int | None = None
    completed_at_ns: int | None = None
    processed_count: int = 0
    failed_count: int = 0
    error_message: str | None = None
    captures: tuple[str, ...] = ()
    detail: dict[str, Any] = field(default_factory=dict)

    @property
    def processing_time_ms(self) -> int | None:
        """From begin to end; None while it runs."""
        if self.started_at_ns is None or self.completed_at_ns is None:
            return None
        return (self.completed_at_ns - self.started_at_ns) // _NANOS_PER_MS

    def document(self) -> dict[str, object]:
        """Return the answer of the API."""
        return {
            "request_id": self.request_id,
            "status": self.status.value,
            "processed_count": self.processed_count,
            "failed_count": self.failed_count,
            "quality_score": None,
            "quality_note": NO_SCORES,
            "processing_time_ms": self.processing_time_ms,
            "source": self.request.source,
            "data_type": self.request.data_type.value,
            "instruments": list(self.request.instruments),
            "timeframe": self.request.timeframe,
            "error_message": self.error_message,
            "created_at": to_datetime(self.created_at_ns),
            "captures": list(self.captures),
            "detail": self.detail,
        }


def receive(lake: Lake, request: Request, who: str) -> Job:
    """Return a job that is kept and waits to be run.

    Raises NotFoundError for an unknown source, InvalidValueError for what the source does not carry, DemandError for a quality
    threshold, which nothing can prove while there are no scores.
    """
    check(request)
    job = Job(f"job-{uuid.uuid4().hex}", request, Status.RECEIVED, lake.clock())
    save(lake, job)
    lake.state.audit(
        who, "integration.process", request.data_type.value, {"request_id": job.request_id, "source": request.source}
    )
    return job


def check(request: Request) -> None:
    """Raise as `receive` does for a request that cannot be done."""
    feeds = [feed for feed in FEEDS.values() if feed.provider == request.source]
    if not feeds:
        known = sorted({feed.provider for feed in FEEDS.values()})
        raise NotFoundError(f"no source {request.source!r}; there are {', '.join(known)}")
    if request.data_type in (DataType.FUNDAMENTAL_DATA, DataType.ALTERNATIVE_DATA):
        raise InvalidValueError(f"{request.data_type.value}: no feed carries it yet")
    wanted = _TABLES.get(request.data_type)
    if wanted is not None and not any(set(feed.tables) & set(wanted) for feed in feeds):
        raise InvalidValueError(f"{request.source} carries no {request.data_type.value}")
    if len(request.instruments) > MAX_INSTRUMENTS:
        raise InvalidValueError(f"{len(request.instruments)} instruments; at most {MAX_INSTRUMENTS} a job")
    if request.timeframe is not None:
        parse_interval(request.timeframe)
    if request.quality_threshold:
        raise DemandError(
            f"quality_threshold {request.quality_threshold:g} cannot be proven: {NO_SCORES}; send 0 or leave it out"
        )


def is_asked(source: str) -> bool:
    """Return whether a job asks the source itself, or promotes what has landed."""
    return source in PROVIDERS


def save(lake: Lake, job: Job) -> Job:
    """Keep a job as it is now, and return it."""
    document = asdict(job)
    lake.state.save_job(PREFIX + job.request_id, document)
    return job


def job_named(lake: Lake, request_id: str) -> Job:
    """Return a job. Raises NotFoundError."""
    found = lake.state.job(PREFIX + request_id)
    if found is None:
        raise NotFoundError(f"no job {request_id!r}; POST /integration/process returns the ids")
    return _read(found)


def jobs(lake: Lake) -> list[Job]:
    """Return every job, oldest first."""
    found = [_read(document) for document in lake.state.jobs(PREFIX).values()]
    return sorted(found, key=lambda job: (job.created_at_ns, job.request_id))


def failed(lake: Lake, job: Job, message: str) -> Job:
    """Return the job, kept as failed."""
    return save(lake, replace(job, status=Status.FAILED, error_message=message, completed_at_ns=lake.clock()))


def throughput(job: Job) -> float | None:
    """Return rows a second of a finished job."""
    if job.started_at_ns is None or job.completed_at_ns is None or job.completed_at_ns == job.started_at_ns:
        return None
    return job.processed_count * NANOS_PER_SECOND / (job.completed_at_ns - job.started_at_ns)


def _read(document: Mapping[str, Any]) -> Job:
    asked = document["request"]
    request = Request(
        asked["source"],
        DataType(asked["data_type"]),
        tuple(asked["instruments"]),
        asked["timeframe"],
        asked["quality_threshold"],
    )
    fields = {**document, "request": request, "status": Status(document["status"]), "captures": tuple(document["captures"])}
    return Job(**fields)
