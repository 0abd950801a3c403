"""The walker of Nasdaq TotalView-ITCH 5.0: bytes in, offsets of messages out, and the orders that executions hit.

Messages lie one after the other, each behind two bytes of its length (0: the type tells it) or behind nothing. Orders are kept
flat, 24 bytes a slot, so that a day of millions of open orders fits. Columns are bytes of little-endian int64.
Source: Nasdaq TotalView-ITCH 5.0.
"""

from __future__ import annotations

from typing import Final, final

from librt.strings import BytesWriter, read_i32_be, read_i64_be, read_i64_le, write_i64_le
from librt.vecs import vec
from mypy_extensions import i64

PREFIXED: Final = 2
BARE: Final = 0
LENGTHS: Final = {
    "S": 12, "R": 39, "H": 25, "Y": 20, "L": 26, "V": 35, "W": 12, "K": 28, "J": 35, "h": 21, "A": 36, "F": 40, "E": 31, "C": 36,
    "X": 23, "D": 19, "U": 35, "P": 44, "Q": 40, "B": 19, "I": 50, "N": 20, "O": 48,
}  # fmt: skip
"""Bytes of each message type."""

_BY_TYPE: Final = bytes([LENGTHS.get(chr(code), 0) for code in range(256)])
_U32: Final = 0xFFFFFFFF
_ADD, _ADD_MPID, _EXECUTED, _EXECUTED_AT, _CANCEL, _DELETE, _REPLACE = 65, 70, 69, 67, 88, 68, 85
_BUY: Final = 66


@final
class Found:
    """Columns of the messages found, and whether what follows is no message."""

    def __init__(self) -> None:
        self.at = BytesWriter()
        self.length = BytesWriter()
        self.is_damaged = False


def walk(data: bytes, start: i64, stop: i64, prefix: i64, most: i64, found: Found) -> i64:
    """Read whole messages from `start` on and return where the first one begins that was not read.

    prefix   PREFIXED or BARE
    most     stop at the first message that begins so many bytes after `start`
    """
    i = start
    while i < stop and i - start < most:
        if i + prefix >= stop:
            break
        known: i64 = _BY_TYPE[data[i + prefix]]
        length = known
        if prefix == PREFIXED:
            high: i64 = data[i]
            low: i64 = data[i + 1]
            if high != 0 or low != 0:
                length = high << 8 | low
        if length == 0 or (prefix == PREFIXED and length < 11):
            found.is_damaged = True
            break
        if i + prefix + length > stop:
            break
        write_i64_le(found.at, i + prefix)
        write_i64_le(found.length, length)
        i += prefix + length
    return i


@final
class Orders:
    """Open orders by their reference: price in ten-thousandths, side, and shares left; open addressing, no tombstones.

    An execution may be told before its order is: until then the reference stands with price -1 and the shares executed.
    """

    def __init__(self) -> None:
        self.count: i64 = 0
        self.slots: i64 = 1024
        self.keys = vec[i64]([0] * 1024)
        self.prices = vec[i64]([0] * 1024)
        self.shares = vec[i64]([0] * 1024)

    def place(self, key: i64) -> i64:
        """Return the slot of an order, or the empty one where it would be."""
        mask = self.slots - 1
        slot = (key ^ (key >> 20) ^ (key >> 40)) & mask
        while self.keys[slot] != 0 and self.keys[slot] != key:
            slot = (slot + 1) & mask
        return slot

    def put(self, key: i64, price: i64, shares: i64) -> None:
        """Open an order; shares below zero are of a sale. A reference of 0 names no order."""
        if key == 0:
            return
        if self.count * 2 >= self.slots:
            self._grow()
        slot = self.place(key)
        taken: i64 = 0
        if self.keys[slot] == 0:
            self.count += 1
        elif self.prices[slot] == -1:
            taken = self.shares[slot]
        self.keys[slot] = key
        self.prices[slot] = price
        self.shares[slot] = shares
        if taken > 0:
            self.take(key, taken)

    def take(self, key: i64, shares: i64) -> None:
        """Take shares off an order; one without shares is closed."""
        slot = self.place(key)
        if key == 0 or self.keys[slot] == 0:
            return
        left = self.shares[slot]
        if self.prices[slot] == -1:
            self.shares[slot] = left + shares
        elif left > shares:
            self.shares[slot] = left - shares
        elif -left > shares:
            self.shares[slot] = left + shares
        else:
            self._close(slot)

    def drop(self, key: i64) -> None:
        """Close an order."""
        slot = self.place(key)
        if key != 0 and self.keys[slot] != 0:
            self._close(slot)

    def _close(self, slot: i64) -> None:
        mask = self.slots - 1
        self.count -= 1
        hole = slot
        following = (hole + 1) & mask
        while self.keys[following] != 0:
            key = self.keys[following]
            home = (key ^ (key >> 20) ^ (key >> 40)) & mask
            if ((following - home) & mask) >= ((following - hole) & mask):
                self.keys[hole] = key
                self.prices[hole] = self.prices[following]
                self.shares[hole] = self.shares[following]
                hole = following
            following = (following + 1) & mask
        self.keys[hole] = 0

    def _grow(self) -> None:
        keys, prices, shares = self.keys, self.prices, self.shares
        size: i64 = self.slots
        self.slots = size * 2
        self.keys = vec[i64]([0] * self.slots)
        self.prices = vec[i64]([0] * self.slots)
        self.shares = vec[i64]([0] * self.slots)
        old: i64 = 0
        while old < size:
            if keys[old] != 0:
                slot = self.place(keys[old])
                self.keys[slot] = keys[old]
                self.prices[slot] = prices[old]
                self.shares[slot] = shares[old]
            old += 1


def follow(data: bytes, at: bytes, orders: Orders) -> bytes:
    """Bring `orders` through the messages at the offsets `at`; return two numbers for each execution (E and C), in order.

    The price of the order that it hits, and its shares before (below zero of a sale): -1 and 0 of an unknown order.
    """
    told = BytesWriter()
    count: i64 = len(at) // 8
    number: i64 = 0
    while number < count:
        i = read_i64_le(at, number * 8)
        number += 1
        kind: i64 = data[i]
        if kind not in (_ADD, _ADD_MPID, _EXECUTED, _EXECUTED_AT, _CANCEL, _DELETE, _REPLACE):
            continue
        key = read_i64_be(data, i + 11)
        if kind in (_ADD, _ADD_MPID):
            shares = i64(read_i32_be(data, i + 20)) & _U32
            orders.put(key, i64(read_i32_be(data, i + 32)) & _U32, shares if data[i + 19] == _BUY else -shares)
        elif kind == _DELETE:
            orders.drop(key)
        elif kind == _REPLACE:
            slot = orders.place(key)
            if key != 0 and orders.keys[slot] != 0 and orders.prices[slot] >= 0:
                is_sale = orders.shares[slot] < 0
                orders.drop(key)
                size = i64(read_i32_be(data, i + 27)) & _U32
                orders.put(read_i64_be(data, i + 19), i64(read_i32_be(data, i + 31)) & _U32, -size if is_sale else size)
        else:
            size = i64(read_i32_be(data, i + 19)) & _U32
            if kind != _CANCEL:
                slot = orders.place(key)
                is_known = key != 0 and orders.keys[slot] != 0
                write_i64_le(told, orders.prices[slot] if is_known else -1)
                write_i64_le(told, orders.shares[slot] if is_known and orders.prices[slot] >= 0 else 0)
                if not is_known:
                    orders.put(key, -1, 0)
            orders.take(key, size)
    return told.getvalue()
