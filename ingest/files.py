"""Files and small answers from providers that give files. Shell.

What is asked is a capture of its own: each call is a row of `ops.provider_calls`, each answer that is no file a message. A file
is downloaded whole, then imported by the container path. One that lies in the folder already is not asked for again, and one
that was imported lands once, whoever fetched it.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from ingest.asks import Address, Page, Request, Response
from ingest.imports import ImportReport, import_paths
from ingest.ledger import ALL_ASKED, PATIENCE, CaptureLedger, CaptureReport, begun
from ingest.permits import FREE, Permits
from ingest.recorder import Recorder
from ingest.tallies import Tally
from ingest.transport.backoff import Backoff
from ingest.transport.download import Download
from ingest.transport.http import HttpTransport, is_loopback
from ingest.verdicts import Reading, Verdict
from lake.catalog import Lake
from lake.log.log import Log
from lake.values import Capture, CaptureKind


class FileAsking:
    """What is asked of one provider within one capture."""

    def __init__(
        self,
        ledger: CaptureLedger,
        report: CaptureReport,
        lake: Lake,
        sleep: Callable[[float], None],
        rng: random.Random,
        backoff: Backoff,
        permits: Permits,
    ) -> None:
        self.report = report
        self._ledger, self._lake = ledger, lake
        self._sleep, self._rng, self._backoff, self._permits = sleep, rng, backoff, permits

    def answer(self, address: Address, request: Request, read: Callable[[Response], Reading]) -> tuple[Reading, Response | None]:
        """Ask a small question; return what the last answer meant and the answer, None where there was none."""
        answers: list[Response] = []

        def judged(response: Response) -> Page:
            answers[:] = [response]
            return Page(read(response))

        with HttpTransport(
            address, self._ledger, clock=self._lake.clock, sleep=self._sleep, rng=self._rng, backoff=self._backoff,
            permits=self._permits,
        ) as transport:  # fmt: skip
            reading = transport.fetch(request, judged).reading
        self._note(request, reading)
        return reading, answers[0] if answers else None

    def file(self, address: Address, request: Request, judge: Callable[[Response], Reading], target: Path) -> Reading:
        """Download the answer to a request into `target`, where it does not lie yet; return what the answer meant.

        judge   what an answer means that holds no file
        """
        if target.exists():
            return Reading(Verdict.OK, "downloaded before")
        download = Download(
            address, judge, self._ledger, clock=self._lake.clock, sleep=self._sleep, rng=self._rng, backoff=self._backoff,
            permits=self._permits,
        )  # fmt: skip
        reading = download.fetch(request, target)
        self._note(request, reading)
        return reading

    def _note(self, request: Request, reading: Reading) -> None:
        told = {"verdict": reading.verdict.value, "detail": reading.detail, "retry_after_s": reading.retry_after_s}
        self.report.outcomes.append({"ask": [request.what, *(value for _, value in request.params)], **told})


@contextmanager
def asking_for_files(
    lake: Lake,
    log: Log,
    provider: str,
    feed: str,
    asked: Mapping[str, object],
    *,
    address: Address,
    sleep: Callable[[float], None],
    rng: random.Random | None = None,
    backoff: Backoff = PATIENCE,
    permits: Permits = FREE,
) -> Iterator[FileAsking]:
    """Give one capture's asking; everything that was answered is durable in the log at its end.

    feed   of the answers that are no files, such as lists and prices
    """

    def recorder_of(capture: Capture) -> Recorder:
        partitions = lake.settings.log_partitions
        return Recorder(log, capture, clock=lake.clock, steps=lake.steps, sleep=sleep, partitions=partitions)

    recorder, report = begun(lake, log, provider, feed, CaptureKind.POLL, {"address": address.http, **asked}, recorder_of)
    tally = Tally(lake.state, lake.clock, provider, feed, is_measured=not is_loopback(address.http))
    ledger = CaptureLedger(lake, recorder, report, tally)
    try:
        yield FileAsking(ledger, report, lake, sleep, random.Random() if rng is None else rng, backoff, permits)
    finally:
        recorder.flush()
        tally.flush()
        report.messages, report.ended = recorder.durable, ALL_ASKED


def fetch_file(
    lake: Lake,
    log: Log,
    asking: FileAsking,
    address: Address,
    request: Request,
    judge: Callable[[Response], Reading],
    target: Path,
    provider: str,
    feed: str,
) -> tuple[Reading, ImportReport | None]:
    """Download the answer to a request into `target`, and import it.

    Returns what the provider's answer meant and, where there is a file, what became of it.
    """
    reading = asking.file(address, request, judge, target)
    if reading.verdict is not Verdict.OK:
        return reading, None
    return reading, import_paths(lake, log, provider, feed, [target])
