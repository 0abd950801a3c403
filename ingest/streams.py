"""Listening to push feeds: one event loop for all sockets of a process, one writer for all that they bring.

Shell. Each connection is one capture: announced before its first message, its messages numbered densely, what it lost an open
gap. A log that is slow or full holds the sockets up, all of them, once `Writer.has_room` says no; nothing received is dropped.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import asdict, dataclass

import orjson

from ingest.asks import Address, Finding, Gap, Page, Request, Response, SessionWithAnswers
from ingest.history import finding_row, gap_rows
from ingest.ledger import PATIENCE, CaptureLedger, CaptureReport, begun
from ingest.permits import FREE, Permits
from ingest.recorder import LOGGER
from ingest.tallies import LISTENED, Tally
from ingest.transport.backoff import Backoff
from ingest.transport.http import HttpTransport, is_loopback
from ingest.transport.websocket import END_OF_RECORDING, STOPPED, StreamTransport
from ingest.verdicts import Reading, Verdict, seconds_told
from ingest.writer import LIMIT_BYTES, QueuedRecorder, Writer
from lake.catalog import Lake
from lake.errors import ProviderUnavailableError
from lake.instants import to_datetime
from lake.log.log import Log
from lake.values import Capture, CaptureKind, Message

_ROOM_LOOK_S = 0.01
_TOLD_EVERY_S = 10.0


@dataclass(frozen=True, slots=True)
class Listening:
    """One connection to listen to.

    part     which of several connections of one feed, such as `2of3`; none: there is one
    permits  for connecting, and for the REST snapshots it needs
    watched  a context for as long as it is listened to; what ends it for good goes through
    """

    provider: str
    feed: str
    session: SessionWithAnswers
    address: Address
    part: str = ""
    permits: Permits = FREE
    watched: Callable[[], AbstractContextManager[None]] = nullcontext

    @property
    def job(self) -> str:
        """Name of the job that tells how its last capture stands."""
        return f"stream:{self.provider}-{self.feed}" + (f"-{self.part}" if self.part else "")

    def standing(self, capture: Capture, ended: str | None) -> dict[str, object]:
        """Return what the job tells of its last capture."""
        told = {"capture_id": capture.capture_id, "ended": ended, "provider": self.provider, "feed": self.feed}
        return {**told, "begun_ns": capture.started_at_ns}


@dataclass(frozen=True, slots=True)
class _Manner:
    """How all connections of a call are listened to."""

    lake: Lake
    log: Log
    writer: Writer
    sleep: Callable[[float], None]
    rng: random.Random
    backoff: Backoff
    is_stopped: Callable[[], bool]
    timeout_s: float


def capture_stream(
    lake: Lake,
    log: Log,
    session: SessionWithAnswers,
    address: Address,
    *,
    provider: str,
    feed: str,
    part: str = "",
    sleep: Callable[[float], None] = time.sleep,
    rng: random.Random | None = None,
    backoff: Backoff = PATIENCE,
    is_stopped: Callable[[], bool] = lambda: False,
    timeout_s: float = 10.0,
    permits: Permits = FREE,
    limit_bytes: int = LIMIT_BYTES,
) -> CaptureReport:
    """Listen to a push feed until it ends, `is_stopped`, or patience with dead connections is over.

    Raises ProviderUnavailableError in the last case, when everything heard is durable, and LogFullError.
    """
    one = Listening(provider, feed, session, address, part, permits)
    found = asyncio.run(_captured(lake, log, [one], sleep, rng, backoff, is_stopped, timeout_s, limit_bytes))[0]
    if isinstance(found, ProviderUnavailableError):
        raise found
    return found


def capture_streams(
    lake: Lake,
    log: Log,
    listenings: Sequence[Listening],
    *,
    sleep: Callable[[float], None] = time.sleep,
    rng: random.Random | None = None,
    backoff: Backoff = PATIENCE,
    is_stopped: Callable[[], bool] = lambda: False,
    timeout_s: float = 10.0,
    limit_bytes: int = LIMIT_BYTES,
) -> list[CaptureReport | ProviderUnavailableError]:
    """Listen to several push feeds at once, in this process, until all have ended or `is_stopped`; return a result for each.

    One whose patience is over has its error in the result, and the others go on. Raises LogFullError, which ends all.
    """
    return asyncio.run(_captured(lake, log, listenings, sleep, rng, backoff, is_stopped, timeout_s, limit_bytes))


async def _captured(
    lake: Lake,
    log: Log,
    listenings: Sequence[Listening],
    sleep: Callable[[float], None],
    rng: random.Random | None,
    backoff: Backoff,
    is_stopped: Callable[[], bool],
    timeout_s: float,
    limit_bytes: int,
) -> list[CaptureReport | ProviderUnavailableError]:
    failures: list[BaseException] = []
    rng = random.Random() if rng is None else rng
    with Writer(log, clock=lake.clock, steps=lake.steps, sleep=sleep, limit_bytes=limit_bytes) as writer:
        manner = _Manner(lake, log, writer, sleep, rng, backoff, lambda: bool(failures) or is_stopped(), timeout_s)

        async def listened(one: Listening) -> CaptureReport | ProviderUnavailableError | None:
            try:
                with one.watched():
                    return await _listened(one, manner)
            except ProviderUnavailableError as error:
                return error
            except Exception as error:  # raised below, once the others have stopped in good order
                failures.append(error)
                return None

        found = await asyncio.gather(*(listened(one) for one in listenings))
    if failures:
        raise failures[0]
    return [each for each in found if each is not None]


async def _listened(one: Listening, manner: _Manner) -> CaptureReport:
    if one.address.stream is None:
        raise ProviderUnavailableError(f"{one.provider} {one.feed}: no stream address", 0.0)
    recorder, report = await asyncio.to_thread(_begin, one, manner)
    is_measured = not is_loopback(one.address.http)
    tally = Tally(manner.lake.state, manner.lake.clock, one.provider, one.feed, is_measured=is_measured, way=LISTENED)
    ledger = CaptureLedger(manner.lake, recorder, report, tally)
    ledger.number = one.session.recorded
    stream = StreamTransport(
        one.address.stream,
        clock=manner.lake.clock,
        sleep=_in_loop(manner.sleep),
        rng=manner.rng,
        backoff=manner.backoff,
        is_stopped=manner.is_stopped,
        timeout_s=manner.timeout_s,
        credentials=one.address.credentials,
        permits=one.permits,
    )
    telling = asyncio.create_task(_tell(one, recorder, manner, tally))
    with HttpTransport(
        one.address,
        ledger,
        clock=manner.lake.clock,
        sleep=manner.sleep,
        rng=manner.rng,
        backoff=manner.backoff,
        timeout_s=manner.timeout_s,
        permits=one.permits,
    ) as transport:
        try:
            heard = await stream.listen(one.session, _Hearing(ledger, recorder, report, transport, manner, tally))
            report.ended, report.connections, report.drops = heard.ended, heard.connections, heard.drops
        finally:
            telling.cancel()
            with suppress(asyncio.CancelledError):
                await telling
            await asyncio.to_thread(recorder.flush)
            tally.told(one.session.events())
            await asyncio.to_thread(tally.flush)
            report.messages = recorder.durable
            report.most_held_bytes = manner.writer.pressure.most_held_bytes
    manner.lake.state.save_job(one.job, one.standing(recorder.capture, report.ended) | {"told_at_ns": manner.lake.clock()})
    return report


class _Hearing:
    """Writes down what one session hears (`Listener`)."""

    def __init__(
        self,
        ledger: CaptureLedger,
        recorder: QueuedRecorder,
        report: CaptureReport,
        transport: HttpTransport,
        manner: _Manner,
        tally: Tally,
    ) -> None:
        self._recorder, self._report, self._transport, self._manner = recorder, report, transport, manner
        self._tally = tally
        self.missed, self.called = ledger.missed, ledger.called
        self._findings = 0

    def heard(self, messages: list[Message]) -> None:
        """Record and count frames."""
        self._recorder.record(messages)
        self._tally.heard(messages)

    def found(self, findings: list[Finding]) -> None:
        """Record findings about the feed."""
        capture_id, now = self._recorder.capture.capture_id, to_datetime(self._manner.lake.clock())
        for each in findings:
            event_id = f"{capture_id}/feed/{self._findings}"
            self._findings += 1
            self._recorder.history(
                "quality.findings", finding_row(event_id, each.kind, "raw.messages", each.detail, now, capture_id)
            )

    async def fetch(self, request: Request) -> None:
        """Ask for a snapshot; the session waits for it, the others do not."""
        page = await asyncio.to_thread(self._transport.fetch, request, _read_snapshot)
        if page.reading.verdict is not Verdict.OK:
            LOGGER.warning("no book snapshot: %s %s", page.reading.verdict.value, page.reading.detail)

    async def room(self) -> bool:
        """Return once the writer has room, or nobody listens any more; and whether that was waited for."""
        if self._manner.writer.has_room:
            return False
        self._report.times_held_up += 1
        while not self._manner.writer.has_room and not self._manner.is_stopped():
            await asyncio.sleep(_ROOM_LOOK_S)
        return True


def _in_loop(sleep: Callable[[float], None]) -> Callable[[float], Awaitable[None]]:
    """Return what an event loop awaits in place of `sleep`: its own timer for the machine's, else a thread that calls it."""
    if sleep is time.sleep:
        return asyncio.sleep

    async def slept(seconds: float) -> None:
        await asyncio.to_thread(sleep, seconds)

    return slept


