"""Listening to push feeds: connect, hand frames on, connect again after a drop. Shell.

One event loop listens to any number of sessions, each in a task of its own. A session that hears nothing, or not all of what it
asked for, says so (`leaving`), whatever the socket's pings say.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Protocol

from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidProxy, InvalidStatus, InvalidURI

from ingest.asks import Credentials, Finding, Gap, Request, Session
from ingest.permits import FREE, Leave, Permits
from ingest.transport.backoff import Backoff
from ingest.transport.connection import FrameConnection, open_connection
from ingest.transport.http import Call, is_loopback
from ingest.verdicts import RETRYABLE, Reading, Verdict, seconds_told
from lake.errors import InvalidValueError, ProviderUnavailableError, SettingsError
from lake.instants import NANOS_PER_MICRO, NANOS_PER_SECOND, Clock
from lake.values import Message

END_OF_RECORDING = "end of recording"
"""The reason a finite feed closes with, under code 1000; every other end is a drop."""
STOPPED = "stopped"
"""How a capture ends that its caller stops."""
ENDPOINT = "stream"
"""What permits are asked for: leave to connect."""
_ABNORMAL = 1006
_TICK_S = 0.05
"""How long a quiet socket is waited for before silence is judged and the stop is looked for."""
_STOP_LOOK_S = 0.25
_STEADY_NS = 60 * NANOS_PER_SECOND
"""Connections that bring data and end sooner are waited for longer and longer, though never given up."""


class Listener(Protocol):
    """What is done with what a session hears."""

    def heard(self, messages: list[Message]) -> None:
        """Record messages."""
        ...

    def missed(self, gaps: list[Gap]) -> None:
        """Record gaps opened or closed, after the messages before them."""
        ...

    def found(self, findings: list[Finding]) -> None:
        """Record what a session found wrong with its feed."""
        ...

    def called(self, call: Call) -> None:
        """Record a connection attempt."""
        ...

    async def fetch(self, request: Request) -> None:
        """Ask for a snapshot that belongs to the session."""
        ...

    async def room(self) -> bool:
        """Return once more may be recorded, and whether that was waited for."""
        ...


def refused(reading: Reading) -> str:
    """Return how a capture ends that the provider refuses for good."""
    return f"refused: {reading.verdict.value} {reading.detail}"


@dataclass(frozen=True, slots=True)
class Heard:
    """How listening ended and what it took."""

    ended: str
    connections: int
    drops: int


@dataclass(slots=True)
class _Told:
    """How one connection ended: `is_over` for good; without data, it was another failure; after `wait_s` at the earliest."""

    words: str
    is_over: bool = False
    has_data: bool = False
    wait_s: float | None = None
    is_planned: bool = False


class StreamTransport:
    """A push feed at one address.

    sleep       awaited between connections
    is_stopped  asked between frames: True ends the capture in good order
    permits     asked for leave before each connection
    """

    def __init__(
        self,
        address: str,
        *,
        clock: Clock,
        sleep: Callable[[float], Awaitable[None]],
        rng: random.Random,
        backoff: Backoff,
        is_stopped: Callable[[], bool] = lambda: False,
        timeout_s: float = 10.0,
        credentials: Credentials | None = None,
        permits: Permits = FREE,
    ) -> None:
        self._secrets = Credentials() if credentials is None else credentials
        self._address = address.rstrip("/")
        self._clock, self._sleep, self._rng, self._backoff = clock, sleep, rng, backoff
        self._is_stopped, self._timeout_s, self._permits = is_stopped, timeout_s, permits
        self._told_ns = 0
        self._blotted = self._secrets.blotted if self._secrets.headers or self._secrets.query else None

    async def listen(self, session: Session, listener: Listener) -> Heard:
        """Hand every frame on until the feed ends or `is_stopped`.

        Reconnects after drops and silence. Raises ProviderUnavailableError when patience with connections that bring no
        data is over, InvalidValueError for an address that is none.
        """
        url = self._address + session.target
        session.listening(self._clock())
        connections = drops = failures = restless = 0
        told = ""
        while not self._is_stopped():
            opened = await self._opened(url, session, listener, failures + 1, told)
            if isinstance(opened, Reading):
                failures, told = failures + 1, opened.detail
                if opened.verdict not in RETRYABLE:
                    return Heard(refused(opened), connections, drops)
                session.disconnected(self._clock(), opened.detail)
                listener.missed(session.gaps())
                await self._wait(url, failures, opened.detail, opened.retry_after_s)
                continue
            connections, began_ns = connections + 1, self._clock()
            ended = await self._conversed(opened, session, listener)
            if ended.is_over or (ended.wait_s or 0.0) > self._backoff.ceiling_s:
                return Heard(ended.words, connections, drops)
            told, drops = ended.words, drops + 1
            now_ns = self._clock()
            session.disconnected(now_ns, told)
            listener.missed(session.gaps())
            restless = 1 if now_ns - began_ns >= _STEADY_NS else restless + 1
            failures = 1 if ended.has_data else failures + 1
            if not ended.is_planned:
                await self._wait(url, failures, told, ended.wait_s, restless if ended.has_data else 0)
        return Heard(STOPPED, connections, drops)

    async def _opened(self, url: str, session: Session, listener: Listener, attempt: int, told: str) -> FrameConnection | Reading:
        """Connect once, with leave; return the connection, or what it means that there is none."""
        request = Request("CONNECT", session.target, endpoint=ENDPOINT)
        refusal = await self._without_leave(request)
        if refusal is not None:
            return refusal
        asked_ns = self._clock()
        try:
            connection = await self._connect(url)
        except InvalidURI as error:
            self._permits.unspent(request)
            raise InvalidValueError(f"{url} is not a WebSocket address: {error.msg}") from None  # the whole has the key
        except (InvalidProxy, ImportError) as error:  # it is none, or of a kind that we cannot speak to; it may hold a password
            self._permits.unspent(request)
            words = f"{type(error).__name__}: mend the proxy of the environment"
            raise SettingsError(f"no connection to {self._address}: {words}") from None
        except (OSError, InvalidHandshake, ConnectionClosed, EOFError) as error:
            reading = self._not_connected(error)
            call = Call("CONNECT", url, attempt, asked_ns, self._clock(), reading)
            listener.called(call)
            self._permits.after(request, call)
            return reading
        reading = Reading(Verdict.OK, told and f"reconnected after: {told}")
        call = Call("CONNECT", url, attempt, asked_ns, self._clock(), reading, status=101)
        listener.called(call)
        self._permits.after(request, call)
        return connection

    async def _without_leave(self, request: Request) -> Reading | None:
        """Wait for leave to connect; return why there is none, or None when it was given."""
        leave = Leave()
        while not self._is_stopped():
            leave = self._permits.before(request)
            if leave.is_given:
                return None
            if leave.refused:
                break
            await self._slept(leave.wait_s)
        return Reading(Verdict.NOT_ASKED, leave.refused or STOPPED, leave.wait_s or None)

    def _not_connected(self, error: Exception) -> Reading:
        """Return what a connection that did not come about means: 401 and 403 will not change by asking again."""
        told = self._secrets.blotted_text(f"{type(error).__name__}: {error}")
        if not isinstance(error, InvalidStatus):
            return Reading(Verdict.NO_ANSWER, told)
        status, after = error.response.status_code, error.response.headers.get("Retry-After", "")
        if status == 401:
            return Reading(Verdict.AUTH, told)
        if status == 403:
            return Reading(Verdict.NOT_ENTITLED, told)
        if status == 429:
            return Reading(Verdict.THROTTLED, told, seconds_told(after))
        return Reading(Verdict.UPSTREAM_5XX if status >= 500 else Verdict.NO_ANSWER, told)

    async def _connect(self, url: str) -> FrameConnection:
        secrets = self._secrets
        return await open_connection(
            secrets.added_to(url) if secrets.is_in_stream_query else url,
            self._clock,
            headers=None if secrets.is_in_stream_query else list(secrets.headers),
            timeout_s=self._timeout_s,
            is_local=is_loopback(url),
        )

    async def _wait(self, url: str, failures: int, reason: str, retry_after_s: float | None = None, restless: int = 0) -> None:
        backoff = replace(self._backoff, attempts=max(self._backoff.attempts, restless + 1))
        wait_s = backoff.wait_s(max(failures, restless), self._rng, retry_after_s)
        if wait_s is None:
            raise ProviderUnavailableError(
                f"{url}: {failures} connections in a row brought nothing: {reason}", retry_after_s or self._backoff.ceiling_s
            )
        await self._slept(wait_s)

    async def _slept(self, seconds: float) -> None:
        """Sleep so long, or until the stop."""
        sleeping = asyncio.ensure_future(self._sleep(seconds))
        while not sleeping.done() and not self._is_stopped():
            await asyncio.wait({sleeping}, timeout=_STOP_LOOK_S)
        sleeping.cancel()
        with suppress(asyncio.CancelledError):
            await sleeping

    async def _conversed(self, connection: FrameConnection, session: Session, listener: Listener) -> _Told:
        try:
            return await self._converse(connection, session, listener)
        finally:
            await connection.close()

    async def _converse(self, connection: FrameConnection, session: Session, listener: Listener) -> _Told:
        """Listen until the connection ends or is left; return why."""
        has_data = False
        session.connected(self._clock())
        while not self._is_stopped():
            with suppress(ConnectionClosed):  # told below, after what the server said before it closed
                for frame in session.outgoing():
                    await connection.send(frame, text=not session.is_binary)
            if await listener.room():
                session.held_up(self._clock())
            taken = await connection.take(_TICK_S)
            if not taken and connection.is_lost:
                return self._closed(connection, has_data)
            self._hand_on(taken, session, listener)
            has_data = has_data or bool(taken)
            for request in session.snapshots():
                await listener.fetch(request)
            refusal = session.refusal()
            if refusal is not None:
                wait_s = refusal.retry_after_s if refusal.verdict in RETRYABLE else None
                return _Told(refused(refusal), is_over=wait_s is None, has_data=has_data, wait_s=wait_s)
            session.tick(self._clock())
            leaving = session.leaving()
            if leaving is not None:
                return _Told(leaving.words, has_data=has_data, is_planned=leaving.is_planned)
        return _Told(STOPPED, is_over=True)

    def _hand_on(self, taken: list[tuple[int, list[bytes]]], session: Session, listener: Listener) -> None:
        """Let the session read what was taken, and record it.

        Frames that came in one read are told a microsecond apart, the least that a table tells: a bar and its revision in
        one breath would else be known at the same instant, and one of them be dropped as a double.
        """
        messages: list[Message] = []
        blotted = self._blotted
        for ts_recv_ns, frames in taken:
            is_soon = 0 <= self._told_ns - ts_recv_ns < NANOS_PER_SECOND
            first_ns = self._told_ns + NANOS_PER_MICRO if is_soon else ts_recv_ns
            read = frames if blotted is None else [blotted(frame)[0] for frame in frames]
            messages += session.receive_all(read, first_ns)
            self._told_ns = first_ns + (len(frames) - 1) * NANOS_PER_MICRO
        if messages:
            listener.heard(messages)
        gaps = session.gaps()
        if gaps:
            listener.missed(gaps)
        findings = session.findings()
        if findings:
            listener.found(findings)

    def _closed(self, connection: FrameConnection, has_data: bool) -> _Told:
        code, reason = connection.close_code, connection.close_reason
        if code == 1000 and reason == END_OF_RECORDING:
            return _Told(END_OF_RECORDING, is_over=True)
        told = self._secrets.blotted_text(reason or "")
        if connection.fault:
            words = f"left: the server sent no valid frame: {self._secrets.blotted_text(connection.fault)}"
            return _Told(words, has_data=has_data)
        words = "socket dropped" if code in (None, _ABNORMAL) else f"closed by the server: {code} {told}"
        return _Told(words, has_data=has_data)
