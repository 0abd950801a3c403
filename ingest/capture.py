"""Capturing: a provider's answers and frames into the log, and what went wrong on the way into the history.

Shell. Each function is one capture: it announces itself in ops.captures before its first message, numbers its messages
densely, and everything it was given is durable in the log when it returns. What a push feed lost is an open gap.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from typing import Any

from ingest.asks import Address, Ask, Pages
from ingest.ledger import ALL_ASKED, PATIENCE, CaptureLedger, begun
from ingest.ledger import CaptureReport as CaptureReport
from ingest.permits import FREE, Permits
from ingest.recorder import Recorder
from ingest.streams import Listening as Listening
from ingest.streams import capture_stream as capture_stream
from ingest.streams import capture_streams as capture_streams
from ingest.tallies import Tally
from ingest.transport.backoff import Backoff
from ingest.transport.http import WHOLE_S, HttpTransport, is_loopback
from ingest.verdicts import REFUSED
from lake.catalog import Lake
from lake.log.log import Log
from lake.values import Capture, CaptureKind


def capture_pages(
    lake: Lake,
    log: Log,
    pages: Pages,
    asks: Sequence[Ask],
    address: Address,
    *,
    provider: str,
    feed: str,
    kind: CaptureKind = CaptureKind.POLL,
    sleep: Callable[[float], None] = time.sleep,
    rng: random.Random | None = None,
    backoff: Backoff = PATIENCE,
    timeout_s: float = 30.0,
    whole_s: float = WHOLE_S,
    pause_s: float = 0.0,
    permits: Permits = FREE,
) -> CaptureReport:
    """Ask a provider each of `asks`, in order, `pause_s` apart; returns what came of them.

    An ask that fails for good is an outcome, not an exception. A refusal that every further ask would meet (credentials,
    entitlement, quota, no leave of `permits`) ends the capture. Raises InvalidValueError for an ask that cannot be put,
    LogFullError.
    """
    for ask in asks:
        pages.first(ask)
    asked = [[ask.symbol, ask.interval, ask.start.isoformat(), ask.end.isoformat()] for ask in asks]

    def recorder_of(capture: Capture) -> Recorder:
        partitions = lake.settings.log_partitions
        return Recorder(log, capture, clock=lake.clock, steps=lake.steps, sleep=sleep, partitions=partitions)

    recorder, report = begun(lake, log, provider, feed, kind, {"address": address.http, "asks": asked}, recorder_of)
    tally = Tally(lake.state, lake.clock, provider, feed, is_measured=not is_loopback(address.http))
    ledger = CaptureLedger(lake, recorder, report, tally)
    report.ended = ALL_ASKED
    rng = random.Random() if rng is None else rng
    with HttpTransport(
        address, ledger, clock=lake.clock, sleep=sleep, rng=rng, backoff=backoff, timeout_s=timeout_s, whole_s=whole_s,
        permits=permits,
    ) as transport:  # fmt: skip
        for number, (ask, words) in enumerate(zip(asks, asked, strict=True)):
            if number and pause_s > 0:
                sleep(pause_s)
            reading = transport.ask(pages, ask)
            tally.flush_if_due()
            told = {"verdict": reading.verdict.value, "detail": reading.detail, "retry_after_s": reading.retry_after_s}
            report.outcomes.append({"ask": words, **told})
            if reading.verdict in REFUSED:
                report.ended = f"refused: {reading.verdict.value} {reading.detail}"
                break
    recorder.flush()
    tally.flush()
    report.messages = recorder.durable
    return report


def capture_once(lake: Lake, job_key: str, run: Callable[[], CaptureReport]) -> tuple[dict[str, Any], bool]:
    """Return (report document, whether it was captured now): `run` only when no capture of `job_key` has been completed.

    A capture that left something to ask again for is reported and not remembered.
    """
    done = lake.state.job(f"capture:{job_key}")
    if done is not None:
        return done, False
    report = run()
    document = report.document()
    if report.is_complete:
        lake.state.save_job(f"capture:{job_key}", document)
    return document, True
