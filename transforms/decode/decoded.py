"""What every decoder returns: candidate rows by table, what was refused and why, and how many messages say nothing.

A decoder takes a table with the columns of `raw.messages` (one provider and feed) and never raises for any bytes. Each
message gives at least one fact or one refused row, or it is counted as control: in = out, always.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache

import numpy as np
import pyarrow as pa

from lake.tables import table_named
from lake.tables.definition import arrow_type
from lake.values import MESSAGE_ITSELF

TRADES = "normalized.trades"
QUOTES = "normalized.quotes"
BOOK_EVENTS = "normalized.book_events"
TRADE_EVENTS = "normalized.trade_events"
BARS = "normalized.bars"
CORPORATE_ACTIONS = "normalized.corporate_actions"
STATUS_EVENTS = "normalized.status_events"
FX_RATES = "normalized.fx_rates"
INDEX_LEVELS = "normalized.index_levels"
FUNDAMENTALS = "normalized.fundamentals"
NEWS = "normalized.news"
ALTERNATIVE = "normalized.alternative"
OPTION_OPEN_INTEREST = "normalized.option_open_interest"
IDENTIFIERS = "reference.identifiers"
VENUES = "reference.venues"
SESSIONS = "reference.sessions"
MARKET_HOURS = "reference.market_hours"
CURRENCIES = "reference.currencies"
CLASSIFICATIONS = "reference.classifications"
ISSUERS = "reference.issuers"
OPTION_CONTRACTS = "reference.option_contracts"
FUTURES_CONTRACTS = "reference.futures_contracts"
TRADING_RULES = "reference.trading_rules"
INDEX_CONSTITUENTS = "reference.index_constituents"
SYMBOL_CHANGES = "reference.symbol_changes"
INSTRUMENT_JOINS = "reference.instrument_joins"
REFERENCE_FACTS = (
    *(IDENTIFIERS, VENUES, SESSIONS, MARKET_HOURS, CURRENCIES, CLASSIFICATIONS, ISSUERS, OPTION_CONTRACTS),
    *(FUTURES_CONTRACTS, TRADING_RULES, INDEX_CONSTITUENTS, SYMBOL_CHANGES, INSTRUMENT_JOINS),
)
"""The tables of lake/tables/reference_facts.py."""
FACTS = (
    *(TRADES, TRADE_EVENTS, QUOTES, BOOK_EVENTS, STATUS_EVENTS, BARS, CORPORATE_ACTIONS),
    *(FX_RATES, INDEX_LEVELS, FUNDAMENTALS, NEWS, ALTERNATIVE, OPTION_OPEN_INTEREST),
    *REFERENCE_FACTS,
)
"""Every table that a decoder can fill."""
MESSAGES = "raw.messages"
"""The table named when a whole message is refused: it never got as far as a table of facts."""

HINTS: tuple[tuple[str, str], ...] = (
    ("mic", "string"),
    ("currency", "string"),
    ("exchange", "string"),
    ("exchange_zone", "string"),
    ("asset_class", "string"),
    ("name", "string"),
)
"""What the payload tells about the instrument; null where it tells nothing. `exchange` is the provider's own word."""

_OF_MESSAGE: tuple[tuple[str, str], ...] = (("message_index", "long"), ("ordinal", "int"))
_NOT_DECODED = {
    "instrument_id",
    "provider",
    "feed",
    "mic",
    "currency",
    "capture_id",
    "message_seq",
    "ordinal",
    "ts_recv",
    "run_id",
}
_DATED_BY_CALENDAR = {TRADES, QUOTES, BOOK_EVENTS, STATUS_EVENTS}
"""Tables whose session_date follows from the instant and the venue's calendar; elsewhere the payload may say the date itself."""

REFUSED_SCHEMA: pa.Schema = pa.schema(
    [
        pa.field("message_index", pa.int64(), nullable=False),
        pa.field("ordinal", pa.int32(), nullable=False),
        pa.field("table_name", pa.string(), nullable=False),
        pa.field("rule", pa.string(), nullable=False),
        pa.field("value", pa.string()),
        pa.field("expected", pa.string()),
    ]
)

_NOTHING_REFUSED: pa.Table = REFUSED_SCHEMA.empty_table()
_LONGEST_VALUE = 200
"""A refused value is quoted up to here; the payload keeps the rest."""


@cache
def decoded_schema(table: str) -> pa.Schema:
    """Return the columns a decoder gives for `table`: what it can know of the table's own, hints, and the message's place.

    All are nullable but message_index (row of the messages table given) and ordinal. `session_date` of bars, and
    `known_at` of bars and actions, are null unless the payload itself says them.
    """
    left_out = _NOT_DECODED | ({"session_date"} if table in _DATED_BY_CALENDAR else set())
    own = [pa.field(column.name, column.arrow_type) for column in table_named(table).columns if column.name not in left_out]
    hints = [pa.field(name, arrow_type(kind)) for name, kind in HINTS]
    place = [pa.field(name, arrow_type(kind), nullable=False) for name, kind in _OF_MESSAGE]
    return pa.schema(own + hints + place)


