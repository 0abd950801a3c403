"""Cutting a server's bytes into whole WebSocket frames. Machine: bytes in, frames out, no I/O.

Plain data frames, the mass of a market feed, are cut here a read at a time; every other frame (control, fragments, what breaks
the rules) goes whole to the library, which knows the protocol. Source: RFC 6455 section 5.2.
"""

from __future__ import annotations

MAX_FRAME_BYTES = 16 * 1024 * 1024
_PLAIN = (0x81, 0x82)
"""First byte of a text or binary message in one frame without extensions."""
_MASKED = 0x80


class FrameCutter:
    """The bytes of one connection after its handshake.

    max_bytes   of a frame; from the head of a longer one on everything is the library's, which refuses it
    """

    def __init__(self, max_bytes: int = MAX_FRAME_BYTES) -> None:
        self._max_bytes = max_bytes
        self._parts: list[bytes] = []
        self._missing = 0
        self._is_given_up = False

    def feed(self, data: bytes) -> list[tuple[bool, bytes]]:
        """Take bytes; return (True, payload) of each plain data frame, (False, bytes) of what is the library's, in order."""
        if self._is_given_up:
            return [(False, data)]
        if self._missing > len(data):  # a long frame is collected, not parsed again at each read
            self._missing -= len(data)
            self._parts.append(data)
            return []
        if self._parts:
            data = b"".join([*self._parts, data])
            self._parts, self._missing = [], 0
        return self._cut(data)

    def _cut(self, data: bytes) -> list[tuple[bool, bytes]]:
        found: list[tuple[bool, bytes]] = []
        at, size = 0, len(data)
        while size - at >= 2:
            length = data[at + 1]
            body = at + 2
            if length & _MASKED:  # no server may
                return self._give_up(found, data[at:])
            if length == 126:
                body = at + 4
                length = int.from_bytes(data[at + 2 : body], "big")
            elif length == 127:
                body = at + 10
                length = int.from_bytes(data[at + 2 : body], "big")
            if body > size:
                break
            if length > self._max_bytes:
                return self._give_up(found, data[at:])
            end = body + length
            if end > size:
                self._missing = end - size
                break
            found.append((True, data[body:end]) if data[at] in _PLAIN else (False, data[at:end]))
            at = end
        if at < size:
            self._parts = [data[at:]]
            self._missing = self._missing or 1
        return found

    def _give_up(self, found: list[tuple[bool, bytes]], rest: bytes) -> list[tuple[bool, bytes]]:
        self._is_given_up = True
        return [*found, (False, rest)]
