"""ITCH 5.0 messages made by hand, as the specification lays them out."""

from __future__ import annotations

import struct
from collections.abc import Sequence

OPEN_NS = 34_200_000_000_123
"""09:30:00.000000123 since midnight."""


def head(kind: bytes, locate: int = 1, at: int = OPEN_NS) -> bytes:
    return kind + struct.pack(">HH", locate, 0) + at.to_bytes(6, "big")


def stock(symbol: bytes) -> bytes:
    return symbol.ljust(8)


def add(order: int, side: bytes, shares: int, e4: int, symbol: bytes = b"ALC", mpid: bytes = b"", at: int = OPEN_NS) -> bytes:
    body = struct.pack(">Q", order) + side + struct.pack(">I", shares) + stock(symbol) + struct.pack(">I", e4)
    return head(b"F" if mpid else b"A", at=at) + body + mpid


def executed(order: int, shares: int, match: int) -> bytes:
    return head(b"E") + struct.pack(">QIQ", order, shares, match)


def executed_at(order: int, shares: int, match: int, e4: int, printable: bytes = b"Y") -> bytes:
    return head(b"C") + struct.pack(">QIQ", order, shares, match) + printable + struct.pack(">I", e4)


def cancelled(order: int, shares: int) -> bytes:
    return head(b"X") + struct.pack(">QI", order, shares)


def deleted(order: int) -> bytes:
    return head(b"D") + struct.pack(">Q", order)


def replaced(order: int, new: int, shares: int, e4: int) -> bytes:
    return head(b"U") + struct.pack(">QQII", order, new, shares, e4)


def hidden(shares: int, e4: int, match: int, symbol: bytes = b"ALC") -> bytes:
    return head(b"P") + struct.pack(">Q", 0) + b"B" + struct.pack(">I", shares) + stock(symbol) + struct.pack(">IQ", e4, match)


def cross(shares: int, e4: int, match: int, kind: bytes = b"O") -> bytes:
    return head(b"Q") + struct.pack(">Q", shares) + stock(b"ALC") + struct.pack(">IQ", e4, match) + kind


def broken(match: int) -> bytes:
    return head(b"B") + struct.pack(">Q", match)


def directory(symbol: bytes = b"ALC", locate: int = 1) -> bytes:
    return head(b"R", locate) + stock(symbol) + b"QN" + struct.pack(">I", 100) + b"NCZ PNN1N" + struct.pack(">I", 0) + b"N"


def states() -> list[bytes]:
    """One message of every type about trading itself."""
    return [
        head(b"S", 0) + b"Q",
        directory(),
        head(b"H") + stock(b"ALC") + b"H T1  ",
        head(b"H") + stock(b"ALC") + b"Q     ",
        head(b"Y") + stock(b"ALC") + b"1",
        head(b"L") + b"NITE" + stock(b"ALC") + b"YNA",
        head(b"V", 0) + struct.pack(">QQQ", 265_000_000_000, 247_500_000_000, 227_700_000_001),
        head(b"W", 0) + b"2",
        head(b"K") + stock(b"ALC") + struct.pack(">I", 36_000) + b"A" + struct.pack(">I", 170_000),
        head(b"J") + stock(b"ALC") + struct.pack(">IIII", 100_000, 110_000, 90_000, 1),
        head(b"h") + stock(b"ALC") + b"QH",
        head(b"I") + struct.pack(">QQ", 5_000, 700) + b"S" + stock(b"ALC") + struct.pack(">III", 99_000, 99_500, 100_000) + b"CL",
        head(b"N") + stock(b"ALC") + b"A",
        head(b"O") + stock(b"ALC") + b"Y" + struct.pack(">IIIQII", 1, 2, 30_000, 4, 20_000, 40_000),
    ]


def trading() -> list[bytes]:
    """One message of every type about orders and trades, and the ways a cross can end."""
    return [
        add(11, b"B", 500, 100_000),
        add(12, b"S", 300, 100_100, mpid=b"NITE"),
        executed(11, 100, 901),
        executed_at(12, 50, 902, 100_050, b"N"),
        cancelled(11, 100),
        replaced(11, 13, 200, 99_900),
        executed(13, 200, 903),
        deleted(12),
        hidden(70, 100_025, 904),
        cross(10_000, 100_000, 905),
        cross(0, 0, 0, b"H"),
        broken(904),
    ]


def prefixed(messages: Sequence[bytes], *, with_lengths: bool = True) -> bytes:
    return b"".join(struct.pack(">H", len(message) if with_lengths else 0) + message for message in messages)
