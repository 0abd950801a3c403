"""The order book: events in, best prices after each and what executions hit out; price levels or single orders.

Columns are bytes of little-endian int64. A side keeps its levels sorted with the best one last, so that what happens near the top
moves little. Orders are numbered densely by the caller. NOTHING stands for what an event does not tell.
"""

from __future__ import annotations

from typing import Final, final

from librt.strings import BytesWriter, read_i64_le, write_i64_le
from librt.vecs import vec
from mypy_extensions import i64

NOTHING: Final = -(1 << 62)
LEVEL: Final = 0
ADD: Final = 1
MODIFY: Final = 2
REPLACE: Final = 3
CANCEL: Final = 4
DELETE: Final = 5
EXECUTE: Final = 6
FILL: Final = 7
CLEAR: Final = 8
BUY: Final = 1
SELL: Final = 2
_OPEN: Final = 1
_EARLY: Final = 2


@final
class Side:
    """Levels of one side: keys ascending with the best last (bids by price, offers by its negative), units, orders."""

    def __init__(self) -> None:
        self.count: i64 = 0
        self.room: i64 = 64
        self.keys = vec[i64]([0] * 64)
        self.units = vec[i64]([0] * 64)
        self.orders = vec[i64]([0] * 64)

    def place(self, key: i64) -> i64:
        """Return where the level is, or would be."""
        low: i64 = 0
        high = self.count
        while low < high:
            middle = (low + high) // 2
            if self.keys[middle] < key:
                low = middle + 1
            else:
                high = middle
        return low

    def change(self, key: i64, units: i64, orders: i64) -> None:
        """Add units and orders to a level (below zero: take them off); a level without units is gone."""
        at = self.place(key)
        if at < self.count and self.keys[at] == key:
            self.units[at] += units
            self.orders[at] += orders
            if self.units[at] <= 0:
                self._remove(at)
        elif units > 0:
            self._insert(at, key, units, orders)

    def set(self, key: i64, units: i64) -> None:
        """Let a level have so many units; 0 removes it."""
        at = self.place(key)
        if at < self.count and self.keys[at] == key:
            if units > 0:
                self.units[at] = units
            else:
                self._remove(at)
        elif units > 0:
            self._insert(at, key, units, 0)

    def _remove(self, at: i64) -> None:
        self.count -= 1
        i = at
        while i < self.count:
            self.keys[i] = self.keys[i + 1]
            self.units[i] = self.units[i + 1]
            self.orders[i] = self.orders[i + 1]
            i += 1

    def _insert(self, at: i64, key: i64, units: i64, orders: i64) -> None:
        if self.count == self.room:
            self._grow()
        i = self.count
        while i > at:
            self.keys[i] = self.keys[i - 1]
            self.units[i] = self.units[i - 1]
            self.orders[i] = self.orders[i - 1]
            i -= 1
        self.keys[at] = key
        self.units[at] = units
        self.orders[at] = orders
        self.count += 1

    def _grow(self) -> None:
        keys, units, orders = self.keys, self.units, self.orders
        size = self.room
        self.room = size * 2
        self.keys = vec[i64]([0] * self.room)
        self.units = vec[i64]([0] * self.room)
        self.orders = vec[i64]([0] * self.room)
        i: i64 = 0
        while i < size:
            self.keys[i] = keys[i]
            self.units[i] = units[i]
            self.orders[i] = orders[i]
            i += 1


