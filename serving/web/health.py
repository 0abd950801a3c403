"""Routes of health: whether the lake answers, how providers stand, what changed, and what a person should look at."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response

from ingest.health import STANDING, Kind
from lake.tables import TABLES
from serving import alerting
from serving.web import examples
from serving.web.access import Caller, caller_of
from serving.web.parameters import Demanded, Limit, Offset, Provider, WireFormat
from serving.web.responses import answers, document, lake_of, respond

router = APIRouter()
_ALERTS: dict[str, Any] = {
    "answered_at": "2026-11-21T14:31:00Z",
    "open_count": 1,
    "alerts": [
        {
            "alert_id": "breaker_open/yahoo/chart@1795271400000000000",
            "name": "breaker_open/yahoo/chart",
            "severity": "warning",
            "status": "raised",
            "detail": "UPSTREAM_5XX: HTTP 502",
            "raised_at": "2026-11-21T14:30:00Z",
            "count": 1,
            "is_silenced": False,
        }
    ],
    "silences": [],
}
_EVENTS: dict[str, Any] = {
    "metadata": {"snapshots": {"ops.health_events": "3821550127947089009"}, "total_count": 1, "has_more": False},
    "row_count": 1,
    "columns": {
        "kind": ["failover"],
        "provider": ["yahoo"],
        "endpoint": ["chart"],
        "verdict": ["UPSTREAM_5XX"],
        "detail": ["TSLA 1d: HTTP 502; next: alpaca"],
    },
}


@router.get(
    "/health", responses=answers(examples.HEALTH, tabular=False), response_class=Response, summary="Whether the lake answers"
)
def get_health(request: Request) -> Response:
    """The snapshot of every table, the batches that the gate holds, how providers stand, alerts that nobody resolved; without
    a key, where one is needed, the status only.
    """
    lake = lake_of(request)
    body: dict[str, object] = {"status": "ok", "version": request.app.version}
    heads = {name: lake.head(name) for name in TABLES}
    if caller_of(request) is not Caller.NOBODY:
        body["tables"] = {name: {"snapshot": str(head.snapshot_id), "holds": len(head.holds)} for name, head in heads.items()}
        body["holds"] = [hold.hold_id for head in heads.values() for hold in head.holds]
        body["providers"] = lake.state.documents(STANDING)
        body["alerts"] = [one["name"] for one in alerting.alerts_now(lake)["alerts"]]
    return document(body, is_kept=False)


@router.get("/health/events", responses=answers(_EVENTS), response_class=Response, summary="What changed in how providers stand")
def get_health_events(
    request: Request,
    wire: WireFormat,
    demands: Demanded,
    kind: Annotated[list[Kind] | None, Query(description="Only of these kinds.", examples=[["failover"]])] = None,
    provider: Provider = None,
    limit: Limit = 1_000,
    offset: Offset = 0,
) -> Response:
    """Breakers opened, probed and closed, providers up, degraded or down, failovers with their reason; newest first."""
    found = alerting.health_events(lake_of(request), [one.value for one in kind or ()], provider, limit, offset)
    return respond(request, found, wire, demands)


@router.get("/alerts", responses=answers(_ALERTS, tabular=False), response_class=Response, summary="What a person should look at")
def get_alerts(
    request: Request,
    only_open: Annotated[bool, Query(description="False: resolved ones too, as they stood last.")] = True,
) -> Response:
    """Alerts, newest first, and the silences in force; acknowledged and silenced by a person, on the command line."""
    return document(alerting.alerts_now(lake_of(request), only_open=only_open), is_kept=False)
