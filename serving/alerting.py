"""Alerts as they stand, events of health as they were, and telling people by a command of theirs."""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Sequence
from typing import Any

import orjson

from lake import scan
from lake.catalog import Lake
from lake.conditions import Where
from lake.errors import InvalidValueError, ProviderUnavailableError
from lake.instants import to_datetime
from quality_checks.alerts import Alert, Alerts
from serving.answers import Answered, newest, page, snapshots_of, told
from serving.formats import plain_value

EVENTS = "ops.health_events"
_PATIENCE_S = 30.0
_AGAIN_S = 60.0


def alerts_now(lake: Lake, *, only_open: bool = True) -> dict[str, Any]:
    """Return the alerts, newest first, and the silences in force."""
    alerts = Alerts(lake.state, lake.clock)
    found = alerts.listed(only_open=only_open)
    shown = [{**one.document(), "name": one.name, "is_silenced": alerts.is_silenced(one)} for one in found]
    return {
        "answered_at": to_datetime(lake.clock()),
        "open_count": sum(one.is_open for one in found),
        "alerts": shown,
        "silences": [one.document() for one in alerts.silences()],
    }


def health_events(
    lake: Lake, kinds: Sequence[str] = (), provider: str | None = None, limit: int = 1_000, offset: int = 0
) -> Answered:
    """Return events of the health of providers that have landed, newest first."""
    snapshots = snapshots_of(lake, EVENTS)
    where = [] if provider is None else [Where("provider", "=", provider)]
    where += [Where("kind", "in", list(kinds))] if kinds else []
    rows = scan.read(lake, EVENTS, where=where)
    shown, more = page(rows.sort_by([("recorded_at", "descending"), ("event_id", "ascending")]), limit, offset)
    return Answered(shown, {**told(lake, snapshots, newest(rows, "recorded_at")), **more})


def tell_by(command: str, alerts: Alerts) -> int:
    """Run a command for each alert that nobody was told of, the alert as JSON on its standard input; returns how many.

    It is run without a shell. One that fails or hangs stops the telling: ProviderUnavailableError, and the rest stays due.
    Raises InvalidValueError for a command that cannot be run.
    """
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise InvalidValueError(f"command {command!r}: {error}") from error
    if not words:
        raise InvalidValueError("an empty command tells nobody")

    def send(alert: Alert) -> None:
        body = orjson.dumps(plain_value({**alert.document(), "name": alert.name}))
        try:
            done = subprocess.run(words, input=body, capture_output=True, timeout=_PATIENCE_S, check=False)
        except (FileNotFoundError, PermissionError) as error:
            raise InvalidValueError(f"command {words[0]!r} cannot be run: {error}") from error
        except (OSError, subprocess.TimeoutExpired) as error:
            raise ProviderUnavailableError(f"{words[0]} did not take alert {alert.name}: {error}", _AGAIN_S) from error
        if done.returncode != 0:
            said = done.stderr.decode("utf-8", "replace").strip()[-300:]
            raise ProviderUnavailableError(f"{words[0]} ended with {done.returncode} for alert {alert.name}: {said}", _AGAIN_S)

    return alerts.tell(send)