@final
class Book:
    """Both sides, open orders, and what was written down on the way."""

    def __init__(self, orders: i64) -> None:
        self.bids = Side()
        self.offers = Side()
        self.state = vec[i64]([0] * (orders + 1))
        self.side = vec[i64]([0] * (orders + 1))
        self.price = vec[i64]([0] * (orders + 1))
        self.units = vec[i64]([0] * (orders + 1))
        self.epoch: i64 = 0
        self.opened_in = vec[i64]([0] * (orders + 1))
        self.best = BytesWriter()
        self.hits = BytesWriter()
        self.late = BytesWriter()

    def is_in_state(self, order: i64, state: i64) -> bool:
        """Return whether an order is open, or was executed before it was told, since the book was last cleared."""
        return order >= 0 and self.state[order] == state and self.opened_in[order] == self.epoch

    def level(self, side: i64, price: i64, units: i64, orders: i64) -> None:
        """Change a level of a side."""
        if side == BUY:
            self.bids.change(price, units, orders)
        else:
            self.offers.change(-price, units, orders)

    def open(self, order: i64, side: i64, price: i64, units: i64) -> None:
        """Open an order; what was executed of it before it was told is taken off."""
        if order < 0 or side not in (BUY, SELL) or price == NOTHING or units == NOTHING:
            return
        left = units
        if self.is_in_state(order, _EARLY):
            left -= self.units[order]
            write_i64_le(self.late, order)
            write_i64_le(self.late, side)
            write_i64_le(self.late, price)
        elif self.is_in_state(order, _OPEN):
            self.close(order)
        self.state[order] = _OPEN if left > 0 else 0
        self.opened_in[order] = self.epoch
        self.side[order] = side
        self.price[order] = price
        self.units[order] = left
        if left > 0:
            self.level(side, price, left, 1)

    def close(self, order: i64) -> None:
        """Take an order off its level."""
        if self.is_in_state(order, _OPEN):
            self.level(self.side[order], self.price[order], -self.units[order], -1)
        if order >= 0:
            self.state[order] = 0

    def take(self, order: i64, units: i64) -> None:
        """Take units off an order; all of them where it is not told how many."""
        if not self.is_in_state(order, _OPEN):
            return
        if units == NOTHING or units >= self.units[order]:
            self.close(order)
        else:
            self.units[order] -= units
            self.level(self.side[order], self.price[order], -units, 0)

    def hit(self, order: i64) -> None:
        """Write down the order that an execution hits: its number, side and price, and the best price of that side before."""
        is_open = self.is_in_state(order, _OPEN)
        side: i64 = self.side[order] if is_open else NOTHING
        write_i64_le(self.hits, order)
        write_i64_le(self.hits, side)
        write_i64_le(self.hits, self.price[order] if is_open else NOTHING)
        write_i64_le(self.hits, self.top(side) if is_open else NOTHING)

    def top(self, side: i64) -> i64:
        """Return the best price of a side, or NOTHING."""
        if side == BUY:
            return self.bids.keys[self.bids.count - 1] if self.bids.count > 0 else NOTHING
        return -self.offers.keys[self.offers.count - 1] if self.offers.count > 0 else NOTHING

    def clear(self) -> None:
        """Empty the book."""
        self.bids.count = 0
        self.offers.count = 0
        self.epoch += 1

    def write_best(self) -> None:
        """Write down best bid and offer with their units."""
        write_i64_le(self.best, self.top(BUY))
        write_i64_le(self.best, self.bids.units[self.bids.count - 1] if self.bids.count > 0 else 0)
        write_i64_le(self.best, self.top(SELL))
        write_i64_le(self.best, self.offers.units[self.offers.count - 1] if self.offers.count > 0 else 0)


def replay(book: Book, columns: bytes, count: i64) -> None:
    """Bring a book through `count` events. `columns`: action, order, new order, side, price, units, each of all events.

    After it `book.best` has four numbers for each event, `book.hits` four for each execution or fill, in order, and
    `book.late` number, side and price of each order that was told after an execution of it.
    """
    width = count * 8
    i: i64 = 0
    while i < count:
        at = i * 8
        action = read_i64_le(columns, at)
        order = read_i64_le(columns, width + at)
        side = read_i64_le(columns, width * 3 + at)
        price = read_i64_le(columns, width * 4 + at)
        units = read_i64_le(columns, width * 5 + at)
        if action == LEVEL:
            if side == BUY:
                book.bids.set(price, units)
            elif side == SELL:
                book.offers.set(-price, units)
        elif action == ADD:
            book.open(order, side, price, units)
        elif action == EXECUTE:
            book.hit(order)
            if book.is_in_state(order, _OPEN):
                book.take(order, units)
            elif order >= 0 and units != NOTHING:
                early: i64 = book.units[order] if book.is_in_state(order, _EARLY) else 0
                book.state[order] = _EARLY
                book.opened_in[order] = book.epoch
                book.units[order] = early + units
        elif action == CANCEL:
            book.take(order, units)
        elif action == DELETE:
            book.close(order)
        elif action in (MODIFY, REPLACE):
            _change(book, action, order, read_i64_le(columns, width * 2 + at), side, price, units)
        elif action == FILL:
            book.hit(order)
        elif action == CLEAR:
            book.clear()
        book.write_best()
        i += 1


def _change(book: Book, action: i64, order: i64, new_order: i64, side: i64, price: i64, units: i64) -> None:
    """Let an order, or the one that replaces it, stand at a new price with new units; what is not told stays as it was."""
    is_open = book.is_in_state(order, _OPEN)
    new_side: i64 = book.side[order] if side == NOTHING and is_open else side
    new_price: i64 = book.price[order] if price == NOTHING and is_open else price
    new_units: i64 = book.units[order] if units == NOTHING and is_open else units
    book.close(order)
    book.open(new_order if action == REPLACE else order, new_side, new_price, new_units)
