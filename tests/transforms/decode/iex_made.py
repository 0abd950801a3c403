"""IEX-TP captures made by hand: messages as the specifications lay them out, in segments, in UDP, in pcap and pcapng."""

from __future__ import annotations

import struct
from collections.abc import Sequence

OPEN_NS = 1_499_697_277_643_876_560
"""2017-07-10 14:34:37.643876560 UTC."""
TOPS16, DEEP10 = 0x8003, 0x8004
ETHERNET = bytes.fromhex("01005e57150200e04300c7ff")


def named(kind: bytes, code: int, symbol: bytes, body: bytes = b"", at: int = OPEN_NS) -> bytes:
    return kind + struct.pack("<Bq", code, at) + symbol.ljust(8) + body


def system(code: bytes, at: int = OPEN_NS) -> bytes:
    return b"S" + code + struct.pack("<q", at)


def trade(symbol: bytes, size: int, e4: int, trade_id: int, flags: int = 0, kind: bytes = b"T", at: int = OPEN_NS) -> bytes:
    return named(kind, flags, symbol, struct.pack("<Iqq", size, e4, trade_id), at)


def quote(symbol: bytes, bid: tuple[int, int], ask: tuple[int, int], flags: int = 0, at: int = OPEN_NS) -> bytes:
    return named(b"Q", flags, symbol, struct.pack("<IqqI", bid[1], bid[0], ask[0], ask[1]), at)


def level(kind: bytes, symbol: bytes, size: int, e4: int, *, is_complete: bool = True, at: int = OPEN_NS) -> bytes:
    return named(kind, int(is_complete), symbol, struct.pack("<Iq", size, e4), at)


def auction(symbol: bytes, side: bytes = b"B") -> bytes:
    told = struct.pack("<IqqI", 1000, 400_000, 401_000, 250) + side
    return named(b"A", ord("C"), symbol, told + struct.pack("<BIqqqq", 2, 1_499_716_800, 400_500, 400_000, 360_000, 440_000))


def states() -> list[bytes]:
    """One message of every type about trading itself."""
    return [
        system(b"O"),
        named(b"D", 0xA0, b"ZIEXT", struct.pack("<IqB", 100, 400_000, 1)),
        named(b"H", ord("H"), b"ZIEXT", b"T1  "),
        named(b"H", ord("T"), b"ZIEXT", b"    "),
        named(b"I", ord("A"), b"ZIEXT"),
        named(b"O", ord("O"), b"ZIEXT"),
        named(b"O", ord("N"), b"ZIEXT"),
        named(b"P", 1, b"ZIEXT", b"A"),
        named(b"E", ord("O"), b"ZIEXT"),
        named(b"X", ord("M"), b"ZIEXT", struct.pack("<q", 399_900)),
        auction(b"ZIEXT"),
    ]


def tops_messages() -> list[bytes]:
    return [
        *states(),
        quote(b"ZIEXT", (0, 0), (0, 0), 0x40),
        quote(b"ZIEXT", (399_900, 300), (400_100, 200)),
        trade(b"ZIEXT", 100, 400_000, 77, 0x80 | 0x20),
        trade(b"ZIEXT", 100, 400_000, 77, 0x80 | 0x20, b"B"),
    ]


def deep_messages() -> list[bytes]:
    return [
        *states(),
        level(b"8", b"ZIEXT", 300, 399_900, is_complete=False),
        level(b"5", b"ZIEXT", 200, 400_100),
        trade(b"ZIEXT", 100, 400_100, 78),
        level(b"5", b"ZIEXT", 0, 400_100),
    ]


def segment(messages: Sequence[bytes], first: int = 1, session: int = 1_137_508_352, protocol: int = TOPS16) -> bytes:
    body = b"".join(struct.pack("<H", len(message)) + message for message in messages)
    head = struct.pack("<BBHIIHHQQQ", 1, 0, protocol, 1, session, len(body), len(messages), 0, first, OPEN_NS)
    return head + body


def packet(payload: bytes, port: int = 16642) -> bytes:
    udp = struct.pack(">HHHH", 32001, port, 8 + len(payload), 0) + payload
    ip = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 20 + len(udp), 0, 0, 64, 17, 0, b"\x17\xe2\x9b\x84", b"\xe9\xd7\x15\x04")
    return ETHERNET + b"\x08\x00" + ip + udp


def pcap(packets: Sequence[bytes], order: str = "<", ticks: int = 10**6, link: int = 1) -> bytes:
    magic = 0xA1B23C4D if ticks == 10**9 else 0xA1B2C3D4
    parts = [struct.pack(f"{order}IHHiIII", magic, 2, 4, 0, 0, 65535, link)]
    for number, data in enumerate(packets):
        seconds, rest = divmod(OPEN_NS + number * 1_000, 10**9)
        parts.append(struct.pack(f"{order}IIII", seconds, rest * ticks // 10**9, len(data), len(data)) + data)
    return b"".join(parts)


def block(kind: int, body: bytes, order: str = "<") -> bytes:
    body += bytes(-len(body) % 4)
    length = struct.pack(f"{order}I", 12 + len(body))
    return struct.pack(f"{order}I", kind) + length + body + length


def pcapng(packets: Sequence[bytes], order: str = "<", resolution: int | None = 9) -> bytes:
    options = b"" if resolution is None else struct.pack(f"{order}HHB3xHH", 9, 1, resolution, 0, 0)
    parts = [
        block(0x0A0D0D0A, struct.pack(f"{order}IHHq", 0x1A2B3C4D, 1, 0, -1), order),
        block(1, struct.pack(f"{order}HHI", 1, 0, 65535) + options, order),
    ]
    for number, data in enumerate(packets):
        ticks = (OPEN_NS + number * 1_000) // 10 ** (9 - (6 if resolution is None else resolution))
        head = struct.pack(f"{order}IIIII", 0, ticks >> 32, ticks & 0xFFFFFFFF, len(data), len(data))
        parts.append(block(6, head + data, order))
    return b"".join(parts)


def packets_of(messages: Sequence[bytes], protocol: int, each: int = 4, session: int = 1_137_508_352) -> list[bytes]:
    """Return packets of `each` messages, numbered from 1."""
    cuts = range(0, len(messages), each)
    return [packet(segment(messages[cut : cut + each], cut + 1, session, protocol)) for cut in cuts]
