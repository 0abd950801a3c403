"""The Data Integration Service's four calls."""

from __future__ import annotations

from collections import Counter
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from serving.answers import parse_bound
from serving.demands import NO_SCORES
from serving.instruments import instrument_named
from serving.integration import jobs
from serving.integration.views import issues
from serving.integration.worker import Worker
from serving.web import integration_forms as forms
from serving.web import more_examples as examples
from serving.web.access import caller_of, name_of
from serving.web.responses import answers, document, lake_of, problems_of

router = APIRouter(prefix="/integration")


class Process(BaseModel):
    """What to bring in."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [examples.PROCESS]})

    source: str = Field(description="A provider, as /feeds lists it.", min_length=1, max_length=64, examples=["yahoo"])
    data_type: jobs.DataType = Field(description="Fundamental and alternative data have no feed yet.")
    instruments: list[Annotated[str, Field(min_length=1, max_length=64)]] = Field(
        [], description="Symbols as the source writes them; none: everything it offers.", max_length=jobs.MAX_INSTRUMENTS
    )
    timeframe: str | None = Field(None, description="Length of bars, where the source is polled.", max_length=16, examples=["1d"])
    quality_threshold: float | None = Field(
        None, ge=0, le=1, allow_inf_nan=False, description="Scores do not exist yet: more than 0 is refused with 412."
    )


def _accepted(example: dict[str, Any]) -> dict[int | str, dict[str, Any]]:
    found = answers(example, tabular=False, schema=forms.JOB)
    return {202: {**found.pop(200), "description": "Kept; it runs by and by."}, **found, **problems_of(400, 412)}


@router.post(
    "/process", status_code=202, responses=_accepted(examples.JOB), response_class=Response, summary="Bring data in: a job"
)
def post_process(request: Request, wanted: Process) -> Response:
    """Asks the source (the simulator, unless TICKHOUSE_JOBS_FROM says otherwise), lands, promotes; survives a restart."""
    asked = jobs.Request(wanted.source, wanted.data_type, tuple(wanted.instruments), wanted.timeframe, wanted.quality_threshold)
    job = jobs.receive(lake_of(request), asked, name_of(caller_of(request)))
    worker: Worker = request.app.state.worker
    worker.wake()
    response = document(job.document(), 202, is_kept=False)
    response.headers["Location"] = f"/api/v1/integration/status/{job.request_id}"
    return response


@router.get(
    "/status/{request_id}",
    responses=answers(examples.JOB, tabular=False, schema=forms.JOB),
    response_class=Response,
    summary="How far a job is",
)
def get_status(
    request: Request,
    request_id: Annotated[
        str, Path(description="As POST /integration/process returned it.", examples=["job-0f3b"], max_length=128)
    ],
) -> Response:
    """The same answer as the request got, as things stand now."""
    return document(jobs.job_named(lake_of(request), request_id).document(), is_kept=False)


@router.get(
    "/quality/{instrument_id:path}",
    responses=answers(examples.ISSUES, tabular=False, schema=forms.QUALITY),
    response_class=Response,
    summary="Quality of one instrument",
)
def get_quality(
    request: Request,
    instrument_id: Annotated[
        str, Path(description="An id, a symbol or an identity key.", examples=["AAPL"], min_length=1, max_length=128)
    ],
    start: Annotated[str | None, Query(description="Of the finding, included.", examples=["2026-11-21"])] = None,
    end: Annotated[str | None, Query(description="Of the finding, not included.", examples=["2026-11-22"])] = None,
) -> Response:
    """One record a UTC day with findings in `[start, end)`; a date means its midnight, UTC. Scores are null so far."""
    lake = lake_of(request)
    instrument = instrument_named(lake, instrument_id)
    found = issues(lake, instrument.instrument_id, parse_bound(start, "start"), parse_bound(end, "end"))
    return document(found, is_kept=False)


@router.get(
    "/health",
    responses=answers(examples.JOBS, tabular=False, schema=forms.HEALTH),
    response_class=Response,
    summary="Whether jobs are run",
)
def get_health(request: Request) -> Response:
    """Jobs by status, and whether somebody works on them."""
    found = jobs.jobs(lake_of(request))
    worker: Worker = request.app.state.worker
    counts = Counter(job.status.value for job in found)
    waiting = any(job.status in jobs.UNFINISHED for job in found)
    body = {
        "status": "ok" if worker.is_running or not waiting else "waiting",
        "jobs": {status.value: counts[status.value] for status in jobs.Status},
        "is_running": worker.is_running,
        "quality_note": NO_SCORES,
    }
    return document(body, is_kept=False)
