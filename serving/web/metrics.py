"""GET /metrics in Prometheus' text form, and GET /providers. Read from the state at each scrape.

Labels are bounded: providers, feeds, verdicts, windows, kinds of alerts are lists of ours; of endpoints the first fifty by name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from fastapi import APIRouter, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.openmetrics.exposition import CONTENT_TYPE_LATEST as OPEN_METRICS
from prometheus_client.openmetrics.exposition import generate_latest as open_metrics

from ingest.clock_offset import agreed
from ingest.configured import Configured
from ingest.tallies import BUCKETS_MS, CALLS, SLOWER, TOOK, TOOK_US, clock_offsets
from lake import tallies
from lake.catalog import Lake
from quality_checks.alerts import Alerts
from serving.operate.standing import Standings
from serving.web.responses import answers, document, lake_of

router = APIRouter()
MAX_ENDPOINTS = 50
_POSITIONS = ("closed", "half_open", "open")
_NS = 1e9
_EXAMPLE: dict[str, Any] = {
    "providers": [
        {
            "provider": "alpaca",
            "is_enabled": True,
            "standing": "up",
            "plan": "free",
            "key": "present",
            "sessions": [{"feed": "iex", "is_listening": True, "last_message_age_s": 0.2}],
            "calls": {"OK": 120, "THROTTLED": 1},
            "latency_s": {"p50": 0.08, "p95": 0.21},
            "quotas": [{"window": "60 s", "used": 12, "limit": 200, "whole_at": "2026-11-21T09:31:00+00:00"}],
            "breakers": [{"endpoint": "stocks/bars", "position": "closed"}],
            "open_gaps": 0,
            "open_spans": 2,
            "missed_in_silence": 13,
            "usd_this_month": 0.0,
        }
    ]
}


@router.get(
    "/providers",
    responses=answers(_EXAMPLE, tabular=False),
    response_class=Response,
    summary="How each provider stands",
)
def get_providers(request: Request) -> Response:
    """Sessions, calls by verdict, latency, quotas used and left, breakers, open gaps, cost, whether its key is there."""
    standings: Standings = request.app.state.standings
    return document({"providers": standings.all()}, is_kept=False)


def get_metrics(request: Request) -> Response:
    """Return what Prometheus scrapes, in the form it asks for."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collected(lake_of(request), request.app.state.standings, request.app.state.configured))
    if "application/openmetrics-text" in request.headers.get("accept", ""):
        told = open_metrics(registry)  # type: ignore[no-untyped-call]  # its twin for the text form has types
        return Response(told, media_type=OPEN_METRICS, headers={"Cache-Control": "no-store"})
    return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST, headers={"Cache-Control": "no-store"})


class _Collected:
    """One scrape (prometheus_client's `Collector`)."""

    def __init__(self, lake: Lake, standings: Standings, configured: Configured) -> None:
        self._lake, self._standings, self._configured = lake, standings, configured

    def collect(self) -> Iterator[Metric]:
        """Yield every metric."""
        found = self._standings.all()
        yield from _of_calls(self._lake)
        yield from _of_sessions(found)
        yield from _of_limits(found)
        yield from _of_clock(self._lake)
        yield from _of_operation(self._lake, self._configured)


def _of_calls(lake: Lake) -> Iterator[Metric]:
    counted = tallies.read(lake.state)
    calls = CounterMetricFamily(
        "tickhouse_provider_calls", "Calls and connections, by what the answer meant.", labels=["provider", "feed", "verdict"]
    )
    for key, value in counted.items():
        if key.name == CALLS:
            calls.add_metric([key.provider, key.feed, key.label], value)
    yield calls
    seconds = HistogramMetricFamily("tickhouse_provider_call_seconds", "How long requests took.", labels=["provider"])
    for provider in sorted({key.provider for key in counted if key.name == TOOK}):
        classes = {key: value for key, value in counted.items() if key.provider == provider}
        below, buckets = 0, []
        for edge in (*map(str, BUCKETS_MS), SLOWER):
            below += sum(value for key, value in classes.items() if key.name == TOOK and key.label == edge)
            buckets.append(("+Inf" if edge == SLOWER else str(int(edge) / 1_000), below))
        took_us = sum(value for key, value in classes.items() if key.name == TOOK_US)
        seconds.add_metric([provider], buckets, took_us / 1e6)
    yield seconds


