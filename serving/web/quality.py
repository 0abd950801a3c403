"""Routes of the quality desk, all read-only: history, gaps, holds, how the lake stands."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query, Request, Response

from quality_checks.gaps import GapStatus
from serving import quality
from serving.web import more_examples as examples
from serving.web.parameters import AsOf, Demanded, Limit, Offset, Provider, WireFormat, instant
from serving.web.responses import answers, document, lake_of, respond

router = APIRouter()


@router.get(
    "/quality", responses=answers(examples.QUALITY, tabular=False), response_class=Response, summary="How the lake stands"
)
def get_quality(request: Request) -> Response:
    """Verdicts of the gate, refusals by rule, findings, open gaps and holds. Scores do not exist yet, and none is made up."""
    return document(quality.summary(lake_of(request)), is_kept=False)


@router.get(
    "/quality/{part}", responses=answers(examples.GATE_RUNS), response_class=Response, summary="A part of the quality history"
)
def get_history(
    request: Request,
    part: Annotated[quality.History, Path(description="Gate runs, refused rows, or what was found.")],
    wire: WireFormat,
    demands: Demanded,
    table: Annotated[str | None, Query(description="Only of this table.", examples=["normalized.trades"], max_length=64)] = None,
    provider: Provider = None,
    start: Annotated[str | None, Query(description="Of recorded_at, included.", examples=["2026-11-21T00:00:00Z"])] = None,
    end: Annotated[str | None, Query(description="Of recorded_at, not included.", examples=["2026-11-22T00:00:00Z"])] = None,
    as_of: AsOf = None,
    limit: Limit = 1_000,
    offset: Offset = 0,
) -> Response:
    """Newest first: audits of increments, rows and messages refused with rule and value, findings that were kept."""
    question = quality.HistoryQuestion(table, provider, instant(start), instant(end), instant(as_of), limit, offset)
    return respond(request, quality.history(lake_of(request), part, question), wire, demands)


@router.get("/gaps", responses=answers(examples.GAPS), response_class=Response, summary="What may be missing")
def get_gaps(
    request: Request,
    wire: WireFormat,
    demands: Demanded,
    only_open: Annotated[bool, Query(description="Leave out what is closed: filled, proven empty, unfillable.")] = False,
    provider: Provider = None,
    feed: Annotated[str | None, Query(description="Only of this feed.", examples=["spot"], max_length=64)] = None,
    symbol: Annotated[str | None, Query(description="As the provider writes it.", examples=["BTCUSDT"], max_length=128)] = None,
    table: Annotated[str | None, Query(description="Rows missing there.", examples=["normalized.trades"], max_length=64)] = None,
    status: Annotated[GapStatus | None, Query(description="Only gaps that stand like this.")] = None,
    start: Annotated[str | None, Query(description="Gaps that end after it.", examples=["2026-11-21T00:00:00Z"])] = None,
    end: Annotated[str | None, Query(description="Gaps that begin before it.", examples=["2026-11-22T00:00:00Z"])] = None,
    as_of: AsOf = None,
    limit: Limit = 1_000,
    offset: Offset = 0,
) -> Response:
    """Stretches in which something may be missing, each as its newest row tells it: why, since when, how many facts are known to
    be missing, how many came, who was asked, when somebody is asked again.
    """
    question = quality.GapsQuestion(
        only_open, provider, feed, symbol, table, None if status is None else status.value, instant(start), instant(end),
        instant(as_of), limit, offset,
    )  # fmt: skip
    return respond(request, quality.gaps(lake_of(request), question), wire, demands)


@router.get("/holds", responses=answers(examples.HOLDS), response_class=Response, summary="What the gate holds back")
def get_holds(request: Request, wire: WireFormat) -> Response:
    """Batches refused by the gate and why; released or rejected by a person, on the command line."""
    return respond(request, quality.holds(lake_of(request)), wire)
