"""The walker of packet captures: pcap and pcapng, bytes in, offsets of IEX-TP segments and of their messages out.

It knows classic pcap (micro- and nanoseconds, both byte orders) and pcapng (sections, interfaces, enhanced, simple and old packet
blocks), Ethernet with VLAN tags, Linux cooked captures, raw IP and loopback, IPv4 and IPv6, UDP, and the 40-byte header of
IEX-TP 1. What is not IEX-TP is counted; what is, but cannot be read to its end, is a fault with its place. Columns are bytes of
little-endian int64. One call a batch.
Source: PROVIDERS.md section 3; the pcap and pcapng drafts of the IETF.
"""

from __future__ import annotations

from typing import Final, final

from librt.strings import BytesWriter, read_i16_le, read_i32_be, read_i32_le, read_i64_le, write_i64_le
from mypy_extensions import i64

UNKNOWN: Final = 0
PCAP: Final = 1
PCAPNG: Final = 2
TRUNCATED: Final = 1
FRAGMENT: Final = 2
MALFORMED: Final = 3

HEADER_BYTES: Final = 40
_MOST_BLOCK_BYTES: Final = 16 * 1024 * 1024
_MOST_NUMBER: Final = 1 << 62
_SECTION: Final = 0x0A0D0D0A
_U32: Final = 0xFFFFFFFF


@final
class Form:
    """What a capture's own headers say, and the bytes that say it: `prefix` before any later packets is a whole capture."""

    def __init__(self) -> None:
        self.kind: i64 = UNKNOWN
        self.is_big = False
        self.is_damaged = False
        self.prefix = b""
        self.links: list[int] = []
        self.ticks_a_second: list[int] = []
        self.offsets_s: list[int] = []

    def copy(self) -> Form:
        """Return the same, to go on with while this one stays."""
        twin = Form()
        twin.kind = self.kind
        twin.is_big = self.is_big
        twin.is_damaged = self.is_damaged
        twin.prefix = self.prefix
        twin.links = self.links[:]
        twin.ticks_a_second = self.ticks_a_second[:]
        twin.offsets_s = self.offsets_s[:]
        return twin


@final
class Packets:
    """Columns of the segments and messages found, faults with their places, and how many packets were something else."""

    def __init__(self) -> None:
        self.segment_at = BytesWriter()
        self.segment_stamp = BytesWriter()
        self.message_at = BytesWriter()
        self.message_length = BytesWriter()
        self.message_number = BytesWriter()
        self.message_segment = BytesWriter()
        self.fault_at = BytesWriter()
        self.fault_code = BytesWriter()
        self.segments: i64 = 0
        self.others: i64 = 0

    def fault(self, at: i64, code: i64) -> None:
        """Note that the segment or packet at `at` could not be read to its end."""
        write_i64_le(self.fault_at, at)
        write_i64_le(self.fault_code, code)


def walk(data: bytes, start: i64, stop: i64, form: Form, most: i64, found: Packets, *, with_messages: bool) -> i64:
    """Read whole packets from `start` on and return where the first one begins that was not read.

    most   stop at the first packet that begins so many bytes after `start`

    Reading ends before `stop` at a packet that is not all there, and for good where `form.is_damaged`.
    """
    i = start
    while i < stop and i - start < most and not form.is_damaged:
        if form.kind == UNKNOWN:
            taken = _open(data, i, stop, form)
        elif form.kind == PCAP:
            taken = _record(data, i, stop, form, found, with_messages)
        else:
            taken = _block(data, i, stop, form, found, with_messages)
        if taken == 0:
            break
        i += taken
    return i


def _u16_be(data: bytes, i: i64) -> i64:
    high: i64 = data[i]
    low: i64 = data[i + 1]
    return high << 8 | low


def _u16(data: bytes, i: i64, is_big: bool) -> i64:
    return _u16_be(data, i) if is_big else i64(read_i16_le(data, i)) & 0xFFFF


def _u32(data: bytes, i: i64, is_big: bool) -> i64:
    return (i64(read_i32_be(data, i)) if is_big else i64(read_i32_le(data, i))) & _U32


