"""Entries of FIX snapshots (W) and increments (X): trades, book levels and orders, quotes, index levels, prices of the day.

An entry with an id (278) is one order or quote in the book; one without is a price level, and its deletion a level of size 0.
Implied prices (E, F) are a book of their own channel. In a message that tells a value of an index (3), every price about that
index is a level of it. What an entry leaves out (269, instrument) is what the entry before it in the message said.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

import orjson

from transforms.decode.decoded import BOOK_EVENTS, INDEX_LEVELS, STATUS_EVENTS, TRADE_EVENTS, TRADES
from transforms.decode.fix_message import Fields
from transforms.decode.fix_values import about, entry_instant, symbol_of
from transforms.numbers import PRICE_SCALE, SIZE_SCALE, NumberRefusedError, exact_decimal

Row = dict[str, object]
ENTRIES, ENTRY_TYPE, ACTION, ENTRY_ID, REF_ID, PRICE, SIZE = 268, 269, 279, 278, 280, 270, 271
_NET_CHANGE, _TEXT, _TRADE_ID, _QUOTE_CONDITION, _TRADE_CONDITION = 451, 58, 1003, 276, 277
_AGGRESSOR, _CME_AGGRESSOR, _IMBALANCE_WORD = 2446, 5797, 277
_BID, _OFFER, _TRADE, _INDEX, _IMBALANCE, _EMPTY = "0", "1", "2", "3", "A", "J"
_IMPLIED = {"E": _BID, "F": _OFFER}
_LEVEL_SCALE, _LEVEL_DIGITS = 12, 38
_OFFICIAL = {"4": "open", "5": "close", "6": "settlement"}
_STATISTICS = {
    "7": "high", "8": "low", "9": "vwap", "B": "volume", "C": "open_interest", "D": "composite_underlying_price",
    "G": "margin_rate", "H": "mid", "N": "session_high_bid", "O": "session_low_offer", "Q": "auction_clearing_price",
    "W": "fixing", "g": "simulated_price", "e": "electronic_volume", "f": "threshold_limits",
}  # fmt: skip
_CONTEXT = (48, 22, 55, 107, 207, 167, 460, 461, ENTRY_TYPE)
ORDER_ACTIONS = {"0": "add", "1": "modify", "2": "delete", "5": "modify"}
_EVENTS = {"1": "correction", "2": "cancel"}
_SIDES = {"1": "buy", "2": "sell"}
_TAKERS = {_BID: "buy", _OFFER: "sell"}


@dataclass(frozen=True, slots=True)
class Place:
    """What every row of one message shares.

    sent      SendingTime; None where not told
    sequence  of the message; channel, session: whose numbers it counts
    """

    sent: tuple[datetime, int] | None
    sequence: int
    channel: str
    session: str | None

    def at(self, instant: tuple[datetime, int] | None) -> Row:
        """Return ts_event and ts_event_nanos."""
        return {"ts_event": None, "ts_event_nanos": None} if instant is None else dict(zip(_STAMPS, instant, strict=True))

    def needed(self, instant: tuple[datetime, int] | None) -> Row:
        """Return the same, where a table cannot be without. Raises NumberRefusedError."""
        if instant is None:
            raise NumberRefusedError("timestamp", None, "52, 60 or 272 and 273: when it happened")
        return self.at(instant)


_STAMPS = ("ts_event", "ts_event_nanos")


def price_of(entry: Fields, tag: int = PRICE) -> object:
    """Return a price; None where absent. Raises NumberRefusedError."""
    text = entry.text(tag)
    return None if text is None else exact_decimal(text, PRICE_SCALE)


def size_of(entry: Fields, tag: int = SIZE) -> object:
    """Return a size; None where absent. Raises NumberRefusedError."""
    text = entry.text(tag)
    return None if text is None else exact_decimal(text, SIZE_SCALE)


def conditions_of(entry: Fields, tag: int) -> str | None:
    """Return condition codes joined by commas; FIX parts them by blanks."""
    text = entry.text(tag)
    return None if text is None else ",".join(text.split())


def measure_of(kind: str) -> str:
    """Return what the price of an entry of an index measures."""
    return "index_value" if kind == _INDEX else _STATISTICS.get(kind) or _OFFICIAL.get(kind) or f"entry_{kind}"


def table_of(entry: Fields) -> str:
    """Return the table that an entry is for: where it is refused, that one misses a row."""
    kind = entry.values.get(ENTRY_TYPE, b"").decode("latin-1")
    if kind == _TRADE:
        return TRADES
    return BOOK_EVENTS if kind in (_BID, _OFFER, _EMPTY, *_IMPLIED) else STATUS_EVENTS


def detail_of(fields: Fields) -> str:
    """Return everything that fields and groups tell, as JSON by field number."""
    return orjson.dumps(fields.told()).decode()


def indices_of(entries: list[Fields], whole: Fields | None) -> set[str]:
    """Return the symbols that entries tell an index value of."""
    found = set()
    for entry in entries:
        if entry.values.get(ENTRY_TYPE) == _INDEX.encode():
            try:
                found.add(symbol_of(entry if whole is None else whole))
            except NumberRefusedError:
                continue
    return found


def with_context(entry: Fields, before: Fields | None) -> Fields:
    """Return an entry that names its instrument and type: what it leaves out stands in the entry before it."""
    if before is None or 55 in entry.values or 48 in entry.values:
        named: tuple[int, ...] = (ENTRY_TYPE,)
    else:
        named = _CONTEXT
    missing = (
        {} if before is None else {tag: before.values[tag] for tag in named if tag in before.values and tag not in entry.values}
    )
    return Fields(entry.values | missing, entry.groups, entry.twice) if missing else entry


def increment_rows(place: Place, index: int, entry: Fields, indices: set[str]) -> Iterator[tuple[str, Row]]:
    """Yield (table, row) of one entry of an increment. Raises NumberRefusedError."""
    symbol, action = symbol_of(entry), entry.text(ACTION) or "0"
    if action not in ("0", "1", "2", "5"):
        raise NumberRefusedError("unsupported_action", f"279={action}", "0 new, 1 change, 2 delete or 5 overlay")
    kind = entry.text(ENTRY_TYPE)
    if kind is None:
        raise NumberRefusedError("unknown_entry", f"278={entry.text(ENTRY_ID)}", "269, what the entry is")
    who = about(entry, symbol, "index" if symbol in indices else None)
    at = entry_instant(entry, place.sent)
    if kind in (_BID, _OFFER) or kind in _IMPLIED:
        yield BOOK_EVENTS, _book_row(place, index, entry, who | place.at(at), kind, action, "update")
    elif kind == _EMPTY:
        yield BOOK_EVENTS, clear_row(place, index, who | place.at(at), "update")
    else:
        yield from _other_rows(place, entry, who | place.needed(at), kind, action, indices)


def snapshot_rows(place: Place, index: int, entry: Fields, whole: Fields, indices: set[str]) -> Iterator[tuple[str, Row]]:
    """Yield (table, row) of one entry of a snapshot about the instrument that `whole` names. Raises NumberRefusedError."""
    symbol, kind = symbol_of(whole), entry.text(ENTRY_TYPE)
    if kind is None:
        raise NumberRefusedError("unknown_entry", f"278={entry.text(ENTRY_ID)}", "269, what the entry is")
    who = about(whole, symbol, "index" if symbol in indices else None)
    if who["currency"] is None:
        who["currency"] = about(entry, symbol, "other")["currency"]
    at = entry_instant(entry, place.sent)
    if kind in (_BID, _OFFER) or kind in _IMPLIED:
        yield BOOK_EVENTS, _book_row(place, index, entry, who | place.at(at), kind, "0", "snapshot")
    elif kind == _EMPTY:
        yield BOOK_EVENTS, clear_row(place, index, who | place.at(at), "snapshot")
    else:
        yield from _other_rows(place, entry, who | place.needed(at), kind, "0", indices)


def clear_row(place: Place, index: int, who: Row, event: str) -> Row:
    """Return the event that empties a book."""
    return who | {
        "channel": place.channel,
        "venue_session": place.session,
        "sequence": place.sequence,
        "event_index": index,
        "event": event,
        "action": "clear",
    }


def _book_row(place: Place, index: int, entry: Fields, who: Row, kind: str, action: str, event: str) -> Row:
    price, size, order_id = price_of(entry), size_of(entry), entry.text(ENTRY_ID)
    replaced = entry.text(REF_ID)
    row = clear_row(place, index, who, event) | {
        "side": _TAKERS[_IMPLIED.get(kind, kind)],
        "price": price,
        "size": size,
        "conditions": conditions_of(entry, _QUOTE_CONDITION),
        "action": None,
    }
    if kind in _IMPLIED:
        row["channel"] = f"{place.channel} implied"
    if order_id is None:
        if action == "2":
            row["size"] = exact_decimal("0", SIZE_SCALE)
        if price is None:
            raise NumberRefusedError("malformed_number", None, "270, the price of a level")
        return row
    is_replaced = action != "2" and replaced is not None and replaced != order_id
    acted = "replace" if is_replaced else ORDER_ACTIONS[action]
    named = {"order_id": replaced, "new_order_id": order_id} if is_replaced else {"order_id": order_id}
    return row | named | {"action": acted}


def quote_row(place: Place, whole: Fields, entries: list[Fields]) -> Row | None:
    """Return the best bid and offer that a snapshot with at most one of each tells; None for a deeper one."""
    sides: dict[str, Fields] = {}
    for entry in entries:
        kind = entry.text(ENTRY_TYPE)
        if kind in (_BID, _OFFER):
            if kind in sides:
                return None
            sides[kind] = entry
    if not sides:
        return None
    symbol = symbol_of(whole)
    row = about(whole, symbol) | place.at(place.sent) | {"sequence": place.sequence, "venue_session": place.session}
    for side, kind in (("bid", _BID), ("ask", _OFFER)):
        if kind in sides:
            row |= {f"{side}_price": price_of(sides[kind]), f"{side}_size": size_of(sides[kind])}
    codes = sorted({code for entry in sides.values() for code in (entry.text(_QUOTE_CONDITION) or "").split()})
    instants = [entry_instant(entry, place.sent) for entry in sides.values()]
    told = [instant for instant in instants if instant is not None]
    return row | place.at(max(told) if told else None) | {"conditions": ",".join(codes) or None}


def _other_rows(place: Place, entry: Fields, who: Row, kind: str, action: str, indices: set[str]) -> Iterator[tuple[str, Row]]:
    if kind == _TRADE:
        yield _trade(place, entry, who, action)
    elif who["symbol"] in indices and entry.text(PRICE) is not None:
        measure = measure_of(kind)
        yield INDEX_LEVELS, _level(place, entry, who, measure, PRICE)
        if entry.text(_NET_CHANGE) is not None:
            yield INDEX_LEVELS, _level(place, entry, who, f"{measure}_net_change", _NET_CHANGE)
    else:
        yield STATUS_EVENTS, _statistic(place, entry, who, kind)


def _trade(place: Place, entry: Fields, who: Row, action: str) -> tuple[str, Row]:
    price, size = price_of(entry), size_of(entry)
    event = _EVENTS.get(action)
    row = who | {
        "sequence": place.sequence,
        "venue_session": place.session,
        "trade_id": entry.text(_TRADE_ID) or entry.text(ENTRY_ID),
        "conditions": conditions_of(entry, _TRADE_CONDITION),
    }
    if event is None:
        side = _SIDES.get(entry.text(_AGGRESSOR) or entry.text(_CME_AGGRESSOR) or "")
        if price is None or size is None:
            raise NumberRefusedError("malformed_number", f"270={price}, 271={size}", "price and size of a trade")
        return TRADES, row | {"price": price, "size": size, "side": side}
    row["trade_id"] = entry.text(REF_ID) or row["trade_id"]
    if row["trade_id"] is None:
        raise NumberRefusedError("unknown_trade", None, "278, 280 or 1003: which trade is changed")
    told = {"new_price": price, "new_size": size} if event == "correction" else {"price": price, "size": size}
    return TRADE_EVENTS, row | told | {"kind": event, "known_at": None if place.sent is None else place.sent[0]}


def _level(place: Place, entry: Fields, who: Row, measure: str, tag: int) -> Row:
    value = exact_decimal(entry.text(tag), _LEVEL_SCALE, _LEVEL_DIGITS)
    known = who["ts_event"] if place.sent is None else place.sent[0]
    told = {name: who[name] for name in who if name != "ts_event_nanos"}
    return told | {"measure": measure, "value": value, "known_at": known, "delivered_at": known}


def _statistic(place: Place, entry: Fields, who: Row, kind: str) -> Row:
    """Return a price of the day, an imbalance, or a word about the instrument; all that the entry tells is its detail."""
    row = who | {"channel": place.channel, "venue_session": place.session, "code": kind, "detail": detail_of(entry)}
    words = entry.text(_TEXT)
    if kind == _IMBALANCE:
        side = {"P": "buy", "Q": "sell"}.get((entry.text(_IMBALANCE_WORD) or " ")[0])
        return row | {
            "kind": "auction",
            "status": "imbalance",
            "imbalance_size": size_of(entry),
            "side": side,
            "price": price_of(entry),
        }
    if entry.text(PRICE) is None and entry.text(SIZE) is None and words is not None:
        return row | {"kind": "trading_status", "status": words.lower(), "reason": words}
    kind_of, name = (
        ("official_price", _OFFICIAL[kind]) if kind in _OFFICIAL else ("statistic", _STATISTICS.get(kind, f"entry_{kind}"))
    )
    return row | {"kind": kind_of, "status": name, "price": price_of(entry), "size": size_of(entry)}
