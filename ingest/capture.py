"""Capturing: a provider's answers and frames into the log, and what went wrong on the way into the history.

Shell. Each function is one capture: it announces itself in ops.captures before its first message, numbers its messages
densely, and everything it was given is durable in the log when it returns. What a push feed lost is an open gap.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import orjson

from ingest.asks import Address, Ask, Gap, Page, Pages, Request, Response, SessionWithAnswers
from ingest.history import call_row, gap_rows
from ingest.permits import FREE, Permits
from ingest.recorder import LOGGER, Recorder, code_version, new_capture_id
from ingest.transport.backoff import Backoff
from ingest.transport.http import Call, HttpTransport
from ingest.transport.websocket import END_OF_RECORDING, STOPPED, StreamTransport
from ingest.verdicts import REFUSED, RETRYABLE, Reading, Verdict
from lake.catalog import Lake
from lake.errors import ProviderUnavailableError
from lake.log.log import HISTORY_TOPIC, RAW_TOPIC, Log
from lake.values import Capture, CaptureKind, Message

PATIENCE = Backoff()
"""How often and how long a capture asks again, where the caller does not say."""
ALL_ASKED = "all asked"
_SECRET_HEADERS = frozenset({"set-cookie", "cookie", "authorization", "x-api-key", "proxy-authenticate", "www-authenticate"})


@dataclass(slots=True)
class CaptureReport:
    """What one capture did.

    outcomes   per ask: what was asked and what the last answer meant
    verdicts   calls by verdict, retried ones included
    gaps_open  gaps that nothing has closed yet
    """

    capture_id: str
    provider: str
    feed: str
    kind: str
    messages: int = 0
    ended: str = ""
    outcomes: list[dict[str, Any]] = field(default_factory=list)
    verdicts: dict[str, int] = field(default_factory=dict)
    calls: list[dict[str, Any]] = field(default_factory=list)
    connections: int = 0
    drops: int = 0
    gaps_opened: int = 0
    gaps_filled: int = 0

    @property
    def gaps_open(self) -> int:
        """Gaps of this capture that are still open."""
        return self.gaps_opened - self.gaps_filled

    @property
    def is_complete(self) -> bool:
        """True when asking again now would bring nothing new: the feed ended, or every ask has a final answer."""
        unanswered = any(Verdict(outcome["verdict"]) in RETRYABLE for outcome in self.outcomes)
        return self.ended in (ALL_ASKED, END_OF_RECORDING, STOPPED) and not unanswered

    def document(self) -> dict[str, Any]:
        """Return the report as JSON values."""
        return {**asdict(self), "gaps_open": self.gaps_open, "is_complete": self.is_complete}


class _Ledger:
    """Writes one capture's answers, calls and gaps down (`Ledger`, `Listener`)."""

    def __init__(self, lake: Lake, recorder: Recorder, report: CaptureReport) -> None:
        self._lake, self._recorder, self._report = lake, recorder, report
        self._calls = 0
        self.number: Callable[[bytes, int, str, int, str], Message] = self._next_message
        self.ask_for: Callable[[Request], None] = lambda request: None

    def received(self, url: str, request: Request, response: Response, ts_request_ns: int, ts_response_ns: int) -> int:
        """Record an answer durably, before anybody reads it; returns its message number."""
        asked = {"method": request.method, "url": url, "params": dict(request.params), "ts_request_ns": ts_request_ns}
        if not response.is_complete:
            asked["is_complete"] = False
        if response.blots:
            asked["secrets_replaced"] = response.blots
        headers = {name: value for name, value in response.headers.items() if name not in _SECRET_HEADERS}
        message = self.number(
            response.body, ts_response_ns, orjson.dumps(asked).decode(), response.status, orjson.dumps(headers).decode()
        )
        self._recorder.record([message])
        self._recorder.flush()
        return message.message_seq

    def _next_message(self, payload: bytes, ts_recv_ns: int, request: str, status: int, headers: str) -> Message:
        content_type = str(orjson.loads(headers).get("content-type", "application/octet-stream")).partition(";")[0].strip()
        return Message(self._recorder.next_seq, ts_recv_ns, content_type, payload, request, status, headers)

    def called(self, call: Call) -> None:
        """Record a call durably."""
        reading, now_ns = call.reading, self._lake.clock()
        row = call_row(
            self._recorder.capture,
            number=self._calls,
            ts_request_ns=call.ts_request_ns,
            ts_response_ns=None if call.status is None else call.ts_response_ns,
            method=call.method,
            url=call.url,
            verdict=reading.verdict.value,
            attempt=call.attempt,
            recorded_at_ns=now_ns,
            status=call.status,
            retry_after_s=reading.retry_after_s,
            byte_count=call.byte_count,
            message_seq=call.message_seq,
            detail=reading.detail or None,
        )
        self._calls += 1
        self._recorder.history("ops.provider_calls", row)
        verdict = reading.verdict.value
        self._report.verdicts[verdict] = self._report.verdicts.get(verdict, 0) + 1
        if len(self._report.calls) < 1_000:
            told = {"method": call.method, "url": call.url, "attempt": call.attempt, "status": call.status}
            self._report.calls.append({**told, "verdict": verdict, "detail": reading.detail, "message_seq": call.message_seq})

    def heard(self, messages: list[Message], now_ns: int) -> None:
        """Record frames; they are durable within a block or MAX_WAIT_NS."""
        self._recorder.record(messages)
        self._recorder.tick(now_ns)

    def missed(self, gaps: list[Gap]) -> None:
        """Record gaps durably, after the frames before them."""
        self._recorder.flush()
        self._recorder.history("quality.gaps", gap_rows(self._recorder.capture, gaps, self._lake.clock()))
        self._report.gaps_opened += sum(gap.status == "open" for gap in gaps)
        self._report.gaps_filled += sum(gap.status == "filled" for gap in gaps)

    def fetch(self, request: Request) -> None:
        """Ask for a snapshot that belongs to the session."""
        self._recorder.flush()
        self.ask_for(request)


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
    recorder, report = _begin(lake, log, provider, feed, kind, {"address": address.http, "asks": asked}, sleep)
    ledger = _Ledger(lake, recorder, report)
    report.ended = ALL_ASKED
    rng = random.Random() if rng is None else rng
    with HttpTransport(
        address, ledger, clock=lake.clock, sleep=sleep, rng=rng, backoff=backoff, timeout_s=timeout_s, permits=permits
    ) as transport:
        for number, (ask, words) in enumerate(zip(asks, asked, strict=True)):
            if number and pause_s > 0:
                sleep(pause_s)
            reading = transport.ask(pages, ask)
            report.outcomes.append({"ask": words, "verdict": reading.verdict.value, "detail": reading.detail})
            if reading.verdict in REFUSED:
                report.ended = f"refused: {reading.verdict.value} {reading.detail}"
                break
    recorder.flush()
    report.messages = recorder.durable
    return report


