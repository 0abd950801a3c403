"""The scanner of FIX's frequent message: an increment (X) of prices in a book, or of an index; bytes in, columns out.

It checks length and sum, and reads bids and offers (levels, or entries with an id) and values of an index with what else is told
about it. A message that holds anything else, down to one field, is left to the caller by its index: what is read here is what
the tree and exact decimals would give. Records are little-endian int64, row by row; NOTHING is "not told".
"""

from __future__ import annotations

from typing import Final, final

from librt.strings import BytesWriter, read_i64_le, write_i64_le
from mypy_extensions import i64

from transforms.kernels.binance import Names, is_at
from transforms.kernels.fix_text import NOTHING, number, stamp, time_of_day

MESSAGE_FIELDS: Final = 6
"""message, sequence, parties, sent in microseconds, nanoseconds beyond, whether it is about an index."""
ENTRY_FIELDS: Final = 13
"""place of its message among those read, type, action, symbol, currency, price, size, first and last byte of its id, time of day
in microseconds, nanoseconds beyond, net change, whether that is told."""
PRICE_SCALE: Final = 9
SIZE_SCALE: Final = 8
LEVEL_SCALE: Final = 12

_SOH: Final = 1
_EQUALS: Final = 61
_ZERO: Final = 48
_NINE: Final = 57
_INDEX: Final = 51
_OTHER_KINDS: Final = frozenset([50, 65, 69, 70, 74])
"""Trades, imbalances, implied prices, empty books: read by the tree."""
_IGNORED: Final = frozenset([83, 110, 282, 283, 284, 290, 299, 336, 346, 695, 735, 1023])
_IGNORED_AHEAD: Final = frozenset([50, 57, 262, 1128])


@final
class Increments:
    """What a batch says, and which of its messages were not read."""

    def __init__(self) -> None:
        self.symbols = Names()
        self.currencies = Names()
        self.parties: list[bytes] = []
        self.party_codes: dict[bytes, int] = {}
        self.messages = BytesWriter()
        self.entries = BytesWriter()
        self.unread = BytesWriter()
        self.read: i64 = 0


def read_increments(data: bytes, offsets: bytes) -> Increments:
    """Return the records of the messages that lie in `data` between successive `offsets` (int64, one more than messages)."""
    found = Increments()
    count: i64 = len(offsets) // 8 - 1
    message: i64 = 0
    while message < count:
        start = read_i64_le(offsets, message * 8)
        end = read_i64_le(offsets, message * 8 + 8)
        mark: i64 = len(found.entries)
        if not _read(found, data, message, start, end):
            found.entries.truncate(mark)
            write_i64_le(found.unread, message)
        message += 1
    return found


@final
class _Head:
    """The fields of one message before its entries."""

    def __init__(self) -> None:
        self.seen: i64 = 0
        self.sequence: i64 = NOTHING
        self.application: i64 = NOTHING
        self.sent: i64 = NOTHING
        self.sent_nanos: i64 = 0
        self.sender = b""
        self.target = b""
        self.channel = b""
        self.count: i64 = 0

    def take(self, data: bytes, tag: i64, begin: i64, after: i64) -> bool:
        """Take one field; return False for one that is not read here, or stands twice."""
        bit: i64 = 0
        if tag == 34:
            bit = 1
            self.sequence = number(data, begin, after, 0)
        elif tag == 1181:
            bit = 2
            self.application = number(data, begin, after, 0)
        elif tag == 52:
            bit = 4
            self.sent, self.sent_nanos = stamp(data, begin, after)
        elif tag == 49:
            bit = 8
            self.sender = data[begin:after]
        elif tag == 56:
            bit = 16
            self.target = data[begin:after]
        elif tag == 1180:
            bit = 32
            self.channel = data[begin:after]
        elif tag == 268:
            self.count = number(data, begin, after, 0)
        elif tag not in _IGNORED_AHEAD:
            return False
        if self.seen & bit != 0:
            return False
        self.seen |= bit
        return True

    def parties(self) -> bytes:
        """Return whose numbers are counted; empty where that, or when it was sent, is not told plainly."""
        if self.sent == NOTHING:
            return b""
        if self.seen & 2 != 0:
            found = self.channel if self.application >= 0 else b""
        else:
            found = self.sender if self.sequence >= 0 else b""
            if self.seen & 16 != 0 and len(found) > 0:
                found += b">" + self.target
        return found if found.isascii() else b""


