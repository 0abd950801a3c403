"""Downloading a file that may be large: in ranges, resumed where it broke off, whole or not at all. Shell.

The bytes so far lie beside the file as `NAME.part`, with the version they are of (ETag or Last-Modified) in `NAME.part.version`:
a download goes on where another process left it, and begins anew when the provider has another version, or knows no ranges.
It may take hours, but not crawl: an attempt that brings less than a least pace is broken off, and counts as one in vain.
Every call is told to the ledger, and so is an answer that holds no file; a file itself is imported when it is whole.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import httpx

from ingest.asks import Address, Credentials, Request, Response
from ingest.permits import FREE, Permits, awaited
from ingest.transport.backoff import Backoff
from ingest.transport.deadline import Pace, Socket
from ingest.transport.http import LEAVE_S, Call, Ledger, chunks_of, client_of, response_of
from ingest.verdicts import RETRYABLE, Reading, Verdict
from lake.durable import sync_file, sync_folder
from lake.instants import Clock

LEAST_BYTES, LEAST_IN_S = 262_144, 60.0
"""What must come of an answer, its head too, in every so many seconds: 4 KiB a second, below any line that files are had by."""
_LONGEST_REFUSAL = 1_048_576
_FILE = frozenset({200, 206, 416})
"""A whole file, a range of it, or no such range: any other status holds no file."""
_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+|\*)\Z")


class Download:
    """Downloads from one address.

    judge        what an answer means that holds no file: its status, headers and the beginning of its body
    least_bytes  what must come in every `least_in_s` seconds of an attempt
    """

    def __init__(
        self,
        address: Address,
        judge: Callable[[Response], Reading],
        ledger: Ledger,
        *,
        clock: Clock,
        sleep: Callable[[float], None],
        rng: random.Random,
        backoff: Backoff,
        permits: Permits = FREE,
        timeout_s: float = 30.0,
        least_bytes: int = LEAST_BYTES,
        least_in_s: float = LEAST_IN_S,
    ) -> None:
        self._least_bytes, self._least_in_s, self._socket, self._crawled = least_bytes, least_in_s, Socket(), False
        self._address, self._judge, self._ledger, self._permits = address, judge, ledger, permits
        self._clock, self._sleep, self._rng, self._backoff, self._timeout_s = clock, sleep, rng, backoff, timeout_s

    def fetch(self, request: Request, target: Path) -> Reading:
        """Download the answer to a request into `target`; OK when it is whole, else why not.

        An attempt that went on makes the next ones count anew, but not one that was too slow: they come to an end.
        """
        with client_of(self._address, self._timeout_s) as client:
            attempt = 0
            while True:
                leave = awaited(self._permits, request, self._sleep, max(self._backoff.ceiling_s, LEAVE_S))
                if not leave.is_given:
                    return Reading(Verdict.NOT_ASKED, leave.refused, leave.wait_s or None)
                attempt += 1
                before = _size(_part(target))
                reading = self._attempt(client, request, target, attempt)
                if reading.verdict not in RETRYABLE:
                    return reading
                attempt = 1 if _size(_part(target)) > before and not self._crawled else attempt
                wait_s = self._backoff.wait_s(attempt, self._rng, reading.retry_after_s)
                if wait_s is None:
                    return reading
                self._sleep(wait_s)

    def _attempt(self, client: httpx.Client, request: Request, target: Path, attempt: int) -> Reading:
        url, secrets = self._address.url(request), self._address.credentials
        asked_ns, head, seq = self._clock(), None, None
        with Pace(self._socket, self._least_bytes, self._least_in_s) as pace:
            try:
                sent = secrets.added_to(url)
                with self._stream(client, request, sent, target) as head:
                    if head.status_code in _FILE:
                        reading = self._received(head, target, pace)
                    else:
                        reading, seq = self._refused(head, url, request, asked_ns, pace)
            except (httpx.HTTPError, httpx.StreamError) as error:
                crawls = f"fewer than {self._least_bytes} bytes in {self._least_in_s:g} s: " if pace.is_lost else ""
                told = secrets.blotted_text(f"{crawls}{type(error).__name__}: {error}")
                reading = Reading(Verdict.NO_ANSWER if head is None else Verdict.MALFORMED, told)
        self._crawled = pace.is_lost
        status, size, headers = (None, None, {}) if head is None else _told_by(head, secrets)
        call = Call(request.method, url, attempt, asked_ns, self._clock(), reading, status, size, seq, headers)
        self._ledger.called(call)
        self._permits.after(request, call)
        return reading

    def _stream(self, client: httpx.Client, request: Request, url: str, target: Path) -> AbstractContextManager[httpx.Response]:
        headers, extensions = {**dict(request.headers), **_resuming(target)}, {"trace": self._socket.trace}
        return client.stream(request.method, url, headers=headers, extensions=extensions)

    def _refused(self, head: httpx.Response, url: str, request: Request, asked_ns: int, pace: Pace) -> tuple[Reading, int]:
        """Record an answer that holds no file; return what it means and the number of its message."""
        body, is_complete = bytearray(), True
        try:
            for chunk in chunks_of(head):
                body += chunk
                if len(body) > _LONGEST_REFUSAL:
                    is_complete = False
                    break
        except (httpx.HTTPError, httpx.StreamError):
            is_complete = False
        response = response_of(head, body, self._address.credentials, is_complete=is_complete and not pace.is_lost)
        seq = self._ledger.received(url, request, response, asked_ns, self._clock())
        return self._judge(response), seq

    def _received(self, head: httpx.Response, target: Path, pace: Pace) -> Reading:
        """Take an answer with a file, from its beginning or a range of it, or one that has no such range."""
        part = _part(target)
        if head.status_code == 206:
            found = _RANGE.match(head.headers.get("content-range", ""))
            if found is None or int(found[1]) != _size(part):
                _forget(target)
                return Reading(Verdict.MALFORMED, f"a range that was not asked for: {head.headers.get('content-range', '')[:80]}")
            whole = None if found[3] == "*" else int(found[3])
            return self._written(head, target, pace, whole, is_new=False)
        if head.status_code == 200:
            length = head.headers.get("content-length", "")
            return self._written(head, target, pace, int(length) if length.isdigit() else None, is_new=True)
        _forget(target)  # what lies here is not of the version that is there
        return Reading(Verdict.MALFORMED, "the provider has no such range: begun anew")

    def _written(self, head: httpx.Response, target: Path, pace: Pace, whole: int | None, *, is_new: bool) -> Reading:
        part = _part(target)
        part.parent.mkdir(parents=True, exist_ok=True)
        if is_new:
            part.write_bytes(b"")
            _version(target).write_text(head.headers.get("etag") or head.headers.get("last-modified") or "")
        with part.open("ab") as file:
            for chunk in head.iter_raw():  # of any size: what came before a break is kept
                file.write(chunk)
                pace.came(len(chunk))
        size = _size(part)
        if pace.is_lost and size != whole:  # also where the end of the connection would be the end of the file
            return Reading(Verdict.MALFORMED, f"fewer than {self._least_bytes} bytes in {self._least_in_s:g} s: {size} came")
        if whole is not None and size != whole:
            if size > whole:
                _forget(target)
            return Reading(Verdict.MALFORMED, f"{size} of {whole} bytes came")
        sync_file(part)  # a file of this name counts as downloaded: it must be whole after a power cut too
        part.replace(target)
        sync_folder(target.parent)
        _version(target).unlink(missing_ok=True)
        return Reading(Verdict.OK if size else Verdict.EMPTY_VALID, f"{size} bytes")


def _told_by(head: httpx.Response, secrets: Credentials) -> tuple[int, int, dict[str, str]]:
    """Return the status of an answer, the bytes that came of its body, and its headers without secrets."""
    headers = {name: secrets.blotted_text(value) for name, value in head.headers.items()}
    return head.status_code, head.num_bytes_downloaded, headers


def _resuming(target: Path) -> dict[str, str]:
    """Return the headers that ask for the rest of a file; none where nothing lies here, or nobody knows of which version."""
    size, version = _size(_part(target)), _version(target)
    told = version.read_text() if version.exists() else ""
    return (
        {"range": f"bytes={size}-", "if-range": told, "accept-encoding": "identity"}
        if size and told
        else {"accept-encoding": "identity"}
    )


def _part(target: Path) -> Path:
    return target.with_name(target.name + ".part")


def _version(target: Path) -> Path:
    return target.with_name(target.name + ".part.version")


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _forget(target: Path) -> None:
    _part(target).unlink(missing_ok=True)
    _version(target).unlink(missing_ok=True)