def capture_stream(
    lake: Lake,
    log: Log,
    session: SessionWithAnswers,
    address: Address,
    *,
    provider: str,
    feed: str,
    sleep: Callable[[float], None] = time.sleep,
    rng: random.Random | None = None,
    backoff: Backoff = PATIENCE,
    is_stopped: Callable[[], bool] = lambda: False,
    timeout_s: float = 10.0,
) -> CaptureReport:
    """Listen to a push feed until it ends, `is_stopped`, or patience with dead connections is over.

    Raises ProviderUnavailableError in the last case, when everything heard is durable, and LogFullError.
    """
    if address.stream is None:
        raise ProviderUnavailableError(f"{provider} {feed}: no stream address", 0.0)
    rng = random.Random() if rng is None else rng
    detail = {"address": address.stream, "target": session.target}
    recorder, report = _begin(lake, log, provider, feed, CaptureKind.LIVE, detail, sleep)
    _tell_of_death(lake, recorder, provider, feed)
    ledger = _Ledger(lake, recorder, report)
    ledger.number = session.recorded
    stream = StreamTransport(
        address.stream,
        credentials=address.credentials,
        clock=lake.clock,
        sleep=sleep,
        rng=rng,
        backoff=backoff,
        is_stopped=is_stopped,
        timeout_s=timeout_s,
    )
    with HttpTransport(
        address, ledger, clock=lake.clock, sleep=sleep, rng=rng, backoff=backoff, timeout_s=timeout_s
    ) as transport:
        ledger.ask_for = lambda request: _warn_unless_ok(transport.fetch(request, _read_snapshot))
        try:
            heard = stream.listen(session, ledger)
            report.ended, report.connections, report.drops = heard.ended, heard.connections, heard.drops
        finally:
            recorder.flush()
            report.messages = recorder.durable
    lake.state.save_job(f"stream:{provider}-{feed}", {"capture_id": recorder.capture.capture_id, "ended": report.ended})
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


def _begin(
    lake: Lake,
    log: Log,
    provider: str,
    feed: str,
    kind: CaptureKind,
    detail: Mapping[str, object],
    sleep: Callable[[float], None],
) -> tuple[Recorder, CaptureReport]:
    now_ns = lake.clock()
    capture = Capture(
        capture_id=new_capture_id(provider, feed, now_ns),
        provider=provider,
        feed=feed,
        kind=kind,
        started_at_ns=now_ns,
        code_version=code_version(),
        configuration_hash=lake.settings.configuration_hash(),
        detail=orjson.dumps(detail, option=orjson.OPT_SORT_KEYS).decode(),
    )
    for topic in (RAW_TOPIC, HISTORY_TOPIC):
        log.release(topic, "landing", {})  # registered before the first block: retention waits for landing
    recorder = Recorder(log, capture, clock=lake.clock, steps=lake.steps, sleep=sleep, partitions=lake.settings.log_partitions)
    recorder.begin()
    return recorder, CaptureReport(capture.capture_id, provider, feed, kind.value)


def _tell_of_death(lake: Lake, recorder: Recorder, provider: str, feed: str) -> None:
    """Open a gap when the capture of this feed before us ended without a word (killed, or the machine died)."""
    key = f"stream:{provider}-{feed}"
    before = lake.state.job(key)
    lake.state.save_job(key, {"capture_id": recorder.capture.capture_id, "ended": None})
    if before is not None and before["ended"] is None:
        gap = Gap(0, "", "all channels", "open", f"capture {before['capture_id']} ended without a word", None, None)
        row = gap_rows(recorder.capture, [gap], lake.clock())
        name = row.schema.get_field_index("gap_id")
        row = row.set_column(name, row.schema.field(name), [[f"{before['capture_id']}-gap-end"]])
        recorder.history("quality.gaps", row)


def _read_snapshot(response: Response) -> Page:
    """Judge a REST snapshot of a stream's provider by status and wholeness: its decoder judges the rest."""
    retry_after = response.headers.get("retry-after", "")
    wait_s = float(retry_after) if retry_after.isdigit() else None
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


def _warn_unless_ok(page: Page) -> None:
    if page.reading.verdict is not Verdict.OK:
        LOGGER.warning("no book snapshot: %s %s", page.reading.verdict.value, page.reading.detail)
