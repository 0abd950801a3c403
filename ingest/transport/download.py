"""Downloading a file that may be large: in ranges, resumed where it broke off, whole or not at all. Shell.

The bytes so far lie beside the file as `NAME.part`, with the version they are of (ETag or Last-Modified) in `NAME.part.version`:
a download goes on where another process left it, and begins anew when the provider has another version, or knows no ranges.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from pathlib import Path

import httpx

from ingest.asks import Address, Request, Response
from ingest.permits import FREE, Permits
from ingest.transport.backoff import Backoff
from ingest.transport.http import Call, is_loopback
from ingest.verdicts import RETRYABLE, Reading, Verdict
from lake.instants import Clock

_LONGEST_REFUSAL = 65_536
_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+|\*)\Z")


class Download:
    """Downloads from one address.

    judge   what an answer means that holds no file: its status, headers and the beginning of its body
    """

    def __init__(
        self,
        address: Address,
        judge: Callable[[Response], Reading],
        *,
        clock: Clock,
        sleep: Callable[[float], None],
        rng: random.Random,
        backoff: Backoff,
        permits: Permits = FREE,
        timeout_s: float = 30.0,
    ) -> None:
        self._address, self._judge, self._permits = address, judge, permits
        self._clock, self._sleep, self._rng, self._backoff, self._timeout_s = clock, sleep, rng, backoff, timeout_s

    def fetch(self, request: Request, target: Path) -> Reading:
        """Download the answer to a request into `target`; OK when it is whole, else why not. Attempts that go on count anew."""
        with httpx.Client(
            timeout=self._timeout_s,
            follow_redirects=False,
            trust_env=not is_loopback(self._address.http),
            headers={**self._address.headers, **dict(self._address.credentials.headers)},
        ) as client:
            attempt = 0
            while True:
                leave = self._permits.before(request)
                if leave.refused:
                    return Reading(Verdict.NOT_ASKED, leave.refused, leave.wait_s or None)
                if not leave.is_given:
                    self._sleep(leave.wait_s)
                    continue
                attempt += 1
                before = _size(_part(target))
                reading = self._attempt(client, request, target, attempt)
                if reading.verdict not in RETRYABLE:
                    return reading
                attempt = 1 if _size(_part(target)) > before else attempt
                wait_s = self._backoff.wait_s(attempt, self._rng, reading.retry_after_s)
                if wait_s is None:
                    return reading
                self._sleep(wait_s)

    def _attempt(self, client: httpx.Client, request: Request, target: Path, attempt: int) -> Reading:
        url, secrets = self._address.url(request), self._address.credentials
        asked_ns, status, headers = self._clock(), None, {}
        try:
            sent = secrets.added_to(url)
            with client.stream(request.method, sent, headers={**dict(request.headers), **_resuming(target)}) as head:
                status, headers = head.status_code, dict(head.headers)
                reading = self._received(head, target)
        except (httpx.HTTPError, httpx.StreamError) as error:
            told = secrets.blotted_text(f"{type(error).__name__}: {error}")
            reading = Reading(Verdict.NO_ANSWER if status is None else Verdict.MALFORMED, told)
        call = Call(request.method, url, attempt, asked_ns, self._clock(), reading, status, _size(_part(target)), None, headers)
        self._permits.after(request, call)
        return reading

    def _received(self, head: httpx.Response, target: Path) -> Reading:
        """Take an answer: a file from its beginning, a range of it, or none."""
        part = _part(target)
        if head.status_code == 206:
            found = _RANGE.match(head.headers.get("content-range", ""))
            if found is None or int(found[1]) != _size(part):
                _forget(target)
                return Reading(Verdict.MALFORMED, f"a range that was not asked for: {head.headers.get('content-range', '')[:80]}")
            whole = None if found[3] == "*" else int(found[3])
            return self._written(head, target, whole, is_new=False)
        if head.status_code == 200:
            length = head.headers.get("content-length", "")
            return self._written(head, target, int(length) if length.isdigit() else None, is_new=True)
        if head.status_code == 416:  # what lies here is not of the version that is there
            _forget(target)
            return Reading(Verdict.MALFORMED, "the provider has no such range: begun anew")
        body = b""
        for chunk in head.iter_bytes():
            body += chunk
            if len(body) > _LONGEST_REFUSAL:
                break
        return self._judge(Response(head.status_code, dict(head.headers), self._address.credentials.blotted(body)[0]))

    def _written(self, head: httpx.Response, target: Path, whole: int | None, *, is_new: bool) -> Reading:
        part = _part(target)
        part.parent.mkdir(parents=True, exist_ok=True)
        if is_new:
            part.write_bytes(b"")
            _version(target).write_text(head.headers.get("etag") or head.headers.get("last-modified") or "")
        with part.open("ab") as file:
            for chunk in head.iter_raw():  # of any size: what came before a break is kept
                file.write(chunk)
        size = _size(part)
        if whole is not None and size != whole:
            if size > whole:
                _forget(target)
            return Reading(Verdict.MALFORMED, f"{size} of {whole} bytes came")
        part.replace(target)
        _version(target).unlink(missing_ok=True)
        return Reading(Verdict.OK if size else Verdict.EMPTY_VALID, f"{size} bytes")


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
