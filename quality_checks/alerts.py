"""Alerts: what a person should look at, from the moment it is raised until it is resolved.

What stands now is state, one document a (kind, subject); each raising, acknowledgement and resolution is a row of
quality.alerts. Raising never waits for anybody to be told: whoever runs the system tells what is `due`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import Any

import pyarrow as pa

from lake.errors import InvalidValueError, NotFoundError
from lake.instants import NANOS_PER_SECOND, Clock, to_datetime
from lake.log.log import Log
from lake.log.outbox import Outbox
from lake.state import State
from lake.tables import rows, table_named

ALERT, SILENCE = "alert", "silence"
_TOLD_AGAIN_NS = 60 * NANOS_PER_SECOND
"""An alert raised again sooner than this after the last time is not even counted: a storm writes little."""


class Severity(StrEnum):
    """How much an alert matters."""

    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class Status(StrEnum):
    """Where an alert stands."""

    RAISED = "raised"
    ACKNOWLEDGED = "acknowledged"
    RESOLVED = "resolved"


@dataclass(frozen=True, slots=True)
class Alert:
    """One alert.

    subject      who or what it concerns: there is one alert at a time of a kind about a subject
    count        times it was raised again, at most once a minute
    told         the status that the people behind the sink know
    """

    alert_id: str
    kind: str
    subject: str
    severity: Severity
    status: Status
    detail: str
    raised_at_ns: int
    seen_at_ns: int
    count: int = 1
    who: str = "tickhouse"
    reason: str = ""
    told: str = ""

    @property
    def name(self) -> str:
        """Kind and subject, by which a person names it."""
        return f"{self.kind}/{self.subject}"

    @property
    def is_open(self) -> bool:
        """Whether it is not resolved."""
        return self.status is not Status.RESOLVED

    def document(self) -> dict[str, Any]:
        """Return it as plain values."""
        times = {"raised_at": to_datetime(self.raised_at_ns), "seen_at": to_datetime(self.seen_at_ns)}
        return {**{name: value for name, value in asdict(self).items() if not name.endswith("_ns")}, **times}


@dataclass(frozen=True, slots=True)
class Silence:
    """Nobody is told of alerts whose `kind/subject` fits the pattern, until then; they are raised and listed all the same."""

    pattern: str
    until_ns: int
    who: str
    reason: str

    def document(self) -> dict[str, Any]:
        """Return it as plain values."""
        return {"pattern": self.pattern, "until": to_datetime(self.until_ns), "who": self.who, "reason": self.reason}


class Alerts:
    """The alerts of one lake; `log` takes their history (without one it waits for a process that has one)."""

    def __init__(self, state: State, clock: Clock, log: Log | None = None) -> None:
        self._state, self._clock, self._outbox = state, clock, Outbox(state, log)

    def raise_alert(self, kind: str, subject: str, severity: Severity, detail: str) -> Alert:
        """Raise an alert, or count it once more when it stands already; returns how it stands."""
        if not kind or not subject or "/" in kind:
            raise InvalidValueError(f"alert {kind!r} about {subject!r}: expected a kind without a slash, and a subject")
        found, now_ns = self._find(f"{kind}/{subject}"), self._clock()
        if found is not None and found.is_open and now_ns - found.seen_at_ns < _TOLD_AGAIN_NS:
            return found
        fresh = Alert(f"{kind}/{subject}@{now_ns}", kind, subject, severity, Status.RAISED, detail, now_ns, now_ns)

        def change(before: Alert | None) -> Alert:
            if before is None or not before.is_open:
                return fresh
            return replace(before, seen_at_ns=now_ns, count=before.count + 1, detail=detail, severity=severity)

        return self._changed(fresh.name, change)

    def resolve(self, kind: str, subject: str, detail: str = "", who: str = "tickhouse") -> Alert | None:
        """Resolve the alert of a kind about a subject; None when none stands."""
        found, now_ns = self._find(f"{kind}/{subject}"), self._clock()
        if found is None or not found.is_open:
            return None

        def change(before: Alert | None) -> Alert:
            assert before is not None  # documents of alerts are replaced, never taken away
            if not before.is_open:
                return before
            return replace(before, status=Status.RESOLVED, seen_at_ns=now_ns, who=who, reason=detail)

        return self._changed(found.name, change)

    def acknowledge(self, name: str, who: str, reason: str) -> Alert:
        """Take note of an open alert, by `kind/subject` or its id: it stands, and nobody is told of it again.

        Raises NotFoundError when no open alert has the name.
        """
        found = self._open(name)

        def change(before: Alert | None) -> Alert:
            assert before is not None  # documents of alerts are replaced, never taken away
            return replace(before, status=Status.ACKNOWLEDGED, who=who, reason=reason) if before.is_open else before

        self._state.audit(who, "acknowledge alert", reason, {"alert": found.alert_id})
        return self._changed(found.name, change)

    def close(self, name: str, who: str, reason: str) -> Alert:
        """Resolve an open alert by a person's word, by `kind/subject` or its id: what it stopped goes on.

        Raises NotFoundError when no open alert has the name.
        """
        found = self._open(name)
        self._state.audit(who, "resolve alert", reason, {"alert": found.alert_id})
        return self.resolve(found.kind, found.subject, reason, who) or found

    def _open(self, name: str) -> Alert:
        """Return the open alert of a name, `kind/subject` or its id. Raises NotFoundError."""
        found = self._find(name.partition("@")[0])
        if found is None or not found.is_open or name not in (found.name, found.alert_id):
            raise NotFoundError(f"no open alert {name!r}; `tickhouse alerts` lists them")
        return found

    def is_open(self, kind: str, subject: str) -> bool:
        """Return whether an alert of a kind about a subject stands."""
        found = self._find(f"{kind}/{subject}")
        return found is not None and found.is_open

    def listed(self, *, only_open: bool = True) -> list[Alert]:
        """Return the alerts, the newest first; resolved ones as they stood last."""
        found = [_alert_of(document) for document in self._state.documents(ALERT).values()]
        return sorted((one for one in found if one.is_open or not only_open), key=lambda one: -one.raised_at_ns)

    def silence(self, pattern: str, seconds: float, who: str, reason: str) -> Silence:
        """Tell nobody of alerts whose `kind/subject` fits a pattern (`*` any text), for so long. Raises InvalidValueError."""
        if not pattern or not 0 < seconds <= 366 * 86_400:
            raise InvalidValueError(f"silence of {pattern!r} for {seconds:g} s: expected a pattern, and up to a year")
        made = Silence(pattern, self._clock() + int(seconds * NANOS_PER_SECOND), who, reason)
        self._state.audit(who, "silence alerts", reason, {"pattern": pattern, "seconds": seconds})
        self._state.save_document(SILENCE, pattern, asdict(made))
        return made

    def silences(self) -> list[Silence]:
        """Return the silences in force."""
        found = [Silence(**document) for document in self._state.documents(SILENCE).values()]
        return [one for one in found if one.until_ns > self._clock()]

    def is_silenced(self, alert: Alert) -> bool:
        """Return whether a silence in force covers an alert."""
        return any(fnmatchcase(alert.name, one.pattern) for one in self.silences())

    def due(self) -> list[Alert]:
        """Return the alerts whose raising or resolution nobody was told of, silenced ones left out."""
        silences = [one.pattern for one in self.silences()]
        found = [
            one
            for one in self.listed(only_open=False)
            if (one.status is Status.RAISED and one.told != Status.RAISED)
            or (one.status is Status.RESOLVED and one.told == Status.RAISED)
        ]
        return [one for one in reversed(found) if not any(fnmatchcase(one.name, pattern) for pattern in silences)]

    def tell(self, send: Callable[[Alert], None]) -> int:
        """Send what is due, each until `send` returned once; returns how many. What `send` raises stops, the rest stays due."""
        due = self.due()
        for alert in due:
            send(alert)
            self._mark_told(alert)
        return len(due)

    def _mark_told(self, sent: Alert) -> None:
        """Mark an alert with what was sent of it; a newer one of the name stays unmarked."""

        def change(before: Alert | None) -> Alert:
            assert before is not None  # documents of alerts are replaced, never taken away
            return replace(before, told=sent.status.value) if before.alert_id == sent.alert_id else before

        self._changed(sent.name, change)

    def _find(self, name: str) -> Alert | None:
        found = self._state.document(ALERT, name)
        return None if found is None else _alert_of(found)

    def _changed(self, name: str, change: Callable[[Alert | None], Alert]) -> Alert:
        """Change an alert in one transaction; a new status, or a new alert, is a row of quality.alerts."""
        stood: list[Alert | None] = []

        def put(document: Mapping[str, Any] | None) -> dict[str, Any]:
            before = None if document is None else _alert_of(document)
            stood[:] = [before]
            return asdict(change(before))

        document = self._state.change_document(ALERT, name, put)
        assert document is not None  # `put` never takes one away
        now, before = _alert_of(document), stood[0]
        if before is None or (before.alert_id, before.status) != (now.alert_id, now.status):
            self._outbox.put("quality.alerts", _row(now, to_datetime(self._clock())))
        return now


def _alert_of(document: Mapping[str, Any]) -> Alert:
    return Alert(**{**document, "severity": Severity(document["severity"]), "status": Status(document["status"])})


def _row(alert: Alert, recorded_at: datetime) -> pa.Table:
    detail = alert.reason if alert.status is not Status.RAISED and alert.reason else alert.detail
    values = (alert.alert_id, alert.kind, alert.subject, alert.severity.value, alert.status.value, alert.who, detail, recorded_at)
    table = table_named("quality.alerts")
    return rows(table, {name: [value] for name, value in zip(table.column_names, values, strict=True)})
