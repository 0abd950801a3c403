"""The numbers of FIX messages, followed through a log: what is missing, what was sent again, where numbering begins anew.

MsgSeqNum (34) counts what one party sends another, ApplSeqNum (1181) what an application sends on a channel (1180). A number
beyond the next opens a gap; numbers that come later, or that a SequenceReset gives up (gap fill), close it again.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from ingest.asks import Gap

_HEADER_BYTES = 1024
_FIELD = re.compile(rb"(?:\A|[\x01|])(34|35|36|43|49|52|56|97|123|141|1180|1181)=([^\x01|]*)")
_MOST_OPEN = 1_000
"""Gaps of one channel that are waited for; older ones stay open."""
_LONGEST_NUMBER = 18


@dataclass(slots=True)
class _Open:
    number: int
    missing: list[tuple[int, int]]
    gap: Gap


@dataclass(slots=True)
class _Channel:
    """Where the numbers of one sender stand."""

    name: str
    last: int
    day: bytes = b""
    session: int = 0
    open: list[_Open] = field(default_factory=list)


class Numbers:
    """Follows every channel of a log."""

    def __init__(self) -> None:
        self._channels: dict[tuple[bytes, ...], _Channel] = {}
        self._count = 0

    def follow(self, message: bytes, *, is_repeat: bool) -> tuple[int, tuple[Gap, ...]]:
        """Return (how often the numbers of its channel began anew before this message, gaps opened and closed by it).

        is_repeat   the same bytes came before: they tell nothing new
        """
        told = dict(reversed(_FIELD.findall(message[:_HEADER_BYTES])))
        found: list[Gap] = []
        session = 0
        if b"1180" in told or b"1181" in told:
            key: tuple[bytes, ...] = (b"ApplSeqNum", told.get(b"1180", b""))
            session += self._step(key, told, told.get(b"1181"), is_repeat, found)
        if b"49" in told or b"56" in told or b"34" in told:
            key = (b"MsgSeqNum", told.get(b"49", b""), told.get(b"56", b""))
            session += self._step(key, told, told.get(b"34"), is_repeat, found)
        return session, tuple(found)

    def _step(
        self, key: tuple[bytes, ...], told: dict[bytes, bytes], text: bytes | None, is_repeat: bool, found: list[Gap]
    ) -> int:
        """Take one number of a channel; returns how often its numbers began anew."""
        channel = self._channels.get(key)
        if text is None or not text.isdigit() or len(text) > _LONGEST_NUMBER:
            return 0 if channel is None else channel.session
        number, day = int(text), told.get(b"52", b"")[:8]
        if channel is None:
            words = " ".join(part.decode("latin-1") for part in key if part)
            channel = self._channels[key] = _Channel(words, number, day)
        elif not is_repeat:
            self._arrived(channel, number, day, told, found)
        if told.get(b"35") == b"4" and key[0] == b"MsgSeqNum" and not is_repeat:
            self._reset(channel, number, told, found)
        return channel.session

    def _arrived(self, channel: _Channel, number: int, day: bytes, told: dict[bytes, bytes], found: list[Gap]) -> None:
        if number > channel.last:
            if number > channel.last + 1:
                found.append(self._opened(channel, channel.last + 1, number - 1))
            channel.last = number
        elif not self._filled(channel, number, number, found) and self._begins_anew(channel, number, day, told):
            channel.session += 1
            channel.last = number
        channel.day = max(channel.day, day)

    @staticmethod
    def _begins_anew(channel: _Channel, number: int, day: bytes, told: dict[bytes, bytes]) -> bool:
        if b"Y" in (told.get(b"43"), told.get(b"97")):
            return False
        return told.get(b"141") == b"Y" or number == 1 or day > channel.day

    def _reset(self, channel: _Channel, number: int, told: dict[bytes, bytes], found: list[Gap]) -> None:
        """A SequenceReset: nothing will come with the numbers from this one to before NewSeqNo."""
        text = told.get(b"36", b"")
        if text.isdigit() and len(text) <= _LONGEST_NUMBER:
            following = int(text)
            if told.get(b"123") == b"Y":
                self._filled(channel, number, following - 1, found)
                channel.last = max(channel.last, following - 1)
            elif following <= channel.last:
                channel.session += 1
                channel.last = following - 1
            else:
                channel.last = following - 1

    def _opened(self, channel: _Channel, first: int, last: int) -> Gap:
        gap = Gap(self._count, "", channel.name, "open", "the numbers of its messages leave these out", str(first), str(last))
        self._count += 1
        channel.open = [*channel.open[-_MOST_OPEN + 1 :], _Open(gap.number, [(first, last)], gap)]
        return gap

    def _filled(self, channel: _Channel, first: int, last: int, found: list[Gap]) -> bool:
        """Take [first, last] out of what is missing; returns whether anything of it was."""
        is_any = False
        for one in channel.open:
            left = [part for low, high in one.missing for part in ((low, min(high, first - 1)), (max(low, last + 1), high))]
            left = sorted({part for part in left if part[0] <= part[1]})
            is_any = is_any or left != one.missing
            one.missing = left
            if not left:
                gap = one.gap
                told = "the missing messages came, or were given up by their sender"
                found.append(Gap(gap.number, gap.symbol, gap.channel, "filled", told, gap.first_missing, gap.last_missing))
        if is_any:
            channel.open = [one for one in channel.open if one.missing]
        return is_any