def _read(found: Increments, data: bytes, message: i64, start: i64, end: i64) -> bool:
    body = _body(data, start, end)
    if body < 0:
        return False
    i = body + 5
    stop = end - 7
    head = _Head()
    while i < stop and head.count == 0:
        tag, begin = _tag(data, i, stop)
        after = _field_end(data, begin, stop)
        if tag < 0 or after < 0 or after == begin or not head.take(data, tag, begin, after):
            return False
        i = after + 1
    parties = head.parties()
    if len(parties) == 0:
        return False
    is_index = _entries(found, data, i, stop, head.count)
    if is_index < 0:
        return False
    code = found.party_codes.setdefault(parties, len(found.parties))
    if code == len(found.parties):
        found.parties.append(parties)
    sequence = head.application if head.seen & 2 != 0 else head.sequence
    for value in (message, sequence, code, head.sent, head.sent_nanos, is_index):
        write_i64_le(found.messages, value)
    found.read += 1
    return True


def _body(data: bytes, start: i64, end: i64) -> i64:
    """Return where the body of an increment begins (at MsgType) when length and sum are right; else -1."""
    if (
        end - start < 30
        or not is_at(data, start, end, b"8=FIX")
        or data[end - 1] != _SOH
        or not is_at(data, end - 7, end, b"10=")
    ):
        return -1
    i = start + 5
    while i < end and data[i] != _SOH:
        i += 1
    if not is_at(data, i + 1, end, b"9="):
        return -1
    after = _field_end(data, i + 3, end)
    if after < 0 or after - i > 10 or not is_at(data, after + 1, end, b"35=X\x01"):
        return -1
    stop = end - 7
    if number(data, i + 3, after, 0) != stop - after - 1:
        return -1
    total: i64 = 0
    k = start
    while k < stop:
        total += data[k]
        k += 1
    return after + 1 if number(data, stop + 3, end - 1, 0) == total % 256 else -1


def _entries(found: Increments, data: bytes, i: i64, stop: i64, count: i64) -> i64:
    """Append the entries of a message; return whether it is about an index (1 or 0), -1 where it cannot be read."""
    is_book = False
    has_value = False
    symbol: i64 = -1
    done: i64 = 0
    while done < count:
        if not is_at(data, i, stop, b"279="):
            return -1
        entry = _Entry()
        i = entry.read(found, data, i + 4, stop)
        if i < 0:
            return -1
        if done == 0:
            is_book, symbol = entry.is_book, entry.symbol
        if entry.is_book != is_book or (not is_book and (entry.symbol != symbol or entry.price == NOTHING)):
            return -1
        has_value = has_value or entry.kind == _INDEX
        done += 1
    if i != stop or count <= 0 or not (is_book or has_value):
        return -1
    return 0 if is_book else 1