def _of_sessions(found: Iterable[Mapping[str, Any]]) -> Iterator[Metric]:
    rows = [(each["provider"], session) for each in found for session in each["sessions"]]
    labels = ["provider", "feed"]
    messages = CounterMetricFamily("tickhouse_provider_messages", "Messages received.", labels=labels)
    reconnects = CounterMetricFamily("tickhouse_provider_reconnects", "Connections made again after a drop.", labels=labels)
    last = GaugeMetricFamily("tickhouse_provider_last_message_timestamp_seconds", "When the last message came.", labels=labels)
    stale = GaugeMetricFamily("tickhouse_provider_staleness_seconds", "Age of a stream's newest data.", labels=labels)
    is_stale = GaugeMetricFamily(
        "tickhouse_provider_stale", "1: no data for longer than is allowed, although its market is open.", labels=labels
    )
    listening = GaugeMetricFamily("tickhouse_provider_listening", "Whether a stream is listened to.", labels=labels)
    held = GaugeMetricFamily("tickhouse_provider_held_bytes", "Received and not yet durable.", labels=labels)
    for provider, session in rows:
        where = [provider, session["feed"]]
        messages.add_metric(where, session["messages"])
        reconnects.add_metric(where, session["reconnects"])
        listening.add_metric(where, session["is_listening"])
        held.add_metric(where, session["held_bytes"])
        is_stale.add_metric(where, session["is_stale"])
        if session["last_message_at"] is not None:
            last.add_metric(where, session["last_message_at"].timestamp())
            if session["is_listening"]:
                age_s = session["data_age_s"]
                stale.add_metric(where, session["last_message_age_s"] if age_s is None else age_s)
    received = CounterMetricFamily("tickhouse_provider_received_bytes", "Bytes of answers and frames.", labels=["provider"])
    for each in found:
        received.add_metric([each["provider"]], each["bytes"])
    yield from (messages, reconnects, last, stale, is_stale, listening, held, received)


def _of_limits(found: Iterable[Mapping[str, Any]]) -> Iterator[Metric]:
    windows = ["provider", "key", "window"]
    left = GaugeMetricFamily("tickhouse_provider_quota_left", "What a window of the plan still lets pass.", labels=windows)
    limit = GaugeMetricFamily("tickhouse_provider_quota_limit", "What a window of the plan lets pass.", labels=windows)
    state = GaugeMetricFamily(
        "tickhouse_provider_breaker_state", "1 where the breaker stands.", labels=["provider", "endpoint", "state"]
    )
    gaps = GaugeMetricFamily("tickhouse_provider_open_gaps", "Gaps that nothing has closed.", labels=["provider"])
    spans = GaugeMetricFamily("tickhouse_provider_open_spans", "Spans that are to be reconciled.", labels=["provider"])
    missed = GaugeMetricFamily(
        "tickhouse_provider_missed_in_silence", "Rows that a feed never pushed and reconciling found.", labels=["provider"]
    )
    enabled = GaugeMetricFamily("tickhouse_provider_enabled", "Whether it may be asked.", labels=["provider"])
    cost = GaugeMetricFamily("tickhouse_provider_cost_usd", "Spent this month.", labels=["provider"])
    for each in found:
        name = each["provider"]
        for quota in each["quotas"]:
            for window in quota["windows"]:
                left.add_metric([name, quota["key"], window["window"]], max(window["limit"] - window["used"], 0))
                limit.add_metric([name, quota["key"], window["window"]], window["limit"])
        for breaker in sorted(each["breakers"], key=lambda one: str(one["endpoint"]))[:MAX_ENDPOINTS]:
            for position in _POSITIONS:
                state.add_metric([name, breaker["endpoint"], position], breaker["position"] == position)
        gaps.add_metric([name], each["open_gaps"])
        spans.add_metric([name], each["open_spans"])
        missed.add_metric([name], each["missed_in_silence"])
        enabled.add_metric([name], each["is_enabled"])
        cost.add_metric([name], each["usd_this_month"])
    yield from (left, limit, state, gaps, spans, missed, enabled, cost)


def _of_clock(lake: Lake) -> Iterator[Metric]:
    bounds = agreed(clock_offsets(lake.state).values(), lake.clock())
    shown: Mapping[str, tuple[str, Callable[[Any], float]]] = {
        "tickhouse_clock_offset_low_seconds": ("Providers' clocks less ours: at least.", lambda one: one.low_ns / _NS),
        "tickhouse_clock_offset_high_seconds": ("Providers' clocks less ours: at most.", lambda one: one.high_ns / _NS),
        "tickhouse_clock_surely_wrong_seconds": ("Our clock is wrong by at least this.", lambda one: one.surely_ns / _NS),
    }
    for name, (words, value) in shown.items():
        metric = GaugeMetricFamily(name, words)
        if bounds is not None:
            metric.add_metric([], value(bounds))
        yield metric


def _of_operation(lake: Lake, configured: Configured) -> Iterator[Metric]:
    alerts = GaugeMetricFamily("tickhouse_alerts_open", "Alerts that stand.", labels=["kind", "severity"])
    counts: dict[tuple[str, str], int] = {}
    for alert in Alerts(lake.state, lake.clock).listed():
        counts[alert.kind, alert.severity.value] = counts.get((alert.kind, alert.severity.value), 0) + 1
    for labels, count in counts.items():
        alerts.add_metric(list(labels), count)
    yield alerts
    version = GaugeMetricFamily("tickhouse_configuration_version", "Version in force; 0: all as shipped.")
    version.add_metric([], configured.now().version)
    yield version
    refused = GaugeMetricFamily("tickhouse_configuration_refused", "Whether the file is refused, and an older version goes on.")
    refused.add_metric([], bool(configured.refusal()))
    yield refused
