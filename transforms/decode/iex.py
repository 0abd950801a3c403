"""IEX TOPS 1.5 and 1.6 and DEEP 1.0 in packet captures: every message of IEX-TP segments, as the exchange's HIST files hold them.

A raw message is a run of whole packets behind the capture's own headers. Times are nanoseconds of the exchange's clock, prices
ten-thousandths of a dollar. Quotes and levels become normalized.quotes and .book_events; trades .trades, trade breaks
.trade_events; everything else .status_events. The session of IEX-TP is `venue_session`: sequences and trade ids count within
it. A price of 0 says that a side is empty. Bodies may be longer than known, never shorter.
Source: PROVIDERS.md section 3; IEX TOPS 1.66 and DEEP 1.08.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from transforms.decode import iex_states
from transforms.decode.binary import (
    Mask,
    Records,
    flagged,
    flat_payloads,
    gather,
    ints,
    is_instant,
    is_price,
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
    QUOTES,
    STATUS_EVENTS,
    TRADE_EVENTS,
    TRADES,
    Decoded,
    Refusals,
    columns_table,
    decoded,
    in_order,
)
from transforms.kernels import packets as kernel
from transforms.numbers import Int64s

TOPS = (0x8002, 0x8003)
DEEP = (0x8004,)
TOPS_TABLES = (TRADES, TRADE_EVENTS, QUOTES, STATUS_EVENTS)
DEEP_TABLES = (TRADES, TRADE_EVENTS, BOOK_EVENTS, STATUS_EVENTS)

_SALE = ((0x80, "ISO"), (0x40, "EXT"), (0x20, "ODD"), (0x10, "TTE"), (0x08, "SPC"))
_QUOTE_FLAGS = ((0x80, "inactive"), (0x40, "outside_regular"))
_HEADER = np.dtype([("version", "u1"), ("pad", "u1"), ("protocol", "<u2"), ("channel", "<u4"), ("session", "<u4")])
_START = [("kind", "u1"), ("code", "u1"), ("stamp", "<i8")]
_NAMED: list[tuple[str, str]] = [*_START, ("symbol", "S8")]
_TRADE = np.dtype([*_NAMED, ("size", "<u4"), ("price", "<i8"), ("trade_id", "<i8")])
_QUOTE = np.dtype([*_NAMED, ("bid_size", "<u4"), ("bid", "<i8"), ("ask", "<i8"), ("ask_size", "<u4")])
_LEVEL = np.dtype([*_NAMED, ("size", "<u4"), ("price", "<i8")])
_FAULTS = {
    kernel.TRUNCATED: "truncated_packet",
    kernel.FRAGMENT: "fragmented_packet",
    kernel.MALFORMED: "malformed_segment",
}


@dataclass(frozen=True, slots=True)
class Messages:
    """IEX-TP messages of one kind: their bodies, and where each came from."""

    records: Records
    message: Int64s
    ordinal: Int64s
    number: Int64s
    session: npt.NDArray[np.uint32]
    channel: npt.NDArray[np.uint32]

    def of(self, mask: Mask) -> Messages:
        """Return the messages where `mask` is True."""
        if mask.all():
            return self
        return Messages(*(getattr(self, name)[mask] for name in self.__slots__))


@dataclass(frozen=True, slots=True)
class _Kind:
    """How a message type is read: its layout, its table, columns of its own, and fields that must be prices."""

    table: str
    layout: np.dtype[Any]
    columns: Callable[[Records], dict[str, pa.Array]]
    prices: tuple[str, ...] = ()


def decode_tops(messages: pa.Table) -> Decoded:
    """Return what captures of TOPS 1.5 and 1.6 say."""
    return _decode(messages, TOPS, TOPS_TABLES)


def decode_deep(messages: pa.Table) -> Decoded:
    """Return what captures of DEEP 1.0 say."""
    return _decode(messages, DEEP, DEEP_TABLES)


def _decode(messages: pa.Table, protocols: tuple[int, ...], tables: tuple[str, ...]) -> Decoded:
    data, offsets = flat_payloads(messages)
    refused = Refusals()
    found = kernel.Packets()
    segments_until = _walk(data, offsets, found, refused)
    parts: dict[str, list[pa.Table]] = {name: [] for name in tables}
    skipped = int(found.others)
    lengths = ints(found.message_length.getvalue())
    if len(lengths):
        view = np.frombuffer(data, np.uint8)
        segment = ints(found.message_segment.getvalue())
        header = gather(view, ints(found.segment_at.getvalue()), _HEADER)[segment]
        message = np.searchsorted(segments_until, segment, side="right")
        at = ints(found.message_at.getvalue())
        ordinal = np.arange(len(at)) - np.searchsorted(message, message)
        number = ints(found.message_number.getvalue())
        kinds = np.where(lengths > 0, view[np.minimum(at, len(view) - 1)], 0)
        is_ours = np.isin(header["protocol"], protocols)
        skipped += int((~is_ours).sum())
        for kind in np.unique(kinds[is_ours]).tolist():
            where = is_ours & (kinds == kind)
            reader = _KINDS.get(kind)
            if reader is None or reader.table not in tables:
                _refuse(refused, message[where], ordinal[where], STATUS_EVENTS, "unknown_type", chr(kind), "a type of this feed")
                continue
            is_short = where & (lengths < reader.layout.itemsize)
            _refuse(refused, message[is_short], ordinal[is_short], reader.table, "short_message", chr(kind),
                    f"{reader.layout.itemsize} bytes or more")  # fmt: skip
            where &= ~is_short
            records = gather(view, at[where], reader.layout)
            given = Messages(
                records, message[where], ordinal[where], number[where], header["session"][where], header["channel"][where]
            )
            parts[reader.table] += _rows(reader, _sound(reader, given, refused))
    return decoded({name: in_order(name, parts[name]) for name in tables}, refused, messages.num_rows, skipped)


def _walk(data: bytes, offsets: Int64s, found: kernel.Packets, refused: Refusals) -> Int64s:
    """Walk every payload; returns how many segments had been found after each. What is no whole capture is refused once."""
    until = np.zeros(len(offsets) - 1, np.int64)
    faults = 0
    for message, (start, stop) in enumerate(zip(offsets[:-1].tolist(), offsets[1:].tolist(), strict=True)):
        form = kernel.Form()
        end = kernel.walk(data, start, stop, form, stop - start + 1, found, with_messages=True)
        until[message] = found.segments
        count = len(found.fault_at) // 8
        if form.is_damaged or end < stop:
            rule = "truncated_packet" if form.kind != kernel.UNKNOWN and not form.is_damaged else "not_a_capture"
            refused.add_message(message, rule, f"at byte {end - start} of {stop - start}", "whole packets of pcap or pcapng")
        elif count > faults:
            code, place = (ints(column.getvalue())[faults] for column in (found.fault_code, found.fault_at))
            value = f"{count - faults} packets, the first at byte {place - start}"
            refused.add_message(message, _FAULTS[int(code)], value, "whole segments of IEX-TP 1")
        faults = count
    return until


def _refuse(refused: Refusals, messages: Int64s, ordinals: Int64s, table: str, rule: str, value: object, expected: str) -> None:
    for message, ordinal in zip(messages.tolist(), ordinals.tolist(), strict=True):
        refused.add(message, ordinal, table, rule, value, expected)


def _sound(reader: _Kind, given: Messages, refused: Refusals) -> Messages:
    """Return the messages whose time and prices a column can hold; the others are refused."""
    rules = [("timestamp", "stamp", is_instant(given.records["stamp"]), "nanoseconds since 1970, before 2100")]
    rules += [("price_out_of_range", name, is_price(given.records[name]), "0 to 999999999.9999") for name in reader.prices]
    is_kept = np.ones(len(given.message), np.bool_)
    for rule, name, is_good, expected in rules:
        for place in np.flatnonzero(is_kept & ~is_good).tolist():
            value = int(given.records[name][place])
            refused.add(int(given.message[place]), int(given.ordinal[place]), reader.table, rule, value, expected)
        is_kept &= is_good
    return given.of(is_kept)


def _rows(reader: _Kind, given: Messages) -> list[pa.Table]:
    count = len(given.message)
    if not count:
        return []
    records = given.records
    arrays: dict[str, pa.Array] = {
        "ts_event": micros(records["stamp"]),
        "ts_event_nanos": nanos(records["stamp"]),
        "sequence": pa.array(given.number),
        "venue_session": pa.array(given.session).cast(pa.string()),
        "currency": repeated("USD", count),
        "mic": repeated("IEXG", count),
        "exchange_zone": repeated("America/New_York", count),
        "message_index": pa.array(given.message),
        "ordinal": pa.array(given.ordinal.astype(np.int32)),
    }
    if "symbol" in (records.dtype.names or ()):
        arrays["symbol"] = texts_of(records["symbol"])
    if reader.table in (BOOK_EVENTS, STATUS_EVENTS):
        arrays["channel"] = pa.array(given.channel).cast(pa.string())
    return [columns_table(reader.table, arrays | reader.columns(records))]


def _trades(records: Records) -> dict[str, pa.Array]:
    return {
        "trade_id": pa.array(records["trade_id"]).cast(pa.string()),
        "price": prices_e4(records["price"]),
        "size": sizes(records["size"]),
        "conditions": flagged(records["code"], _SALE),
    }


def _breaks(records: Records) -> dict[str, pa.Array]:
    return _trades(records) | {"kind": repeated("break", len(records))}


def _quotes(records: Records) -> dict[str, pa.Array]:
    return {
        "bid_price": prices_e4(records["bid"], records["bid"] > 0),
        "bid_size": sizes(records["bid_size"]),
        "ask_price": prices_e4(records["ask"], records["ask"] > 0),
        "ask_size": sizes(records["ask_size"]),
        "conditions": flagged(records["code"], _QUOTE_FLAGS),
    }


def _levels(records: Records) -> dict[str, pa.Array]:
    count = len(records)
    return {
        "event_index": repeated(0, count, pa.int32()),
        "event": repeated("update", count),
        "side": worded(records["kind"], {ord("8"): "buy", ord("5"): "sell"}),
        "price": prices_e4(records["price"]),
        "size": sizes(records["size"]),
        "is_complete": pa.array((records["code"] & 1).astype(np.bool_)),
    }


_KINDS: Mapping[int, _Kind] = {
    ord("T"): _Kind(TRADES, _TRADE, _trades, ("price",)),
    ord("B"): _Kind(TRADE_EVENTS, _TRADE, _breaks, ("price",)),
    ord("Q"): _Kind(QUOTES, _QUOTE, _quotes, ("bid", "ask")),
    ord("8"): _Kind(BOOK_EVENTS, _LEVEL, _levels, ("price",)),
    ord("5"): _Kind(BOOK_EVENTS, _LEVEL, _levels, ("price",)),
    **{
        ord(kind): _Kind(STATUS_EVENTS, np.dtype([*_NAMED, *more] if more is not None else _START), columns, prices)
        for kind, (more, columns, prices) in iex_states.KINDS.items()
    },
}
