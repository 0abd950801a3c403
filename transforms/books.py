"""Order books from their events: depth at an instant, best bid and offer after each event, what executions hit.

Events are rows of normalized.book_events. A book is one instrument on one channel of a feed in one session of its venue; its
events are taken in the order of (sequence, event_index). Price levels (DEEP, depth feeds) and orders (ITCH, mbo) are read alike:
a level says what stands there, an event of an order what becomes of it. A snapshot replaces the book. Nothing is filled in: a
side without orders has no best price, and an order that nothing opened has none.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from transforms.kernels import book as kernel
from transforms.numbers import PRICE_SCALE, SIZE_SCALE, Int64s, decimals, low_words

BOOK = ("provider", "feed", "channel", "venue_session", "symbol")
"""What names a book."""
ACTIONS = {
    "add": kernel.ADD, "modify": kernel.MODIFY, "replace": kernel.REPLACE, "cancel": kernel.CANCEL, "delete": kernel.DELETE,
    "execute": kernel.EXECUTE, "fill": kernel.FILL, "clear": kernel.CLEAR,
}  # fmt: skip
_SIDES = {"buy": kernel.BUY, "sell": kernel.SELL}
_WHEN = (
    "instrument_id",
    "session_date",
    "ts_event",
    "ts_event_nanos",
    "ts_recv",
    "sequence",
    "capture_id",
    "message_seq",
    "ordinal",
)
_PRICE, _SIZE = pa.decimal128(18, PRICE_SCALE), pa.decimal128(18, SIZE_SCALE)
_DEPTH = pa.schema(
    [*((name, pa.string()) for name in BOOK), ("side", pa.string()), ("price", _PRICE), ("size", _SIZE), ("orders", pa.int64())]
)


@dataclass(frozen=True, slots=True)
class _Replayed:
    """One book's events in their order, and its state after them; best and hits as the kernel wrote them."""

    events: pa.Table
    book: kernel.Book

    def best(self) -> npt.NDArray[np.int64]:
        """Return best bid, its size, best offer, its size after each event."""
        return np.frombuffer(self.book.best.getvalue(), np.int64).reshape(-1, 4)

    def hits(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
        """Return side, price, and best price of that side before, of the order that each execution hits; and which came late."""
        found = np.frombuffer(self.book.hits.getvalue(), np.int64).reshape(-1, 4).copy()
        late = np.frombuffer(self.book.late.getvalue(), np.int64).reshape(-1, 3)
        told = {order: (side, price) for order, side, price in late.tolist()}
        is_late = (found[:, 1] == kernel.NOTHING) & np.isin(found[:, 0], list(told))
        for place in np.flatnonzero(is_late).tolist():
            found[place, 1:3] = told[int(found[place, 0])]
        return found[:, 1:], is_late


def best_quotes(events: pa.Table) -> pa.Table:
    """Return best bid and offer after each event that changed them, with the event's place; null where a side is empty.

    events    rows of normalized.book_events, any order, any number of books
    returns   BOOK, when and where of the event, bid_price, bid_size, ask_price, ask_size; books one after the other

    While an update is incomplete (`is_complete` false) the book is not shown: DEEP asks for that.
    """
    parts = []
    for one in _replayed(events):
        best = one.best()
        shown = pc.fill_null(one.events["is_complete"], True).to_numpy(zero_copy_only=False)
        places = np.flatnonzero(shown)
        is_news = np.ones(len(places), np.bool_)
        is_news[1:] = (best[places[1:]] != best[places[:-1]]).any(axis=1)
        places = places[is_news]
        found = one.events.take(pa.array(places)).select([*BOOK, *_WHEN])
        for at, name, kind in ((0, "bid", _PRICE), (2, "ask", _PRICE)):
            prices, units = best[places, at], best[places, at + 1]
            found = found.append_column(f"{name}_price", _decimals(prices, kind, PRICE_SCALE))
            told = np.where(prices == kernel.NOTHING, kernel.NOTHING, units)
            found = found.append_column(f"{name}_size", _decimals(told, _SIZE, SIZE_SCALE))
        parts.append(found)
    return pa.concat_tables(parts) if parts else _no_quotes(events)


def depth(events: pa.Table) -> pa.Table:
    """Return every level of each book after `events`: best first, bids before offers, with size and number of orders.

    Give the events up to an instant (`until`) for the book at that instant. `orders` is null in a book of levels.
    """
    columns: dict[str, list[object]] = {name: [] for name in _DEPTH.names}
    sizes: list[int] = []
    prices: list[int] = []
    for one in _replayed(events):
        first = one.events.slice(0, 1).select(list(BOOK)).to_pylist()[0]
        for side, levels, sign in (("buy", one.book.bids, 1), ("sell", one.book.offers, -1)):
            for place in range(int(levels.count) - 1, -1, -1):
                prices.append(sign * int(levels.keys[place]))
                sizes.append(int(levels.units[place]))
                columns["side"].append(side)
                columns["orders"].append(int(levels.orders[place]) or None)
                for name in BOOK:
                    columns[name].append(first[name])
    arrays = [
        _decimals(np.array(prices, np.int64), _PRICE, PRICE_SCALE)
        if field.name == "price"
        else _decimals(np.array(sizes, np.int64), _SIZE, SIZE_SCALE)
        if field.name == "size"
        else pa.array(columns[field.name], field.type)
        for field in _DEPTH
    ]
    return pa.Table.from_arrays(arrays, schema=_DEPTH)


def until(events: pa.Table, ts_ns: int) -> pa.Table:
    """Return the events that had happened at an instant, itself included: by the venue's clock, else by the receipt."""
    stamps = pc.coalesce(events["ts_event"], events["ts_recv"]).cast(pa.int64()).to_numpy() * 1_000
    nanos = pc.if_else(pc.is_valid(events["ts_event"]), pc.fill_null(events["ts_event_nanos"], 0), 0).to_numpy()
    return events.filter(pa.array(stamps + nanos <= ts_ns))


def executions(events: pa.Table) -> pa.Table:
    """Return each execution (or fill) of an order with the order that it hit.

    returns   BOOK, when and where, order_id, trade_id, size; side and price of the order, best_price of its side right before;
              is_known: the order stands among the events; is_early: it is told after its execution, as delayed and made-up
              feeds do; is_at_top: it stood at the best price, null where unknown or early.
    """
    parts = []
    for one in _replayed(events):
        is_hit = pc.fill_null(pc.is_in(one.events["action"], value_set=pa.array(["execute", "fill"])), False)
        found = one.events.filter(is_hit).select([*BOOK, *_WHEN, "order_id", "trade_id", "size"])
        hits, is_late = one.hits()
        side, price, best = hits.T
        is_known = pa.array(side != kernel.NOTHING)
        words = pa.array([None, "buy", "sell"]).take(pa.array(np.where(side == kernel.NOTHING, 0, side)))
        is_placed = pc.and_(is_known, pa.array(~is_late))
        is_at_top = pc.if_else(is_placed, pa.array(price == best), pa.scalar(None, pa.bool_()))
        for name, values in (("side", words), ("price", _decimals(price, _PRICE, PRICE_SCALE)),
                             ("best_price", _decimals(best, _PRICE, PRICE_SCALE)), ("is_known", is_known),
                             ("is_early", pa.array(is_late)), ("is_at_top", is_at_top)):  # fmt: skip
            found = found.append_column(name, values)
        parts.append(found)
    return pa.concat_tables(parts) if parts else _no_executions(events)


def _replayed(events: pa.Table) -> Iterator[_Replayed]:
    """Yield each book, its events replayed."""
    if not events.num_rows:
        return
    order = [*BOOK, "sequence", "event_index"]
    ordered = events.sort_by([(name, "ascending") for name in order]).combine_chunks()
    starts = np.flatnonzero(begins(ordered).to_numpy(zero_copy_only=False)).tolist()
    for first, end in zip(starts, [*starts[1:], ordered.num_rows], strict=True):
        one = ordered.slice(first, end - first)
        codes, orders = _order_codes(one)
        columns = [_actions(one), *codes, _codes(one["side"], _SIDES), *_numbers(one)]
        columns, is_event = _with_clears(one, columns)
        book = kernel.Book(orders)
        kernel.replay(book, np.concatenate(columns).tobytes(), len(is_event))
        yield _Replayed(one, book if is_event.all() else _only(book, is_event))


def _only(book: kernel.Book, is_event: npt.NDArray[np.bool_]) -> kernel.Book:
    """Return the book without the best prices after the clears that snapshots stand for."""
    best = np.frombuffer(book.best.getvalue(), np.int64).reshape(-1, 4)[is_event]
    book.best.truncate(0)
    book.best.write(best.tobytes())
    return book


def begins(rows: pa.Table) -> pa.Array:
    """Return which rows, in the order of their books, are the first of one."""
    changes = np.zeros(rows.num_rows, np.bool_)
    changes[:1] = True
    for name in BOOK:
        codes = rows[name].combine_chunks().dictionary_encode().indices.fill_null(-1).to_numpy(zero_copy_only=False)
        changes[1:] |= codes[1:] != codes[:-1]
    return pa.array(changes)


def top(levels: pa.Table, most: int) -> pa.Table:
    """Return the best `most` levels of each side of each book of a `depth`."""
    firsts = np.flatnonzero(begins(levels).to_numpy(zero_copy_only=False) | _changes(levels["side"]))
    place = np.arange(levels.num_rows)
    return levels.filter(pa.array(place - firsts[np.searchsorted(firsts, place, side="right") - 1] < most))


def _changes(column: pa.ChunkedArray) -> npt.NDArray[np.bool_]:
    codes = column.combine_chunks().dictionary_encode().indices.to_numpy(zero_copy_only=False)
    return np.concatenate(([True], codes[1:] != codes[:-1])) if len(codes) else np.zeros(0, np.bool_)


def _actions(rows: pa.Table) -> Int64s:
    return np.where(pc.is_null(rows["action"]).to_numpy(zero_copy_only=False), kernel.LEVEL, _codes(rows["action"], ACTIONS))


def _codes(column: pa.ChunkedArray, words: dict[str, int]) -> Int64s:
    known = pc.index_in(column, value_set=pa.array(list(words)))
    numbers = np.array([*words.values(), kernel.NOTHING], np.int64)
    found: Int64s = numbers[pc.fill_null(known, len(words)).to_numpy()]
    return found


def _order_codes(rows: pa.Table) -> tuple[list[Int64s], int]:
    """Return order_id and new_order_id as dense numbers, -1 for none, and how many there are."""
    both = pa.concat_arrays([rows[name].combine_chunks() for name in ("order_id", "new_order_id")])
    encoded = both.dictionary_encode()
    numbers = encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
    return [numbers[: rows.num_rows], numbers[rows.num_rows :]], len(encoded.dictionary)


def _numbers(rows: pa.Table) -> list[Int64s]:
    """Return price and size as scaled numbers, NOTHING for null."""
    found = []
    for name in ("price", "size"):
        is_null = pc.is_null(rows[name]).to_numpy(zero_copy_only=False)
        found.append(np.where(is_null, kernel.NOTHING, low_words(rows[name])))
    return found


def _with_clears(rows: pa.Table, columns: list[Int64s]) -> tuple[list[Int64s], npt.NDArray[np.bool_]]:
    """Return the columns with a clear before each snapshot, and which of the events are the rows'."""
    is_snapshot = pc.equal(rows["event"], "snapshot").to_numpy(zero_copy_only=False)
    if not is_snapshot.any():
        return columns, np.ones(rows.num_rows, np.bool_)
    sequence = rows["sequence"].to_numpy()
    starts = is_snapshot.copy()
    starts[1:] &= ~is_snapshot[:-1] | (sequence[1:] != sequence[:-1])
    places = np.flatnonzero(starts)
    clear = [kernel.CLEAR, -1, -1, kernel.NOTHING, kernel.NOTHING, kernel.NOTHING]
    whole = [np.insert(column, places, value) for column, value in zip(columns, clear, strict=True)]
    is_event = np.insert(np.ones(rows.num_rows, np.bool_), places, False)
    return whole, is_event


def _decimals(scaled: Int64s, kind: pa.DataType, scale: int) -> pa.Array:
    is_told = scaled != kernel.NOTHING
    found = decimals(np.where(is_told, scaled, 0), 18, scale)
    return pc.if_else(pa.array(is_told), found, pa.scalar(None, kind))


def _no_quotes(events: pa.Table) -> pa.Table:
    found = events.select([*BOOK, *_WHEN]).slice(0, 0)
    for name, kind in (("bid_price", _PRICE), ("bid_size", _SIZE), ("ask_price", _PRICE), ("ask_size", _SIZE)):
        found = found.append_column(name, pa.nulls(0, kind))
    return found


def _no_executions(events: pa.Table) -> pa.Table:
    found = events.select([*BOOK, *_WHEN, "order_id", "trade_id", "size"]).slice(0, 0)
    for name, kind in (("side", pa.string()), ("price", _PRICE), ("best_price", _PRICE)):
        found = found.append_column(name, pa.nulls(0, kind))
    for name in ("is_known", "is_early", "is_at_top"):
        found = found.append_column(name, pa.nulls(0, pa.bool_()))
    return found
