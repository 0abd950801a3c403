"""Asking by HTTP: one question, retried while that may help. Shell: the one door to httpx.

Every answer is handed to the recorder before the provider's module reads it, and every call is told, answered or not.
"""

from __future__ import annotations

import ipaddress
import logging
import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import Protocol, Self
from urllib.parse import urlsplit

import httpx

from ingest.asks import BLOT, Address, Ask, Credentials, Page, Pages, Request, Response
from ingest.permits import FREE, Permits, awaited
from ingest.transport.backoff import Backoff
from ingest.transport.deadline import Deadline, Socket
from ingest.transport.encodings import GZIP, gunzipped
from ingest.verdicts import RETRYABLE, Reading, Verdict
from lake.errors import SettingsError
from lake.instants import Clock

MAX_BODY_BYTES = 256 * 1024 * 1024
"""An answer longer than this is broken off: it would not fit memory beside everything else."""
MAX_PAGES = 10_000
WHOLE_S = 110.0
"""An answer not whole by then is broken off: a little before `Plan.max_call_s`, when the quota ledger takes a call for over."""
LEAVE_S = 120.0
"""Leave to call is waited for at least so long, whatever the patience with failures: a window of a minute takes a minute."""


@dataclass(frozen=True, slots=True)
class Call:
    """One call and what it meant; `message_seq` is None when there was no answer to record. Limits are told in `headers`."""

    method: str
    url: str
    attempt: int
    ts_request_ns: int
    ts_response_ns: int
    reading: Reading
    status: int | None = None
    byte_count: int | None = None
    message_seq: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


class Ledger(Protocol):
    """Where answers and calls are written down."""

    def received(self, url: str, request: Request, response: Response, ts_request_ns: int, ts_response_ns: int) -> int:
        """Record an answer as a message; returns its number."""
        ...

    def called(self, call: Call) -> None:
        """Record a call."""
        ...