async def _tell(one: Listening, recorder: QueuedRecorder, manner: _Manner, tally: Tally) -> None:
    """Keep telling in the job how far the capture is and how far the log is behind it, for metrics."""
    while True:
        await asyncio.sleep(_TOLD_EVERY_S)
        told = {**one.standing(recorder.capture, None), "messages": recorder.durable}
        document = {**told, **asdict(manner.writer.pressure), "told_at_ns": manner.lake.clock()}
        await asyncio.to_thread(manner.lake.state.save_job, one.job, document)
        tally.told(one.session.events())
        await asyncio.to_thread(tally.flush)


def _begin(one: Listening, manner: _Manner) -> tuple[QueuedRecorder, CaptureReport]:
    """Begin a capture; a gap opens when the one before it did not end in good order (killed, refused, given up).

    The gap is told before the job is: whoever dies between the two is followed by the same words again.
    """
    lake = manner.lake

    def recorder_of(capture: Capture) -> QueuedRecorder:
        return manner.writer.recorder(capture, lake.settings.log_partitions)

    detail = {"address": one.address.stream, "target": one.session.target, "wanted": dict(one.session.wanted)}
    detail |= {"part": one.part} if one.part else {}
    before = lake.state.job(one.job)
    if before is not None and before.get("told_at_ns"):  # how long it listened, durable: quality_checks/heard.py
        detail["before"] = {"capture_id": before["capture_id"], "until": to_datetime(before["told_at_ns"]).isoformat()}
    recorder, report = begun(lake, manner.log, one.provider, one.feed, CaptureKind.LIVE, detail, recorder_of)
    if before is not None and before["ended"] not in (END_OF_RECORDING, STOPPED):
        told = "ended without a word" if before["ended"] is None else f"ended: {before['ended']}"
        gap = Gap(0, "", "all channels", "open", f"capture {before['capture_id']} {told}", None, None)
        row = gap_rows(recorder.capture, [gap], lake.clock())
        name = row.schema.get_field_index("gap_id")
        row = row.set_column(name, row.schema.field(name), [[f"{before['capture_id']}-gap-end"]])
        recorder.history("quality.gaps", row)
    lake.state.save_job(one.job, one.standing(recorder.capture, None))
    return recorder, report


def _read_snapshot(response: Response) -> Page:
    """Judge a REST snapshot of a stream's provider by status and wholeness: its decoder judges the rest."""
    wait_s = seconds_told(response.headers.get("retry-after", ""))
    if response.status in (418, 429):
        return Page(Reading(Verdict.THROTTLED, f"HTTP {response.status}", wait_s))
    if response.status >= 500:
        return Page(Reading(Verdict.UPSTREAM_5XX, f"HTTP {response.status}", wait_s))
    if response.status != 200:
        return Page(Reading(Verdict.BAD_REQUEST, f"HTTP {response.status}: {response.body[:200].decode('utf-8', 'replace')}"))
    try:
        document = orjson.loads(response.body) if response.is_complete else None
    except orjson.JSONDecodeError:
        document = None
    if not isinstance(document, dict) or "lastUpdateId" not in document:
        return Page(Reading(Verdict.MALFORMED, "no book: expected JSON with lastUpdateId"))
    return Page(Reading(Verdict.OK))
