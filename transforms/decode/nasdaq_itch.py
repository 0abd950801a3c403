"""Nasdaq TotalView-ITCH 5.0: every message of a file's run, with or without prefixes of length.

Times are nanoseconds since midnight in New York on the file's date. Most messages name their instrument by a number of the day
and an execution tells no price: both come as the importer noted them in the request (ingest/containers/itch.py). Orders become
normalized.book_events as told; executions, non-displayed trades and crosses .trades, broken trades .trade_events; the
rest .status_events. Numbers of trades count within a day: the date is `venue_session`, a message's number in the file `sequence`.
Source: Nasdaq TotalView-ITCH 5.0 specification.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from transforms.decode import nasdaq_itch_states
from transforms.decode.binary import (
    Mask,
    Records,
    flat_payloads,
    gather,
    ints,
    is_size,
    micros,
    nanos,
    prices_e4,
    repeated,
    sizes,
    texts_of,
    worded,
)
from transforms.decode.decoded import (
    BOOK_EVENTS,
    STATUS_EVENTS,
    TRADE_EVENTS,
    TRADES,
    Decoded,
    Refusals,
    columns_table,
    decoded,
    in_order,
    texts,
)
from transforms.kernels import itch as kernel
from transforms.numbers import Int64s

TABLES = (TRADES, TRADE_EVENTS, BOOK_EVENTS, STATUS_EVENTS)
NEW_YORK = "America/New_York"
_DAY_NS = 86_400_000_000_000
_LEAST_BYTES = np.array([kernel.LENGTHS.get(chr(code), 1 << 20) for code in range(256)])
_EXECUTIONS = (ord("E"), ord("C"))
_CROSSES = {"O": "cross_open", "C": "cross_close", "H": "cross_halt", "I": "cross_intraday", "A": "cross_extended"}
_ORDER = [*nasdaq_itch_states.HEAD, ("order_id", ">u8")]
_NEW = [*_ORDER, ("side", "u1"), ("size", ">u4"), ("symbol", "S8"), ("price", ">u4")]
_LAYOUTS: dict[str, list[tuple[str, str]]] = {
    "A": _NEW,
    "F": [*_NEW, ("participant", "S4")],
    "E": [*_ORDER, ("size", ">u4"), ("trade_id", ">u8")],
    "C": [*_ORDER, ("size", ">u4"), ("trade_id", ">u8"), ("printable", "u1"), ("price", ">u4")],
    "X": [*_ORDER, ("size", ">u4")],
    "D": _ORDER,
    "U": [*_ORDER, ("new_order_id", ">u8"), ("size", ">u4"), ("price", ">u4")],
    "P": [*_NEW, ("trade_id", ">u8")],
    "Q": [*nasdaq_itch_states.HEAD, ("size", ">u8"), ("symbol", "S8"), ("price", ">u4"), ("trade_id", ">u8"), ("cross", "u1")],
    "B": [*nasdaq_itch_states.HEAD, ("trade_id", ">u8")],
}
_ACTIONS = {"A": "add", "F": "add", "E": "execute", "C": "execute", "X": "cancel", "D": "delete", "U": "replace"}
_SIDES = {ord("B"): "buy", ord("S"): "sell"}
_AGAINST = {1: "sell", -1: "buy"}


class Notes(msgspec.Struct):
    """What the importer noted about a run: its date, how messages are parted, the number of the first, names, executions."""

    date: str | None = None
    prefix: int | None = None
    first: int = 1
    symbols: dict[str, str] = {}
    executed: list[str] = []


@dataclass(frozen=True, slots=True)
class Run:
    """The messages of all payloads: where each lies, its kind, its payload, its number there, and what was noted.

    execution   for executions, their number among the whole ones of the payload, by which the importer noted them
    """

    view: npt.NDArray[np.uint8]
    at: Int64s
    kind: npt.NDArray[np.uint8]
    message: Int64s
    number: Int64s
    execution: Int64s
    notes: Sequence[Notes]

    def of(self, mask: Mask) -> Run:
        """Return the messages where `mask` is True."""
        at, kind, message = self.at[mask], self.kind[mask], self.message[mask]
        return Run(self.view, at, kind, message, self.number[mask], self.execution[mask], self.notes)


def decode(messages: pa.Table) -> Decoded:
    """Return what runs of ITCH 5.0 messages say."""
    refused = Refusals()
    run, short = _read(messages, refused)
    for message, number, kind in zip(*(column.tolist() for column in (short.message, short.number, short.kind)), strict=True):
        name = chr(kind)
        rule = "short_message" if name in kernel.LENGTHS else "unknown_type"
        refused.add(message, number * 2, STATUS_EVENTS, rule, name, "a message of ITCH 5.0")
    run = _dated(run, refused)
    parts: dict[str, list[pa.Table]] = {name: [] for name in TABLES}
    for kind in np.unique(run.kind).tolist():
        name, mine = chr(kind), run.of(run.kind == kind)
        if name in nasdaq_itch_states.KINDS:
            fields, columns = nasdaq_itch_states.KINDS[name]
            records = gather(mine.view, mine.at, np.dtype([*nasdaq_itch_states.HEAD, *fields]))
            days = np.array([_midnight_ns(note.date) for note in run.notes], np.int64)[mine.message]
            parts[STATUS_EVENTS].append(_rows(STATUS_EVENTS, mine, records, columns(records, days)))
            continue
        records = gather(mine.view, mine.at, np.dtype(_LAYOUTS[name]))
        if name in _ACTIONS:
            parts[BOOK_EVENTS].append(_rows(BOOK_EVENTS, mine, records, _order_columns(name, records)))
        if name == "B":
            broken = {"kind": repeated("break", len(records)), "trade_id": _told(records["trade_id"])}
            parts[TRADE_EVENTS].append(_rows(TRADE_EVENTS, mine, records, broken))
        elif name in ("E", "C", "P", "Q"):
            _trade_parts(name, mine, records, parts, refused)
    tables = {name: in_order(name, found) for name, found in parts.items()}
    return decoded(tables, refused, messages.num_rows)


def _read(messages: pa.Table, refused: Refusals) -> tuple[Run, Run]:
    """Return the messages of all payloads, and apart those too short for their type or of an unknown one."""
    data, offsets = flat_payloads(messages)
    found, notes, until = kernel.Found(), [], []
    requests = texts(messages, "request")
    for message, (start, stop) in enumerate(zip(offsets[:-1].tolist(), offsets[1:].tolist(), strict=True)):
        note = _notes(requests[message])
        notes.append(note)
        prefix = framing(data[start:stop]) if note.prefix is None else note.prefix
        found.is_damaged = False
        end = start if prefix is None else kernel.walk(data, start, stop, prefix, stop - start + 1, found)
        until.append(len(found.at) // 8)
        if end < stop and data[end:stop] != b"\0\0":
            rule = "not_itch" if prefix is None or found.is_damaged else "truncated_message"
            refused.add_message(message, rule, f"at byte {end - start} of {stop - start}", "whole messages of ITCH 5.0")
    at = ints(found.at.getvalue())
    owner = np.searchsorted(np.array(until, np.int64), np.arange(len(at)), side="right")
    number = np.arange(len(at)) - np.searchsorted(owner, owner)
    view = np.frombuffer(data, np.uint8)
    kind = view[at] if len(at) else np.zeros(0, np.uint8)
    whole = is_whole(kind, ints(found.length.getvalue()))
    is_execution = whole & np.isin(kind, _EXECUTIONS)
    before: Int64s = np.cumsum(is_execution) - is_execution
    run = Run(view, at, kind, owner, number, before - before[np.searchsorted(owner, owner)], notes)
    return run.of(whole), run.of(~whole)


def is_whole(kinds: npt.NDArray[np.uint8], lengths: Int64s) -> Mask:
    """Return which messages are of a known type and at least as long as it."""
    found: Mask = lengths >= _LEAST_BYTES[kinds]
    return found


def framing(beginning: bytes) -> int | None:
    """Return how messages are parted, kernel.PREFIXED or kernel.BARE, by what reads further; None where neither reads any."""
    best, reached = None, 0
    for prefix in (kernel.PREFIXED, kernel.BARE):
        found = kernel.Found()
        end = kernel.walk(beginning, 0, len(beginning), prefix, len(beginning), found)
        if end > reached and (not found.is_damaged or end * 2 > len(beginning)):
            best, reached = prefix, end
    return best


def _notes(request: str | None) -> Notes:
    try:
        found = Notes() if request is None else msgspec.json.decode(request, type=Notes)
    except (msgspec.DecodeError, UnicodeEncodeError):
        return Notes()
    is_sound = found.prefix in (None, kernel.PREFIXED, kernel.BARE) and 0 < found.first < 1 << 60
    return found if is_sound else Notes()


def _midnight_ns(day: str | None) -> int:
    """Return midnight in New York in nanoseconds since 1970; -1 for a date that is none."""
    try:
        told = date.fromisoformat(day or "")
        found = int(datetime(told.year, told.month, told.day, tzinfo=ZoneInfo(NEW_YORK)).timestamp())
    except ValueError:
        return -1
    return found * 1_000_000_000 if 0 <= found < 4_102_000_000 else -1


def _dated(run: Run, refused: Refusals) -> Run:
    """Return the messages of payloads whose date is known and whose time is a time of the day; the others are refused."""
    for message in np.unique(run.message).tolist():
        if _midnight_ns(run.notes[message].date) < 0:
            refused.add_message(message, "unknown_date", run.notes[message].date, "a date in the file's name, or --received-at")
    days = np.array([_midnight_ns(note.date) for note in run.notes], np.int64)
    run = run.of(days[run.message] >= 0) if len(run.at) else run
    times = _since_midnight(gather(run.view, run.at, np.dtype(nasdaq_itch_states.HEAD)))
    is_time = times < _DAY_NS
    for place in np.flatnonzero(~is_time).tolist():
        number, value = int(run.number[place]), int(times[place])
        refused.add(int(run.message[place]), number * 2, STATUS_EVENTS, "timestamp", value, "nanoseconds of a day")
    return run.of(is_time)


def _since_midnight(records: Records) -> Int64s:
    found: Int64s = (records["time_high"].astype(np.int64) << 32) | records["time_low"].astype(np.int64)
    return found


def _rows(table: str, run: Run, records: Records, own: dict[str, pa.Array], place: int = 0) -> pa.Table:
    """Return rows of messages that are of one kind. `place`: 1 for the second fact of a message."""
    count = len(records)
    days = np.array([_midnight_ns(note.date) for note in run.notes], np.int64)
    stamps = days[run.message] + _since_midnight(records)
    first = np.array([note.first for note in run.notes], np.int64)
    arrays: dict[str, pa.Array] = {
        "ts_event": micros(stamps),
        "ts_event_nanos": nanos(stamps),
        "sequence": pa.array(first[run.message] + run.number),
        "venue_session": pa.array([note.date for note in run.notes], pa.string()).take(pa.array(run.message)),
        "currency": repeated("USD", count),
        "exchange": repeated("US", count),
        "exchange_zone": repeated(NEW_YORK, count),
        "message_index": pa.array(run.message),
        "ordinal": pa.array((run.number * 2 + place).astype(np.int32)),
        **own,
    }
    if table in (BOOK_EVENTS, STATUS_EVENTS):
        arrays["channel"] = repeated("itch", count)
    if "symbol" in (records.dtype.names or ()):
        arrays["symbol"] = texts_of(records["symbol"])
    elif table != STATUS_EVENTS:
        arrays["symbol"] = _symbols(run, records["locate"])
    return columns_table(table, arrays)


def _symbols(run: Run, locates: npt.NDArray[np.uint16]) -> pa.Array:
    """Return the symbols of the day's numbers, as noted; null where a number was not noted."""
    pairs, codes = np.unique(run.message << 16 | locates.astype(np.int64), return_inverse=True)
    names = [run.notes[pair >> 16].symbols.get(str(pair & 0xFFFF)) for pair in pairs.tolist()]
    return pa.array(names, pa.string()).take(pa.array(codes.reshape(-1)))