@dataclass(frozen=True, slots=True)
class Decoded:
    """The outcome of decoding a table of messages.

    tables    table name -> candidate rows in `decoded_schema(name)`, one entry (maybe empty) for each table of the feed
    refused   REFUSED_SCHEMA; ordinal is MESSAGE_ITSELF (and table_name raw.messages) for a message refused whole
    control   messages that gave neither facts nor refused rows: acknowledgements, errors recorded as received, empty answers
    skipped   places in a payload that hold no fact by design, like a bar whose prices are all null
    """

    tables: dict[str, pa.Table]
    refused: pa.Table
    control: int
    skipped: int = 0

    @property
    def fact_count(self) -> int:
        """Candidate rows over all tables."""
        return sum(table.num_rows for table in self.tables.values())


@dataclass(slots=True)
class Refusals:
    """Refused rows while they are collected."""

    message_index: list[int] = field(default_factory=list)
    ordinal: list[int] = field(default_factory=list)
    table_name: list[str] = field(default_factory=list)
    rule: list[str] = field(default_factory=list)
    value: list[str | None] = field(default_factory=list)
    expected: list[str | None] = field(default_factory=list)

    def add(self, message_index: int, ordinal: int, table: str, rule: str, value: object, expected: str) -> None:
        """Refuse one row for one reason."""
        self.message_index.append(message_index)
        self.ordinal.append(ordinal)
        self.table_name.append(table)
        self.rule.append(rule)
        self.value.append(quoted(value))
        self.expected.append(expected)

    def add_message(self, message_index: int, rule: str, value: object, expected: str) -> None:
        """Refuse a whole message."""
        self.add(message_index, MESSAGE_ITSELF, MESSAGES, rule, value, expected)

    def table(self) -> pa.Table:
        """Return what was collected, in REFUSED_SCHEMA, ordered by message and ordinal."""
        if not self.message_index:
            return _NOTHING_REFUSED
        columns = [self.message_index, self.ordinal, self.table_name, self.rule, self.value, self.expected]
        arrays = [pa.array(values, kind.type) for values, kind in zip(columns, REFUSED_SCHEMA, strict=True)]
        found = pa.Table.from_arrays(arrays, schema=REFUSED_SCHEMA)
        return found.sort_by([("message_index", "ascending"), ("ordinal", "ascending")])


@dataclass(slots=True)
class Rows:
    """Candidate rows of one table while they are collected, column by column; for feeds of few rows a message."""

    table: str
    columns: dict[str, list[object]] = field(default_factory=dict)
    length: int = 0

    def add(self, message_index: int, ordinal: int, values: Mapping[str, object]) -> None:
        """Append one row; a column not named is null."""
        for name, value in (*values.items(), ("message_index", message_index), ("ordinal", ordinal)):
            column = self.columns.setdefault(name, [])
            column.extend([None] * (self.length - len(column)))
            column.append(value)
        self.length += 1

    def to_table(self) -> pa.Table:
        """Return the rows in `decoded_schema` of the table. Raises KeyError for a column that it does not have."""
        schema = decoded_schema(self.table)
        unknown = set(self.columns) - set(schema.names)
        if unknown:
            raise KeyError(f"{self.table} has no decoded columns {sorted(unknown)}")
        return columns_table(self.table, {name: self._array(values, schema.field(name)) for name, values in self.columns.items()})

    def _array(self, values: list[object], kind: pa.Field) -> pa.Array:
        return pa.array([*values, *[None] * (self.length - len(values))], kind.type)


def columns_table(table: str, arrays: Mapping[str, pa.Array]) -> pa.Table:
    """Return a table in `decoded_schema(table)` from whole columns; one left out is null."""
    schema = decoded_schema(table)
    if not arrays:
        return _empty(table)
    length = len(next(iter(arrays.values())))
    filled = [arrays[kind.name] if kind.name in arrays else pa.nulls(length, kind.type) for kind in schema]
    return pa.Table.from_arrays(filled, schema=schema)


@cache
def _empty(table: str) -> pa.Table:
    return decoded_schema(table).empty_table()


def decoded(tables: Mapping[str, pa.Table], refused: Refusals, messages: int, skipped: int = 0) -> Decoded:
    """Return the outcome for `messages` messages; those that neither gave a fact nor were refused are control."""
    told = np.zeros(messages, np.bool_)
    told[refused.message_index] = True
    for rows in tables.values():
        if rows.num_rows:
            told[rows["message_index"].to_numpy()] = True
    return Decoded(dict(tables), refused.table(), messages - int(told.sum()), skipped)


def texts(messages: pa.Table, column: str) -> Sequence[str | None]:
    """Return a text column of messages as a list; all null when the table has no such column."""
    if column not in messages.column_names:
        return [None] * messages.num_rows
    values: list[str | None] = messages[column].to_pylist()
    return values


def payloads(messages: pa.Table) -> list[bytes]:
    """Return the payloads of messages, in order."""
    values: list[bytes | None] = messages["payload"].to_pylist()
    return [b"" if value is None else value for value in values]


def quoted(value: object) -> str | None:
    """Return `value` as text that any file can hold, cut to a length that a person reads; None stays None."""
    if value is None:
        return None
    text = value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
    text = text.encode("utf-8", "replace").decode("utf-8")
    return text if len(text) <= _LONGEST_VALUE else text[:_LONGEST_VALUE] + "…"


def in_order(table: str, parts: Sequence[pa.Table]) -> pa.Table:
    """Return the rows of `parts` of one table by message and ordinal, whichever way they were read."""
    told = [part for part in parts if part.num_rows]
    if len(told) <= 1:
        return told[0] if told else columns_table(table, {})
    return pa.concat_tables(told).sort_by([("message_index", "ascending"), ("ordinal", "ascending")])