def _open(data: bytes, i: i64, stop: i64, form: Form) -> i64:
    """Read the header of a capture; bytes taken, 0 when it is not all there or is none."""
    if stop - i < 24:
        return 0
    magic = _u32(data, i, False)
    if magic == _SECTION:
        form.kind = PCAPNG
        return _block(data, i, stop, form, Packets(), False)
    for is_big in (False, True):
        value = _u32(data, i, is_big)
        if value in (0xA1B2C3D4, 0xA1B23C4D):
            form.kind = PCAP
            form.is_big = is_big
            form.links = [_u32(data, i + 20, is_big) & 0xFFFF]
            form.ticks_a_second = [1_000_000_000 if value == 0xA1B23C4D else 1_000_000]
            form.prefix = data[i : i + 24]
            return 24
    form.is_damaged = True
    return 0


def _record(data: bytes, i: i64, stop: i64, form: Form, found: Packets, with_messages: bool) -> i64:
    if stop - i < 16:
        return 0
    big = form.is_big
    length = _u32(data, i + 8, big)
    if length > _MOST_BLOCK_BYTES:
        form.is_damaged = True
        return 0
    if stop - i - 16 < length:
        return 0
    ticks_a_second: i64 = form.ticks_a_second[0]
    fraction = _u32(data, i + 4, big) * (1_000_000_000 // ticks_a_second)
    stamp = _u32(data, i, big) * 1_000_000_000 + fraction
    link: i64 = form.links[0]
    _packet(data, i + 16, i + 16 + length, stamp, link, found, with_messages)
    return 16 + length


def _block(data: bytes, i: i64, stop: i64, form: Form, found: Packets, with_messages: bool) -> i64:
    if stop - i < 12:
        return 0
    kind = _u32(data, i, form.is_big)
    if kind == _SECTION:
        form.is_big = _u32(data, i + 8, True) == 0x1A2B3C4D
        if not form.is_big and _u32(data, i + 8, False) != 0x1A2B3C4D:
            form.is_damaged = True
            return 0
    length = _u32(data, i + 4, form.is_big)
    if length < 12 or length % 4 != 0 or length > _MOST_BLOCK_BYTES:
        form.is_damaged = True
        return 0
    if stop - i < length:
        return 0
    if kind == _SECTION:
        form.prefix = data[i : i + length]
        form.links = []
        form.ticks_a_second = []
        form.offsets_s = []
    elif kind == 1:
        if length < 20:
            found.fault(i, MALFORMED)
        else:
            _interface(data, i, length, form)
    elif kind == 6 or kind == 2:
        _enhanced(data, i, length, kind == 2, form, found, with_messages)
    elif kind == 3 and length >= 16 and len(form.links) > 0:
        size = _u32(data, i + 8, form.is_big)
        link: i64 = form.links[0]
        _packet(data, i + 12, i + 12 + min(size, length - 16), 0, link, found, with_messages)
    return length


def _interface(data: bytes, i: i64, length: i64, form: Form) -> None:
    """Take an interface: its link type, and the unit and origin of its clock."""
    big = form.is_big
    ticks = 1_000_000
    offset = 0
    k = i + 16
    while k + 4 <= i + length - 4:
        code = _u16(data, k, big)
        size = _u16(data, k + 2, big)
        if code == 0 or k + 4 + size > i + length - 4:
            break
        if code == 9 and size >= 1:
            exponent: i64 = data[k + 4]
            ticks = 2 ** int(exponent & 0x7F) if exponent & 0x80 else 10 ** int(exponent)
        elif code == 14 and size >= 8:
            high = _u32(data, k + 4 if big else k + 8, big)
            offset = int(_u32(data, k + 8 if big else k + 4, big)) if high == 0 else 0
        k += 4 + (size + 3) // 4 * 4
    form.links.append(int(_u16(data, i + 8, big)))
    form.ticks_a_second.append(ticks)
    form.offsets_s.append(offset)
    form.prefix = form.prefix + data[i : i + length]


def _enhanced(data: bytes, i: i64, length: i64, is_old: bool, form: Form, found: Packets, with_messages: bool) -> None:
    if length < 32:
        found.fault(i, MALFORMED)
        return
    big = form.is_big
    number = _u16(data, i + 8, big) if is_old else _u32(data, i + 8, big)
    size = _u32(data, i + 20, big)
    if number >= len(form.links) or 28 + size > length - 4:
        found.fault(i, MALFORMED)
        return
    place = int(number)
    ticks = int(_u32(data, i + 12, big)) << 32 | int(_u32(data, i + 16, big))
    stamp = (ticks * 1_000_000_000) // form.ticks_a_second[place] + form.offsets_s[place] * 1_000_000_000
    link: i64 = form.links[place]
    known: i64 = stamp if stamp < _MOST_NUMBER else 0
    _packet(data, i + 28, i + 28 + size, known, link, found, with_messages)


def _packet(data: bytes, at: i64, end: i64, stamp: i64, link: i64, found: Packets, with_messages: bool) -> None:
    """Find the IEX-TP segment of a packet of [at, end), as far as it was captured."""
    ip = _network(data, at, end, link)
    if ip < 0 or end - ip < 20:
        found.others += 1
        return
    version: i64 = data[ip] >> 4
    if version == 4:
        protocol: i64 = data[ip + 9]
        udp = ip + (i64(data[ip]) & 15) * 4
        is_fragment = _u16_be(data, ip + 6) & 0x3FFF != 0
    elif version == 6:
        protocol = data[ip + 6]
        udp = ip + 40
        is_fragment = protocol == 44
    else:
        found.others += 1
        return
    if is_fragment and protocol in (17, 44):
        found.fault(at, FRAGMENT)
        return
    if protocol != 17 or end - udp < 8 or udp < ip + 20:
        found.others += 1
        return
    segment = udp + 8
    declared = udp + _u16_be(data, udp + 4)
    if declared - segment < HEADER_BYTES:
        found.others += 1
    elif end - segment < HEADER_BYTES:
        if end - segment >= 4 and _is_segment(data, segment):
            found.fault(segment, TRUNCATED)
        else:
            found.others += 1
    elif _is_segment(data, segment):
        _segment(data, segment, min(end, declared), stamp, found, with_messages)
    else:
        found.others += 1


def _network(data: bytes, at: i64, end: i64, link: i64) -> i64:
    """Return where the IP header begins, -1 where there is none."""
    size = end - at
    if link == 1:
        i = at + 14
        while i <= end and i - at >= 14 and _u16_be(data, i - 2) in (0x8100, 0x88A8, 0x9100):
            i += 4
        return i if i <= end and _u16_be(data, i - 2) in (0x0800, 0x86DD) else -1
    if link == 113:
        return at + 16 if size >= 16 and _u16_be(data, at + 14) in (0x0800, 0x86DD) else -1
    if link == 276:
        return at + 20 if size >= 20 and _u16_be(data, at) in (0x0800, 0x86DD) else -1
    if link in (0, 108):
        return at + 4 if size >= 4 else -1
    return at if link in (12, 14, 101, 228, 229) else -1


def _is_segment(data: bytes, i: i64) -> bool:
    protocol = _u16(data, i + 2, False)
    return data[i] == 1 and 0x8002 <= protocol <= 0x8004


def _segment(data: bytes, at: i64, end: i64, stamp: i64, found: Packets, with_messages: bool) -> None:
    first = read_i64_le(data, at + 24)
    if first < 0 or first > _MOST_NUMBER:
        found.fault(at, MALFORMED)
        return
    write_i64_le(found.segment_at, at)
    write_i64_le(found.segment_stamp, stamp)
    number = found.segments
    found.segments += 1
    if not with_messages:
        return
    count = _u16(data, at + 14, False)
    whole = at + HEADER_BYTES + _u16(data, at + 12, False)
    stop = min(end, whole)
    i = at + HEADER_BYTES
    k: i64 = 0
    while k < count:
        if i + 2 > stop:
            break
        length = _u16(data, i, False)
        if i + 2 + length > stop:
            break
        write_i64_le(found.message_at, i + 2)
        write_i64_le(found.message_length, length)
        write_i64_le(found.message_number, first + k)
        write_i64_le(found.message_segment, number)
        i += 2 + length
        k += 1
    if k < count:
        found.fault(at, TRUNCATED if end < whole else MALFORMED)
    elif i != whole:
        found.fault(at, MALFORMED)
