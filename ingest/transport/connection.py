"""One WebSocket connection that hands on what a read of its socket brought, with the time of that read. Shell.

Handshake, proxies, pings and closing are the library's. What was read and not yet taken is bounded: then the socket is not
read, its window closes, and the server waits.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.client import ClientProtocol
from websockets.frames import Frame, Opcode
from websockets.protocol import Event, State

from ingest.transport.frames import MAX_FRAME_BYTES, FrameCutter
from lake.instants import Clock

PENDING_BYTES = 1024 * 1024
"""Read and not taken, at most, beside what one read brings (256 KiB)."""
UNANSWERED_MS = 60_000
"""Bytes of ours, pings included, that the other machine does not confirm for so long: it is gone."""
_PING_S = 20.0
_HEAD_END = b"\r\n\r\n"
Frames = list[tuple[int, list[bytes]]]
"""Receive time in nanoseconds -> the frames that one read of the socket completed."""


class FrameConnection(ClientConnection):
    """A connection whose frames are taken by the read."""

    def __init__(self, clock: Clock, protocol: ClientProtocol, **settings: Any) -> None:
        super().__init__(protocol, **settings)
        self._clock = clock
        self._head: bytes | None = b""
        """The last bytes of the answer to the handshake; None once it is whole."""
        self._cutter = FrameCutter()
        self._pending: Frames = []
        self._pending_bytes = 0
        self._fragments: list[bytes] = []
        self._is_held = self._is_lost = False
        self._waiting: asyncio.Future[None] | None = None

    @property
    def is_lost(self) -> bool:
        """Whether nothing more will come."""
        return self._is_lost

    @property
    def fault(self) -> str:
        """What the server sent that no frame may be, such as one that is too long: then it is we who ended; empty: nothing."""
        error = self.protocol.parser_exc
        return "" if error is None or isinstance(error, EOFError) else f"{type(error).__name__}: {error}"

    @property
    def pending_bytes(self) -> int:
        """Bytes of payload read and not taken."""
        return self._pending_bytes

    async def take(self, wait_s: float) -> Frames:
        """Return what was read since the last call; waits up to `wait_s` for the first of it, or for the end."""
        if not self._pending and not self._is_lost:
            self._waiting = self.loop.create_future()
            timer = self.loop.call_later(wait_s, self._wake)
            try:
                await self._waiting
            finally:
                timer.cancel()
                self._waiting = None
        taken, self._pending, self._pending_bytes = self._pending, [], 0
        if self._is_held and not self._is_lost:
            self._is_held = False
            self.transport.resume_reading()
        return taken

    def data_received(self, data: bytes) -> None:
        """Take bytes of the socket: the handshake's answer and odd frames go to the library, plain frames are pending."""
        if self._head is not None:
            data = self._after_head(data)
        plain: list[bytes] = []
        for is_plain, part in self._cutter.feed(data):
            if is_plain:
                plain.append(part)
            else:
                self._read(plain)
                plain = []
                super().data_received(part)
        self._read(plain)

    def _after_head(self, data: bytes) -> bytes:
        """Give the library the answer to the handshake, and return what follows it: of a refusal, nothing."""
        assert self._head is not None
        at = (self._head + data).find(_HEAD_END)
        end = len(data) if at < 0 else at + len(_HEAD_END) - len(self._head)
        self._head = (self._head + data)[-len(_HEAD_END) + 1 :]
        super().data_received(data[:end])
        if self.state is State.OPEN:
            self._head = None
            return data[end:]
        if end < len(data):
            super().data_received(data[end:])
        return b""

    def process_event(self, event: Event) -> None:
        """Take an event of the library: the pieces of a fragmented message are put together, as one frame."""
        if not isinstance(event, Frame) or event.opcode not in (Opcode.TEXT, Opcode.BINARY, Opcode.CONT):
            super().process_event(event)
            return
        self._fragments.append(bytes(event.data))
        if event.fin:
            whole, self._fragments = b"".join(self._fragments), []
            self._read([whole])

    def connection_lost(self, error: Exception | None) -> None:
        """Learn that the socket is gone."""
        super().connection_lost(error)
        self._is_lost = True
        self._wake()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Learn that the socket is open: what is sent on it and not confirmed ends it, without a word of the other side."""
        super().connection_made(transport)
        raw = transport.get_extra_info("socket")
        if raw is not None and hasattr(socket, "TCP_USER_TIMEOUT"):
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNANSWERED_MS)

    def _read(self, frames: list[bytes]) -> None:
        if not frames:
            return
        self._pending.append((self._clock(), frames))
        self._pending_bytes += sum(map(len, frames))
        if self._pending_bytes >= PENDING_BYTES and not self._is_held and not self._is_lost:
            self._is_held = True
            self.transport.pause_reading()
        self._wake()

    def _wake(self) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)


class _Connecting(connect):
    """Connecting without following redirects: keys would go along to wherever they point."""

    def process_redirect(self, error: Exception) -> Exception:
        """Return the error as it is."""
        return error


async def open_connection(
    url: str, clock: Clock, *, headers: list[tuple[str, str]] | None, timeout_s: float, is_local: bool
) -> FrameConnection:
    """Connect. Raises OSError, EOFError, and the library's InvalidHandshake, InvalidURI and ConnectionClosed."""

    class Timed(FrameConnection):
        """A connection that reads this clock."""

        def __init__(self, protocol: ClientProtocol, **settings: Any) -> None:
            super().__init__(clock, protocol, **settings)

    logging.getLogger("websockets.client").setLevel(logging.WARNING)  # it logs addresses and frames, keys included
    connection = await _Connecting(
        url,
        create_connection=Timed,
        additional_headers=headers,
        open_timeout=timeout_s,
        close_timeout=1.0,
        ping_interval=_PING_S,
        ping_timeout=None,  # liveness is told by data; and while we do not read, no pong reaches us
        compression=None,
        max_size=MAX_FRAME_BYTES,
        proxy=None if is_local else True,
    )
    assert isinstance(connection, FrameConnection)
    return connection
