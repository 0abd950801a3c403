"""The end of patience with a feed: a flat budget that runs out in silence loses hours, so somebody is told until it answers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from ingest.asks import Request
from ingest.ledger import CaptureReport
from ingest.permits import GRANTED, Leave
from ingest.transport.http import Call
from ingest.verdicts import RETRYABLE, Verdict
from lake.errors import ProviderUnavailableError
from quality_checks.alerts import Alerts, Severity

KIND = "feed_given_up"


class GivingUp:
    """Watches the calls of one feed (`Permits` that always gives leave): an answer resolves the alert that giving up raised."""

    def __init__(self, alerts: Alerts, provider: str, feed: str) -> None:
        self._alerts, self._subject = alerts, f"{provider}/{feed}"
        self._may_stand = True

    def before(self, request: Request) -> Leave:
        """Return leave."""
        return GRANTED

    def after(self, request: Request, call: Call) -> None:
        """Learn that the feed answers again."""
        if self._may_stand and call.reading.verdict in (Verdict.OK, Verdict.EMPTY_VALID):
            self._alerts.resolve(KIND, self._subject, f"it answers again: {call.method}")
            self._may_stand = False

    def unspent(self, request: Request) -> None:
        """Take back leave: none of it was counted."""
        self._may_stand = True

    def told(self, report: CaptureReport) -> None:
        """Learn how a capture ended: an ask whose patience ran out is an alert."""
        lost = [one for one in report.outcomes if Verdict(one["verdict"]) in RETRYABLE]
        if lost:
            words = f"{len(lost)} of {len(report.outcomes)} asks were given up: {lost[-1]['verdict']} {lost[-1]['detail']}"
            self._gave_up(words)

    @contextmanager
    def listening(self) -> Iterator[None]:
        """While a stream is listened to: patience that runs out is an alert, and goes on to the caller."""
        try:
            yield
        except ProviderUnavailableError as error:
            self._gave_up(str(error))
            raise

    def _gave_up(self, words: str) -> None:
        self._alerts.raise_alert(KIND, self._subject, Severity.ERROR, words)
        self._may_stand = True
