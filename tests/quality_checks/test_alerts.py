"""Alerts: raised once, counted, acknowledged, silenced, resolved, told once; each step is a row of history."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from lake.errors import InvalidValueError, NotFoundError
from lake.instants import NANOS_PER_SECOND
from lake.log.outbox import WAITING, Outbox
from lake.log.segments import SegmentLog
from lake.state import State
from quality_checks.alerts import Alert, Alerts, Severity, Status
from tests.ingest.conftest import history_of
from tests.ingest.standing_state import Clock


@pytest.fixture
def log(tmp_path: Path, clock: Clock) -> Iterator[SegmentLog]:
    with SegmentLog(tmp_path / "log", clock, min_free_bytes=1 << 20, min_age_s=0) as log:
        yield log


def statuses(log: SegmentLog) -> list[tuple[object, object]]:
    return [(row["kind"], row["status"]) for row in history_of(log, "quality.alerts")]


def test_one_alert_at_a_time_is_raised_counted_and_resolved(state: State, clock: Clock, log: SegmentLog) -> None:
    alerts = Alerts(state, clock, log)
    first = alerts.raise_alert("breaker_open", "yahoo/chart", Severity.WARNING, "five times HTTP 502")
    assert alerts.raise_alert("breaker_open", "yahoo/chart", Severity.WARNING, "again").count == 1
    clock.move(61)
    assert alerts.raise_alert("breaker_open", "yahoo/chart", Severity.ERROR, "still").count == 2
    (standing,) = alerts.listed()
    assert (standing.alert_id, standing.severity, standing.detail) == (first.alert_id, Severity.ERROR, "still")
    assert alerts.resolve("breaker_open", "yahoo/chart", "a probe came back") is not None
    assert alerts.resolve("breaker_open", "yahoo/chart") is None
    assert alerts.listed() == []
    assert [one.status for one in alerts.listed(only_open=False)] == [Status.RESOLVED]
    clock.move(1)
    assert alerts.raise_alert("breaker_open", "yahoo/chart", Severity.WARNING, "new").alert_id != first.alert_id
    assert statuses(log) == [("breaker_open", "raised"), ("breaker_open", "resolved"), ("breaker_open", "raised")]


def test_a_person_acknowledges_with_a_reason_that_is_audited(state: State, clock: Clock, log: SegmentLog) -> None:
    alerts = Alerts(state, clock, log)
    raised = alerts.raise_alert("provider_down", "finnhub", Severity.ERROR, "all breakers open")
    found = alerts.acknowledge(raised.alert_id, "ann", "their status page knows")
    assert (found.status, found.who) == (Status.ACKNOWLEDGED, "ann")
    assert alerts.due() == []
    assert [one.name for one in alerts.listed()] == ["provider_down/finnhub"]
    assert state.audit_log()[0]["detail"] == {"alert": raised.alert_id}
    assert history_of(log, "quality.alerts")[-1]["detail"] == "their status page knows"
    for name in ("provider_down/yahoo", "provider_down/finnhub@1"):
        with pytest.raises(NotFoundError):
            alerts.acknowledge(name, "ann", "why not")
    with pytest.raises(InvalidValueError):
        alerts.raise_alert("a/b", "x", Severity.INFO, "")


def test_each_is_told_once_unless_silenced_and_a_failing_sink_is_asked_again(state: State, clock: Clock) -> None:
    alerts = Alerts(state, clock)
    told: list[tuple[str, str]] = []

    def send(alert: Alert) -> None:
        told.append((alert.name, alert.status.value))

    def refuse(alert: Alert) -> None:
        raise OSError(f"no way to tell of {alert.name}")

    alerts.silence("breaker_open/*", 3600, "ann", "maintenance")
    alerts.raise_alert("breaker_open", "yahoo/chart", Severity.WARNING, "")
    alerts.raise_alert("few_providers", "all", Severity.WARNING, "")
    with pytest.raises(OSError, match="few_providers"):
        alerts.tell(refuse)
    assert (alerts.tell(send), alerts.tell(send)) == (1, 0)
    alerts.resolve("few_providers", "all")
    assert (alerts.tell(send), alerts.tell(send)) == (1, 0)
    assert told == [("few_providers/all", "raised"), ("few_providers/all", "resolved")]
    clock.move(3601)
    assert alerts.silences() == []
    assert alerts.tell(send) == 1
    assert told[-1] == ("breaker_open/yahoo/chart", "raised")
    with pytest.raises(InvalidValueError):
        alerts.silence("*", 0, "ann", "")


def test_history_waits_in_the_state_for_a_log_that_takes_it(state: State, clock: Clock, log: SegmentLog, tmp_path: Path) -> None:
    with SegmentLog(tmp_path / "full", clock, min_free_bytes=1 << 62) as full:
        Alerts(state, clock, full).raise_alert("breaker_open", "a", Severity.WARNING, "while the disk was full")
    Alerts(state, clock).raise_alert("breaker_open", "b", Severity.WARNING, "by a process without a log")
    assert len(state.documents(WAITING)) == 2
    clock.now_ns += NANOS_PER_SECOND
    Alerts(state, clock, log).raise_alert("breaker_open", "c", Severity.WARNING, "")
    assert sorted(str(row["subject"]) for row in history_of(log, "quality.alerts")) == ["a", "b", "c"]
    assert state.documents(WAITING) == {}
    assert Outbox(state, None).flush() == 0
