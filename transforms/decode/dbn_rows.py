"""Rows of DBN's market data: trades, best bids and offers, depth, orders and bars."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from transforms.decode import dbn_layout as kinds
from transforms.decode.dbn_batch import (
    NS_PER_DAY,
    PLACES,
    Group,
    Who,
    chosen,
    distinct,
    event_times,
    of_bytes,
    prices,
    repeated,
    sizes,
    stamps,
    taken,
)
from transforms.decode.decoded import BARS, BOOK_EVENTS, QUOTES, TRADES, columns_table
from transforms.numbers import Int64s

_FLAGS = {kinds.TOB: "tob", kinds.SNAPSHOT: "snapshot", 16: "mbp", 8: "bad_ts_recv", 4: "maybe_bad_book", 2: "publisher_specific"}
_SIDES = {ord("B"): "buy", ord("A"): "sell"}
_TRADE = ord("T")
_SAMPLED = {kinds.BBO_1S: "sampled_1s", kinds.BBO_1M: "sampled_1m", kinds.CBBO_1S: "sampled_1s", kinds.CBBO_1M: "sampled_1m"}
_BEFORE = "before_trade"
_INTERVALS = {
    kinds.OHLCV_1S: "1s", kinds.OHLCV_1M: "1m", kinds.OHLCV_1H: "1h", kinds.OHLCV_1D: "1d", kinds.OHLCV_EOD: "1d",
}  # fmt: skip
_OLD_INTERVALS = {"ohlcv-1s": "1s", "ohlcv-1m": "1m", "ohlcv-1h": "1h", "ohlcv-1d": "1d"}
_ORDER_ACTIONS = {ord("A"): "add", ord("M"): "modify", ord("C"): "cancel", ord("R"): "clear", ord("F"): "fill"}
_IS_ORDER_ACTION = np.isin(np.arange(256), list(_ORDER_ACTIONS))
_CLEAR = ord("R")
_QUOTE_SLOT, _TRADE_SLOT, _LEVEL_SLOT, _ORDER_SLOT = 0, 1, 2, 0
"""Place of a fact in its record; levels take twenty-one from theirs on."""


def trades(group: Group, who: Who) -> Mapping[str, pa.Table]:
    """Return the trades: records whose action is one. The flag that closes an event is of the packet, not the trade.

    Sequences of packets name no trade: two may share one, and a day begins them anew.
    """
    if group.kind in _SAMPLED:
        return {}  # it repeats the last trade
    is_trade = group.records["action"] == _TRADE
    some, whose = group.of(is_trade), Who(who.codes[is_trade], who.places)
    found = some.records
    arrays = {
        **whose.columns(),
        **event_times(found["ts_event"]),
        "price": prices(found["price"]),
        "size": sizes(found["size"]),
        "side": chosen(found["side"], _SIDES),
        "conditions": _words(found["flags"], ""),
        **some.place(_TRADE_SLOT),
    }
    if "sequence" in (found.dtype.names or ()):
        arrays["sequence"] = pa.array(found["sequence"].astype(np.int64))
    return {TRADES: columns_table(TRADES, arrays)}


def quotes(group: Group, who: Who) -> Mapping[str, pa.Table]:
    """Return best bid and offer after each event, before each trade (tbbo, tcbbo), or at each sample.

    A sampled record's event time is that of the last trade; the quote is as of the sample, which ts_recv tells. Sequences are
    of packets, which hold several quotes: a quote has none.
    """
    found = group.records
    word = _SAMPLED.get(group.kind, "")
    if group.kind == kinds.TCBBO or group.schema == "tbbo":
        word = _BEFORE
    arrays = {
        **who.columns(),
        **event_times(found["ts_recv"] if group.kind in _SAMPLED else found["ts_event"]),
        "bid_price": prices(found["bid_px_00"]),
        "bid_size": sizes(found["bid_sz_00"]),
        "ask_price": prices(found["ask_px_00"]),
        "ask_size": sizes(found["ask_sz_00"]),
        "conditions": _words(found["flags"], word),
        **group.place(_QUOTE_SLOT),
    }
    return {QUOTES: columns_table(QUOTES, arrays)}


def bars(group: Group, who: Who) -> Mapping[str, pa.Table]:
    """Return bars, stamped with their start. A day is the UTC day, or (eod) the session's.

    Where a dataset gives a bar for each of its venues, the symbol of a bar names the venue: AAPL:MEMX.
    """
    found = group.records
    symbols = [symbol if publisher.is_whole else f"{symbol}:{publisher.venue}" for symbol, publisher in who.places]
    interval = _INTERVALS.get(group.kind)
    if interval is None:
        interval = _OLD_INTERVALS.get(group.schema or "", "")
    count = len(found)
    opens = stamps(found["ts_event"])
    arrays = {
        **who.columns(),
        "symbol": who.texts(symbols),
        "interval": pa.repeat(interval, count),
        "ts_open": opens,
        **{name: prices(found[name]) for name in ("open", "high", "low", "close")},
        "volume": pa.array(found["volume"]).cast(pa.decimal128(28, 8)),
        "basis": repeated("as_traded", count),
        "price_type": repeated("trade", count),
        "is_final": pa.repeat(True, count),
        **group.place(),
    }
    if interval == "1d":
        arrays["session_date"] = pc.cast(opens.cast(pa.timestamp("us")), pa.date32(), safe=False)
    return {BARS: columns_table(BARS, arrays)}


def book_levels(group: Group, who: Who) -> Mapping[str, pa.Table]:
    """Return the ten levels a side that an mbp-10 record tells: the book is cleared, then they stand; the last is complete."""
    found = group.records
    names = [(side, number) for side in ("bid", "ask") for number in range(kinds.LEVELS)]
    empty = np.full(len(found), kinds.UNDEF_PRICE)
    price = np.stack([empty, *(found[f"{side}_px_{number:02}"] for side, number in names)], axis=1)
    size = np.stack([np.full(len(found), kinds.UNDEF_SIZE), *(found[f"{side}_sz_{number:02}"] for side, number in names)], axis=1)
    told = price != kinds.UNDEF_PRICE
    told[:, 0] = True
    record, place = np.nonzero(told)
    some = Group(group.kind, group.schema, found[record], group.message[record], group.number[record], group.abouts)
    whose = Who(who.codes[record], who.places)
    is_last = np.append(record[1:] != record[:-1], True)[: len(record)]
    arrays = {
        **whose.columns(),
        **_book(some, whose, event_index(group)[record] * price.shape[1] + place, "/mbp-10"),
        "event": repeated("update", len(record)),
        "action": taken((place > 0).astype(np.int64), ["clear", None]),
        "side": taken(np.ceil(place / kinds.LEVELS).astype(np.int64), [None, "buy", "sell"]),
        "price": prices(price[told]),
        "size": sizes(size[told]),
        "is_complete": pa.array(is_last),
        "message_index": pa.array(some.message),
        "ordinal": pa.array((some.number * PLACES + _LEVEL_SLOT + place).astype(np.int32)),
    }
    return {BOOK_EVENTS: columns_table(BOOK_EVENTS, arrays)}


def orders(group: Group, who: Who) -> Mapping[str, pa.Table]:
    """Return what happened to single orders (mbo); an order's size is its own when added, what is left when modified.

    `fill` says that a resting order was executed; the cancel or modification that takes it off the book follows. The trade
    itself is one of normalized.trades, and a record without an action tells flags alone. A snapshot clears the book by itself and
    adds its orders under sequences of its own channel: its records are updates like others, `snapshot` among their conditions.
    """
    actions = group.records["action"]
    is_event = _IS_ORDER_ACTION[actions]
    index = event_index(group)[is_event]
    some, whose = group.of(is_event), Who(who.codes[is_event], who.places)
    found = some.records
    is_clear = found["action"] == _CLEAR
    numbers = pa.array(found["order_id"]).cast(pa.string())
    size = sizes(found["size"])
    if is_clear.any():
        numbers, size = (pc.if_else(pa.array(is_clear), pa.scalar(None, column.type), column) for column in (numbers, size))
    arrays = {
        **whose.columns(),
        **_book(some, whose, index, ""),
        "event": repeated("update", len(found)),
        "action": chosen(found["action"], _ORDER_ACTIONS),
        "order_id": numbers,
        "side": chosen(found["side"], _SIDES),
        "price": prices(found["price"]),
        "size": size,
        "conditions": _words(found["flags"], ""),
        "is_complete": pa.array((found["flags"] & kinds.LAST) > 0),
        **some.place(_ORDER_SLOT),
    }
    return {BOOK_EVENTS: columns_table(BOOK_EVENTS, arrays)}


def _book(group: Group, who: Who, index: Int64s, channel: str) -> dict[str, pa.Array]:
    """Return what rows of depth and of orders share: channel, the venue's day, times, sequence."""
    found = group.records
    channels = [f"{publisher.dataset}.{publisher.venue}{channel}" for _, publisher in who.places]
    days, index_of = distinct((group.index_ns() // np.uint64(NS_PER_DAY)).astype(np.int64))
    return {
        "channel": who.texts(channels),
        "venue_session": taken(index_of, [str(np.datetime64(day, "D")) for day in days.tolist()]),
        **event_times(found["ts_event"]),
        "sequence": pa.array(found["sequence"].astype(np.int64)),
        "event_index": pa.array(index.astype(np.int32)),
    }


def event_index(group: Group) -> Int64s:
    """Return which record of its packet each one is, for those of a packet share its sequence, or of its snapshot.

    Records of a message count on from those before it, as far as its request tells.
    """
    keys = kinds.run_keys(group.records)
    opens = np.append(True, group.message[1:] != group.message[:-1])[: len(keys)]
    first = np.flatnonzero(np.append(True, keys[1:] != keys[:-1])[: len(keys)] | opens)
    repeats = np.array([0 if about is None else about.repeats for about in group.abouts], np.int64)
    before = np.where(opens[first], repeats[group.message[first]], 0)
    index: Int64s = np.arange(len(keys), dtype=np.int64)
    index -= np.repeat(first - before, np.diff(np.append(first, len(keys))))
    return index


@cache
def _flag_words(more: str) -> pa.Array:
    found = []
    for flags in range(256):
        words = [word for bit, word in _FLAGS.items() if flags & bit]
        found.append(",".join([*words, *([more] if more else [])]) or None)
    return pa.array(found, pa.string())


def _words(flags: npt.NDArray[np.uint8], more: str) -> pa.Array:
    """Return the words of each record's flags, `more` behind them; null where there are none."""
    return of_bytes(_flag_words(more), flags)
