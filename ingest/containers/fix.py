"""Logs of FIX messages: cut at message boundaries, whatever stands around them, in bounded memory.

A message ends where its BodyLength says, when a CheckSum stands there: data fields may hold anything. Where the length lies, it
ends at its CheckSum, with its line or before the next message. Bytes before a message on its line (a log's stamp) are noted as
`before`. A line of fields without BeginString is a message without envelope; any other line is a message whole, for the decoder
to judge. Fields are parted by SOH, or by `|` in logs made for people.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from ingest.containers.fix_numbers import Numbers
from ingest.containers.source import Piece, Source, Told
from ingest.conversation import FrameMemory

CONTENT_TYPE = "application/fix"
MOST_MESSAGE_BYTES = 16 * 1024 * 1024
"""A message without an end within so many bytes is cut there: memory stays bounded."""
_HEAD = re.compile(rb"8=FIXT?\.\d\.\d[^\x01|]{0,8}([\x01|])9=(\d{1,8})\1")
_BEGIN = re.compile(rb"(?<![0-9])8=FIXT?\.\d")
_TRAILER = re.compile(rb"10=\d{1,3}(?:[\x01|]|(?=[\r\n]))")
_TRAILER_AT_END = re.compile(rb"10=\d{1,3}(?:[\x01|]|(?=[\r\n])|\Z)")
_LONGEST_TRAILER, _LONGEST_HEAD = len("10=000|"), 32
_END = re.compile(rb"[\x01|]10=\d{1,3}(?:[\x01|]|(?=[\r\n]))|[\x01|](?=8=FIXT?\.\d)|[\r\n]")
_BARE = re.compile(rb"\d{1,5}=[^\x01|\r\n]*[\x01|]")
_BARE_END = re.compile(rb"[\x01|]10=\d{1,3}[\x01|]|[\x01|](?=8=FIXT?\.\d)|[\r\n]")
_KIND = re.compile(rb"(?:\A|[\x01|\n])35=[A-Za-z0-9]{1,2}[\x01|]")
_BLANK = b" \t\r\n\0\x01"
_SNIFF_BYTES = 8 * 1024


@dataclass(frozen=True, slots=True)
class _Cut:
    """One message in the buffer: noise [at, start), bytes [start, end)."""

    start: int
    end: int


def is_fix(name: str, beginning: bytes) -> bool:
    """Return whether a file begins with FIX messages, with or without envelope."""
    head = beginning[:_SNIFF_BYTES]
    found = _BEGIN.search(head)
    is_bare = _BARE.match(head.lstrip(_BLANK)) is not None and _KIND.search(head) is not None
    return is_bare or (found is not None and b"=" in head[found.end() :])


def fix_messages(source: Source, told: Told) -> Iterator[Piece]:
    """Yield a log's messages; repeats, sessions and gaps of their numbers are noted as a session would."""
    memory, numbers = FrameMemory(), Numbers()
    for number, (before, message) in enumerate(split(source.chunks())):
        notes: dict[str, object] = {"message": number}
        if before:
            notes["before"] = before.decode("latin-1")
        first = memory.first_of(message.rstrip(b"\x01|"), number)
        if first is not None:
            notes["repeats"] = first
        session, gaps = numbers.follow(message, is_repeat=first is not None)
        if session:
            notes["session"] = session
        yield Piece(message, CONTENT_TYPE, request=told.request(**notes), gaps=gaps)


def split(chunks: Iterable[bytes]) -> Iterator[tuple[bytes, bytes]]:
    """Yield (bytes before it on its line, message) of a stream, the same wherever its chunks were cut."""
    buffer, at = bytearray(), 0
    for chunk in chunks:
        del buffer[:at]
        buffer += chunk
        at = 0
        while (cut := _within_bound(buffer, at)) is not None:
            yield from _taken(buffer, at, cut)
            at = cut.end
    while at < len(buffer) and (cut := _next(buffer, at, is_last=True)) is not None:
        yield from _taken(buffer, at, cut)
        at = cut.end


def _taken(buffer: bytearray, at: int, cut: _Cut) -> Iterator[tuple[bytes, bytes]]:
    message = bytes(buffer[cut.start : cut.end]).strip(b"\r\n")
    if message:
        yield bytes(buffer[at : cut.start]).strip(_BLANK), message


def _within_bound(buffer: bytearray, at: int) -> _Cut | None:
    """Return the next message, at most MOST_MESSAGE_BYTES long; None while more bytes are needed."""
    if len(buffer) - at <= MOST_MESSAGE_BYTES:
        return _next(buffer, at, is_last=False)
    cut = _next(buffer[at : at + MOST_MESSAGE_BYTES], 0, is_last=True)
    return None if cut is None else _Cut(at + cut.start, at + cut.end)


def _next(buffer: bytearray, at: int, *, is_last: bool) -> _Cut | None:
    """Return the next message; None while more bytes are needed to see its end (with `is_last`: only when there is none).

    What is found in some bytes is found in more of them too: no pattern of an end reaches over another.
    """
    start = at
    while start < len(buffer) and buffer[start] in _BLANK:
        start += 1
    if start == len(buffer):
        return _Cut(start, start) if start > at else None
    if _BEGIN.match(buffer, start) is not None:
        return _enveloped(buffer, start, is_last)
    if _BARE.match(buffer, start) is not None:
        end = _BARE_END.search(buffer, start)
        return _Cut(start, end.end()) if end is not None else _rest(buffer, start, is_last)
    line_end = buffer.find(b"\n", start)
    begin = _BEGIN.search(buffer, start, len(buffer) if line_end < 0 else line_end)
    if begin is not None:
        return _enveloped(buffer, begin.start(), is_last)
    return _Cut(start, line_end) if line_end >= 0 else _rest(buffer, start, is_last)


def _enveloped(buffer: bytearray, start: int, is_last: bool) -> _Cut | None:
    head = _HEAD.match(buffer, start)
    if head is None and not is_last and len(buffer) - start < _LONGEST_HEAD:
        return None
    if head is not None:
        stop = head.end() + int(head[2])
        is_here = stop + _LONGEST_TRAILER <= len(buffer)
        if not is_here and not is_last and stop - start <= MOST_MESSAGE_BYTES:
            return None
        trailer = (_TRAILER if is_here else _TRAILER_AT_END).match(buffer, stop)
        if trailer is not None and buffer[stop - 1] == head[1][0]:
            return _Cut(start, trailer.end())
    end = _END.search(buffer, start + 1)
    return _Cut(start, end.end()) if end is not None else _rest(buffer, start, is_last)


def _rest(buffer: bytearray, start: int, is_last: bool) -> _Cut | None:
    return _Cut(start, len(buffer)) if is_last else None
