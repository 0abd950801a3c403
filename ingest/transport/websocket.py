"""Listening to a push feed: connect, hand frames on, connect again after a drop. Shell: the one door to websockets' client."""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus, InvalidURI
from websockets.sync.client import ClientConnection, connect

from ingest.asks import Credentials, Gap, Request, Session
from ingest.transport.backoff import Backoff
from ingest.transport.http import Call, is_loopback
from ingest.verdicts import Reading, Verdict
from lake.errors import InvalidValueError, ProviderUnavailableError
from lake.instants import Clock
from lake.values import Message

END_OF_RECORDING = "end of recording"
"""The reason a finite feed closes with, under code 1000; every other end is a drop."""
STOPPED = "stopped"
"""How a capture ends that its caller stops."""
MAX_FRAME_BYTES = 16 * 1024 * 1024
_POLL_S = 0.05
"""How long a quiet socket is waited for before buffered messages are made durable and silence is judged."""


class Listener(Protocol):
    """What is done with what a session hears."""

    def heard(self, messages: list[Message], now_ns: int) -> None:
        """Record messages; an empty list only tells the time."""
        ...

    def missed(self, gaps: list[Gap]) -> None:
        """Record gaps opened or closed, durably."""
        ...

    def called(self, call: Call) -> None:
        """Record a connection attempt."""
        ...

    def fetch(self, request: Request) -> None:
        """Ask for a snapshot that belongs to the session."""
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


class StreamTransport:
    """A push feed at one address. `is_stopped` is asked between frames: True ends the capture in good order."""

    def __init__(
        self,
        address: str,
        *,
        clock: Clock,
        sleep: Callable[[float], None],
        rng: random.Random,
        backoff: Backoff,
        is_stopped: Callable[[], bool] = lambda: False,
        timeout_s: float = 10.0,
        credentials: Credentials | None = None,
    ) -> None:
        self._secrets = Credentials() if credentials is None else credentials
        self._address = address.rstrip("/")
        self._clock, self._sleep, self._rng, self._backoff = clock, sleep, rng, backoff
        self._is_stopped, self._timeout_s = is_stopped, timeout_s

    def listen(self, session: Session, listener: Listener) -> Heard:
        """Hand every frame on until the feed ends or `is_stopped`.

        Reconnects after drops and silence. Raises ProviderUnavailableError when patience with connections that bring no
        data is over, InvalidValueError for an address that is none.
        """
        url = self._address + session.target
        connections = drops = failures = 0
        told = ""
        while not self._is_stopped():
            asked_ns = self._clock()
            try:
                connection = self._connect(url)
            except InvalidURI as error:
                raise InvalidValueError(f"{url} is not a WebSocket address: {error}") from error
            except (OSError, InvalidHandshake, ConnectionClosed, EOFError) as error:
                failures += 1
                reading = self._not_connected(error)
                if reading.verdict is not Verdict.NO_ANSWER:
                    listener.called(Call("CONNECT", url, failures, asked_ns, self._clock(), reading))
                    return Heard(refused(reading), connections, drops)
                listener.called(Call("CONNECT", url, failures, asked_ns, self._clock(), reading))
                self._wait(url, failures, reading.detail)
                continue
            connections += 1
            reading = Reading(Verdict.OK, told and f"reconnected after: {told}")
            listener.called(Call("CONNECT", url, failures + 1, asked_ns, self._clock(), reading, status=101))
            with connection:
                ended, told, has_data = self._converse(connection, session, listener)
            if ended:
                return Heard(told, connections, drops)
            refusal = session.refusal()
            if refusal is not None:
                return Heard(refused(refusal), connections, drops)
            drops += 1
            failures = 1 if has_data else failures + 1
            session.disconnected(self._clock(), told)
            listener.missed(session.gaps())
            self._wait(url, failures, told)
        return Heard(STOPPED, connections, drops)

    def _not_connected(self, error: Exception) -> Reading:
        """Return what a connection that did not come about means: 401 and 403 will not change by asking again."""
        told = self._secrets.blotted_text(f"{type(error).__name__}: {error}")
        status = error.response.status_code if isinstance(error, InvalidStatus) else None
        if status == 401:
            return Reading(Verdict.AUTH, told)
        return Reading(Verdict.NOT_ENTITLED if status == 403 else Verdict.NO_ANSWER, told)

    def _connect(self, url: str) -> ClientConnection:
        secrets = self._secrets
        return connect(
            secrets.added_to(url) if secrets.is_in_stream_query else url,
            additional_headers=None if secrets.is_in_stream_query else list(secrets.headers),
            open_timeout=self._timeout_s,
            close_timeout=1.0,
            compression=None,
            max_size=MAX_FRAME_BYTES,
            proxy=None if is_loopback(url) else True,
        )

    def _wait(self, url: str, failures: int, reason: str) -> None:
        wait_s = self._backoff.wait_s(failures, self._rng)
        if wait_s is None:
            raise ProviderUnavailableError(
                f"{url}: {failures} connections in a row brought nothing: {reason}", self._backoff.ceiling_s
            )
        self._sleep(wait_s)

    def _converse(self, connection: ClientConnection, session: Session, listener: Listener) -> tuple[bool, str, bool]:
        """Return (whether the feed has ended, why this connection ended, whether it brought data)."""
        has_data = False
        session.connected(self._clock())
        try:
            while not self._is_stopped():
                for frame in session.outgoing():
                    with suppress(ConnectionClosed):  # told again by `recv`, after what the server said before it closed
                        connection.send(frame, text=True)
                try:
                    data, _ = self._secrets.blotted(connection.recv(timeout=_POLL_S, decode=False))
                    now_ns = self._clock()
                    messages = session.receive(data, now_ns)
                    has_data = True
                except TimeoutError:
                    now_ns, messages = self._clock(), []
                listener.heard(messages, now_ns)
                gaps = session.gaps()
                if gaps:
                    listener.missed(gaps)
                for request in session.snapshots():
                    listener.fetch(request)
                if session.refusal() is not None:
                    return False, "refused", has_data
                session.tick(now_ns)
                if session.is_stale():
                    return False, "silence: no data although the socket is open", has_data
        except ConnectionClosed as error:
            close = error.rcvd
            if close is not None and close.code == 1000 and close.reason == END_OF_RECORDING:
                return True, END_OF_RECORDING, has_data
            return False, "socket dropped" if close is None else f"closed by the server: {close.code} {close.reason}", has_data
        return True, STOPPED, has_data
