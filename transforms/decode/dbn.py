"""Databento's records (DBN 1 to 3, DBZ) into our tables: a batch by its kinds of records, a kind by whole columns.

A message is the header of a file, which is kept and says nothing by itself, or a batch of records with what the header says
of them in its request (`ingest/containers/dbn.py`). Prices are integers of 1e-9; the greatest is no price. The time of an
event is the venue's, in nanoseconds; the symbol is the one its number stood for on the UTC day of the receipt.
Source: github.com/databento/dbn, rust/dbn/src/record.rs; what it leaves open, databento.com/docs/schemas-and-data-formats.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import orjson
import pyarrow as pa

from transforms.decode import dbn_layout as kinds
from transforms.decode.dbn_batch import PLACES, Group, Names, Who, about_of, groups, names_of, who_of
from transforms.decode.dbn_definitions import definitions
from transforms.decode.dbn_rows import bars, book_levels, orders, quotes, trades
from transforms.decode.dbn_states import auctions, states, statistics
from transforms.decode.decoded import (
    BARS,
    BOOK_EVENTS,
    CLASSIFICATIONS,
    FUTURES_CONTRACTS,
    MESSAGES,
    OPTION_CONTRACTS,
    OPTION_OPEN_INTEREST,
    QUOTES,
    STATUS_EVENTS,
    TRADES,
    TRADING_RULES,
    Decoded,
    Refusals,
    decoded,
    in_order,
    payloads,
    texts,
)
from transforms.numbers import Int64s

TABLES = (
    *(TRADES, QUOTES, BOOK_EVENTS, STATUS_EVENTS, BARS, OPTION_OPEN_INTEREST),
    *(OPTION_CONTRACTS, FUTURES_CONTRACTS, TRADING_RULES, CLASSIFICATIONS),
)

HEADER_TYPE = "application/vnd.databento.dbn-header"
Parts = dict[str, list[pa.Table]]
_Read = Callable[[Group, Who], Mapping[str, pa.Table]]

_BBO = (kinds.MBP_1, kinds.BBO_1S, kinds.BBO_1M, kinds.CMBP_1, kinds.CBBO_1S, kinds.CBBO_1M, kinds.TCBBO)
_BARS = (kinds.OHLCV_OLD, kinds.OHLCV_1S, kinds.OHLCV_1M, kinds.OHLCV_1H, kinds.OHLCV_1D, kinds.OHLCV_EOD)
_READERS: dict[int, tuple[_Read, ...]] = {
    kinds.MBP_0: (trades,),
    **dict.fromkeys(_BBO, (quotes, trades)),
    kinds.MBP_10: (quotes, trades, book_levels),
    kinds.MBO: (orders, trades),
    kinds.STATUS: (states,),
    kinds.IMBALANCE: (auctions,),
    kinds.STATISTICS: (statistics,),
    kinds.DEFINITION: (definitions,),
    **dict.fromkeys(_BARS, (bars,)),
}
_SPOKEN_FOR = (kinds.SYMBOL_MAPPING, kinds.SYSTEM)
"""Records that say nothing of a market: symbols, which the splitter took into requests, and heartbeats."""
_MOST_RECORDS = 1 << 32
_MOST_PRICE = 10**18
"""In units of 1e-9: what a price has nine digits for."""
_PRICES = frozenset(
    {
        *("price", "open", "high", "low", "close", "strike_price"),
        *("ref_price", "cont_book_clr_price", "ind_match_price", "lower_collar", "upper_collar"),
    }
)


def decode(messages: pa.Table) -> Decoded:
    """Return what the records say, table by table; a record that no table holds is refused by name."""
    refused = Refusals()
    bodies, requests, types = payloads(messages), texts(messages, "request"), texts(messages, "content_type")
    abouts = [None if kind == HEADER_TYPE else about_of(request) for kind, request in zip(types, requests, strict=True)]
    for message, (kind, about) in enumerate(zip(types, abouts, strict=True)):
        fault = _fault(requests[message])
        if fault is not None or (about is None and kind != HEADER_TYPE):
            refused.add_message(message, "dbn_unreadable", fault or requests[message], "a header and whole records of DBN 1 to 3")
    names = names_of(abouts)
    parts: Parts = {table: [] for table in TABLES}
    skipped = sum(_read(group, names, parts, refused) for group in groups(bodies, abouts, refused))
    return decoded({name: in_order(name, tables) for name, tables in parts.items()}, refused, messages.num_rows, skipped)


def _fault(request: str | None) -> str | None:
    """Return what the splitter found wrong with a message."""
    try:
        told = orjson.loads(request or "null")
        return None if told is None or "fault" not in told else str(told["fault"])
    except (ValueError, TypeError):
        return None


def _read(group: Group, names: Names, parts: Parts, refused: Refusals) -> int:
    """Add the rows of a group to its tables, or refuse its records; returns how many say nothing by design."""
    if group.kind in _SPOKEN_FOR:
        return len(group.records)
    if group.kind == kinds.ERROR:
        _refuse_errors(group, refused)
        return 0
    group = _without_impossible(group, refused)
    who = who_of(group, names)
    told = np.zeros(len(group.records), np.bool_)
    for read in _READERS[group.kind]:
        for table, rows in read(group, who).items():
            if rows.num_rows:
                parts[table].append(rows)
                told[_records_of(group, rows)] = True
    return int(len(told) - told.sum())


def _without_impossible(group: Group, refused: Refusals) -> Group:
    """Return the records whose prices fit our columns; the others are refused, each as a whole."""
    fits = np.ones(len(group.records), np.bool_)
    for name in group.records.dtype.names or ():
        if name in _PRICES or name.startswith(("bid_px_", "ask_px_")):
            values = group.records[name]
            fits &= (values > -_MOST_PRICE) & (values < _MOST_PRICE) | (values == kinds.UNDEF_PRICE)
    if fits.all():
        return group
    for message, number in zip(group.message[~fits].tolist(), group.number[~fits].tolist(), strict=True):
        refused.add(message, number * PLACES, MESSAGES, "price_out_of_range", None, "prices below 1,000,000,000")
    return group.of(fits)


def _records_of(group: Group, rows: pa.Table) -> Int64s:
    """Return which records of a group gave the rows."""
    found: Int64s
    message, number = rows["message_index"].to_numpy(), rows["ordinal"].to_numpy() // PLACES
    is_dense = (np.diff(group.number) == 1) | (np.diff(group.message) > 0)
    if is_dense.all():  # of one kind alone: the place follows from the number
        first = np.searchsorted(group.message, np.arange(int(group.message[-1]) + 1))
        starts = first - group.number[np.minimum(first, len(group.number) - 1)]
        found = starts[message] + number
        return found
    key = group.message * _MOST_RECORDS + group.number
    found = np.searchsorted(key, message * _MOST_RECORDS + number)
    return found


def _refuse_errors(group: Group, refused: Refusals) -> None:
    for message, number, text in zip(group.message.tolist(), group.number.tolist(), group.records["text"].tolist(), strict=True):
        refused.add(message, number * PLACES, MESSAGES, "gateway_error", bytes(text).split(b"\0")[0], "no error of the gateway")