class HttpTransport:
    """A connection pool to one address.

    sleep      called with the seconds to wait between attempts
    rng        source of the jitter
    timeout_s  for connecting, and for each wait for more bytes
    whole_s    for the whole answer, however steadily its bytes drip
    permits    asked for leave before each call: longer waits than the backoff's ceiling and LEAVE_S are not waited here
    """

    def __init__(
        self,
        address: Address,
        ledger: Ledger,
        *,
        clock: Clock,
        sleep: Callable[[float], None],
        rng: random.Random,
        backoff: Backoff,
        timeout_s: float = 30.0,
        whole_s: float = WHOLE_S,
        permits: Permits = FREE,
    ) -> None:
        self._permits, self._whole_s, self._socket = permits, whole_s, Socket()
        self._address, self._ledger, self._secrets = address, ledger, address.credentials
        self._clock, self._sleep, self._rng, self._backoff = clock, sleep, rng, backoff
        self._client = client_of(address, timeout_s)
        for name in ("httpx", "httpcore"):  # they log whole addresses, and headers of answers that may quote a key
            logging.getLogger(name).setLevel(logging.WARNING)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._client.close()

    def ask(self, pages: Pages, ask: Ask) -> Reading:
        """Ask for as long as an answer leads to another request; returns the meaning of the last answer."""
        request = pages.first(ask)
        for _ in range(MAX_PAGES):
            page = self.fetch(request, pages.read)
            if page.next is None:
                return page.reading
            request = page.next
        return Reading(Verdict.MALFORMED, f"{MAX_PAGES} pages and no end")

    def fetch(self, request: Request, read: Callable[[Response], Page]) -> Page:
        """Send one request, again while its verdict is retryable and patience lasts; returns the last page."""
        attempt = 0
        while True:
            refused = self._without_leave(request)
            if refused is not None:
                return Page(refused)
            attempt += 1
            page = self._attempt(request, read, attempt)
            if page.reading.verdict not in RETRYABLE:
                return page
            wait_s = self._backoff.wait_s(attempt, self._rng, page.reading.retry_after_s)
            if wait_s is None:
                return page
            self._sleep(wait_s)

    def _without_leave(self, request: Request) -> Reading | None:
        """Wait for leave to call; return why there is none, or None when it was given."""
        leave = awaited(self._permits, request, self._sleep, max(self._backoff.ceiling_s, LEAVE_S))
        return None if leave.is_given else Reading(Verdict.NOT_ASKED, leave.refused, leave.wait_s or None)

    def _told(self, request: Request, call: Call) -> None:
        self._ledger.called(call)
        self._permits.after(request, call)

    def _attempt(self, request: Request, read: Callable[[Response], Page], attempt: int) -> Page:
        url = self._address.url(request)
        asked_ns = self._clock()
        answer = self._send(request, url)
        answered_ns = self._clock()
        if isinstance(answer, Reading):
            self._told(request, Call(request.method, url, attempt, asked_ns, answered_ns, answer))
            return Page(answer)
        recorded = answer
        if request.secret_answer is not None and request.secret_answer.match(answer.body):
            recorded = replace(answer, body=BLOT, blots=answer.blots + 1)
        seq = self._ledger.received(url, request, recorded, asked_ns, answered_ns)
        page = read(answer)
        size = len(answer.body)
        reading, status, headers = page.reading, answer.status, answer.headers
        self._told(request, Call(request.method, url, attempt, asked_ns, answered_ns, reading, status, size, seq, headers))
        return page

    def _send(self, request: Request, url: str) -> Response | Reading:
        body = bytearray()
        head: httpx.Response | None = None
        secrets = self._secrets.and_those_of(request.session)
        sent, headers = secrets.added_to(url), {**dict(request.headers), **dict(request.session.headers)}
        extensions = {"trace": self._socket.trace}
        with Deadline(self._socket, self._whole_s) as deadline:
            try:
                with self._client.stream(request.method, sent, headers=headers, extensions=extensions) as head:
                    for chunk in chunks_of(head):
                        body += chunk
                        if len(body) > MAX_BODY_BYTES:
                            return response_of(head, body, secrets, is_complete=False)
                return response_of(head, body, secrets, is_complete=not deadline.is_past)
            except (httpx.HTTPError, httpx.StreamError) as error:
                told = f"no whole answer in {self._whole_s:g} s: " if deadline.is_past else ""
                if head is None:
                    return Reading(Verdict.NO_ANSWER, secrets.blotted_text(f"{told}{type(error).__name__}: {error}"))
                return response_of(head, body, secrets, is_complete=False)


def client_of(address: Address, timeout_s: float) -> httpx.Client:
    """Return a client for one address, by the proxies of the environment unless it is on this machine. Raises SettingsError."""
    try:
        return httpx.Client(
            timeout=timeout_s,
            follow_redirects=False,
            trust_env=not is_loopback(address.http),
            headers={**address.headers, **dict(address.credentials.headers)},
        )
    except (ValueError, ImportError, httpx.InvalidURL) as error:  # the words may hold the proxy's password
        raise SettingsError(f"no client for {address.http}: {type(error).__name__}: mend the proxy of the environment") from None


def chunks_of(head: httpx.Response) -> Iterator[bytes]:
    """Return the chunks of a body, gzip as it came: `response_of` reads it, for httpx takes one cut short for whole."""
    return head.iter_raw() if _is_gzip(head) else head.iter_bytes()


def response_of(head: httpx.Response, body: bytearray, secrets: Credentials, *, is_complete: bool) -> Response:
    """Return an answer of the chunks that came, without the secrets that it quotes."""
    headers: dict[str, str] = {}
    for name, value in head.headers.multi_items():
        value = secrets.blotted_text(value)
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    kept, is_whole = gunzipped(bytes(body), MAX_BODY_BYTES) if _is_gzip(head) else (bytes(body), True)
    told, blots = secrets.blotted(kept)
    return Response(head.status_code, headers, told, is_complete and is_whole, blots)


def _is_gzip(head: httpx.Response) -> bool:
    return head.headers.get("content-encoding", "").strip().lower() in GZIP


def is_loopback(address: str) -> bool:
    """True for an address on this machine: it is reached without the proxies of the environment."""
    host = urlsplit(address).hostname or ""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