@final
class _Entry:
    """The fields of one entry, filled by `read`."""

    def __init__(self) -> None:
        self.seen: i64 = 0
        self.kind: i64 = -1
        self.is_book = False
        self.symbol: i64 = -1
        self.currency: i64 = -1
        self.price: i64 = NOTHING
        self.price_at: i64 = -1
        self.price_end: i64 = -1
        self.net_at: i64 = -1
        self.net_end: i64 = -1
        self.size: i64 = NOTHING
        self.order: i64 = -1
        self.order_end: i64 = -1
        self.clock: i64 = NOTHING
        self.nanos: i64 = 0

    def read(self, found: Increments, data: bytes, i: i64, stop: i64) -> i64:
        """Append the entry whose action is at `i`; return where the next one begins, -1 where it cannot be read."""
        after = _field_end(data, i, stop)
        if after != i + 1 or data[i] < _ZERO or data[i] > 50:
            return -1
        action: i64 = data[i] - _ZERO
        i = after + 1
        while i < stop:
            tag, begin = _tag(data, i, stop)
            if tag == 279:
                break
            after = _field_end(data, begin, stop)
            if tag < 0 or after < 0 or after == begin or not self._take(found, data, tag, begin, after):
                return -1
            i = after + 1
        return i if self._write(found, data, action) else -1

    def _take(self, found: Increments, data: bytes, tag: i64, begin: i64, after: i64) -> bool:
        bit: i64 = 0
        is_good = True
        if tag == 269:
            bit = 1
            self.kind = data[begin]
            is_good = after == begin + 1
        elif tag == 55:
            bit = 2
            self.symbol = found.symbols.code(data, begin, after)
            is_good = self.symbol >= 0 and not _is_no_symbol(data, begin, after)
        elif tag == 270:
            bit = 4
            self.price_at, self.price_end = begin, after
        elif tag == 271:
            bit = 8
            self.size = number(data, begin, after, SIZE_SCALE)
            is_good = self.size != NOTHING
        elif tag == 278:
            bit = 16
            self.order, self.order_end = begin, after
            is_good = data[begin:after].isascii()
        elif tag == 273:
            bit = 32
            self.clock, self.nanos = time_of_day(data, begin, after)
            is_good = self.clock != NOTHING
        elif tag == 451:
            bit = 64
            self.net_at, self.net_end = begin, after
        elif tag == 15:
            bit = 128
            self.currency = found.currencies.code(data, begin, after)
            is_good = self.currency >= 0
        else:
            is_good = tag in _IGNORED
        is_good = is_good and self.seen & bit == 0
        self.seen |= bit
        return is_good

    def _write(self, found: Increments, data: bytes, action: i64) -> bool:
        self.is_book = self.kind == 48 or self.kind == 49
        if self.symbol < 0 or self.kind < 33 or self.kind > 126 or self.kind in _OTHER_KINDS:
            return False
        if self.is_book and self.price_at < 0 and self.order < 0:
            return False
        net: i64 = 0
        if self.price_at >= 0:
            self.price = number(data, self.price_at, self.price_end, PRICE_SCALE if self.is_book else LEVEL_SCALE)
            if self.price == NOTHING:
                return False
        if self.net_at >= 0 and not self.is_book:
            net = number(data, self.net_at, self.net_end, LEVEL_SCALE)
            if net == NOTHING:
                return False
        told: i64 = 1 if self.net_at >= 0 else 0
        values = (found.read, self.kind, action, self.symbol, self.currency, self.price, self.size, self.order, self.order_end)
        for value in values:
            write_i64_le(found.entries, value)
        for value in (self.clock, self.nanos, net, told):
            write_i64_le(found.entries, value)
        return True


def _is_no_symbol(data: bytes, begin: i64, end: i64) -> bool:
    """Return whether a symbol says that there is none."""
    return end - begin <= 5 and data[begin:end] in (b"[N/A]", b"N/A", b"NA")


def _tag(data: bytes, i: i64, end: i64) -> tuple[i64, i64]:
    """Return (the number of the field at `i`, where its value begins); (-1, i) where none begins."""
    value: i64 = 0
    k = i
    while k < end and k - i < 6:
        digit: i64 = data[k]
        if digit == _EQUALS and k > i:
            return value, k + 1
        if digit < _ZERO or digit > _NINE:
            return -1, i
        value = value * 10 + (digit - _ZERO)
        k += 1
    return -1, i


def _field_end(data: bytes, i: i64, end: i64) -> i64:
    """Return where the mark behind a value stands; -1 where there is none."""
    while i < end:
        if data[i] == _SOH:
            return i
        i += 1
    return -1