def _told(ids: npt.NDArray[Any]) -> pa.Array:
    """Return ids as text; null for 0, which names nothing."""
    found = pa.array(ids.astype(np.uint64)).cast(pa.string())
    return pc.if_else(pa.array(ids != 0), found, pa.scalar(None, pa.string()))


def _order_columns(name: str, records: Records) -> dict[str, pa.Array]:
    count, fields = len(records), records.dtype.names or ()
    columns = {
        "event_index": repeated(0, count, pa.int32()),
        "event": repeated("update", count),
        "action": repeated(_ACTIONS[name], count),
        "order_id": pa.array(records["order_id"].astype(np.uint64)).cast(pa.string()),
    }
    readers: dict[str, Callable[[npt.NDArray[Any]], pa.Array]] = {
        "side": lambda codes: worded(codes, _SIDES),
        "price": prices_e4,
        "size": sizes,
        "new_order_id": _told,
        "trade_id": _told,
        "participant": texts_of,
        "printable": lambda codes: worded(codes, {ord("N"): "non_printable"}),
    }
    named = {"printable": "conditions"}
    return columns | {named.get(one, one): reader(records[one]) for one, reader in readers.items() if one in fields}


def _trade_parts(name: str, mine: Run, records: Records, parts: dict[str, list[pa.Table]], refused: Refusals) -> None:
    """Append trades: executions (E, C), hidden orders (P), crosses (Q). A cross of nothing is a word about an auction."""
    columns: dict[str, pa.Array] = {"trade_id": _told(records["trade_id"])}
    is_trade = np.ones(len(records), np.bool_)
    if name in ("E", "C"):
        e4, sides = _executed(mine)
        columns["side"] = worded(sides + 1, {side + 1: word for side, word in _AGAINST.items()})
        if name == "C":
            e4 = records["price"].astype(np.int64)
            columns["conditions"] = worded(records["printable"], {ord("N"): "non_printable"})
        is_trade = e4 >= 0  # an order that was opened before the file began tells no price: its execution stays an order's event
    else:
        e4 = records["price"].astype(np.int64)
        columns["conditions"] = repeated("non_displayed", len(records))
    if name == "Q":
        columns["conditions"] = worded(records["cross"], {ord(code): word for code, word in _CROSSES.items()})
        is_trade = (records["size"] > 0) | (e4 > 0)
        empty = mine.of(~is_trade)
        if len(empty.at):
            parts[STATUS_EVENTS].append(
                _rows(STATUS_EVENTS, empty, records[~is_trade], nasdaq_itch_states.no_cross(records[~is_trade]))
            )
        is_trade &= _sound_sizes(mine, records, is_trade, refused)
    columns |= {"price": prices_e4(np.where(is_trade, e4, 0)), "size": sizes(np.where(is_trade, records["size"], 0))}
    kept = pa.array(is_trade)
    own = {column: values.filter(kept) for column, values in columns.items()}
    parts[TRADES].append(_rows(TRADES, mine.of(is_trade), records[is_trade], own, place=1))


def _sound_sizes(mine: Run, records: Records, wanted: Mask, refused: Refusals) -> Mask:
    is_good: Mask = is_size(records["size"])
    for place in np.flatnonzero(wanted & ~is_good).tolist():
        value = int(records["size"][place])
        refused.add(int(mine.message[place]), int(mine.number[place]) * 2 + 1, TRADES, "overflow", value, "less than 10^10")
    return is_good


def _executed(run: Run) -> tuple[Int64s, npt.NDArray[np.int64]]:
    """Return price (-1: unknown) and side (1 buy, -1 sell, 0 unknown) of the order that each execution of `run` hit."""
    prices, sides = np.full(len(run.at), -1, np.int64), np.zeros(len(run.at), np.int64)
    for number, (one, at) in enumerate(zip(run.message.tolist(), run.execution.tolist(), strict=True)):
        told = run.notes[one].executed
        text = told[at] if at < len(told) else ""
        digits, side = text[:-1], {"B": 1, "S": -1}.get(text[-1:], 0)
        if side and digits.isascii() and digits.isdigit() and len(digits) < 11:
            prices[number], sides[number] = int(digits), side
    return prices, sides
