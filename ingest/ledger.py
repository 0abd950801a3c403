"""What one capture leaves behind: its announcement, its answers, calls and gaps in the log, and the report of what it did."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, TypeVar

import orjson

from ingest.asks import Gap, Request, Response
from ingest.history import call_row, gap_rows
from ingest.recorder import Recorder, code_version, new_capture_id
from ingest.tallies import Tally
from ingest.transport.backoff import Backoff
from ingest.transport.http import Call
from ingest.transport.websocket import END_OF_RECORDING, STOPPED
from ingest.verdicts import RETRYABLE, Verdict
from lake.catalog import Lake
from lake.log.log import HISTORY_TOPIC, RAW_TOPIC, Log
from lake.values import Capture, CaptureKind, Message

PATIENCE = Backoff()
"""How often and how long a capture asks again, where the caller does not say."""
ALL_ASKED = "all asked"
_SECRET_HEADERS = frozenset({"set-cookie", "cookie", "authorization", "x-api-key", "proxy-authenticate", "www-authenticate"})
R = TypeVar("R", bound=Recorder)


@dataclass(slots=True)
class CaptureReport:
    """What one capture did.

    outcomes   per ask: what was asked and what the last answer meant
    verdicts   calls by verdict, retried ones included
    gaps_open  gaps that nothing has closed yet
    most_held_bytes, times_held_up   of a stream: recorded and not yet durable in its process at most; waits for the log
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
    most_held_bytes: int = 0
    times_held_up: int = 0

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


class CaptureLedger:
    """Writes one capture's answers, calls and gaps down (`Ledger`, `Listener`)."""

    def __init__(self, lake: Lake, recorder: Recorder, report: CaptureReport, tally: Tally) -> None:
        self._lake, self._recorder, self._report, self._tally = lake, recorder, report, tally
        self._calls = 0
        self.number: Callable[[bytes, int, str, int, str], Message] = self._next_message

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
        self._tally.call(call)
        verdict = reading.verdict.value
        self._report.verdicts[verdict] = self._report.verdicts.get(verdict, 0) + 1
        if len(self._report.calls) < 1_000:
            told = {"method": call.method, "url": call.url, "attempt": call.attempt, "status": call.status}
            self._report.calls.append({**told, "verdict": verdict, "detail": reading.detail, "message_seq": call.message_seq})

    def missed(self, gaps: list[Gap]) -> None:
        """Record gaps, after the frames before them."""
        if not gaps:
            return
        self._recorder.history("quality.gaps", gap_rows(self._recorder.capture, gaps, self._lake.clock()))
        self._report.gaps_opened += sum(gap.status == "open" for gap in gaps)
        self._report.gaps_filled += sum(gap.status == "filled" for gap in gaps)


def begun(
    lake: Lake,
    log: Log,
    provider: str,
    feed: str,
    kind: CaptureKind,
    detail: Mapping[str, object],
    recorder_of: Callable[[Capture], R],
) -> tuple[R, CaptureReport]:
    """Announce a capture, durably, before its first message; return its recorder and report."""
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
    recorder = recorder_of(capture)
    recorder.begin()
    return recorder, CaptureReport(capture.capture_id, provider, feed, kind.value)
