"""What the readers of JSON answers and frames share: one message after the other becomes rows and refused entries.

A feed's reader is a `Reader` with methods that know its payloads; `read_messages` leads it through them. Every entry takes one
ordinal, whether it gives a row or is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from decimal import Decimal

import pyarrow as pa

from transforms.decode.decoded import Decoded, Refusals, Rows, decoded, payloads, texts
from transforms.decode.delivery import delivered_at
from transforms.decode.json_digits import asked, asked_at, exact, is_repeat
from transforms.numbers import PRICE_SCALE, SIZE_SCALE, NumberRefusedError

Row = dict[str, object]
Object = Mapping[str, object]

CAMEL_QUOTE = {"bid_price": "bidPrice", "bid_size": "bidSize", "ask_price": "askPrice", "ask_size": "askSize"}
"""What IEX and Tiingo call the sides of a quote; see `two_sides`."""


class Reader:
    """The rows of a feed while its messages are read, and what is known of the message at hand beside its body.

    path, params   of the request; empty where unknown
    delivered      when the provider gave the answer; None where unknown
    until          an instant up to which the answer surely knows the market: delivered, else when it was asked for
    skipped        places that hold no fact by design
    """

    def __init__(self, tables: tuple[str, ...]) -> None:
        self.rows = {name: Rows(name) for name in tables}
        self.refused = Refusals()
        self.skipped = self.message = self.ordinal = 0
        self.path = ""
        self.params: Mapping[str, str] = {}
        self.delivered: datetime | None = None
        self.until: datetime | None = None

    def begin(self, message: int, request: str | None, headers: str | None) -> None:
        """Turn to the next message, its request and headers as raw.messages has them."""
        self.message, self.ordinal = message, 0
        self.path, self.params = asked(request)
        self.delivered = delivered_at(headers, request)
        self.until = self.delivered or asked_at(request)

    def add(self, table: str, read: Callable[..., Row], *entry: object) -> None:
        """Append the row that `read` gives of an entry, or refuse the entry."""
        try:
            self.rows[table].add(self.message, self.ordinal, read(*entry))
            self.ordinal += 1
        except NumberRefusedError as error:
            self.refuse(table, error)

    def add_all(self, table: str, read: Callable[..., Iterable[Row]], *entry: object) -> None:
        """Append the rows that `read` gives of an entry, an ordinal each, or refuse the entry; without rows it is skipped."""
        try:
            found = list(read(*entry))
        except NumberRefusedError as error:
            return self.refuse(table, error)
        self.skipped += not found
        for row in found:
            self.rows[table].add(self.message, self.ordinal, row)
            self.ordinal += 1

    def refuse(self, table: str, error: NumberRefusedError) -> None:
        """Refuse an entry that would have been a row of `table`."""
        self.refused.add(self.message, self.ordinal, table, error.rule, error.value, error.expected)
        self.ordinal += 1


def read_messages(reader: Reader, messages: pa.Table, read: Callable[[bytes], None]) -> Decoded:
    """Return what `read` made of each payload; one that it raises NumberRefusedError for is refused whole.

    A frame whose bytes came before in its session is control.
    """
    requests, headers = texts(messages, "request"), texts(messages, "headers")
    for index, payload in enumerate(payloads(messages)):
        if is_repeat(requests[index]):
            continue
        try:
            reader.begin(index, requests[index], headers[index])
            read(payload)
        except NumberRefusedError as error:
            reader.refused.add_message(index, error.rule, error.value, error.expected)
    tables = {name: rows.to_table() for name, rows in reader.rows.items()}
    return decoded(tables, reader.refused, messages.num_rows, reader.skipped)


def read_raw_only(messages: pa.Table, about: Callable[[bytes], object]) -> Decoded:
    """Return no rows: an answer is refused as raw_only, with what `about` says of it; where that is None it is control."""
    reader = Reader(())

    def read(payload: bytes) -> None:
        told = about(payload)
        if told is not None:
            raise NumberRefusedError("raw_only", told, "an answer about prices, companies or actions")

    return read_messages(reader, messages, read)


def read_no_facts(messages: pa.Table) -> Decoded:
    """Return no rows: every message is control, such as a list of files or a refusal to give one."""
    return read_raw_only(messages, lambda payload: None)


def object_of(entry: object, what: str = "an object") -> Object:
    """Return a JSON object. Raises NumberRefusedError (malformed) for anything else."""
    if not isinstance(entry, dict):
        raise NumberRefusedError("malformed", entry, what)
    return entry


def two_sides(told: Object, names: Mapping[str, str], number: Callable[[object, int], Decimal] = exact) -> Row:
    """Return bid_price, bid_size, ask_price, ask_size; `names` says what a payload calls them.

    A side whose price is null or 0 has no quote: both its price and its size are missing.
    """
    row: Row = {}
    for side in ("bid", "ask"):
        price, size = told.get(names[f"{side}_price"]), told.get(names[f"{side}_size"])
        found = None if price is None else number(price, PRICE_SCALE)
        if found:
            row |= {f"{side}_price": found, f"{side}_size": None if size is None else number(size, SIZE_SCALE)}
    return row


def trade_number(value: object) -> int | str | None:
    """Return a trade's id as written, None for null. Raises NumberRefusedError (malformed) for neither number nor text."""
    if value is None or (isinstance(value, int | str) and not isinstance(value, bool)):
        return value
    raise NumberRefusedError("malformed", value, "a trade id")
